"""Small-study effects of a chapter's fit: tests and estimates, and the funnel that they are about."""

from collections.abc import Sequence

import xarray as xr

from bayesmeta import plots
from bayesmeta.display.tables import Facts
from bayesmeta.errors import BayesmetaError
from bayesmeta.inference.small_study import filled
from bayesmeta.report.blocks import Block, Section, blocks, notes, paragraphs
from bayesmeta.report.pictures import Drawing, pictures
from bayesmeta.report.sections.results import Trees
from bayesmeta.summaries.small_study_page import ALL, SmallStudyPage, small_study_pages
from bayesmeta.tree.posterior_draws import is_posterior

TITLE = "Small-study effects"
FEW = 10  # effects below which tests of asymmetry say next to nothing
_CAUTION = (
    "Asymmetry of a funnel plot has several causes, of which selective publication is one, and heterogeneity that goes "
    "with the size of studies another. Estimates below are what-ifs, each right if its own account of the asymmetry is."
)


def asymmetry(trees: Trees, prob: float, short: bool = False) -> tuple[Section, ...]:
    """The section of the first fit, folded; none where there is no fit, or too few effects to test.

    short : tables alone, without pictures.
    """
    fits = [tree for tree in trees.values() if not is_posterior(tree)]
    if not fits:
        return ()
    try:
        pages = small_study_pages(fits[0], prob=prob)
    except BayesmetaError:  # fewer than three effects, or none with a sampling error
        return ()
    drawings = {
        name: [] if short or name == ALL else [_funnel(fits[0], page, len(pages) > 1)] for name, page in pages.items()
    }
    parts = tuple(Section(name, _blocks(page, drawings[name])) for name, page in pages.items())
    if len(parts) == 1:
        return (Section(TITLE, (*blocks(paragraphs(_CAUTION)), *parts[0].blocks), folded=True),)
    return (Section(TITLE, blocks(paragraphs(_CAUTION)), parts, folded=True),)


def _blocks(page: SmallStudyPage, drawings: Sequence[Drawing]) -> tuple[Block, ...]:
    k = next((int(out["k"]) for out in page.results.values() if "k" in out), 0)
    few = f"There are {k} effects; with fewer than {FEW} tests of asymmetry have hardly any power." if k < FEW else ""
    reasons = tuple(f"{name}: {why}" for name, why in page.reasons.items())
    shown = [block for block in page.blocks() if not (isinstance(block, Facts) and block.title)]
    drawn, left_out = pictures(list(drawings))
    more = blocks(paragraphs(few), notes("Not applicable", [*reasons, *left_out]))
    return (*shown, *drawn, *more)


def _funnel(tree: xr.DataTree, page: SmallStudyPage, several: bool) -> Drawing:
    """The funnel about the pooled estimate, with filled effects and Egger's line where there are any."""
    fill = "trim_fill" in page.results and int(page.results["trim_fill"]["k0"]) > 0
    test = page.results.get("egger")
    line = test is not None and bool(test["limit"].notnull())
    caption = ["Small studies are at the bottom."]
    caption += ["Hollow points are filled in by trim and fill; they are no data."] if fill else []
    caption += (
        ["The coloured line is Egger's regression, with the effect of a study without error at the top."]
        if line
        else []
    )
    return Drawing(
        "Funnel plot with small-study effects" + f", {page.outcome}" * several,
        "Effect estimates against their standard errors, with what tests and estimates of small-study effects see.",
        " ".join(caption),
        lambda: plots.funnel(
            filled(tree) if fill else tree,
            outcome=page.outcome,
            contours=(),
            asymmetry="egger" if line else None,
        ),
    )
