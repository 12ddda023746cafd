"""Specifications of data in partitions: everything but the rows, which stay where they are."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.formula.design import Design
from bayesmeta.formula.parse import Parsed, parse, timed
from bayesmeta.io.cluster import Arrays, Cluster, Kept
from bayesmeta.io.partitions import Partitions, partitions_of
from bayesmeta.kernel.gathering import Centre, gathered
from bayesmeta.kernel.partitioned import PartitionedStatistics
from bayesmeta.model import partitions_agreed as agreed
from bayesmeta.model import partitions_read as reading
from bayesmeta.model.descriptions import arms_of, measure_of
from bayesmeta.model.identification import check_rank, nothing_varies
from bayesmeta.model.observations import Groups, nested
from bayesmeta.model.partitions_read import Asked, FirstLook, Reader, Survey, Taught
from bayesmeta.model.sampling_covariance import assumed_of
from bayesmeta.model.spec import Level, SamplingCovariance, Spec

GRID = 1001  # quantiles that stand for sampling variances


@dataclass(frozen=True, eq=False)
class LevelElsewhere(Level):
    """A level whose groups and designs are in partitions.

    groups : how many.  taken_up : (a,) effects that the fixed part takes up, see `identification.absorbed`.
    """

    groups: int = 0
    taken_up: Any = None

    @property
    def n_groups(self) -> int:
        return self.groups


@dataclass(frozen=True)
class Totals:
    """What is known of all rows together; k outcomes, P coefficients.

    n_rows, n_kept, n_obs : rows of the input, rows in the model, observations. n_partitions : in which they lie.
    dropped : how many rows were left out for what. n (k,), df (k,) : observations of every outcome, and those less the
    coefficients that touch it. Q, precision, residual_df (k,) : of the fixed-effects fit, see `heterogeneity`.
    squares : of every level (k, a, a) mean of z z'. quantiles : (k, 1001) of the sampling variances, to 0.02 percent.
    digest : of all numbers.
    """

    n_rows: int
    n_kept: int
    n_obs: int
    n_partitions: int
    dropped: Mapping[str, int]
    n: IntArray
    df: IntArray
    Q: FloatArray
    precision: FloatArray
    residual_df: FloatArray
    squares: tuple[FloatArray, ...]
    quantiles: FloatArray
    digest: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: _plain(value) for name, value in self.__dict__.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Totals":
        arrays = {name: np.asarray(values[name], float) for name in ("Q", "precision", "residual_df", "quantiles")}
        whole = {name: np.asarray(values[name], np.int64) for name in ("n", "df")}
        return cls(**{**values, **arrays, **whole, "squares": tuple(np.asarray(s, float) for s in values["squares"])})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class VariancesInSearch:
    """What a search asks of S: quantiles in place of the sampling variances."""

    variances: FloatArray


@dataclass(frozen=True, eq=False)
class InSearch:
    """What a search asks of a specification."""

    levels: tuple[Level, ...]
    outcomes: tuple[str, ...]
    S: VariancesInSearch
    outcome_index: IntArray
    X: None = None


class _Elsewhere:
    """An array of a specification whose rows are in partitions."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, spec: Any, owner: type) -> Any:
        if spec is None:
            return self
        raise SpecError(
            f"{self.name} of all rows is in no one place: the data of this model, {spec.source}, lie in partitions\n"
            "  fit, summary, estimates, confint, wald_test, predict with newdata=, and bm.write_blup take such a "
            "model; for everything else specify a data frame in memory"
        )


