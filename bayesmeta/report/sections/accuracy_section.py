"""Diagnostic accuracy in a report: what a test does at its summary point, its curve, and the pictures of both."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import plots
from bayesmeta.diagnostic.accuracy_measures import likelihood_ratios, summary_point
from bayesmeta.diagnostic.bivariate import KIND, Accuracy
from bayesmeta.diagnostic.by_study import studies
from bayesmeta.diagnostic.curves import auc
from bayesmeta.display.tables import Table, fixed, number, percent
from bayesmeta.errors import BayesmetaError
from bayesmeta.inference.quantities import combinations
from bayesmeta.report.blocks import Section, blocks, notes, paragraphs
from bayesmeta.report.pictures import Drawing, pictures
from bayesmeta.report.sections.model import of_tree
from bayesmeta.report.sections.results import Trees

TITLE = "Diagnostic accuracy"
_WORDS = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "positive": "positive likelihood ratio",
    "negative": "negative likelihood ratio",
    "dor": "diagnostic odds ratio",
    "auc": "area under the curve",
    "partial": "area over the observed false-positive rates",
}
_CAUTION = (
    "Logits of observed proportions are taken as normal. Where cells are small or empty, summary points lie too near "
    "to one half, and variances between studies are too small."
)


def accuracy(trees: Trees, prob: float, short: bool = False) -> tuple[Section, ...]:
    """The section of a diagnostic analysis; none of another one.

    short : the table alone, without pictures.
    """
    first = next(iter(trees.values()))
    if of_tree(first).analysis.get("kind") != KIND:
        return ()
    try:
        combinations(Accuracy.of(first, "the report").spec, "the report")
    except BayesmetaError as error:  # predictors that are numbers: a summary point needs values of them
        return (Section(TITLE, blocks(paragraphs(str(error).splitlines()[0]))),)
    drawn, left_out = pictures([] if short else list(_drawings(trees, prob)))
    content = blocks(_table(trees, prob), paragraphs(_together(first), _CAUTION), notes("Not drawn", left_out))
    return (Section(TITLE, (*content, *drawn)),)


def _table(trees: Trees, prob: float) -> Table:
    """Measures of accuracy in rows, trees side by side."""
    columns = {name: _texts(tree, prob) for name, tree in trees.items()}
    rows = tuple((label, *(own.get(label, "") for own in columns.values())) for label in next(iter(columns.values())))
    return Table(f"Accuracy at the summary point ({percent(prob)} intervals)", tuple(columns), rows)


def _texts(tree: xr.DataTree, prob: float) -> dict[str, str]:
    parts = [summary_point(tree, prob=prob), likelihood_ratios(tree, prob=prob), auc(tree, prob=prob)]
    texts = {}
    for frame in parts:
        for key, row in frame.iterrows():
            *where, name = key if isinstance(key, tuple) else (key,)
            if name in _WORDS:
                label = ", ".join([_WORDS[name], *map(str, where)])
                texts[label] = _interval(row, name in ("positive", "negative", "dor"))
    return texts


def _interval(row: "pd.Series[float]", ratio: bool) -> str:
    values = (float(row[name]) for name in ("estimate", "lower", "upper"))
    middle, low, high = (number(value, abs(value) / 10) if ratio else fixed(value, 3) for value in values)
    return middle if np.isnan(row["lower"]) else f"{middle} ({low} to {high})"


def _together(tree: xr.DataTree) -> str:
    about = studies(tree).attrs
    if np.isnan(about["correlation"]):
        return ""
    return (
        f"Observed sensitivities and false-positive rates correlate by {about['correlation']:.2f}; where the threshold "
        "of a test differs between studies, the correlation is positive."
    )


def _drawings(trees: Trees, prob: float) -> Iterator[Drawing]:
    first = next(iter(trees.values()))
    shown = first if Accuracy.of(first, "the report").spec.predictors else dict(trees)
    yield Drawing(
        "Summary ROC curve",
        "Sensitivity against false-positive rate: studies, summary points with their regions, and curves.",
        "The square is the summary point; the curve is drawn over the false-positive rates that studies have observed.",
        lambda: plots.sroc(shown, region="both" if len(trees) == 1 else "confidence", prob=prob),
    )
    yield Drawing(
        "Sensitivity and specificity by study",
        "Forest plots of sensitivity and specificity side by side, with the counts of every study.",
        "Intervals of studies are Wilson's; diamonds are summary points.",
        lambda: plots.accuracy_forest(first, prob=prob),
    )
    yield Drawing(
        "Likelihood ratios",
        "Positive against negative likelihood ratios of studies and summary points.",
        "A positive ratio above 10 confirms a disease, a negative one below 0.1 excludes it.",
        lambda: plots.likelihood_ratios(shown, prob=prob),
    )
