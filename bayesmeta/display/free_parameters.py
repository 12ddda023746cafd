"""Which SDs and correlations a page has room for: all of a few effects, of many effects those that are free."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import pandas as pd
import xarray as xr

from bayesmeta.structures.base import Structure
from bayesmeta.tree.parameters import RHO, TAU, effects, level_structures

MOST_EFFECTS = 8  # of a level of which every SD and correlation is printed

Level = tuple[list[str], Structure]  # labels of the effects of a level in one tree, and their structure


def to_print(parameters: pd.DataFrame, trees: Iterable[xr.DataTree]) -> dict[str, str]:
    """The parameters of a page, each with the label that it has there.

    Of a level with many effects these are the SDs, or the one that all share, and the parameter of all correlations;
    none where each pair has its own. The shared ones are called by their level: `tau[district]`, `rho[district]`.

    parameters : `kind`, `level` and `term` by label, see `tree.parameters`. trees : those that have them.
    """
    levels: dict[str, list[Level]] = {}
    for tree in trees:
        for level, structure in level_structures(tree).items():
            levels.setdefault(level, []).append((effects(tree, level), structure))
    shown = {str(label): str(label) for label in parameters.index}
    for kind in (TAU, RHO):
        for level, alternatives in levels.items():
            rows = parameters[(parameters["kind"] == kind) & (parameters["level"] == level)]
            repeated = [str(label) for label in rows.index[rows["term"].isin(_repeated(kind, alternatives))]]
            for label in repeated:
                del shown[label]
            if repeated and _most_free(kind, alternatives) == 1:
                shown[repeated[0]] = f"{kind}[{level}]"
    return {str(label): shown[str(label)] for label in parameters.index if label in shown}


def _repeated(kind: str, alternatives: Sequence[Level]) -> set[str]:
    """Effects, or pairs, of which a page shows no more than the parameter that they share."""
    if kind == TAU and _most_free(kind, alternatives) > 1:
        return set()
    few, many = set[str](), set[str]()
    for labels, _ in alternatives:
        pairs = [f"{x}~{y}" for a, b in combinations(labels, 2) for x, y in ((a, b), (b, a))]
        (many if len(labels) > MOST_EFFECTS else few).update(pairs if kind == RHO else labels)
    return set() if many & few else many


def _most_free(kind: str, alternatives: Sequence[Level]) -> int:
    large = [(structure, len(labels)) for labels, structure in alternatives if len(labels) > MOST_EFFECTS]
    return max((s.n_rho(dim) if kind == RHO else s.n_tau(dim) for s, dim in large), default=0)
