"""Sentences about a results tree: what was fitted to what, and every reservation that a reader should know."""

import json
from typing import Any

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import listing
from bayesmeta.bayes import chains
from bayesmeta.display import posterior_remarks
from bayesmeta.effects.zero_cells import is_correction
from bayesmeta.estimation.methods import method_of
from bayesmeta.tree import raw_data
from bayesmeta.tree.parameters import RHO, TAU, effects, free_of_levels, level_structures, parameters
from bayesmeta.tree.partitions_attribute import of_partitions
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import has_predictors
from bayesmeta.tree.row_labels import row_labels
from bayesmeta.tree.specification import group

_CERTAIN = 1 - 1e-6  # a correlation beyond is at the end of its range
_NEAR_MODE = 2.0  # log-likelihood below the highest within which another maximum is reported
_NOTHING = 1e-5  # an SD below this fraction of the largest of its level is zero


def method(tree: xr.DataTree) -> str:
    if is_posterior(tree):
        return posterior_remarks.method(tree)
    return method_of(tree).label


def model_name(tree: xr.DataTree) -> str:
    """As in "Random-effects model (k = 13)"; k counts the rows with an effect estimate."""
    constant = group(tree, schema.CONSTANT)
    outcomes = len(set(constant["outcome_index"].to_numpy().tolist()))
    known = of_partitions(tree)
    k = known["totals"]["n_kept"] if known else len(set(constant["row_index"].to_numpy().tolist()))
    several = f", {outcomes} outcomes" if outcomes > 1 else ""
    kind = " ".join(word for word in ("multivariate" * (outcomes > 1), variation(tree)) if word)
    analysis = json.loads(tree.attrs.get("analysis") or "{}")
    what = analysis.get("what") or ("meta-regression" if has_predictors(tree) else "model")
    return f"{kind[:1].upper()}{kind[1:]} {what} (k = {k}{several})"


def varies(tree: xr.DataTree) -> bool:
    """Whether true effects may differ between groups."""
    return not method_of(tree).zero_psi and any(effects(tree, level) for level in level_structures(tree))


def variation(tree: xr.DataTree) -> str:
    """Whether true effects vary between groups, and of how many levels: "multilevel random-effects"."""
    if not is_posterior(tree) and not varies(tree):
        return "fixed-effects"
    levels = [level for level in level_structures(tree) if effects(tree, level)]
    if not levels:
        return "fixed-effects"
    return "multilevel random-effects" if len(levels) > 1 else "random-effects"


def formula(tree: xr.DataTree) -> str:
    text = _as_written(tree, "formula")
    fixed = text if isinstance(text, str) else "; ".join(f"{outcome} ~ {terms}" for outcome, terms in text.items())
    parts = {"common": "the same for all outcomes:", "offset": "offset"}
    return "; ".join([fixed, *(f"{words} {tree.attrs[part]}" for part, words in parts.items() if tree.attrs[part])])


def random(tree: xr.DataTree) -> str:
    text = _as_written(tree, "random")
    if not text:
        return f"none, the groups are {tree.attrs['groups']}" if tree.attrs["groups"] else "each row its own group"
    if isinstance(text, dict):
        return "; ".join(f"{terms} | {level}" for level, terms in text.items())
    return text if isinstance(text, str) else "; ".join(text)


def _as_written(tree: xr.DataTree, part: str) -> Any:
    """A formula as the user wrote it; several are kept as JSON."""
    text = str(tree.attrs[part])
    return json.loads(text) if text.startswith(("{", "[")) else text


