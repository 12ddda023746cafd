"""What a paper says of small-study effects: a sentence for each method that its authors have used, and its result."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesmeta._validation import shown
from bayesmeta.display.prose import decimal, figures, p_equals, together, with_interval
from bayesmeta.display.tables import df_text, percent
from bayesmeta.errors import SpecError
from bayesmeta.summaries.paper_numbers import Numbers
from bayesmeta.summaries.references import BELL_MCCAFFREY, Bibliography

NUMBERS = ("estimate", "lower", "upper")


class _Words(NamedTuple):
    """How a method is called in the methods section, and in the results section, and what a paper cites for it."""

    method: str
    result: str
    reference: str


_REGRESSION = "regression of the effects on {predictor}"
_PREDICTORS = {
    "se": "their standard errors",
    "variance": "their sampling variances",
    "n": "the numbers of participants",
    "inverse_n": "the reciprocals of the numbers of participants",
}
_TESTS: Mapping[str, _Words] = {
    "egger": _Words(
        f"Egger's test, a {_REGRESSION}",
        "Egger's test",
        "Egger M, Davey Smith G, Schneider M, Minder C (1997). Bias in meta-analysis detected by a simple, graphical "
        "test. BMJ 315:629-634.",
    ),
    "egger_joint": _Words(
        f"Egger's test of all outcomes together, a {_REGRESSION}",
        "The joint test of all outcomes",
        "Hong C, Salanti G, Morton SC, Riley RD, Chu H, Kimmel SE, Chen Y (2020). Testing small study effects in "
        "multivariate meta-analysis. Biometrics 76:1240-1250.",
    ),
    "pustejovsky_rodgers": _Words(
        "Egger's regression on √(1/n1 + 1/n2), of which the effects are no part",
        "The regression test",
        "Pustejovsky JE, Rodgers MA (2019). Testing for funnel plot asymmetry of standardized mean differences. "
        "Research Synthesis Methods 10:57-71.",
    ),
    "peters": _Words(
        "Peters' test",
        "Peters' test",
        "Peters JL, Sutton AJ, Jones DR, Abrams KR, Rushton L (2006). Comparison of two methods to detect publication "
        "bias in meta-analysis. JAMA 295:676-680.",
    ),
    "harbord": _Words(
        "Harbord's score test",
        "Harbord's test",
        "Harbord RM, Egger M, Sterne JAC (2006). A modified test for small-study effects in meta-analyses of "
        "controlled trials with binary endpoints. Statistics in Medicine 25:3443-3457.",
    ),
    "arcsine": _Words(
        "a regression of arcsine differences",
        "The arcsine test",
        "Rücker G, Schwarzer G, Carpenter J (2008). Arcsine test for publication bias in meta-analyses with binary "
        "outcomes. Statistics in Medicine 27:746-763.",
    ),
    "macaskill": _Words(
        "Macaskill's regression on the numbers of participants",
        "Macaskill's test",
        "Macaskill P, Walter SD, Irwig L (2001). A comparison of methods to detect publication bias in meta-analysis. "
        "Statistics in Medicine 20:641-654.",
    ),
    "deeks": _Words(
        "Deeks' test",
        "Deeks' test",
        "Deeks JJ, Macaskill P, Irwig L (2005). The performance of tests of publication bias and other sample size "
        "effects in systematic reviews of diagnostic test accuracy was assessed. Journal of Clinical Epidemiology "
        "58:882-893.",
    ),
    "rank": _Words(
        "Begg's rank correlation",
        "The rank correlation",
        "Begg CB, Mazumdar M (1994). Operating characteristics of a rank correlation test for publication bias. "
        "Biometrics 50:1088-1101.",
    ),
}
_PET = (
    "Stanley TD, Doucouliagos H (2014). Meta-regression approximations to reduce publication selection bias. Research "
    "Synthesis Methods 5:60-78."
)
_ESTIMATES: Mapping[str, _Words] = {
    "trim_fill": _Words(
        "trim and fill (estimator {estimator})",
        "Trim and fill",
        "Duval S, Tweedie R (2000). Trim and fill: a simple funnel-plot-based method of testing and adjusting for "
        "publication bias in meta-analysis. Biometrics 56:455-463.",
    ),
    "pet": _Words("the precision-effect test (PET)", "PET", _PET),
    "peese": _Words("the precision-effect estimate with standard errors (PEESE)", "PEESE", _PET),
    "pet_peese": _Words("PET-PEESE", "PET-PEESE", _PET),
    "limit_meta": _Words(
        "a limit meta-analysis",
        "The limit meta-analysis",
        "Rücker G, Schwarzer G, Carpenter JR, Binder H, Schumacher M (2011). Treatment-effect estimates adjusted for "
        "small-study effects via a limit meta-analysis. Biostatistics 12:122-142.",
    ),
    "henmi_copas": _Words(
        "the interval of Henmi and Copas about the common-effect estimate",
        "The common-effect estimate",
        "Henmi M, Copas JB (2010). Confidence intervals for random effects meta-analysis and robustness to publication "
        "bias. Statistics in Medicine 29:2969-2983.",
    ),
}


def small_study_sentences(
    about: Numbers, results: xr.Dataset | Sequence[xr.Dataset] | None, cite: Bibliography
) -> tuple[list[str], list[str]]:
    """Sentences for the methods, and for the results section.

    results : what functions of `bm.small_study` have returned.

    Raises
    ------
    SpecError
        For anything else, and for results of which a paper has nothing to say, such as a fail-safe N.
    """
    several: list[Any] = list(results) if isinstance(results, list | tuple) else [results] * (results is not None)
    listed: list[xr.Dataset] = []
    for each in several:
        test = each.attrs.get("test") if isinstance(each, xr.Dataset) else None
        listed.append(each)
        if test not in _TESTS and test not in _ESTIMATES:
            raise SpecError(
                f"small_study: {shown(test) if test else f'a {type(each).__name__}'} is no result that the text speaks "
                "of\n  give what tests and estimates of bm.small_study return, such as egger(tree)"
            )
    tests = [each for each in listed if each.attrs["test"] in _TESTS]
    estimates = [each for each in listed if each.attrs["test"] in _ESTIMATES]
    methods = [
        *([f"Small-study effects were tested by {_joined(tests, _TESTS, cite)}."] if tests else []),
        *([f"They were adjusted for by {_joined(estimates, _ESTIMATES, cite)}."] if estimates else []),
    ]
    if estimates and not tests:
        methods = [f"Small-study effects were adjusted for by {_joined(estimates, _ESTIMATES, cite)}."]
    return methods, [*map(_tested, tests), *(_estimated(about, each) for each in estimates)]


def _joined(results: list[xr.Dataset], words: Mapping[str, _Words], cite: Bibliography) -> str:
    """Every method with how it was done and its reference."""
    items = []
    for each in results:
        own = words[each.attrs["test"]]
        said = {**each.attrs, "predictor": _PREDICTORS.get(each.attrs.get("predictor", ""), "")}
        items.append(f"{own.method.format_map(said)}{_how(each, cite)}{cite.cite(own.reference)}")
    return together(items)


def _how(out: xr.Dataset, cite: Bibliography) -> str:
    """Which model a regression had."""
    if out.attrs["test"] in ("rank", "trim_fill", "limit_meta", "henmi_copas"):
        return ""
    kind = out.attrs.get("vcov", "model")
    robust = (
        f" with a {kind} covariance by {out.attrs.get('cluster')}{cite.cite(BELL_MCCAFFREY)}" if kind != "model" else ""
    )
    return (" in the model of the effects" if out.attrs.get("model") == "mixed" else "") + robust


def _tested(out: xr.Dataset) -> str:
    name = _TESTS[out.attrs["test"]].result
    if out.attrs["test"] == "rank":
        return f"{name} gave τ = {decimal(out['tau'].item(), 2)} ({p_equals(out['pvalue'].item())})."
    if "df1" in out:
        df1, df2 = out["df1"].item(), out["df2"].item()
        of_all = f"χ²({df1})" if np.isinf(df2) else f"F({df1}, {df_text(df2)})"
        return f"{name} gave {of_all} = {decimal(out['statistic'].item(), 2)} ({p_equals(out['pvalue'].item())})."
    df = out["df"].item()
    letter = "z" if np.isinf(df) else f"t({df_text(df)})"
    return f"{name} gave {letter} = {decimal(out['statistic'].item(), 2)} ({p_equals(out['pvalue'].item())})."


def _estimated(about: Numbers, out: xr.Dataset) -> str:
    """An adjusted estimate on the scale of the text."""
    ratio = about.response and about.measure.is_ratio
    ends = np.array([out[name].item() for name in NUMBERS])
    values = [float(value) for value in (about.measure.to_response(ends) if about.response else ends)]
    se = float("nan") if about.response and about.measure.has_response else out["se"].item()
    interval = f"{percent(float(out.attrs['prob']))} CI"
    text = with_interval(figures(values, positive=ratio, least=2 * ratio, se=se), interval, [])
    name, remark = _ESTIMATES[out.attrs["test"]].result, _remark(out)
    return f"{name}{remark} gave {text}."


def _remark(out: xr.Dataset) -> str:
    extra: dict[str, Any] = out.attrs
    if extra["test"] == "trim_fill":
        k0 = int(out["k0"])
        return f", with {k0} effects filled in on the {out['side'].item()}," if k0 else ", which filled in no effect,"
    if extra["test"] == "pet_peese":
        return f" ({'PEESE' if out['selected'].item() == 'peese' else 'PET'})"
    return ""
