"""From the trees of models to the sections of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import xarray as xr

from bayesmeta import plots
from bayesmeta.display import remarks
from bayesmeta.report.blocks import Block, Code, Page, Section, blocks, notes, numbered, words
from bayesmeta.report.pictures import Drawing, pictures
from bayesmeta.report.sections import drawings as d
from bayesmeta.report.sections import results
from bayesmeta.report.sections.chain_plots import of_chains
from bayesmeta.report.sections.data import data_table
from bayesmeta.report.sections.diagnostics import diagnostics
from bayesmeta.report.sections.model import equations, facts, levels, of_tree
from bayesmeta.report.sections.opening import findings
from bayesmeta.report.sections.other_priors import sensitivity_blocks
from bayesmeta.report.sections.provenance import provenance
from bayesmeta.report.sections.results import Trees
from bayesmeta.summaries.compare import compare


@dataclass(frozen=True, eq=False)
class Model:
    """One model of a report: trees of one specification by name, fits first.

    name : "" where there is one model without a name. what : one line. sampling : S as the model file gives it.
    priors : of `bm.sensitivity`. no_priors : why there is none.
    """

    name: str
    trees: Trees
    what: str = ""
    sampling: str = ""
    priors: xr.Dataset | None = None
    no_priors: str = ""


def page(
    title: str,
    citation: str,
    models: Sequence[Model],
    codes: tuple[Code, ...],
    prob: float,
    tables: Mapping[str, Trees] | None = None,
    figures: Sequence[Drawing] = (),
) -> Page:
    """The whole page; tables : results to be set side by side, across models. figures : that the file declares."""
    several = len(models) > 1
    seen: dict[object, str] = {}
    parts: list[Section] = []
    for model in models:
        sections = model_sections(model, prob, seen)
        if several:
            intro = blocks(words(model.what))
            parts.append(Section(f"Model {model.name}", intro, tuple(replace(s, of=model.name) for s in sections)))
        else:
            parts += sections
    side = [Section(name, _side_by_side(trees, prob)) for name, trees in (tables or {}).items()]
    across = [Section("Models side by side", (), tuple(side))] if side else []
    drawn = [Section("Figures", _drawn(figures))] if figures else []
    trees = {_name(model, name): tree for model in models for name, tree in model.trees.items()}
    last = Section("How to reproduce this page", provenance(trees, codes, citation))
    opening = tuple((model.name if several else "", findings(model.trees, prob)) for model in models)
    written = max(str(tree.attrs["created_at"]) for tree in trees.values())[:10]
    return Page(title, citation, opening, numbered([*across, *parts, *drawn, last]), written)


def _name(model: Model, name: str) -> str:
    return f"{model.name}, {name}" if model.name else name


def _side_by_side(trees: Trees, prob: float) -> tuple[Block, ...]:
    together = compare(dict(trees), prob=prob)
    return (results.without_empty(together.estimates_table()), *map(results.readable, together.criteria_blocks()))


def model_sections(model: Model, prob: float, seen: dict[object, str]) -> tuple[Section, ...]:
    """The sections of one model; seen : tables of data that the page has already, by the model that has them."""
    trees = model.trees
    first = next(iter(trees.values()))
    bayes = d.posteriors(trees)
    chains = [drawing for tree in bayes.values() for drawing in of_chains(tree)]
    checks = [drawing for tree in bayes.values() for drawing in d.of_posterior(tree)]
    diagnosed = tuple(block for name, tree in trees.items() for block in diagnostics(tree, name))
    return (
        _specification(model, first),
        Section("Data", _data(model, first, seen)),
        Section("Estimates", results.estimates(trees, prob)),
        Section("Heterogeneity", results.heterogeneity(trees, prob)),
        Section("Pictures", _drawn([*d.drawings(trees, prob), *checks])),
        Section("Convergence", (*diagnosed, *_drawn(chains))),
        *([Section("Sensitivity to priors", _sensitivity(model))] if bayes else []),
    )


def _specification(model: Model, first: xr.DataTree) -> Section:
    said: dict[str, list[str]] = {}
    for name, tree in model.trees.items():
        for note in remarks.notes(tree):
            said.setdefault(note, []).append(name)
    marked = [note if len(by) == len(model.trees) else f"{', '.join(by)}: {note}" for note, by in said.items()]
    reservations = notes("Assumptions, and what was left out", marked) or words("Every row was used as it stands.")
    return Section("Specification", blocks(equations(first), facts(first, model.sampling), levels(first), reservations))


def _data(model: Model, first: xr.DataTree, seen: dict[object, str]) -> tuple[Block, ...]:
    table, rest = data_table(of_tree(first))
    if table in seen:
        return blocks(words(f"The same rows as those of model {seen[table]}."))
    seen[table] = model.name
    return blocks(table, words(rest))


def _drawn(drawings: Sequence[Drawing]) -> tuple[Block, ...]:
    drawn, left_out = pictures(drawings)
    return blocks(*drawn, notes("Not drawn", left_out))


def _sensitivity(model: Model) -> tuple[Block, ...]:
    if (found := model.priors) is None:
        return blocks(words(model.no_priors))
    drawing = Drawing(
        "Estimates by prior",
        f"Every parameter with its interval under {found.sizes['prior']} priors; the table above has the numbers.",
        "Points are posterior means, lines their intervals.",
        lambda: plots.sensitivity(found),
    )
    return (*sensitivity_blocks(found), *_drawn([drawing]))