def structure(tree: xr.DataTree) -> str:
    """The structure of Psi, with the levels where they differ."""
    if method_of(tree).zero_psi:
        return "zero"
    structures = level_structures(tree)
    words = {level: psi.name if effects(tree, level) else "no random effects" for level, psi in structures.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{level}: {word}" for level, word in words.items())


def counts(tree: xr.DataTree) -> str:
    """Rows given and used, observations, groups of every level."""
    if (known := of_partitions(tree)) is not None:
        sizes = known["n_groups"]
    else:
        constant = group(tree, schema.CONSTANT)
        sizes = {level: constant.sizes[schema.group(level)] for level in level_structures(tree)}
    groups = ", ".join(f"{level} {n}" for level, n in sizes.items())
    return f"{observations(tree)}; groups: {groups}"


def observations(tree: xr.DataTree) -> str:
    """Rows given and used, and observations."""
    outcomes = _outcomes(tree)
    if (known := of_partitions(tree)) is not None:
        rows, used_rows, n_obs = (int(known["totals"][name]) for name in ("n_rows", "n_kept", "n_obs"))
    else:
        kept = group(tree, schema.RAW)[raw_data.KEPT].values
        rows, used_rows, n_obs = len(kept), int(kept.sum()), group(tree, schema.CONSTANT).sizes[schema.OBS]
    used = "all used" if used_rows == rows else f"{used_rows} used"
    several = f" of {len(outcomes)} outcomes" if len(outcomes) > 1 else ""
    return f"{rows} row{'s' * (rows != 1)}, {used}; {n_obs} observation{'s' * (n_obs != 1)}{several}"


def alarms(tree: xr.DataTree) -> list[str]:
    """Reasons not to trust the numbers."""
    if is_posterior(tree):
        return chains.alarms(tree)
    if schema.OPTIMIZER not in tree.children:
        return []
    search = group(tree, schema.OPTIMIZER)
    if bool(search["converged"]):
        return []
    size = "relative change" if np.isnan(search["gradient"]).any() else "gradient norm"
    why = f"{search.attrs.get('message', '')}, {size} {float(search['gradient_norm']):.1e}"
    remedy = "these numbers are not the estimates; fit again from other starts or with more iterations"
    return [f"THE SEARCH DID NOT CONVERGE ({why}): {remedy}"]


def notes(tree: xr.DataTree) -> list[str]:
    """What was dropped, is missing, was assumed, or lies at a boundary."""
    at_boundary = [] if is_posterior(tree) else _boundary(tree)
    return [*_dropped(tree), *_missing(tree), *_assumed(tree), *at_boundary, *_of_the_method(tree)]


def assumptions(tree: xr.DataTree) -> list[str]:
    """The notes that are neither about rows, outcomes and their cells nor about boundaries."""
    return [*(note for note in _assumed(tree) if not is_correction(note)), *_of_the_method(tree)]


def corrections(tree: xr.DataTree) -> list[str]:
    """What was added to empty cells before the estimates were computed."""
    return [note for note in _assumed(tree) if is_correction(note)]


def _assumed(tree: xr.DataTree) -> list[str]:
    return [str(note) for note in json.loads(tree.attrs["notes"])]


def _of_the_method(tree: xr.DataTree) -> list[str]:
    return posterior_remarks.notes(tree) if is_posterior(tree) else _other_modes(tree)


def dropped_rows(tree: xr.DataTree) -> dict[str, list[str]]:
    """The names of the rows that are not in the model, by reason."""
    reasons = group(tree, schema.RAW)[raw_data.DROPPED].values.astype(str)
    rows: dict[str, list[str]] = {}
    if reasons.astype(bool).any():
        for label, reason in zip(row_labels(tree), reasons, strict=True):
            if reason:
                rows.setdefault(str(reason), []).append(label)
    return rows


def _dropped(tree: xr.DataTree) -> list[str]:
    if (known := of_partitions(tree)) is not None:
        totals = known["totals"]
        return [f"{n} of {totals['n_rows']} rows dropped: {reason}" for reason, n in totals["dropped"].items()]
    n = group(tree, schema.RAW).sizes[schema.ROW]
    return [
        f"{len(labels)} of {n} rows dropped: {reason} ({listing(labels)})"
        for reason, labels in dropped_rows(tree).items()
    ]


def missing_outcomes(tree: xr.DataTree) -> tuple[int, dict[str, int]]:
    """How many outcomes the used rows could have, and how many of each are missing, of those that lack any."""
    if (known := of_partitions(tree)) is not None:
        used, each = int(known["totals"]["n_kept"]), zip(_outcomes(tree), known["totals"]["n"], strict=True)
        lacking = {outcome: used - int(n) for outcome, n in each}
        return used * len(lacking), {outcome: count for outcome, count in lacking.items() if count}
    used = int(group(tree, schema.RAW)[raw_data.KEPT].values.sum())
    seen = group(tree, schema.OBSERVED)[schema.OUTCOME].values.astype(str)
    lacking = {outcome: used - int(np.sum(seen == outcome)) for outcome in _outcomes(tree)}
    return used * len(lacking), {outcome: count for outcome, count in lacking.items() if count}


def _missing(tree: xr.DataTree) -> list[str]:
    possible, lacking = missing_outcomes(tree)
    if not lacking:
        return []
    each = listing([f"{outcome} {count}" for outcome, count in lacking.items()], most=12)
    return [f"{sum(lacking.values())} of {possible} outcomes missing ({each}), taken as {method_of(tree).missing}"]


def boundaries(tree: xr.DataTree) -> dict[str, str]:
    """The levels whose covariance is estimated at the edge of its range, and what lies there, in words."""
    if schema.OPTIMIZER not in tree.children:
        return {}
    flags = group(tree, schema.OPTIMIZER)["at_boundary"].values.astype(bool)
    return {level: _edge(tree, level) for level, free in free_of_levels(tree).items() if flags[free].any()}


def _boundary(tree: xr.DataTree) -> list[str]:
    return [
        f"between-group covariance of {level} at its boundary: {edge}; "
        "standard errors and Wald intervals of this level are not valid there"
        for level, edge in boundaries(tree).items()
    ]


def _other_modes(tree: xr.DataTree) -> list[str]:
    """A second maximum that the data hardly distinguish from the first."""
    if schema.OPTIMIZER not in tree.children or schema.MODE_LOGLIK not in group(tree, schema.OPTIMIZER):
        return []
    loglik = group(tree, schema.OPTIMIZER)[schema.MODE_LOGLIK].values
    near = int((loglik[1:] > loglik[:1] - _NEAR_MODE).sum())
    if not near:
        return []
    others = "another maximum" if near == 1 else f"{near} other maxima"
    return [f"the likelihood has {others}, {loglik[0] - loglik[1]:.2g} below the highest (mode_xi in /optimizer)"]


def _edge(tree: xr.DataTree, level: str) -> str:
    """What lies at the boundary in words of SDs and correlations, since free parameters need not have a meaning."""
    estimate = group(tree, schema.ESTIMATE)
    if level_structures(tree)[level].own_parameters:
        return _own_edge(tree, level)
    labels, tau = estimate[schema.effect(level)].values, estimate[schema.tau(level)].values
    rho = estimate[schema.rho(level)].values
    zero = labels[(tau <= _NOTHING * tau.max()) | (len(tau) == 1)]
    at_edge = [f"tau of {effect} is zero" for effect in zero]
    pairs = zip(estimate[schema.pair(level)].values, rho, strict=True)
    at_edge += [f"rho of {pair} is {value:.0f}" for pair, value in pairs if abs(value) > _CERTAIN]
    return listing(at_edge) or "the matrix is singular"


def _own_edge(tree: xr.DataTree, level: str) -> str:
    """The same of a level with an SD and a correlation of its own."""
    own = parameters(tree)
    own = own[own["level"] == level]
    largest = own.loc[own["kind"] == TAU, "estimate"].max()
    at_edge = [
        f"{label} is zero"
        for label, kind, value in zip(own.index, own["kind"], own["estimate"], strict=True)
        if (kind == TAU and value <= _NOTHING * largest) or (kind == RHO and value <= 1 - _CERTAIN)
    ]
    at_edge += [f"{label} is 1" for label, row in own[own["kind"] == RHO].iterrows() if row["estimate"] > _CERTAIN]
    return listing(at_edge) or "the matrix is singular"


def _outcomes(tree: xr.DataTree) -> list[str]:
    return [str(outcome) for outcome in json.loads(tree.attrs["outcomes"])]
