"""What a results tree says, on one page: estimates, heterogeneity, criteria and every reservation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.display import posterior_remarks, remarks
from bayesmeta.display.export import Page
from bayesmeta.display.free_parameters import MOST_EFFECTS, to_print
from bayesmeta.display.paper import PaperTable, paper_tables
from bayesmeta.display.tables import Block, Facts, Table, fixed, number, percent
from bayesmeta.inference.estimates import calibrated, estimates
from bayesmeta.inference.reference import Reference, Vcov, reference
from bayesmeta.summaries.coefficients import Coefficients
from bayesmeta.summaries.fit_remarks import criteria, moderators_and_fit
from bayesmeta.summaries.paper_notes import as_rows_are_called, interval_name, measured, reading_notes, row_label
from bayesmeta.summaries.variation import tests, variances_table
from bayesmeta.tree.parameters import RHO, TAU, TAU2, covariances, effects, level_structures, parameters
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Scale, measure_of, on_response
from bayesmeta.tree.specification import group, reading_once, spec_from_tree

_LONGEST_HEADING = 14


def summary(
    tree: xr.DataTree,
    prob: float = 0.95,
    components: Literal["sd", "variance"] = "sd",
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "Summary":
    """One page about a results tree; prints in a terminal and shows as tables in a notebook.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit` or `bm.sample`, also one read back from a file.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    components : {"sd", "variance"}, default "sd"
        "sd" shows the between-group part of levels with several random effects as standard deviations, "variance" as
        variances; of levels with one both are shown.
    scale : {"model", "response"}, optional
        Whether coefficients are shown on the scale of the model or on that on which people read the measure, such as
        odds ratios. By default both, side by side.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, for the table, the test of all predictors
        and the prediction interval; see `bm.estimates`.

    Returns
    -------
    Summary
        With `to_dataframe()` (all parameters, see `bm.estimates`), `components()` (between-group part), `to_markdown()`
        and `to_latex()`. Of levels with more than eight effects the page has the free parameters, the frames have all.

    Raises
    ------
    SpecError
        When `tree` is not a results tree, `prob` is not a probability, `components` or `scale` is unknown, or the
        measure of the model is not read on another scale.

    Notes
    -----
    Intervals of tau2, tau, I2 and H2 are Q-profile for one outcome with one random effect for each row, else Wald,
    which the table says; those of the profile likelihood are slower: `bm.confint(tree, "profile")`. I2 and H2 are those
    from tau2, see `bm.heterogeneity`. The prediction interval holds the true effect of a new study. Of a posterior all
    are made from the draws.

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
    with reading_once():
        on_response(tree, scale)
        used = reference(tree, vcov, df)
        table = calibrated(parameters(tree, prob), used, prob)
        asked = {} if used is None else used.arguments._asdict()
        return Summary(tree, table, prob, components == "variance", scale, used, asked)


@dataclass(frozen=True, repr=False, eq=False)
class Summary(Page):
    """A summary of one results tree: print it, export it, or take its two data frames."""

    tree: xr.DataTree
    table: pd.DataFrame
    prob: float
    variances: bool
    scale: Scale | None = None
    used: Reference | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    def to_dataframe(self) -> pd.DataFrame:
        """Every parameter, as `bm.estimates` has them."""
        return estimates(self.tree, self.prob, self.scale, **self.asked)

    def components(self) -> pd.DataFrame:
        """Between-group part over (level, effect): `tau` or `variance`, se, lower, upper, and correlations.

        The columns `rho[effect]` hold the lower triangle of every level's correlations and NaN elsewhere; there are
        none where every level has one effect. The correlation over one unit of time stands in a column `rho`, and the
        effect of an SD that all times share is "".
        """
        rows = self.table[self.table["kind"] == TAU].rename(columns={"term": "effect", "estimate": "tau"})
        frame = rows.set_index(["level", "effect"])[["tau", "se", "lower", "upper"]].astype(float)
        for level, effect, other, rho in self._correlations():
            frame.loc[(level, effect), f"rho[{other}]"] = rho
        for level in self._with_own_parameters:
            own = frame.index.get_level_values("level") == level
            frame.loc[own, RHO] = float(self.table["estimate"][f"{RHO}[{level}]"])
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
        with reading_once():
            return self._blocks()

    def _blocks(self) -> list[Block]:
        tree = self.tree
        alarms = [("WARNING", alarm) for alarm in remarks.alarms(tree)]
        notes = tuple(("note", note) for note in remarks.notes(tree))
        return [
            Facts((*alarms, *self._model()), remarks.model_name(tree)),
            self.fixed_table(),
            *self._coefficients.note(),
            *moderators_and_fit(tree, self.used),
            *(self._between() if is_posterior(tree) or remarks.varies(tree) else []),
            *tests(tree, self.prob),
            *(posterior_remarks.page(tree) if is_posterior(tree) else criteria(tree)),
            *([Facts(notes)] if notes else []),
        ]

    def paper(self) -> list[PaperTable]:
        """One table of coefficients and heterogeneity, and further ones where these have columns of their own."""
        tree = self.tree
        with reading_once():
            caption, notes = (
                f"{remarks.model_name(tree)}{measured(tree)}",
                reading_notes(tree, self.scale, self.used.letter if self.used else ""),
            )
            tables = paper_tables(self._blocks(), interval_name(self.prob, [tree]), notes, row_label(tree), caption)
        return [as_rows_are_called(tree, table) for table in tables]

    def fixed_table(self) -> Table:
        """Every coefficient with its test, or with the probability on which side of no effect it lies."""
        return self._coefficients.table()

    @property
    def _coefficients(self) -> Coefficients:
        return Coefficients(self.tree, self.table, self.prob, self.scale, self.used, self.asked)

    def _model(self) -> list[tuple[str, str]]:
        """What was fitted to what; random part and structure where there is something to say about them."""
        tree, record = self.tree, measure_of(self.tree)
        head = [("Method", remarks.method(tree)), ("Formula", remarks.formula(tree))]
        if tree.attrs["random"] or tree.attrs["groups"]:
            head.append(("Random", remarks.random(tree)))
        if remarks.varies(tree) and any(len(effects(tree, level)) != 1 for level in level_structures(tree)):
            head.append(("Psi", remarks.structure(tree)))
        levels = bool(tree.attrs["random"] or tree.attrs["groups"])
        head.append(("Data", remarks.counts(tree) if levels else remarks.observations(tree)))
        if assumed := spec_from_tree(tree).S_assumed:
            head.append(("Errors", str(assumed["words"])))
        if record.name != "generic":
            head.append(("Measure", record.label))
        if self.used is not None:
            same = self._coefficients.same_df
            head.append(("Inference", self.used.words + (f", df {same}" if same else "")))
        return head

    def _between(self) -> list[Table]:
        """One table of all levels where each has one effect, else one per level."""
        dims = [len(effects(self.tree, level)) for level in level_structures(self.tree)]
        if max(dims, default=0) <= 1:
            return [variances_table(self.tree, self.prob)] if any(dims) else []
        frame, size = self.components(), "variance" if self.variances else "tau"
        parts = {str(level): part.droplevel("level") for level, part in frame.groupby(level="level", sort=False)}
        few, many = self._level, self._large_level
        of = f"{percent(self.prob)} intervals{'' if is_posterior(self.tree) else ', Wald'}"
        title = f"Between-group {'variances' if self.variances else 'standard deviations'}"
        own = self._with_own_parameters
        return [
            many(level, part, size)
            if len(part) > MOST_EFFECTS and level not in own
            else (self._own_level if level in own else few)(level, part, size, f"{title}, {level} ({of})")
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

    def _level(self, level: str, frame: pd.DataFrame, size: str, title: str) -> Table:
        labels = [str(label) for label in frame.index]
        triangle = frame.reindex(columns=[f"rho[{label}]" for label in labels[:-1]])
        short = max(map(len, labels)) <= _LONGEST_HEADING
        headings = labels if short else [f"[{i + 1}]" for i in range(len(labels))]
        correlated = bool(triangle.fillna(0).to_numpy().any())
        rows = []
        for i, (label, row) in enumerate(frame.iterrows()):
            cells = [fixed(x, 4) if j < i else "" for j, x in enumerate(triangle.iloc[i])]
            name = f"{TAU2 if self.variances else TAU}[{level}, {label}]"
            name = name if short or not correlated else f"{headings[i]} {name}"
            rows.append((name, *_cells(row, size), *(cells if correlated else [])))
        correlations = [f"corr {heading}" for heading in headings[:-1] if correlated]
        return Table(title, (size, self._spread, "lower", "upper", *correlations), tuple(rows))

    @property
    def _with_own_parameters(self) -> list[str]:
        """Levels with an SD and a correlation of their own instead of those of effects and pairs."""
        return [level for level, structure in level_structures(self.tree).items() if structure.own_parameters]

    def _own_level(self, level: str, frame: pd.DataFrame, size: str, title: str) -> Table:
        names = {effect: f"[{level}, {effect}]" if effect else f"[{level}]" for effect in frame.index}
        kind = TAU2 if self.variances else TAU
        rows = [(f"{kind}{name}", *_cells(frame.loc[effect], size)) for effect, name in names.items()]
        label = f"{RHO}[{level}]"
        rho: pd.Series = self.table.T[label]
        rows.append((label, *_cells(rho.rename({"estimate": size}), size)))
        return Table(title, (size, self._spread, "lower", "upper"), tuple(rows))

    @property
    def _spread(self) -> str:
        return "sd" if is_posterior(self.tree) else "se"

    def _variances(self) -> FloatArray:
        """Mean, SD and interval of every variance of a posterior; the mean is not the square of the mean SD."""
        frame = covariances(self.tree, self.prob)
        return frame.loc[frame.index.str.startswith(TAU2), ["estimate", "se", "lower", "upper"]].to_numpy(float)

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


def _cells(row: pd.Series, size: str) -> tuple[str, ...]:
    """Estimate, SE and interval, all with the decimals that the SE deserves."""
    return tuple(number(row[name], row["se"]) for name in (size, "se", "lower", "upper"))
