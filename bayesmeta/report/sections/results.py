"""Estimates side by side, ratios, and heterogeneity: the numbers of `compare` and `summary`, and predictions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta.display.free_parameters import to_print
from bayesmeta.display.tables import Facts, Table, number, percent
from bayesmeta.errors import DataError
from bayesmeta.inference.predict import predict
from bayesmeta.model.spec import Spec
from bayesmeta.plots.style import effect_label, is_ratio
from bayesmeta.report.blocks import Block, Notes
from bayesmeta.report.sections.model import of_tree
from bayesmeta.summaries.compare import compare
from bayesmeta.summaries.summary import summary
from bayesmeta.summaries.variation import heterogeneity_tables
from bayesmeta.tree.parameters import BETA, TAU
from bayesmeta.tree.posterior_draws import is_posterior

Trees = Mapping[str, xr.DataTree]
_MOST_PLACES = 6  # combinations of predictors for which predictions are listed


def estimates(trees: Trees, prob: float) -> tuple[Block, ...]:
    """All parameters side by side, and ratios where effects are log ratios."""
    comparison = compare(dict(trees), prob=prob)
    ratio = []
    if is_ratio(first := next(iter(trees.values()))):
        there = compare(dict(trees), prob=prob, scale="response").dataset
        ratio = [ratios(comparison.dataset, there, first, prob, any(map(is_posterior, trees.values())))]
    return (without_empty(comparison.estimates_table()), *ratio)


def tests_and_criteria(trees: Trees, prob: float) -> tuple[Block, ...]:
    """The tests of every tree's coefficients, and its criteria."""
    tests = [_titled(summary(tree, prob).fixed_table(), name) for name, tree in trees.items()]
    criteria = [
        _titled(block, name) for name, tree in trees.items() for block in compare({name: tree}).criteria_blocks()
    ]
    return (*tests, *criteria)


def without_empty(table: Table) -> Table:
    """The same table without empty rows, such as correlations of effects that do not vary."""
    return Table(table.title, table.header, tuple(row for row in table.rows if any(row[1:])))


def readable(block: Block) -> Block:
    """A block of remarks as a list of sentences; any other block as it is."""
    if isinstance(block, Facts) and all(label == "note" for label, _ in block.pairs):
        return Notes("Note", tuple(value for _, value in block.pairs))
    return block


def ratios(dataset: xr.Dataset, there: xr.Dataset, tree: xr.DataTree, prob: float, bayes: bool = False) -> Table:
    """The coefficients of every tree as ratios, with their intervals; there : the dataset on the response scale.

    bayes : whether posteriors are among the trees, of which means of the ratio are shown.
    """
    rows = []
    for label in dataset["parameter"].values[dataset["kind"].values == BETA]:
        own, read = (each.sel(parameter=label) for each in (dataset, there))
        rows.append((str(label), *(ratio(own.sel(tree=name), read.sel(tree=name)) for name in own["tree"].values)))
    how = "exponentials of the coefficients" + (", of posteriors the mean of the ratio" if bayes else "")
    title = f"{effect_label(tree, True)}s: {how}, with {percent(prob)} intervals"
    return Table(title, tuple(map(str, dataset["tree"].values)), tuple(rows))


def ratio(row: xr.Dataset, there: xr.Dataset) -> str:
    """An estimate with its interval as a ratio, of a posterior its mean; empty where there is none.

    there : the row on the response scale, which has no standard error, unless its coefficient is not read there.
    """
    parts = "estimate", "lower", "upper"
    bare = [float(np.exp(row[name])) for name in parts]
    values = bare if np.isfinite(there["se"]) else [float(there[name]) for name in parts]
    estimate, lower, upper = values
    return with_interval(estimate, lower, upper, bare[0] * float(row["se"]))


def with_interval(estimate: float, lower: float, upper: float, se: float) -> str:
    """An estimate and its interval, with the decimals that suit the standard error."""
    if np.isnan(estimate):
        return ""
    interval = f" [{number(lower, se)}, {number(upper, se)}]" if np.isfinite(lower) else ""
    return number(estimate, se) + interval


def _titled(block: Block, name: str) -> Block:
    """A block with the name of its tree."""
    if isinstance(block, Table):
        return Table(f"{block.title}: {name}", block.header, block.rows)
    return readable(block)


