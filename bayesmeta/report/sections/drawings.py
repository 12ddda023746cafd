"""The plots of a model, and what each shows in words."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import plots
from bayesmeta.model.spec import Spec
from bayesmeta.plots.style import new_axes
from bayesmeta.report.pictures import Drawing
from bayesmeta.report.sections.dose_section import dose_drawings, is_dose_response
from bayesmeta.report.sections.model import of_tree, varying
from bayesmeta.report.sections.opening import effects_in_words
from bayesmeta.report.sections.results import Trees
from bayesmeta.tree.posterior_draws import is_posterior

_MOST_PREDICTORS = 2
_MOST_ROWS = 40  # of a forest plot on the first screen


def first(trees: Trees, prob: float) -> Drawing:
    """The picture of the answer: a curve, a forest plot, or with many rows all effects in one swarm."""
    name, tree = next(iter(trees.items()))
    spec = of_tree(tree)
    if is_dose_response(spec):
        return next(dose_drawings(trees, spec))
    return _forest(tree, spec, name, prob) if len(spec.y) <= _MOST_ROWS else _orchard(tree, spec, name, prob)


def drawings(trees: Trees, prob: float) -> tuple[list[Drawing], list[Drawing]]:
    """Plots of one model in reading order: those that everybody looks at, without `first`, and the others."""
    name, tree = next(iter(trees.items()))
    spec = of_tree(tree)
    compared = [_compared(trees)] if len(trees) > 1 else []
    forest = [_forest(tree, spec, name, prob)] if len(spec.y) > _MOST_ROWS else []
    others = [_funnel(tree, spec, name), *_caterpillars(tree, spec, name), _structure(spec)]
    return [*_over_predictors(trees, spec), *compared], [*forest, *others]


def _structure(spec: Spec) -> Drawing:
    groups = ", ".join(f"{level.n_groups} of {level.name}" for level in spec.levels)
    return Drawing(
        "Structure",
        f"Diagram of the data: {len(spec.y)} observations in groups, {groups}.",
        "Units, groups, levels and outcomes of the specification.",
        lambda: plots.structure(spec),
    )


def _forest(tree: xr.DataTree, spec: Spec, name: str, prob: float) -> Drawing:
    return Drawing(
        "Forest plot",
        f"Forest plot of {len(spec.y)} observations by {name}. {effects_in_words(tree, prob)}",
        "Estimates with their intervals, the pooled estimate, and how much the studies differ.",
        lambda: plots.forest(tree, prob=prob),
    )


def _orchard(tree: xr.DataTree, spec: Spec, name: str, prob: float) -> Drawing:
    return Drawing(
        "Effects and their mean",
        f"Orchard plot of {len(spec.y)} observations by {name}. {effects_in_words(tree, prob)}",
        "Every circle is an estimate, larger where it is more precise; below are the mean with its interval, and the "
        "interval for the true effect in a new group.",
        lambda: plots.orchard(tree, prob=prob),
    )


def _funnel(tree: xr.DataTree, spec: Spec, name: str) -> Drawing:
    return Drawing(
        "Funnel plot",
        f"Funnel plot of {len(spec.y)} observations by {name}: effect estimates against their standard errors.",
        "Small studies are at the bottom. Without selective reporting, points scatter evenly to both sides.",
        lambda: plots.funnel(tree),
    )


def _over_predictors(trees: Trees, spec: Spec) -> Iterator[Drawing]:
    """The outcome against its numeric predictors, in the plot that suits each predictor."""
    if is_dose_response(spec):
        yield from list(dose_drawings(trees, spec))[1:]
        return
    for column in numeric_predictors(spec)[:_MOST_PREDICTORS]:
        values = spec.data.loc[spec.kept, column]
        span = f"{column} runs from {values.min():.6g} to {values.max():.6g}."
        if not has_constant(spec):
            title, caption = "Effect by", "Effect against the dose with its band; at dose zero there is no effect."
            draw = partial(plots.dose_response, dict(trees), column)
        elif varies_within_groups(spec, column):
            title, caption = "Course over", "Mean effect with its interval, and faintly what the studies report."
            draw = partial(plots.longitudinal, dict(trees), column)
        else:
            title = "Regression on"
            caption = "Larger circles are more precise; the inner band is for the mean, the outer for a new group."
            draw = partial(plots.bubble, next(iter(trees.values())), column)
        yield Drawing(
            f"{title} {column}", f"Effect estimates against {column} with the model's prediction. {span}", caption, draw
        )


def has_constant(spec: Spec) -> bool:
    """Whether the fixed part can be the same number for all rows, as with an intercept or categories."""
    ones = np.ones(len(spec.y))
    return bool(np.allclose(spec.X @ np.linalg.lstsq(spec.X, ones)[0], ones))


def varies_within_groups(spec: Spec, column: str) -> bool:
    """Whether an outer group has observations at several values of the column."""
    values = pd.Series(spec.data[column].to_numpy()[spec.row])
    return bool((values.groupby(spec.levels[0].index).nunique() > 1).any())


def numeric_predictors(spec: Spec) -> list[str]:
    """Raw numeric columns of the fixed part."""
    columns = [str(column) for column in spec.design.parsed.predictors]
    return [column for column in columns if pd.api.types.is_numeric_dtype(spec.data[column])]


def _caterpillars(tree: xr.DataTree, spec: Spec, name: str) -> Iterator[Drawing]:
    for level in varying(spec):
        yield Drawing(
            f"Random effects of {level.name}",
            f"Predicted random effects of the {level.n_groups} groups of {level.name} by {name}, in increasing order.",
            "How far each group lies from the mean, with its interval.",
            lambda level=level.name: plots.caterpillar(tree, level),  # type: ignore[misc]
        )


def _compared(trees: Trees) -> Drawing:
    return Drawing(
        "Methods side by side",
        f"Estimates and intervals of every parameter by {' and '.join(trees)}, as in the table of estimates.",
        "The same model by each method.",
        lambda: plots.compare(dict(trees)),
    )


def of_posterior(tree: xr.DataTree) -> list[Drawing]:
    """Priors beside posteriors, and whether observations look like draws from the model."""
    return [
        Drawing(
            "Prior and posterior",
            "Density of every standard deviation between groups before and after the data.",
            "Where the two look alike, the data add little.",
            lambda: plots.prior_posterior(tree),
        ),
        Drawing(
            "Observations and their predictions (LOO-PIT)",
            "Empirical distribution of the probability of each observation given all others, minus the uniform one.",
            "Within the band, observations look like draws from their predictions.",
            lambda: plots.loo_pit(tree, new_axes()[1][0, 0]),
        ),
    ]


def posteriors(trees: Trees) -> dict[str, xr.DataTree]:
    return {name: tree for name, tree in trees.items() if is_posterior(tree)}
