"""Egger's test of effects of any measure and any model, and the same for standardised mean differences."""

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_choice, check_probability
from bayesmeta.effects.arms import Arms
from bayesmeta.errors import AssumptionWarning, warn
from bayesmeta.inference.reference import Vcov, reference_of_fit
from bayesmeta.inference.small_study.evidence import (
    Evidence,
    evidence,
    of_each_outcome,
    refitted,
    result,
    sizes,
    with_column,
)
from bayesmeta.inference.small_study.precision_regression import (
    LABELS,
    PREDICTORS,
    Model,
    Predictor,
    free_name,
    line,
    precision_values,
    tested,
)
from bayesmeta.measures import measure
from bayesmeta.tree.row_labels import ByRow


def egger(
    tree: xr.DataTree,
    predictor: Predictor = "se",
    model: Model | None = None,
    vcov: Vcov | None = None,
    *,
    df: str | None = None,
    n: ByRow | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """Egger's test: whether effects depend on their precision.

    The effects are regressed on their standard errors, or another measure of precision, beside the predictors of the
    model. A slope away from zero is asymmetry of the funnel plot, of which selective publication is one cause among
    several: heterogeneity that goes with size, an effect measure that is correlated with its own error, or chance.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`, of any model.
    predictor : {"se", "variance", "n", "inverse_n"}, default "se"
        The measure of precision: standard error, sampling variance, number of participants or its reciprocal.
    model : {"ols", "mixed"}, optional
        "ols" is Egger's regression: weights 1 / variance, and a residual variance that is estimated beside them.
        "mixed" fits the model of the tree again with the predictor in it. By default "ols", and "mixed" where effects
        are dependent: of several levels, or with correlated sampling errors.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, see `bm.estimates`. With `vcov="CR2"` either model
        keeps the groups of the outer level together.
    n : str or sequence, optional
        Numbers of participants, for predictors that are made of them: a column, or one value for each row. By default
        the sizes of the arms, where `bm.effects` computed the effects.
    outcome : str, optional
        The outcome that is tested; required for a model with several, which "mixed" keeps.
    prob : float, default 0.95
        Probability of the interval of the limit, between 0 and 1.

    Returns
    -------
    Dataset
        Scalars: the slope `estimate` with `se`, `statistic` (t, or z), `df` (inf: normal) and `pvalue`; `limit`, the
        effect where the predictor is zero, an infinitely large study, with `limit_lower` and `limit_upper`; `k`, the
        number of effects. The limit is NaN with predictors in the model and with predictor "n". Attributes say how.

    Raises
    ------
    SpecError
        When an argument is wrong, the tree is a posterior, or "ols" is asked of dependent effects without `vcov`.
    DataError
        When there are fewer than three effects, or the measure of precision does not vary.

    Warns
    -----
    AssumptionWarning
        For a standardised mean difference, whose standard error contains the effect itself, so that the two are
        correlated without any bias; `pustejovsky_rodgers` is free of it.

    See Also
    --------
    bayesmeta.small_study.peters : And `harbord`, `arcsine`, for odds ratios, whose errors depend on them as well.

    Notes
    -----
    At least three effects; the test says little with fewer than ten (Sterne et al. 2011, BMJ 343:d4002).

    References
    ----------
    Egger, Davey Smith, Schneider and Minder (1997), BMJ 315:629-634; Sterne and Egger (2005), in: Publication Bias in
    Meta-Analysis, Wiley, 99-110; Rodgers and Pustejovsky (2021), Psychol. Methods 26:141-160, for dependent effects.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> test = bm.small_study.egger(fit)
    >>> [round(test[name].item(), 3) for name in ("statistic", "df", "pvalue", "limit")]
    [-1.507, 11.0, 0.16, -0.157]
    """
    check_choice(predictor, PREDICTORS, "predictor")
    of = evidence(tree, outcome, "egger")
    _warn_of_artefact(of, predictor, "egger")
    values = precision_values(of, predictor, n)
    return tested(line(of, predictor, values, model, vcov, df, is_limit=predictor != "n"), check_probability(prob))


def egger_joint(
    tree: xr.DataTree,
    predictor: Predictor = "se",
    vcov: Vcov | None = None,
    *,
    df: str | None = None,
    n: ByRow | None = None,
) -> xr.Dataset:
    """Egger's test of several outcomes together: whether the effects of any of them depend on their precision.

    The model of the tree is fitted again with a measure of precision for every outcome, and their slopes are tested
    together; what is correlated, within studies and between them, counts once.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`, with several outcomes.
    predictor : {"se", "variance", "n", "inverse_n"}, default "se"
        The measure of precision, as in `bm.small_study.egger`.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, see `bm.estimates`.
    n : str or sequence, optional
        Numbers of participants of the rows, for predictors that are made of them.

    Returns
    -------
    Dataset
        Scalars: `statistic` (F, or chi-squared), `df1`, `df2` (inf: chi-squared) and `pvalue` of all slopes;
        `k`, the number of effects. Over `outcome`: the slopes `estimate` with `se`, `outcome_statistic`, `outcome_df`
        and `outcome_pvalue`.

    Raises
    ------
    SpecError
        When there is one outcome, an argument is wrong, or the tree is a posterior.
    DataError
        When an outcome has fewer than three effects, or a measure of precision that does not vary.

    Warns
    -----
    AssumptionWarning
        For standardised mean differences, as `egger`.

    See Also
    --------
    bayesmeta.small_study.egger : Of one outcome.

    References
    ----------
    Hong, Salanti, Morton, Riley, Chu, Kimmel and Chen (2020), Biometrics 76:1240-1250.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = bm.datasets.load("berkey98")
    >>> fit = bm.fit(bm.specify("PD + AL ~ 1", trials, S=["var_PD", "cov_PD_AL", "var_AL"]))
    >>> test = bm.small_study.egger_joint(fit)
    >>> test["df1"].item(), test.sizes["outcome"]
    (2, 2)
    """
    check_choice(predictor, PREDICTORS, "predictor")
    each_of = of_each_outcome(tree, "egger_joint")
    first, *_ = each_of
    _warn_of_artefact(first, predictor, "egger_joint")
    spec = first.spec
    for of in each_of:
        values = precision_values(of, predictor, n)
        of.check_unequal(values, f"the predictor {predictor} of outcome '{of.outcome}'")
        spec = with_column(of, free_name(spec, f"{predictor} of {of.outcome}"), values, spec)
    used = reference_of_fit(refitted(first, spec), vcov, df, "egger_joint")
    slopes = np.eye(len(spec.coef))[-len(each_of) :]
    joint, each = used.joint(slopes), used.each(slopes)
    scalars = {
        "statistic": joint.statistic,
        "df1": joint.df1,
        "df2": joint.df2,
        "pvalue": joint.pvalue,
        "k": len(spec.y),
    }
    over = {"estimate": each.estimate, "se": each.se, "outcome_statistic": each.statistic}
    over |= {"outcome_df": each.df, "outcome_pvalue": each.pvalue}
    made = result(scalars, first.attrs(predictor=predictor, model="mixed", **used.attrs) | {"outcome": "all"})
    columns = {name: (schema.OUTCOME, values) for name, values in over.items()}
    return made.assign(columns).assign_coords({schema.OUTCOME: [of.outcome for of in each_of]})


def _warn_of_artefact(of: Evidence, predictor: str, what: str) -> None:
    record = measure(of.spec.measure)
    if predictor in ("se", "variance") and (better := record.asymmetry_test):
        warn(
            f"{what}: the {LABELS[predictor]} of a {record.label} contains the effect itself, so that "
            f"the two are correlated without any bias\n  bm.small_study.{better} has a predictor that does not",
            AssumptionWarning,
        )


def pustejovsky_rodgers(
    tree: xr.DataTree,
    model: Model | None = None,
    vcov: Vcov | None = None,
    *,
    df: str | None = None,
    n: Arms | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """Egger's test of standardised mean differences, with a measure of precision that the effect is no part of.

    The predictor is sqrt(1 / n1 + 1 / n2), the part of the standard error that is due to the sizes of the groups.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`.
    model : {"ols", "mixed"}, optional
        See `bm.small_study.egger`.
    vcov, df : optional
        See `bm.small_study.egger`.
    n : (str, str), optional
        Columns of the sizes of the two groups; by default those that `bm.effects` computed the effects from.
    outcome : str, optional
        See `bm.small_study.egger`.
    prob : float, default 0.95
        See `bm.small_study.egger`.

    Returns
    -------
    Dataset
        The same as from `bm.small_study.egger`.

    Raises
    ------
    SpecError
        As `egger`, and when the sizes of the groups are not known.
    DataError
        When there are fewer than three effects, or all have groups of the same sizes.

    References
    ----------
    Pustejovsky and Rodgers (2019), Res. Synth. Methods 10:57-71.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"g": [0.9, 0.2, 0.5, 0.1], "v": [0.2, 0.05, 0.1, 0.02]}
    >>> trials |= {"n1": [10, 40, 20, 100], "n2": [11, 42, 22, 99]}
    >>> fit = bm.fit(bm.specify("g ~ 1", trials, S="v", measure="smd"))
    >>> bm.small_study.pustejovsky_rodgers(fit, n=("n1", "n2"))["statistic"].round(2).item()
    6.46
    """
    of = evidence(tree, outcome, "pustejovsky_rodgers")
    first, second = sizes(of, n)
    made = line(of, "sqrt(1/n1 + 1/n2)", np.sqrt(1 / first + 1 / second), model, vcov, df)
    return tested(made, check_probability(prob))
