"""What the results hang on: pictures and table of the rows or groups that were left out in turn."""

import warnings
from collections.abc import Iterator
from functools import partial

import xarray as xr

from bayesmeta import plots
from bayesmeta.errors import BayesmetaError, BayesmetaWarning
from bayesmeta.inference.data_groups import finest
from bayesmeta.inference.influence import FEWEST, influence
from bayesmeta.report.blocks import Block, Section, blocks, paragraphs
from bayesmeta.report.pictures import Drawing, pictures
from bayesmeta.report.sections.model import of_tree
from bayesmeta.report.sections.results import Trees
from bayesmeta.summaries.influence_table import InfluencePage
from bayesmeta.tree.posterior_draws import is_posterior

TITLE = "Influence"
_MOST = 10  # rows of the table
_MOST_EXACT, _MOST_AT_ALL = 500, 5_000  # groups that are refitted, and that are looked at


def diagnostics_of(trees: Trees) -> xr.Dataset | None:
    """Diagnostics of the first fit, without fits of the first posterior; None for too few rows, or too many."""
    tree = next((each for each in trees.values() if not is_posterior(each)), next(iter(trees.values())))
    n = finest(of_tree(tree)).n
    if not FEWEST <= n <= _MOST_AT_ALL:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)  # the page says what they say
        try:
            return influence(tree, exact=n <= _MOST_EXACT and not is_posterior(tree))
        except BayesmetaError:
            return None


def influence_section(trees: Trees, diagnostics: xr.Dataset | None, short: bool = False) -> Section | None:
    """The folded section; None where nothing can be said.

    short : the table alone, without pictures.
    """
    if diagnostics is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)  # the table says what they say
        drawn, left_out = pictures([] if short else list(_drawings(*next(iter(trees.items())), diagnostics)))
    table: tuple[Block, ...] = tuple(InfluencePage(diagnostics, _MOST).blocks())
    how = "Each row, or group of rows, was left out in turn, and the model fitted to the others."
    return Section(TITLE, blocks(paragraphs(how, *left_out), *drawn, *table), folded=True)


def _drawings(name: str, tree: xr.DataTree, diagnostics: xr.Dataset) -> Iterator[Drawing]:
    """Pictures; those of one outcome where there is one."""
    kind, n = str(diagnostics.attrs["by"]), diagnostics.sizes[str(diagnostics["k"].dims[0])]
    yield Drawing(
        "Influence diagnostics",
        f"Diagnostics by {name} without each of {n} {kind}s in turn; the largest are in the table.",
        "Rings mark what is influential, dashed lines the cut-offs, dotted lines the values of all rows.",
        partial(plots.influence, tree, exact=bool(diagnostics.attrs["exact"])),
    )
    if len(of_tree(tree).outcomes) > 1:
        return
    yield Drawing(
        "Baujat plot",
        f"What each {kind} adds to the heterogeneity against how much it moves the estimate.",
        "Studies at the top move the estimate, those on the right make the heterogeneity.",
        partial(plots.baujat, tree),
    )
    yield Drawing(
        "Normal quantiles of the residuals",
        "Standardised residuals against normal quantiles with an envelope.",
        "Within the band, residuals are as the model expects them.",
        partial(plots.qqnorm, tree),
    )
