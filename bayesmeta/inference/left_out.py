"""The model fitted again to parts of the data: without each group in turn, and with one group more at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, IntArray
from bayesmeta._validation import check_probability, listing, shown
from bayesmeta.errors import AssumptionWarning, ConvergenceWarning, SpecError, warn
from bayesmeta.inference.data_groups import Groups, check_complete, groups_by
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.exact_predict import statistics as exact_statistics
from bayesmeta.inference.part_estimates import Heterogeneity, Parts, heterogeneity_of, parts_of, tests_of, variance_of
from bayesmeta.inference.posterior_parts import (
    PartPosterior,
    heterogeneity,
    mention_unidentified,
    part_posteriors,
    whole_points,
)
from bayesmeta.inference.posterior_parts import variance as posterior_variance
from bayesmeta.inference.reference import Tests, Vcov, asks_in_one_way
from bayesmeta.model.spec import Spec
from bayesmeta.tree.parameters import BETA, PSI, TAU2
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading, Scale, is_read_elsewhere, measure_of, on_response, roles
from bayesmeta.tree.row_labels import ByRow, by_row
from bayesmeta.tree.specification import spec_from_tree

LEFT_OUT, ADDED, ORDER, BY = "left_out", "added", "order", "by"
_NUMBERS = ("estimate", "se", "lower", "upper", "statistic", "df", "pvalue")
_TESTS = {"I2": "I2", "H2": "H2", "Q": "Q", "Q_df": "df", "Q_pvalue": "pvalue"}


@asks_in_one_way
def leave_one_out(
    tree: xr.DataTree,
    by: ByRow | None = None,
    *,
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Fit the model again without each group in turn: which study moves the result, and by how much.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`, also read back from a file.
    by : str or sequence, optional
        What is left out at a time: the groups of a level, by its name; rows with the same value of a column of the
        data, by its name or as one value for each row. By default the groups of the outer level, which are independent:
        single studies where each row is its own group.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response" gives estimates and bounds on the scale on which people read the measure, such as odds ratios. By
        default the scale of the model.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, see `bm.estimates`; by default what suits each of the
        parts.

    Returns
    -------
    DataFrame
        A row for each group and coefficient: `left_out`, the group; `term` and `outcome`, the coefficient and what it
        belongs to; `k`, the number of rows of the data that remain; `estimate`, `se`, `lower`, `upper`, `statistic` (t,
        or z), `df` (inf: normal) and `pvalue` of the coefficient; `tau2`, the variance of the true effects, of models
        with several levels as "tau2[district]" for each, and with random slopes "tau2[study, x]"; `I2` in percent and
        `H2`, from tau2; Cochran's `Q` with `Q_df` and `Q_pvalue`; `converged`. All is NaN where the remaining rows do
        not identify the coefficients, which a warning says. Attributes of the frame: `prob`, `scale`, and `by`, the
        level or column. Of a posterior means, SDs and equal-tailed intervals, no tests, and `pareto_k`, of the weights
        of its points without the group; NaN where it was integrated anew.

    Raises
    ------
    SpecError
        When `by` is neither a level nor a column, there is only one group, or a posterior cannot be computed without
        Markov chains.
    DataError
        When the column has missing values in rows of the model.

    See Also
    --------
    bayesmeta.cumulative : With one group more at a time.
    bayesmeta.plots.leave_one_out : The same as a forest plot.

    Notes
    -----
    Method, structures and formula are those of the tree; what the data determine, such as the categories of a
    predictor, stays as it was. Of several levels a group is left out with all that is nested in it.

    Posteriors without each group are exact where at most three parameters are integrated. Else the points of importance
    sampling are weighted by what they lose, and integrated anew where Pareto k exceeds 0.7.

    References
    ----------
    Viechtbauer and Cheung (2010), Res. Synth. Methods 1:112-125.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> bm.leave_one_out(fit)[["left_out", "estimate", "se", "tau2", "I2"]].head(3).round(4)
                  left_out  estimate      se    tau2       I2
    0           Aronson (1948)   -0.7368  0.2002  0.3616  93.0794
    1  Ferguson & Simes (1949)   -0.6816  0.1867  0.3142  92.0727
    2   Rosenthal et al (1960)   -0.7155  0.1951  0.3464  92.8079
    """
    refits = _refits(tree, prob, scale)
    groups = groups_by(refits.spec, by, "leave_one_out")
    return refits.table(LEFT_OUT, groups, groups.without(refits.spec), groups.names)