class PartitionedSpec(Spec):
    """A specification whose rows stay in partitions; see `Spec` for what is not here.

    Parameters
    ----------
    parts : mapping
        The attributes of `Spec` that are no arrays over rows.
    totals : Totals
        What is known of all rows together.
    example : a few rows among which every category occurs, with made-up sampling variances of 1; for questions about
        designs that need no more.
    states : what functions took from whole columns.
    source : what the data are, in words.
    statistics : of all partitions; None of a specification that was read from a results tree.
    """

    y, X, offset, S = _Elsewhere(), _Elsewhere(), _Elsewhere(), _Elsewhere()
    row, outcome_index, kept = _Elsewhere(), _Elsewhere(), _Elsewhere()
    row_labels, dropped, labels = _Elsewhere(), _Elsewhere(), _Elsewhere()

    totals: Totals
    example: Spec
    states: Mapping[str, Any]
    source: str
    work: "Work | None"
    _statistics: PartitionedStatistics | None

    def __init__(
        self,
        parts: Mapping[str, Any],
        totals: Totals,
        example: Spec,
        states: Mapping[str, Any],
        source: str,
        statistics: PartitionedStatistics | None = None,
        work: "Work | None" = None,
    ) -> None:
        own = {
            "totals": totals,
            "example": example,
            "data": example.data,
            "states": states,
            "source": source,
            "_statistics": statistics,
        }
        for name, value in {**parts, **own, "work": work}.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        levels = ", ".join(f"{level.name} {level.n_groups:,}" for level in self.levels)
        return (
            f"Specification of a meta-analysis in {self.totals.n_partitions} partitions\n"
            f"Formula  {self.terms.fixed}\nData     {self.source}: {self.totals.n_rows:,} rows, "
            f"{self.totals.n_kept:,} used, {self.totals.n_obs:,} observations\nGroups   {levels}"
        )

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"

    @property
    def n_obs(self) -> int:
        return self.totals.n_obs

    @property
    def design(self) -> Design:
        columns = list(self.data.columns)
        parsed = timed(parse(self.terms, columns), {v.name: v.structure.time for v in self.levels}, columns)
        return Design(parsed, self.data, self.positions, self.states)

    @property
    def coords(self) -> dict[str, pd.Index]:
        """Labels by dimension; those of groups are the example's."""
        return self.example.coords

    @property
    def statistics(self) -> PartitionedStatistics:  # type: ignore[override]
        if self._statistics is None:
            raise SpecError(
                f"the statistics of {self.source} went with the session that specified it; specify the data again"
            )
        return self._statistics

    @property
    def in_search(self) -> InSearch:  # type: ignore[override]
        """What the search asks of its data, from what is known of all rows."""
        quantiles = self.totals.quantiles
        index = np.repeat(np.arange(len(quantiles)), quantiles.shape[1])
        return InSearch(self.levels, self.outcomes, VariancesInSearch(quantiles.ravel()), index)


@dataclass(frozen=True, eq=False)
class Work:
    """How further questions come to the partitions: where they are worked on, what is read of them and what is kept."""

    cluster: Cluster
    data: Partitions
    asked: Asked
    taught: Taught
    reader: Reader
    kept: Kept


@dataclass(frozen=True)
class _Pieces:
    """The statistics among what is kept, as the kernel asks for their sums."""

    kept: Kept

    def totals(self, work: Callable[..., Arrays], *arguments: Any) -> Arrays:
        return self.kept.totals(reading.of_statistics, work, *arguments)


def partitioned(asked: Asked, data: Any, n: int | None, n_jobs: int | None, reader: Reader) -> PartitionedSpec:
    """The specification of data in partitions; see `bayesmeta.specify`.

    n, n_jobs : partitions of a data frame in memory, processes.  reader : makes a `Piece` of a partition.
    """
    agreed.check_arguments(asked, n, n_jobs)
    cluster = Cluster(n_jobs)
    whole = partitions_of(data, agreed.outer_column(asked), n)
    parsed, structures = asked.read(whole.columns)
    whole = whole.with_columns([*parsed.columns, *agreed.columns_of(asked)] if not callable(asked.S) else whole.columns)
    surveys = cluster.run(whole, reading.survey, asked)
    agreed.check_kinds(whole, surveys)
    if not any(each.n_rows for each in surveys):
        raise DataError(f"the data have no rows: {whole.source}, {len(surveys)} partitions")
    if not any(each.n_kept for each in surveys):
        reasons = sum((Counter(each.reasons) for each in surveys), Counter())
        counted = listing(f"{reason} ({count})" for reason, count in reasons.most_common())
        raise DataError(f"nothing is left of {sum(each.n_rows for each in surveys)} rows: {counted}")
    whole, notes = agreed.of_whole_groups(whole, parsed, surveys)
    asked = agreed.divided_S(asked, parsed, surveys)
    taught = agreed.taught_by(cluster, whole, asked, parsed, structures, [each for each in surveys if each.n_kept])
    return _specification(cluster, whole, asked, taught, reader, surveys, notes, data)


def _specification(
    cluster: Cluster,
    data: Partitions,
    asked: Asked,
    taught: Taught,
    reader: Reader,
    surveys: Sequence[Survey],
    notes: Sequence[str],
    given: Any,
) -> PartitionedSpec:
    parsed, design, k = taught.parsed, taught.design, len(taught.parsed.outcomes)
    looks: list[FirstLook] = cluster.run(data, reading.first_look, asked, taught, reader, k)
    check_rank(np.concatenate([each.look.R_X for each in looks]), design.coef)
    kept: list[Kept] = []
    known = frozenset(each.figures.digest for each in looks)

    def reduced(centre: Centre) -> _Pieces:
        kept.append(cluster.keep(data, reading.second_look, asked, taught, reader, k, known, centre))
        return _Pieces(kept[-1])

    statistics = gathered([each.look for each in looks], reduced)
    (by_outcome,) = kept[0].totals(reading.by_outcome)
    totals = _totals(surveys, looks, by_outcome, len(data))
    levels = tuple(_level(at, name, taught, looks, statistics) for at, name in enumerate(parsed.levels))
    assumed = tuple(dict.fromkeys(note for each in looks for note in each.figures.assumed))
    said = [*notes, *assumed, *_whole_columns(parsed), *nothing_varies(levels)]
    for note in said:
        warn(note, AssumptionWarning)
    measure = measure_of(asked.measure, given, parsed.outcomes)
    parts = {
        "levels": levels,
        "outcomes": parsed.outcomes,
        "coef": design.coef,
        "terms": parsed.terms,
        "measure": measure,
        "notes": tuple(said),
        "arms": arms_of(asked.arms, given, parsed.outcomes, measure),
        "arm_columns": {},
        "S_assumed": assumed_of(asked.S, asked.S_correlation, parsed.outcomes),
        "analysis": {},
    }
    work = Work(cluster, data, asked, taught, reader, kept[-1])
    return PartitionedSpec(parts, totals, _example(taught, parts), taught.states, data.source, statistics, work)