def heterogeneity(trees: Trees, prob: float) -> tuple[Block, ...]:
    """Tests of homogeneity, SDs between groups, and intervals for the mean and for a new group."""
    first = next(iter(trees.values()))
    comparison = compare(dict(trees), prob=prob)
    parameters = comparison.dataset[["kind", "level", "term"]].to_dataframe()
    shown = to_print(parameters[parameters["kind"] == TAU], trees.values())
    taus = comparison.dataset.sel(parameter=list(shown)).assign_coords(parameter=list(shown.values()))
    return (
        *heterogeneity_tables(first),
        *([between(taus, prob)] if shown else []),
        *predictions(trees, prob),
    )


def between(dataset: xr.Dataset, prob: float) -> Table:
    """SDs between the groups of every level."""
    rows = []
    for label in dataset["parameter"].values:
        own = dataset.sel(parameter=label)
        cells = [
            with_interval(*(float(own[part].sel(tree=name)) for part in ("estimate", "lower", "upper", "se")))
            for name in own["tree"].values
        ]
        rows.append((str(label), *cells))
    title = f"Standard deviations between groups, with {percent(prob)} intervals"
    return Table(title, tuple(map(str, dataset["tree"].values)), tuple(rows))


def predictions(trees: Trees, prob: float) -> list[Table]:
    """Mean and prediction interval of every tree at the rows of `places`; empty where there are none to choose."""
    first = next(iter(trees.values()))
    if of_tree(first).analysis.get("roles"):  # coefficients are effects, and predictors no conditions of trials
        return []
    try:
        rows = places(of_tree(first))
        tables = {
            name: [_predicted(tree, rows, interval, prob) for interval in ("confidence", "prediction")]
            for name, tree in trees.items()
        }
    except DataError:
        return []
    as_ratio, outcomes = is_ratio(first), of_tree(first).outcomes
    lines = []
    for i, (_, row) in enumerate(rows.iterrows()):
        for outcome in outcomes:
            place = _place(row, outcome if len(outcomes) > 1 else "")
            for k, quantity in enumerate(("mean", "new group")):
                cells = (_at(parts[k], i, outcome) for parts in tables.values())
                lines.append((f"{quantity}{place}", *cells))
    title = f"{effect_label(first, as_ratio)}: mean, and true effect in a new group, with {percent(prob)} intervals"
    return [Table(title, tuple(trees), tuple(lines))]


def _predicted(tree: xr.DataTree, rows: pd.DataFrame, interval: Any, prob: float) -> xr.Dataset:
    """Those of `bm.predict` as ratios where effects are log ratios, with the error that their digits go by."""
    table = predict(tree, rows, interval, prob)
    if not is_ratio(tree):
        return table
    return predict(tree, rows, interval, prob, scale="response").assign(se=table["se"] * np.exp(table["mean"]))


def _at(table: xr.Dataset, i: int, outcome: str) -> str:
    here = table.isel({schema.ROW: i}).sel({schema.OUTCOME: outcome})
    mean, lower, upper, se = (float(here[part]) for part in ("mean", "lower", "upper", "se"))
    return with_interval(mean, lower, upper, se)


def _place(row: pd.Series, outcome: str) -> str:
    at = [f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}" for name, value in row.items()]
    return "".join(f", {part}" for part in (outcome, *at) if part)


def places(spec: Spec) -> pd.DataFrame:
    """Rows to predict for: all combinations of predictors if there are few, else means and most frequent categories."""
    columns = list(spec.predictors)
    frame = spec.data.loc[spec.kept, columns]
    if not columns:
        return pd.DataFrame(index=[0])
    distinct = frame.drop_duplicates().sort_values(columns)
    if len(distinct) <= _MOST_PLACES:
        return distinct.reset_index(drop=True)
    typical = {str(name): [_typical(spec, str(name), values)] for name, values in frame.items()}
    return pd.DataFrame(typical)


def _typical(spec: Spec, name: str, values: pd.Series) -> Any:
    """The mean, or the most frequent category."""
    if pd.api.types.is_numeric_dtype(values):
        return spec.nearest_known(name, float(values.mean()))
    return values.mode().iloc[0]


def cell_means(spec: Spec) -> bool:
    """Whether every coefficient is the mean effect of some observations, and every observation belongs to one."""
    return bool(np.isin(spec.X, (0, 1)).all() and (spec.X.sum(1) == 1).all())


def pooled(spec: Spec) -> bool:
    """Whether the coefficients are mean effects over all units, one for each outcome."""
    return cell_means(spec) and not spec.design.parsed.predictors
