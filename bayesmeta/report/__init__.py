"""One page of HTML about an analysis, which needs no network: everything to read, judge and repeat it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bayesmeta.errors import SpecError

if TYPE_CHECKING:
    import xarray as xr

    from bayesmeta.report.page import Model
    from bayesmeta.report.render import Report


def report(
    *trees: "xr.DataTree | Mapping[str, xr.DataTree]",
    path: str | Path | None = None,
    title: str = "",
    citation: str = "",
    names: Sequence[str] | None = None,
    sensitivity: "xr.Dataset | None" = None,
    prob: float = 0.95,
    **named: "xr.DataTree",
) -> "Report":
    """One self-contained HTML page about results trees: specification, data, estimates, pictures, diagnostics.

    Parameters
    ----------
    *trees : results trees of `bm.fit` and `bm.sample`, or one dict `{name: tree}`. Trees of one specification are set
        side by side; those of several make as many chapters, and a dict of `{"year_ml": .., "year_bayes": ..}` calls
        the chapter "year".
    path : where to write the page; by default it is only returned.
    title, citation : at the top of the page.
    names : one name per tree; by default what tells the trees apart, as in `bm.compare`.
    sensitivity : of `bm.sensitivity`, for trees of one specification.
    prob : probability of all intervals, between 0 and 1.
    **named : further trees with their names, as in `report(ml=fit, bayes=post)`.

    Returns
    -------
    Report
        `html`, the page as text, and `save(path)`; notebooks show it.

    Raises
    ------
    SpecError
        Without a tree, for something that is none, for `sensitivity` of something else or beside several
        specifications, and for prob that is no probability.
    DataError
        When there is no directory for `path`.

    Notes
    -----
    The page loads nothing from anywhere: pictures, styles and formulas (MathML) are in it. A plot that a model cannot
    have is left out with a sentence that says why.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> page = bm.report(bm.fit(spec), title="BCG vaccine against tuberculosis")
    >>> page.title, "<script" in page.html
    ('BCG vaccine against tuberculosis', False)
    """
    from bayesmeta.report.grouping import grouped
    from bayesmeta.report.page import page
    from bayesmeta.report.render import render
    from bayesmeta.report.sections.again import lines_of
    from bayesmeta.summaries.compare import compare

    chosen = compare(*trees, names=names, prob=prob, **named).trees
    models = grouped(chosen, no_priors="Not given to bm.report; bm.sensitivity makes it.")
    if sensitivity is not None:
        models = [_with_priors(models, sensitivity)]
    outcomes = dict.fromkeys(outcome for tree in chosen.values() for outcome in json.loads(tree.attrs["outcomes"]))
    title = title or f"Meta-analysis of {', '.join(outcomes)}"
    made = render(page(title, citation, models, (lines_of(chosen),), prob))
    if path is not None:
        made.save(path)
    return made


def _with_priors(models: Sequence["Model"], sensitivity: "xr.Dataset") -> "Model":
    """The only model, with its sensitivity to priors."""
    import xarray as xr

    from bayesmeta.tree.posterior_draws import is_posterior

    if not isinstance(sensitivity, xr.Dataset) or not {"prior", "parameter"} <= set(sensitivity.dims):
        raise SpecError("sensitivity takes the dataset that bm.sensitivity returned")
    if len(models) > 1:
        raise SpecError(
            f"sensitivity is of one specification, and the trees are of {len(models)}\n  make a report of each"
        )
    if not any(is_posterior(tree) for tree in models[0].trees.values()):
        raise SpecError("sensitivity is given without a posterior; bm.sample makes one")
    return replace(models[0], priors=sensitivity)
