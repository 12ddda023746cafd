"""Networks of treatments: what was compared, all comparisons, whether direct and indirect evidence agree, ranks."""

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import xarray as xr

from bayesmeta import network, plots
from bayesmeta.display.tables import Table, fixed, pvalue
from bayesmeta.errors import BayesmetaWarning
from bayesmeta.report.blocks import Block, Paragraphs, Section, blocks, paragraphs
from bayesmeta.report.pictures import Drawing, pictures
from bayesmeta.report.sections.model import of_tree
from bayesmeta.report.sections.results import Trees
from bayesmeta.tree.posterior_draws import is_posterior

TITLE = "Network"
_MOST_WRITTEN = 12  # treatments of a table; more are in the picture alone


def network_section(trees: Trees, prob: float, short: bool) -> tuple[Section, ...]:
    """The network of the first tree, and rankings of all.

    short : the tables alone, without pictures.
    """
    first = next(iter(trees.values()))
    spec = of_tree(first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)  # the tables say what they say
        drawn, left_out = pictures([] if short else list(_drawings(trees, prob)))
        tables = tuple(_tables(trees, first, prob))
    n, studies = len(spec.analysis["treatments"]), spec.levels[-1].n_groups
    what = (
        f"{n} treatments in {studies} trials. A cell has the treatment of its row against that of its column; all "
        "comparisons are of one model, in which effects add up."
    )
    return (Section(TITLE, blocks(paragraphs(what, *left_out), *drawn, *tables)),)


def _drawings(trees: Trees, prob: float) -> Iterator[Drawing]:
    name, first = next(iter(trees.items()))
    yield Drawing(
        "Graph of the network",
        "Treatments as circles, joined by lines where trials compare them.",
        "Circles grow with persons or trials, lines with trials that have both arms. Shaded: trials of several arms.",
        lambda: plots.network_graph(first),
    )
    yield Drawing(
        "Effects against the reference",
        f"Every treatment against {of_tree(first).analysis['reference']}, with intervals, by {name}.",
        "Lines are intervals of mean effects.",
        lambda: plots.network_forest(first, prob=prob),
    )
    if of_tree(first).analysis.get("better"):
        for own, tree in trees.items():
            yield Drawing(
                f"Ranking, {own}",
                "How treatments rank.",
                "Ranks do not say how much better a treatment is.",
                partial(plots.network_ranking, tree),
            )


def _tables(trees: Trees, first: xr.DataTree, prob: float) -> Iterator[Block]:
    spec = of_tree(first)
    if len(spec.analysis["treatments"]) <= _MOST_WRITTEN:
        league = network.league_table(first, prob=prob)
        yield Table("League table", tuple(league.columns), tuple((name, *row) for name, *row in league.itertuples()))
    fit = next((tree for tree in trees.values() if not is_posterior(tree)), None)
    if fit is None or spec.analysis["model"] != "consistency" or spec.analysis["covariates"]:
        return
    designs = network.designs(fit)
    rows = [
        (part, fixed(q, 2), str(df), "" if np.isnan(p) else pvalue(p))
        for part, q, df, p in zip(*(designs[x].values for x in ("part", "Q", "df", "pvalue")), strict=True)
    ]
    if designs["df_interaction"] > 0:
        p = designs["pvalue_interaction"].item()
        own = fixed(designs["Q_interaction"].item(), 2), str(designs["df_interaction"].item()), pvalue(p)
        rows.append(("between designs, with heterogeneity", *own))
    yield Table("Agreement of designs (Cochran's Q)", ("Q", "df", "p"), tuple(rows))
    split = network.split(fit).to_dataframe().dropna(subset="difference")
    if not len(split):
        yield Paragraphs(("No comparison has both direct and indirect evidence.",))
        return
    columns = ["direct", "indirect", "difference"]
    yield Table(
        "Direct and indirect evidence",
        (*(f"{name} (SE)" for name in columns), "p"),
        tuple(
            (str(name), *(f"{fixed(row[c], 2)} ({fixed(row[f'{c}_se'], 2)})" for c in columns), pvalue(row["pvalue"]))
            for name, row in split.iterrows()
        ),
    )
