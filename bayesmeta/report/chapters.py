"""Chapters of a report: which trees are estimates of the same model, and what to call it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

import xarray as xr

from bayesmeta.report.sections.model import same_model
from bayesmeta.report.sections.results import Trees
from bayesmeta.tree.posterior_draws import is_posterior

_SEPARATORS = "_-,.: "


@dataclass(frozen=True, eq=False)
class Chapter:
    """One model of a report: the trees of one specification by name, fits first.

    name : "" for a single model without a name. summary : one line about it. sampling : S as the model file gives it.
    priors : the result of `bm.sensitivity`. no_priors : why there is none.
    """

    name: str
    trees: Trees
    summary: str = ""
    sampling: str = ""
    priors: xr.Dataset | None = None
    no_priors: str = ""


def chapters_of(trees: Mapping[str, xr.DataTree], no_priors: str = "") -> list[Chapter]:
    """Chapters in order of first appearance, each with its fits followed by its posteriors.

    A chapter is named by the words that the names of its trees begin with, such as "year" for "year_ml" and
    "year_bayes".
    """
    by_model: dict[tuple[str, ...], dict[str, xr.DataTree]] = {}
    for name, tree in trees.items():
        by_model.setdefault(same_model(tree), {})[name] = tree
    chapters = []
    for i, own in enumerate(by_model.values(), 1):
        start = common_start(list(own))
        ordered = sorted(own.items(), key=lambda item: is_posterior(item[1]))
        renamed = {name[len(start) :].strip(_SEPARATORS) or str(tree.attrs["method"]): tree for name, tree in ordered}
        title = start.strip(_SEPARATORS) or str(i)
        chapters.append(Chapter(title if len(by_model) > 1 or start else "", renamed, no_priors=no_priors))
    return chapters


def common_start(names: list[str]) -> str:
    """The words that all names begin with; the whole name where there is only one.

    >>> common_start(["year_ml", "year_bayes"]), common_start(["reml", "reml_2"]), common_start(["fit"])
    ('year_', '', 'fit')
    """
    if len(names) == 1:
        return names[0]
    letters = zip(*names, strict=False)
    start = "".join(each[0] for each in takewhile(lambda each: len(set(each)) == 1, letters))
    while start and start[-1] not in _SEPARATORS:
        start = start[:-1]
    return start
