"""The known sampling covariance: every form in which a user may give S, read into one.

A form is first read into blocks, square matrices whose rows are cells (row of the data, outcome); the blocks become
the non-zeros of one lower triangle over the observations. Entries of missing outcomes are ignored on the way.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import did_you_mean, is_number, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.arrays import as_numbers, check_labels
from bayesmeta.io.columns import group_labels, label, numbers
from bayesmeta.model.observations import Observations, nested
from bayesmeta.model.sampling_checks import (
    ASYMMETRY,
    check_correlations,
    check_entries,
    check_independence,
    check_positive_definite,
    check_symmetric,
    check_variances,
)
from bayesmeta.model.spec import SamplingCovariance
from bayesmeta.within.assumed import AssumedCovariance
from bayesmeta.within.correlation import StandardErrors


class Blocks(NamedTuple):
    """Matrices (b, s, s) and the observations of their rows (b, s), -1 where not observed."""

    matrices: FloatArray
    obs: IntArray


class Numbers(NamedTuple):
    """An array, where it came from in words, such as `column var`, and the labels of its columns if it has any.

    of_errors : whether these are squares of what the user gave, standard errors.
    """

    values: FloatArray
    source: str
    labels: pd.Index | None = None
    of_errors: bool = False


class Reported(NamedTuple):
    """What is known of the sampling errors: numbers, or a matrix for each group; and correlations within rows.

    labels : of the groups that have the matrices, for every row, where these were made of a column of the data.
    """

    S: Numbers | Mapping[Any, Any]
    correlation: Numbers | None
    labels: pd.Series | None = None


def read_sampling(S: Any, se: Any, correlation: Any, frame: pd.DataFrame) -> Reported:
    """Columns of the data, pandas objects and arrays as numbers; a dict of matrices as it is.

    S, se, correlation : see `bayesmeta.specify`.  frame : the data.
    """
    if S is None and se is None:
        raise SpecError(
            "neither S nor se is given: name the column of the known sampling variances, S='v', or of the standard "
            "errors, se='se'"
        )
    if S is not None and se is not None:
        raise SpecError("both S and se are given\n  S takes sampling variances, se standard errors: give one of them")
    correlations = None if correlation is None else _labelled(correlation, frame, "S_correlation")
    if isinstance(S, Mapping):
        return Reported(S, correlations, _labels_of(S, frame))
    if isinstance(S, StandardErrors):
        return Reported(_squared(_labelled(S.errors, frame, "standard errors")), correlations)
    if se is not None:
        return Reported(_squared(_labelled(se, frame, "se")), correlations)
    return Reported(_labelled(S, frame, "S"), correlations)


def _labels_of(S: Mapping[Any, Any], frame: pd.DataFrame) -> pd.Series | None:
    """The column of which a function of `bm.within` took the groups, if the data have it with just these labels."""
    name = S.group if isinstance(S, AssumedCovariance) else None
    if name is None or name not in frame.columns:
        return None
    labels = group_labels(frame[name])
    return labels if {label(key) for key in S} == {label(key) for key in labels.dropna().unique()} else None


def assumed_of(S: Any, correlation: Any, outcomes: Sequence[str]) -> dict[str, Any]:
    """What was assumed to make S: by a function of `bm.within`, or by one correlation of the outcomes of a row."""
    if isinstance(S, AssumedCovariance):
        return S.record()
    if is_number(correlation) and len(outcomes) > 1:
        words = f"sampling errors of the outcomes of a row were assumed to correlate by {float(correlation):g}"
        return {"words": words, "builder": "S_correlation", "arguments": {"rho": float(correlation)}}
    return {}


def _squared(errors: Numbers) -> Numbers:
    """The variances of standard errors; a negative one stays negative, and is refused as such."""
    limits = np.finfo(float)
    with np.errstate(over="ignore", under="ignore"):
        squares = errors.values * np.abs(errors.values)
    beyond = np.isfinite(errors.values) & (np.isinf(squares) | ((squares == 0) & (errors.values != 0)))
    edges = np.sign(errors.values) * np.where(np.abs(errors.values) > 1, limits.max / 4, limits.tiny)
    return errors._replace(values=np.where(beyond, edges, squares), of_errors=True)


def _labelled(values: Any, frame: pd.DataFrame, what: str) -> Numbers:
    labels = values.columns if isinstance(values, pd.DataFrame) else None
    return Numbers(*numbers(values, frame, what), labels)


def sampling_covariance(reported: Reported, observations: Observations) -> tuple[SamplingCovariance, tuple[str, ...]]:
    """What is reported as the triplets of one matrix over the observations, and the assumptions made.

    Raises
    ------
    SpecError, DataError
        When S does not fit the data, or is not a covariance matrix of what is observed.
    """
    notes: tuple[str, ...] = ()
    of_errors = isinstance(reported.S, Numbers) and reported.S.of_errors
    if isinstance(reported.S, Numbers):
        source = reported.S.source
        blocks, notes = table_blocks(reported.S, observations, reported.correlation)
    else:
        _refuse_correlation(reported.correlation)
        source = "S"
        blocks = list(group_blocks(reported.S, _grouped(observations, reported.labels)))
    for block in blocks:
        check_symmetric(block.matrices, block.obs, observations, source)
    covariance = assemble(blocks)
    check_entries(covariance, observations, source, of_errors)
    check_independence(covariance, observations)
    check_positive_definite(covariance, observations, source)
    return covariance, notes


def _refuse_correlation(correlation: Numbers | None) -> None:
    if correlation is not None:
        raise SpecError("S_correlation is given although S already holds covariances; give one or the other")


# ---- forms with one entry per row, and the whole matrix


def table_blocks(
    S: Numbers, observations: Observations, correlation: Numbers | None
) -> tuple[list[Blocks], tuple[str, ...]]:
    """Blocks of an array whose shape says what it holds."""
    values, source, labels, of_errors = S
    n, k = observations.observed.shape
    pairs = k * (k + 1) // 2
    if k == 1 and values.shape == (n,):
        values = values[:, None]
    if of_errors and values.shape != (n, k):
        raise SpecError(
            f"standard errors have shape {values.shape}, which does not fit {n} rows and {k} outcome{'s' * (k > 1)} "
            f"({source})\n  expected one for each outcome of each row: {(n, k) if k > 1 else (n,)}"
        )
    whole = [cells for cells in _whole_cells(observations) if values.shape == (len(cells), len(cells))]
    per_row = values.shape in {(n, k), (n, pairs), (n, k, k)}
    if whole and per_row and (n, k) != (1, 1) and not of_errors:
        raise SpecError(
            f"S of shape {values.shape} can be one line per row of the data or one matrix over all observations\n"
            f"  give it as {(n, k, k)} or as a dict by group"
        )
    if per_row and values.shape == (n, k):
        _check_outcomes(S, observations, "S")
        matrices, notes = from_variances(S._replace(values=values), observations, correlation)
        return [Blocks(matrices, observations.position)], notes
    _refuse_correlation(correlation)
    if per_row:
        return [Blocks(from_triangle(values, k) if values.ndim == 2 else values, observations.position)], ()
    if whole:
        if labels is not None:
            check_labels(labels, [observations.row_labels[cell // k] for cell in whole[0]], "S, by columns,", k > 1)
        return [Blocks(values[None], observations.position.ravel()[whole[0]][None])], ()
    total = int(observations.observed.sum())
    several = {(n, k): "variances", (n, pairs): "lower triangles by column", (n, k, k): "matrices"}
    forms = (several if k > 1 else {(n,): "variances"}) | {(total, total): "one matrix"}
    raise SpecError(
        f"S has shape {values.shape}, which does not fit {n} rows and {k} outcome{'s' * (k > 1)} ({source})\n"
        f"  expected {' or '.join(f'{shape} {what}' for shape, what in forms.items())}"
    )


def _check_outcomes(table: Numbers, observations: Observations, what: str) -> None:
    """That columns with the names of the outcomes are in their order."""
    if table.labels is not None and set(map(str, table.labels)) & set(observations.outcomes):
        check_labels(table.labels, observations.outcomes, f"{what}, by columns,")


def _whole_cells(observations: Observations) -> list[IntArray]:
    """What one matrix may range over: all cells, those with a value, those in rows that are kept."""
    masks = np.ones_like(observations.observed), observations.present, observations.observed
    return [np.flatnonzero(mask) for mask in masks]


def from_triangle(values: FloatArray, k: int) -> FloatArray:
    """(n, k, k) from (n, k (k + 1) / 2) lower triangles by column."""
    col, row = np.triu_indices(k)
    matrices = np.empty((len(values), k, k))
    matrices[:, row, col] = values
    matrices[:, col, row] = values
    return matrices


def from_variances(
    S: Numbers, observations: Observations, correlation: Numbers | None
) -> tuple[FloatArray, tuple[str, ...]]:
    """(n, k, k) from (n, k) variances and the within-row correlations."""
    variances, source, _, of_errors = S
    k = variances.shape[1]
    if k == 1:
        if correlation is not None:
            raise SpecError("S_correlation is for several outcomes, there is one; for correlated rows see bm.within")
        return variances[:, :, None], ()
    notes: tuple[str, ...] = ()
    if correlation is None:
        if (observations.observed.sum(axis=1) > 1).any():
            notes = ("S holds variances only: sampling covariances between the outcomes of a row are taken as zero",)
        correlations = np.eye(k)[None]
    else:
        correlations = correlation_matrices(correlation, observations)
    check_variances(variances[observations.observed], observations, source, of_errors)
    sd = np.sqrt(np.where(observations.observed, variances, np.nan))
    matrices = correlations * sd[:, :, None] * sd[:, None, :]
    matrices[:, np.arange(k), np.arange(k)] = variances
    return matrices, notes


def correlation_matrices(correlation: Numbers, observations: Observations) -> FloatArray:
    """(n or 1, k, k) within-row correlation matrices."""
    n, k = observations.observed.shape
    pairs = k * (k - 1) // 2
    values, source, *_ = correlation
    off = np.abs(np.diag(values) - 1) if values.shape == (k, k) else np.ones(1)
    if values.shape == (k, k) and ((k, k) != (n, pairs) or (off <= ASYMMETRY).all()):
        if not (off <= ASYMMETRY).all():
            at = int(np.argmax(~(off <= ASYMMETRY)))
            raise SpecError(
                f"S_correlation of {observations.outcomes[at]} with itself is {values[at, at]:.6g}, not 1 ({source})"
                "\n  put ones on the diagonal, or give the correlations alone"
            )
        _check_outcomes(correlation, observations, "S_correlation")
        matrices = np.where(np.eye(k, dtype=bool), 1.0, values)[None]
        if not np.allclose(values, values.T, atol=ASYMMETRY):
            raise SpecError(f"S_correlation is not symmetric ({source})\n  entries (i, j) and (j, i) must be the same")
    else:
        per_row = {(): values.reshape(-1, 1), (pairs,): values[None], (n, pairs): values}
        if k == 2:
            per_row[n,] = values.reshape(-1, 1)
        if values.shape not in per_row:
            expected = f"one number, ({pairs},), ({n}, {pairs}) or ({k}, {k}) with ones on the diagonal"
            raise SpecError(f"S_correlation has shape {values.shape}; expected {expected}")
        matrices = _unit_diagonal(np.broadcast_to(per_row[values.shape], (len(per_row[values.shape]), pairs)), k)
    matrices = np.broadcast_to(matrices, (n, k, k))
    check_correlations(matrices, observations, source)
    return matrices


def _unit_diagonal(correlations: FloatArray, k: int) -> FloatArray:
    col, row = np.triu_indices(k, 1)
    matrices = np.tile(np.eye(k), (len(correlations), 1, 1))
    matrices[:, row, col] = correlations
    matrices[:, col, row] = correlations
    return matrices


# ---- one matrix per outer group


def _grouped(observations: Observations, labels: pd.Series | None) -> Observations:
    """The observations in the groups that have matrices, which may be those of a level inside the outer one."""
    if labels is None or observations.by_row or labels.name == observations.level:
        return observations
    level, group = str(labels.name), nested([labels])[0]
    used = np.unique(np.stack([group.codes, observations.group], axis=1)[observations.row], axis=0)
    codes, outer = np.unique(used[:, 0], return_counts=True)
    if len(several := codes[outer > 1]):
        names = listing((group.labels[code][0] for code in several), 3)
        within = listing(dict.fromkeys(observations.group_labels[g] for g in used[used[:, 0] == several[0], 1]), 3)
        raise DataError(
            f"S has one matrix for {level} {names}, whose rows lie in several groups of '{observations.level}' "
            f"({within}), which are independent\n  labels of '{level}' recur: make S by group='{observations.level}', "
            f"subgroup='{level}' of bm.within.imputed"
        )
    return replace(observations, level=level, group=group.codes, group_labels=[path[0] for path in group.labels])


def group_blocks(matrix_of: Mapping[Any, Any], observations: Observations) -> Iterator[Blocks]:
    """Blocks of a dict {label of the outer group: matrix}, stacked by size."""
    if observations.by_row:
        raise SpecError(
            "S is a dict of matrices by group, but the model names no groups\n"
            "  name them with random='1 | study', or with groups='study' when there is no random part"
        )
    matrices = _by_label(matrix_of, observations)
    by_size: dict[int, list[tuple[FloatArray, IntArray]]] = {}
    for group, name in enumerate(observations.group_labels):
        if name in matrices:
            obs = _observations_of(matrices[name], group, observations)
            by_size.setdefault(len(obs), []).append((matrices[name], obs))
    for pairs in by_size.values():
        yield Blocks(np.stack([matrix for matrix, _ in pairs]), np.stack([obs for _, obs in pairs]))


def _by_label(matrix_of: Mapping[Any, Any], observations: Observations) -> dict[str, FloatArray]:
    """The matrices by the text of their labels, after a check that these are the groups of the data."""
    names = [label(key) for key in matrix_of]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"S has two matrices for {observations.level} {listing(twice)}; 1 and '1' are the same label"
            "\n  leave one of them out"
        )
    known = set(observations.group_labels)
    lacking = {observations.group_labels[g] for g in np.unique(observations.group[observations.row])} - set(names)
    missing = [name for name in observations.group_labels if name in lacking]
    extra = [name for name in names if name not in known]
    if missing:
        raise DataError(
            f"S has no matrix for {observations.level} {listing(missing)}" + _hint(extra, observations.level)
        )
    if extra:
        raise DataError(
            f"S has a matrix for {observations.level} {listing(extra)}, which the data do not have"
            + did_you_mean(extra[0], known)
        )
    pairs = zip(names, matrix_of.values(), strict=True)
    return {name: _square(matrix, f"{observations.level} {name}", observations, name) for name, matrix in pairs}


def _hint(extra: list[str], level: str) -> str:
    if not extra:
        return ""
    return (
        f"\n  labels in S that the data do not have: {listing(extra)}; S holds a matrix for every {level}, over its "
        "rows in the order of the data"
    )


def _square(matrix: Any, where: str, observations: Observations, name: str) -> FloatArray:
    what = f"sampling covariance of {where}"
    if isinstance(matrix, pd.Series | pd.DataFrame):
        group = observations.group_labels.index(name)
        for cells in _cells_of(group, observations):
            if len(cells) == len(matrix):
                rows = [observations.row_labels[cell // observations.observed.shape[1]] for cell in cells]
                for labels in matrix.axes:
                    check_labels(labels, rows, what)
                break
    values = np.atleast_1d(as_numbers(matrix, what))
    values = values[:, None] if values.shape == (1,) else values
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise DataError(f"sampling covariance of {where} has shape {values.shape}; give a square matrix")
    return values


def _observations_of(matrix: FloatArray, group: int, observations: Observations) -> IntArray:
    """The observation of each row of a group's matrix; its size tells whether missing ones are left out."""
    sizes = []
    for cells in _cells_of(group, observations):
        if len(matrix) == len(cells):
            return observations.position.ravel()[cells]
        sizes.append(len(cells))
    shapes = " or ".join(f"{s} x {s}" for s in dict.fromkeys(sizes))
    where = f"{observations.level} {observations.group_labels[group]}"
    raise DataError(
        f"sampling covariance of {where} is {len(matrix)} x {len(matrix)}, expected {shapes}\n"
        "  rows in the order of the data, outcomes fastest; missing outcomes may be left out; a reference row of"
        " dose-response data has to be left out of the data, too"
    )


