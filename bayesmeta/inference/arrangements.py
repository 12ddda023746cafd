"""Arrangements of predictors among studies, or of signs of effects, that leave groups together."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import Spec

_CONSTANT = 1e-12  # relative differences of values that are the same


class Arrangements(ABC):
    """Everything that may be done to the data without a change to their distribution, if the hypothesis holds.

    An arrangement is a row of whole numbers, one for each item that is exchanged.
    """

    words: str
    count: int  # of distinct arrangements
    alike: int = 1  # arrangements that have the same statistics whatever the data
    observed: IntArray  # (items,)

    @abstractmethod
    def all(self) -> IntArray:
        """(count, items) every distinct arrangement."""

    @abstractmethod
    def drawn(self, n: int, random: np.random.Generator) -> IntArray:
        """(n, items) arrangements, each as likely as any other."""

    @abstractmethod
    def data(self, y: FloatArray, X: FloatArray, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        """Effects (B, n_obs) and designs (B, n_obs, P) of arrangements (B, items)."""


@dataclass(frozen=True, eq=False)
class Signs(Arrangements):
    """Signs of the effects of every outer group.

    group : (n_obs,) outer group.
    """

    group: IntArray
    m: int
    words: str
    alike: int = 2  # all signs turned round

    @property
    def count(self) -> int:  # type: ignore[override]
        return 2**self.m

    @property
    def observed(self) -> IntArray:  # type: ignore[override]
        return np.ones(self.m, np.int64)

    def all(self) -> IntArray:
        return 1 - 2 * ((np.arange(self.count)[:, None] >> np.arange(self.m)) & 1)

    def drawn(self, n: int, random: np.random.Generator) -> IntArray:
        return random.choice(np.array([-1, 1]), (n, self.m))

    def data(self, y: FloatArray, X: FloatArray, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        return y * chosen[:, self.group], np.broadcast_to(X, (len(chosen), *X.shape))


@dataclass(frozen=True, eq=False)
class Exchanges(Arrangements):
    """Values of predictors that change places within blocks.

    values : (items, k, P) of every item.  moved : columns of the design that move.  block, kind : (items,) block of
    every item, numbered from 0, and which items have the same values.  item, outcome : (n_obs,) of every observation.
    """

    values: FloatArray
    moved: IntArray
    block: IntArray
    kind: IntArray
    item: IntArray
    outcome: IntArray
    words: str

    @property
    def observed(self) -> IntArray:  # type: ignore[override]
        return np.arange(len(self.block))

    @property
    def blocks(self) -> list[IntArray]:
        """Items of every block."""
        return [np.flatnonzero(self.block == b) for b in range(int(self.block.max()) + 1)]

    @property
    def count(self) -> int:  # type: ignore[override]
        return math.prod(_multinomial(self.kind[own]) for own in self.blocks)

    def all(self) -> IntArray:
        """Which item each item has its values from; of items with the same values the first stands for all."""
        _, first = np.unique(self.kind, return_index=True)
        chosen = np.empty((self.count, len(self.block)), np.int64)
        places = np.concatenate(self.blocks)
        for i, kinds in enumerate(product(*(list(_distinct(self.kind[own])) for own in self.blocks))):
            chosen[i, places] = np.concatenate(kinds)
        return first[chosen]

    def drawn(self, n: int, random: np.random.Generator) -> IntArray:
        places = np.argsort(self.block, kind="stable")
        order = np.argsort(self.block[places] + random.random((n, len(places))), axis=1)
        chosen = np.empty_like(order)
        chosen[:, places] = places[order]
        return chosen

    def data(self, y: FloatArray, X: FloatArray, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        designs = np.repeat(X[None], len(chosen), axis=0)
        taken = self.values[chosen[:, self.item], self.outcome]
        designs[:, :, self.moved] = taken[:, :, self.moved]
        return np.broadcast_to(y, (len(chosen), len(y))), designs


def _multinomial(kinds: IntArray) -> int:
    """Distinct orders of items of some kinds."""
    ways = math.factorial(len(kinds))
    for count in Counter(kinds.tolist()).values():
        ways //= math.factorial(count)
    return ways


def _distinct(kinds: IntArray) -> Iterator[IntArray]:
    """Every distinct order of some kinds, in lexicographic order."""
    order = np.sort(kinds)
    while True:
        yield order.copy()
        rising = np.flatnonzero(order[:-1] < order[1:])
        if not len(rising):
            return
        i = rising[-1]
        j = np.flatnonzero(order > order[i])
        j = j[j > i][-1]
        order[i], order[j] = order[j], order[i]
        order[i + 1 :] = order[i + 1 :][::-1]


def signs(spec: Spec) -> Signs:
    """The signs of the outer groups of a model without predictors."""
    outer = spec.levels[0]
    each = outer.n_groups == len(np.unique(spec.row))
    return Signs(outer.index, outer.n_groups, "signs of " + ("effects" if each else f"groups of '{outer.name}'"))


def exchanges(spec: Spec, values: FloatArray, moved: IntArray) -> Exchanges:
    """The exchanges of the predictors in some columns of the design.

    values : (rows, k, P) design of every kept row and outcome.

    Raises
    ------
    SpecError
        When columns would have to be exchanged between different things.
    """
    unit = (np.cumsum(spec.kept) - 1)[spec.row]
    partitions = [_of_units(level.index, unit, len(values)) for level in spec.levels]
    names = [f"groups of '{level.name}'" for level in spec.levels]
    if len(np.unique(partitions[-1])) < len(values):
        partitions.append(np.arange(len(values)))
        names.append("rows")
    elif len(np.unique(partitions[0])) == len(values):
        names[0] = "rows"
    exchanged = np.array([_exchanged(values[:, :, c], partitions) for c in moved])
    if len(np.unique(exchanged)) > 1:
        kinds = [f"{spec.coef[c]} between {names[e]}" for c, e in zip(moved, exchanged, strict=True)]
        raise SpecError(
            f"permutation_test: predictors are exchanged in different ways: {listing(kinds)}\n"
            "  terms= names those of one kind, and holds the others as they are"
        )
    at = int(exchanged[0])
    item, first = np.unique(partitions[at], return_inverse=True)[1], None
    first = np.unique(item, return_index=True)[1]
    above = partitions[at - 1][first] if at else np.zeros(len(first), np.int64)
    own = values[first]
    rounded = own[:, :, moved].reshape(len(own), -1)
    kind = np.unique(rounded, axis=0, return_inverse=True)[1].ravel()
    block = np.unique(above, return_inverse=True)[1]
    words = f"{listing(spec.coef[c] for c in moved)} between {names[at]}"
    if at:
        words += f" within {names[at - 1]}"
    return Exchanges(own, moved, block, kind, item[unit], spec.outcome_index, words)


def _of_units(index: IntArray, unit: IntArray, n: int) -> IntArray:
    """(rows,) the group of every row, of which every observation has one."""
    group = np.zeros(n, np.int64)
    group[unit] = index
    return group


def _exchanged(values: FloatArray, partitions: list[IntArray]) -> int:
    """The outermost partition of the rows within whose groups values (rows, k) are constant."""
    for at, group in enumerate(partitions):
        low, high = (np.full((int(group.max()) + 1, values.shape[1]), end) for end in (np.inf, -np.inf))
        np.minimum.at(low, group, values)
        np.maximum.at(high, group, values)
        seen = np.isfinite(low)
        if (high[seen] - low[seen] <= _CONSTANT * np.abs(values).max()).all():
            return at
    return len(partitions) - 1
