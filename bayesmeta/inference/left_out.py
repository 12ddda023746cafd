"""The model fitted again to parts of the data: without each group in turn, and with one group more at a time."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, IntArray
from bayesmeta._validation import check_probability, did_you_mean, listing, shown
from bayesmeta.errors import AssumptionWarning, BayesmetaError, ConvergenceWarning, DataError, SpecError, warn
from bayesmeta.estimation.fit import fit
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.reference import Asked, Tests, Vcov, asks_in_one_way, declare, declared, reference_of_fit
from bayesmeta.inference.subset import of_rows
from bayesmeta.model.identification import check_rank
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.heterogeneity import heterogeneity
from bayesmeta.tree.parameters import BETA, PSI, TAU2
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading, Scale, is_read_elsewhere, measure_of, on_response, roles
from bayesmeta.tree.row_labels import ByRow, by_row, row_labels
from bayesmeta.tree.specification import group, spec_from_tree

LEFT_OUT, ADDED, ORDER, BY = "left_out", "added", "order", "by"
_NUMBERS = ("estimate", "se", "lower", "upper", "statistic", "df", "pvalue")
_TESTS = {"I2": "I2_tau2", "H2": "H2_tau2", "Q": "Q", "Q_df": "df", "Q_pvalue": "pvalue"}


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
        Results of `bm.fit`, also read back from a file.
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
        level or column.

    Raises
    ------
    SpecError
        When `tree` is a posterior, `by` is neither a level nor a column, or there is only one group.
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
    refits = _refits(tree, prob, scale, "leave_one_out")
    groups = _groups(refits.spec, by, "leave_one_out")
    return refits.table(LEFT_OUT, groups, [groups.codes != g for g in range(len(groups.names))], groups.names)


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
        Results of `bm.fit`, also read back from a file.
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
        When `tree` is a posterior, `order` or `by` is not a column, or there is only one group.
    DataError
        When a column has missing values in rows of the model.

    See Also
    --------
    bayesmeta.leave_one_out : Without each group in turn.
    bayesmeta.plots.cumulative : The same as a forest plot.

    Notes
    -----
    A variance between the groups of a level that has only one so far is held at zero, so that the first row is the
    first study's own estimate. As the same data are looked at again and again, p-values are not those of one test.

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
    refits = _refits(tree, prob, scale, "cumulative")
    groups = _groups(refits.spec, by, "cumulative")
    positions, values = _positions(refits.spec, groups, order)
    in_turn = np.argsort(positions, kind="stable")
    parts = [np.isin(groups.codes, in_turn[: i + 1]) for i in range(len(in_turn))]
    table = refits.table(ADDED, groups, parts, [groups.names[g] for g in in_turn])
    if order is not None:
        table.insert(1, ORDER, [values[g] for g in in_turn for _ in refits.spec.coef])
    return table


@dataclass(frozen=True, eq=False)
class Groups:
    """What is left out or added at a time.

    codes : (n_rows,) group of every row, -1 of those not in the model.  names : of the groups, as the data have them.
    kind : what they are, for messages.
    """

    codes: IntArray
    names: tuple[str, ...]
    kind: str


class _Variance(NamedTuple):
    """A variance between groups.  outcome : to which it belongs, "" for all of them."""

    level: str
    effect: str
    outcome: str

    def of(self, estimate: xr.Dataset) -> float:
        psi, dim = estimate[schema.psi(self.level)], schema.effect(self.level)
        if not self.effect:  # one variance for all times
            return float(psi[0, 0])
        return float(psi.sel({dim: self.effect, schema.bis(dim): self.effect}))


@dataclass(frozen=True, eq=False)
class Refits:
    """The model of a tree, to be fitted to some of its rows.

    outcomes : of the coefficients, "" for those of several.  readings : how coefficients are read.
    variances : by column of the table.  inference : what the tree declares for its coefficients.
    """

    spec: Spec
    method: str
    prob: float
    outcomes: Mapping[str, str]
    readings: Mapping[str, Reading]
    variances: Mapping[str, Sequence[_Variance]]
    response: bool
    inference: Asked

    def table(self, what: str, groups: Groups, parts: Sequence[BoolArray], names: Sequence[str]) -> pd.DataFrame:
        """Rows of all parts.  names : of the groups that are left out of them, or added in them."""
        rows, failed, unsure = [], [], []
        for chosen, name in zip(parts, names, strict=True):
            part = of_rows(self.spec, chosen)
            own = self._fit(part)
            if own is None:
                failed.append(name)
            elif not _converged(own):
                unsure.append(name)
            rows += [{what: name} | row for row in self._rows(own, part)]
        without, kind = "without" if what == LEFT_OUT else "up to", groups.kind or "group"
        if failed:
            warn(f"the data {without} {kind} {listing(failed)} do not identify the model: NaN", AssumptionWarning)
        if unsure:
            warn(f"fits {without} {kind} {listing(unsure)} did not converge", ConvergenceWarning)
        frame = pd.DataFrame(rows)
        frame.attrs = {"prob": self.prob, "scale": "response" if self.response else "model", BY: groups.kind or "row"}
        return frame

    def _fit(self, part: Spec) -> xr.DataTree | None:
        """The fit to a part of the data; None where the part does not identify the model."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is worth saying of all parts is said once
            try:
                check_rank(part.X, part.coef)
                # a variance between groups takes two of them, which moments ask for
                own = fit(part, self.method if len(part.y) > 1 else "fixed", random_effects=False)
                declare(own, self.inference)
                return own
            except BayesmetaError:
                return None

    def _rows(self, own: xr.DataTree | None, part: Spec) -> Iterator[dict[str, object]]:
        """A row for each coefficient."""
        tests = None if own is None else heterogeneity(own)
        estimate = None if own is None else group(own, schema.ESTIMATE)
        coefficients = None if own is None else self._tested(own)
        for i, coef in enumerate(part.coef):
            outcome = self.outcomes[coef]
            row: dict[str, object] = {"term": coef, "outcome": outcome, "k": int(part.kept.sum())}
            row |= dict.fromkeys(_NUMBERS, np.nan) if coefficients is None else coefficients[i]
            for column, variances in self.variances.items():
                own_ones = [each for each in variances if outcome in (each.outcome, "") or not each.outcome]
                row[column] = own_ones[0].of(estimate) if estimate is not None and len(own_ones) == 1 else np.nan
            for column, name in _TESTS.items():
                row[column] = np.nan if tests is None else _of_outcome(tests[name], outcome)
            yield row | {"converged": own is not None and _converged(own)}

    def _tested(self, own: xr.DataTree) -> list[dict[str, float]]:
        """Estimate, interval and test of every coefficient; NaN where the part is too small for the test asked for."""
        try:
            each = reference_of_fit(own, None, None, "this").each(np.eye(len(self.spec.coef)))
        except BayesmetaError:
            estimate = group(own, schema.ESTIMATE)
            none = np.full(len(self.spec.coef), np.nan)
            each = Tests(estimate["beta"].to_numpy(), estimate["beta_se"].to_numpy(), none, none, none)
        rows = []
        for i, (coef, lower, upper) in enumerate(zip(self.spec.coef, *each.bounds(self.prob), strict=True)):
            reading = self.readings[coef]
            ends, se = np.array([each.estimate[i], lower, upper]), each.se[i]
            if reading.response:
                ends, se = reading.values(ends), np.nan
            mean, low, high = ends
            numbers = (mean, se, low, high, each.statistic[i], each.df[i], each.pvalue[i])
            rows.append(dict(zip(_NUMBERS, map(float, numbers), strict=True)))
        return rows


