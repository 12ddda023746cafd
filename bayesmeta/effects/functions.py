"""The public functions of effect sizes: each the call of its family, bound to a recipe, with the docstring of both."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate

import pandas as pd

from bayesmeta.effects import (
    associations,
    change,
    controlled_change,
    one_group,
    paired,
    rates,
    reliability,
    superiority,
    two_by_two,
    two_groups,
)
from bayesmeta.effects.call_words import SHARED
from bayesmeta.effects.count_calls import of_counts, of_events, of_genotypes, of_margins, of_pairs, of_rate, of_rates
from bayesmeta.effects.recipe import RECIPES, Recipe
from bayesmeta.effects.value_calls import (
    of_alphas,
    of_changes,
    of_controlled_changes,
    of_correlations,
    of_mean,
    of_means,
    of_ranks,
    of_regressions,
    of_sd,
    of_sd_changes,
    of_sds,
    of_statistics,
)

__all__ = [
    "alpha",
    "alpha_cube_root",
    "alpha_log",
    "arcsine_difference",
    "arcsine_proportion",
    "area_under_curve",
    "biserial",
    "biserial_z",
    "change_superiority",
    "conditional_odds_ratio",
    "correlation",
    "cv_ratio",
    "cv_ratio_change",
    "double_arcsine_proportion",
    "double_root_rate",
    "fisher_z",
    "glass_delta",
    "glass_delta_unequal_sds",
    "hedges_g",
    "hedges_g_from",
    "log_cv",
    "log_mean",
    "log_proportion",
    "log_rate",
    "log_sd",
    "logit_proportion",
    "marginal_odds_ratio",
    "marginal_odds_ratio_from_totals",
    "marginal_risk_difference",
    "marginal_risk_ratio",
    "mean",
    "mean_change",
    "mean_difference",
    "odds_ratio",
    "odds_ratio_from_smd",
    "odds_ratio_from_smd_normal",
    "paired_peto_odds_ratio",
    "partial_correlation",
    "partial_correlation_z",
    "peto_odds_ratio",
    "phi_coefficient",
    "phi_z",
    "point_biserial",
    "point_biserial_z",
    "pre_post_control",
    "pre_post_control_raw",
    "pre_post_control_separate",
    "probability_of_superiority",
    "probability_of_superiority_equal_sds",
    "probit_difference",
    "probit_proportion",
    "proportion",
    "r_squared",
    "r_squared_fixed",
    "r_squared_fixed_z",
    "r_squared_z",
    "rate",
    "rate_difference",
    "rate_ratio",
    "ratio_of_means",
    "ratio_of_means_change",
    "relative_excess_heterozygosity",
    "risk_difference",
    "risk_ratio",
    "root_rate",
    "root_rate_difference",
    "semipartial_correlation",
    "semipartial_correlation_z",
    "smd_from_odds_ratio",
    "smd_from_odds_ratio_normal",
    "smd_unequal_sds",
    "standardised_change",
    "standardised_change_pooled",
    "standardised_change_pooled_unequal_sds",
    "standardised_change_raw",
    "standardised_change_raw_unequal_sds",
    "standardised_mean",
    "tetrachoric_correlation",
    "tetrachoric_z",
    "unbiased_correlation",
    "variability_ratio",
    "variability_ratio_change",
    "yules_q",
    "yules_y",
]

FORMULAS = (  # the modules that enter recipes when they are imported
    *(two_by_two, paired, rates, two_groups, superiority, associations, one_group, change, controlled_change),
    reliability,
)
_EXAMPLES: dict[Callable[..., pd.DataFrame], tuple[str, str]] = {  # data, and the rest of the call
    of_counts: (
        '{"ill": [4], "ill_control": [11], "n": [123], "n_control": [139]}',
        '("ill", "ill_control"), total=("n", "n_control")',
    ),
    of_pairs: ('{"both": [30], "first": [15], "second": [10], "neither": [45]}', "list(studies)"),
    of_margins: (
        '{"before": [45], "after": [40], "n": [100], "again": [100]}',
        '("before", "after"), total=("n", "again"), r=0.5',
    ),
    of_rates: ('{"x": [9], "x0": [19], "t": [413], "t0": [398]}', '("x", "x0"), ("t", "t0")'),
    of_events: ('{"events": [16], "persons": [17]}', '"events", total="persons"'),
    of_rate: ('{"events": [3], "years": [200]}', '"events", "years"'),
    of_genotypes: ('{"AA": [40], "Aa": [50], "aa": [10]}', '("AA", "Aa", "aa")'),
    of_means: (
        '{"m": [24.1], "m0": [21.0], "sd": [5.1], "sd0": [4.9], "n": [30], "n0": [28]}',
        '("m", "m0"), ("sd", "sd0"), ("n", "n0")',
    ),
    of_sds: ('{"sd": [5.1], "sd0": [4.9], "n": [30], "n0": [28]}', '("sd", "sd0"), ("n", "n0")'),
    of_statistics: ('{"t": [2.1], "n": [30], "n0": [28]}', '("n", "n0"), t="t"'),
    of_ranks: ('{"auc": [0.7], "n": [30], "n0": [28]}', '"auc", ("n", "n0")'),
    of_correlations: ('{"r": [0.36], "n": [69]}', '"n", r="r"'),
    of_regressions: ('{"t": [4.61], "n": [218], "m": [4], "R2": [0.24]}', '"n", "m", {stated}'),
    of_mean: ('{"m": [10.0], "sd": [2.0], "n": [10]}', '"m", "sd", "n"'),
    of_sd: ('{"sd": [2.0], "n": [10]}', '"sd", "n"'),
    of_changes: (
        '{"after": [30], "before": [27], "sd1": [6], "sd0": [7], "n": [30]}',
        '("after", "before"), ("sd1", "sd0"), "n", r=0.5',
    ),
    of_sd_changes: ('{"sd1": [6], "sd0": [7], "n": [30]}', '("sd1", "sd0"), "n", r=0.5'),
    of_controlled_changes: (
        '{"b": [20], "b0": [21], "a": [26], "a0": [23], "sd": [5], "sd0": [6], "n": [30], "n0": [28]}',
        '("b", "b0"), ("a", "a0"), ("sd", "sd0"), ("n", "n0"), r=0.6{after}',
    ),
    of_alphas: ('{"alpha": [0.93], "items": [20], "n": [103]}', '"alpha", "items", "n"'),
}
_RETURNS = """Returns
-------
DataFrame
    The rows of the data, in order and with their index, and the new columns; NaN where there is no estimate. Its
    `attrs` hold `measure`, "{measure}" here, `columns`, the measure of every new column, `arms`, and `arm_columns`, the
    columns that it was made from, which `bm.specify` reads.

