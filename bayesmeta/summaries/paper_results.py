"""The results section of a paper in sentences: effects, prediction, heterogeneity, predictors, and what limits them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from bayesmeta import tree_schema as schema
from bayesmeta.bayes.chains import count, worst
from bayesmeta.display import remarks
from bayesmeta.display.free_parameters import MOST_EFFECTS, to_print
from bayesmeta.display.prose import MINUS, decimal, degrees, figures, p_equals, together, with_interval
from bayesmeta.display.tables import df_text, fixed, percent
from bayesmeta.inference.reference import JointTest
from bayesmeta.model.spec import Level
from bayesmeta.summaries.paper_numbers import NUMBERS, Numbers
from bayesmeta.tree.parameters import PSI, RHO, TAU
from bayesmeta.tree.response import DIFFERENCE, EFFECT
from bayesmeta.tree.specification import group

_MOST = 12  # coefficients of one kind that a sentence has room for


def results_paragraphs(about: Numbers) -> list[str]:
    effects = [*_effects(about), *_prediction(about), *_predictors(about)]
    variation = [*_between_groups(about), *_shares(about), *_tests(about), *_boundaries(about)]
    return [" ".join(part) for part in (effects, variation, list(_chains(about))) if part]


def _effects(about: Numbers) -> Iterator[str]:
    """The coefficients, those of one kind in one sentence."""
    frame = about.coefficients
    intercept = frame["term"].map(_is_constant) & about.regression
    kinds = [f"{what}{' at the intercept' * bool(at)}" for what, at in zip(frame["what"], intercept, strict=True)]
    pooled = "" if about.regression else "pooled "
    for kind, rows in frame.groupby(pd.Index(kinds), sort=False):
        shown = rows.iloc[:_MOST]
        items = [
            _coefficient(about, row, named=len(frame) > 1, first=i == 0) for i, (_, row) in enumerate(_each(shown))
        ]
        more = f" (and {len(rows) - _MOST} more, see bm.estimates)" if len(rows) > _MOST else ""
        name = f"{pooled}{kind}"
        start = f"The posterior mean of the {name}" if about.bayes else f"The {name}"
        yield f"{start} was {together(items)}{more}."


def _each(frame: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    return ((str(label), row) for label, row in frame.iterrows())


def _is_constant(term: object) -> bool:
    return str(term) == schema.INTERCEPT or str(term).endswith(f".{schema.INTERCEPT}")


def _coefficient(about: Numbers, row: pd.Series, named: bool, first: bool) -> str:
    ratio = about.response and about.measure.is_ratio
    values = [float(row[name]) for name in NUMBERS]
    shown = figures(values, positive=ratio, least=2 * ratio, se=float(row["se"]))
    of_draws = [_probability(about, row)] if row["probability"] else []
    more = of_draws if about.bayes else _test(row)
    known = np.isfinite(row["se"]) or np.isfinite(values[1])
    return with_interval(shown, about.interval * first, more if known else []) + _place(about, str(row["term"]), named)


def _test(row: pd.Series) -> list[str]:
    """z, or t with its degrees of freedom, and p; nothing where there is no test."""
    if np.isnan(row["pvalue"]):
        return []
    letter = "z" if np.isinf(row["df"]) else f"t({df_text(float(row['df']))})"
    return [f"{letter} = {decimal(float(row['statistic']), 2)}", p_equals(float(row["pvalue"]))]


def _probability(about: Numbers, row: pd.Series) -> str:
    """P(OR < 1) 0.9990 as an equation, of a ratio of ratios against 1; what rounds to one is a bound."""
    name, _, value = str(row["probability"]).rpartition(" ")
    if row["role"] == DIFFERENCE and about.response and about.measure.has_difference_response:
        name = name.replace("P(", "P(ratio ").replace(" 0)", " 1)")
    name = name.replace("P(<", f"P({row['role'] or 'coefficient'} <").replace(
        "P(>", f"P({row['role'] or 'coefficient'} >"
    )
    return f"{name} > 0.9999" if value == "1.0000" else f"{name} = {value}"


def _place(about: Numbers, term: str, named: bool) -> str:
    """For which outcome, category or predictor; per unit of a number."""
    outcomes = about.spec.outcomes
    outcome, dot, inner = term.partition(".")
    prefixed = len(outcomes) > 1 and bool(dot) and outcome in outcomes
    plain = inner if prefixed else term
    if _is_constant(term):
        return f" for {outcome}" * prefixed
    data = about.spec.data
    if about.spec.analysis.get("roles", {}).get(term) == EFFECT:  # a column of contrasts, of which there are no units
        return f" for {term}"
    by_unit = plain in data and is_numeric_dtype(data[plain]) and not is_bool_dtype(data[plain])
    if by_unit and data[plain].nunique() > 2:
        return f" per unit of {plain}" + f" for {outcome}" * prefixed
    return f" for {term}" * named


def _prediction(about: Numbers) -> Iterator[str]:
    new = about.new_effects
    ratio = about.response and about.measure.is_ratio
    items = []
    for outcome, (lower, upper) in new.items():
        _, low, high = figures([lower, lower, upper], positive=ratio, least=2 * ratio)
        items.append(f"{low} to {high}" + f" for {outcome}" * (len(new) > 1))
    if items:
        yield f"The {percent(about.prob)} prediction interval was {together(items)}."


def _predictors(about: Numbers) -> Iterator[str]:
    if (test := about.moderators) is not None:
        yield f"The test of all predictors together gave {_joint(test)}."
    elif (test := about.all_effects) is not None:
        yield f"The test that all effects are zero gave {_joint(test)}."
    if about.explained is not None:
        what = "predictor" if about.moderators is None else "predictors"
        yield f"The {what} explained {fixed(about.explained, 1)}% of the variance of true effects (R²)."


def _joint(test: JointTest) -> str:
    """Chi-squared, or F with both degrees of freedom."""
    if np.isinf(test.df2):
        return _chi_squared(test.statistic, test.df1, test.pvalue)
    df = f"{test.df1:.0f} and {df_text(test.df2)} degrees of freedom"
    return f"F = {fixed(test.statistic, 2)} on {df} ({p_equals(test.pvalue)})"


def _chi_squared(statistic: float, df: float, p: float) -> str:
    return f"χ² = {fixed(statistic, 2)} on {degrees(df)} ({p_equals(p)})"


def _between_groups(about: Numbers) -> Iterator[str]:
    """Variances and SDs of levels with one effect, SDs and correlations of those with several."""
    residual = "residual " * about.regression
    for level, rows in about.between_groups():
        place = about.between(level.name)
        if level.dim > 1:
            yield from _several_effects(about, level, rows, place)
            continue
        of = "" if level.effects == (schema.INTERCEPT,) else f" of the random effect {level.effects[0]}"
        (variance,), (sd,) = (rows[rows["kind"] == kind].to_dict("records") for kind in (PSI, TAU))
        squared, plain = _size(about, variance), _size(about, sd, first=False)
        mean = "posterior mean of the " * about.bayes
        equal = "that of the standard deviation τ" if about.bayes else "the standard deviation τ"
        yield f"The {mean}{residual}variance τ²{of} {place} was {squared}, {equal} {plain}."
        if about.by_q_profile and not variance["lower"] <= variance["estimate"] <= variance["upper"]:
            yield "The Q-profile interval does not depend on the estimator, and need not contain its estimate."


def _size(about: Numbers, row: Mapping[Any, Any] | pd.Series, first: bool = True) -> str:
    values = [float(row[name]) for name in NUMBERS]
    return with_interval(figures(values, positive=True, se=float(row["se"])), about.interval * first)


def _several_effects(about: Numbers, level: Level, rows: pd.DataFrame, place: str) -> Iterator[str]:
    shown = to_print(rows[rows["kind"] != PSI], [about.tree])
    mean = "posterior mean of the " * about.bayes
    many = level.dim > MOST_EFFECTS
    own_rho = "correlation over one unit of time" if level.structure.own_parameters else "correlation"
    for kind, words in ((TAU, "standard deviation τ"), (RHO, own_rho)):
        own = [(label, row) for label, row in _each(rows[rows["kind"] == kind]) if label in shown]
        own = [(label, row) for label, row in own if np.isfinite(row["estimate"])]
        if not own or (kind == RHO and level.structure.uncorrelated):
            continue
        every = _every(level, kind, own, many and shown[own[0][0]] != own[0][0])
        items = []
        for i, (_, row) in enumerate(own[:1] if every else own):
            text = _size(about, row, first=i == 0) if kind == TAU else _correlation(about, row, first=i == 0)
            whose = f" for {str(row['term']).replace('~', ' and ')}" if row["term"] else ""
            items.append(text + (every or whose))
        yield f"The {mean}{words} {place} was {together(items)}."


def _every(level: Level, kind: str, rows: list[tuple[str, pd.Series]], shared: bool) -> str:
    """What one number stands for, where all effects or pairs have the same; "" where each has its own."""
    if level.structure.own_parameters and kind == RHO:
        return ""
    free = level.structure.n_tau(level.dim) if kind == TAU else level.structure.n_rho(level.dim)
    values = [float(row["estimate"]) for _, row in rows]
    if not shared and (free > 1 or len(rows) == 1 or not np.allclose(values, values[0], rtol=1e-9, atol=0)):
        return ""
    return " for all effects" if kind == TAU else " for all pairs"


def _correlation(about: Numbers, row: pd.Series, first: bool) -> str:
    values = [float(row[name]) for name in NUMBERS]
    return with_interval(figures(values, least=2), about.interval * first)


def _shares(about: Numbers) -> Iterator[str]:
    items: list[str] = []
    for outcome, values in about.I2.items():
        shown = [fixed(value, 1) if np.isfinite(value) else "" for value in values]
        text = with_interval(shown, about.interval * (not items), unit="%")
        items.append(text + (f" {outcome}" if outcome == schema.OVERALL else f" for {outcome}") * (len(about.I2) > 1))
    if items:
        levels = [f"{fixed(share, 1)}% {about.between(level)}" for level, share in about.level_shares.items()]
        parts = f": {together(levels)}" if levels else ""
        yield f"{'Residual ' * about.regression}I² was {together(items)}{parts}."


def _tests(about: Numbers) -> Iterator[str]:
    table = about.heterogeneity
    if table is None:
        return
    items = []
    for outcome, row in _each(table):
        p = p_equals(float(row["pvalue"])) if np.isfinite(row["pvalue"]) else ""
        text = f"{fixed(float(row['Q']), 2)} on {degrees(float(row['df']))}{f' ({p})' * bool(p)}"
        items.append(text + (f" {outcome}" if outcome == schema.OVERALL else f" for {outcome}") * (len(table) > 1))
    yield f"Cochran's Q was {together(items)}."
    share = float(table["I2"].iloc[0])
    if not about.I2 and np.isfinite(share):
        yield f"I² was {fixed(share, 1)}%."


def _boundaries(about: Numbers) -> Iterator[str]:
    if about.bayes:
        return
    for level, edge in remarks.boundaries(about.tree).items():
        yield (
            f"The estimate of the variation {about.between(level)} lies at the boundary of its range "
            f"({_edge_in_words(edge)}), where standard errors and Wald intervals of its parameters are not valid."
        )


def _edge_in_words(edge: str) -> str:
    """
    >>> _edge_in_words("tau of Intercept is zero"), _edge_in_words("rho of a~b is -1, tau of x is zero")
    ('τ is zero', 'the correlation of a and b is −1, τ of x is zero')
    """
    words = edge.replace(f"tau of {schema.INTERCEPT} is", "τ is").replace("tau of", "τ of")
    words = re.sub("rho of (.*?)~(.*?) is -?1", lambda match: match[0].replace("~", " and ", 1), words)
    return words.replace("rho of", "the correlation of").replace(" is -1", f" is {MINUS}1")


def _chains(about: Numbers) -> Iterator[str]:
    """The worst of the diagnostics of a posterior."""
    if not about.bayes or schema.DIAGNOSTICS not in about.tree.children:
        return
    checks = group(about.tree, schema.DIAGNOSTICS)
    r_hat, bulk, tail = (worst(checks[name])[1] for name in ("r_hat", "ess_bulk", "ess_tail"))
    if np.isfinite(r_hat):
        yield f"The largest R-hat of all parameters was {fixed(r_hat, 3)}."
    if np.isfinite([bulk, tail]).all():
        sizes = f"{fixed(bulk, 0)} in the bulk and {fixed(tail, 0)} in the tails"
        yield f"The smallest effective sample sizes were {sizes}."
    divergences = int(checks["divergences"])
    yield f"There {'was' if divergences == 1 else 'were'} {count(divergences, 'divergence')}."
