"""What is observed, in which nested groups, and which observations are independent by design."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import add
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.io.columns import group_labels, label, numbered
from bayesmeta.kernel.layout import distinct


@dataclass(frozen=True, eq=False)
class Observations:
    """What is observed, and which observations are independent by design.

    outcomes : k labels; row_labels : of all n rows of the data.
    kept : (n,) whether the row is kept; present : (n, k) whether the outcome has a value, in any row.
    level : the outer level; group : (n,) its group for every row, -1 where the data name none.
    group_labels : of the groups of the outer level.
    by_row : each row is its own group, so that groups have no labels of their own.
    """

    outcomes: tuple[str, ...]
    row_labels: Sequence[str]
    kept: BoolArray
    present: BoolArray
    level: str
    group: IntArray
    group_labels: Sequence[str]
    by_row: bool

    @cached_property
    def observed(self) -> BoolArray:
        """(n, k) present and in a row that is kept: the observations, in the data's order."""
        return self.present & self.kept[:, None]

    @cached_property
    def position(self) -> IntArray:
        """(n, k) position among the observations, -1 for what is not observed."""
        position = np.full(self.observed.shape, -1)
        position[self.observed] = np.arange(self.observed.sum())
        return position

    @cached_property
    def row(self) -> IntArray:
        return np.nonzero(self.observed)[0]

    @cached_property
    def outcome(self) -> IntArray:
        return np.nonzero(self.observed)[1]

    @cached_property
    def cells_of_group(self) -> list[IntArray]:
        """Per group its cells in the order of the data, outcomes fastest, as positions in the flat (n, k) table."""
        k = len(self.outcomes)
        order = np.argsort(self.group, kind="stable")
        ends = np.searchsorted(self.group[order], np.arange(len(self.group_labels) + 1))
        cells = order[:, None] * k + np.arange(k)
        return [cells[a:b].ravel() for a, b in pairwise(ends)]

    def name(self, obs: int) -> str:
        """`row 7`, or `yB in row 7` when there are several outcomes."""
        row = f"row {self.row_labels[self.row[obs]]}"
        return row if len(self.outcomes) == 1 else f"{self.outcomes[self.outcome[obs]]} in {row}"

    def place(self, at: tuple[int, ...]) -> str:
        """`name` of the observation with which an index ends."""
        return self.name(at[-1])

    def names(self, obs: IntArray) -> str:
        """`row 7`, `rows 3, 7`, or `yB in row 3, yC in row 3`."""
        if len(self.outcomes) > 1:
            return listing([self.name(o) for o in obs])
        return f"row{'s' * (len(obs) > 1)} {listing([self.row_labels[self.row[o]] for o in obs])}"

    def group_name(self, obs: int) -> str:
        """`study 7`, or `row 7` when each row is its own group."""
        group = self.group[self.row[obs]]
        return f"row {self.row_labels[self.row[obs]]}" if self.by_row else f"{self.level} {self.group_labels[group]}"


class Groups(NamedTuple):
    """codes : (n,) group of every row, -1 where a label is missing.  labels : one path of labels per group.

    Groups are numbered by first appearance.
    """

    codes: IntArray
    labels: tuple[tuple[str, ...], ...]


def nested(columns: Sequence[pd.Series]) -> list[Groups]:
    """Groups of every level, from the grouping columns outer to inner: an inner label counts within its outer group.

    >>> study = pd.Series(["1", "1", "2"])
    >>> nested([pd.Series([7, 8, 7]), study])[1]
    Groups(codes=array([0, 1, 2]), labels=(('7', '1'), ('8', '1'), ('7', '2')))
    """
    levels: list[Groups] = []
    for column in columns:
        codes, texts = _codes(column)
        if not levels:
            paths: tuple[tuple[str, ...], ...] = tuple(zip(texts, strict=True))
        else:
            above = levels[-1]
            there = (codes >= 0) & (above.codes >= 0)
            codes_there, pairs = numbered((above.codes * len(texts) + codes)[there])
            codes = np.full(len(column), -1)
            codes[there] = codes_there
            outer, own = (part.tolist() for part in np.divmod(pairs, len(texts)))
            paths = tuple(map(add, map(above.labels.__getitem__, outer), zip(map(texts.__getitem__, own), strict=True)))
        levels.append(Groups(codes, paths))
    return levels


def recurring_labels(
    levels: Sequence[str], groups: Sequence[Groups], nested: Sequence[bool], rows: IntArray
) -> list[str]:
    """A sentence for every level that may have been meant to cross the one around it.

    Its labels recur in several outer groups, where they count as different groups, and the user did not write them as
    nested.

    levels : outer to inner.  groups, nested : of each its groups, and whether it is written as nested.
    rows : those in the model.
    """
    sentences = []
    for depth in range(1, len(levels)):
        if nested[depth]:
            continue
        used = distinct(groups[depth].codes[rows])
        times = Counter(groups[depth].labels[code][-1] for code in used.tolist())
        several = [text for text, count in times.items() if count > 1]
        if several:
            outer, inner, path = levels[depth - 1], levels[depth], "/".join(levels[: depth + 1])
            sentences.append(
                f"labels of '{inner}' ({listing(several, 3)}) recur in several groups of '{outer}' and count as "
                f"another group in each; if that is meant write '{path}' in random=; "
                f"crossed effects, one for each label of '{inner}' across all groups of '{outer}', cannot be fitted yet"
            )
    return sentences


def _codes(column: pd.Series) -> tuple[IntArray, list[str]]:
    """Codes and texts of the labels of one column; labels with one text, such as 1 and "1", are one label."""
    codes, values = numbered(group_labels(column))
    cells = values.tolist()
    if pd.api.types.infer_dtype(cells, skipna=False) in ("string", "integer"):
        return codes, [*map(str, cells)]  # different ones have different texts
    merged, names = pd.factorize(np.array([label(cell) for cell in cells], dtype=object))
    return np.append(merged, -1)[codes], names.tolist()
