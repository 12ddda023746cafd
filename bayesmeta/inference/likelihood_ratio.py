"""Likelihood-ratio test of two nested fits, with the reference distribution that a variance at zero asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import chdtrc

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_integer, check_seed
from bayesmeta.display import remarks
from bayesmeta.display.export import Page
from bayesmeta.display.tables import Block, Facts, Table, fixed, pvalue
from bayesmeta.errors import AssumptionWarning, ConvergenceError, SpecError, keeps_old_names, warn
from bayesmeta.inference.lr_bootstrap import null_statistics
from bayesmeta.inference.nesting import Addition, Model, addition
from bayesmeta.inference.same_data import obstacle
from bayesmeta.tree.specification import group

REFERENCES = ("auto", "bootstrap")
MOST_DATA_SETS = 10_000_000  # of a bootstrap; each is fitted twice
CRITERIA = ("df", "loglik", "aic", "aicc")
CONSERVATIVE = "is conservative: the p-value is too large"
ROUNDING = 1e-6  # by which log-likelihoods of searches that converged may differ from their maxima


@keeps_old_names
def lr_test(
    small: xr.DataTree,
    big: xr.DataTree,
    nested: bool = False,
    *,
    reference: Literal["auto", "bootstrap"] = "auto",
    bootstrap: int = 999,
    random_seed: int | Sequence[int] | None = 0,
) -> "LikelihoodRatio":
    """Test whether a larger model fits better than a smaller one nested in it.

    Parameters
    ----------
    small, big : DataTree
        Results trees of `fit` by "ml", "fixed" or "reml", of the same data with the same sampling covariances; the
        fixed part of REML fits must be the same.
    nested : bool, default False
        True asserts that `big` contains `small` where this cannot be decided from the two models, such as between some
        structures of Psi; it overrules no other refusal.
    reference : {"auto", "bootstrap"}, default "auto"
        "auto", a mixture of chi-squared distributions where its weights are known, otherwise a parametric bootstrap;
        "bootstrap", a parametric bootstrap in any case. The mixtures are those of many groups, and a little
        conservative with few.
    bootstrap : int, default 999
        Number of data sets of the parametric bootstrap; with "auto", 0 for the conservative p-value instead.
    random_seed : int or sequence of int, default 0
        Of the bootstrap, whatever `numpy.random.SeedSequence` takes.

    Returns
    -------
    LikelihoodRatio
        Prints as a table; `statistic`, `df`, `pvalue`, `reference`, `to_dataframe()`. The reference distribution is
        chi2_r for r more coefficients, or for r more correlations (or variances set free from being equal) where no
        estimate is at the boundary; 1/2 chi2_(r+q) + 1/2 chi2_(r+q+1) for one more variance, of an effect that may be
        correlated with q others of its level, and r more coefficients (r = q = 0: 1/2 chi2_0 + 1/2 chi2_1); otherwise
        that of the statistic in data sets drawn from the smaller model, each fitted by both models (parametric
        bootstrap); without it chi2 with all the parameters that are more, with a warning that it is conservative.
        `reference` says which.

    Raises
    ------
    SpecError
        When `reference` is unknown, the fits are by different methods, of different data or S, REML with different
        fixed parts, without a likelihood, possibly not nested, the first does not have fewer parameters than the
        second, or a bootstrap cannot match the rows of the two.
    ConvergenceError
        When a search did not converge, or the larger model has the lower log-likelihood.

    Warns
    -----
    AssumptionWarning
        When the p-value is the conservative one, or rests on `nested=True`.

    Notes
    -----
    The mixtures suppose groups that are many and independent, and other variances of the smaller model above zero.
    Coefficients and covariance parameters are asymptotically independent, so variances at zero do not disturb a test
    of coefficients.

    References
    ----------
    Self and Liang (1987), J. Am. Stat. Assoc. 82:605-610, cases 5 and 6. Stram and Lee (1994), Biometrics
    50:1171-1177, cases 1 to 3. Morrell (1998), Biometrics 54:1560-1568, for REML.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> school = bm.datasets.load("school")
    >>> groups = ("1 | study", "1 | district/study")
    >>> test = bm.lr_test(*(bm.fit(bm.specify("effect ~ 1", school, S="var", random=random)) for random in groups))
    >>> round(test.statistic, 2), test.reference
    (17.77, '1/2 chi2_0 + 1/2 chi2_1')
    """
    check_choice(reference, REFERENCES, "reference")
    check_boolean(nested, "nested")
    check_seed(random_seed)
    check_integer(bootstrap, "bootstrap", int(reference == "bootstrap"), MOST_DATA_SETS)
    trees = {"small": small, "big": big}
    for tree in trees.values():
        group(tree, schema.CONSTANT)
    if reason := obstacle(trees):
        raise SpecError(f"no likelihood-ratio test: {reason}")
    for name, tree in trees.items():
        if alarms := remarks.alarms(tree):
            raise ConvergenceError(f"no likelihood-ratio test: {name}: {alarms[0]}")
    values = [group(tree, schema.CRITERIA) for tree in (small, big)]
    _check_sizes(*(int(value["df"]) for value in values))
    more = addition(Model.of(small), Model.of(big))
    if isinstance(more, str) and not nested:
        hint = "if it is, say so with nested=True"
        raise SpecError(f"no likelihood-ratio test: the smaller model may not be nested: {more}\n  {hint}")
    statistic = 2 * float(values[1]["loglik"] - values[0]["loglik"])
    if statistic < -2 * ROUNDING:
        raise ConvergenceError(
            f"the larger model has the lower log-likelihood, by {-statistic / 2:.3g}\n"
            "  it does not contain the smaller one, or its search missed the maximum; fit it again from another start="
        )
    df = int(values[1]["df"] - values[0]["df"])
    dfs, doubt = _reference(more, df, _at_boundary(small), _at_boundary(big))
    null = None
    if reference == "bootstrap" or (CONSERVATIVE in doubt and bootstrap):
        null = null_statistics(small, big, bootstrap, random_seed)
    if null is not None and len(null):
        doubt = f"{bootstrap - len(null)} of {bootstrap} fits did not converge" if len(null) < bootstrap else ""
    elif reference == "bootstrap":
        raise SpecError(
            "no bootstrap: the rows of the two models cannot be matched\n"
            "  fit both to data with the same index, each label once"
        )
    if doubt:
        warn(doubt, AssumptionWarning)
    frame = pd.DataFrame([{name: value[name].item() for name in CRITERIA} for value in values], ["small", "big"])
    return LikelihoodRatio(max(statistic, 0.0), df, dfs, doubt, frame.rename_axis("model"), null)


@dataclass(frozen=True, repr=False, eq=False)
class LikelihoodRatio(Page):
    """A likelihood-ratio test: print it, or take its numbers.

    statistic : twice the gain in log-likelihood.  df : number of parameters that the larger model has more.
    mixture : degrees of freedom of the chi-squared distributions that are mixed in equal parts.
    doubt : what makes the p-value an approximation of unknown or conservative kind; "" for nothing.
    criteria : df, loglik, aic, aicc of both models.  null : statistics of the parametric bootstrap, or None.
    """

    statistic: float
    df: int
    mixture: tuple[int, ...]
    doubt: str
    criteria: pd.DataFrame
    null: FloatArray | None = None

    @property
    def pvalue(self) -> float:
        """Upper tail of the reference distribution; of a bootstrap with the data themselves counted in."""
        if self.null is not None and len(self.null):
            return float((1 + np.sum(self.null >= self.statistic - 2 * ROUNDING)) / (1 + len(self.null)))
        return float(np.mean([_upper_tail(df, self.statistic) for df in self.mixture]))

    @property
    def reference(self) -> str:
        """The reference distribution in words."""
        if self.null is not None and len(self.null):
            return f"parametric bootstrap, {len(self.null)} data sets"
        share = f"1/{len(self.mixture)} " if len(self.mixture) > 1 else ""
        return " + ".join(f"{share}chi2_{df}" for df in self.mixture)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per model: df, loglik, aic, aicc, and on the second row statistic, pvalue and reference."""
        test = {"statistic": self.statistic, "pvalue": self.pvalue}
        frame = self.criteria.assign(**{name: [np.nan, value] for name, value in test.items()})
        return frame.assign(reference=["", self.reference])

    def blocks(self) -> list[Block]:
        """The parts of the page, in order."""
        rows = tuple((str(name), *criteria_cells(row)) for name, row in self.criteria.iterrows())
        facts = [
            ("Statistic", fixed(self.statistic, 4)),
            ("Reference", self.reference),
            ("p-value", pvalue(self.pvalue)),
            *([("note", self.doubt)] if self.doubt else []),
        ]
        return [Table("Likelihood-ratio test", CRITERIA_HEADER, rows), Facts(tuple(facts))]