@asks_in_one_way
def cumulative(
    tree: xr.DataTree,
    order: ByRow | None = None,
    by: ByRow | None = None,
    *,
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Fit the model to the first group, the first two, and so on: how the evidence has built up.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`, also read back from a file.
    order : str or sequence, optional
        What groups are ordered by, smallest first, such as the year: the name of a column of the data, or one value for
        each row. A group comes where the first of its rows does; groups that tie stay in the order of the data, which
        is the order by default.
    by : str or sequence, optional
        What is added at a time, as in `bm.leave_one_out`: by default a group of the outer level.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        As in `bm.leave_one_out`.
    vcov, df : optional
        Likewise.

    Returns
    -------
    DataFrame
        As that of `bm.leave_one_out`, with `added`, the group that is new, in place of `left_out`, and with `order`,
        its value, where groups are ordered. The last rows are the fit itself.

    Raises
    ------
    SpecError
        When `order` or `by` is not a column, there is only one group, or a posterior cannot be computed without Markov
        chains.
    DataError
        When a column has missing values in rows of the model.

    See Also
    --------
    bayesmeta.leave_one_out : Without each group in turn.
    bayesmeta.plots.cumulative : The same as a forest plot.

    Notes
    -----
    A variance between the groups of a level that has only one so far is held at zero, so that the first row is the
    first study's own estimate; of a posterior such a variance has its prior. As the same data are looked at again and
    again, p-values are not those of one test; a posterior means the same after every look.

    References
    ----------
    Lau, Antman, Jimenez-Silva, Kupelnick, Mosteller and Chalmers (1992), N. Engl. J. Med. 327:248-254.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> bm.cumulative(fit, order="year")[["added", "order", "k", "estimate", "lower", "upper"]].head(3).round(3)
                     added  order  k  estimate  lower  upper
    0           Aronson (1948)   1948  1    -0.939 -2.110  0.233
    1  Ferguson & Simes (1949)   1949  2    -1.398 -6.006  3.209
    2   Stein & Aronson (1953)   1953  3    -1.061 -1.881 -0.241
    """
    refits = _refits(tree, prob, scale)
    groups = groups_by(refits.spec, by, "cumulative")
    positions, values = _positions(refits.spec, groups, order)
    in_turn = np.argsort(positions, kind="stable")
    rank = np.empty(groups.n, np.int64)
    rank[in_turn] = np.arange(groups.n)
    keep = rank[groups.of_obs(refits.spec)] <= np.arange(groups.n)[:, None]
    table = refits.table(ADDED, groups, keep, [groups.names[g] for g in in_turn])
    if order is not None:
        table.insert(1, ORDER, [values[g] for g in in_turn for _ in refits.spec.coef])
    return table


class _Variance(NamedTuple):
    """A variance between groups.  outcome : to which it belongs, "" for all of them."""

    level: str
    effect: str
    outcome: str


@dataclass(frozen=True, eq=False)
class Refits:
    """The model of a tree, to be fitted to some of its rows.

    outcomes : of the coefficients, "" for those of several.  readings : how coefficients are read.
    variances : by column of the table.
    """

    tree: xr.DataTree
    spec: Spec
    prob: float
    outcomes: Mapping[str, str]
    readings: Mapping[str, Reading]
    variances: Mapping[str, Sequence[_Variance]]
    response: bool

    def table(self, what: str, groups: Groups, keep: BoolArray, names: Sequence[str]) -> pd.DataFrame:
        """Rows of all parts, keep (parts, n_obs).  names : of the groups that are left out of them, or added."""
        if is_posterior(self.tree):
            frames = self._of_posterior(what, groups, keep, names)
        else:
            parts = parts_of(self.tree, keep)
            self._say(what, groups, parts, names)
            tests, parts_Q = tests_of(parts), heterogeneity_of(parts)
            frames = [self._of_coefficient(i, parts, tests, parts_Q) for i in range(len(self.spec.coef))]
        for frame in frames:
            frame.insert(0, what, list(names))
        table = pd.concat(frames).sort_index(kind="stable").reset_index(drop=True)
        table.attrs = {"prob": self.prob, "scale": "response" if self.response else "model", BY: groups.kind or "row"}
        return table

    def _say(self, what: str, groups: Groups, parts: Parts, names: Sequence[str]) -> None:
        """Warnings about parts that are not identified, or whose fits did not converge."""
        without, kind = "without" if what == LEFT_OUT else "up to", groups.kind or "group"
        known, sure = parts.fits.identified, parts.fits.converged
        if failed := [name for name, good in zip(names, known, strict=True) if not good]:
            warn(f"the data {without} {kind} {listing(failed)} do not identify the model: NaN", AssumptionWarning)
        if unsure := [name for name, good in zip(names, sure | ~known, strict=True) if not good]:
            warn(f"fits {without} {kind} {listing(unsure)} did not converge", ConvergenceWarning)

    def _of_posterior(self, what: str, groups: Groups, keep: BoolArray, names: Sequence[str]) -> list[pd.DataFrame]:
        """Every coefficient in the posteriors of all parts."""
        name = "leave_one_out" if what == LEFT_OUT else "cumulative"
        parts = part_posteriors(whole_points(self.tree, name), keep)
        mention_unidentified(parts, names, f"{'without' if what == LEFT_OUT else 'up to'} {groups.kind or 'group'}")
        shares = [None if part.points is None else heterogeneity(part) for part in parts]
        return [self._of_posterior_coefficient(i, parts, shares) for i in range(len(self.spec.coef))]

    def _of_posterior_coefficient(
        self, i: int, parts: Sequence[PartPosterior], shares: Sequence[xr.Dataset | None]
    ) -> pd.DataFrame:
        coef = self.spec.coef[i]
        outcome, reading, none = self.outcomes[coef], self.readings[coef], dict.fromkeys(_NUMBERS, np.nan)
        rows = []
        for part, table in zip(parts, shares, strict=True):
            row: dict[str, object] = {"term": coef, "outcome": outcome, "k": int(part.spec.kept.sum())} | none
            if part.points is not None:
                one = part.points.combination(np.eye(len(self.spec.coef))[i : i + 1])
                own = exact_statistics(part.points, one, self.prob, reading)
                row |= {{"mean": "estimate"}.get(name, name): float(values[0]) for name, values in own.items()}
            for column, variances in self.variances.items():
                own_ones = [each for each in variances if outcome in (each.outcome, "") or not each.outcome]
                at = own_ones[0] if len(own_ones) == 1 else None
                row[column] = np.nan if at is None else posterior_variance(part, at.level, at.effect)
            rows.append(row | _shares_of(table, outcome) | {"converged": part.points is not None})
        frame = pd.DataFrame(rows)
        return frame.assign(pareto_k=[part.pareto_k for part in parts])

    def _of_coefficient(self, i: int, parts: Parts, tests: Tests, parts_Q: Heterogeneity) -> pd.DataFrame:
        """One coefficient in all parts."""
        coef = self.spec.coef[i]
        outcome, reading = self.outcomes[coef], self.readings[coef]
        own = Tests(*(values[:, i] for values in tests))
        estimate, (lower, upper), se = own.estimate, own.bounds(self.prob), own.se
        if reading.response:
            estimate, lower, upper = (reading.values(ends) for ends in (estimate, lower, upper))
            se = np.full(len(se), np.nan)
        numbers = (estimate, se, lower, upper, own.statistic, own.df, own.pvalue)
        columns: dict[str, object] = {"term": coef, "outcome": outcome, "k": parts.rows()}
        columns |= dict(zip(_NUMBERS, numbers, strict=True))
        for column, variances in self.variances.items():
            own_ones = [each for each in variances if outcome in (each.outcome, "") or not each.outcome]
            columns[column] = (
                variance_of(parts, own_ones[0].level, own_ones[0].effect) if len(own_ones) == 1 else np.nan
            )
        at = 1 + self.spec.outcomes.index(outcome) if outcome and parts_Q.Q.shape[1] > 1 else 0
        columns |= {name: getattr(parts_Q, field)[:, at] for name, field in _TESTS.items()}
        return pd.DataFrame(columns | {"converged": parts.fits.identified & parts.fits.converged})


def _refits(tree: xr.DataTree, prob: float, scale: Scale | None) -> Refits:
    """What refits of a tree need."""
    check_probability(prob)
    response, spec = on_response(tree, scale), spec_from_tree(tree)
    frame = estimates(tree, prob)
    coefs = frame[frame["kind"] == BETA].set_index("term")["outcome"]
    record = measure_of(tree)
    readings = {
        coef: Reading(record, role, response and is_read_elsewhere(record, role)) for coef, role in roles(tree).items()
    }
    variances = frame[(frame["kind"] == PSI) & ~frame["term"].str.contains("~", regex=False)]
    return Refits(
        tree=tree,
        spec=spec,
        prob=prob,
        outcomes=dict(coefs),
        readings=readings,
        variances=_columns([_Variance(*row) for row in variances[["level", "term", "outcome"]].to_numpy().tolist()]),
        response=response,
    )


def _shares_of(table: xr.Dataset | None, outcome: str) -> dict[str, float]:
    """Q, I2 and H2 of a part, of one outcome where the coefficient belongs to it."""
    if table is None:
        return dict.fromkeys(_TESTS, np.nan)
    if table["Q"].ndim:
        table = table.sel({schema.OUTCOME: outcome or schema.OVERALL})
    names = {"Q": "Q", "Q_df": "df", "Q_pvalue": "pvalue", "I2": "I2_tau2", "H2": "H2_tau2"}
    return {column: float(table[names[column]]) for column in _TESTS}


def _columns(variances: Sequence[_Variance]) -> dict[str, list[_Variance]]:
    """Variances by the name of their column: "tau2", with the level of several, with the effect of slopes."""
    columns: dict[str, list[_Variance]] = {}
    several = len({each.level for each in variances}) > 1
    for each in variances:
        columns.setdefault(f"{TAU2}[{each.level}]" if several else TAU2, []).append(each)
    if all(len({each.outcome for each in own}) == len(own) for own in columns.values()):
        return columns
    return {f"{TAU2}[{each.level}, {each.effect}]": [each._replace(outcome="")] for each in variances}


def _positions(spec: Spec, groups: Groups, order: ByRow | None) -> tuple[IntArray, list[object]]:
    """The place of every group, the same for those that tie, and the value that it has by."""
    n = len(groups.names)
    if order is None:
        return np.arange(n), []
    column = by_row(spec, order, "order")
    check_complete(spec, column, "order")
    try:
        codes, values = pd.factorize(column[spec.kept], sort=True)
    except TypeError as error:
        raise SpecError(f"order={shown(order)}: its values cannot be ordered\n  {error}") from None
    positions = np.full(n, len(values))
    np.minimum.at(positions, groups.codes[spec.kept], codes)
    return positions, [values[place] for place in positions]
