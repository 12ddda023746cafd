"""Text for a paper: what was done and what came of it, in paragraphs with references, from a results tree alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING

import xarray as xr

from bayesmeta._validation import check_probability, listing, shown
from bayesmeta.display import remarks
from bayesmeta.display.escapes import for_latex, for_markdown
from bayesmeta.display.paper_word import text_in_word
from bayesmeta.display.tables import page_width
from bayesmeta.errors import SpecError
from bayesmeta.inference.reference import Vcov
from bayesmeta.summaries.influence_table import check_diagnostics, influence_examined, influence_found
from bayesmeta.summaries.paper_methods import methods_paragraphs
from bayesmeta.summaries.paper_numbers import numbers_of
from bayesmeta.summaries.paper_results import results_paragraphs
from bayesmeta.summaries.references import Bibliography
from bayesmeta.summaries.small_study_words import small_study_sentences
from bayesmeta.tree.response import Scale
from bayesmeta.tree.specification import reading_once

if TYPE_CHECKING:
    from docx.document import Document

_BREAK = "\n\n"  # between paragraphs
_WARNINGS, _REFERENCES, _NOTES = "Do not publish these numbers", "References", "Notes for the authors"
_PARTS = ("Methods", "Results", _REFERENCES, _NOTES)


def methods_text(
    tree: xr.DataTree,
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
    small_study: xr.Dataset | Sequence[xr.Dataset] | None = None,
    influence: xr.Dataset | None = None,
) -> "MethodsText":
    """Paragraphs for the methods and the results section of a paper, with the references that they cite.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit` or `bm.sample`, also one read back from a file.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        Whether effects are given on the scale of the model or on that on which people read the measure, such as odds
        ratios of log odds ratios. By default the latter, where the measure has one.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, see `bm.estimates`.
    small_study : Dataset or sequence of Dataset, optional
        Results of `bm.small_study` that the paper reports, such as `bm.small_study.egger(tree)`: each has a sentence in
        both sections.
    influence : Dataset, optional
        What `bm.influence` returned for this tree, to say how it was looked for, and what it found.

    Returns
    -------
    MethodsText
        Prints as text; `str()` is the whole of it. `methods` and `results`, texts with an empty line between
        paragraphs; `references`, a tuple of texts, numbered as they are cited; `warnings`, reasons not to publish the
        numbers, which stand at the top; `notes`, what was assumed, at the end; `to_markdown()` and `to_latex()`.

    Raises
    ------
    SpecError
        When `tree` is not a results tree with estimates, `prob` is not a probability, the measure of the model is not
        read on another scale, or `small_study` holds anything else.

    See Also
    --------
    bayesmeta.summary : The same numbers, with more digits, in tables.

    Notes
    -----
    Numbers are those of `bm.summary`, rounded to two digits of the width of their interval. The text knows what the
    tree knows: how studies were sought and selected, where effect estimates come from and what they mean is for the
    authors to say.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> text = bm.methods_text(fit)
    >>> text.results[:80]
    'The pooled odds ratio was 0.47 (95% CI 0.32 to 0.71; t(12) = −3.99, p = 0.0018).'
    >>> len(text.references), text.references[0][:24]
    (8, 'Sera F, Armstrong B, Bla')
    """
    prob = check_probability(prob)
    with reading_once():
        about, cite = numbers_of(tree, prob, scale, {"vcov": vcov, "df": df}), Bibliography()
        results, further = results_paragraphs(about), None
        if influence is not None:
            table = check_diagnostics(influence)
            results.append(influence_found(table))
            further = partial(influence_examined, table)
        methods = methods_paragraphs(about, cite, further)
        asked, told = small_study_sentences(about, small_study, cite)
        methods, results = [*methods, *_paragraph(asked)], [*results, *_paragraph(told)]
        return MethodsText(
            methods=_BREAK.join(methods),
            results=_BREAK.join(results),
            references=cite.entries,
            warnings=tuple(remarks.alarms(tree)),
            notes=tuple(remarks.assumptions(tree)),
        )


@dataclass(frozen=True, repr=False)
class MethodsText:
    """Paragraphs for a paper, as `bm.methods_text` returns them.

    Parameters
    ----------
    methods, results : str
        The two sections; paragraphs are parted by an empty line.
    references : tuple of str
        What they cite, in the order of the numbers.
    warnings : tuple of str
        Reasons not to publish these numbers.
    notes : tuple of str
        What was assumed, for the authors to judge.

    Examples
    --------
    >>> print(MethodsText("We pooled them [1].", "It was 0.", ("A (2001).",)))
    Methods
    <BLANKLINE>
    We pooled them [1].
    <BLANKLINE>
    Results
    <BLANKLINE>
    It was 0.
    <BLANKLINE>
    References
    <BLANKLINE>
    1. A (2001).
    """

    methods: str
    results: str
    references: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def sections(self) -> list[tuple[str, tuple[str, ...]]]:
        """Headings with their paragraphs, in order; references and notes without their numbers and dashes."""
        parts = [
            (_WARNINGS, self.warnings),
            ("Methods", tuple(self.methods.split(_BREAK))),
            ("Results", tuple(self.results.split(_BREAK))),
            (_REFERENCES, self.references),
            (_NOTES, self.notes),
        ]
        return [(title, paragraphs) for title, paragraphs in parts if paragraphs]

    def __str__(self) -> str:
        width, blocks = page_width(), []
        for title, paragraphs in self.sections():
            blocks.append(title)
            marks = _marks(title, len(paragraphs))
            lines = [_filled(text, mark, width) for mark, text in zip(marks, paragraphs, strict=True)]
            blocks += ["\n".join(lines)] if any(marks) else lines
        return _BREAK.join(blocks)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = []
        for title, paragraphs in self.sections():
            parts.append(f"<p><b>{escape(title)}</b></p>")
            kind = {_REFERENCES: "ol", _NOTES: "ul"}.get(title)
            tag = "li" if kind else "p"
            items = "".join(f"<{tag}>{escape(text)}</{tag}>" for text in paragraphs)
            parts.append(f"<{kind}>{items}</{kind}>" if kind else items)
        return f"<div style='max-width:50em'>{''.join(parts)}</div>"

    def to_markdown(self) -> str:
        """The text in Markdown, a heading above every part."""
        blocks = []
        for title, paragraphs in self.sections():
            blocks.append(f"## {title}")
            marks = _marks(title, len(paragraphs))
            lines = [mark + for_markdown(text) for mark, text in zip(marks, paragraphs, strict=True)]
            blocks += ["\n".join(lines)] if any(marks) else lines
        return _BREAK.join(blocks)

    def to_word(self, document: "Document | None" = None, parts: Sequence[str] | None = None) -> "Document":
        """The text in a document of python-docx, a heading above every part.

        Parameters
        ----------
        document : docx.document.Document, optional
            One that is begun, to whose end the text is added; by default a new one of A4 pages.
        parts : sequence of str, optional
            Headings of the parts that are added: "Methods", "Results", "References", "Notes for the authors"; by
            default all there are. Reasons not to publish the numbers, where there are any, go before the results.

        Returns
        -------
        docx.document.Document
            The document, to go on with: `bm.table(fit).to_word(document)` adds tables; its method `save` writes it.

        Raises
        ------
        SpecError
            For anything but a document of python-docx, another part, and where python-docx is not installed.

        Examples
        --------
        >>> paper = MethodsText("We pooled them [1].", "It was 0.", ("A (2001).",)).to_word()
        >>> [paragraph.text for paragraph in paper.paragraphs]
        ['Methods', 'We pooled them [1].', 'Results', 'It was 0.', 'References', '1. A (2001).']
        """
        known = [title for title, _ in self.sections()]
        chosen = known if parts is None else parts
        if isinstance(chosen, str) or not isinstance(chosen, Sequence) or any(part not in _PARTS for part in chosen):
            raise SpecError(f"parts is {shown(parts)}; it must be a list of: {listing(_PARTS)}")
        marked = [
            (title, [mark + text for mark, text in zip(_marks(title, len(texts)), texts, strict=True)])
            for title, texts in self.sections()
            if title in chosen or (title == _WARNINGS and "Results" in chosen)
        ]
        return text_in_word(marked, "to_word", document)

    def to_latex(self) -> str:
        """The text in LaTeX, an unnumbered section for every part."""
        blocks = []
        for title, paragraphs in self.sections():
            blocks.append(rf"\section*{{{for_latex(title)}}}")
            texts = [for_latex(text) for text in paragraphs]
            kind = {_REFERENCES: "enumerate", _NOTES: "itemize"}.get(title)
            if kind:
                texts = [
                    "\n".join([rf"\begin{{{kind}}}", *(rf"\item {{}}{text}" for text in texts), rf"\end{{{kind}}}"])
                ]
            blocks += texts
        return _BREAK.join(blocks)


def _paragraph(sentences: Sequence[str]) -> list[str]:
    return [" ".join(sentences)] if sentences else []


def _marks(title: str, n: int) -> list[str]:
    """What stands before every paragraph of a part."""
    return [f"{i}. " for i in range(1, n + 1)] if title == _REFERENCES else ["- " if title == _NOTES else ""] * n


def _filled(text: str, mark: str, width: int) -> str:
    return fill(text, width, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False)
