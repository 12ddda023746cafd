"""Profile likelihood: the highest log-likelihood with one parameter held, on the parameter's natural scale."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import chdtri

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_integer
from bayesmeta.errors import BoundaryWarning, ConvergenceWarning, warn
from bayesmeta.estimation.parallel import Backend, Jobs
from bayesmeta.inference.profile_targets import Target, chosen
from bayesmeta.tree.specification import group

PARAMETER, POINT = "parameter", "point"
BEATS = 1e-5  # log-likelihood by which a point must exceed the fit to be worth a warning
MOST_DOUBLINGS = 40
MOST_POINTS = 10_000  # of a curve; each is a fit
TOLERANCE = 1e-7  # of a bound, in first steps


def profile(
    tree: xr.DataTree,
    parameters: str | Sequence[str] | None = None,
    prob: float = 0.95,
    points: int = 21,
    *,
    n_jobs: int = 1,
    backend: Backend | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Curves of the profile likelihood, and the intervals they give.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit` by "ml" or "reml".
    parameters : str or sequence of str, optional
        Labels such as "tau[study, Intercept]", "tau2[study, Intercept]", "rho[unit, PD~AL]", "psi[unit, PD~AL]" or
        "beta[ablat]", or kinds "beta", "tau", "tau2", "rho", "psi". By default all, coefficients only for "ml":
        restricted likelihoods with different fixed parts cannot be compared.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    points : int, default 21
        Number of points of every curve, over the interval and a little beyond.
    n_jobs : int, default 1
        Number of processes, -1 for one on every processor. The results do not depend on it.
    backend : {"loky", "dask", "threading"}, optional
        Of joblib: processes of this machine (the default), the workers of the Dask client in scope, or threads.
    progress : bool, default False
        Whether a progress bar is shown.

    Returns
    -------
    Dataset
        `estimate`, `lower`, `upper` (parameter), NaN for what the structure holds constant; `value` and `loglik`
        (parameter, point), the curves; `note` (parameter), why there is no bound: it lies at the edge of the
        parameter's range, where the interval is one-sided, or was not reached before the value given.

    Raises
    ------
    SpecError
        When the fit has no likelihood, a parameter is unknown, or a coefficient of a REML fit is asked for.

    Warns
    -----
    ConvergenceWarning
        When a point of a curve has a higher log-likelihood than the fit.
    BoundaryWarning
        When a curve was followed very far and the interval did not end.

    Notes
    -----
    An interval holds the values at which twice the loss in log-likelihood is at most the quantile of chi2_1. At each,
    the others are estimated again: Venzon and Moolgavkar (1988), Appl. Stat. 37:87-94.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> school = bm.datasets.load("school")
    >>> fit = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district/study"))
    >>> bm.profile(fit, "tau2")[["lower", "upper"]].to_dataframe().round(3)
                               lower  upper
    parameter
    tau2[district, Intercept]  0.022  0.207
    tau2[study, Intercept]     0.016  0.063
    """
    check_integer(points, "points", 2, MOST_POINTS)
    curves = _Curves(prob, points)
    pieces = _together(chosen(tree, parameters, prob))
    followed = [
        curve for piece in Jobs(n_jobs, backend, progress).in_order(curves, pieces, "curves") for curve in piece
    ]
    found = [followed[at] for at in np.argsort([place for piece in pieces for place, _ in piece])]
    for curve in found:
        if curve.best > curve.target.fitted + BEATS:
            warn(
                f"the profile of {curve.target.label} finds a log-likelihood higher than the fit's by "
                f"{curve.best - curve.target.fitted:.2g}; fit again from another start=",
                ConvergenceWarning,
            )
        if "not bracketed" in curve.note:
            warn(f"{curve.target.label}: {curve.note}", BoundaryWarning)
    labels = pd.Index([curve.target.label for curve in found], dtype=object)
    variables = {
        "estimate": (PARAMETER, [curve.target.estimate for curve in found]),
        "lower": (PARAMETER, [curve.lower for curve in found]),
        "upper": (PARAMETER, [curve.upper for curve in found]),
        "note": (PARAMETER, np.array([curve.note for curve in found], dtype=object)),
        "value": ((PARAMETER, POINT), np.array([curve.value for curve in found])),
        "loglik": ((PARAMETER, POINT), np.array([curve.loglik for curve in found])),
    }
    attrs = {"prob": prob, "fitted": float(group(tree, schema.CRITERIA)["loglik"]), "method": tree.attrs["method"]}
    return xr.Dataset(variables, {PARAMETER: labels}, attrs)


