"""The hierarchy of a specification as nested records: groups within groups, units, and what is observed of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import IntArray
from bayesmeta.inference.prediction_rows import group_of_kept
from bayesmeta.model.spec import Spec


@dataclass(frozen=True)
class Unit:
    """A row of the data.

    observed : (k,) of every outcome. coupled : whether S couples sampling errors of its outcomes.
    block : number of the block of units whose sampling errors S couples, -1 where it is on its own.
    """

    observed: tuple[bool, ...]
    coupled: bool
    block: int


@dataclass(frozen=True)
class Group:
    """A group with what lies in it: `inside` groups of the next level, or units.

    depth : 0 for the outer level. more : of `inside` that are left out.
    """

    label: str
    depth: int
    inside: tuple["Group | Unit", ...]
    more: int

    @property
    def units(self) -> Iterator[Unit]:
        for each in self.inside:
            yield from [each] if isinstance(each, Unit) else each.units


def groups_of(spec: Spec, most: int, most_inside: int) -> list[Group]:
    """The first outer groups, at most `most`, of everything inside them the first `most_inside`."""
    units = _units(spec)
    of_row = [group_of_kept(spec, level) for level in spec.levels]

    def build(depth: int, rows: IntArray) -> Iterator[Group]:
        level = spec.levels[depth]
        order = dict.fromkeys(of_row[depth][rows].tolist())
        for number in list(order)[: most if depth == 0 else most_inside]:
            own = rows[of_row[depth][rows] == number]
            inside: Sequence[Group | Unit]
            if depth + 1 < len(spec.levels):
                inside, n = list(build(depth + 1, own)), len(set(of_row[depth + 1][own].tolist()))
            else:
                inside, n = [units[row] for row in own[: 2 * most_inside]], len(own)
            yield Group(level.labels[number][-1], depth, tuple(inside), n - len(inside))

    return list(build(0, np.arange(int(spec.kept.sum()))))


def _units(spec: Spec) -> list[Unit]:
    """One for every kept row."""
    position = np.cumsum(spec.kept) - 1
    row = position[spec.row]
    observed = np.zeros((int(spec.kept.sum()), len(spec.outcomes)), dtype=bool)
    observed[row, spec.outcome_index] = True
    first, second = coupled_pairs(spec)
    first, second = row[first], row[second]
    within = np.isin(np.arange(len(observed)), first[first == second])
    blocks = _blocks(first, second, len(observed))
    return [Unit(tuple(map(bool, o)), bool(w), int(b)) for o, w, b in zip(observed, within, blocks, strict=True)]


def coupled_pairs(spec: Spec) -> tuple[IntArray, IntArray]:
    """Pairs of observations whose sampling errors are correlated."""
    coupled = (spec.S.row != spec.S.col) & (spec.S.value != 0)
    return spec.S.row[coupled], spec.S.col[coupled]


def _blocks(first: IntArray, second: IntArray, n: int) -> IntArray:
    """Number of the block of every unit, -1 for units that are coupled with no other."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    linked = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    found = connected_components(linked, directed=False)[1]
    return np.where(np.bincount(found)[found] > 1, found, -1).astype(np.int64)