def _example(taught: Taught, parts: Mapping[str, Any]) -> Spec:
    parsed, frame, design = taught.parsed, taught.frame, taught.design
    response = parsed.response(frame)
    observed = ~np.isnan(response)
    row, outcome = np.nonzero(observed)
    index = np.arange(len(row))
    grouping = nested([frame[c] for c in parsed.group_columns]) or [Groups(np.arange(len(frame)), _numbers(len(frame)))]
    levels = []
    for level, groups in zip(parts["levels"], grouping, strict=True):
        codes, own = pd.factorize(groups.codes[row])
        labels, Z = tuple(groups.labels[code] for code in own.tolist()), design.random(level.name, frame)[observed]
        levels.append(Level(level.name, labels, codes, Z, level.effects, level.structure))
    return Spec(
        y=response[observed],
        X=design.fixed(frame)[observed],
        offset=design.offset(frame)[row],
        S=SamplingCovariance(np.ones(len(row)), index, index),
        row=row,
        outcome_index=outcome,
        row_labels=tuple(path[0] for path in _numbers(len(frame))),
        kept=np.ones(len(frame), bool),
        dropped=("",) * len(frame),
        data=frame,
        **{**parts, "levels": tuple(levels)},
    )


def _numbers(n: int) -> tuple[tuple[str, ...], ...]:
    return tuple((str(i),) for i in range(n))


def _whole_columns(parsed: Parsed) -> list[str]:
    formulas = reading.needs_the_whole(parsed)
    if not formulas:
        return []
    whose = listing(map(repr, dict.fromkeys(formulas)))
    return [f"knots, means or scales in {whose} come from whole columns, which took a pass over the data of their own"]


def _level(
    at: int, name: str, taught: Taught, looks: Sequence[FirstLook], statistics: PartitionedStatistics
) -> LevelElsewhere:
    effects, P, nothing = taught.design.effects(name), statistics.n_coef, np.zeros(0)
    taken: BoolArray = np.zeros(len(effects), bool)
    for i in range(len(effects)):
        if all((at, i) in each.factors for each in looks):
            taken[i] = reading.taken_up([each.factors[at, i] for each in looks], P)
    return LevelElsewhere(
        name=name,
        labels=(),
        index=nothing.astype(np.int64),
        Z=np.zeros((0, len(effects))),
        effects=effects,
        structure=taught.structures[name],
        groups=statistics.n_groups[at],
        taken_up=taken,
    )


def _totals(surveys: Sequence[Survey], looks: Sequence[FirstLook], by_outcome: FloatArray, n_partitions: int) -> Totals:
    figures = [each.figures for each in looks]
    n = np.sum([each.n for each in figures], axis=0)
    touched = np.any([each.touched for each in figures], axis=0)
    return Totals(
        n_rows=sum(each.n_rows for each in surveys),
        n_kept=sum(each.n_kept for each in surveys),
        n_obs=int(n.sum()),
        n_partitions=n_partitions,
        dropped=dict(sum((Counter(each.reasons) for each in surveys), Counter())),
        n=n,
        df=n - touched.sum(axis=1),
        Q=by_outcome[0],
        precision=by_outcome[1],
        residual_df=by_outcome[2],
        squares=tuple(sum(of) / n[:, None, None] for of in zip(*(each.squares for each in figures), strict=True)),
        quantiles=np.stack([_quantiles([each.histograms[j] for each in figures]) for j in range(len(n))]),
        digest=hashlib.sha256("".join(sorted(each.digest for each in figures)).encode()).hexdigest(),
    )


def _quantiles(histograms: Sequence[tuple[IntArray, IntArray]]) -> FloatArray:
    """Quantiles, evenly spaced, of numbers of which only bins are known."""
    bins, inverse = np.unique(np.concatenate([at for at, _ in histograms]), return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([count for _, count in histograms]))
    middle = (bins * reading.BINS + reading.BINS // 2).view(np.float64)
    at = np.searchsorted(np.cumsum(counts), np.linspace(0, counts.sum() - 1, GRID), side="right")
    return np.asarray(middle[np.minimum(at, len(middle) - 1)])
