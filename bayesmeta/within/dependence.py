"""Sampling covariances of dependent estimates, with correlations that are assumed in a pattern."""

from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_boolean, is_number, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import as_frame, rows_by_group
from bayesmeta.within.assumed import (
    AssumedCovariance,
    Groups,
    check_column,
    check_variances,
    codes_of,
    complete,
    of_correlations,
)
from bayesmeta.within.correlation import nearest
from bayesmeta.within.patterns import Measured, People, Reported, Table

Rho = Any  # a number, a column, {group: number}, a table of correlations by label, or a list of two of them


def vcalc(
    data: Any,
    vi: Any,
    cluster: str,
    *,
    subgroup: str | None = None,
    obs: str | None = None,
    type: str | None = None,  # noqa: A002  # as in metafor
    time1: str | None = None,
    time2: str | None = None,
    grp1: str | None = None,
    grp2: str | None = None,
    w1: str | None = None,
    w2: str | None = None,
    rho: Rho = None,
    phi: Any = None,
    rvars: list[str] | None = None,
    checkpd: bool = True,
    nearpd: bool = False,
) -> AssumedCovariance:
    """Sampling covariances of dependent estimates, after the arguments of metafor's `vcalc`.

    The correlation of two estimates of a cluster is a product. By what was measured: 1 for the same `type` and `obs`,
    `rho` otherwise. By whom: estimates are differences of two groups of people, of sizes proportional to `w1` and `w2`;
    measurements of one group at two times correlate by phi^|t - s|, those of different groups not at all.

    Parameters
    ----------
    data : DataFrame
        One row for each estimate.
    vi : str or number
        Column of sampling variances, positive; missing where the estimate is. A number is the variance of all
        estimates; 1 with `rvars` that hold covariances.
    cluster : str
        Column of the clusters, such as studies, between which estimates are independent.
    subgroup : str, optional
        Column of parts of the clusters between which estimates are independent, such as the schools of a district;
        labels may recur in several clusters.
    obs : str, optional
        Column that tells apart several estimates of one type of a cluster.
    type : str, optional
        Column of the types, such as outcomes.
    time1, time2 : str, optional
        Columns with the times at which the first and the second group were measured, numbers in any unit; `time2` is
        `time1` by default.
    grp1, grp2 : str, optional
        Columns of the two groups that an estimate compares. Without `grp2` the second is the same for all estimates of
        a cluster, and with neither all estimates are of the same people.
    w1, w2 : str, optional
        Columns of the sizes of the groups, or of weights in proportion to them; by default equal, and `w2` as `w1`.
    rho : number, str, dict, DataFrame or list of two, optional
        Correlation of different observations, or of different types: a number; a column that is constant in every
        cluster, or {cluster: number}, for correlations of their own; or a square table with the labels of `obs` or of
        `type` as index and columns. With both `obs` and `type` a list of two of these, of observations of one type
        first. Needed with `obs` and with `type`.
    phi : number, str or dict, optional
        Correlation of measurements one unit of time apart, in the same forms. Needed with `time1`.
    rvars : list of str, optional
        In place of all these, columns with the correlations, or with `vi=1` covariances, of the estimates of a cluster
        themselves, as many as its largest cluster has rows. A cluster has its rows by the first of these columns as
        the lower triangle, diagonal included, of its matrix.
    checkpd : bool, default True
        Whether correlations that no data can have are refused, see below.
    nearpd : bool, default False
        Whether such a matrix is replaced by the nearest that is possible, see `nearest`.

    Returns
    -------
    AssumedCovariance
        {label of the cluster: matrix in the order of the data}, to be passed as `S`.

    Raises
    ------
    SpecError
        For unknown columns, a correlation that is lacking or out of its range, a label that its table does not have.
    DataError
        For missing groups and times, variances that are not positive, an estimate that compares a group with itself,
        and, unless `checkpd=False`, correlations in a cluster whose matrix is not positive definite: the message names
        it, and by what factor they have to shrink.

    Notes
    -----
    The numbers are those of metafor 3.8.1, but for two things. There a second group that is not given has the label 2,
    and is taken for a first group that happens to have that label. And where correlations are not possible there is a
    warning, here an error.

    References
    ----------
    Gleser and Olkin (2009), in The Handbook of Research Synthesis and Meta-Analysis, 2nd edition, chapter 19.
    Lajeunesse (2011), Ecology 92:2049-2055.

    Examples
    --------
    >>> data = {"study": [1, 1, 2], "outcome": ["pain", "mood", "pain"], "v": [1.0, 4.0, 1.0]}
    >>> S = vcalc(data, "v", "study", type="outcome", rho=0.5)
    >>> S[1]
    array([[1., 1.],
           [1., 4.]])
    >>> S.words
    "sampling errors of one study were assumed to correlate by 0.5 between values of 'outcome'"
    """
    frame = as_frame(data, "data")
    for name, flag in (("checkpd", checkpd), ("nearpd", nearpd)):
        check_boolean(flag, name)
    variances = np.full(len(frame), float(vi)) if is_number(vi) and vi > 0 else check_variances(frame, vi, "vi")
    groups = Groups(frame, cluster, rows_by_group(frame, cluster))
    columns = {"obs": obs, "type": type, "time1": time1, "time2": time2, "grp1": grp1, "grp2": grp2}
    columns |= {"w1": w1, "w2": w2}
    given = {name: check_column(value, name) for name, value in columns.items() if value is not None}
    parts, words, one = _parts(groups, _people(cluster, subgroup), given, rho, phi, rvars)
    apart = None if subgroup is None else codes_of(frame, subgroup, "subgroup")[0]

    def correlation(key: Any, at: IntArray) -> FloatArray:
        R = np.prod([part(key, at) for part in parts], axis=0)
        return np.asarray(R if apart is None else R * (apart[at][:, None] == apart[at]))

    made = of_correlations(groups, variances, correlation, checkpd or nearpd, nearest if nearpd else None, one)
    arguments = {"vi": vi, "cluster": cluster, "subgroup": subgroup, **columns, "rho": rho, "phi": phi}
    arguments |= {"rvars": rvars, "checkpd": checkpd, "nearpd": nearpd}
    return AssumedCovariance(made, words, "vcalc", arguments)


