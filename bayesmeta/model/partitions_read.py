"""What is read of every partition, where it is: a survey, then two looks at its numbers."""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta import kernel
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.errors import BayesmetaError, DataError, SpecError
from bayesmeta.formula.design import Design
from bayesmeta.formula.parse import Parsed, Terms, parse
from bayesmeta.formula.safety import Part
from bayesmeta.io.columns import is_boolean, is_categorical, label, labels, take
from bayesmeta.io.partitions import NO_GROUP, group_hashes, kind_of
from bayesmeta.kernel.gathering import Centre, Look, look_at, piece_statistics
from bayesmeta.kernel.precision import piece_precision
from bayesmeta.model.level_structures import positions_of, structures_asked, with_times
from bayesmeta.model.spec import Level, SamplingCovariance
from bayesmeta.structures.base import Structure

OF_THE_WHOLE = frozenset({"center", "scale", "poly", "ns", "bs", "rcs"})  # functions that take something from a column
BINS = 1 << 40  # bit patterns of positive numbers that one bin of a histogram holds: 0.02 percent of a number
MOST_PLAIN = 20  # example rows of a partition beside those that show a category
OF_FUNCTIONS = "it is called with the data frame of every partition, and returns any form of S for its rows"
ALONE = 1e-8  # of the length of an effect's design: what the fixed part may leave of it


@dataclass(frozen=True)
class Asked:
    """The arguments of `specify`, as the user wrote them; S may also be a function of a partition's data frame."""

    formula: Any
    S: Any
    random: Any
    psi: Any
    common: Any
    offset: Any
    S_correlation: Any
    groups: Any
    measure: Any
    se: Any
    labels: Any
    arms: Any
    keep: Any
    subset: Any

    @property
    def terms(self) -> Terms:
        formula, random = (dict(f) if isinstance(f, dict) else f for f in (self.formula, self.random))
        return Terms(formula, random, self.common, self.offset, self.groups)

    def sampling(self, frame: pd.DataFrame) -> Any:
        """S of a partition."""
        if not callable(self.S):
            return self.S
        try:
            S = self.S(frame)
        except BayesmetaError:
            raise
        except Exception as error:  # of the user's own code
            raise SpecError(f"the function S raised {type(error).__name__}: {error}\n  {OF_FUNCTIONS}") from error
        if S is None:
            raise SpecError(f"the function S returned None\n  {OF_FUNCTIONS}")
        return S

    def read(self, columns: Sequence[str]) -> tuple[Parsed, dict[str, Structure]]:
        """The formulas, checked against the columns of the data, and the structures asked for."""
        parsed = parse(self.terms, list(columns))
        structures = structures_asked(self.psi, parsed)
        return with_times(parsed, structures, list(columns)), structures


@dataclass(frozen=True, eq=False)
class Taught:
    """What the partitions have agreed on, so that all are read alike.

    frame : rows that have every category.  states : of every formula what its functions took from the whole data.
    positions : of every level with times these times.  structures : of every level, over its effects.
    """

    parsed: Parsed
    structures: Mapping[str, Structure]
    frame: pd.DataFrame
    states: Mapping[str, Mapping[str, Any]]
    positions: Mapping[str, FloatArray]

    @cached_property
    def design(self) -> Design:
        return Design(self.parsed, self.frame, self.positions, self.states)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "design"}


@dataclass(frozen=True, eq=False)
class Piece:
    """The arrays of one partition; see `Spec`.  y : less the offset.  row : positions in `row_labels`."""

    y: FloatArray
    X: FloatArray
    offset: FloatArray
    S: SamplingCovariance
    levels: tuple[Level, ...]
    row: IntArray
    outcome_index: IntArray
    row_labels: tuple[str, ...]
    assumed: tuple[str, ...]

    @property
    def arrays(self) -> tuple[Any, ...]:
        """As the kernel takes them."""
        S = self.S.value, self.S.row, self.S.col
        return self.y, self.X, [level.Z for level in self.levels], [level.index for level in self.levels], S


Reader = Callable[[Asked, Taught, pd.DataFrame], Piece]


@dataclass(frozen=True)
class Survey:
    """What one partition says before anything is agreed on.

    reasons : how many rows are left out for what.  examples : rows, of those kept, that have all their categories.
    hashes : of the labels of their outer groups.  positions : times of every level that has an effect for each.
    """

    n_rows: int
    n_kept: int
    reasons: Mapping[str, int]
    kinds: Mapping[str, str]
    examples: pd.DataFrame
    hashes: Any
    positions: Mapping[str, FloatArray]


