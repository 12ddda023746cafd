"""Effects of one study that share an arm or the people.

Contrasts of a network, several treatments against one control, several outcomes of the same arms, and the categories of
one count.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_names, listing, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import as_frame, column, rows, rows_by_group
from bayesmeta.within.assumed import AssumedCovariance, Groups, codes_of, complete, indefinite


def shared_arms(
    data: Any, group: str, first: str, second: str, variance_first: str, variance_second: str
) -> AssumedCovariance:
    """Sampling covariances of contrasts between the arms of a study, from the variances of the arms themselves.

    A contrast is the first arm less the second. Two contrasts of one study have the variance of an arm that they share
    as covariance, with a minus where it is the first of one and the second of the other.

    Parameters
    ----------
    data : DataFrame
        One row for each contrast; of a study with k arms at most k - 1, none of which follows from the others.
    group : str
        Column of the studies.
    first, second : str
        Columns of the names of the two arms.
    variance_first, variance_second : str
        Columns of the sampling variances of the two arms: of means, log odds, log rates ... An arm has the same in all
        rows of its study.

    Returns
    -------
    AssumedCovariance
        {label of the study: matrix in the order of the data}, whose diagonal is the sum of the two variances.

    Raises
    ------
    SpecError
        For unknown columns.
    DataError
        For an arm with different variances in one study, one that is not positive, an arm that is compared with itself,
        and contrasts of which one follows from the others.

    References
    ----------
    Franchini, Dias, Ades, Jansen and Welton (2012), Res. Synth. Methods 3:142-160.

    Examples
    --------
    >>> trial = {"trial": [1, 1], "arm": ["A", "B"], "control": ["C", "C"], "v": [0.2, 0.3], "v0": [0.1, 0.1]}
    >>> shared_arms(trial, "trial", "arm", "control", "v", "v0")[1].round(2)
    array([[0.3, 0.1],
           [0.1, 0.4]])
    """
    frame = as_frame(data, "data")
    groups = Groups(frame, group, rows_by_group(frame, group))
    names = [codes_of(frame, name, what) for name, what in ((first, "first"), (second, "second"))]
    texts = [np.array(known, dtype=object)[codes] for codes, known in names]
    values = [
        _positive(frame, name, what)
        for name, what in ((variance_first, "variance_first"), (variance_second, "variance_second"))
    ]
    if (alone := texts[0] == texts[1]).any():
        raise DataError(
            f"'{first}' and '{second}' are the same arm in {rows(frame, alone)}"
            "\n  each row compares two arms; check the columns"
        )
    made = {}
    for key, at in groups.rows.items():
        arms = list(dict.fromkeys([*texts[0][at], *texts[1][at]]))
        place = [np.array([arms.index(text) for text in each[at]]) for each in texts]
        variances = _of_arms(groups.called(key), arms, place, [each[at] for each in values])
        C = np.zeros((len(at), len(arms)))
        C[np.arange(len(at)), place[0]], C[np.arange(len(at)), place[1]] = 1.0, -1.0
        if np.linalg.matrix_rank(C) < len(at):
            raise DataError(
                f"{groups.called(key)} has {len(at)} contrasts of {len(arms)} arms, of which one follows from others\n"
                "  keep the contrasts with one of its arms"
            )
        made[key] = (C * variances) @ C.T
    words = f"contrasts of one {group} have the covariances of the arms that they share"
    arguments = {"group": group, "first": first, "second": second}
    arguments |= {"variance_first": variance_first, "variance_second": variance_second}
    return AssumedCovariance(made, words, "shared_arms", arguments)


def _positive(frame: pd.DataFrame, name: str, what: str) -> FloatArray:
    values = complete(frame, name, what)
    if (values <= 0).any():
        raise DataError(
            f"column '{name}' ({what}) is not positive in {rows(frame, values <= 0)}\n  fill it in, or drop the rows"
        )
    return values


def _of_arms(name: str, arms: Sequence[str], place: Sequence[Any], values: Sequence[FloatArray]) -> FloatArray:
    """(arms,) variance of every arm, the same wherever it stands."""
    found = np.full(len(arms), np.nan)
    for index, own in zip(np.concatenate(place), np.concatenate(values), strict=True):
        if np.isnan(found[index]):
            found[index] = own
        elif not np.isclose(found[index], own, rtol=1e-6, atol=0):
            raise DataError(
                f"arm '{arms[index]}' of {name} has the variances {found[index]:g} and {own:g}"
                "\n  an arm has one variance in all its rows; check the columns"
            )
    return found


def gleser_olkin(data: Any, d: str, group: str, n_treatment: str, n_control: str, rho: Any = None) -> AssumedCovariance:
    """Sampling covariances of several standardised mean differences of a study.

    Without `rho`, of several treatments against one control group; with `rho`, of several outcomes of the same people.

    Parameters
    ----------
    data : DataFrame
        One row for each difference.
    d : str
        Column of the standardised mean differences; missing ones have missing covariances.
    group : str
        Column of the studies.
    n_treatment, n_control : str
        Columns of the sizes of the treatment and of the control group. Within a study the control group is one; with
        `rho` both groups are.
    rho : number, str or dict, optional
        Correlation of two outcomes of one person: a number, a column that is constant in every study, or
        {study: number}.

    Returns
    -------
    AssumedCovariance
        {label of the study: matrix in the order of the data}, variances on its diagonal.

    Raises
    ------
    SpecError
        For unknown columns and correlations out of their range.
    DataError
        For groups of fewer than 2, groups of different sizes within a study that should be one, and correlations of
        which the matrix is not positive definite.

    Notes
    -----
    With N the size of all groups of the study, variances are 1/n_t + 1/n_c + d^2 / (2 N), covariances of treatments
    1/n_c + d_s d_t / (2 N), and of outcomes rho (1/n_t + 1/n_c) + rho^2 d_p d_q / (2 N).

    References
    ----------
    Gleser and Olkin (2009), in The Handbook of Research Synthesis and Meta-Analysis, 2nd edition, chapter 19, equations
    (19.19) and (19.26).

    Examples
    --------
    >>> trial = {"trial": [1, 1], "d": [0.5, 0.8], "n": [20, 25], "n0": [30, 30]}
    >>> gleser_olkin(trial, "d", "trial", "n", "n0")[1].round(4)
    array([[0.085 , 0.036 ],
           [0.036 , 0.0776]])
    """
    frame = as_frame(data, "data")
    groups = Groups(frame, group, rows_by_group(frame, group))
    values, n_t, n_c = (
        column(frame, d, "d"),
        complete(frame, n_treatment, "n_treatment"),
        complete(frame, n_control, "n_control"),
    )
    for name, n in ((n_treatment, n_t), (n_control, n_c)):
        if (n < 2).any():
            raise DataError(
                f"column '{name}' is less than 2 in {rows(frame, n < 2)}\n  give the number of persons of each arm"
            )
    correlations = None if rho is None else groups.scalar(rho, "rho")
    made = {}
    for key, at in groups.rows.items():
        one = {n_control: n_c} if correlations is None else {n_control: n_c, n_treatment: n_t}
        for name, n in one.items():
            if np.ptp(n[at]) > 0:
                raise DataError(
                    f"{groups.called(key)} has one group with {listing(f'{x:g}' for x in n[at])} ('{name}')"
                )
        own, eye = values[at], np.eye(len(at), dtype=bool)
        if correlations is None:
            N = n_t[at].sum() + n_c[at[0]]
            S = 1 / n_c[at[0]] + np.where(eye, 1 / n_t[at], 0.0) + np.outer(own, own) / (2 * N)
        else:
            r = np.where(eye, 1.0, correlations[key])
            if (smallest := float(np.linalg.eigvalsh(r)[0])) < 1e-10:
                raise indefinite(groups.called(key), smallest, correlations[key])
            S = r * (1 / n_t[at[0]] + 1 / n_c[at[0]]) + r**2 * np.outer(own, own) / (2 * (n_t[at[0]] + n_c[at[0]]))
        made[key] = S
    shared = (
        "share their control group" if rho is None else f"are of the same people, with outcomes that correlate by {rho}"
    )
    arguments = {"d": d, "group": group, "n_treatment": n_treatment, "n_control": n_control, "rho": rho}
    return AssumedCovariance(
        made, f"differences of one {group} {shared} (Gleser and Olkin 2009)", "gleser_olkin", arguments
    )


class Multinomial(NamedTuple):
    """Shares of categories, or their log odds against one of them.

    Parameters
    ----------
    y : DataFrame
        (n, k), with the columns of the counts; those against a reference without it.
    S : array
        (n, k, k) sampling covariances.
    """

    y: pd.DataFrame
    S: FloatArray


def multinomial(data: Any, counts: Sequence[str], reference: str | None = None) -> Multinomial:
    """Shares of the categories of one count, or their log odds, with their sampling covariances.

    Parameters
    ----------
    data : DataFrame
        One row for each study.
    counts : list of str
        Columns of the counts of at least two categories that do not overlap, positive whole numbers; without
        `reference` all but one, with another category that is the rest of a column `total` left out by the user.
    reference : str, optional
        The one of `counts` to which the others are compared: log odds log(x_j / x_reference). By default shares x_j / n
        of all categories but the last, which follows from the others.

    Returns
    -------
    Multinomial
        `y`, columns for an outcome each, and `S`, which `bm.specify` takes as they are.

    Raises
    ------
    SpecError
        For unknown columns, fewer than two, and a reference that is none of them.
    DataError
        For counts that are not positive whole numbers: log odds of none are not finite, and shares of none have no
        variance.

    Notes
    -----
    Shares have the covariances (diag(p) - p p') / n; log odds 1 / x_reference, plus 1 / x_j on the diagonal.

    References
    ----------
    Agresti (2013), Categorical Data Analysis, 3rd edition, sections 1.5 and 16.1. Trikalinos and Olkin (2008), Stat.
    Med. 27:4279-4300.

    Examples
    --------
    >>> found = multinomial({"none": [20], "some": [10], "all": [10]}, ["none", "some", "all"], reference="none")
    >>> found.y.round(3)
        some    all
    0 -0.693 -0.693
    >>> found.S.round(2)
    array([[[0.15, 0.05],
            [0.05, 0.15]]])
    """
    frame = as_frame(data, "data")
    names = check_names(counts, "counts")
    if len(names) < 2 or len(set(names)) < len(names):
        raise SpecError(f"counts is {listing(names)}; it must name at least two different columns")
    if reference is not None and (not isinstance(reference, str) or reference not in names):
        raise SpecError(
            f"reference is {shown(reference)}, which is none of counts: {listing(names)}\n  name one of these"
        )
    x = np.column_stack([_positive(frame, name, "counts") for name in names])
    if (fractional := (x != np.round(x)).any(axis=1)).any():
        raise DataError(
            f"counts are not whole numbers in {rows(frame, fractional)}\n  give counts of persons, not shares"
        )
    if reference is None:
        n, p = x.sum(axis=1), x[:, :-1] / x.sum(axis=1)[:, None]
        S = (p[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * p[:, None, :]) / n[:, None, None]
        return Multinomial(pd.DataFrame(p, columns=names[:-1], index=frame.index), S)
    base, others = names.index(reference), [j for j, name in enumerate(names) if name != reference]
    y = np.log(x[:, others] / x[:, [base]])
    S = (1 / x[:, base])[:, None, None] + (1 / x[:, others])[:, :, None] * np.eye(len(others))
    return Multinomial(pd.DataFrame(y, columns=[names[j] for j in others], index=frame.index), S)
