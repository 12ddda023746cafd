"""Common effects of two-by-two tables and of rates without estimates of single studies: Mantel-Haenszel and Peto."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import chdtrc, ndtr, ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_probability, listing
from bayesmeta.display.export import Page
from bayesmeta.display.tables import Block, Facts, Table, fixed, pvalue
from bayesmeta.effects.arms import Arms, frame_of
from bayesmeta.effects.call_words import pair
from bayesmeta.effects.count_calls import arms_of_counts
from bayesmeta.effects.rates import Rates, log_rate_ratio, rate_difference
from bayesmeta.effects.rates import read as read_rates
from bayesmeta.effects.recipe import Estimate
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.two_by_two import TwoByTwo, log_odds_ratio, log_risk_ratio, peto_parts, risk_difference
from bayesmeta.effects.two_by_two import read as read_tables
from bayesmeta.effects.zero_cells import Add, Zero, ZeroCells
from bayesmeta.errors import BayesmetaWarning, SpecError, warn
from bayesmeta.measures import MEASURES, check_measure

SINGLES = ZeroCells("only0", 0.5, True)  # what is done about empty cells of single studies, for Q
MeasureName = Literal["logor", "logrr", "rd", "logirr", "ird"]
Point = tuple[float, float]  # a common effect and its standard error


@dataclass(frozen=True, repr=False, eq=False)
class CommonEffect(Page):
    """A common effect of all studies, on the scale of the model, with tests; prints as a table.

    method : "Mantel-Haenszel" or "Peto".  measure : name of its record.  k : studies that enter it.
    lower, upper : its confidence interval, of probability `prob`.
    Q, df : heterogeneity of the estimates of single studies about it, and their number less one.  tau2 : the moment
    estimate of their variance that belongs to it.  tests : name -> chi-squared statistic and degrees of freedom.
    """

    method: str
    measure: str
    estimate: float
    se: float
    prob: float
    k: int
    Q: float
    df: int
    tau2: float
    tests: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def lower(self) -> float:
        """Lower confidence limit."""
        return self.estimate - float(ndtri((1 + self.prob) / 2)) * self.se

    @property
    def upper(self) -> float:
        """Upper confidence limit."""
        return self.estimate + float(ndtri((1 + self.prob) / 2)) * self.se

    @property
    def pvalue(self) -> float:
        """Two-sided, of no effect, by the normal distribution."""
        return float(2 * ndtr(-abs(self.estimate / self.se)))

    @property
    def Q_pvalue(self) -> float:
        """Of homogeneity."""
        return _tail(self.Q, self.df)

    @property
    def I2(self) -> float:
        """Share of the variation of the estimates beyond sampling error, in percent."""
        return max(0.0, 100 * (self.Q - self.df) / self.Q) if self.Q > 0 else 0.0

    def test_pvalue(self, name: str) -> float:
        """Of one of `tests`."""
        check_choice(name, self.tests, "name")
        return _tail(*self.tests[name])

    def to_dataframe(self) -> pd.DataFrame:
        """One row: estimate, se, lower, upper, pvalue, k, Q, df, Q_pvalue, I2, tau2."""
        names = ("estimate", "se", "lower", "upper", "pvalue", "k", "Q", "df", "Q_pvalue", "I2", "tau2")
        return pd.DataFrame([{name: getattr(self, name) for name in names}], index=[self.method])

    def blocks(self) -> list[Block]:
        """The parts of the page, in order."""
        record = MEASURES[self.measure]
        values = (self.estimate, self.lower, self.upper)
        interval = f"{100 * self.prob:g}% CI"
        rows = [(record.label, *(fixed(each, 4) for each in values), fixed(self.se, 4), pvalue(self.pvalue))]
        if record.has_response:
            rows.append(
                (record.response_label.lower(), *(fixed(float(record.to_response(x)), 4) for x in values), "", "")
            )
        header = ("estimate", f"{interval} from", "to", "SE", "p")
        facts = [
            ("Studies", str(self.k)),
            ("Heterogeneity (Q)", f"{_chi2(self.Q, self.df)}; I2 = {self.I2:.1f}%"),
            ("tau2", fixed(self.tau2, 4)),
        ]
        facts += [(name, _chi2(x, df)) for name, (x, df) in self.tests.items()]
        return [Table(f"{self.method}: common effect", header, tuple(rows)), Facts(tuple(facts))]


def mantel_haenszel(
    data: Any,
    events: Arms,
    *,
    total: Arms | None = None,
    no_events: Arms | None = None,
    time: Arms | None = None,
    measure: MeasureName | str | None = None,
    zero: Zero = "none",
    add: Add = 0.5,
    continuity: bool = True,
    prob: float = 0.95,
) -> CommonEffect:
    """Common odds ratio, risk ratio, risk difference, rate ratio or rate difference by Mantel and Haenszel.

    Parameters
    ----------
    data : DataFrame
        One row per study, or anything `pandas.DataFrame` takes.
    events : (str, str)
        Columns of the persons with the event, or of the events in person-time, (first arm, second arm).
    total : (str, str), optional
        Columns of all persons of the arms; this, `no_events` or `time` is needed.
    no_events : (str, str), optional
        Columns of the persons without the event.
    time : (str, str), optional
        Columns of person-time, positive, for rates.
    measure : {"logor", "logrr", "rd", "logirr", "ird"}, optional
        What is pooled; "logor" by default, and "logirr" with `time`. Other words for them are understood.
    zero : {"none", "only0", "if0all", "all"}, default "none"
        Tables to which something is added before they are pooled; see `bm.effects.odds_ratio`. The method needs
        nothing added: it asks for an event in each arm over all studies only.
    add : float or "opposite-arm", default 0.5
        What is added, greater than 0; see `bm.effects.odds_ratio`.
    continuity : bool, default True
        Whether the Cochran-Mantel-Haenszel statistic has a continuity correction.
    prob : float, default 0.95
        Probability of the interval.

    Returns
    -------
    CommonEffect
        Prints as a table; `estimate`, `se`, `lower`, `upper`, `pvalue` on the scale of the model (ratios as logs), `Q`,
        `df`, `Q_pvalue`, `I2`, `tau2`, `tests` and `to_dataframe()`.

    Raises
    ------
    SpecError
        For a column or a measure that does not exist, or an argument that is not as above.
    DataError
        For an impossible count; it names column, row and study.

    Warns
    -----
    BayesmetaWarning
        Where studies lack a value and are left out, where studies have no estimate of their own for Q, or where the
        common effect is not defined, because an arm has no event in any study.

    Notes
    -----
    Q has the estimates of single studies about the common effect, with a half added to tables with an empty cell, and
    without studies that have no event, or nothing else, in both arms. tau2 is the moment estimate from that Q. Tests of
    the odds ratio: "Cochran-Mantel-Haenszel" of no effect, "Breslow-Day" and "Tarone" of homogeneity.

    References
    ----------
    Mantel and Haenszel (1959), J. Natl. Cancer Inst. 22:719-748; Robins, Breslow and Greenland (1986), Biometrics
    42:311-323, for the SE of odds ratios; Greenland and Robins (1985), Biometrics 41:55-68, of risk ratios and of
    rates; Sato, Greenland and Robins (1989), Biometrics 45:1323-1324, of risk differences; Breslow and Day (1980),
    Statistical Methods in Cancer Research I, equation 4.30; Tarone (1985), Biometrika 72:91-95.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = bm.datasets.load("bcg")
    >>> common = bm.mantel_haenszel(trials, ("tpos", "cpos"), no_events=("tneg", "cneg"))
    >>> round(common.estimate, 4), round(common.se, 4), round(common.Q, 2)
    (-0.4734, 0.041, 163.94)
    """
    check_boolean(continuity, "continuity")
    check_probability(prob)
    name = check_choice(check_measure(measure or ("logor" if time is None else "logirr")), COMMON, "measure")
    if (time is not None) != (name in OF_RATES):
        raise SpecError(f"measure '{name}' is {'of rates, and needs time' if time is None else 'not one of rates'}")
    who = "bm.mantel_haenszel"
    if time is None:
        reported = Reported(frame_of(data), arms_of_counts(events, total, no_events), who)
    else:
        if total is not None or no_events is not None:
            raise SpecError(
                "time: rates have no total and no no_events\n  leave these out, or leave time= out for risks"
            )
        sources = pair(events, "x1i", "x2i", "events") | pair(time, "t1i", "t2i", "time")
        reported = Reported(frame_of(data), sources, who)
    read = read_tables if time is None else read_rates
    observed = read(reported, ZeroCells(zero, add, False))
    pooled, single = _complete(observed, reported, warns=True), _complete(read(reported, SINGLES), reported)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate, se = COMMON[name](pooled)
        y, variances = SINGLE[name](single)
        tests = _tests(pooled, estimate, continuity) if name == "logor" else {}
        if name == "logirr":
            tests = {"Cochran-Mantel-Haenszel": _cmh_of_rates(pooled, continuity)}
    studies = len(next(iter(vars(pooled).values())))
    return _result("Mantel-Haenszel", name, (estimate, se), (y, variances["LS"]), studies, prob, tests)


def peto(
    data: Any,
    events: Arms,
    *,
    total: Arms | None = None,
    no_events: Arms | None = None,
    prob: float = 0.95,
) -> CommonEffect:
    """Common odds ratio by Peto's one-step method, for rare events, small effects and arms of about equal size.

    Parameters
    ----------
    data : DataFrame
        One row per study, or anything `pandas.DataFrame` takes.
    events : (str, str)
        Columns of the persons with the event, (first arm, second arm).
    total : (str, str), optional
        Columns of all persons of the arms; this or `no_events` is needed.
    no_events : (str, str), optional
        Columns of the persons without the event.
    prob : float, default 0.95
        Probability of the interval.

    Returns
    -------
    CommonEffect
        Prints as a table; `estimate`, `se`, `lower`, `upper`, `pvalue` of the log odds ratio, `Q`, `df`, `Q_pvalue`,
        `I2`, `tau2` and `to_dataframe()`.

    Raises
    ------
    SpecError
        For a column that does not exist, or an argument that is not as above.
    DataError
        For an impossible count; it names column, row and study.

    Warns
    -----
    BayesmetaWarning
        Where studies lack a value and are left out, have no event or nothing else in both arms, or where the common
        effect is not defined.

    Notes
    -----
    sum(O - E) / sum(V) with variance 1 / sum(V), for observed and expected events O, E of the first arm and their
    hypergeometric variance V. Nothing is added to cells; studies without events say nothing.

    References
    ----------
    Yusuf, Peto, Lewis, Collins and Sleight (1985), Prog. Cardiovasc. Dis. 27:335-371.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = bm.datasets.load("bcg")
    >>> common = bm.peto(trials, ("tpos", "cpos"), no_events=("tneg", "cneg"))
    >>> round(common.estimate, 4), round(common.se, 4), round(common.Q, 2)
    (-0.4744, 0.0407, 167.73)
    """
    check_probability(prob)
    reported = Reported(frame_of(data), arms_of_counts(events, total, no_events), "bm.peto")
    tables = _complete(read_tables(reported, ZeroCells("none", 0.5, False)), reported, warns=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess, V = peto_parts(tables)
        point = float(excess.sum() / V.sum()), float(1 / np.sqrt(V.sum()))
        return _result("Peto", "logor", point, (excess / V, 1 / V), len(V), prob, {})


def _complete(read: Any, reported: Reported, warns: bool = False) -> Any:
    """The studies that lack nothing."""
    columns = [np.asarray(getattr(read, name)) for name in read.__dataclass_fields__]
    known = ~np.isnan(columns).any(axis=0)
    if warns and not known.all():
        rows = listing(reported.frame.index[~known])
        warn(f"studies that lack a value were left out: rows {rows} ({(~known).sum()})", BayesmetaWarning)
    return type(read)(*(column[known] for column in columns))


def _odds_ratio(t: TwoByTwo) -> Point:
    """Robins, Breslow and Greenland (1986), equation 3."""
    P, Q, R, S = (t.a + t.d) / t.n, (t.b + t.c) / t.n, t.a * t.d / t.n, t.b * t.c / t.n
    r, s = R.sum(), S.sum()
    variance = (P * R).sum() / r**2 + (P * S + Q * R).sum() / (r * s) + (Q * S).sum() / s**2
    return float(np.log(r / s)), float(np.sqrt(variance / 2))


def _risk_ratio(t: TwoByTwo) -> Point:
    """Greenland and Robins (1985), equations 4 and 13."""
    r, s = (t.a * t.n2 / t.n).sum(), (t.c * t.n1 / t.n).sum()
    variance = (t.n1 * t.n2 * (t.a + t.c) / t.n**2 - t.a * t.c / t.n).sum() / (r * s)
    return float(np.log(r / s)), float(np.sqrt(variance))


def _risk_difference(t: TwoByTwo) -> Point:
    """Sato, Greenland and Robins (1989)."""
    u, w = t.n1 / t.n, t.n2 / t.n
    weight = (t.n1 * w).sum()
    estimate = (t.a * w - t.c * u).sum() / weight
    P = (t.c * u**2 - t.a * w**2 + u * w * (t.n2 - t.n1) / 2).sum()
    Q = ((t.a * t.d + t.c * t.b) / t.n).sum() / 2
    return float(estimate), float(np.sqrt(estimate * P + Q) / weight)


def _rate_ratio(r: Rates) -> Point:
    """Greenland and Robins (1985), section 4."""
    t = r.t1 + r.t2
    R, S = (r.x1 * r.t2 / t).sum(), (r.x2 * r.t1 / t).sum()
    variance = (r.t1 * r.t2 * (r.x1 + r.x2) / t**2).sum() / (R * S)
    return float(np.log(R / S)), float(np.sqrt(variance))


def _rate_difference(r: Rates) -> Point:
    """Greenland and Robins (1985), section 4."""
    weight = r.t1 * r.t2 / (r.t1 + r.t2)
    estimate = (weight * (r.x1 / r.t1 - r.x2 / r.t2)).sum() / weight.sum()
    return float(estimate), float(np.sqrt((weight**2 * (r.x1 / r.t1**2 + r.x2 / r.t2**2)).sum()) / weight.sum())


COMMON: dict[str, Callable[[Any], Point]] = {
    "logor": _odds_ratio,
    "logrr": _risk_ratio,
    "rd": _risk_difference,
    "logirr": _rate_ratio,
    "ird": _rate_difference,
}
SINGLE: dict[str, Callable[[Any], Estimate]] = {
    "logor": log_odds_ratio,
    "logrr": log_risk_ratio,
    "rd": risk_difference,
    "logirr": log_rate_ratio,
    "ird": rate_difference,
}
OF_RATES = ("logirr", "ird")


def _tests(t: TwoByTwo, log_ratio: float, continuity: bool) -> dict[str, tuple[float, int]]:
    """Of no effect, and of one odds ratio in all studies."""
    excess, V = peto_parts(t)
    cmh = (abs(np.nansum(excess)) - 0.5 * continuity) ** 2 / np.nansum(V)
    ratio = np.exp(log_ratio)
    x = t.a + t.c
    fitted = _fitted_cell(ratio, t.n1, x, t.n)
    inside = (fitted > 0) & (x > 0) & (t.b + t.d > 0)
    k = int(inside.sum())
    a = fitted[inside]
    n1, x, n, observed = t.n1[inside], x[inside], t.n[inside], t.a[inside]
    V = 1 / (1 / a + 1 / (n1 - a) + 1 / (x - a) + 1 / (n - n1 - x + a))
    breslow_day = float(((observed - a) ** 2 / V).sum())
    tarone = max(0.0, breslow_day - float((observed - a).sum() ** 2 / V.sum()))
    return {
        "Cochran-Mantel-Haenszel": (float(cmh), 1),
        "Breslow-Day": (breslow_day, k - 1),
        "Tarone": (tarone, k - 1),
    }


def _fitted_cell(ratio: float, n1: FloatArray, x: FloatArray, n: FloatArray) -> FloatArray:
    """Events of the first arm with the observed margins and this odds ratio, by the root that keeps its digits."""
    middle = n + (ratio - 1) * (n1 + x)
    return 2 * ratio * n1 * x / (middle + np.sqrt(np.maximum(middle**2 - 4 * ratio * (ratio - 1) * n1 * x, 0)))


def _cmh_of_rates(r: Rates, continuity: bool) -> tuple[float, int]:
    x, t = r.x1 + r.x2, r.t1 + r.t2
    excess = abs((r.x1 - x * r.t1 / t).sum()) - 0.5 * continuity
    return float(excess**2 / (x * r.t1 * r.t2 / t**2).sum()), 1


def _result(
    method: str,
    measure: str,
    point: Point,
    single: tuple[FloatArray, FloatArray],
    k: int,
    prob: float,
    tests: dict[str, tuple[float, int]],
) -> CommonEffect:
    """The common effect with the heterogeneity about it."""
    y, v = single
    usable = np.isfinite(y) & np.isfinite(v) & (v > 0)
    if lost := k - int(usable.sum()):
        warn(f"{lost} studies without an estimate of their own enter the common effect, not Q", BayesmetaWarning)
    if not np.isfinite(point).all():
        warn(f"no common effect by {method}: an arm has no event in any study, or nothing else", BayesmetaWarning)
    w = 1 / v[usable]
    df = max(int(usable.sum()) - 1, 0)
    Q = float((w * (y[usable] - point[0]) ** 2).sum()) if df else 0.0
    spread = float(w.sum() - (w**2).sum() / w.sum()) if df else 0.0
    tau2 = max(0.0, (Q - df) / spread) if spread > 0 else 0.0
    return CommonEffect(method, measure, *point, prob, k, Q, df, tau2, tests)


def _chi2(statistic: float, df: int) -> str:
    p = pvalue(_tail(statistic, df))
    return f"{fixed(statistic, 2)} on {df} df, p {p if p.startswith('<') else f'= {p}'}"


def _tail(statistic: float, df: int) -> float:
    return float(chdtrc(df, statistic)) if df > 0 else float("nan")
