"""Data in partitions, read one at a time: Dask data frames, Parquet sets, and data frames that are divided."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import IntArray
from bayesmeta._validation import listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import as_frame, group_labels, label

PARQUET = (".parquet", ".parq", ".pq")
ROWS = 250_000  # of a partition of a Parquet set, about: its row groups are taken together up to that many
GATHERED = 3  # partitions from which the groups of one may come, where Dask holds them and memory is short
NO_GROUP = np.uint64(0)


def are_in_partitions(data: Any) -> bool:
    """Whether data are a Dask data frame, or the path of a Parquet file or folder."""
    if isinstance(data, str | PathLike):
        return str(data).endswith(PARQUET) or _is_folder(str(data))
    return _dask_frame(data) is not None


def _is_folder(text: str) -> bool:
    """Whether this is the path of a folder of Parquet files, or of folders for each value of a column."""
    try:
        entries = [*Path(text).iterdir()] if text and "~" not in text else []
    except (OSError, ValueError):  # such as a NUL in the name
        return False
    return any(entry.suffix in PARQUET or "=" in entry.name for entry in entries)


def _dask_frame(data: Any) -> Any:
    """The Dask data frame that this is, perhaps in a frame of narwhals; None for anything else."""
    if type(data).__module__.startswith("narwhals."):
        data = data.to_native()
    of_dask = type(data).__module__.split(".")[0] in ("dask", "dask_expr") and hasattr(data, "to_delayed")
    return data if of_dask else None


def need_dask(what: str = "data in partitions") -> None:
    """SpecError where Dask is not installed, with the line that installs it."""
    try:
        import dask  # noqa: F401
        import distributed  # noqa: F401
    except ImportError as error:
        raise SpecError(
            f"{what}: Dask is not installed (no module named '{error.name}')\n  pip install 'bayesmeta[distributed]'"
        ) from None


@dataclass(frozen=True)
class Fragments:
    """Pieces of the files of a Parquet set, read where they are worked on."""

    fragments: tuple[Any, ...]
    schema: Any
    columns: tuple[str, ...]

    def load(self) -> pd.DataFrame:
        import pyarrow as pa

        names = list(self.columns)
        tables = [fragment.to_table(schema=self.schema, columns=names) for fragment in self.fragments]
        return pa.concat_tables(tables).to_pandas()


@dataclass(frozen=True, eq=False)
class InMemory:
    """Rows of a data frame, sent to where they are worked on."""

    frame: pd.DataFrame

    def load(self) -> pd.DataFrame:
        return self.frame


@dataclass(frozen=True)
class Partition:
    """Where one partition comes from: `Fragments`, `InMemory`, or a Delayed of Dask; name : for messages."""

    name: str
    origin: Any


@dataclass(frozen=True, eq=False)
class Share:
    """Which rows of a partition count: of all groups but some, or of some alone, by the hashes of their labels."""

    column: str | None = None
    hashes: Any = None
    without: bool = True

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.column is None or (self.without and not len(self.hashes)):
            return frame
        inside = np.isin(group_hashes(frame[self.column]), self.hashes)
        return frame[~inside if self.without else inside]


@dataclass(frozen=True, eq=False)
class Partitions:
    """A data set in partitions.

    parts : where rows come from.  columns : names of its columns.  source : what it is, for people.
    shares : of every partition which rows of which parts it consists of, its own first.
    reread : whether reading a part again costs no memory.
    """

    parts: tuple[Partition, ...]
    columns: tuple[str, ...]
    source: str
    shares: tuple[tuple[tuple[int, Share], ...], ...]
    reread: bool = False

    def __len__(self) -> int:
        return len(self.shares)

    def name(self, position: int) -> str:
        return self.parts[self.shares[position][0][0]].name

    def reading(self, position: int) -> tuple[list[Share], list[Any]]:
        """Of one partition which rows of which origins it consists of."""
        return [share for _, share in self.shares[position]], [self.parts[i].origin for i, _ in self.shares[position]]

    def only(self, positions: Sequence[int]) -> "Partitions":
        return replace(self, shares=tuple(self.shares[i] for i in positions))

    def with_columns(self, columns: Sequence[str]) -> "Partitions":
        """The same, of which no other columns are read."""
        names = tuple(name for name in self.columns if name in set(columns))
        parts = [
            Partition(p.name, Fragments(p.origin.fragments, p.origin.schema, names))
            if isinstance(p.origin, Fragments)
            else Partition(p.name, InMemory(p.origin.frame[list(names)]))
            if isinstance(p.origin, InMemory)
            else p
            for p in self.parts
        ]
        return replace(self, parts=tuple(parts), columns=names)


def frame_of(shares: Sequence[Share], origins: Sequence[Any]) -> pd.DataFrame:
    """The rows of one partition, read; of its own first, so that rows of a group keep their order."""
    frames = []
    for share, origin in zip(shares, origins, strict=True):
        frames.append(share.of(origin if isinstance(origin, pd.DataFrame) else origin.load()))
    return frames[0] if len(frames) == 1 else pd.concat(frames)


def partitions_of(data: Any, outer: str | None, n: int | None) -> Partitions:
    """The partitions of data; of a data frame in memory n of them, with whole groups of a column.

    outer : column of the outer groups, None where each row is its own.
    """
    if isinstance(data, str | PathLike):
        return _parquet(str(data))
    dask = _dask_frame(data)
    if dask is not None:
        names = tuple(map(str, dask.columns))
        parts = [Partition(f"partition {i}", piece) for i, piece in enumerate(dask.to_delayed())]
        return Partitions(tuple(parts), names, "Dask data frame", _alone(len(parts)))
    frame = as_frame(data, "data")
    if not len(frame):
        raise DataError("the data have no rows")
    pieces = [frame.iloc[rows] for rows in _divided(frame, outer, n or 1)]
    parts = [Partition(f"partition {i}", InMemory(piece)) for i, piece in enumerate(pieces)]
    return Partitions(tuple(parts), tuple(map(str, frame.columns)), "data frame", _alone(len(parts)), reread=True)


def _alone(n: int) -> tuple[tuple[tuple[int, Share], ...], ...]:
    return tuple(((i, Share()),) for i in range(n))


def _divided(frame: pd.DataFrame, outer: str | None, n: int) -> Iterator[IntArray]:
    """Positions of the rows of n partitions, of whole groups, of about as many rows each."""
    if outer is None or outer not in frame:
        yield from (rows for rows in np.array_split(np.arange(len(frame)), n) if len(rows))
        return
    codes = pd.factorize(group_labels(frame[outer]), use_na_sentinel=False)[0]
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) > 0])
    at = np.searchsorted(starts, len(frame) * np.arange(1, n) // n)
    ends = np.unique(starts[at[at < len(starts)]])
    yield from (np.sort(rows) for rows in np.split(order, ends) if len(rows))


def _parquet(path: str) -> Partitions:
    try:
        import pyarrow.dataset as pads
    except ImportError:
        raise SpecError(
            "Parquet needs PyArrow, which is not installed\n  pip install 'bayesmeta[distributed]'"
        ) from None
    try:
        files = pads.dataset(path, format="parquet", partitioning="hive")
        fragments = [piece for fragment in files.get_fragments() for piece in fragment.split_by_row_group()]
    except (OSError, ValueError) as error:  # no such file, no Parquet, and whatever else Arrow says of a file
        raise DataError(f"the Parquet set '{path}' cannot be read: {str(error).splitlines()[0]}") from None
    if not fragments:
        raise DataError(f"the Parquet set '{path}' has no rows")
    _check_schemas(files, path)
    names, parts, rows = tuple(files.schema.names), [], 0
    held: list[Any] = []
    for fragment in [*fragments, None]:
        count = fragment.metadata.row_group(fragment.row_groups[0].id).num_rows if fragment is not None else 0
        if held and (fragment is None or rows + count > ROWS):
            name = Path(held[0].path).name + (
                f" to {Path(held[-1].path).name}" if held[-1].path != held[0].path else ""
            )
            parts.append(Partition(name, Fragments(tuple(held), files.schema, names)))
            held, rows = [], 0
        held.append(fragment)
        rows += count
    return Partitions(tuple(parts), names, f"Parquet set '{path}'", _alone(len(parts)), reread=True)


def _check_schemas(files: Any, path: str) -> None:
    """That every file of a set has the columns of the first, of the same kinds."""
    first: dict[str, tuple[str, Any]] = {}
    every: dict[str, set[str]] = {}
    for fragment in files.get_fragments():
        schema, name = fragment.physical_schema, Path(fragment.path).name
        every[name] = set(schema.names)
        for field in schema:
            known = first.setdefault(field.name, (name, field.type))
            if _kind(known[1]) != _kind(field.type) and "nothing" not in (_kind(known[1]), _kind(field.type)):
                raise DataError(
                    f"column '{field.name}' of the Parquet set '{path}' is {known[1]} in {known[0]} and {field.type} "
                    f"in {name}\n  write the files again with one type"
                )
    for name, columns in every.items():
        if lacking := [column for column in first if column not in columns]:
            raise DataError(
                f"{name} of the Parquet set '{path}' has no column {listing(map(repr, lacking))}, which others have"
            )


def _kind(arrow: Any) -> str:
    import pyarrow.types as t

    if t.is_null(arrow):
        return "nothing"
    if t.is_dictionary(arrow):
        return _kind(arrow.value_type)
    if t.is_integer(arrow) or t.is_floating(arrow) or t.is_decimal(arrow):
        return "numbers"
    if t.is_string(arrow) or t.is_large_string(arrow) or t.is_string_view(arrow):
        return "text"
    return str(arrow)


def kind_of(values: pd.Series) -> str:
    """What a column holds: numbers, truth values, text, categories, times; nothing where all are missing."""
    dtype: Any = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "categories"
    if not values.notna().any():
        return "nothing"
    if pd.api.types.is_bool_dtype(dtype):
        return "truth values"
    if pd.api.types.is_numeric_dtype(dtype):
        return "numbers"
    if dtype.kind in "mM":
        return "times"
    kinds = {"floating": "numbers", "integer": "numbers", "mixed-integer-float": "numbers", "string": "text"}
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    return kinds.get(inferred, inferred)


def group_hashes(values: pd.Series) -> Any:
    """(n,) numbers that stand for the labels of groups, equal where labels are, whatever their type; 0 for none."""
    codes, unique = pd.factorize(group_labels(values))
    texts = np.array([label(u) for u in unique], dtype=object)
    hashes = pd.util.hash_array(texts, categorize=False) | np.uint64(1)
    return np.append(hashes, NO_GROUP)[codes]


def with_whole_groups(data: Partitions, column: str, hashes: Sequence[Any]) -> tuple[Partitions, int]:
    """Partitions in which every outer group is whole, and how many groups had to be brought together.

    A group goes to the first partition that has some of it; partitions that have none left are left out.

    hashes : of every partition the distinct ones of its groups, of rows that count.
    """
    owner: dict[int, int] = {}
    taken: list[dict[int, list[int]]] = [{} for _ in hashes]
    lost: list[list[int]] = [[] for _ in hashes]
    everything = np.concatenate(hashes)
    values, counts = np.unique(everything, return_counts=True)
    several = values[counts > 1]
    if not len(several):
        return data.only([i for i, own in enumerate(hashes) if len(own)]), 0
    for i, own in enumerate(hashes):
        for group in np.intersect1d(own, several).tolist():
            first = owner.setdefault(group, i)
            if first != i:
                taken[first].setdefault(i, []).append(group)
                lost[i].append(group)
    if not data.reread and max(len(others) for others in taken) >= GATHERED:
        raise DataError(
            f"groups of '{column}' lie in several partitions: {len(several):,} of {len(values):,}, over up to "
            f"{1 + max(len(others) for others in taken)} partitions\n"
            f"  the groups of '{column}' are independent of one another, rows of one are not: bring them together by\n"
            f"  data.shuffle(\"{column}\"), or write Parquet sorted or partitioned by '{column}'"
        )
    shares = []
    for i in range(len(hashes)):
        if len(lost[i]) == len(hashes[i]):
            continue
        own = ((i, Share(column, np.array(lost[i], np.uint64))),)
        others = [(j, Share(column, np.array(g, np.uint64), without=False)) for j, g in sorted(taken[i].items())]
        shares.append((*own, *others))
    return replace(data, shares=tuple(shares)), len(several)


def current_client() -> Any:
    """The Dask client in scope, or None; a client exists only where its library has been imported."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None