def _refits(tree: xr.DataTree, prob: float, scale: Scale | None, what: str) -> Refits:
    """What refits of a tree need; SpecError for one that cannot be fitted again."""
    check_probability(prob)
    if is_posterior(tree):
        raise SpecError(
            f"{what} fits the model again to parts of the data, and a posterior would be sampled anew for each\n"
            f"  bm.{what}(bm.fit(spec)) fits them by REML; bm.sample takes a specification of fewer rows"
        )
    response, spec = on_response(tree, scale), spec_from_tree(tree)
    frame = estimates(tree, prob)
    coefs = frame[frame["kind"] == BETA].set_index("term")["outcome"]
    record = measure_of(tree)
    readings = {
        coef: Reading(record, role, response and is_read_elsewhere(record, role)) for coef, role in roles(tree).items()
    }
    variances = frame[(frame["kind"] == PSI) & ~frame["term"].str.contains("~", regex=False)]
    return Refits(
        spec=spec,
        method=str(tree.attrs["method"]),
        prob=prob,
        outcomes=dict(coefs),
        readings=readings,
        variances=_columns([_Variance(*row) for row in variances[["level", "term", "outcome"]].to_numpy().tolist()]),
        response=response,
        inference=declared(tree),
    )


def _columns(variances: Sequence[_Variance]) -> dict[str, list[_Variance]]:
    """Variances by the name of their column: "tau2", with the level of several, with the effect of slopes."""
    columns: dict[str, list[_Variance]] = {}
    several = len({each.level for each in variances}) > 1
    for each in variances:
        columns.setdefault(f"{TAU2}[{each.level}]" if several else TAU2, []).append(each)
    if all(len({each.outcome for each in own}) == len(own) for own in columns.values()):
        return columns
    return {f"{TAU2}[{each.level}, {each.effect}]": [each._replace(outcome="")] for each in variances}


