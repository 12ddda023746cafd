"""The frozen records of a specification: arrays and labels, and nothing that can fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from bayesmeta import kernel
from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.formula.design import Design
from bayesmeta.formula.parse import Terms, parse, timed
from bayesmeta.model import card
from bayesmeta.structures.base import Structure

if TYPE_CHECKING:
    import xarray as xr


def freeze(record: object, *names: str) -> None:
    """Replace arrays of a frozen record by read-only views."""
    for name in names:
        view = getattr(record, name).view()
        view.flags.writeable = False
        object.__setattr__(record, name, view)


@dataclass(frozen=True, eq=False)
class SamplingCovariance:
    """Known sampling covariance of all observations: the non-zeros of its lower triangle.

    Parameters
    ----------
    value : array
        (n_nonzero,) entries; every diagonal entry is present.
    row, col : array
        (n_nonzero,) their positions in `obs`, row >= col.
    """

    value: FloatArray
    row: IntArray
    col: IntArray

    def __post_init__(self) -> None:
        freeze(self, "value", "row", "col")

    @cached_property
    def variances(self) -> FloatArray:
        """(n_obs,) sampling variances."""
        on_diagonal = self.row == self.col
        variances = np.empty(int(on_diagonal.sum()))
        variances[self.row[on_diagonal]] = self.value[on_diagonal]
        return variances


@dataclass(frozen=True, eq=False)
class Level:
    """One grouping factor with its random effects.

    Parameters
    ----------
    name : str
        The grouping factor as written.
    labels : tuple of tuple of str
        One per group, the labels from the outer level down to this one, in order of first appearance.
    index : array
        (n_obs,) group of every observation.
    Z : array
        (n_obs, a) random-effects design; a = 0 for a factor that only says which observations are independent.
    effects : tuple of str
        a labels; predictors outermost, outcomes fastest.
    structure : Structure
        Of the a x a between-group covariance Psi.
    """

    name: str
    labels: tuple[tuple[str, ...], ...]
    index: IntArray
    Z: FloatArray
    effects: tuple[str, ...]
    structure: Structure

    def __post_init__(self) -> None:
        freeze(self, "index", "Z")

    @property
    def n_groups(self) -> int:
        return len(self.labels)

    @property
    def dim(self) -> int:
        return len(self.effects)

    @property
    def n_free(self) -> int:
        """Number of free parameters of Psi."""
        return self.structure.n_free(self.dim) if self.dim else 0

    @cached_property
    def absent(self) -> BoolArray:
        """(n_groups, a) times that a group does not have; no effect is absent where formulas name the effects."""
        if self.structure.time is None:
            return np.zeros((self.n_groups, self.dim), bool)
        present = np.zeros((self.n_groups, self.dim), bool)
        rows, effects = np.nonzero(self.Z)
        present[self.index[rows], effects] = True
        return ~present

    def present(self, b: FloatArray, absent: float = np.nan) -> FloatArray:
        """Random effects (..., n_groups, a) with another value at times that a group does not have."""
        return b if self.structure.time is None else np.where(self.absent, absent, b)

    @property
    def never_zero(self) -> bool:
        """Whether Psi is not zero even where its free parameters are."""
        return bool(np.any(self.structure.psi(np.zeros(self.n_free), self.dim)))

    @property
    def varies(self) -> bool:
        """Whether anything can vary between the groups: not where Psi is held at zero."""
        return self.n_free > 0 or self.never_zero


@dataclass(frozen=True, eq=False, repr=False)
class Spec:
    """One meta-analytical model with its data; what `fit` and `sample` both take. Made by `bayesmeta.specify`.

    `obs` are the observed (unit, outcome) pairs in the data's order, outcomes fastest.

    Parameters
    ----------
    y : array
        (n_obs,) effect estimates.
    X : array
        (n_obs, P) design of the fixed effects.
    offset : array
        (n_obs,) known part of the linear predictor.
    S : SamplingCovariance
        Known sampling covariance of all observations.
    levels : tuple of Level
        Grouping factors with their random effects, outer to inner, never empty.
    outcomes : tuple of str
        Labels of the outcomes.
    coef : tuple of str
        P labels of the coefficients.
    row : array
        (n_obs,) position of the observation's unit among all rows of the input.
    outcome_index : array
        (n_obs,) position of the observation's outcome in `outcomes`.
    row_labels : tuple of str
        Labels of all rows of the input.
    kept : array
        (n_rows,) whether a row is in the model.
    dropped : tuple of str
        For every row the reason why it is not, "" where it is kept.
    data : DataFrame
        The columns of the input, all rows, untouched.
    terms : Terms
        The formulas as written.
    measure : str, optional
        Name of the effect measure.
    notes : tuple of str, optional
        Assumptions made, in sentences.
    labels : tuple of str, optional
        Names of all rows of the input, all different, for tables and plots; None where the data have none.
    arms : tuple of str, optional
        Names of the two arms, the first compared with the second.
    arm_columns : mapping
        Of every outcome that `bm.effects` computed the columns of the data that it was made from, by what they hold:
        pairs, of the first arm and the second, under "events", "total", "no_events", "mean", "sd" and "n".
    S_assumed : mapping
        What was assumed to make S: "words", and of a function of `bm.within` its name, "builder", and its "arguments",
        None where they are not plain values. Empty where S was given as it is.
    analysis : mapping
        Of a specification made by `bm.network`, `bm.dose_response` or `bm.diagnostic` its "kind", the name of that
        module, and what its questions need to know: plain values, as JSON has them. Empty of all others.
    """

    y: FloatArray
    X: FloatArray
    offset: FloatArray
    S: SamplingCovariance
    levels: tuple[Level, ...]
    outcomes: tuple[str, ...]
    coef: tuple[str, ...]
    row: IntArray
    outcome_index: IntArray
    row_labels: tuple[str, ...]
    kept: BoolArray
    dropped: tuple[str, ...]
    data: pd.DataFrame
    terms: Terms
    measure: str | None = None
    notes: tuple[str, ...] = field(default=())
    labels: tuple[str, ...] | None = None
    arms: tuple[str, str] | None = None
    arm_columns: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    S_assumed: Mapping[str, Any] = field(default_factory=dict)
    analysis: Mapping[str, Any] = field(default_factory=dict)

    # the specification that a results tree holds; set by `tree.specification`, which lies further out
    from_tree: ClassVar[Callable[["xr.DataTree"], "Spec"]]

    def __post_init__(self) -> None:
        n, P = self.X.shape
        for name, size in (("y", len(self.y)), ("offset", len(self.offset)), ("row", len(self.row))):
            if size != n:
                raise SpecError(f"{name} has {size} entries, X has {n} rows")
        if len(self.coef) != P:
            raise SpecError(f"X has {P} columns, {len(self.coef)} coefficient labels")
        if not self.levels:
            raise SpecError("a specification has at least one level")
        for level in self.levels:
            if level.Z.shape != (n, level.dim) or len(level.index) != n:
                raise SpecError(f"design of level '{level.name}' has shape {level.Z.shape}, expected {(n, level.dim)}")
            level.structure.check(level.dim)
        freeze(self, "y", "X", "offset", "row", "outcome_index", "kept")

    def __repr__(self) -> str:
        return card.text(self)

    def _repr_html_(self) -> str:
        return card.html(self)

    @cached_property
    def design(self) -> Design:
        """Rebuilds X and Z for other rows, with what the kept rows taught it (knots, categories)."""
        columns = list(self.data.columns)
        parsed = timed(parse(self.terms, columns), {v.name: v.structure.time for v in self.levels}, columns)
        design = Design(parsed, self.data.loc[self.kept], self.positions)
        held = [("coefficients", design.coef, self.coef)]
        held += [(f"effects of level '{v.name}'", design.effects(v.name), v.effects) for v in self.levels]
        for what, rebuilt, stored in held:
            if rebuilt != stored:  # somebody has edited the file, or another version of formulaic codes differently
                raise SpecError(
                    f"the formulas of this specification now give other {what}: {listing(rebuilt, 12)}\n"
                    f"  stored: {listing(stored, 12)}"
                )
        return design

    @property
    def predictors(self) -> tuple[str, ...]:
        """Columns that a prediction for a new group needs: predictors, and times that have a variance of their own."""
        of = [level.structure for level in self.levels if level.structure.time is not None]
        times = [structure.time for structure in of if not structure.stationary and structure.time is not None]
        return tuple(dict.fromkeys((*self.design.parsed.predictors, *times)))

    def nearest_known(self, column: str, value: float) -> float:
        """A value of a predictor, or the nearest time to it where the column has times with variances of their own."""
        for level in self.levels:
            at = level.structure.positions
            if level.structure.time == column and at is not None and not level.structure.stationary:
                return float(at[np.argmin(np.abs(at - value))])
        return value

    @property
    def positions(self) -> dict[str, FloatArray]:
        """The times of every level that has an effect for each."""
        known = ((level.name, level.structure) for level in self.levels)
        return {name: of.positions for name, of in known if of.time is not None and of.positions is not None}

    @cached_property
    def statistics(self) -> kernel.Statistics:
        """Sufficient statistics of y less the offset."""
        Z, index = [level.Z for level in self.levels], [level.index for level in self.levels]
        return kernel.statistics(self.y - self.offset, self.X, Z, index, (self.S.value, self.S.row, self.S.col))

    @property
    def n_obs(self) -> int:
        """Number of observations."""
        return len(self.y)

    @property
    def in_search(self) -> "Spec":
        """What a search asks of the data beside their statistics."""
        return self

    @cached_property
    def coords(self) -> dict[str, pd.Index]:
        """Labels of the coefficients, and of every level's effects, their pairs and its groups, by dimension."""
        coef = _index(self.coef)
        dims = {schema.COEF: coef, schema.bis(schema.COEF): coef}
        for level in self.levels:
            effect, labels = schema.effect(level.name), _index(level.effects)
            dims |= {effect: labels, schema.bis(effect): labels}
            dims[schema.pair(level.name)] = _index([f"{a}~{b}" for a, b in combinations(level.effects, 2)])
            dims[schema.group(level.name)] = _index(_joined(level.labels))
        return dims


def check_spec(spec: object, function: str) -> None:
    """That a function has been called with a specification; the message has the line that makes one."""
    if isinstance(spec, Spec):
        return
    from_tree = type(spec).__name__ == "DataTree"
    line = "bm.Spec.from_tree(tree)" if from_tree else 'bm.specify("y ~ 1", data, S="v")'
    raise SpecError(
        f"{function} takes a specification from bm.specify, not a {type(spec).__name__}; write bm.{function}({line})"
    )


def _index(labels: Sequence[str]) -> pd.Index:
    return pd.Index(labels, dtype=object)


def _joined(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Group labels, each in one string; `schema.join_label` for all at once, since there can be millions."""
    text = "".join(chain.from_iterable(paths))
    return [*map("/".join, paths)] if "/" not in text and "\\" not in text else [*map(schema.join_label, paths)]
