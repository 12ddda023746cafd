"""Means of the model at chosen values of its predictors, and their differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_mapping, check_name, check_probability, check_size, entries, shown
from bayesmeta.errors import SpecError
from bayesmeta.inference.multiplicity import ADJUSTMENTS, comparison_factor, holm, largest, single_step
from bayesmeta.inference.reference import Reference, Vcov, reference_of_fit
from bayesmeta.io.columns import label
from bayesmeta.model.spec import Spec
from bayesmeta.tree.response import DIFFERENCE, Reading, Scale, measure_of, on_response, reading
from bayesmeta.tree.specification import spec_from_tree

AT, PAIR = "at", "pair"
MOST = 200  # values, which make 19,900 pairs


def contrast(
    tree: xr.DataTree,
    at: Mapping[str, Any],
    by: str | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
    adjust: Literal["none", "holm", "single-step"] = "none",
) -> xr.Dataset:
    """Means at chosen values of predictors, and all differences between them.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit`, also one read back from a file.
    at : mapping
        Values of one or several predictors, as `{"ablat": [13, 33, 55]}`; of several, all combinations. A predictor
        that is not named is averaged: numbers are held at their mean over the rows of the model, of categories all
        count the same.
    by : str, optional
        One of the predictors of `at`: differences are taken only where its value is the same.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response" gives means on the scale on which people read the measure and differences as ratios: odds ratios, and
        ratios of odds ratios. By default the scale of the model.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, see `bm.estimates`.
    adjust : {"none", "holm", "single-step"}, default "none"
        For the number of differences of an outcome: "holm" adjusts p-values; "single-step" p-values and intervals, by
        the joint distribution of the differences.

    Returns
    -------
    Dataset
        Over (at, outcome) `mean`, `se`, `lower`, `upper`, and `comparison_lower`, `comparison_upper`: intervals two of
        which overlap, on average, where the two means do not differ significantly. Over (pair, outcome) `difference`,
        `difference_se`, `difference_lower`, `difference_upper`, `statistic`, `df`, `pvalue`, the second mean less the
        first. `covariance` (outcome, at, at_bis) of the means on the scale of the model. The columns of `at` are
        coordinates. Standard errors have no counterpart on the response scale. An offset is not added.

    Raises
    ------
    SpecError
        When `at` names no predictor, no values or a category that the data did not have, or an argument is not as
        above.

    References
    ----------
    Goldstein and Healy (1995), J. R. Stat. Soc. A 158:175-177; Hothorn, Bretz and Westfall (2008), Biom. J. 50:346-363.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ alloc + ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> means = bm.contrast(fit, {"ablat": [13, 42]}, scale="response", df="knapp-hartung")
    >>> means["mean"].round(3).values[:, 0].tolist(), means["difference"].round(3).item()
    ([0.875, 0.373], 0.426)
    """
    check_choice(adjust, ADJUSTMENTS, "adjust")
    prob, response = check_probability(prob), on_response(tree, scale)
    used, spec = reference_of_fit(tree, vcov, df, "bm.contrast"), spec_from_tree(tree)
    grid = _grid(spec, at)
    pairs = _pairs(grid, by)
    values: list[dict[str, Any]] = [dict(zip(map(str, grid), row, strict=True)) for row in grid.itertuples(index=False)]
    X = np.stack([_mean_design(spec, row) for row in values])  # (values, outcomes, P)
    made = _Means(X, pairs, used, prob, adjust)
    to_read = reading(tree, scale), Reading(measure_of(tree), DIFFERENCE, response)
    labels = [", ".join(f"{name}={label(value)}" for name, value in row.items()) for row in values]
    coords: dict[str, Any] = {
        AT: pd.Index(labels, dtype=object),
        f"{AT}_bis": pd.Index(labels, dtype=object),
        PAIR: pd.Index([f"{labels[j]} less {labels[i]}" for i, j in pairs], dtype=object),
        schema.OUTCOME: pd.Index(list(spec.outcomes), dtype=object),
    }
    coords |= {str(name): (AT, grid[name].to_numpy(dtype=object)) for name in grid}
    attrs = used.attrs | {"prob": prob, "adjust": adjust, "scale": scale or "model"}
    return xr.Dataset(made.variables(*to_read), coords, attrs)


@dataclass(frozen=True)
class _Means:
    """Means X (values, outcomes, P) beta, and the differences of some pairs."""

    X: FloatArray
    pairs: list[tuple[int, int]]
    used: Reference
    prob: float
    adjust: str

    def variables(self, of_means: Reading, of_differences: Reading) -> dict[str, Any]:
        """All variables, outcome by outcome; those of the model's scale are read as the measure is."""
        by_outcome = [self._outcome(self.X[:, k], of_means, of_differences) for k in range(self.X.shape[1])]
        made: dict[str, Any] = {}
        for name, first in by_outcome[0].items():
            if name == "covariance":
                made[name] = ((schema.OUTCOME, AT, f"{AT}_bis"), np.stack([each[name] for each in by_outcome]))
            else:
                dim = AT if len(first) == len(self.X) and name in _OF_MEANS else PAIR
                made[name] = ((dim, schema.OUTCOME), np.stack([each[name] for each in by_outcome], axis=1))
        return made

    def _outcome(self, X: FloatArray, of_means: Reading, of_differences: Reading) -> dict[str, FloatArray]:
        used, prob = self.used, self.prob
        means, cov = used.each(X), X @ used.cov @ X.T
        lower, upper = means.bounds(prob)
        statistics = {"mean": means.estimate, "se": means.se, "lower": lower, "upper": upper}
        if self.pairs:
            spread = np.sqrt(np.maximum(np.diag(cov)[:, None] + np.diag(cov)[None, :] - 2 * cov, 0.0))
            half = comparison_factor(means.se, spread, prob, float(means.df.min())) * means.se
            statistics |= {"comparison_lower": means.estimate - half, "comparison_upper": means.estimate + half}
        variables = of_means.bounds(statistics) | {"covariance": cov}
        return variables | (self._differences(X, of_differences) if self.pairs else {})

    def _differences(self, X: FloatArray, read: Reading) -> dict[str, FloatArray]:
        L = np.stack([X[j] - X[i] for i, j in self.pairs])
        tests = self.used.each(L)
        (lower, upper), pvalue = tests.bounds(self.prob), tests.pvalue
        if self.adjust == "holm":
            pvalue = holm(pvalue)
        elif self.adjust == "single-step":
            draws = largest(L @ self.used.cov @ L.T, float(np.min(tests.df)))
            half = np.quantile(draws, self.prob) * tests.se
            pvalue, lower, upper = single_step(tests.statistic, draws), tests.estimate - half, tests.estimate + half
        there = read.bounds({"mean": tests.estimate, "se": tests.se, "lower": lower, "upper": upper})
        names = {"mean": "difference", "se": "difference_se", "lower": "difference_lower", "upper": "difference_upper"}
        return {names[name]: values for name, values in there.items()} | {
            "statistic": tests.statistic,
            "df": tests.df,
            "pvalue": pvalue,
        }


_OF_MEANS = ("mean", "se", "lower", "upper", "comparison_lower", "comparison_upper")


def _grid(spec: Spec, at: Any) -> pd.DataFrame:
    """One row for every combination of the values."""
    columns = spec.design.parsed.fixed_predictors
    table = check_mapping(at, "at", "predictors and their values")
    if not table:
        raise SpecError(f"at is empty; name a predictor, as {{'{[*columns, 'year'][0]}': [0, 1]}}")
    values = {}
    for name, wished in table.items():
        check_name(name, columns, "at: no predictor", "predictors")
        several = isinstance(wished, Sequence | np.ndarray | pd.Series) and not isinstance(wished, str)
        listed = entries(wished) if several else [wished]
        if not listed:
            raise SpecError(f"at: '{name}' has no values\n  name at least one value of it")
        values[name] = [_checked(spec, name, value) for value in listed]
    size = int(np.prod([len(each) for each in values.values()]))
    if size > MOST:
        raise SpecError(f"at has {size} combinations of values, more than {MOST}; take fewer")
    return pd.DataFrame(list(product(*values.values())), columns=list(values), dtype=object)


def _known(spec: Spec, column: str) -> dict[str, Any]:
    """The categories of a column by their labels, as they appear in the data; none of numbers."""
    known = spec.design.categories.get(column)
    if known is None:
        return {}
    by_label = {label(value): value for value in spec.data.loc[spec.kept, column].unique()}
    return {name: by_label[name] for name in known}


def _checked(spec: Spec, name: str, value: Any) -> Any:
    known = _known(spec, name)
    if known:
        check_name(label(value) if np.isscalar(value) else value, known, f"at: '{name}' is never", "categories")
        return known[label(value)]
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise SpecError(f"at: '{name}' is {shown(value)}; it must be a finite number")
    return value


def _pairs(grid: pd.DataFrame, by: str | None) -> list[tuple[int, int]]:
    """Of rows of the grid, those with the same value of `by`."""
    if by is not None:
        check_name(by, list(grid.columns), "by: at has no predictor", "predictors of at")
    same = [0] * len(grid) if by is None else list(grid[by])
    return [(i, j) for i, j in combinations(range(len(grid)), 2) if same[i] == same[j]]


def _mean_design(spec: Spec, row: Mapping[str, Any]) -> FloatArray:
    """(outcomes, P) design at some values, averaged over the categories of the other predictors."""
    others = [name for name in spec.design.parsed.fixed_predictors if name not in row]
    choices = {name: list(_known(spec, name).values()) or [_mean(spec, name)] for name in others}
    size = int(np.prod([len(each) for each in choices.values()])) if choices else 1
    check_size(8.0 * size * len(spec.coef), f"{size:,} combinations of categories")
    rows = [dict(zip(choices, chosen, strict=True)) | dict(row) for chosen in product(*choices.values())]
    return np.asarray(spec.design.fixed(pd.DataFrame(rows)).mean(0))


def _mean(spec: Spec, column: str) -> float:
    values = pd.to_numeric(spec.data.loc[spec.kept, column], errors="coerce").to_numpy(dtype=float)
    if np.isnan(values).all():
        raise SpecError(f"at: '{column}' has no mean to be held at; name a value of it")
    return float(np.nanmean(values))