def _converged(own: xr.DataTree) -> bool:
    """Whether the search passed its test; methods without a search have none to fail."""
    optimizer = own.get(schema.OPTIMIZER)
    return optimizer is None or "converged" not in optimizer or bool(optimizer["converged"])


def _of_outcome(values: xr.DataArray, outcome: str) -> float:
    if schema.OUTCOME not in values.dims:
        return float(values)
    return float(values.sel({schema.OUTCOME: outcome or schema.OVERALL}))


def _groups(spec: Spec, by: ByRow | None, what: str) -> Groups:
    """The groups of a level, or of a column; SpecError where there are not two of them."""
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
        _check_complete(spec, column, "by")
        codes = np.full(len(spec.kept), -1)
        codes[spec.kept], values = pd.factorize(column[spec.kept])
        name = by if isinstance(by, str) else ""
        groups = Groups(codes, tuple(str(value) for value in values), name)
    if len(groups.names) < 2:
        raise SpecError(f"{what}: there is one {groups.kind or 'group'} only, {groups.names[0]}; it takes two at least")
    return groups


def _of_level(spec: Spec, level: Level) -> Groups:
    """The groups of a level, named after the rows where each row is its own."""
    codes = np.full(len(spec.kept), -1)
    codes[spec.row] = level.index
    names = [schema.join_label(label) for label in level.labels]
    if level.name == schema.UNIT and level.n_groups == len(np.unique(spec.row)):
        texts = row_labels(spec)
        names = [texts[int(np.flatnonzero(codes == g)[0])] for g in range(level.n_groups)]
    return Groups(codes, tuple(names), "" if level.name == schema.UNIT else level.name)


def _positions(spec: Spec, groups: Groups, order: ByRow | None) -> tuple[IntArray, list[object]]:
    """The place of every group, the same for those that tie, and the value that it has by."""
    n = len(groups.names)
    if order is None:
        return np.arange(n), []
    column = by_row(spec, order, "order")
    _check_complete(spec, column, "order")
    try:
        codes, values = pd.factorize(column[spec.kept], sort=True)
    except TypeError as error:
        raise SpecError(f"order={shown(order)}: its values cannot be ordered\n  {error}") from None
    positions = np.full(n, len(values))
    np.minimum.at(positions, groups.codes[spec.kept], codes)
    return positions, [values[place] for place in positions]


def _check_complete(spec: Spec, column: pd.Series, argument: str) -> None:
    missing = spec.kept & column.isna().to_numpy()
    if missing.any():
        name = f" ({column.name!r})" if isinstance(column.name, str) else ""
        rows = listing(np.array(row_labels(spec), dtype=object)[missing])
        raise DataError(
            f"{argument}{name} is missing in rows of the model: {rows}\n"
            "  give them a value, or fit the model to the other rows"
        )
