"""What is left out or added at a time: the groups of a level, rows with one value of a column, or single rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, IntArray
from bayesmeta._validation import did_you_mean, listing, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.row_labels import ByRow, by_row, row_labels


@dataclass(frozen=True, eq=False)
class Groups:
    """What is left out or added at a time.

    codes : (n_rows,) group of every row, -1 of those not in the model.  names : of the groups, as the data have them.
    kind : what they are, for messages.
    """

    codes: IntArray
    names: tuple[str, ...]
    kind: str

    @property
    def n(self) -> int:
        return len(self.names)

    def of_obs(self, spec: Spec) -> IntArray:
        """(n_obs,) group of every observation."""
        return self.codes[spec.row]

    def without(self, spec: Spec) -> BoolArray:
        """(groups, n_obs) the observations that remain without each group."""
        return np.asarray(self.of_obs(spec) != np.arange(self.n)[:, None])


def groups_by(spec: Spec, by: ByRow | None, what: str) -> Groups:
    """The groups of a level, None for the outer one, or of a column; SpecError where there are not two of them."""
    levels = {level.name: level for level in spec.levels}
    if by is None or (isinstance(by, str) and by in levels):
        groups = _of_level(spec, levels[by] if isinstance(by, str) else spec.levels[0])
    else:
        if isinstance(by, str) and by not in spec.data:
            known = [*levels, *spec.data.columns]
            raise SpecError(
                f"by={shown(by)} is neither a level nor a column in this tree{did_you_mean(by, known)}\n"
                f"  levels: {listing(levels)}; columns: {listing(spec.data.columns, 20)}"
            )
        column = by_row(spec, by, "by")
        check_complete(spec, column, "by")
        codes = np.full(len(spec.kept), -1)
        codes[spec.kept], values = pd.factorize(column[spec.kept])
        name = by if isinstance(by, str) else ""
        groups = Groups(codes, tuple(str(value) for value in values), name)
    if len(groups.names) < 2:
        raise SpecError(f"{what}: there is one {groups.kind or 'group'} only, {groups.names[0]}; it takes two at least")
    _check_whole(spec, groups, what)
    return groups


def rows_alone(spec: Spec) -> Groups | None:
    """Every row a group; None where sampling errors of different rows are correlated."""
    codes = np.full(len(spec.kept), -1)
    codes[spec.kept] = np.arange(int(spec.kept.sum()))
    texts = row_labels(spec)
    groups = Groups(codes, tuple(texts[row] for row in np.flatnonzero(spec.kept)), "")
    return None if _split(spec, groups).any() else groups


def finest(spec: Spec) -> Groups:
    """Single rows, or where their errors are correlated the groups of the innermost level that keeps these together."""
    groups = rows_alone(spec)
    levels = iter(reversed(spec.levels))
    while groups is None:
        level = _of_level(spec, next(levels))  # S couples nothing across the groups of the outer level
        groups = None if _split(spec, level).any() else level
    return groups


def _split(spec: Spec, groups: Groups) -> BoolArray:
    """Which entries of S are covariances between observations of different groups."""
    code, S = groups.of_obs(spec), spec.S
    return np.asarray((code[S.row] != code[S.col]) & (S.value != 0))


def _check_whole(spec: Spec, groups: Groups, what: str) -> None:
    """Raise SpecError where rows with correlated sampling errors are in different groups."""
    apart = np.flatnonzero(_split(spec, groups))
    if not len(apart):
        return
    first, second = spec.S.col[apart[0]], spec.S.row[apart[0]]
    texts, code = row_labels(spec), groups.of_obs(spec)
    whole = [level.name for level in spec.levels if not _split(spec, _of_level(spec, level)).any()]
    raise SpecError(
        f"{what}: by{f' ({groups.kind!r})' if groups.kind else ''} splits rows whose sampling errors are correlated: "
        f"{texts[spec.row[first]]} in {groups.names[code[first]]} and {texts[spec.row[second]]} in "
        f"{groups.names[code[second]]}\n"
        f"  one cannot be left out and the other kept as it is; take by={whole[-1]!r}, which keeps such rows together"
    )


def _of_level(spec: Spec, level: Level) -> Groups:
    """The groups of a level, named after the rows where each row is its own."""
    codes = np.full(len(spec.kept), -1)
    codes[spec.row] = level.index
    names = [schema.join_label(label) for label in level.labels]
    if level.name == schema.UNIT and level.n_groups == len(np.unique(spec.row)):
        texts = row_labels(spec)
        names = [texts[int(np.flatnonzero(codes == g)[0])] for g in range(level.n_groups)]
    return Groups(codes, tuple(names), "" if level.name == schema.UNIT else level.name)


def check_complete(spec: Spec, column: pd.Series, argument: str) -> None:
    missing = spec.kept & column.isna().to_numpy()
    if missing.any():
        name = f" ({column.name!r})" if isinstance(column.name, str) else ""
        rows = listing(np.array(row_labels(spec), dtype=object)[missing])
        raise DataError(
            f"{argument}{name} is missing in rows of the model: {rows}\n"
            "  give them a value, or fit the model to the other rows"
        )
