"""Questions to the curve of a dose-response model: effects at any dose, and whether they follow a straight line."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_mapping, check_name, check_number, check_probability, listing
from bayesmeta.dose_response.dose_models import KIND
from bayesmeta.errors import SpecError
from bayesmeta.formula.against import bending, columns_of, values_at
from bayesmeta.inference.linear_combinations import of_mean_or_new
from bayesmeta.inference.reference import Vcov, reference_of_fit
from bayesmeta.io.arrays import vectors_of_one_length
from bayesmeta.measures import measure
from bayesmeta.model.spec import Spec
from bayesmeta.tree.response import EFFECT, Reading, Scale
from bayesmeta.tree.specification import spec_from_tree

POINTS = 61  # of a grid on which bases are compared


def dose_spec(tree: xr.DataTree, call: str) -> Spec:
    """The specification of a tree, of a dose-response model."""
    spec = spec_from_tree(tree)
    if spec.analysis.get("kind") != KIND:
        raise SpecError(
            f"bm.dose_response.{call} takes results of a dose-response model\n"
            "  make its specification by bm.dose_response.specify, and fit it by bm.fit or bm.sample"
        )
    return spec


def curve(
    tree: xr.DataTree,
    at: Any = None,
    reference: float | Mapping[str, float] | None = None,
    *,
    others: Mapping[str, Any] | None = None,
    interval: Literal["confidence", "prediction"] = "confidence",
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> xr.Dataset:
    """Effects at doses against a reference dose, such as relative risks, with their intervals.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a specification of `bm.dose_response.specify`.
    at : float, sequence or mapping, optional
        Doses; of several exposures a mapping of names to doses, of equal length, those not named held at the reference.
        By default 21 doses over the range of the data, of the first exposure.
    reference : float or mapping, optional
        Dose at which there is no effect, any that the basis has a value at. By default that of the studies where they
        share one, else the lowest of theirs; with `center=False` none is subtracted unless it is named.
    others : mapping, optional
        Values of the other columns of the basis, such as a region; required where it has any.
    interval : {"confidence", "prediction"}, default "confidence"
        Of the mean curve, or of the curve of a new study.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        By default "response" where effects are ratios, else "model".
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, see `bm.estimates`.

    Returns
    -------
    Dataset
        Over `row`, with the doses as coordinates, `mean`, `lower`, `upper`, and on the scale of the model `se`.
        Intervals are pointwise. The attributes have the `reference` and what `vcov` and `df` were used. Of a posterior,
        mean and quantiles of its draws; of one coefficient, as a straight line has, those of its exact distribution
        where the tree has that. A `Dataset` goes into `bm.table`, which is the table of a paper.

    Raises
    ------
    SpecError
        For a tree of another model, doses at which the basis has no value, `others` that are missing or unknown, or a
        scale that the measure does not have.

    Notes
    -----
    (b(x) - b(x0)) beta has the variance (b(x) - b(x0)) Var(beta) (b(x) - b(x0))'; a new study adds that of its random
    effects, whose uncertainty is in the interval of a posterior alone.

    References
    ----------
    Orsini et al. (2012), Am. J. Epidemiol. 175:66-73.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> cohorts = bm.datasets.load("alcohol")
    >>> columns = {"study": "id", "cases": "cases", "person_years": "peryears", "y": "logrr", "se": "se"}
    >>> fit = bm.fit(bm.dose_response.specify(cohorts, basis="dose + I(dose**2)", **columns))
    >>> bm.dose_response.curve(fit, [10, 50], reference=10).to_dataframe().round(2)
         mean  lower  upper  dose
    row
    0    1.00   1.00   1.00  10.0
    1    1.39   1.16   1.66  50.0
    """
    spec, prob = dose_spec(tree, "curve"), check_probability(prob)
    check_choice(interval, ("confidence", "prediction"), "interval")
    against = reference_doses(spec, reference)
    doses = _doses(spec, at, against)
    reading = reading_of(spec, scale)
    less_reference = bool(spec.analysis["center"]) or reference is not None
    L, Z = designs(spec, doses, against, others, interval == "prediction", less_reference)
    statistics, how = of_mean_or_new(tree, L, [] if Z is None else [Z], prob, reading, vcov, df)
    shown = _plain(against) if less_reference else "that of each study"
    attrs = how | {"reference": shown, "interval": interval, "prob": prob}
    return xr.Dataset(
        {name: ("row", values) for name, values in statistics.items()},
        {"row": np.arange(len(L)), **{name: ("row", values) for name, values in doses.items()}},
        reading.attrs(attrs),
    )


def dose_range(spec: Spec, dose: str) -> tuple[float, float]:
    """Lowest and highest dose of the data, references included."""
    low, high = spec.analysis["range"][dose]
    return float(low), float(high)


def _plain(against: Mapping[str, float]) -> Any:
    return next(iter(against.values())) if len(against) == 1 else "; ".join(f"{k} = {v:g}" for k, v in against.items())


def reading_of(spec: Spec, scale: Scale | None) -> Reading:
    """How effects are read: ratios as ratios unless asked otherwise."""
    record = measure(str(spec.analysis["measure"]))
    if scale is not None:
        check_choice(scale, ("model", "response"), "scale")
        if scale == "response" and not record.has_response:
            raise SpecError(f'no scale="response": effects of measure "{record.name}" are read as they are')
    return Reading(record, EFFECT, record.is_ratio if scale is None else scale == "response")


def reference_doses(spec: Spec, asked: Any) -> dict[str, float]:
    """The reference of every exposure."""
    known = spec.analysis["reference_of"]
    lowest = {dose: min(values.values()) for dose, values in known.items()}
    if asked is None:
        return lowest
    if isinstance(asked, Mapping):
        if not check_mapping(asked, "reference", "doses and their references"):
            raise SpecError(f"reference is empty; name a dose, {{'{next(iter(known))}': ...}}, or leave it out")
        for name in asked:
            check_name(name, known, "reference: no dose", "doses")
        return {dose: check_number(asked.get(dose, lowest[dose]), f"reference of {dose}") for dose in known}
    if len(known) > 1:
        raise SpecError(f"reference is one number, and there are {len(known)} doses: {{'{next(iter(known))}': ...}}")
    return {next(iter(known)): check_number(asked, "reference")}


def _doses(spec: Spec, at: Any, against: Mapping[str, float]) -> dict[str, FloatArray]:
    names = list(against)
    if at is None:
        at = np.linspace(*dose_range(spec, names[0]), 21)
    if not isinstance(at, Mapping):
        at = {names[0]: at}
    for name in at:
        check_name(name, names, "at: no dose", "doses")
    values = vectors_of_one_length(at, "at", "doses")
    size = len(next(iter(values.values())))
    return {name: values.get(name, np.full(size, against[name])) for name in names}


def designs(
    spec: Spec,
    doses: Mapping[str, FloatArray],
    against: Mapping[str, float],
    others: Any,
    new: bool,
    less_reference: bool,
) -> tuple[FloatArray, FloatArray | None]:
    """(rows, coefficients) and, of a new study, (rows, random effects): at doses, less those at the reference."""
    at_values = check_mapping(others, "others", "columns and their values")
    size = len(next(iter(doses.values())))
    columns = {name: value for name, value in spec.analysis["references"].items() if isinstance(value, str)}
    held = {column: against[dose] for dose, column in columns.items()}
    wanted = [name for name in spec.predictors if name not in (*doses, *held)] if spec.analysis["stages"] == 1 else []
    for name in at_values:
        check_name(name, wanted, "others: the basis has no other column", "other columns")
    if lacking := [name for name in wanted if name not in at_values]:
        raise SpecError(f"the curve depends on {listing(lacking)}\n  give a value: others={{'{lacking[0]}': ...}}")
    rest = {name: [value] * size for name, value in (at_values | held).items()}
    there = pd.DataFrame({**doses, **rest})
    zero = pd.DataFrame({**{name: [value] * size for name, value in against.items()}, **rest})

    def less(of: Any) -> FloatArray:
        here = values_at(of, there, list(doses), "at")
        return here - values_at(of, zero, list(doses), "reference") if less_reference else here

    if spec.analysis["stages"] == 2:
        L = less(lambda frame: columns_of(" + ".join(spec.analysis["terms"]), frame)[0])
        return L, L if new and spec.levels[0].dim else None
    L = less(lambda frame: spec.design.fixed(frame)[:, 0])
    if not new or not spec.levels[0].dim:
        return L, None
    return L, less(lambda frame: spec.design.random(spec.levels[0].name, frame)[:, 0])


def nonlinearity(tree: xr.DataTree, vcov: Vcov | None = None, df: str | None = None) -> xr.Dataset:
    """Test that the curve is a straight line in the dose: that whatever bends it is zero.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` for a specification of `bm.dose_response.specify` whose basis holds straight lines:
        polynomials, natural and restricted cubic splines.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, see `bm.estimates`.

    Returns
    -------
    Dataset
        `statistic`, `df1`, `df2`, `pvalue`: F, or chi-squared with df1 degrees of freedom where df2 is infinite; the
        attributes say which `vcov` and `df` were used.

    Raises
    ------
    SpecError
        For a posterior, and for a basis that is a straight line, or in which no straight line is (its likelihood can be
        compared with that of a straight line by `bm.compare`).

    Notes
    -----
    With B the basis over a grid of doses and P the projection on the straight lines, (I - P) B beta = 0 is what a
    straight line satisfies; its independent rows are the hypotheses. For a polynomial or restricted cubic spline these
    are that all coefficients but the first are zero.

    References
    ----------
    Orsini et al. (2012), Am. J. Epidemiol. 175:66-73; Harrell (2015), Regression Modeling Strategies, section 2.4.5.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> cohorts = bm.datasets.load("alcohol")
    >>> columns = {"study": "id", "cases": "cases", "person_years": "peryears", "y": "logrr", "se": "se"}
    >>> spec = bm.dose_response.specify(cohorts, basis="rcs(dose, 3)", **columns)
    >>> bm.dose_response.nonlinearity(bm.fit(spec, "ml"))["pvalue"].round(3).item()
    0.034
    """
    spec = dose_spec(tree, "nonlinearity")
    used = reference_of_fit(tree, vcov, df, "bm.dose_response.nonlinearity")
    contrasts = bends(spec)
    tested = used.joint(contrasts)
    return xr.Dataset({name: float(value) for name, value in tested._asdict().items()}, attrs=used.attrs)


def bends(spec: Spec) -> FloatArray:
    """(q, P) independent combinations of the coefficients that are zero if and only if all curves are straight."""
    low_high, against = spec.analysis["range"], reference_doses(spec, None)
    if len(low_high) > 1 or (spec.analysis["stages"] == 1 and set(spec.predictors) - _of_dose(spec)):
        raise SpecError(
            "nonlinearity is of one exposure, and of a basis of the dose alone\n"
            "  bm.wald_test tests any terms: bm.wald_test(tree, ['I(dose ** 2)'])"
        )
    (dose,) = low_high
    x = np.linspace(*dose_range(spec, dose), POINTS)
    B = designs(spec, {dose: x}, against, None, False, bool(spec.analysis["center"]))[0]
    bent = bending(B, x, against[dose] if spec.analysis["center"] else None)
    if len(bent) == 0:
        raise SpecError(f"the basis is a straight line, {spec.analysis['basis']}: there is nothing to test")
    if len(bent) == B.shape[1]:
        raise SpecError(
            f"no curve of the basis {spec.analysis['basis']} is a straight line, which it therefore cannot be tested "
            "against\n  compare the two models: bm.compare({'curve': tree, 'line': other})"
        )
    return bent


def _of_dose(spec: Spec) -> set[str]:
    return {*spec.analysis["doses"], *(name for name in spec.analysis["references"].values() if isinstance(name, str))}