def _parts(
    groups: Groups, people: str, given: dict[str, str], rho: Rho, phi: Any, rvars: Any
) -> tuple[list[Any], str, dict[Any, float] | None]:
    """What correlations are products of, in words, and of every group the number to which all are in proportion.

    people : within what they are correlated, in words.  given : the columns that are named, by the argument.
    """
    if rvars is None:
        _check_pairs(given, rho, phi)
        measured = Measured(groups, given.get("obs"), given.get("type"), rho)
        return [measured, People(groups, given, phi)], _words(people, given, rho, phi), measured.one
    if given or rho is not None or phi is not None:
        others = [*given, *(name for name, value in (("rho", rho), ("phi", phi)) if value is not None)]
        raise SpecError(f"rvars has the correlations themselves; leave out {listing(others)}")
    return [Reported(groups, rvars)], f"correlations of sampling errors were taken from {listing(rvars)}", None


def imputed(
    data: Any,
    variance: str,
    group: str,
    *,
    rho: Any = None,
    ar1: Any = None,
    time: str | None = None,
    pattern: str | None = None,
    subgroup: str | None = None,
    smooth: bool = False,
) -> AssumedCovariance:
    """Sampling covariances with assumed correlations within groups, after clubSandwich's imputed covariance matrices.

    Parameters
    ----------
    data : DataFrame
        One row for each estimate.
    variance : str
        Column of sampling variances, positive; missing where the estimate is.
    group : str
        Column of the groups, between which estimates are independent.
    rho : number, str, dict or DataFrame, optional
        Correlation of two estimates of a group: a number; a column that is constant in every group, or {group: number};
        with `pattern` a square table with the labels of that column as index and columns. This or `ar1` is needed.
    ar1 : number, str or dict, optional
        Correlation of estimates one unit of `time` apart; with `rho` their correlation is rho + (1 - rho) ar1^|t - s|,
        a part that stays and one that fades.
    time : str, optional
        Column of times, needed with `ar1`; with any spacing.
    pattern : str, optional
        Column of what the estimates are of, such as outcomes, for a table of correlations.
    subgroup : str, optional
        Column of parts of the groups between which estimates are independent, such as the schools of a district;
        labels may recur in several groups.
    smooth : bool, default False
        Whether all estimates of a group get the mean of its variances, also on the diagonal: reported variances of one
        study differ mostly by chance.

    Returns
    -------
    AssumedCovariance
        {label of the group: matrix in the order of the data}, to be passed as `S`.

    Raises
    ------
    SpecError
        For unknown columns and correlations that are lacking or out of their range.
    DataError
        For missing times, variances that are not positive, and correlations in a group whose matrix is not positive
        definite, which names the group and by what factor they have to shrink.

    References
    ----------
    Pustejovsky and Tipton (2022), Prev. Sci. 23:425-438. Kirkham, Riley and Williamson (2012), Stat. Med. 31:2179-2195,
    on the mean of variances.

    Examples
    --------
    >>> data = {"study": ["a", "a"], "v": [1.0, 3.0]}
    >>> imputed(data, "v", "study", rho=0.5, smooth=True)["a"]
    array([[2., 1.],
           [1., 2.]])
    """
    frame = as_frame(data, "data")
    check_boolean(smooth, "smooth")
    variances = check_variances(frame, variance, "variance")
    groups = Groups(frame, group, rows_by_group(frame, group))
    _check_imputed(rho, ar1, time, pattern)
    table = Table.of(frame, pattern, rho, "pattern") if pattern is not None else None
    constant = groups.scalar(rho, "rho") if rho is not None and table is None else dict.fromkeys(groups.rows, 0.0)
    fading = groups.scalar(ar1, "ar1", low=0.0) if ar1 is not None else {}
    times = None if time is None else complete(frame, time, "time")
    apart = None if subgroup is None else codes_of(frame, subgroup, "subgroup")[0]
    if smooth:
        variances = _smoothed(groups, variances)

    def correlation(key: Any, at: IntArray) -> FloatArray:
        R = np.full((len(at), len(at)), constant[key]) if table is None else table(at)
        if times is not None:
            R = R + (1 - R) * fading[key] ** np.abs(np.subtract.outer(times[at], times[at]))
        R = R if apart is None else R * (apart[at][:, None] == apart[at])
        np.fill_diagonal(R, 1.0)
        return np.asarray(R)

    one = constant if table is None and ar1 is None else None
    made = of_correlations(groups, variances, correlation, rho=one)
    words = _imputed_words(_people(group, subgroup), rho, ar1, time, pattern, smooth)
    arguments = {"variance": variance, "group": group, "rho": rho, "ar1": ar1, "time": time, "pattern": pattern}
    arguments |= {"subgroup": subgroup, "smooth": smooth}
    return AssumedCovariance(made, words, "imputed", arguments)


