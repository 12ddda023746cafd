"""Effect estimates as papers print them: with an interval, a p-value or a standard error, on either scale."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_choice, check_probability, listing, shown
from bayesmeta.effects.arms import frame_of, is_pair, with_estimates
from bayesmeta.effects.call_words import Values, single
from bayesmeta.effects.reported import Reported, Source
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.measures import MEASURES, Measure, check_measure

Scale = Literal["response", "model"]
SCALES = ("response", "model")
STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # of differences, relative to the values
DIGITS = 8  # beyond which a number is taken for exact


def from_interval(
    data: Any,
    estimate: str | None,
    interval: Sequence[str],
    *,
    measure: str = "generic",
    scale: Scale = "response",
    prob: float = 0.95,
    df: Values | None = None,
    names: Sequence[str] = ("y", "v"),
) -> pd.DataFrame:
    """Effect estimates and variances from estimates with their confidence intervals.

    Parameters
    ----------
    data : DataFrame
        One row per estimate, or anything `pandas.DataFrame` takes.
    estimate : str or None
        Column of the estimates; None for the middle of the interval on the scale of the model.
    interval : (str, str)
        Columns of the lower and of the upper limit. Where a row has one limit, the half of the interval counts.
    measure : str, default "generic"
        What the estimates measure, such as "logor"; "odds ratio" and other words for it are understood.
    scale : {"response", "model"}, default "response"
        Of the printed numbers: "response", as the field reads the measure, such as odds ratios or correlations;
        "model", as they are modelled, such as log odds ratios or Fisher's z.
    prob : float, default 0.95
        Probability of the interval.
    df : str or float, optional
        Degrees of freedom of the t distribution that the interval was made with, a column or a number; by default the
        normal distribution.
    names : (str, str), default ("y", "v")
        Names of the two new columns.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns, on the scale of the model; NaN where
        there is no estimate. Its `attrs` hold `measure`, which `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column, measure or argument that is not as above.
    DataError
        For a value that is impossible on its scale, limits in the wrong order, or an interval that does not contain its
        estimate; it names the row and its study.

    Warns
    -----
    AssumptionWarning
        Where an interval is less symmetric about its estimate than the digits that are printed explain, on the scale of
        the model: it was made in another way, or a number is misprinted. Where a lower limit is printed as 0 on the
        scale of ratios, and the upper half of the interval counts.
    BayesmetaWarning
        Where rows have no estimate, with their number.

    Notes
    -----
    The variance is the square of the width of the interval over twice the quantile. What rounding explains follows from
    the most decimals that a column has.

    References
    ----------
    Higgins et al. (eds.), Cochrane Handbook for Systematic Reviews of Interventions, section 6.3.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"or": [0.86, 1.5], "low": [0.70, 1.01], "high": [1.06, 2.23]}
    >>> bm.effects.from_interval(trials, "or", ("low", "high"), measure="odds ratio")[["y", "v"]].round(4)
            y       v
    0 -0.1508  0.0112
    1  0.4055  0.0408
    """
    if not is_pair(interval) or interval[0] == interval[1]:
        raise SpecError(f"interval is {shown(interval)}; it must be two columns, of the lower and the upper limit")
    check_probability(prob)
    sources = single(estimate=("estimate", estimate), df=("df", df))
    sources |= {"lower": Source(interval[0], "interval"), "upper": Source(interval[1], "interval")}
    printed = Printed(Reported(frame_of(data), sources, "bm.effects.from_interval"), measure, scale)
    lower, upper = printed.limit("lower"), printed.limit("upper")
    y = printed.on_model("estimate") if estimate is not None else (lower + upper) / 2
    printed.check_order(lower, y, upper)
    half = np.where(np.isnan(lower), upper - y, np.where(np.isnan(upper), y - lower, (upper - lower) / 2))
    if estimate is not None:
        printed.warn_of_asymmetry(lower, y, upper)
    with np.errstate(over="ignore", divide="ignore"):  # of which nothing is left but rows without an estimate
        v = (half / printed.quantile((1 + prob) / 2)) ** 2
    return printed.with_variances(y, v, names)


def from_pvalue(
    data: Any,
    estimate: str,
    p: str,
    *,
    measure: str = "generic",
    scale: Scale = "response",
    df: Values | None = None,
    names: Sequence[str] = ("y", "v"),
) -> pd.DataFrame:
    """Effect estimates and variances from estimates with their p-values.

    Parameters
    ----------
    data : DataFrame
        One row per estimate, or anything `pandas.DataFrame` takes.
    estimate : str
        Column of the estimates.
    p : str
        Column of two-sided p-values of no effect, between 0 and 1; a bound such as "<0.001" is none.
    measure : str, default "generic"
        What the estimates measure, such as "logor"; "odds ratio" and other words for it are understood.
    scale : {"response", "model"}, default "response"
        Of the printed estimates: "response", as the field reads the measure, such as odds ratios or correlations;
        "model", as they are modelled, such as log odds ratios or Fisher's z.
    df : str or float, optional
        Degrees of freedom of the t distribution of the test, a column or a number; by default the normal distribution.
    names : (str, str), default ("y", "v")
        Names of the two new columns.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns, on the scale of the model; NaN where
        there is no estimate. Its `attrs` hold `measure`, which `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column, measure or argument that is not as above, and a measure without a value of no effect.
    DataError
        For a value that is impossible on its scale; it names the row and its study.

    Warns
    -----
    AssumptionWarning
        Always: a p-value of few digits says little of the variance of a small effect; how far it goes for these.
    BayesmetaWarning
        Where rows have no estimate, with their number, as where p is 1.

    Notes
    -----
    The variance is the square of the estimate, less the value of no effect, over the quantile of p. What rounding
    leaves open follows from the most decimals that the column of p-values has.

    References
    ----------
    Higgins et al. (eds.), Cochrane Handbook for Systematic Reviews of Interventions, section 6.3.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"difference": [3.0], "p": [0.0123]}
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     table = bm.effects.from_pvalue(trials, "difference", "p", measure="md")
    >>> table[["y", "v"]].round(3)
         y      v
    0  3.0  1.436
    """
    sources = single(estimate=("estimate", estimate), p=("p", p), df=("df", df))
    reported = Reported(frame_of(data), sources, "bm.effects.from_pvalue")
    printed = Printed(reported, measure, scale)
    null = printed.record.null
    if null is None:
        raise SpecError(
            f"measure '{printed.record.name}' has no value of no effect that a p-value could test"
            "\n  take from_interval or from_se"
        )
    y, values = printed.on_model("estimate"), reported.between("p", 0, 1, "a p-value")
    reported.refuse(
        "p",
        values == 0,
        "is not a p-value that says how large the variance is; '<0.001' is a bound"
        "\n  give the exact p-value, or take from_interval",
    )
    unit = half_unit(values)
    high, low = np.minimum(values + unit, 1), np.maximum(values - unit, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        z, z_high, z_low = (printed.quantile(1 - each / 2) for each in (values, low, high))
        v, spread = ((y - null) / z) ** 2, np.nanmax(np.append(z_high / np.maximum(z_low, 1e-12) - 1, 0))
    warn(
        "standard errors were worked out from p-values, whose rounding leaves them open by up to "
        f"{min(spread, 9.99):.0%}"
        "\n  an interval or a standard error says more",
        AssumptionWarning,
    )
    return printed.with_variances(y, v, names)


def from_se(
    data: Any,
    estimate: str,
    se: str,
    *,
    measure: str = "generic",
    scale: Scale = "model",
    names: Sequence[str] = ("y", "v"),
) -> pd.DataFrame:
    """Effect estimates and variances from estimates with their standard errors.

    Parameters
    ----------
    data : DataFrame
        One row per estimate, or anything `pandas.DataFrame` takes.
    estimate : str
        Column of the estimates.
    se : str
        Column of their standard errors, positive.
    measure : str, default "generic"
        What the estimates measure, such as "logor"; "odds ratio" and other words for it are understood.
    scale : {"response", "model"}, default "model"
        Of both columns: "model", as they are modelled, such as log odds ratios; "response", as the field reads the
        measure, such as odds ratios, from which they are taken by the delta method.
    names : (str, str), default ("y", "v")
        Names of the two new columns.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns, on the scale of the model; NaN where
        there is no estimate. Its `attrs` hold `measure`, which `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column, measure or argument that is not as above.
    DataError
        For a value that is impossible on its scale, or a standard error that is not positive.

    Warns
    -----
    BayesmetaWarning
        Where rows have no estimate, with their number.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"hr": [0.8], "se": [0.12]}
    >>> bm.effects.from_se(trials, "hr", "se", measure="hazard ratio", scale="response")[["y", "v"]].round(4)
            y       v
    0 -0.2231  0.0225
    """
    sources = single(estimate=("estimate", estimate), se=("se", se))
    reported = Reported(frame_of(data), sources, "bm.effects.from_se")
    printed = Printed(reported, measure, scale)
    slope = printed.slope(reported.real("estimate"))
    return printed.with_variances(printed.on_model("estimate"), (reported.standard_error("se") * slope) ** 2, names)


class Printed:
    """Printed numbers of a measure, and their way to the scale of the model."""

    def __init__(self, reported: Reported, measure: Any, scale: Any) -> None:
        check_choice(scale, SCALES, "scale")
        self.reported = reported
        self.record: Measure = MEASURES[check_measure(measure) or "generic"]
        self.on_response = scale == "response" and self.record.has_response

    def to_model(self, values: FloatArray) -> FloatArray:
        return self.record.to_model(values) if self.on_response else values

    def on_model(self, name: str, unknown: BoolArray | bool = False) -> FloatArray:
        """A printed quantity on the scale of the model, but for unknown rows; DataError where it is impossible."""
        values = self.reported.real(name)
        model = self.to_model(np.where(unknown, np.nan, values))
        what = self.record.response_label.lower() if self.on_response else self.record.label
        impossible = ~np.isfinite(model) & ~np.isnan(values) & ~np.asarray(unknown)
        self.reported.refuse(
            name,
            impossible,
            f"is no {what} with a finite {self.record.label}"
            "\n  check the value, and whether scale= is that of the printed numbers",
        )
        return model

    def limit(self, name: str) -> FloatArray:
        """A limit likewise; one that is printed as 0 where only positive numbers are possible is not known."""
        zero = (self.reported.real(name) == 0) & (self.record.is_ratio and self.on_response)
        if zero.any():
            rows = listing(self.reported.frame.index[zero])
            warn(
                f"{self.reported.where(name)}: 0 in rows {rows} is no limit of a ratio; the other half of the interval "
                "counts",
                AssumptionWarning,
            )
        return self.on_model(name, zero)

    def slope(self, values: FloatArray) -> FloatArray:
        """Derivative of the way to the scale of the model."""
        return derivative(self.to_model, values) if self.on_response else np.ones_like(values)

    def quantile(self, prob: float | FloatArray) -> FloatArray:
        """Of the t distribution with the reported degrees of freedom, or of the normal one."""
        df = self.reported.positive("df", "degrees of freedom") if self.reported.has("df") else np.inf
        return np.asarray(stdtrit(df, np.broadcast_to(prob, (len(self.reported.frame),))))

    def check_order(self, lower: FloatArray, y: FloatArray, upper: FloatArray) -> None:
        """DataError where limits are in the wrong order, or the estimate is not between them."""
        other = self.reported.where("upper")
        self.reported.refuse(
            "lower",
            lower >= upper,
            f"is not below the upper limit, {other}\n  check both limits, and their order in interval=",
        )
        if not self.reported.has("estimate"):
            return
        outside = (y < lower) | (y > upper)
        limits = f"{self.reported.where('lower')} to {other}"
        self.reported.refuse(
            "estimate",
            outside,
            f"is not in its interval, {limits}\n  check the three numbers, and whether they are on one scale",
        )

    def warn_of_asymmetry(self, lower: FloatArray, y: FloatArray, upper: FloatArray) -> None:
        """A warning about intervals that rounding does not make symmetric."""
        slack = self._rounding("estimate") + (self._rounding("lower") + self._rounding("upper")) / 2
        bad = np.abs((lower + upper) / 2 - y) > slack + 1e-6 * (upper - lower)  # and that of floats
        if not bad.any():
            return
        rows, at = self.reported.frame.index[bad], int(np.argmax(np.where(bad, np.abs((lower + upper) / 2 - y), -1)))
        where = (y[at] - lower[at]) / (upper[at] - lower[at])
        other = self._symmetric_on_the_other_scale(bad)
        warn(
            f"intervals of {bad.sum()} of {len(bad)} rows are not symmetric about their estimates as "
            f"{self.record.label} beyond rounding: rows {listing(rows)}; the estimate of {self.reported.row(at)} lies "
            f"at {where:.0%} of its interval"
            f"\n  {other}",
            AssumptionWarning,
        )

    def _symmetric_on_the_other_scale(self, bad: BoolArray) -> str:
        """What the user may have meant."""
        opposite = "model" if self.on_response else "response"
        plain = [self.reported.real(name)[bad] for name in ("lower", "estimate", "upper")]
        lower, y, upper = plain
        with np.errstate(all="ignore"):
            if self.record.has_response and not self.on_response:
                lower, y, upper = (self.record.to_model(each) for each in plain)
            symmetric = np.abs((lower + upper) / 2 - y) < 0.02 * (upper - lower)
        if self.record.has_response and symmetric.all():
            return f'they are symmetric on the other scale: scale="{opposite}" may be meant'
        return "variances follow from the width; check the numbers, and whether the intervals are of another kind"

    def _rounding(self, name: str) -> FloatArray:
        """What rounding of the printed numbers amounts to on the scale of the model."""
        values = self.reported.real(name)
        unit = half_unit(values)
        with np.errstate(all="ignore"):
            width = (self.to_model(values + unit) - self.to_model(values - unit)) / 2
        return np.where(np.isnan(values), 0, np.where(np.isfinite(width), np.abs(width), np.inf))

    def with_variances(self, y: FloatArray, v: FloatArray, names: Sequence[str]) -> pd.DataFrame:
        return with_estimates(self.reported.frame, self.record.name, (y, v), names, None)


def half_unit(values: FloatArray) -> float:
    """Half a unit of the last digit that a column prints.

    >>> half_unit(np.array([0.7, 1.01, np.nan])), half_unit(np.array([3.0]))
    (0.005, 0.5)
    """
    known = values[np.isfinite(values)]
    for digits in range(DIGITS):
        if np.allclose(np.round(known, digits), known, rtol=1e-12, atol=1e-12):
            return float(0.5 * 10.0**-digits)
    return 0.0


def derivative(function: Callable[[FloatArray], Any], values: FloatArray) -> FloatArray:
    """Derivative by differences over five points, at the distance where it changes least with the distance.

    >>> derivative(np.arctanh, np.array([0.0, 0.999])).round(6).tolist()  # 1 / (1 - r^2)
    [1.0, 500.250125]
    """
    scale = np.maximum(np.abs(values), 1e-6)
    with np.errstate(all="ignore"):
        slopes = np.stack([_five_points(function, values, step * scale) for step in STEPS])
        change = np.nan_to_num(np.abs(np.diff(slopes, axis=0)), nan=np.inf)
    best = change.argmin(axis=0) + 1
    return np.take_along_axis(slopes, best[None], axis=0)[0]


def _five_points(function: Callable[[FloatArray], Any], at: FloatArray, h: FloatArray) -> FloatArray:
    f = [np.asarray(function(at + k * h), dtype=float) for k in (-2, -1, 1, 2)]
    return np.asarray((f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h))
