"""What a results tree says, on one page: estimates, heterogeneity, criteria and every reservation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.display import posterior_remarks, remarks
from bayesmeta.display.export import Page
from bayesmeta.display.free_parameters import MOST_EFFECTS, to_print
from bayesmeta.display.tables import Block, Facts, Table, fixed, number, percent, pvalue
from bayesmeta.inference.estimates import estimates
from bayesmeta.tree.parameters import BETA, RHO, TAU, effects, level_structures, parameters
from bayesmeta.tree.posterior_draws import beta_draws, is_posterior, summarised, tau_draws, unless_constant
from bayesmeta.tree.specification import group

_LONGEST_HEADING = 14


def summary(tree: xr.DataTree, prob: float = 0.95, components: Literal["sd", "variance"] = "sd") -> "Summary":
    """One page about a results tree; prints in a terminal and shows as tables in a notebook.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit` or `bm.sample`, also one read back from a file.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    components : {"sd", "variance"}, default "sd"
        "sd" shows the between-group part as standard deviations, "variance" as variances.

    Returns
    -------
    Summary
        With `to_dataframe()` (all parameters, see `bm.estimates`), `components()` (between-group part), `to_markdown()`
        and `to_latex()`. Of levels with more than eight effects the page has the free parameters, the frames have all.

    Raises
    ------
    SpecError
        When `tree` is not a results tree, `prob` is not a probability or `components` is unknown.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district"), method="ml")
    >>> bm.summary(fit).to_dataframe()[["estimate", "se"]].round(4)
                              estimate      se
    parameter
    beta[Intercept]              0.1965  0.0858
    tau[district, Intercept]     0.2737  0.0622
    tau2[district, Intercept]    0.0749  0.0341
    """
    check_choice(components, ("sd", "variance"), "components")
    return Summary(tree, parameters(tree, prob), prob, components == "variance")


@dataclass(frozen=True, repr=False, eq=False)
class Summary(Page):
    """A summary of one results tree: print it, export it, or take its two data frames."""

    tree: xr.DataTree
    table: pd.DataFrame
    prob: float
    variances: bool

    def to_dataframe(self) -> pd.DataFrame:
        """Every parameter, as `bm.estimates` has them."""
        return estimates(self.tree, self.prob)

    def _coefficients(self) -> pd.DataFrame:
        """Over coefficients: estimate, se, z, pvalue, lower, upper; of a posterior p_positive for z and pvalue."""
        rows = self.table[self.table["kind"] == BETA].set_index("term").rename_axis(schema.COEF)
        frame = rows[["estimate", "se", "lower", "upper"]].astype(float)
        if is_posterior(self.tree):
            frame.insert(2, "p_positive", (beta_draws(self.tree) > 0).mean(0))
            return frame
        frame.insert(2, "z", frame["estimate"] / frame["se"])
        frame.insert(3, "pvalue", 2 * ndtr(-frame["z"].abs()))
        return frame

    def components(self) -> pd.DataFrame:
        """Between-group part over (level, effect): `tau` or `variance`, se, lower, upper, and correlations.

        The columns `rho[effect]` hold the lower triangle of every level's correlations and NaN elsewhere; there are
        none where every level has one effect.
        """
        rows = self.table[self.table["kind"] == TAU].rename(columns={"term": "effect", "estimate": "tau"})
        frame = rows.set_index(["level", "effect"])[["tau", "se", "lower", "upper"]].astype(float)
        for level, effect, other, rho in self._correlations():
            frame.loc[(level, effect), f"rho[{other}]"] = rho
        if not self.variances:
            return frame
        if is_posterior(self.tree):
            frame[["tau", "se", "lower", "upper"]] = self._variances()
            return frame.rename(columns={"tau": "variance"})
        frame["se"] = self._variance_errors(2 * frame["tau"] * frame["se"])
        frame[["tau", "lower", "upper"]] **= 2
        return frame.rename(columns={"tau": "variance"})

    def blocks(self) -> list[Block]:
        """The parts of the page, in order."""
        tree = self.tree
        head = [("WARNING", alarm) for alarm in remarks.alarms(tree)]
        head += [("Formula", remarks.formula(tree)), ("Random", remarks.random(tree))]
        head += [("Psi", remarks.structure(tree)), ("Data", remarks.counts(tree))]
        notes = tuple(("note", note) for note in remarks.notes(tree))
        return [
            Facts(tuple(head), f"Meta-analysis by {remarks.method(tree)}"),
            self.fixed_table(),
            *self._between(),
            *heterogeneity_tables(tree),
            *(posterior_remarks.page(tree) if is_posterior(tree) else _criteria(tree)),
            *([Facts(notes)] if notes else []),
        ]

    def fixed_table(self) -> Table:
        """Every coefficient with its test, or with its probability of being positive."""
        title, rows = f"Fixed effects ({percent(self.prob)} intervals)", []
        for coef, row in self._coefficients().iterrows():
            estimate, se, *interval = _cells(row, "estimate")
            if is_posterior(self.tree):
                rows.append((str(coef), estimate, se, *interval, fixed(row["p_positive"], 4)))
                continue
            rows.append((str(coef), estimate, se, fixed(row["z"], 2), pvalue(row["pvalue"]), *interval))
        header = ("estimate", "se", "z", "p-value", "lower", "upper")
        of_draws = ("mean", "sd", "lower", "upper", "P(>0)")
        return Table(title, of_draws if is_posterior(self.tree) else header, tuple(rows))

    def _between(self) -> list[Table]:
        """One table of all levels where each has one effect, else one per level."""
        frame, size = self.components(), "variance" if self.variances else "tau"
        title = f"Between-group {'variances' if self.variances else 'standard deviations'}"
        header = (size, self._spread, "lower", "upper")
        parts = {str(level): part.droplevel("level") for level, part in frame.groupby(level="level", sort=False)}
        if all(len(part) == 1 for part in parts.values()):
            rows = tuple((_name(level, part.index[0]), *_cells(part.iloc[0], size)) for level, part in parts.items())
            return [Table(title, header, rows)] if rows else []
        few, many = self._level, self._large_level
        return [
            few(part, size, f"{title}, {level}") if len(part) <= MOST_EFFECTS else many(level, part, size)
            for level, part in parts.items()
        ]

    def _large_level(self, level: str, frame: pd.DataFrame, size: str) -> Table:
        """What is free of a level with many effects; everything is in `components()`."""
        own = self.table[self.table["level"] == level]
        shown = to_print(own, [self.tree])
        rows = []
        for label, row in own[own.index.isin(shown)].iterrows():
            at = frame.loc[row["term"]] if row["kind"] == TAU else row.rename({"estimate": size})
            alone = shown[str(label)] != label
            name = str(row["term"]) if not alone else "correlation" if row["kind"] == RHO else "all effects"
            rows.append((name, *_cells(at, size)))
        what = "variances" if self.variances else "standard deviations"
        title = f"Between-group {what}, {level}: the free parameters of {len(frame)} effects (components() has all)"
        return Table(title, (size, self._spread, "lower", "upper"), tuple(rows))

    def _level(self, frame: pd.DataFrame, size: str, title: str) -> Table:
        labels = [str(label) for label in frame.index]
        triangle = frame.reindex(columns=[f"rho[{label}]" for label in labels[:-1]])
        short = max(map(len, labels)) <= _LONGEST_HEADING
        headings = labels if short else [f"[{i + 1}]" for i in range(len(labels))]
        correlated = bool(triangle.fillna(0).to_numpy().any())
        rows = []
        for i, (label, row) in enumerate(frame.iterrows()):
            cells = [fixed(x, 4) if j < i else "" for j, x in enumerate(triangle.iloc[i])]
            name = str(label) if short or not correlated else f"{headings[i]} {label}"
            rows.append((name, *_cells(row, size), *(cells if correlated else [])))
        correlations = [f"corr {heading}" for heading in headings[:-1] if correlated]
        return Table(title, (size, self._spread, "lower", "upper", *correlations), tuple(rows))

    @property
    def _spread(self) -> str:
        return "sd" if is_posterior(self.tree) else "se"

    def _variances(self) -> FloatArray:
        """Mean, SD and interval of every variance of a posterior; the mean is not the square of the mean SD."""
        draws = np.concatenate([tau_draws(self.tree, level) for level in level_structures(self.tree)], axis=1) ** 2
        return np.column_stack([*unless_constant(summarised(draws, self.prob), draws.mean(0)).values()])

    def _variance_errors(self, by_tau: pd.Series) -> FloatArray:
        """Standard errors of the variances of all levels; trees of earlier versions have only those of the SDs."""
        estimate, errors = group(self.tree, schema.ESTIMATE), by_tau.to_numpy(copy=True)
        place = by_tau.index.get_level_values("level")
        for level in level_structures(self.tree):
            if schema.tau2_se(level) in estimate:
                errors[place == level] = estimate[schema.tau2_se(level)]
        return errors

    def _correlations(self) -> Iterator[tuple[str, str, str, float]]:
        """Level, effect, an earlier effect, and their correlation."""
        rho = self.table[self.table["kind"] == RHO].set_index(["level", "term"])["estimate"]
        for level in level_structures(self.tree):
            labels = effects(self.tree, level)
            for i, effect in enumerate(labels):
                for other in labels[:i]:
                    for pair in ((level, f"{other}~{effect}"), (level, f"{effect}~{other}")):
                        if pair in rho.index:
                            yield level, effect, other, float(rho[pair])


def _name(level: str, effect: str) -> str:
    return level if effect == schema.INTERCEPT else f"{level}, {effect}"


def _cells(row: pd.Series, size: str) -> tuple[str, ...]:
    """Estimate, SE and interval, all with the decimals that the SE deserves."""
    return tuple(number(row[name], row["se"]) for name in (size, "se", "lower", "upper"))


def heterogeneity_tables(tree: xr.DataTree) -> list[Table]:
    """Cochran's Q and what follows from it; none for a tree without them."""
    if schema.HETEROGENEITY not in tree.children:
        return []
    frame = group(tree, schema.HETEROGENEITY).to_dataframe()
    rows = frame.iloc[:1] if len(frame) == 2 else frame  # of one outcome, the overall row says it all
    cells = tuple(
        (str(o), fixed(r["Q"], 2), fixed(r["df"], 0), pvalue(r["pvalue"]), fixed(r["I2"], 1), fixed(r["H2"], 2))
        for o, r in rows.iterrows()
    )
    return [Table("Heterogeneity (Cochran's Q)", ("Q", "df", "p-value", "I2 (%)", "H2"), cells)]


def _criteria(tree: xr.DataTree) -> list[Table]:
    if schema.CRITERIA not in tree.children or not np.isfinite(group(tree, schema.CRITERIA)["loglik"]):
        return []
    values = {str(name): float(value) for name, value in group(tree, schema.CRITERIA).items()}
    logs = [fixed(values[name], 3) for name in ("loglik", "aic", "aicc", "bic")]
    sizes = [fixed(values[name], 0) for name in ("df", "df_fixed", "df_random", "nobs")]
    header = ("logLik", "AIC", "AICc", "BIC", "df", "fixed", "random", "nobs")
    return [Table("Criteria", header, (("", *logs, *sizes),))]