def survey(frame: pd.DataFrame, asked: Asked) -> Survey:
    """The first reading of a partition."""
    parsed, structures = asked.read([str(name) for name in frame.columns])
    raw = frame[list(parsed.columns)]
    kinds = {str(name): kind_of(raw[name]) for name in parsed.columns}
    if not len(raw):
        return Survey(0, 0, {}, dict.fromkeys(kinds, "nothing"), raw, np.zeros(0, np.uint64), {})
    response = parsed.response(raw)
    reasons = reasons_of(parsed, raw, response)
    kept = np.array([not reason for reason in reasons], dtype=bool)
    rows = raw[kept]
    outer = parsed.group_columns[:1]
    hashes = np.unique(group_hashes(rows[outer[0]])) if outer and len(rows) else np.zeros(0, np.uint64)
    return Survey(
        n_rows=len(raw),
        n_kept=int(kept.sum()),
        reasons=Counter(reason for reason in reasons if reason),
        kinds=kinds,
        examples=examples(parsed, rows),
        hashes=hashes[hashes != NO_GROUP],
        positions=positions_of(parsed, structures, raw, response) if kept.any() else {},
    )


def reasons_of(parsed: Parsed, raw: pd.DataFrame, response: FloatArray) -> list[str]:
    """For each row the reason why it is left out, "" where it is kept."""
    reasons = parsed.missing(raw)
    what = f"missing {parsed.outcomes[0]}" if len(parsed.outcomes) == 1 else "all outcomes missing"
    for row in np.flatnonzero(np.isnan(response).all(axis=1)):
        reasons[row] = reasons[row] or what
    return reasons


def matrices_of(matrix_of: Mapping[Any, Any], column: str, frame: pd.DataFrame) -> dict[str, Any]:
    """Of matrices by group those of the groups of one partition."""
    own = set(map(str, labels(frame[column].dropna())))
    return {label(key): matrix for key, matrix in matrix_of.items() if label(key) in own}


def formula_parts(parsed: Parsed) -> list[Part]:
    common = () if parsed.common is None else (parsed.common,)
    return [*parsed.fixed, *common, *parsed.random]


def examples(parsed: Parsed, rows: pd.DataFrame) -> pd.DataFrame:
    """Some rows among which every category of every predictor occurs."""
    wanted = np.zeros(len(rows), bool)
    wanted[:MOST_PLAIN] = True
    for part in formula_parts(parsed):
        for name, column in part.names.items():
            values = take(rows, column)
            coded = name not in part.bare
            if (
                "C" in part.functions
                or is_boolean(values)
                or (name not in part.numeric and is_categorical(values, coded))
            ):
                wanted |= ~values.duplicated().to_numpy()
    return rows[wanted]


def needs_the_whole(parsed: Parsed) -> list[str]:
    """Formulas with functions that take knots, means or scales from whole columns."""
    return [part.readable(part.text) for part in formula_parts(parsed) if part.functions & OF_THE_WHOLE]


