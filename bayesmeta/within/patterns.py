"""The parts of an assumed correlation: by what was measured, and by whom it was measured on."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import listing, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.arrays import as_numbers, check_labels
from bayesmeta.io.columns import column, rows
from bayesmeta.within.assumed import Groups, codes_of, complete


class Table(NamedTuple):
    """Correlations by the categories of a column."""

    codes: IntArray
    values: FloatArray

    @classmethod
    def of(cls, frame: pd.DataFrame, column: str, table: Any, what: str) -> "Table":
        codes, texts = codes_of(frame, column, what)
        if not isinstance(table, pd.DataFrame):
            raise SpecError(
                f"rho is {shown(table)}; with {what}='{column}' it must be a DataFrame with its labels as index and "
                "columns"
            )
        check_labels(table.columns, table.index, "rho, by columns,", error=SpecError)
        values = as_numbers(table, "rho", SpecError)
        names = [str(name) for name in table.index]
        if lacking := [text for text in texts if text not in names]:
            raise SpecError(f"rho has no row and column for '{column}' {listing(lacking)}\n  it has {listing(names)}")
        order = [names.index(text) for text in texts]
        values = values[np.ix_(order, order)]
        off = values[~np.eye(len(values), dtype=bool)]
        if not np.allclose(values, values.T, rtol=0, atol=1e-12) or not (np.abs(off) <= 1).all():
            raise SpecError(
                f"rho of '{column}' is not a symmetric table of correlations between -1 and 1"
                "\n  entries (i, j) and (j, i) must be the same number"
            )
        return cls(codes, values)

    def __call__(self, at: IntArray) -> FloatArray:
        R = self.values[np.ix_(self.codes[at], self.codes[at])]
        return np.where(self.codes[at][:, None] == self.codes[at], 1.0, R)


class Measured:
    """Correlations by what was measured."""

    def __init__(self, groups: Groups, obs: str | None, type_: str | None, rho: Any) -> None:
        self.parts: dict[str, Any] = {}
        columns = {name: of for name, of in (("obs", obs), ("type", type_)) if of is not None}
        self.codes = {name: codes_of(groups.frame, of, name)[0] for name, of in columns.items()}
        both = obs is not None and type_ is not None
        if both and (not isinstance(rho, list | tuple) or len(rho) != 2):
            raise SpecError(
                f"rho is {shown(rho)}; with obs and type it must be a list of two: the correlation of observations of "
                "one type, and that of different types"
            )
        values = dict(zip(("obs", "type"), rho, strict=True)) if both else {"obs" if obs is not None else "type": rho}
        for name, of in columns.items():
            value = values[name]
            if isinstance(value, list | tuple) and len(value) == 1:
                value = value[0]
            table = isinstance(value, pd.DataFrame)
            what = f"rho of {name}" if both else "rho"
            self.parts[name] = Table.of(groups.frame, of, value, name) if table else groups.scalar(value, what)

    @property
    def one(self) -> dict[Any, float] | None:
        """Of every group the number to which all correlations are in proportion; None where there are several."""
        (part, *others) = self.parts.values() or [None]
        return part if isinstance(part, dict) and not others else None

    def _of(self, name: str, key: Any, at: IntArray) -> FloatArray:
        part = self.parts[name]
        if isinstance(part, Table):
            return part(at)
        codes = self.codes[name][at]
        return np.where(codes[:, None] == codes, 1.0, part[key])

    def __call__(self, key: Any, at: IntArray) -> FloatArray:
        R = self._of("obs", key, at) if "obs" in self.parts else np.ones((len(at), len(at)))
        if "type" not in self.parts:
            return R
        codes = self.codes["type"][at]
        return np.where(codes[:, None] == codes, R, self._of("type", key, at))


class People:
    """Correlations by whom it was measured on: of differences between two groups that estimates may share."""

    def __init__(self, groups: Groups, given: dict[str, str], phi: Any) -> None:
        frame, n = groups.frame, len(groups.frame)
        self.alone = not any(name in given for name in ("grp1", "time1", "w1"))
        labels = [_labels(frame, given[name], name) for name in ("grp1", "grp2") if name in given]
        known = pd.factorize(np.concatenate(labels))[0] if labels else np.zeros(0, np.int64)
        codes = [known[i * n : (i + 1) * n] for i in range(len(labels))]
        self.group = [codes[0] if codes else np.zeros(n, np.int64), codes[1] if len(codes) > 1 else np.full(n, -1)]
        first = complete(frame, given["time1"], "time1") if "time1" in given else np.zeros(n)
        self.time = [first, complete(frame, given["time2"], "time2") if "time2" in given else first]
        weight = complete(frame, given["w1"], "w1") if "w1" in given else np.ones(n)
        self.weight = [weight, complete(frame, given["w2"], "w2") if "w2" in given else weight]
        for name, values in zip(("w1", "w2"), self.weight, strict=True):
            if (values <= 0).any():
                raise DataError(
                    f"column '{given[name]}' ({name}) is not positive in {rows(frame, values <= 0)}"
                    "\n  weights are numbers of persons, or other positive ones; fill these in"
                )
        self.phi = groups.scalar(phi, "phi") if phi is not None else dict.fromkeys(groups.rows, 0.0)
        if min(self.phi.values(), default=0.0) < 0 and not all(np.array_equal(t, np.round(t)) for t in self.time):
            raise SpecError(
                "phi is negative; with fractional times it cannot be\n  give a phi from 0 to 1, or whole times"
            )
        own = self.group[0] == self.group[1]
        same = own & (self.time[0] == self.time[1]) & (self.weight[0] == self.weight[1])
        if same.any():
            raise DataError(
                f"grp1 and grp2 are the same group at the same time in {rows(frame, same)}"
                "\n  each row compares two groups, or two times; check the columns"
            )

    def __call__(self, key: Any, at: IntArray) -> FloatArray:
        if self.alone:
            return np.ones((len(at), len(at)))
        share = [1 / np.sqrt(weight[at]) for weight in self.weight]
        total = np.zeros((len(at), len(at)))
        for i in range(2):
            for j in range(2):
                total += (-1) ** (i + j) * self._shared(key, at, i, j) * np.outer(share[i], share[j])
        size = np.sqrt(np.diag(total))
        return np.asarray(total / np.outer(size, size))

    def _shared(self, key: Any, at: IntArray, i: int, j: int) -> FloatArray:
        """Correlation of the i-th group of one estimate with the j-th of another."""
        same = self.group[i][at][:, None] == self.group[j][at]
        lag = np.abs(np.subtract.outer(self.time[i][at], self.time[j][at]))
        return np.where(same, np.where(lag == 0, 1.0, self.phi[key] ** np.where(lag == 0, 1.0, lag)), 0.0)


def _labels(frame: pd.DataFrame, column: str, what: str) -> Any:
    codes, texts = codes_of(frame, column, what)
    return np.array(texts, dtype=object)[codes]


class Reported:
    """Correlations that stand in the data, a row of the lower triangle in every row."""

    def __init__(self, groups: Groups, names: Any) -> None:
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise SpecError(f"rvars is {shown(names)}; it must be a list of columns")
        largest = max(groups.rows, key=lambda key: len(groups.rows[key]))
        size = len(groups.rows[largest])
        if size != len(names):
            raise SpecError(
                f"rvars has {len(names)} columns, {groups.called(largest)} has {size} rows\n"
                "  as many columns as the largest cluster has rows are needed"
            )
        self.groups, self.names = groups, names
        self.values = np.column_stack([column(groups.frame, name, "rvars") for name in names])

    def __call__(self, key: Any, at: IntArray) -> FloatArray:
        R = np.tril(self.values[at][:, : len(at)])
        lower = np.tril_indices(len(at))
        lacking = ~np.isfinite(R[lower])
        if lacking.any():
            row, col = (int(index[int(np.argmax(lacking))]) for index in lower)
            place = self.groups.frame.index[at[row]]
            raise DataError(
                f"column '{self.names[col]}' (rvars) is missing in row {place} of {self.groups.called(key)}"
                "\n  fill in the correlations of the rows of a group, lower triangle"
            )
        if not (np.diag(R) > 0).all():
            raise DataError(
                f"rvars: the diagonal of {self.groups.called(key)} is not positive; correlations have 1 there"
                "\n  put ones there"
            )
        return R + np.tril(R, -1).T
