"""Which trees are estimates of one model, and what to call it."""

from collections.abc import Mapping
from itertools import takewhile

import xarray as xr

from bayesmeta.report.page import Model
from bayesmeta.report.sections.model import same_model
from bayesmeta.tree.posterior_draws import is_posterior

_SEPARATORS = "_-,.: "


def grouped(trees: Mapping[str, xr.DataTree], no_priors: str = "") -> list[Model]:
    """Models in order of first appearance, each with its fits and then its posteriors.

    A model is called by the words with which the names of its trees begin, as "year" of "year_ml" and "year_bayes".
    """
    together: dict[tuple[str, ...], dict[str, xr.DataTree]] = {}
    for name, tree in trees.items():
        together.setdefault(same_model(tree), {})[name] = tree
    models = []
    for i, own in enumerate(together.values(), 1):
        begin = common_start(list(own))
        ordered = sorted(own.items(), key=lambda item: is_posterior(item[1]))
        called = {name[len(begin) :].strip(_SEPARATORS) or str(tree.attrs["method"]): tree for name, tree in ordered}
        title = begin.strip(_SEPARATORS) or str(i)
        models.append(Model(title if len(together) > 1 or begin else "", called, no_priors=no_priors))
    return models


def common_start(names: list[str]) -> str:
    """The words with which all names begin; of a single one the whole name.

    >>> common_start(["year_ml", "year_bayes"]), common_start(["reml", "reml_2"]), common_start(["fit"])
    ('year_', '', 'fit')
    """
    if len(names) == 1:
        return names[0]
    together = zip(*names, strict=False)
    begin = "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, together))
    while begin and begin[-1] not in _SEPARATORS:
        begin = begin[:-1]
    return begin
