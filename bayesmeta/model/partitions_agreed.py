"""What partitions have to agree on before anything is computed: kinds, whole groups, categories, knots."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._validation import check_integer, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.design import Design
from bayesmeta.formula.parse import Parsed
from bayesmeta.io.cluster import Cluster
from bayesmeta.io.columns import label
from bayesmeta.io.partitions import Partitions, with_whole_groups
from bayesmeta.model import partitions_read as reading
from bayesmeta.model.identification import check_free
from bayesmeta.model.level_structures import structures_of
from bayesmeta.model.partitions_read import Asked, Survey, Taught
from bayesmeta.structures.base import Structure

MOST_PARTITIONS = 100_000


def check_arguments(asked: Asked, n: int | None, n_jobs: int | None) -> None:
    if n is not None:
        check_integer(n, "partitions", 1, MOST_PARTITIONS)
    if n_jobs is not None:
        check_integer(n_jobs, "n_jobs", 1, 1000)
    for name in ("offset", "S", "se", "S_correlation"):
        value = getattr(asked, name)
        if isinstance(value, np.ndarray | pd.Series | pd.DataFrame) and np.ndim(value):
            raise SpecError(
                f"{name} is an array over all rows, which data in partitions do not have in one place\n"
                f"  name a column{' of the offset' if name == 'offset' else ' or columns'} of the data"
                + (", or give a function of a partition's data frame" if name == "S" else "")
            )
    for name, what in (("labels", "names of the rows"), ("keep", "columns that no formula uses")):
        if getattr(asked, name):
            raise SpecError(f"{name}: {what} stay in the partitions, where the data are large; leave {name} out")
    if asked.subset is not None:
        raise SpecError(
            "subset: data in partitions have no mask of all rows\n  filter the data frame or the files first"
        )


def outer_column(asked: Asked) -> str | None:
    """The column of the outer groups, as far as the formulas alone tell."""
    from_terms = asked.groups
    random = asked.random
    if isinstance(random, str):
        from_terms = random.partition("|")[2].split("/")[0].strip() or from_terms
    elif isinstance(random, dict) and random:
        from_terms = str(next(iter(random))).split("/")[0].strip()
    elif isinstance(random, list | tuple) and random:
        from_terms = str(random[0]).partition("|")[2].split("/")[0].strip()
    return from_terms.strip("`") if isinstance(from_terms, str) else None


def columns_of(asked: Asked) -> list[str]:
    """Columns that S, se and S_correlation name."""
    named: list[str] = []
    for value in (asked.S, asked.se, asked.S_correlation):
        if isinstance(value, str):
            named.append(value)
        elif isinstance(value, list | tuple):
            named += [name for name in value if isinstance(name, str)]
    return named


def check_kinds(data: Partitions, surveys: Sequence[Survey]) -> None:
    """That every column is of one kind in all partitions."""
    first: dict[str, int] = {}
    for i, each in enumerate(surveys):
        for column, kind in each.kinds.items():
            if kind == "nothing":
                continue
            known = first.setdefault(column, i)
            before = surveys[known].kinds[column]
            if before != kind and {before, kind} != {"text", "categories"}:
                raise DataError(
                    f"column '{column}' holds {before} in {data.name(known)} and {kind} in {data.name(i)}\n"
                    "  give it one type in all partitions"
                )


def of_whole_groups(data: Partitions, parsed: Parsed, surveys: Sequence[Survey]) -> tuple[Partitions, list[str]]:
    if not parsed.group_columns:
        return data.only([i for i, each in enumerate(surveys) if each.n_kept]), []
    column = parsed.group_columns[0]
    whole, several = with_whole_groups(data, column, [each.hashes for each in surveys])
    if not several:
        return whole, []
    note = (
        f"{several:,} groups of '{column}' lie in several partitions and are brought together by reading these again; "
        f"data sorted or partitioned by '{column}' are read once"
    )
    return whole, [note]


def divided_S(asked: Asked, parsed: Parsed, surveys: Sequence[Survey]) -> Asked:
    """S as a dict of matrices by group becomes a function of a partition, with the matrices of its groups."""
    if not isinstance(asked.S, Mapping):
        return asked
    if not parsed.group_columns:
        raise SpecError(
            "S is a dict of matrices by group, but the model names no groups\n"
            "  name them with random='1 | study', or with groups='study' when there is no random part"
        )
    column = parsed.group_columns[0]
    known = np.unique(np.concatenate([each.hashes for each in surveys]))
    names = [label(key) for key in asked.S]
    hashes = pd.util.hash_array(np.array(names, dtype=object), categorize=False) | np.uint64(1)
    extra = [name for name, own in zip(names, hashes, strict=True) if own not in known]
    if extra:
        raise DataError(f"S has a matrix for {parsed.levels[0]} {listing(extra)}, which the data do not have")
    return replace(asked, S=partial(reading.matrices_of, dict(asked.S), column))


def taught_by(
    cluster: Cluster,
    data: Partitions,
    asked: Asked,
    parsed: Parsed,
    structures: Mapping[str, Structure],
    surveys: Sequence[Survey],
) -> Taught:
    """Categories, knots and times on which the partitions agree."""
    frame = reading.examples(parsed, _joined([each.examples for each in surveys], parsed))
    positions = {
        level: np.unique(np.concatenate([each.positions[level] for each in surveys])) for level in parsed.times
    }
    states: Mapping[str, Any] = {}
    if reading.needs_the_whole(parsed):
        rows = _joined(cluster.run(data, reading.predictors_kept, asked), parsed)
        states = Design(parsed, rows, positions).states
    design = Design(parsed, frame, positions, states)
    effects = {level: design.effects(level) for level in parsed.levels}
    placed = structures_of(structures, effects, positions)
    check_free(placed, effects)
    return Taught(parsed, placed, frame, states, positions)


def _joined(frames: Sequence[pd.DataFrame], parsed: Parsed) -> pd.DataFrame:
    """Frames one below the other, categories of each column united."""
    frames = [frame for frame in frames if len(frame)]
    categorical = [c for c in parsed.columns if any(isinstance(f[c].dtype, pd.CategoricalDtype) for f in frames)]
    for column in categorical:
        known = [f[column].cat.categories for f in frames if isinstance(f[column].dtype, pd.CategoricalDtype)]
        same = all(list(each) == list(known[0]) for each in known) and len(known) == len(frames)
        labels = list(known[0]) if same else sorted({str(v) for f in frames for v in f[column].dropna().unique()})
        frames = [
            f.assign(**{column: pd.Categorical(f[column] if same else f[column].astype(object), categories=labels)})
            for f in frames
        ]
    return pd.concat(frames, ignore_index=True)
