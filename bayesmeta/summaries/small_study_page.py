"""All methods for small-study effects that a fit admits, side by side, and why others do not apply."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayesmeta.display.export import Page
from bayesmeta.display.tables import Block, Facts, Table, df_text, fixed, number, percent, pvalue
from bayesmeta.errors import AssumptionWarning, BayesmetaError
from bayesmeta.inference import small_study
from bayesmeta.inference.reference import Vcov
from bayesmeta.inference.small_study.evidence import Evidence, evidence
from bayesmeta.measures import measure
from bayesmeta.tree.specification import reading_once, spec_from_tree

CR2 = "CR2"
OBSERVED = "without adjustment"
ALL = "all outcomes together"
_TESTS = {
    "egger": "Egger",
    "egger_joint": "Egger, all slopes",
    "pustejovsky_rodgers": "Pustejovsky and Rodgers",
    "harbord": "Harbord",
    "peters": "Peters",
    "arcsine": "Rücker (arcsine)",
    "rank": "Begg (rank correlation)",
}
_ESTIMATES = {
    "trim_fill": "Trim and fill",
    "pet_peese": "PET-PEESE",
    "limit_meta": "Limit meta-analysis",
    "henmi_copas": "Henmi and Copas",
}
_OTHERS = ("fail_safe",)
_BY_COUNTS = ("harbord", "peters", "arcsine")


@dataclass(frozen=True, eq=False, repr=False)
class SmallStudyPage(Page):
    """Results of `bm.small_study` for one outcome of a fit, or for `ALL` of them; prints as tables.

    results : by the name of the function.  reasons : why the others have none.
    """

    outcome: str
    label: str
    results: Mapping[str, xr.Dataset]
    reasons: Mapping[str, str]

    def blocks(self) -> list[Block]:
        """Tests, estimates, and what does not apply."""
        parts: list[Block] = []
        if tests := [self._test(name) for name in _TESTS if name in self.results]:
            parts.append(Table("Tests of small-study effects", ("statistic", "df", "p-value"), tuple(tests)))
        if estimates := [self._estimate(name) for name in _ESTIMATES if name in self.results]:
            header = ("estimate", f"{percent(self._prob)} lower", "upper", "remark")
            parts.append(Table(f"Estimates ({self.label})", header, tuple(estimates)))
        if "fail_safe" in self.results:
            n = self.results["fail_safe"]["n"].item()
            text = f"{n:,.0f} studies without effect would make the result not significant (Rosenthal)"
            parts.append(Facts((("fail-safe N", text),)))
        if self.reasons:
            parts.append(Facts(tuple(self.reasons.items()), "Not applicable"))
        return parts

    def record(self) -> dict[str, Any]:
        """The same for other programs: numbers by method, and `how` they were made."""
        return {
            "outcome": self.outcome,
            "results": {name: {**_scalars(each), "how": each.attrs} for name, each in self.results.items()},
            "not_applicable": dict(self.reasons),
        }

    @property
    def _prob(self) -> float:
        return next(float(each.attrs["prob"]) for each in self.results.values() if "prob" in each.attrs)

    def _test(self, name: str) -> tuple[str, ...]:
        out, label = self.results[name], _TESTS[name]
        if name == "rank":
            return label, f"tau = {fixed(out['tau'].item(), 3)}", "", pvalue(out["pvalue"].item())
        how = f" ({out.attrs['model']}{', CR2' if out.attrs.get('vcov') == CR2 else ''})"
        if name == "egger_joint":
            df1, df2, statistic = (out[key].item() for key in ("df1", "df2", "statistic"))
            letter, dfs = ("chi2", df_text(df1)) if np.isinf(df2) else ("F", f"{df_text(df1)}, {df_text(df2)}")
            return f"{label}{how}", f"{letter} = {fixed(statistic, 3)}", dfs, pvalue(out["pvalue"].item())
        df = out["df"].item()
        letter = "z" if np.isinf(df) else "t"
        statistic = f"{letter} = {fixed(out['statistic'].item(), 3)}"
        return f"{label}{how}", statistic, "" if np.isinf(df) else df_text(df), pvalue(out["pvalue"].item())

    def _estimate(self, name: str) -> tuple[str, ...]:
        out = self.results[name]
        se = out["se"].item()
        cells = tuple(number(out[key].item(), se) for key in ("estimate", "lower", "upper"))
        return _ESTIMATES[name], *cells, _remark(name, out)


def _remark(name: str, out: xr.Dataset) -> str:
    """What else a method says in one phrase."""
    if name == "trim_fill":
        k0 = int(out["k0"])
        return f"{k0} filled in on the {out['side'].item()}" if k0 else "none filled in"
    if name == "pet_peese":
        return "by PEESE" if out["selected"].item() == "peese" else "by PET"
    return ""


def _scalars(out: xr.Dataset) -> dict[str, Any]:
    """Numbers by name, and of those over outcomes by outcome."""
    numbers: dict[str, Any] = {}
    for name, value in out.data_vars.items():
        one = not value.ndim
        numbers[str(name)] = value.item() if one else value.to_series().to_dict()
    return numbers


def small_study_page(
    tree: xr.DataTree, outcome: str | None = None, vcov: Vcov | None = None, prob: float = 0.95
) -> SmallStudyPage:
    """What all methods say of one outcome.

    Parameters
    ----------
    tree : results tree of `bm.fit`.
    outcome : required for a model with several.
    vcov : for the regressions, see `bm.estimates`; of dependent effects by default CR2 with the outer groups.
    prob : probability of intervals.

    Raises
    ------
    SpecError, DataError
        When not even Egger's test applies: for a posterior, or fewer than three effects.
    """
    with reading_once(), warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)  # which the page has as reasons
        of = evidence(tree, outcome, "small_study")
        vcov = CR2 if vcov is None and of.dependence else vcov
        results, reasons = dict[str, xr.Dataset](), dict[str, str]()
        for name in (*_TESTS, *_ESTIMATES, *_OTHERS):
            if name == "egger_joint" or not _asked(name, of):
                continue
            try:
                results[name] = _call(name, tree, of, vcov, prob)
            except BayesmetaError as error:
                reasons[name] = str(error).splitlines()[0].removeprefix(f"{name}: ")
        better = measure(of.spec.measure).asymmetry_test
        if better and "egger" in results:
            reasons[better] = "the sizes of the groups are not known; Egger's test sees an artefact of this measure"
    return SmallStudyPage(of.outcome, measure(of.spec.measure).label, results, reasons)


def small_study_pages(tree: xr.DataTree, vcov: Vcov | None = None, prob: float = 0.95) -> dict[str, SmallStudyPage]:
    """The same of every outcome by its name, and of several also what is tested of `ALL`."""
    outcomes = spec_from_tree(tree).outcomes
    pages = {outcome: small_study_page(tree, outcome, vcov, prob) for outcome in outcomes}
    return pages if len(outcomes) == 1 else {**pages, ALL: _of_all(tree, outcomes, vcov)}


def _of_all(tree: xr.DataTree, outcomes: Sequence[str], vcov: Vcov | None) -> SmallStudyPage:
    """The joint test, for which it takes the same covariance as those of single outcomes."""
    results, reasons = dict[str, xr.Dataset](), dict[str, str]()
    with reading_once(), warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        each = [evidence(tree, outcome, "small_study") for outcome in outcomes]
        robust = vcov is None and any(of.dependence for of in each)
        try:
            results["egger_joint"] = small_study.egger_joint(tree, vcov=CR2 if robust else vcov)
        except BayesmetaError as error:
            reasons["egger_joint"] = str(error).splitlines()[0].removeprefix("egger_joint: ")
    return SmallStudyPage(ALL, measure(each[0].spec.measure).label, results, reasons)


def _asked(name: str, of: Evidence) -> bool:
    """Whether a method belongs to the measure and to what is known of the effects; others need no reason."""
    behind = of.spec.arm_columns.get(of.outcome, {})
    better = measure(of.spec.measure).asymmetry_test
    if name == "egger":
        return not better or "n" not in behind
    if name == "pustejovsky_rodgers":
        return name == better and "n" in behind
    return name not in _BY_COUNTS or "events" in behind


def _call(name: str, tree: xr.DataTree, of: Evidence, vcov: Vcov | None, prob: float) -> xr.Dataset:
    function: Callable[..., xr.Dataset] = getattr(small_study, name)
    arguments: dict[str, Any] = {} if name in ("rank", *_OTHERS) else {"prob": prob}
    if name not in ("trim_fill", "limit_meta"):
        arguments["outcome"] = of.outcome
    if name in ("egger", "pustejovsky_rodgers", "pet_peese"):
        arguments["vcov"] = vcov
    return function(tree, **arguments)
