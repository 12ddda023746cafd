"""From chapters to the sections of the page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import xarray as xr

from bayesmeta import plots
from bayesmeta.display import remarks
from bayesmeta.report.blocks import Block, Code, ReportPage, Section, blocks, notes, numbered, paragraphs
from bayesmeta.report.chapters import Chapter
from bayesmeta.report.pictures import Drawing, pictures
from bayesmeta.report.sections import drawings as d
from bayesmeta.report.sections import results
from bayesmeta.report.sections.accuracy_section import accuracy
from bayesmeta.report.sections.asymmetry_section import asymmetry
from bayesmeta.report.sections.chain_plots import of_chains
from bayesmeta.report.sections.data import data_table
from bayesmeta.report.sections.diagnostics import diagnostics
from bayesmeta.report.sections.dose_section import dose_section
from bayesmeta.report.sections.evidence_section import average_section, evidence_section
from bayesmeta.report.sections.left_out_rows import diagnostics_of, influence_section
from bayesmeta.report.sections.manuscript import manuscript
from bayesmeta.report.sections.model import equations, facts, levels, of_tree
from bayesmeta.report.sections.network_section import network_section
from bayesmeta.report.sections.opening import findings
from bayesmeta.report.sections.other_priors import sensitivity_blocks
from bayesmeta.report.sections.provenance import made, provenance
from bayesmeta.report.sections.results import Trees
from bayesmeta.summaries.compare import compare

# what a page says of analyses of a kind of their own
OF_ANALYSES: Mapping[str, Callable[[Trees, float, bool], tuple[Section, ...]]] = {"network": network_section}


def page(
    title: str,
    citation: str,
    chapters: Sequence[Chapter],
    codes: tuple[Code, ...],
    prob: float,
    tables: Mapping[str, Trees] | None = None,
    figures: Sequence[Drawing] = (),
    main: str = "",
) -> ReportPage:
    """The whole page.

    tables : results to be shown side by side, across models. figures : those of the file. main : the chapter that the
    page begins with; by default the first.
    """
    several = len(chapters) > 1
    chapters = sorted(chapters, key=lambda chapter: chapter.name != main) if main else chapters
    seen: dict[object, str] = {}
    parts: list[Section] = []
    for chapter in chapters:
        sections = chapter_sections(chapter, prob, seen, short=chapter is not chapters[0])
        if several:
            intro = blocks(paragraphs(chapter.summary))
            parts.append(Section(f"Model {chapter.name}", intro, tuple(replace(s, of=chapter.name) for s in sections)))
        else:
            parts += sections
    side = [Section(name, _side_by_side(trees, prob)) for name, trees in (tables or {}).items()]
    across = [Section("Models side by side", (), tuple(side))] if side else []
    averaged = {chapter.name: tree for chapter in chapters for tree in d.posteriors(chapter.trees).values()}
    across += average_section(averaged, prob) if several else []
    drawn = [Section("Figures", _drawn(figures))] if figures else []
    trees = {_name(chapter, name): tree for chapter in chapters for name, tree in chapter.trees.items()}
    opening = tuple((chapter.name if several else "", findings(chapter.trees, prob)) for chapter in chapters)
    written = max(str(tree.attrs["created_at"]) for tree in trees.values())[:10]
    sections_ = numbered([*across, *parts, *drawn, *_last(trees, codes, citation)])
    return ReportPage(title, citation, opening, sections_, written, _drawn([d.first(chapters[0].trees, prob)]))


def _last(trees: Trees, codes: tuple[Code, ...], citation: str) -> list[Section]:
    """How to make the page again, and what to cite."""
    makers = Section("How the results were made", made(trees), folded=True)
    return [Section("How to reproduce this page", provenance(trees, codes, citation), (makers,))]


def _name(chapter: Chapter, name: str) -> str:
    return f"{chapter.name}, {name}" if chapter.name else name


def _side_by_side(trees: Trees, prob: float) -> tuple[Block, ...]:
    comparison = compare(dict(trees), prob=prob)
    return (results.without_empty(comparison.estimates_table()), *map(results.readable, comparison.criteria_blocks()))


def chapter_sections(
    chapter: Chapter, prob: float, seen: dict[object, str], short: bool = False
) -> tuple[Section, ...]:
    """The sections of one chapter: the answer and its pictures, then what is behind it, folded.

    seen : data tables already on the page, with the name of their chapter. short : whether pictures are folded too.
    """
    trees = chapter.trees
    first = next(iter(trees.values()))
    bayes = d.posteriors(trees)
    chains = [drawing for tree in bayes.values() for drawing in of_chains(tree)]
    checks = [drawing for tree in bayes.values() for drawing in d.of_posterior(tree)]
    diagnosed = tuple(block for name, tree in trees.items() for block in diagnostics(tree, name))
    shown, others = d.drawings(trees, prob)
    open_, folded = ([], [*shown, *others]) if short else (shown, others)
    influential = diagnostics_of(trees)
    influence = influence_section(trees, influential, short)
    return (
        *accuracy(trees, prob, short),
        Section("Estimates", results.estimates(trees, prob)),
        *dose_section(trees, prob),
        Section("Heterogeneity", results.heterogeneity(trees, prob)),
        *OF_ANALYSES.get(str(of_tree(first).analysis.get("kind")), _nothing)(trees, prob, short),
        *([Section("Pictures", _drawn(open_))] if open_ else []),
        *evidence_section(bayes),
        *([Section("Sensitivity to priors", _sensitivity(chapter))] if chapter.priors is not None else []),
        Section("Tests and criteria", results.tests_and_criteria(trees, prob), folded=short),
        replace(_specification(chapter, first), folded=True),
        Section("Data", _data(chapter, first, seen), folded=True),
        Section("More pictures" if open_ else "Pictures", _drawn([*folded, *checks]), folded=True),
        *([influence] if influence is not None else []),
        *asymmetry(trees, prob, short),
        Section("Convergence", (*diagnosed, *_drawn(chains), *_no_priors(chapter, bool(bayes))), folded=True),
        manuscript(trees, prob, influential),
    )


def _nothing(trees: Trees, prob: float, short: bool) -> tuple[Section, ...]:
    return ()


def _no_priors(chapter: Chapter, bayes: bool) -> tuple[Block, ...]:
    """Why there is no sensitivity to priors, where there could be."""
    reason = chapter.no_priors if bayes and chapter.priors is None else ""
    return blocks(paragraphs(f"Sensitivity to priors: {reason[:1].lower()}{reason[1:]}" if reason else ""))


def _specification(chapter: Chapter, first: xr.DataTree) -> Section:
    makers: dict[str, list[str]] = {}
    for name, tree in chapter.trees.items():
        for note in remarks.notes(tree):
            makers.setdefault(note, []).append(name)
    labelled = [note if len(by) == len(chapter.trees) else f"{', '.join(by)}: {note}" for note, by in makers.items()]
    reservations = notes("Assumptions and omissions", labelled) or paragraphs("Every row was used as it is.")
    content = blocks(equations(first), facts(first, chapter.sampling), levels(first), reservations)
    return Section("Specification", content)


def _data(chapter: Chapter, first: xr.DataTree, seen: dict[object, str]) -> tuple[Block, ...]:
    table, rest = data_table(of_tree(first))
    if table in seen:
        return blocks(paragraphs(f"The same rows as those of model {seen[table]}."))
    seen[table] = chapter.name
    return blocks(table, paragraphs(rest))


def _drawn(drawings: Sequence[Drawing]) -> tuple[Block, ...]:
    drawn, left_out = pictures(drawings)
    return blocks(*drawn, notes("Not drawn", left_out))


def _sensitivity(chapter: Chapter) -> tuple[Block, ...]:
    if (dataset := chapter.priors) is None:
        return ()
    drawing = Drawing(
        "Estimates by prior",
        f"Every parameter with its interval under {dataset.sizes['prior']} priors; the numbers are in the table above.",
        "Points are posterior means, lines their intervals.",
        lambda: plots.sensitivity(dataset),
    )
    return (*sensitivity_blocks(dataset), *_drawn([drawing]))
