"""Several results trees side by side, and their criteria where these may be compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._validation import check_names, listing
from bayesmeta._validation.calls import no_argument
from bayesmeta.display import posterior_remarks, remarks
from bayesmeta.display.export import Page
from bayesmeta.display.free_parameters import to_print
from bayesmeta.display.paper import PaperTable, paper_tables, parameter_label
from bayesmeta.display.tables import Block, Facts, Table, fixed, number, percent
from bayesmeta.errors import SpecError
from bayesmeta.inference.estimates import calibrated, on_scale
from bayesmeta.inference.reference import Reference, Vcov, reference
from bayesmeta.inference.same_data import obstacle, other_sampling_covariances
from bayesmeta.summaries.paper_notes import interval_name
from bayesmeta.summaries.posterior_criteria import bad_k_note, posterior_criteria, posterior_obstacle
from bayesmeta.tree.assembly import table_of
from bayesmeta.tree.parameters import BETA, RHO, TAU, parameters
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Scale
from bayesmeta.tree.specification import group
from bayesmeta.tree_schema import CRITERIA, ESTIMATE

STATISTICS = ("estimate", "se", "lower", "upper")
_COLUMNS = ("loglik", "df", "aic", "aicc", "bic", "nobs")
_LONGEST_NAME = 24


def compare(
    *trees: xr.DataTree | Mapping[str, xr.DataTree],
    names: Sequence[str] | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
    **named: xr.DataTree,
) -> "Comparison":
    """Estimates of several results trees side by side, with their criteria where these may be compared.

    Parameters
    ----------
    *trees : DataTree or mapping of str to DataTree
        Results trees of `bm.fit` and `bm.sample`, or one dict `{name: tree}`.
    names : sequence of str, optional
        One name per tree; by default what tells the trees apart (method, structure, random part, formula).
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response" has coefficients on the scale on which people read the measure, as odds ratios of log odds ratios;
        they have no standard errors there. By default the scale of the model.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of the fits, see `bm.estimates`; posteriors keep their
        own intervals.
    **named : DataTree
        Further trees with their names, as in `compare(one=fit_1, two=fit_2)`.

    Returns
    -------
    Comparison
        With `dataset` (estimate, se, lower, upper over parameter and tree), `to_dataframe()`, `criteria`,
        `to_markdown()` and `to_latex()`.

    Raises
    ------
    SpecError
        Without a tree, for something that is not a results tree, for names that are too few, too many or repeated, and
        for `scale="response"` where a model has no measure with another scale.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> school = bm.datasets.load("school")
    >>> one = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district"), method="ml")
    >>> two = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district/study"), method="ml")
    >>> bm.compare(one, two, names=["district", "both"]).criteria["aic"].round(2)
    tree
    district    69.43
    both        22.79
    Name: aic, dtype: float64
    """
    check_named(compare, named)
    chosen = _named(trees, names, named)
    if not chosen:
        raise SpecError("compare needs at least one results tree, got none")
    used = {name: None if is_posterior(tree) else reference(tree, vcov, df) for name, tree in chosen.items()}
    tables = {name: _table(tree, prob, scale, used[name]) for name, tree in chosen.items()}
    inference = {name: own.words for name, own in used.items() if own is not None}
    return Comparison(chosen, _dataset(tables), prob, scale == "response", inference)


def _table(tree: xr.DataTree, prob: float, scale: Scale | None, used: Reference | None) -> pd.DataFrame:
    """Estimates of one tree."""
    return on_scale(calibrated(parameters(tree, prob), used, prob), tree, prob, scale)


@dataclass(frozen=True, repr=False, eq=False)
class Comparison(Page):
    """Results trees side by side: print it, export it, or take `dataset`, `to_dataframe()` and `criteria`.

    dataset : `estimate`, `se`, `lower`, `upper` over (parameter, tree), NaN where a tree lacks the parameter; the
        coordinates `kind`, `level` and `term` say what a parameter is.
    inference : of every fit how intervals of its coefficients are made, in words.
    """

    trees: dict[str, xr.DataTree]
    dataset: xr.Dataset
    prob: float
    response: bool = False
    inference: Mapping[str, str] = field(default_factory=dict)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per parameter, columns (tree, statistic)."""
        return pd.concat(
            {name: self.dataset[list(STATISTICS)].sel(tree=name, drop=True).to_dataframe() for name in self.trees},
            axis=1,
            names=["tree", "statistic"],
        )[[(name, statistic) for name in self.trees for statistic in STATISTICS]]

    @property
    def criteria(self) -> pd.DataFrame:
        """One row per tree: loglik, df, aic, aicc, bic, nobs, method.

        Of posteriors: elpd_loo and se, p_loo, elpd_diff and se_diff to the best tree, bad_k (share of the outer groups
        whose Pareto k exceeds good_k), good_k, groups, method. One outer group is left out at a time.

        Raises
        ------
        SpecError
            When they are not comparable: ML beside REML, REML with different fixed parts, different observations, a
            method without a likelihood; a fit beside a posterior, posteriors with different outer groups. Different
            sampling covariances of the same observations are comparable.
        """
        if reason := self._obstacle:
            raise SpecError(f"criteria not compared: {reason}")
        if self._posterior:
            return self._loo.copy()
        rows = {
            name: {column: group(tree, CRITERIA)[column].item() for column in _COLUMNS}
            | {"method": tree.attrs["method"]}
            for name, tree in self.trees.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("tree")

    @property
    def _posterior(self) -> bool:
        return any(map(is_posterior, self.trees.values()))

    @property
    def _obstacle(self) -> str:
        return posterior_obstacle(self.trees) if self._posterior else obstacle(self.trees)

    @cached_property
    def _loo(self) -> pd.DataFrame:
        return posterior_criteria(self.trees)

    def blocks(self) -> list[Block]:
        """The parts of the page, in order."""
        models = [(name, _model(tree)) for name, tree in self.trees.items()]
        alarms = [
            ("WARNING", f"{name}: {alarm}") for name, tree in self.trees.items() for alarm in remarks.alarms(tree)
        ]
        draws = [
            facts
            for name, tree in self.trees.items()
            if is_posterior(tree)
            for facts in posterior_remarks.page(tree, name, notes=True)
        ]
        how = self._inference()
        return [Facts((*alarms, *models), "Models"), self.estimates_table(), *how, *draws, *self.criteria_blocks()]

    def _inference(self) -> list[Facts]:
        """How intervals of the coefficients of fits are made, once where it is the same for all."""
        words = set(self.inference.values())
        if len(words) == 1:
            return [Facts((("Intervals of beta", words.pop()),))]
        return [Facts(tuple(self.inference.items()), "Intervals of beta")] if words else []

    def paper(self) -> list[PaperTable]:
        """A table of the estimates and one of the criteria."""
        trees = list(self.trees.values())
        notes = [
            f"In parentheses below the estimates: {interval_name(self.prob, trees)}.",
            "τ, between-group standard deviation.",
        ]
        return paper_tables(
            self.blocks(), interval_name(self.prob, trees), notes, parameter_label, "Comparison of models"
        )

    def estimates_table(self) -> Table:
        """Every parameter of every tree; of levels with many effects those that are free."""
        title = f"Estimates (standard errors{' or SDs' * self._posterior}) and {percent(self.prob)} intervals"
        title = f"Estimates on the response scale and {percent(self.prob)} intervals" if self.response else title
        labels = self.dataset[["kind", "level", "term"]].to_dataframe()
        shown = to_print(labels, self.trees.values())
        if hidden := len(labels) - len(shown):
            title += f"; {hidden} more parameters are in to_dataframe()"
        dataset = self.dataset.sel(parameter=list(shown))
        dataset = dataset.assign_coords(parameter=pd.Index(list(shown.values()), dtype=object))
        return Table(title, tuple(self.trees), tuple(estimate_rows(dataset)))

    def criteria_blocks(self) -> list[Block]:
        """Criteria of all trees, or why they are not compared."""
        if reason := self._obstacle:
            return [Facts((("Criteria not compared", reason),))]
        frame = self.criteria
        if self._posterior:
            return self._with_remarks(_loo_table(frame), bad_k_note(frame))
        excess = frame["aic"] - frame["aic"].min()
        rows = tuple(
            (
                str(name),
                *(fixed(row[column], 3) for column in ("loglik", "aic", "aicc", "bic")),
                fixed(excess[name], 3),
                *(fixed(row[column], 0) for column in ("df", "nobs")),
            )
            for name, row in frame.iterrows()
        )
        header = ("logLik", "AIC", "AICc", "BIC", "AIC - least", "df", "nobs")
        return self._with_remarks(Table("Criteria", header, rows))

    def _with_remarks(self, table: Table, *remarks: str) -> list[Block]:
        notes = [("note", remark) for remark in (*remarks, other_sampling_covariances(self.trees)) if remark]
        return [table, *([Facts(tuple(notes))] if notes else [])]


def estimate_rows(dataset: xr.Dataset) -> list[tuple[str, ...]]:
    """Two lines per parameter: the estimate with its standard error, the interval below.

    dataset : `estimate`, `se`, `lower`, `upper` over `parameter` and one more dimension, that of the columns.
    """
    rows: list[tuple[str, ...]] = []
    numbers = np.stack([dataset[statistic].transpose("parameter", ...).values for statistic in STATISTICS], axis=-1)
    for label, values in zip(dataset["parameter"].values, numbers, strict=True):
        rows.append((str(label), *(_estimate(estimate, se) for estimate, se, _, _ in values)))
        intervals = [_interval(lower, upper, se) for _, se, lower, upper in values]
        if any(intervals):
            rows.append(("", *intervals))
    return rows


def _loo_table(frame: pd.DataFrame) -> Table:
    rows = tuple(
        (
            str(name),
            *(fixed(row[column], 2) for column in ("elpd_loo", "se", "p_loo", "elpd_diff", "se_diff")),
            f"{100 * row['bad_k']:.0f}%",
            fixed(row["groups"], 0),
        )
        for name, row in frame.iterrows()
    )
    header = ("elpd_loo", "se", "p_loo", "elpd - best", "its se", "bad k", "groups")
    return Table("Criteria (leave one group out)", header, rows)


def check_named(function: Callable[..., object], named: Mapping[str, object]) -> None:
    """That what goes by a name of its own is a results tree, and not an argument that the function does not have."""
    for name, value in named.items():
        if not isinstance(value, xr.DataTree):
            raise no_argument(function, f"bm.{function.__name__}", name, value)


def _named(
    positional: Sequence[object], names: Sequence[str] | None, named: Mapping[str, xr.DataTree]
) -> dict[str, xr.DataTree]:
    """The trees under their names, in the order given."""
    if len(positional) == 1 and isinstance(positional[0], dict):
        return _named(list(positional[0].values()), names or list(positional[0]), named)
    trees = cast(Sequence[xr.DataTree], positional)
    for tree in (*trees, *named.values()):
        if not is_posterior(tree):
            group(tree, ESTIMATE)
    labels = _default_names(trees) if names is None else check_names(names, "names")
    if len(labels) != len(trees):
        raise SpecError(
            f"{len(labels)} names for {len(trees)} trees: {listing(labels) or 'none'}"
            "\n  give one name for each, or write bm.compare(a=first, b=second)"
        )
    labels += named
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise SpecError(f"names of trees must be unique, repeated: {listing(repeated)}\n  rename one")
    return dict(zip(labels, (*trees, *named.values()), strict=True))


def _default_names(trees: Sequence[xr.DataTree]) -> list[str]:
    """The fewest of method, structure, random part and formula that tell the trees apart, numbers where none do."""
    methods = [str(tree.attrs["method"]) for tree in trees]
    words = [
        methods,
        *([describe(tree) for tree in trees] for describe in (remarks.structure, remarks.random, remarks.formula)),
    ]
    for size in range(1, len(words) + 1):
        for chosen in combinations(words, size):
            labels = [", ".join(parts) for parts in zip(*chosen, strict=True)]
            if len(set(labels)) == len(trees) and max(map(len, labels), default=0) <= _LONGEST_NAME:
                return labels
    return [f"{method} {i + 1}" for i, method in enumerate(methods)]


def _model(tree: xr.DataTree) -> str:
    random = f"random {remarks.random(tree)}" if tree.attrs["random"] else remarks.random(tree)
    return f"{tree.attrs['method']}; {remarks.formula(tree)}; {random}; psi {remarks.structure(tree)}"


def _dataset(tables: dict[str, pd.DataFrame]) -> xr.Dataset:
    """Fixed effects, SDs, correlations; within these by level, else in order of first appearance."""
    known = pd.concat(tables.values())[["kind", "level", "term"]]
    known = known[~known.index.duplicated()]
    order = {"kind": [BETA, TAU, RHO], "level": list(known["level"].unique())}
    known = known.sort_values(list(order), key=lambda part: part.map(order[str(part.name)].index), kind="stable")
    dims = ("parameter", "tree")
    values = {
        statistic: (
            dims,
            np.column_stack([rows[statistic].astype(float).reindex(known.index) for rows in tables.values()]),
        )
        for statistic in STATISTICS
    }
    coords = {str(column): ("parameter", known[column].to_numpy(dtype=object)) for column in known}
    labels = {"parameter": pd.Index(known.index, dtype=object), "tree": pd.Index(list(tables), dtype=object)}
    return table_of(values, labels | coords)


def _estimate(estimate: float, se: float) -> str:
    if np.isnan(estimate):
        return ""
    return number(estimate, se) + (f" ({number(se, se)})" if np.isfinite(se) else "")


def _interval(lower: float, upper: float, se: float) -> str:
    return f"[{number(lower, se)}, {number(upper, se)}]" if np.isfinite(lower) else ""
