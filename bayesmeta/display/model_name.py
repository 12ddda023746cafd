"""What a model is called in the literature, and how many studies it has."""

import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta.estimation.methods import method_of
from bayesmeta.tree.parameters import effects, level_structures
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import has_predictors
from bayesmeta.tree.specification import group


def model_name(tree: xr.DataTree) -> str:
    """As in "Random-effects model (k = 13)"; k counts the rows with an effect estimate."""
    constant = group(tree, schema.CONSTANT)
    outcomes = len(set(constant["outcome_index"].to_numpy().tolist()))
    k = len(set(constant["row_index"].to_numpy().tolist()))
    several = f", {outcomes} outcomes" if outcomes > 1 else ""
    kind = " ".join(word for word in ("multivariate" * (outcomes > 1), _variation(tree)) if word)
    what = "meta-regression" if has_predictors(tree) else "model"
    return f"{kind[:1].upper()}{kind[1:]} {what} (k = {k}{several})"


def varies(tree: xr.DataTree) -> bool:
    """Whether true effects may differ between groups."""
    return not method_of(tree).zero_psi and any(effects(tree, level) for level in level_structures(tree))


def _variation(tree: xr.DataTree) -> str:
    if not is_posterior(tree) and not varies(tree):
        return "fixed-effects"
    levels = [level for level in level_structures(tree) if effects(tree, level)]
    if not levels:
        return "fixed-effects"
    return "multilevel random-effects" if len(levels) > 1 else "random-effects"