CRITERIA_HEADER = ("df", "logLik", "AIC", "AICc")


def criteria_cells(row: pd.Series) -> tuple[str, ...]:
    return (fixed(row["df"], 0), *(fixed(row[name], 3) for name in CRITERIA[1:]))


def _check_sizes(small: int, big: int) -> None:
    if small == big:
        raise SpecError(
            f"no likelihood-ratio test: both models have {big} parameters"
            "\n  one model must have a parameter that the other has not; criteria are compared by bm.compare(a, b)"
        )
    if small > big:
        raise SpecError(
            f"no likelihood-ratio test: the first model has {small} parameters, the second {big}\n"
            "  the smaller model comes first: lr_test(small, big)"
        )


def _reference(more: Addition | str, df: int, small_at_edge: bool, big_at_edge: bool) -> tuple[tuple[int, ...], str]:
    """Degrees of freedom of the chi-squared distributions mixed, and what is doubtful about them."""
    if isinstance(more, str):
        return (df,), f"{more}; the p-value takes the caller's word for it (nested=True) and chi2_{df}"
    if not more.parameters:
        return (df,), ""
    naive = f"chi2_{df} {CONSERVATIVE}; its distribution would need a parametric bootstrap"
    if not more.variances:
        at_edge = small_at_edge or big_at_edge
        return (df,), f"a variance or correlation is estimated at its boundary, where {naive}" if at_edge else ""
    q = more.variances[0]
    if len(more.variances) > 1 or q is None or more.parameters != q + 1:
        return (df,), f"more than one variance is zero under the smaller model, or not only a variance, where {naive}"
    if small_at_edge:
        return (df,), f"a variance of the smaller model is estimated at its boundary, where {naive}"
    return (df - 1, df), ""


def _at_boundary(tree: xr.DataTree) -> bool:
    return schema.OPTIMIZER in tree.children and bool(group(tree, schema.OPTIMIZER)["at_boundary"].any())


def _upper_tail(df: int, x: float) -> float:
    return float(chdtrc(df, x)) if df else float(x <= 0)