def predictors_kept(frame: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """The predictors in the rows that are kept: what such functions need."""
    parsed, _ = asked.read([str(name) for name in frame.columns])
    raw = frame[list(parsed.columns)]
    reasons = reasons_of(parsed, raw, parsed.response(raw))
    return raw[np.array([not reason for reason in reasons], dtype=bool)]


@dataclass(frozen=True)
class Figures:
    """What is counted over the observations of one partition, or of all.

    n (k,) observations of every outcome; touched (k, P) whether a coefficient touches it. squares : of every level
    (k, a, a), sum of z z'. histograms : of every outcome bins of its sampling variances, and how many lie in each.
    digest : of the numbers.
    """

    n: IntArray
    touched: Any
    squares: tuple[FloatArray, ...]
    histograms: tuple[tuple[IntArray, IntArray], ...]
    digest: str
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class FirstLook:
    """The kernel's first look, figures, and of every effect in few groups the triangular factor of [X, its columns]."""

    look: Look
    figures: Figures
    factors: Mapping[tuple[int, int], FloatArray]


def first_look(frame: pd.DataFrame, asked: Asked, taught: Taught, reader: Reader, n_outcomes: int) -> FirstLook:
    piece = reader(asked, taught, frame)
    return FirstLook(look_at(*piece.arrays), _figures(piece, n_outcomes), _factors(piece))


def _figures(piece: Piece, k: int) -> Figures:
    variances = piece.S.variances
    own = [piece.outcome_index == j for j in range(k)]
    Z = [level.Z for level in piece.levels]
    bins = [np.unique(variances[rows].view(np.int64) // BINS, return_counts=True) for rows in own]
    return Figures(
        n=np.array([rows.sum() for rows in own]),
        touched=np.array([piece.X[rows].any(axis=0) for rows in own]),
        squares=tuple(np.stack([z[rows].T @ z[rows] for rows in own]) for z in Z),
        histograms=tuple((at, count) for at, count in bins),
        digest=digest_of(piece),
        assumed=piece.assumed,
    )


def digest_of(piece: Piece) -> str:
    """Of the numbers of a partition."""
    digest = hashlib.sha256()
    y, X, Z, groups, S = piece.arrays
    for array in (y, X, *S, piece.outcome_index, *Z, *groups):
        digest.update(np.ascontiguousarray(array, "<i8" if array.dtype.kind in "iu" else "<f8"))
    return digest.hexdigest()


def check_unchanged(piece: Piece, known: Container[str]) -> str:
    """The digest of a partition that is read again; DataError where it is none of those that were specified."""
    digest = digest_of(piece)
    if digest not in known:
        raise DataError(
            "the rows are not those that were specified: the data have changed since\n  specify the data again"
        )
    return digest


def _factors(piece: Piece) -> dict[tuple[int, int], FloatArray]:
    """Of every effect that at most P groups of this partition have: triangular factor of [X, a column for each]."""
    made, P = {}, piece.X.shape[1]
    for at, level in enumerate(piece.levels):
        for i in range(level.dim):
            rows = np.flatnonzero(level.Z[:, i])
            groups, index = np.unique(level.index[rows], return_inverse=True)
            if len(groups) <= P:
                own = np.zeros((len(piece.X), len(groups)))
                own[rows, index] = level.Z[rows, i]
                made[at, i] = np.linalg.qr(np.column_stack([piece.X, own]), mode="r")
    return made


def taken_up(factors: Sequence[FloatArray], P: int) -> bool:
    """Whether the columns of an effect follow from those of X, from `_factors` of all partitions.

    See `identification.absorbed`; columns of different partitions have no rows in common.
    """
    widths = [R.shape[1] - P for R in factors]
    if sum(widths) > P:
        return False
    stacked, at = np.zeros((sum(map(len, factors)), P + sum(widths))), 0
    place = P
    for R, width in zip(factors, widths, strict=True):
        stacked[at : at + len(R), :P] = R[:, :P]
        stacked[at : at + len(R), place : place + width] = R[:, P:]
        at, place = at + len(R), place + width
    X, own = stacked[:, :P], stacked[:, P:]
    Q = np.linalg.qr(X / np.linalg.norm(X, axis=0))[0]
    return bool(np.linalg.norm(own - Q @ (Q.T @ own)) <= ALONE * np.linalg.norm(own))


@dataclass(frozen=True)
class Held:
    """What stays of a partition: its statistics, of every outcome Q, tr(P) and tr(S P) at Psi = 0, and `digest_of`."""

    statistics: kernel.Statistics
    by_outcome: FloatArray
    digest: str


def second_look(
    frame: pd.DataFrame,
    asked: Asked,
    taught: Taught,
    reader: Reader,
    n_outcomes: int,
    known: Container[str],
    centre: Centre,
) -> Held:
    """known : digests of the first look; a worker that died takes this one again, perhaps of another file."""
    piece = reader(asked, taught, frame)
    digest = check_unchanged(piece, known)
    precision, df = piece_precision(piece.X, piece.levels[0].index, piece.arrays[-1], centre.R)
    residual = piece.y - piece.X @ centre.beta
    each = (residual**2 / piece.S.variances, precision, df)
    sums = np.array([np.bincount(piece.outcome_index, values, n_outcomes) for values in each])
    y, X, Z, groups, S = piece.arrays
    return Held(piece_statistics(y, X, Z, groups, S, centre), sums, digest)


def by_outcome(held: Held) -> tuple[FloatArray]:
    return (held.by_outcome,)


def of_statistics(held: Held, work: Callable[..., Any], *arguments: Any) -> Any:
    return work(held.statistics, *arguments)