@dataclass
class Curve:
    """The followed profile of a parameter."""

    target: Target
    lower: float = np.nan
    upper: float = np.nan
    note: str = ""
    value: FloatArray = field(default_factory=lambda: np.zeros(0))
    loglik: FloatArray = field(default_factory=lambda: np.zeros(0))

    @property
    def best(self) -> float:
        return float(np.nanmax(np.append(self.loglik, -np.inf)))


@dataclass(frozen=True)
class _Curves:
    """Follows some profiles, one after the other."""

    prob: float
    points: int

    def __call__(self, targets: Sequence[tuple[int, Target]]) -> list[Curve]:
        return [_followed(target, self.prob, self.points) for _, target in targets]


def _together(targets: Sequence[Target]) -> list[list[tuple[int, Target]]]:
    """Targets and their places, those of a variance with that of its SD, whose bounds they take."""
    pieces: dict[int, list[tuple[int, Target]]] = {}
    for place, target in enumerate(targets):
        pieces.setdefault(id(target.root or target), []).append((place, target))
    return list(pieces.values())


def _followed(target: Target, prob: float, points: int) -> Curve:
    """Bounds by bracketing and Brent's method, then the curve."""
    if target.constant:
        empty = np.full(points, np.nan)
        return Curve(target, note="held constant by the structure", value=empty, loglik=empty)
    half = float(chdtri(1, 1 - prob)) / 2
    lower, low_note = _known_bound(target, half, -1)
    upper, high_note = _known_bound(target, half, 1)
    notes = "; ".join(note for note in (low_note, high_note) if note)
    first, last = (bound if np.isfinite(bound) else target.estimate for bound in (lower, upper))
    margin = 0.1 * (last - first)
    value = np.linspace(max(first - margin, target.low), min(last + margin, target.high), points)
    return Curve(target, lower, upper, notes, value, target.at(value))


def _known_bound(target: Target, half: float, side: int) -> tuple[float, str]:
    """The bound on one side, of a variance from that of its SD where this is known to end."""
    bound, note = target.root.bounds.get(side, (np.nan, "")) if target.root is not None else (np.nan, "")
    settled = np.isfinite(bound) and "not" not in note.split()
    target.bounds[side] = (bound**2, note) if settled else _bound(target, half, side)
    return target.bounds[side]


def _bound(target: Target, half: float, side: int) -> tuple[float, str]:
    """Where the log-likelihood has fallen by `half` on one side, and what there is to say about it."""

    def short(value: float) -> float:
        # the signed root of the deviance is nearly a straight line: few steps to where it has its value
        lost = target.fitted - float(target.at(np.array([value]))[0])
        return float(np.sign(lost) * np.sqrt(np.abs(lost)) - np.sqrt(half))

    limit, edge = (target.low, target.edges[0]) if side < 0 else (target.high, target.edges[1])
    which = "lower" if side < 0 else "upper"
    inner, step = target.estimate, target.step
    for _ in range(MOST_DOUBLINGS):
        outer = max(inner - step, limit) if side < 0 else min(inner + step, limit)
        lacking = short(outer)
        if np.isnan(lacking):
            return (
                np.nan,
                f"{which} bound not known: no parameters were reached that hold {target.label} at {outer:.3g}",
            )
        if outer == inner or (outer == limit and lacking <= 0):
            return edge, f"{which} bound at the edge of the range"
        if lacking > 0:
            if short(inner) >= 0:
                return inner, ""
            root = _root(short, inner, outer, step)
            between = f"from {min(inner, outer):.3g} to {max(inner, outer):.3g}"
            unknown = f"{which} bound not known: no parameters were reached that hold {target.label} {between}"
            return root, "" if np.isfinite(root) else unknown
        inner, step = outer, 2 * step
    return inner, f"{which} bound not bracketed: the interval goes on beyond {inner:.3g}"


def _root(short: Callable[[float], float], inner: float, outer: float, step: float) -> float:
    """Where `short` is zero; NaN where a value in between was not reached."""
    from scipy.optimize import brentq

    try:
        return float(brentq(short, inner, outer, xtol=TOLERANCE * step, rtol=1e-8))
    except ValueError:  # of brentq, when a value is NaN
        return np.nan