Raises
------
SpecError
    For a column that does not exist, a new column that exists already and was not made by the same function, or an
    argument that is not as above.
DataError
    For a value that is not a number, infinite or impossible; it names column, row and study.

Warns
-----
AssumptionWarning
    Where something is assumed that no argument says, such as what is added to empty cells, and for a count that is
    not a whole number.
BayesmetaWarning
    Where rows have no estimate, with their number."""


def _bound[**P](
    call: Callable[Concatenate[Recipe, P], pd.DataFrame], name: str, function: str = "", example: str = ""
) -> Callable[P, pd.DataFrame]:
    """The call of a family for one recipe; under another name, with its example, where another family has the first."""
    recipe = RECIPES[name]
    recipe = replace(recipe, function=function or recipe.function, example=example or recipe.example)

    @wraps(call)
    def bound(*args: P.args, **kwargs: P.kwargs) -> pd.DataFrame:
        return call(recipe, *args, **kwargs)

    form = inspect.signature(call)
    bound.__signature__ = form.replace(parameters=list(form.parameters.values())[1:])  # type: ignore[attr-defined]
    bound.__name__ = bound.__qualname__ = recipe.function
    bound.__module__ = __name__
    bound.__doc__ = _docstring(recipe, call)
    return bound


def _docstring(recipe: Recipe, call: Callable[..., Any]) -> str:
    meaning, formula, source = recipe.paragraphs
    parameters = inspect.getdoc(call) or ""
    for word, text in SHARED.items():
        parameters = parameters.replace(f"{{{word}}}", text)
    unless = '"only0", with a warning where something is added' if recipe.adds else '"none"'
    parameters = parameters.replace("{zero}", unless)
    sections = [
        f"{meaning}\n",
        f"Parameters\n----------\n{parameters}",
        _RETURNS.replace("{measure}", recipe.measure),
        f"Notes\n-----\n{_filled(formula)}\n{_metafor(recipe)}",
        f"References\n----------\n{_filled(source)}",
        f"Examples\n--------\n{_example(recipe, call)}",
    ]
    return "\n\n".join(sections).replace("\n\n\n", "\n\n") + "\n"


def _metafor(recipe: Recipe) -> str:
    return f"{'It is' if ' ' in recipe.metafor else 'In escalc it is'} {recipe.metafor}."


def _filled(text: str) -> str:
    return textwrap.fill(text, 116, break_long_words=False, break_on_hyphens=False)


def _example(recipe: Recipe, call: Callable[..., Any]) -> str:
    data, rest = _EXAMPLES[call]
    stated = 'r_squared="R2"' if "fi" in recipe.inputs.arguments else 't="t"'
    stated += ', r_squared="R2"' if {"ti", "r2i"} <= set(recipe.inputs.arguments) else ""
    after = ', sd_after=("sd", "sd0")' if "sd_after1" in recipe.inputs.arguments else ""
    rest = rest.replace("{stated}", stated).replace("{after}", after)
    return "\n".join(
        [
            ">>> import bayesmeta as bm",
            f">>> studies = {data}",
            f">>> table = bm.effects.{recipe.function}(studies, {rest})",
            '>>> print("{y:.4f} {v:.4f}".format(**table.iloc[0]))',
            recipe.example,
        ]
    )


odds_ratio = _bound(of_counts, "OR")
risk_ratio = _bound(of_counts, "RR")
risk_difference = _bound(of_counts, "RD")
peto_odds_ratio = _bound(of_counts, "PETO")
arcsine_difference = _bound(of_counts, "AS")
phi_coefficient = _bound(of_counts, "PHI")
phi_z = _bound(of_counts, "ZPHI")
yules_q = _bound(of_counts, "YUQ")
yules_y = _bound(of_counts, "YUY")
tetrachoric_correlation = _bound(of_counts, "RTET")
tetrachoric_z = _bound(of_counts, "ZTET")
probit_difference = _bound(of_counts, "PBIT")
smd_from_odds_ratio = _bound(of_counts, "OR2DL")
smd_from_odds_ratio_normal = _bound(of_counts, "OR2DN")

marginal_risk_difference = _bound(of_pairs, "MPRD")
marginal_risk_ratio = _bound(of_pairs, "MPRR")
marginal_odds_ratio = _bound(of_pairs, "MPOR")
marginal_odds_ratio_from_totals = _bound(of_margins, "MPORM")
conditional_odds_ratio = _bound(of_pairs, "MPORC")
paired_peto_odds_ratio = _bound(of_pairs, "MPPETO")

rate_ratio = _bound(of_rates, "IRR")
rate_difference = _bound(of_rates, "IRD")
root_rate_difference = _bound(of_rates, "IRSD")

mean_difference = _bound(of_means, "MD")
hedges_g = _bound(of_means, "SMD")
hedges_g_from = _bound(of_statistics, "SMD", function="hedges_g_from", example="0.5444 0.0716")
smd_unequal_sds = _bound(of_means, "SMDH")
glass_delta = _bound(of_means, "SMD1")
glass_delta_unequal_sds = _bound(of_means, "SMD1H")
ratio_of_means = _bound(of_means, "ROM")
variability_ratio = _bound(of_sds, "VR")
cv_ratio = _bound(of_means, "CVR")
probability_of_superiority = _bound(of_means, "CLESN")
probability_of_superiority_equal_sds = _bound(of_means, "CLESN_HO")
area_under_curve = _bound(of_ranks, "CLES")
point_biserial = _bound(of_means, "RPB")
point_biserial_z = _bound(of_means, "ZPB")
biserial = _bound(of_means, "RBIS")
biserial_z = _bound(of_means, "ZBIS")
odds_ratio_from_smd = _bound(of_means, "D2ORL")
odds_ratio_from_smd_normal = _bound(of_means, "D2ORN")

correlation = _bound(of_correlations, "COR")
unbiased_correlation = _bound(of_correlations, "UCOR")
fisher_z = _bound(of_correlations, "ZCOR")
partial_correlation = _bound(of_regressions, "PCOR")
partial_correlation_z = _bound(of_regressions, "ZPCOR")
semipartial_correlation = _bound(of_regressions, "SPCOR")
semipartial_correlation_z = _bound(of_regressions, "ZSPCOR")
r_squared = _bound(of_regressions, "R2")
r_squared_z = _bound(of_regressions, "ZR2")
r_squared_fixed = _bound(of_regressions, "R2F")
r_squared_fixed_z = _bound(of_regressions, "ZR2F")

proportion = _bound(of_events, "PR")
log_proportion = _bound(of_events, "PLN")
logit_proportion = _bound(of_events, "PLO")
probit_proportion = _bound(of_events, "PRZ")
arcsine_proportion = _bound(of_events, "PAS")
double_arcsine_proportion = _bound(of_events, "PFT")
rate = _bound(of_rate, "IR")
log_rate = _bound(of_rate, "IRLN")
root_rate = _bound(of_rate, "IRS")
double_root_rate = _bound(of_rate, "IRFT")
mean = _bound(of_mean, "MN")
standardised_mean = _bound(of_mean, "SMN")
log_mean = _bound(of_mean, "MNLN")
log_sd = _bound(of_sd, "SDLN")
log_cv = _bound(of_mean, "CVLN")

mean_change = _bound(of_changes, "MC")
standardised_change = _bound(of_changes, "SMCC")
standardised_change_raw = _bound(of_changes, "SMCR")
standardised_change_raw_unequal_sds = _bound(of_changes, "SMCRH")
standardised_change_pooled = _bound(of_changes, "SMCRP")
standardised_change_pooled_unequal_sds = _bound(of_changes, "SMCRPH")
change_superiority = _bound(of_changes, "CLESCN")
ratio_of_means_change = _bound(of_changes, "ROMC")
variability_ratio_change = _bound(of_sd_changes, "VRC")
cv_ratio_change = _bound(of_changes, "CVRC")

pre_post_control = _bound(of_controlled_changes, "PPC")
pre_post_control_separate = _bound(of_controlled_changes, "PPCS")
pre_post_control_raw = _bound(of_controlled_changes, "PPCM")

alpha = _bound(of_alphas, "ARAW")
alpha_cube_root = _bound(of_alphas, "AHW")
alpha_log = _bound(of_alphas, "ABT")
relative_excess_heterozygosity = _bound(of_genotypes, "REH")
