"""Correlations as effect estimates: sampling covariances of several of one sample, also of partial ones.

The asymptotic covariance of two correlations of one sample is that of Olkin and Siotani (1976), given by Olkin and
Finn (1990, 1995) for meta-analysis.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_choice, is_number, listing, shown
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.arrays import as_numbers, check_labels
from bayesmeta.io.columns import as_frame, column, find_column, label, rows, rows_by_group
from bayesmeta.within.assumed import SMALLEST, AssumedCovariance

FEWEST = 5  # persons of a sample, with fewer of whom the formulas mean nothing

SampleSize = Literal["min", "harmonic", "mean"]


class Correlations(NamedTuple):
    """Correlations as estimates.

    Parameters
    ----------
    data : DataFrame
        One row for each pair: `study`, the two variables `var1` and `var2`, `yi` and its variance `vi`.
    S : AssumedCovariance
        Their sampling covariances, a matrix for each study.
    """

    data: pd.DataFrame
    S: AssumedCovariance


def rcalc(
    x: Any,
    ni: Any,
    *,
    ri: str | None = None,
    var1: str | None = None,
    var2: str | None = None,
    study: str | None = None,
    rtoz: bool = False,
    nfun: SampleSize = "min",
) -> Correlations:
    """Correlations of several variables within studies as estimates, with their sampling covariances.

    Parameters
    ----------
    x : DataFrame, mapping or array
        Long data with a row for each correlation, in the columns `ri`, `var1`, `var2` and `study`; or a correlation
        matrix, or {study: matrix}, tables with the same variables as index and columns, or arrays, whose variables are
        then called x1, x2 and so on.
    ni : str, number, or mapping
        Sizes of the samples, at least 5: the column of long data; a number for one matrix, {study: number} for several.
    ri, var1, var2, study : str, optional
        Columns of long data: the correlation, the two variables, and the study, without which all rows are of one.
    rtoz : bool, default False
        Whether correlations are made Fisher's z.
    nfun : {"min", "harmonic", "mean"}, default "min"
        Which sample size a study has where its correlations are of different ones.

    Returns
    -------
    Correlations
        `data`, a row for each correlation with `study`, `var1`, `var2`, `yi` and `vi`, rows of long data in their
        order, those of a matrix as its upper triangle by column; and `S`, to be passed to `bm.specify`.

    Raises
    ------
    SpecError
        For columns that are missing or unknown, and arguments that do not go together.
    DataError
        For correlations beyond 1, of a variable with itself or given twice, a matrix that is not one of correlations,
        and samples of fewer than 5: the message names study and row.

    Warns
    -----
    AssumptionWarning
        When covariances are missing because a correlation is; with the pair of variables.

    Notes
    -----
    Covariances are divided by n - 1 for correlations, by n - 3 for Fisher's z, as in metafor 3.8.1. The covariance of
    two correlations needs those between all their variables: where one of them is not reported, it is missing.

    References
    ----------
    Olkin and Siotani (1976), in Essays in Probability and Statistics, 235-251. Olkin and Finn (1990), Psychol. Bull.
    108:330-333; Steiger (1980), Psychol. Bull. 87:245-251.

    Examples
    --------
    >>> table = pd.DataFrame({"a": [1, 0.5, 0.3], "b": [0.5, 1, 0.4], "c": [0.3, 0.4, 1]}, index=["a", "b", "c"])
    >>> found = rcalc(table, 50)
    >>> found.data.round(4)
       study var1 var2   yi      vi
    0      1    a    b  0.5  0.0115
    1      1    a    c  0.3  0.0169
    2      1    b    c  0.4  0.0144
    """
    check_boolean(rtoz, "rtoz")
    check_choice(nfun, ("min", "harmonic", "mean"), "nfun")
    named = {"ri": ri, "var1": var1, "var2": var2}
    if any(value is not None for value in named.values()):
        if lacking := [name for name, value in named.items() if value is None]:
            raise SpecError(f"long data need the columns {listing(named)}; {listing(lacking)} is not given")
        table, matrices, sizes = _long(as_frame(x, "x"), ni, str(ri), str(var1), str(var2), study, nfun)
    else:
        if study is not None:
            raise SpecError("study is a column of long data; name ri, var1 and var2 too, or give {study: matrix}")
        table, matrices, sizes = _of_matrices(x, ni)
    covariances: dict[Any, FloatArray] = {}
    variances = np.empty(len(table))
    for key, own in table.groupby("study", sort=False):
        R, names = matrices[key]
        at = [(names.index(a), names.index(b)) for a, b in zip(own["var1"], own["var2"], strict=True)]
        V = _checked(key, R, names, at, rtoz) / (sizes[key] - (3 if rtoz else 1))
        covariances[key] = V
        variances[table.index.get_indexer(own.index)] = np.diag(V)
    values = np.arctanh(table["yi"]) if rtoz else table["yi"]
    words = "correlations of one sample have the covariances of Olkin and Siotani (1976)"
    record = AssumedCovariance(covariances, words, "rcalc", None)
    return Correlations(table.assign(yi=values, vi=variances), record)


def partial_correlations(
    matrices: Any, ni: Any, pairs: Sequence[tuple[str, str]], given: Sequence[str] | str, *, rtoz: bool = False
) -> Correlations:
    """Partial correlations of several pairs of variables within studies, with their sampling covariances.

    Parameters
    ----------
    matrices : DataFrame or mapping
        A correlation matrix, a table with the same variables as index and columns, or {study: table}.
    ni : number or mapping
        Sizes of the samples, at least 5 and 3 more than there are controls: a number, or {study: number}.
    pairs : list of (str, str)
        Pairs of variables.
    given : str or list of str
        Variables that are held constant in all pairs.
    rtoz : bool, default False
        Whether they are made Fisher's z.

    Returns
    -------
    Correlations
        As of `rcalc`: a row for each study and pair.

    Raises
    ------
    SpecError
        For variables that no matrix has, and a control that is in a pair.
    DataError
        For what is no correlation matrix, singular ones included, and samples that are too small.

    Notes
    -----
    By the delta method from the covariances of the correlations, divided by n - 1, and for Fisher's z by n - 3, less
    the number of controls.

    References
    ----------
    Olkin and Finn (1995), Psychol. Bull. 118:155-164.

    Examples
    --------
    >>> table = pd.DataFrame({"a": [1, 0.5, 0.3], "b": [0.5, 1, 0.4], "c": [0.3, 0.4, 1]}, index=["a", "b", "c"])
    >>> partial_correlations(table, 50, [("a", "b")], "c").data.round(4)
       study var1 var2      yi      vi
    0      1    a    b  0.4346  0.0137
    """
    check_boolean(rtoz, "rtoz")
    controls = [given] if isinstance(given, str) else list(given)
    studies, sizes = _studies(matrices, ni)
    records, covariances = [], {}
    for key, (R, names) in studies.items():
        for name in (*controls, *(each for pair in pairs for each in pair)):
            if name not in names:
                raise SpecError(
                    f"no variable {shown(name)} in the matrix of study {label(key)}: {listing(names)}"
                    "\n  name one of these"
                )
        slopes, values = [], []
        every = list(combinations(range(len(names)), 2))
        for a, b in pairs:
            if a == b or a in controls or b in controls:
                raise SpecError(
                    f"the pair ({a}, {b}) has a variable twice, or one that is held constant"
                    "\n  name two different ones that are not in given="
                )
            r, slope = _partial(R, [names.index(name) for name in (a, b, *controls)], every)
            values.append(r)
            slopes.append(slope / (1 - r * r) if rtoz else slope)
        divisor = sizes[key] - (3 if rtoz else 1) - len(controls)
        if divisor <= 0:
            raise DataError(
                f"study {label(key)} has {sizes[key]:g} persons, too few to hold {len(controls)} constant"
                "\n  leave the study out, or hold fewer constant"
            )
        J = np.array(slopes)
        covariances[key] = J @ _checked(key, R, names, every, False) @ J.T / divisor
        for (a, b), r, v in zip(pairs, values, np.diag(covariances[key]), strict=True):
            records.append((key, a, b, np.arctanh(r) if rtoz else r, v))
    frame = pd.DataFrame(records, columns=["study", "var1", "var2", "yi", "vi"])
    words = "partial correlations of one sample have the covariances of Olkin and Finn (1995)"
    return Correlations(frame, AssumedCovariance(covariances, words, "partial_correlations", None))


def siotani(R: FloatArray, pairs: Sequence[tuple[int, int]]) -> FloatArray:
    """(pairs, pairs) covariances of correlations, times the size of the sample."""
    i, j = (np.array(side)[:, None] for side in zip(*pairs, strict=True))
    k, m = i.T, j.T
    squares = R[i, k] ** 2 + R[i, m] ** 2 + R[j, k] ** 2 + R[j, m] ** 2
    V = R[i, j] * R[k, m] * squares / 2 + R[i, k] * R[j, m] + R[i, m] * R[j, k]
    V = V - R[i, j] * (R[i, k] * R[i, m] + R[j, k] * R[j, m]) - R[k, m] * (R[k, i] * R[k, j] + R[m, i] * R[m, j])
    return np.asarray(V)


def _partial(R: FloatArray, at: Sequence[int], every: Sequence[tuple[int, int]]) -> tuple[float, FloatArray]:
    """The correlation of the first two variables at the others, and its derivatives by all correlations."""
    P = np.linalg.inv(R[np.ix_(at, at)])
    size = np.sqrt(P[0, 0] * P[1, 1])
    r, slopes = -P[0, 1] / size, np.zeros(len(every))
    place = {variable: position for position, variable in enumerate(at)}
    for e, (a, b) in enumerate(every):
        if a not in place or b not in place:
            continue
        change = -np.outer(P[:, place[a]], P[place[b]])
        change = change + change.T
        slopes[e] = -change[0, 1] / size - r * (change[0, 0] / P[0, 0] + change[1, 1] / P[1, 1]) / 2
    return float(r), slopes


def _checked(key: Any, R: FloatArray, names: list[str], pairs: Sequence[tuple[int, int]], rtoz: bool) -> FloatArray:
    """Covariances of the correlations of one study, times its size; missing where one is that they need."""
    V = siotani(R, pairs)
    present = np.array([not np.isnan(R[a, b]) for a, b in pairs])
    if np.isnan(V[np.ix_(present, present)]).any():
        every = combinations(sorted({v for pair in pairs for v in pair}), 2)
        lacking = [f"{names[a]} and {names[b]}" for a, b in every if np.isnan(R[a, b])]
        warn(
            f"study {label(key)} lacks the correlation of {listing(lacking, 4)}: covariances that need it are missing",
            AssumptionWarning,
        )
    if rtoz:
        slope = 1 / (1 - np.array([R[a, b] for a, b in pairs]) ** 2)
        V = V * np.outer(slope, slope)
    if not np.isnan(V).any() and np.linalg.eigvalsh(V)[0] <= -SMALLEST:
        raise DataError(
            f"the correlations of study {label(key)} are not those of any data: their matrix is indefinite"
            "\n  check them against the publication"
        )
    return V


_SIZE_OF: dict[str, Callable[[FloatArray], Any]] = {  # a study, whose correlations are of different persons
    "min": np.min,
    "harmonic": lambda x: 1 / np.mean(1 / x),
    "mean": np.mean,
}


def _long(
    frame: pd.DataFrame, ni: Any, ri: str, var1: str, var2: str, study: str | None, nfun: str
) -> tuple[pd.DataFrame, dict[Any, tuple[FloatArray, list[str]]], dict[Any, float]]:
    """A table of correlations, of every study its matrix with names, and its size."""
    r = column(frame, ri, "ri")
    first, second = (
        [label(v) for v in find_column(frame, name, what)] for name, what in ((var1, "var1"), (var2, "var2"))
    )
    if not isinstance(ni, str):
        raise SpecError(f"ni is {shown(ni)}; with long data it must be a column")
    n = column(frame, ni, "ni")
    if (beyond := np.abs(r) >= 1).any():
        raise DataError(
            f"column '{ri}' is not between -1 and 1 in {rows(frame, beyond)}\n  check the column, or drop the rows"
        )
    if (small := ~(n >= FEWEST)).any():
        raise DataError(
            f"column '{ni}' is missing, or less than {FEWEST}, in {rows(frame, small)}\n  fill it in, or drop the rows"
        )
    groups = {1: np.arange(len(frame))} if study is None else rows_by_group(frame, study)
    matrices: dict[Any, tuple[FloatArray, list[str]]] = {}
    sizes, of_row = {}, np.empty(len(frame), dtype=object)
    for key, at in groups.items():
        names = sorted({name for i in at for name in (first[i], second[i])})
        R, seen = np.where(np.eye(len(names), dtype=bool), 1.0, np.nan), set[tuple[int, int]]()
        for i in at:
            a, b = names.index(first[i]), names.index(second[i])
            if a == b or (a, b) in seen:
                what = "a variable with itself" if a == b else "a pair that another row has"
                raise DataError(
                    f"row {frame.index[i]} of study {label(key)} has the correlation of {what}: {first[i]}, {second[i]}"
                    "\n  each pair of two variables stands once in a study; drop the row"
                )
            R[a, b] = R[b, a] = r[i]
            seen |= {(a, b), (b, a)}
        matrices[key], sizes[key] = (R, names), float(_SIZE_OF[nfun](n[at]))
        of_row[at] = [key] * len(at)
    table = pd.DataFrame({"study": of_row, "var1": first, "var2": second, "yi": r})
    return table[[key in groups for key in of_row]], matrices, sizes


def _studies(x: Any, ni: Any) -> tuple[dict[Any, tuple[FloatArray, list[str]]], dict[Any, float]]:
    """Of every study its matrix with names, and its size."""
    several = isinstance(x, Mapping) and not isinstance(x, pd.DataFrame)
    matrices = dict(x) if several else {1: x}
    if not matrices:
        raise SpecError("no correlation matrix is given\n  give one, or {study: matrix}")
    sizes = {}
    for key in matrices:
        size: Any = ni.get(key) if isinstance(ni, Mapping) else ni
        if not is_number(size) or not float(size) >= FEWEST:
            raise DataError(f"ni of study {label(key)} is {shown(size)}; it must be a number of at least {FEWEST}")
        sizes[key] = float(size)
    return {key: _matrix(key, M) for key, M in matrices.items()}, sizes


def _matrix(key: Any, M: Any) -> tuple[FloatArray, list[str]]:
    what = f"the correlation matrix of study {label(key)}"
    names = None
    if isinstance(M, pd.DataFrame):
        check_labels(M.columns, M.index, f"{what}, by columns,", error=SpecError)
        names = [str(name) for name in M.columns]
    values = as_numbers(M, what)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise DataError(f"{what} has shape {values.shape}; it must be square, of two variables or more")
    if not np.allclose(values, values.T, rtol=0, atol=1e-8) or not np.allclose(np.diag(values), 1, rtol=0, atol=1e-8):
        raise DataError(f"{what} is not symmetric with ones on its diagonal\n  give correlations, not covariances")
    if np.linalg.eigvalsh(values)[0] < SMALLEST:
        raise DataError(f"{what} is not positive definite\n  check it against the publication")
    return values, names or [f"x{i + 1}" for i in range(len(values))]


def _of_matrices(x: Any, ni: Any) -> tuple[pd.DataFrame, dict[Any, tuple[FloatArray, list[str]]], dict[Any, float]]:
    studies, sizes = _studies(x, ni)
    records = [
        (key, names[i], names[j], R[i, j])
        for key, (R, names) in studies.items()
        for j in range(len(names))
        for i in range(j)
    ]
    return pd.DataFrame(records, columns=["study", "var1", "var2", "yi"]), studies, sizes
