"""What a paper says of one results tree in numbers: taken once from where the summary takes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.display.prose import kind_of_group, several
from bayesmeta.display.remarks import varies
from bayesmeta.display.tables import percent
from bayesmeta.estimation.methods import Method, method_of
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.moderators import all_effects, omnibus
from bayesmeta.inference.partition import level_shares
from bayesmeta.inference.reference import JointTest, Reference, reference
from bayesmeta.measures import Measure
from bayesmeta.model.spec import Level, Spec
from bayesmeta.summaries.coefficients import Coefficients, new_effects
from bayesmeta.summaries.fit_remarks import explained
from bayesmeta.summaries.variation import I2, Q_PROFILE, one_effect_each, shares, variances
from bayesmeta.tree.parameters import BETA, PSI, RHO, TAU
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import (
    Scale,
    has_predictors,
    label_of,
    measure_of,
    model_label_of,
    on_response,
    roles,
)
from bayesmeta.tree.specification import group, spec_from_tree

NUMBERS = ["estimate", "lower", "upper"]


@dataclass(frozen=True, eq=False)
class Numbers:
    """Everything that the paragraphs ask of a tree.

    tree : of a fit or a posterior. prob : of the intervals. response : whether effects are given on the scale on which
    people read the measure. asked : the arguments `vcov` and `df`, for the coefficients of a fit.
    """

    tree: xr.DataTree
    prob: float
    response: bool
    asked: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def used(self) -> Reference | None:
        """How tests and intervals of coefficients are made; None for a posterior."""
        return reference(self.tree, **self.asked)

    @cached_property
    def spec(self) -> Spec:
        return spec_from_tree(self.tree)

    @cached_property
    def bayes(self) -> bool:
        return is_posterior(self.tree)

    @cached_property
    def method(self) -> Method:
        return method_of(self.tree)

    @cached_property
    def measure(self) -> Measure:
        return measure_of(self.tree)

    @cached_property
    def regression(self) -> bool:
        return has_predictors(self.tree)

    @cached_property
    def varies(self) -> bool:
        return varies(self.tree) and bool(self.varying)

    @cached_property
    def varying(self) -> list[Level]:
        """The levels whose groups can differ, outer to inner; none by a method that assumes common effects."""
        return [] if self.method.zero_psi else [level for level in self.spec.levels if level.dim and level.varies]

    @property
    def interval(self) -> str:
        """As in "95% CI", and "95% CrI" of a posterior."""
        return f"{percent(self.prob)} {'CrI' if self.bayes else 'CI'}"

    def kind(self, level: str) -> str:
        return kind_of_group(self.tree, level)

    def between(self, level: str) -> str:
        """As in "between studies within districts"."""
        names = [each.name for each in self.spec.levels]
        above = names[: names.index(level)][-1:]
        inside = "".join(f" within {several(self.kind(each))}" for each in above)
        return f"between {several(self.kind(level))}{inside}"

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """Of every coefficient `estimates`, what it is (`what`), and of a posterior the probability of its side."""
        frame = estimates(self.tree, self.prob, "response", **self.asked) if self.response else self._estimates
        frame = frame[frame["kind"] == BETA].copy()
        of_coef = roles(self.tree)
        frame["role"] = [of_coef[str(term)] for term in frame["term"]]
        frame["what"] = [self._what(role) for role in frame["role"]]
        words = [""] * len(frame)
        if self.bayes:
            words = Coefficients(self.tree, self._estimates, self.prob, None, None, {}).probabilities()
        frame["probability"] = words
        return frame

    def _what(self, role: str) -> str:
        """A unit is named with the predictor."""
        if not role:
            return "coefficient"
        on_response = label_of(self.measure, role) if self.response else ""
        return (on_response or model_label_of(self.measure, role)).removesuffix(" per unit")

    @cached_property
    def _estimates(self) -> pd.DataFrame:
        return estimates(self.tree, self.prob, **self.asked)

    @cached_property
    def new_effects(self) -> dict[str, FloatArray]:
        """By outcome the bounds of the prediction interval, where there is one for all."""
        bounds = new_effects(self.tree, self.prob, self.asked) if self.varies else {}
        return {name: self.measure.to_response(own) if self.response else own for name, own in bounds.items()}

    @cached_property
    def one_effect_each(self) -> bool:
        return one_effect_each(self.tree)

    @cached_property
    def _variances(self) -> tuple[pd.DataFrame, str]:
        return variances(self.tree, self.prob) if self.one_effect_each else (self._estimates, "Wald")

    @property
    def by_q_profile(self) -> bool:
        """Whether the intervals of the variances are exact, rather than Wald."""
        return self.varies and self._variances[1] == Q_PROFILE

    def between_groups(self) -> Iterator[tuple[Level, pd.DataFrame]]:
        """Of every level that varies the rows of variances, SDs and correlations, with `kind` and `term`."""
        own, rows = self._estimates, self._variances[0]
        for level in self.varying:
            mine = own[(own["level"] == level.name) & own["kind"].isin([TAU, RHO, PSI])].copy()
            mine = mine[(mine["kind"] != PSI) | ~mine["term"].astype(str).str.contains("~", regex=False)]
            known = [label for label in mine.index if label in rows.index]
            for column in [*NUMBERS, "se"]:
                mine.loc[known, column] = rows.loc[known, column].astype(float)
            yield level, mine

    @property
    def with_bounds(self) -> bool:
        """Whether any variance, SD or correlation between groups has an interval."""
        return any(
            np.isfinite(rows[["lower", "upper"]].to_numpy(float)).all(1).any() for _, rows in self.between_groups()
        )

    @cached_property
    def I2(self) -> dict[str, list[float]]:
        """I2 with its bounds, NaN where there are none, from the fitted variances; by outcome, "overall" first."""
        return {outcome: own for outcome, own in self._shares().items() if np.isfinite(own[0])} if self.varies else {}

    @cached_property
    def level_shares(self) -> dict[str, float]:
        """The part of every level in I2, in percent, of a fit of one outcome with several levels."""
        return level_shares(self.tree) if self.varies and not self.bayes else {}

    def _shares(self) -> dict[str, list[float]]:
        if self.bayes:
            own = dict(shares(self.tree, self.prob))
            return {
                label.removeprefix(I2).removeprefix(", ") or schema.OVERALL: [row[0], *row[2:]]
                for label, row in own.items()
                if label.startswith(I2)
            }
        rows = self._variances[0]
        if self.one_effect_each and I2 in rows.index:
            return {schema.OVERALL: [*map(float, rows.loc[I2, NUMBERS].to_numpy(float))]}
        return self._from_table("I2_tau2")

    def _from_table(self, name: str) -> dict[str, list[float]]:
        table = self.heterogeneity
        if table is None or name not in table:
            return {}
        return {str(outcome): [float(value), np.nan, np.nan] for outcome, value in table[name].items()}

    @cached_property
    def heterogeneity(self) -> pd.DataFrame | None:
        """Q, df, pvalue, I2 over outcomes, "overall" first; None for a posterior, and for a tree without them."""
        if self.bayes or schema.HETEROGENEITY not in self.tree.children:
            return None
        frame = group(self.tree, schema.HETEROGENEITY).to_dataframe()
        frame = frame.iloc[:1] if len(frame) == 2 else frame  # of one outcome, the overall row says it all
        testable = frame[frame["df"] > 0]
        return testable if len(testable) else None

    @cached_property
    def moderators(self) -> JointTest | None:
        """The test of all predictors together, where there are several coefficients to test."""
        test = None if self.used is None else omnibus(self.tree, self.used)
        return test if test is not None and test.df1 > 1 and np.isfinite(test.pvalue) else None

    @cached_property
    def all_effects(self) -> JointTest | None:
        test = None if self.used is None or self.regression else all_effects(self.tree, self.used)
        return test if test is not None and np.isfinite(test.pvalue) else None

    @cached_property
    def explained(self) -> float | None:
        """R2 in percent."""
        known = self.regression and self.varies and not self.bayes
        return explained(self.tree) if known else None


def numbers_of(tree: xr.DataTree, prob: float, scale: Scale | None, asked: Mapping[str, Any]) -> Numbers:
    """The numbers of a tree; by default on the scale on which people read the measure, where it has one."""
    if scale is None:
        return Numbers(tree, prob, measure_of(tree).has_response, asked)
    return Numbers(tree, prob, on_response(tree, scale), asked)
