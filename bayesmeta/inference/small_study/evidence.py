"""What methods for small-study effects read of a fit: effects of one outcome, their errors, counts and group sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import check_is, check_name, listing, shown
from bayesmeta.effects.arms import Arms
from bayesmeta.effects.call_words import pair
from bayesmeta.effects.count_calls import arms_of_counts
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.two_by_two import TwoByTwo, read
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import DataError, SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.units import one_effect_a_row
from bayesmeta.inference.reference import declare, declared
from bayesmeta.model.spec import Level, SamplingCovariance, Spec
from bayesmeta.structures.known import Fixed
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.row_labels import ByRow, by_row, row_labels
from bayesmeta.tree.specification import group, spec_from_tree

_CONSTANT = 1e-9  # relative differences of numbers that are the same


@dataclass(frozen=True, eq=False)
class Evidence:
    """The effects of one outcome of a fit.

    what : the function that reads them, for messages.  obs : (n,) their positions among the observations.
    y, v : (n,) effect estimates less the offset, and sampling variances.  X : (n, P) their fixed design.
    """

    what: str
    tree: xr.DataTree
    spec: Spec
    outcome: str
    obs: IntArray

    @property
    def y(self) -> FloatArray:
        return self.spec.y[self.obs] - self.spec.offset[self.obs]

    @property
    def v(self) -> FloatArray:
        return self.spec.S.variances[self.obs]

    @property
    def X(self) -> FloatArray:
        """(n, p) the columns of the fixed design that touch these effects."""
        X = self.spec.X[self.obs]
        return X[:, X.any(axis=0)]

    @property
    def n(self) -> int:
        return len(self.obs)

    @property
    def row(self) -> IntArray:
        """(n,) their rows among all rows of the data."""
        return self.spec.row[self.obs]

    def names(self, which: BoolArray) -> str:
        """The rows of some effects, for messages."""
        texts = np.array(row_labels(self.spec), dtype=object)
        return listing(texts[self.row[which]])

    @property
    def intercept_alone(self) -> bool:
        """Whether all effects have one expectation."""
        return self.X.shape[1] == 1 and bool(np.ptp(self.X) == 0)

    @property
    def dependence(self) -> str:
        """What makes some of the effects dependent, in words; empty where nothing does."""
        outer, S = self.spec.levels[0], self.spec.S
        groups = len(np.unique(outer.index[self.obs]))
        if groups < self.n:
            return f"level '{outer.name}' joins {self.n} effects in {groups} groups"
        own = np.isin(S.row, self.obs) & np.isin(S.col, self.obs) & (S.row != S.col)
        return "their sampling errors are correlated" if (S.value[own] != 0).any() else ""

    @property
    def tau2(self) -> float:
        """The variance between the rows of a model of one level."""
        level = self.spec.levels[0]
        return float(group(self.tree, schema.ESTIMATE)[schema.psi(level.name)].to_numpy().item())

    def check_independent(self, remedy: str) -> None:
        """SpecError where effects are dependent."""
        if why := self.dependence:
            raise SpecError(f"{self.what} takes effects as independent, but {why}\n  {remedy}")

    def check_one_level(self, remedy: str) -> None:
        """SpecError unless the model has one random effect for each row and one outcome."""
        self.check_independent(remedy)
        if not one_effect_a_row(self.spec):
            levels = listing(f"'{level.name}'" for level in self.spec.levels)
            k = len(self.spec.outcomes)
            why = f"this one has {k} outcomes" if k > 1 else f"this one has the levels or slopes of {levels}"
            raise SpecError(f"{self.what} is for models with one random effect for each study, {why}\n  {remedy}")

    def check_intercept_alone(self) -> None:
        """SpecError for a model with predictors."""
        if not self.intercept_alone:
            raise SpecError(
                f"{self.what} is for models without predictors, this one has: {listing(self.spec.coef)}\n"
                "  egger(tree) tests for asymmetry beside the predictors; or fit the effects alone: y ~ 1"
            )

    def check_unequal(self, values: FloatArray, words: str) -> None:
        """DataError where a predictor does not vary, or is what the model knows already."""
        if np.ptp(values) <= _CONSTANT * np.abs(values).max():
            raise DataError(
                f"{self.what}: {words} is {values[0]:.6g} for all {self.n} effects, which tells nothing"
                "\n  name another measure of precision, or leave the test out"
            )
        X = np.column_stack([self.X, values])
        if np.linalg.matrix_rank(X / np.linalg.norm(X, axis=0)) < X.shape[1]:
            raise DataError(
                f"{self.what}: {words} is a combination of the predictors of the model"
                "\n  leave the predictor out of the model, or name another measure of precision"
            )

    def attrs(self, **more: object) -> dict[str, object]:
        """Attributes of every result."""
        return {"test": self.what, "outcome": self.outcome} | more

    def by_row(self, values: ArrayLike) -> FloatArray:
        """One value for every row of the data as one for every effect; DataError where one is missing."""
        own = np.asarray(values, dtype=float)[self.row]
        if (lacking := ~np.isfinite(own)).any():
            raise DataError(
                f"{self.what}: no size or count in rows of the model: {self.names(lacking)}"
                "\n  fill these in, or leave the rows out of the model by subset="
            )
        return own


def of_one_outcome(tree: xr.DataTree, what: str) -> Evidence:
    """The effects of a model for functions that fit others like it, and have no choice of an outcome."""
    if len(outcomes := spec_from_tree(tree).outcomes) > 1:
        raise SpecError(
            f"{what} is for models of one outcome, and this one has {listing(outcomes)}\n"
            "  egger and pet_peese, with outcome=, take models of several"
        )
    return evidence(tree, None, what)


def evidence(tree: xr.DataTree, outcome: str | None, what: str, least: int = 3) -> Evidence:
    """The effects of an outcome; DataError where there are fewer than `least`."""
    check_is(tree, xr.DataTree, "tree", "the results tree of bm.fit")
    if is_posterior(tree):
        raise SpecError(f"{what} reads fits, and this tree is a posterior\n  bm.fit(spec) fits the same specification")
    spec = spec_from_tree(tree)
    if filled := int(tree.attrs.get(schema.FILLED, 0)):
        raise SpecError(
            f"{what}: {filled} effects of this tree were filled in by trim and fill and are no data\n"
            "  pass the fit that it was made of"
        )
    if outcome is None:
        if len(spec.outcomes) > 1:
            raise SpecError(f"{what} is for one outcome at a time; outcome= chooses of {listing(spec.outcomes)}")
        outcome = spec.outcomes[0]
    check_name(outcome, spec.outcomes, "outcome: no outcome", "outcomes")
    obs = np.flatnonzero(spec.outcome_index == spec.outcomes.index(outcome))
    of = Evidence(what, tree, spec, outcome, obs)
    if of.n < least:
        raise DataError(f"{what} needs at least {least} studies, outcome '{outcome}' has {of.n}")
    if (exact := of.v <= 0).any():
        raise DataError(
            f"{what}: effects without sampling error have no weight of their own, rows {of.names(exact)}"
            "\n  leave these rows out of the model by subset="
        )
    return of


def of_each_outcome(tree: xr.DataTree, what: str) -> list[Evidence]:
    """The effects of every outcome; SpecError where there is one."""
    check_is(tree, xr.DataTree, "tree", "the results tree of bm.fit")
    outcomes = spec_from_tree(tree).outcomes
    if len(outcomes) < 2:
        raise SpecError(f"{what} is for several outcomes, and '{outcomes[0]}' is the only one\n  egger(tree) tests it")
    return [evidence(tree, outcome, what) for outcome in outcomes]


def tables(of: Evidence, events: Arms | None, total: Arms | None, no_events: Arms | None) -> TwoByTwo:
    """The two-by-two tables behind the effects; SpecError where nothing says which columns they are."""
    behind = of.spec.arm_columns.get(of.outcome, {})
    if events is None and total is None and no_events is None:
        events, total, no_events = (behind.get(name) for name in ("events", "total", "no_events"))
    if events is None or (total is None and no_events is None):
        raise SpecError(
            f"{of.what} needs the counts of both arms, whose columns the tree does not name\n"
            '  events=("e1", "e2"), total=("n1", "n2") names them; effects by bm.effects bring them along'
        )
    reported = Reported(of.spec.data, arms_of_counts(events, total, no_events), of.what)
    table = read(reported, ZeroCells("none"))
    return TwoByTwo(*(of.by_row(cell) for cell in table.cells))


def sizes(of: Evidence, n: Arms | None) -> tuple[FloatArray, FloatArray]:
    """The sizes of the two groups behind each effect."""
    behind = of.spec.arm_columns.get(of.outcome, {})
    columns = n if n is not None else behind.get("n") or behind.get("total")
    if columns is None and "events" in behind:
        table = tables(of, None, None, None)
        return table.n1, table.n2
    if columns is None:
        raise SpecError(
            f"{of.what} needs the sizes of both groups, whose columns the tree does not name\n"
            '  n=("n1", "n2") names them; effects by bm.effects bring them along'
        )
    reported = Reported(of.spec.data, pair(columns, "n1i", "n2i", "n"), of.what)
    first, second = (of.by_row(reported.count(name)) for name in ("n1i", "n2i"))
    if (empty := (first <= 0) | (second <= 0)).any():
        raise DataError(
            f"{of.what}: a group has no members in rows {of.names(empty)}"
            "\n  fill in the sizes, or leave the rows out of the model by subset="
        )
    return first, second


def total_size(of: Evidence, n: ByRow | None) -> FloatArray:
    """The number of participants behind each effect."""
    if n is None:
        behind = of.spec.arm_columns.get(of.outcome, {})
        if not {"n", "total", "events"} & set(behind):
            raise SpecError(
                f"{of.what} needs the numbers of participants, which the tree does not name\n"
                "  n= takes a column of the data, or one value for each row; effects by bm.effects bring theirs along"
            )
        first, second = sizes(of, None)
        return first + second
    column = by_row(of.spec, n, "n")
    try:
        values = column.astype(float).to_numpy()
    except (TypeError, ValueError):
        raise SpecError(
            f"n={shown(n)}: its values are not numbers\n  name the column of the numbers of participants"
        ) from None
    total = of.by_row(values)
    if (wrong := total <= 0).any():
        raise DataError(
            f"{of.what}: n is not positive in rows {of.names(wrong)}\n  fill in the numbers of participants"
        )
    return total


def with_column(of: Evidence, name: str, values: FloatArray, spec: Spec | None = None) -> Spec:
    """The specification, or one that has other predictors already, with one predictor more, which touches the effects
    of this outcome alone."""
    before = of.spec if spec is None else spec
    column = np.zeros(len(before.y))
    column[of.obs] = values
    return replace(before, X=np.column_stack([before.X, column]), coef=(*before.coef, name))


def alone(of: Evidence, X: FloatArray, coef: Sequence[str], y: FloatArray, v: FloatArray) -> Spec:
    """Independent effects in the outer groups of the model, between which nothing varies: weighted least squares."""
    outer, every = of.spec.levels[0], np.arange(of.n)
    groups, index = np.unique(outer.index[of.obs], return_inverse=True)
    labels = tuple(outer.labels[g] for g in groups)
    level = Level(outer.name, labels, index, np.zeros((of.n, 0)), (), Fixed(np.zeros((0, 0))))
    return replace(
        of.spec,
        y=y,
        X=X,
        coef=tuple(coef),
        offset=np.zeros(of.n),
        S=SamplingCovariance(v, every, every),
        levels=(level,),
        outcomes=(of.outcome,),
        row=of.row,
        outcome_index=np.zeros(of.n, np.int64),
    )


def refitted(of: Evidence, spec: Spec) -> xr.DataTree:
    """Another specification fitted, and tested, as the tree was."""
    own = fit(spec, str(of.tree.attrs["method"]), random_effects=False)
    declare(own, declared(of.tree))
    return own


def result(numbers: Mapping[str, object], attrs: Mapping[str, object]) -> xr.Dataset:
    """A result: entries without dimensions."""
    return xr.Dataset({name: ((), value) for name, value in numbers.items()}, attrs=attrs)