def _people(group: str, subgroup: str | None) -> str:
    """Within what estimates are correlated, in words."""
    return group if subgroup is None else f"{subgroup} of a {group}"


def _check_imputed(rho: Any, ar1: Any, time: str | None, pattern: str | None) -> None:
    """Arguments that go with others."""
    if rho is None and ar1 is None:
        raise SpecError("give the correlation of estimates of a group, rho=, or of neighbouring times, ar1=")
    if (ar1 is None) != (time is None):
        raise SpecError(
            "ar1 and time belong together: the correlation over one unit of time, and the column of times"
            "\n  give both, or neither"
        )
    if pattern is not None and (rho is None or ar1 is not None):
        raise SpecError(f"pattern='{pattern}' needs a table of correlations, rho=, and no ar1=")


def _imputed_words(group: str, rho: Any, ar1: Any, time: str | None, pattern: str | None, smooth: bool) -> str:
    """What was assumed, in a sentence."""
    how = f"as in a table of '{pattern}'" if pattern is not None else ""
    if pattern is None:
        parts = [f"by {_said(rho)}"] if rho is not None else []
        parts += [f"by {_said(ar1)} to the power of the distance in '{time}'"] if ar1 is not None else []
        how = " and ".join(parts)
    mean = ", with the mean of its sampling variances" if smooth else ""
    return f"sampling errors of one {group} were assumed to correlate {how}{mean}"


def _smoothed(groups: Groups, variances: FloatArray) -> FloatArray:
    """The mean of every group, also where a variance is missing."""
    mean = variances.copy()
    for key, at in groups.rows.items():
        known = variances[at][~np.isnan(variances[at])]
        if not len(known):
            raise DataError(
                f"{groups.called(key)} has no sampling variance, of which a mean could be taken"
                "\n  fill in one, or drop its rows"
            )
        mean[at] = known.mean()
    return mean


def _check_pairs(given: dict[str, str], rho: Any, phi: Any) -> None:
    """Arguments that go with others."""
    for second, first in (("grp2", "grp1"), ("time2", "time1"), ("w2", "w1"), ("time2", "grp2"), ("w2", "grp2")):
        if second in given and first not in given:
            raise SpecError(f"{second} is given without {first}\n  give both, or leave {second} out")
    if rho is None and ("obs" in given or "type" in given):
        needed = " and ".join(name for name in ("obs", "type") if name in given)
        raise SpecError(f"{needed} needs rho=, the correlation of different ones")
    if rho is not None and not ("obs" in given or "type" in given):
        raise SpecError("rho is the correlation of different observations or types: name their column, obs= or type=")
    if ("time1" in given) != (phi is not None):
        raise SpecError(
            "time1 and phi belong together: the times, and the correlation over one unit of time"
            "\n  give both, or neither"
        )


def _said(value: Any) -> str:
    """A correlation in words."""
    if isinstance(value, str):
        return f"what '{value}' says"
    if isinstance(value, dict):
        return f"{min(value.values()):g} to {max(value.values()):g}, by group,"
    if isinstance(value, pd.DataFrame):
        return "a table"
    return f"{value:g}"


def _words(cluster: str, given: dict[str, str], rho: Any, phi: Any) -> str:
    """What was assumed, in a sentence."""
    names = [name for name in ("obs", "type") if name in given]
    several = rho if len(names) == 2 else [rho]
    parts = [
        f"by {_said(value)} between values of '{given[name]}'" for name, value in zip(names, several, strict=False)
    ]
    if phi is not None:
        parts.append(f"by {_said(phi)} to the power of the distance in '{given['time1']}'")
    if "grp1" in given:
        arms = [given[name] for name in ("grp1", "grp2") if name in given]
        parts.append(f"through the groups that they share ({listing(arms)})")
    return f"sampling errors of one {cluster} were assumed to correlate {', '.join(parts) or 'fully'}"