def _cells_of(group: int, observations: Observations) -> Iterator[IntArray]:
    """What the matrix of a group may range over, as one matrix of all may."""
    cells = observations.cells_of_group[group]
    yield cells
    yield cells[observations.present.ravel()[cells]]
    yield cells[observations.observed.ravel()[cells]]


# ---- from blocks to triplets


def assemble(blocks: Sequence[Blocks]) -> SamplingCovariance:
    """The non-zeros of the lower triangle, sorted by row and column."""
    parts = [_triplets(block) for block in blocks]
    value, row, col = (np.concatenate(p) for p in zip(*parts, strict=True)) if parts else (np.zeros(0),) * 3
    order = np.lexsort((col, row))
    return SamplingCovariance(value[order], row[order].astype(np.int64), col[order].astype(np.int64))


def _triplets(block: Blocks) -> tuple[FloatArray, IntArray, IntArray]:
    i, j = np.tril_indices(block.obs.shape[1])
    value = (block.matrices[:, i, j] + block.matrices[:, j, i]) / 2
    row, col = block.obs[:, i], block.obs[:, j]
    there = (row >= 0) & (col >= 0) & ((value != 0) | (i == j))
    return value[there], row[there], col[there]


def blocks_by_code(S: SamplingCovariance, codes: IntArray) -> list[FloatArray]:
    """S of every group of observations that follow each other, codes (n,) from 0 in increasing order."""
    n_groups = int(codes[-1]) + 1
    first, of_value = np.searchsorted(codes, np.arange(n_groups + 1)), codes[S.row]
    parts = np.searchsorted(of_value, np.arange(n_groups + 1))  # values are in the order of rows
    made = []
    for g in range(n_groups):
        block, part = np.zeros((first[g + 1] - first[g],) * 2), slice(parts[g], parts[g + 1])
        i, j = S.row[part] - first[g], S.col[part] - first[g]
        block[i, j] = block[j, i] = S.value[part]
        made.append(block)
    return made
