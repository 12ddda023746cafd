"""One page of HTML about an analysis that needs no network: everything to read, judge and repeat it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import xarray as xr

from bayesmeta._validation import check_type
from bayesmeta.errors import SpecError
from bayesmeta.inference.reference import Vcov, asked
from bayesmeta.measures import measure
from bayesmeta.report.chapters import Chapter, chapters_of
from bayesmeta.report.page import page
from bayesmeta.report.render import Report, check_page, render
from bayesmeta.report.sections.python_code import code_of
from bayesmeta.summaries.compare import check_named, compare
from bayesmeta.tree.posterior_draws import is_posterior


def report(
    *trees: xr.DataTree | Mapping[str, xr.DataTree],
    path: str | Path | None = None,
    title: str = "",
    citation: str = "",
    names: Sequence[str] | None = None,
    sensitivity: xr.Dataset | None = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
    **named: xr.DataTree,
) -> Report:
    """One self-contained HTML page about results trees: specification, data, estimates, pictures, diagnostics.

    Parameters
    ----------
    *trees : DataTree or mapping of str to DataTree
        Results of `bm.fit` and `bm.sample`, or one dict `{name: tree}`. Trees of one specification are shown side by
        side; those of several specifications make as many chapters, and a dict of `{"year_ml": .., "year_bayes": ..}`
        names the chapter "year".
    path : str or Path, optional
        Where to write the page; by default it is only returned.
    title : str, optional
        Title of the page; by default it names the outcomes.
    citation : str, optional
        Source of the analysis, shown below the title.
    names : sequence of str, optional
        One name for each tree; by default whatever distinguishes the trees, as in `bm.compare`.
    sensitivity : Dataset, optional
        The result of `bm.sensitivity`, for trees of one specification.
    prob : float, default 0.95
        Probability of all intervals, between 0 and 1.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of the fits, everywhere on the page; see
        `bm.estimates`.
    **named : DataTree
        Further trees with their names, as in `report(ml=fit, bayes=post)`.

    Returns
    -------
    Report
        `html`, the page as text, and `save(path)`; notebooks display it.

    Raises
    ------
    SpecError
        If there is no tree, an argument is not a tree, `sensitivity` is anything else or given with several
        specifications, or `prob` is not a probability.
    DataError
        If there is no directory for `path`.

    See Also
    --------
    bayesmeta.compare : The table of estimates alone.

    Notes
    -----
    The page loads nothing: pictures, styles and formulas (MathML) are part of it. A plot that is not possible for a
    model is left out, with a sentence that says why.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> page = bm.report(bm.fit(spec), title="BCG vaccine against tuberculosis")
    >>> page.title, "<script" in page.html
    ('BCG vaccine against tuberculosis', False)
    """
    if path is not None:
        check_page(path)
    for what, text in (("title", title), ("citation", citation)):
        check_type(text, str, what)
    check_named(report, named)
    by_name = compare(*trees, names=names, prob=prob, scale=None, vcov=vcov, df=df, **named).trees
    chapters = chapters_of(by_name, no_priors="Not passed to bm.report; bm.sensitivity makes it.")
    if sensitivity is not None:
        chapters = [_with_priors(chapters, sensitivity)]
    with asked(vcov, df):
        rendered = render(page(title or default_title(by_name), citation, chapters, (code_of(by_name),), prob))
    if path is not None:
        rendered.save(path)
    return rendered


def default_title(trees: Mapping[str, xr.DataTree]) -> str:
    """What is analysed: the effect measure in words where there is one outcome, or the names of the outcomes."""
    outcomes = dict.fromkeys(outcome for tree in trees.values() for outcome in json.loads(tree.attrs["outcomes"]))
    labels = {measure(tree.attrs["measure"]).response_label for tree in trees.values() if tree.attrs["measure"]}
    if len(outcomes) == len(labels) == 1:
        label = labels.pop()
        return f"Meta-analysis: {label if label[1:2].isupper() else label[:1].lower() + label[1:]}"
    return f"Meta-analysis of {', '.join(outcomes)}"


def _with_priors(chapters: Sequence[Chapter], sensitivity: xr.Dataset) -> Chapter:
    """The only chapter, with its sensitivity to priors."""
    if not isinstance(sensitivity, xr.Dataset) or not {"prior", "parameter"} <= set(sensitivity.dims):
        raise SpecError("sensitivity must be the dataset returned by bm.sensitivity")
    if len(chapters) > 1:
        raise SpecError(
            f"sensitivity is that of one specification, but the trees have {len(chapters)}\n  make a report of each"
        )
    if not any(is_posterior(tree) for tree in chapters[0].trees.values()):
        raise SpecError("sensitivity needs a posterior beside it; bm.sample makes one")
    return replace(chapters[0], priors=sensitivity)
