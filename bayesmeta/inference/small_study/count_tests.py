"""Tests for small-study effects where standard errors depend on the effects: from counts and group sizes."""

from typing import Literal

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_probability, shown
from bayesmeta.effects.arms import Arms
from bayesmeta.errors import DataError, SpecError
from bayesmeta.inference.small_study.evidence import Evidence, evidence, sizes, tables, total_size
from bayesmeta.inference.small_study.precision_regression import Line, as_one_level, least_squares, line, tested
from bayesmeta.tree.row_labels import ByRow

_DEPENDENT = 'egger(tree, vcov="CR2") is for dependent effects'


def peters(
    tree: xr.DataTree,
    *,
    events: Arms | None = None,
    total: Arms | None = None,
    no_events: Arms | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """Peters' test: regression on 1 / number of participants, with weights that do not depend on the effect.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` of log odds ratios, or other measures from two-by-two tables.
    events, total, no_events : (str, str), optional
        Columns of the two arms with the events and with all persons, or those without event; by default those that
        `bm.effects` computed the effects from.
    outcome : str, optional
        The outcome that is tested; required for a model with several.
    prob : float, default 0.95
        Probability of the interval of the limit, between 0 and 1.

    Returns
    -------
    Dataset
        The same as from `bm.small_study.egger`.

    Raises
    ------
    SpecError
        When the counts are not known, effects are dependent, or an argument is wrong.
    DataError
        When there are fewer than three studies, counts are missing, all are of one size, or a study has no events in
        either arm.

    Notes
    -----
    Weights are 1 / (1 / events + 1 / persons without event), of both arms together; the residual variance is estimated.

    References
    ----------
    Peters, Sutton, Jones, Abrams and Rushton (2006), JAMA 295:676-680.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> test = bm.small_study.peters(fit, events=("tpos", "cpos"), no_events=("tneg", "cneg"))
    >>> test["statistic"].round(3).item(), test["pvalue"].round(3).item()
    (-1.362, 0.2)
    """
    of = _independent(tree, outcome, "peters")
    table = tables(of, events, total, no_events)
    return _least_squares(of, "inverse_n", 1 / table.cells.sum(0), of.y, 1 / _pooled(of, table.cells), prob)


def harbord(
    tree: xr.DataTree,
    *,
    events: Arms | None = None,
    total: Arms | None = None,
    no_events: Arms | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """Harbord's test: Egger's regression of the efficient score of the log odds ratio, from two-by-two tables.

    Parameters
    ----------
    tree : DataTree
        As for `peters`.
    events, total, no_events : (str, str), optional
        As of `peters`.
    outcome : str, optional
        As of `peters`.
    prob : float, default 0.95
        As of `peters`.

    Returns
    -------
    Dataset
        The same as from `bm.small_study.egger`; the limit is a log odds ratio, that of the score Z / V.

    Raises
    ------
    SpecError, DataError
        As `peters`.

    Notes
    -----
    Z = a - (a + c) n1 / n with the hypergeometric variance V; Z / V is regressed on 1 / sqrt(V) with weights V.

    References
    ----------
    Harbord, Egger and Sterne (2006), Stat. Med. 25:3443-3457.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> test = bm.small_study.harbord(fit, events=("tpos", "cpos"), no_events=("tneg", "cneg"))
    >>> test["statistic"].round(3).item(), test["pvalue"].round(3).item()
    (-1.256, 0.235)
    """
    of = _independent(tree, outcome, "harbord")
    a, b, c, d = tables(of, events, total, no_events).cells
    _pooled(of, np.stack([a, b, c, d]))
    first, second = a + b, c + d
    n = first + second
    Z = a - (a + c) * first / n
    V = first * second * (a + c) * (b + d) / (n**2 * (n - 1))
    return _least_squares(of, "1/sqrt(V)", 1 / np.sqrt(V), Z / V, 1 / V, prob)


def arcsine(
    tree: xr.DataTree,
    model: Literal["ols", "mixed"] = "mixed",
    *,
    df: str | None = None,
    events: Arms | None = None,
    total: Arms | None = None,
    no_events: Arms | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """Rücker's test: regression of arcsine differences, whose variances depend on the sizes of the arms alone.

    Parameters
    ----------
    tree : DataTree
        As for `peters`.
    model : {"mixed", "ols"}, default "mixed"
        "mixed" adds a variance between studies, by the method of the tree, and is called AS-Thompson; "ols" is
        Egger's regression.
    df : str, optional
        For "mixed": reference distribution of the coefficients, see `bm.estimates`.
    events, total, no_events : (str, str), optional
        As of `peters`.
    outcome : str, optional
        As of `peters`.
    prob : float, default 0.95
        As of `peters`.

    Returns
    -------
    Dataset
        The same as from `bm.small_study.egger`; slope and limit are differences of arcsines.

    Raises
    ------
    SpecError, DataError
        As `peters`; a study without events is admissible here.

    References
    ----------
    Rücker, Schwarzer and Carpenter (2008), Stat. Med. 27:746-763.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> test = bm.small_study.arcsine(fit, events=("tpos", "cpos"), no_events=("tneg", "cneg"))
    >>> test["pvalue"].round(3).item()
    0.022
    """
    check_choice(model, ("mixed", "ols"), "model")
    of = _independent(tree, outcome, "arcsine")
    of.check_intercept_alone()
    a, b, c, d = tables(of, events, total, no_events).cells
    first, second = a + b, c + d
    y = np.arcsin(np.sqrt(a / first)) - np.arcsin(np.sqrt(c / second))
    v = 1 / (4 * first) + 1 / (4 * second)
    if model == "ols":
        if df is not None:
            raise SpecError(f'arcsine: df={shown(df)} is for model="mixed"; leave it out')
        return _least_squares(of, "se", np.sqrt(v), y, v, prob)
    of.check_one_level(_DEPENDENT)
    return tested(line(as_one_level(of, y, v), "se", np.sqrt(v), model, None, df), check_probability(prob))


def macaskill(
    tree: xr.DataTree,
    *,
    n: ByRow | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """Macaskill's test: regression on the number of participants, with weights 1 / sampling variance.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`.
    n, outcome, prob : optional
        See `bm.small_study.egger`.

    Returns
    -------
    Dataset
        The same as from `bm.small_study.egger`; the limit is NaN, as numbers of participants have none.

    Raises
    ------
    SpecError
        When the numbers of participants are not known, effects are dependent, or an argument is wrong.
    DataError
        When there are fewer than three studies, or all are of one size.

    References
    ----------
    Macaskill, Walter and Irwig (2001), Stat. Med. 20:641-654, "FIV".

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> fit = bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar"))
    >>> n = bcg[["tpos", "tneg", "cpos", "cneg"]].sum(axis=1)
    >>> bm.small_study.macaskill(fit, n=n)["pvalue"].round(3).item()
    0.001
    """
    of = _independent(tree, outcome, "macaskill")
    return _least_squares(of, "n", total_size(of, n), of.y, of.v, prob, is_limit=False)


def deeks(
    tree: xr.DataTree,
    *,
    n: Arms | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """Deeks' test of diagnostic odds ratios: regression on 1 / sqrt(effective sample size), with weights by this size.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` of log diagnostic odds ratios.
    n : (str, str), optional
        Columns of the numbers of persons with and without the disease; by default the arms that `bm.effects` computed
        the effects from.
    outcome, prob : optional
        See `bm.small_study.egger`.

    Returns
    -------
    Dataset
        The same as from `bm.small_study.egger`.

    Raises
    ------
    SpecError
        When the sizes of the groups are not known, effects are dependent, or an argument is wrong.
    DataError
        When there are fewer than three studies, or all are of one size.

    Notes
    -----
    The effective sample size is 4 n1 n2 / (n1 + n2). Its authors advise to take p < 0.10 as evidence.

    References
    ----------
    Deeks, Macaskill and Irwig (2005), J. Clin. Epidemiol. 58:882-893.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg").assign(n1=lambda d: d.tpos + d.tneg, n2=lambda d: d.cpos + d.cneg)
    >>> fit = bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar"))
    >>> bm.small_study.deeks(fit, n=("n1", "n2"))["pvalue"].round(3).item()
    0.099
    """
    of = _independent(tree, outcome, "deeks")
    first, second = sizes(of, n)
    effective = 4 * first * second / (first + second)
    return _least_squares(of, "1/sqrt(ESS)", 1 / np.sqrt(effective), of.y, 1 / effective, prob)


def _independent(tree: xr.DataTree, outcome: str | None, what: str) -> Evidence:
    of = evidence(tree, outcome, what)
    of.check_independent(_DEPENDENT)
    return of


def _pooled(of: Evidence, cells: FloatArray) -> FloatArray:
    """Weights by the events and the persons without event of both arms; DataError where there are none of either."""
    a, b, c, d = cells
    if (none := (a + c == 0) | (b + d == 0)).any():
        raise DataError(
            f"{of.what}: no events in either arm, or nothing but events in both, in rows {of.names(none)}\n"
            "  such a study says nothing of an odds ratio; leave it out, or take arcsine(tree)"
        )
    return np.asarray(1 / (1 / (a + c) + 1 / (b + d)))


def _least_squares(
    of: Evidence, name: str, values: FloatArray, y: FloatArray, v: FloatArray, prob: float, is_limit: bool = True
) -> xr.Dataset:
    """The test of a weighted regression with weights 1 / v."""
    of.check_unequal(values, f"the predictor {name}")
    used = least_squares(of, np.column_stack([of.X, values]), y, v, None, None)
    at = np.append(of.X[0], 0.0) if is_limit and of.intercept_alone else None
    return tested(Line(of, used, at, "ols", name), check_probability(prob))
