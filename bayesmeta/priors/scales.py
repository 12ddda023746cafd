"""Scales of default priors: from the effect measure where it has a unit of its own, else from the data."""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.measures import measure
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.prior import Prior

EFFECT, MODERATOR, TAU = 1 / 2, 1 / 4, 1 / 4  # fractions of the measure's unit-information SD for the SDs of priors
FROM_DATA = {"effect": 5.0, "moderator": 2.5, "tau": 1.0}  # the same in SDs of the outcome


@dataclass(frozen=True)
class Scales:
    """Numbers from which the default priors of some observations are made.

    effect, moderator, tau : scales of an effect, of one SD of a predictor, of an SD between groups.
    centre : of the prior of an effect. origin : scale of an effect about zero.
    """

    effect: float
    moderator: float
    tau: float
    centre: float
    origin: float


def scales(spec: Spec, rows: BoolArray) -> Scales:
    """Scales for a parameter that acts on the observations `rows`."""
    record = measure(spec.measure)
    if (unit := record.unit_information_sd) is not None:
        return Scales(EFFECT * unit, MODERATOR * unit, TAU * unit, record.null or 0.0, EFFECT * unit)
    s, centre = data_scale(spec, rows), float((spec.y - spec.offset)[rows].mean())
    effect, moderator, tau = (FROM_DATA[what] * s for what in ("effect", "moderator", "tau"))
    return Scales(effect, moderator, tau, centre, FROM_DATA["effect"] * float(np.hypot(s, centre)))


def data_scale(spec: Spec, rows: BoolArray) -> float:
    """SD of the outcome over its observations, or over all where it has only one; of the errors where that is 0."""
    y = spec.y - spec.offset
    for chosen in (y[rows], y):
        # an SD at the level of rounding is that of equal numbers
        if len(chosen) > 1 and (s := float(chosen.std(ddof=1))) > 1e-12 * np.abs(chosen).max():
            return s
    return float(np.sqrt(spec.S.variances[rows].mean()))


def acts_on(spec: Spec, column: FloatArray) -> BoolArray:
    """All observations of the outcomes for which the column is not zero throughout."""
    reached = np.zeros(len(spec.outcomes), dtype=bool)
    reached[spec.outcome_index[column != 0]] = True
    return reached[spec.outcome_index] if reached.any() else np.ones(len(column), dtype=bool)


def constant(spec: Spec, column: FloatArray) -> bool:
    """Whether the column is an intercept: 1 on all observations of its outcomes, 0 elsewhere."""
    return bool(column.any()) and np.array_equal(column, acts_on(spec, column).astype(float))


def intercepts(spec: Spec, design: FloatArray) -> BoolArray:
    """(columns,) which columns of a design are intercepts."""
    return np.array([constant(spec, column) for column in design.T], dtype=bool)


def spread(spec: Spec, design: FloatArray, j: int) -> float | None:
    """SD of column j of a design over its observations; None where an outcome of it has no intercept there."""
    rows = acts_on(spec, design[:, j])
    covered = design[:, intercepts(spec, design)].any(axis=1)
    sd = float(design[rows, j].std())
    # a column without variation is not centred away by the intercept
    return sd if covered[rows].all() and sd > 1e-12 * np.abs(design[rows, j]).max() else None


def typical_size(column: FloatArray) -> float:
    """Root mean square of the entries that are not zero."""
    entries = column[column != 0]
    return float(np.sqrt((entries**2).mean())) if len(entries) else 1.0


def default_beta(spec: Spec, j: int) -> Prior:
    """Default prior of coefficient j; of an intercept, at the mean of the predictors."""
    column = spec.X[:, j]
    scale = scales(spec, acts_on(spec, column))
    if constant(spec, column):
        return Prior("Normal", mu=scale.centre, sigma=scale.effect)
    sd = spread(spec, spec.X, j)
    return Prior("Normal", mu=0.0, sigma=scale.origin / typical_size(column) if sd is None else scale.moderator / sd)


def centring(spec: Spec, centred: BoolArray) -> FloatArray:
    """(P, P) matrix whose rows of the `centred` intercepts take the predictors at their means."""
    slopes = ~intercepts(spec, spec.X)
    C = np.eye(spec.X.shape[1])
    for j in np.flatnonzero(centred):
        C[j, slopes] = spec.X[acts_on(spec, spec.X[:, j])][:, slopes].mean(0)
    return C


def default_taus(spec: Spec, level: Level) -> tuple[Prior, ...]:
    """Default priors of the SDs of a level, as many as its structure has."""
    n_tau = level.structure.n_tau(level.dim)
    sizes = np.array([_effect_scale(spec, level.Z, j) for j in range(level.dim)])
    if n_tau == 1:
        sizes = level.structure.units(sizes)[
            :1
        ]  # a common SD: the median, over the given matrix's SDs where it has one
    return tuple(Prior("HalfNormal", sigma=float(size)) for size in sizes[:n_tau])


def _effect_scale(spec: Spec, Z: FloatArray, j: int) -> float:
    tau = scales(spec, acts_on(spec, Z[:, j])).tau
    if constant(spec, Z[:, j]):
        return tau
    sd = spread(spec, Z, j)
    return tau / (typical_size(Z[:, j]) if sd is None else sd)
