"""Traces and ranks of the draws, drawn by ArviZ, one panel for each parameter."""

from typing import Any

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_bayes
from bayesmeta.plots.style import COLOURS, LINES, PAGE, SMALL, TEXT
from bayesmeta.report.pictures import Drawing
from bayesmeta.tree.exact_marginals import is_exact
from bayesmeta.tree.parameters import effects
from bayesmeta.tree.specification import group

MOST_PANELS = 12
_COLUMNS, _HEIGHT = 3, 1.6  # panels beside one another, and inches of each
_THIN = 0.7  # points of a line


def of_chains(tree: xr.DataTree) -> list[Drawing]:
    if is_exact(tree):
        return []
    draws = by_parameter(tree)
    many = group(tree, schema.POSTERIOR).sizes[schema.CHAIN]
    which = f"{len(draws)} parameters" if len(draws) > 1 else "the parameter"
    rest = f" The {MOST_PANELS} parameters with the largest R-hat are shown." if len(draws) < _number(tree) else ""
    return [
        Drawing(
            "Traces",
            f"Draws of {which} in their order, {many} chains overlaid.",
            "Chains that mix well look alike and move through the whole range." + rest,
            lambda: _drawn("plot_trace", draws, xlabel=False),
        ),
        Drawing(
            "Ranks",
            f"For {which}, how far the ranks of each of {many} chains among all draws are from uniform.",
            "Chains that agree stay near zero; a p-value below α is evidence that they do not." + rest,
            lambda: _drawn("plot_rank", draws, xlabel=False),
        ),
    ]


def by_parameter(tree: xr.DataTree, most: int = MOST_PANELS) -> xr.Dataset:
    """Draws (chain, draw) of every parameter by its label; of more than `most`, those with the largest R-hat."""
    draws = {label: values for name, variable in _variables(tree) for label, values in _split(tree, name, variable)}
    if len(draws) > most and schema.DIAGNOSTICS in tree.children:
        r_hat = group(tree, schema.DIAGNOSTICS)["r_hat"].to_series().fillna(-np.inf)
        worst = set(sorted(draws, key=lambda label: -r_hat.get(label, -np.inf))[:most])
        draws = {label: values for label, values in draws.items() if label in worst}
    return xr.Dataset(dict(list(draws.items())[:most]))


def _variables(tree: xr.DataTree) -> list[tuple[str, xr.DataArray]]:
    return [(str(name), values) for name, values in group(tree, schema.POSTERIOR).data_vars.items()]


def _number(tree: xr.DataTree) -> int:
    return sum(len(_split(tree, name, values)) for name, values in _variables(tree))


def _split(tree: xr.DataTree, name: str, values: xr.DataArray) -> list[tuple[str, xr.DataArray]]:
    """Every entry of a variable with its label, such as `tau[unit, Intercept]`, as in summaries."""
    kind, _, level = name.partition("_")
    rest = [dim for dim in values.dims if dim not in (schema.CHAIN, schema.DRAW)]
    if not rest:  # of the only effect of a level, or one number for all of its effects
        labels = effects(tree, level)
        return [(f"{kind}[{', '.join([level, *labels[: len(labels) == 1]])}]", values)]
    (dim,) = rest
    labels = [str(label) for label in values[dim].values]
    return [
        (f"{kind}[{', '.join(filter(None, (level, label)))}]", values.isel({dim: i}, drop=True))
        for i, label in enumerate(labels)
    ]


def _drawn(plot: str, draws: xr.Dataset, **visuals: Any) -> Any:
    rows, many = -(-len(draws) // _COLUMNS), draws.sizes[schema.CHAIN]
    size = {"figsize": (PAGE, _HEIGHT * rows + 0.2), "layout": "constrained"}
    check_bayes("a picture of chains")
    import arviz

    collection = getattr(arviz, plot)(
        xr.DataTree.from_dict({"posterior": draws}),
        backend="matplotlib",
        visuals=visuals,
        col_wrap=_COLUMNS,
        aes={"color": [schema.CHAIN], "linestyle": [schema.CHAIN]},
        color=[COLOURS[i % len(COLOURS)] for i in range(many)],
        linestyle=[LINES[i % len(LINES)] for i in range(many)],
        figure_kwargs=size,
    )
    for ax in collection.viz["figure"].item().axes:
        ax.tick_params(labelsize=SMALL)
        ax.title.set_fontsize(TEXT)
        for text in ax.texts:
            text.set_fontsize(SMALL)
        for line in ax.lines:
            line.set_linewidth(_THIN)
    return collection
