"""From the first stage of a two-stage analysis to data and S: coefficients and their covariances, one set a place."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_names, is_label, listing, shown
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.arrays import as_numbers
from bayesmeta.io.columns import as_frame, label
from bayesmeta.model.sampling_checks import ASYMMETRY, INDEFINITE

PLACE = "place"
_COEF, _COVARIANCE = ("coef", "coefficients", "params"), ("vcov", "cov", "covariance")
_FORMS = (
    "  give each as (coefficients, covariance matrix), as a mapping with 'coef' and 'vcov', or as a fitted model with "
    "params and cov_params()"
)


def from_first_stage(
    results: Any,
    labels: Sequence[Any] | None = None,
    data: Any = None,
    names: str | Sequence[str] | None = None,
) -> tuple[pd.DataFrame, FloatArray]:
    """Data and S for `bm.specify` from coefficients that were estimated in every place by itself.

    Parameters
    ----------
    results : sequence or mapping
        One entry a place, in a mapping by label. An entry is a pair of coefficients (k,) and their covariance (k, k); a
        mapping with "coef" (or "coefficients") and "vcov" (or "cov"), as R's `crossreduce` returns and
        `rdata.read_rds` reads it; or a fitted model: of statsmodels and linearmodels (`params`, `cov_params()` or
        `cov`), pyfixest (`coef()`; also the object of all models of a call with `split=`) or glum (`coef_`,
        `covariance_matrix_`, which is robust unless its fit was told otherwise). Also a mapping with the coefficients
        of all places as "coef", (n, k), and their matrices as "vcov": a list, an array (n, k, k) or, as R makes it,
        (k, k, n), or a row for each with the lower triangle by columns, as mixmeta takes S. A coefficient that a place
        could not estimate is NaN, and so may be its row and column of the matrix.
    labels : sequence, optional
        Names of the places; by default the keys of `results`, else "1", "2", ...
    data : DataFrame, optional
        Predictors of the places, joined by label: to its index, or to the first column that holds the labels. Where
        neither does and the places have no labels, row by row.
    names : str or sequence of str, optional
        Which coefficients are taken, of models with others beside them: names, in which "*" stands for anything, as in
        "cb*". By default all.

    Returns
    -------
    data : DataFrame
        A row a place: the column "place", the coefficients under their names (those of R or the model; "coef1",
        "coef2", ... where they have none), and the columns of `data`.
    S : array
        (n, k, k) covariances of the coefficients, for `bm.specify(..., S=S)`.

    Raises
    ------
    SpecError
        When `results` is none of the above, names are unknown, or places have different coefficients.
    DataError
        When a matrix does not fit its coefficients, is not symmetric or not positive semi-definite, two places have
        one label, or a place has no row in `data`; the place is named.

    Warns
    -----
    AssumptionWarning
        When rows of `data` belong to no place.

    References
    ----------
    Gasparrini, Armstrong and Kenward (2012), Stat. Med. 31:3821-3839; Gasparrini and Armstrong (2013), BMC Med. Res.
    Methodol. 13:1.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> first = {
    ...     "Athens": ([0.2, 0.5], [[0.01, 0.002], [0.002, 0.02]]),
    ...     "Berlin": ([0.1, 0.3], [[0.02, 0.001], [0.001, 0.03]]),
    ... }
    >>> data, S = bm.from_first_stage(first, data=pd.DataFrame({"mean": [18.5, 9.9]}, index=["Athens", "Berlin"]))
    >>> data
        place  coef1  coef2  mean
    0  Athens    0.2    0.5  18.5
    1  Berlin    0.1    0.3   9.9
    >>> bm.specify("coef1 + coef2 ~ 1", data, S=S).outcomes
    ('coef1', 'coef2')
    """
    known, entries = _entries(results)
    places = _places(known, labels, len(entries))
    read = [_estimate(entry, place) for entry, place in zip(entries, places, strict=True)]
    columns = _columns(read, places, names)
    chosen = [one.of(columns, place) for one, place in zip(read, places, strict=True)]
    for one, place in zip(chosen, places, strict=True):
        _check_covariance(one, place)
    table = pd.DataFrame({PLACE: np.array(places, dtype=object)})
    for j, name in enumerate(columns):
        table[name] = [one.coef[j] for one in chosen]
    S = np.stack([one.V for one in chosen])
    return (table if data is None else _joined(table, data, known is not None or labels is not None)), S


@dataclass(frozen=True, eq=False)
class _Estimate:
    """Coefficients (k,) of one place and their covariance (k, k); names: None where nothing has any."""

    coef: FloatArray
    V: FloatArray
    names: tuple[str, ...] | None

    def of(self, columns: Sequence[str], place: str) -> "_Estimate":
        """The coefficients of these names, in this order."""
        own = self.names or _numbered(len(self.coef))
        at = [own.index(name) for name in columns]
        return _Estimate(self.coef[at], self.V[np.ix_(at, at)], tuple(columns))


def _numbered(k: int) -> tuple[str, ...]:
    return tuple(f"coef{j + 1}" for j in range(k))


def _entries(results: Any) -> tuple[list[str] | None, list[Any]]:
    """Labels, where there are any, and what each place has."""
    if isinstance(results, Mapping):
        table = {str(key): value for key, value in results.items()}
        if (coef := _of(table, _COEF)) is not None and (V := _of(table, _COVARIANCE)) is not None:
            return _of_matrix(coef, V)
        return list(table), list(table.values())
    if callable(getattr(results, "to_list", None)) and hasattr(results, "all_fitted_models"):  # pyfixest
        models = results.to_list()
        samples = [getattr(model, "_sample_split_value", None) for model in models]
        return (None if None in samples else [*map(str, samples)]), models
    if isinstance(results, str) or not isinstance(results, Sequence):
        raise SpecError(f"results is {shown(results)}; it must hold the first stage of every place\n{_FORMS}")
    return None, list(results)


def _of_matrix(coef: Any, V: Any) -> tuple[list[str] | None, list[Any]]:
    """Places from the coefficients of all as one matrix, and their covariances."""
    values, (rows, names) = _values(coef, "the coefficients of all places"), _axes(coef, 2)
    if values.ndim != 2:
        raise SpecError(f"'coef' has shape {values.shape}; it must be (places, coefficients)")
    matrices = list(V.values()) if isinstance(V, Mapping) else _matrices(V, *values.shape)
    if len(matrices) != len(values):
        raise DataError(
            f"'coef' has {len(values)} places, 'vcov' {len(matrices)} matrices"
            "\n  give one matrix for each place, in their order"
        )
    of_vcov = list(map(str, V)) if isinstance(V, Mapping) else None
    if rows is not None and of_vcov is not None and rows != of_vcov:
        raise DataError(
            f"the places of 'coef' are {listing(rows)}, those of 'vcov' {listing(of_vcov)}"
            "\n  both must name the same places in the same order"
        )
    entries: list[Any] = [
        (row if names is None else pd.Series(row, index=names), one) for row, one in zip(values, matrices, strict=True)
    ]
    return rows or of_vcov, entries


def _matrices(V: Any, n: int, k: int) -> list[Any]:
    """Covariances of n places and k coefficients: one after the other, along the last axis as R's `simplify2array` has
    them, or their lower triangles by columns, a row a place, as those of mixmeta and mvmeta."""
    if isinstance(V, list | tuple):
        return list(V)
    raw, shape = _values(V, "the covariances of all places"), np.shape(V)
    if shape == (n, k * (k + 1) // 2) and k > 1:
        row, col = np.triu_indices(k)
        full = np.empty((n, k, k))
        full[:, row, col] = full[:, col, row] = raw
        return list(full)
    last = shape == (k, k, n) and (n != k or _asymmetry(raw, 1, 2) > _asymmetry(raw, 0, 1))
    return list(np.moveaxis(raw, -1, 0)) if last else list(V)


def _asymmetry(raw: FloatArray, first: int, second: int) -> float:
    """Largest difference of entries that would be equal if these axes were those of symmetric matrices."""
    return float(np.nanmax(np.abs(raw - raw.swapaxes(first, second)), initial=0.0))


def _of(table: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((table[key] for key in keys if key in table), None)


def _places(known: list[str] | None, labels: Any, n: int) -> list[str]:
    if not n:
        raise SpecError("results is empty; it must hold the first stage of every place")
    if labels is None:
        places = known or [str(i + 1) for i in range(n)]
    else:
        listed = isinstance(labels, Sequence | np.ndarray | pd.Series | pd.Index) and not isinstance(
            labels, str | bytes
        )
        if not listed or getattr(labels, "ndim", 1) != 1 or not all(map(is_label, labels)):
            raise SpecError(f"labels is {shown(labels)}; it must be a list of names")
        if nameless := [i for i, one in enumerate(labels) if one is None or one != one or not label(one).strip()]:
            missing = list(labels)[nameless[0]]
            raise DataError(
                f"labels has no name for place {nameless[0] + 1}, but {shown(missing)}\n  give every place a name"
            )
        places = [label(one) for one in labels]
        if len(places) != n:
            raise SpecError(f"labels has {len(places)} entries, results {n}\n  give one label for each result")
        if known is not None and known != places:
            raise SpecError(f"results has labels of its own, {listing(known)}\n  leave labels= out")
    if twice := [place for place, count in Counter(places).items() if count > 1]:
        raise DataError(
            f"two places are called {twice[0]!r}; every place has a label of its own"
            "\n  rename one of them, or leave one out"
        )
    return places


def _estimate(entry: Any, place: str) -> _Estimate:
    where = f"place {place!r}"
    coef, V = _parts(entry, where)
    values, matrix = _values(coef, f"the coefficients of {where}"), _values(V, f"the covariance of {where}")
    if values.ndim == 0:
        values = values[None]
    if matrix.ndim == 0:
        matrix = matrix[None, None]
    k = values.size
    if values.ndim != 1 or not k:
        raise DataError(f"the coefficients of {where} have shape {values.shape}; they must be a list of numbers")
    if matrix.shape != (k, k):
        raise DataError(f"{where} has {k} coefficients, and a covariance of shape {matrix.shape}; it must be {(k, k)}")
    (own,), (rows, columns) = _axes(coef, 1), _axes(V, 2)
    for names in filter(None, (rows, columns)):
        if own is not None and names != own:
            raise DataError(
                f"the coefficients of {where} are {listing(own)}, their covariance is of {listing(names)}\n"
                "  put them in one order"
            )
    known = own or rows or columns
    return _Estimate(values, matrix, None if known is None else tuple(known))


def _parts(entry: Any, where: str) -> tuple[Any, Any]:
    """Coefficients and covariance, from any of the forms that there are."""
    if isinstance(entry, Mapping):
        table = {str(key): value for key, value in entry.items()}
        coef, V = _of(table, _COEF), _of(table, _COVARIANCE)
        if coef is not None and V is not None:
            return coef, V
    elif isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 2:
        return entry[0], entry[1]
    elif (parts := _of_fitted(entry, where)) is not None:
        return parts
    if hasattr(entry, "coef_"):
        raise SpecError(
            f"{where} is a {type(entry).__name__} without the covariance of its coefficients\n"
            "  glum keeps it by fit(..., store_covariance_matrix=True)"
        )
    raise SpecError(f"{where} is {shown(entry)}, of which no coefficients and covariance can be read\n{_FORMS}")


def _of_fitted(fitted: Any, where: str) -> tuple[Any, Any] | None:
    """`_of_model`, with the place in whatever its package says against it."""
    try:
        return next(_of_model(fitted), None)
    except Exception as error:  # of any kind, by the package
        raise DataError(
            f"{where} is a {type(fitted).__name__} that gives no coefficients and covariance: "
            f"{type(error).__name__}: {error}\n  fit it again, or leave the place out"
        ) from None


def _of_model(fitted: Any) -> Iterator[tuple[Any, Any]]:
    """Coefficients and covariance of a fitted model of the packages that people use for a first stage."""
    if hasattr(fitted, "params") and callable(getattr(fitted, "cov_params", None)):  # statsmodels
        names = getattr(getattr(fitted, "model", None), "exog_names", None)
        params = fitted.params
        bare = names is not None and not hasattr(params, "index") and len(names) == len(params)
        yield (pd.Series(params, index=names) if bare else params), fitted.cov_params()
    if hasattr(fitted, "params") and hasattr(fitted, "cov"):  # linearmodels
        yield fitted.params, fitted.cov
    if callable(getattr(fitted, "coef", None)) and hasattr(fitted, "_vcov"):  # pyfixest, which has no other name for it
        yield fitted.coef(), fitted._vcov
    if hasattr(fitted, "coef_") and getattr(fitted, "covariance_matrix_", None) is not None:  # glum
        coef, names = np.atleast_1d(fitted.coef_), [str(name) for name in getattr(fitted, "feature_names_", ())]
        extra = len(fitted.covariance_matrix_) - len(coef)
        if len(names) != len(coef):
            names = list(_numbered(len(coef)))
        if extra:
            coef, names = np.r_[fitted.intercept_, coef], ["Intercept", *names]
        yield pd.Series(coef, index=names), fitted.covariance_matrix_


def _values(part: Any, what: str) -> FloatArray:
    raw = part.to_numpy() if hasattr(part, "to_numpy") else part
    return as_numbers(raw, what, DataError)


def _axes(part: Any, ndim: int) -> list[list[str] | None]:
    """Names along each axis of a pandas or xarray object; None where there are none, or only positions."""
    if isinstance(part, pd.Series):
        indexes: list[Any] = [part.index]
    elif isinstance(part, pd.DataFrame):
        indexes = [part.index, part.columns]
    elif hasattr(part, "coords") and hasattr(part, "dims"):
        indexes = [part.coords[dim].to_index() if dim in part.coords else None for dim in part.dims]
    else:
        indexes = []
    axes = [None if axis is None or isinstance(axis, pd.RangeIndex) else [*map(str, axis)] for axis in indexes]
    return axes if len(axes) == ndim else [None] * ndim


def _columns(read: Sequence[_Estimate], places: Sequence[str], names: Any) -> list[str]:
    """The coefficients to take: those of the first place, which all others have as well."""
    first = list(read[0].names or _numbered(len(read[0].coef)))
    if names is None:
        wished = first
    else:
        patterns = check_names(names, "names")
        wished = [name for pattern in patterns for name in first if fnmatchcase(name, pattern)]
        unknown = [p for p in patterns if not any(fnmatchcase(name, p) for name in first)]
        if unknown:
            raise SpecError(f"names: no coefficient {unknown[0]!r}\n  coefficients: {listing(first, 20)}")
        wished = list(dict.fromkeys(wished))
    if PLACE in wished:
        raise SpecError(f"a coefficient is called '{PLACE}', as the column of labels is; rename it")
    for one, place in zip(read, places, strict=True):
        own = list(one.names or _numbered(len(one.coef)))
        missing = [name for name in wished if name not in own]
        if missing or (names is None and len(own) != len(wished)):
            raise SpecError(
                f"place {place!r} has the coefficients {listing(own)}; place {places[0]!r} has {listing(wished)}\n"
                "  every place needs the same; one that it could not estimate is NaN"
            )
        if len(set(own)) < len(own):
            raise SpecError(f"place {place!r} has two coefficients of one name: {listing(own)}\n  rename one")
    return wished


def _check_covariance(one: _Estimate, place: str) -> None:
    """Symmetric, positive semi-definite, and there where the coefficients are."""
    there = np.isfinite(one.coef)
    if np.isinf(one.coef).any():
        raise DataError(
            f"a coefficient of place {place!r} is infinite; NaN stands for one that was not estimated"
            "\n  put NaN there, and in its row and column of the covariance"
        )
    V = one.V[np.ix_(there, there)]
    if not np.isfinite(V).all():
        raise DataError(
            f"the covariance of place {place!r} has missing entries where its coefficients have values"
            "\n  fill these in, or set the coefficients to NaN"
        )
    sd = np.sqrt(np.abs(np.diag(V)))
    if (np.diag(V) <= 0).any():
        raise DataError(f"a sampling variance of place {place!r} is {np.diag(V).min():.4g}; it must be positive")
    if (np.abs(V - V.T) > ASYMMETRY * np.outer(sd, sd)).any():
        raise DataError(
            f"the covariance of place {place!r} is not symmetric\n  entries (i, j) and (j, i) must be the same"
        )
    if there.any():
        least = float(np.linalg.eigvalsh(V / np.outer(sd, sd)).min())
        if least < -INDEFINITE * len(V):
            raise DataError(
                f"the covariance of place {place!r} is not positive semi-definite: its smallest eigenvalue on the "
                f"correlation scale is {least:.3g}\n  bm.within.nearest gives the nearest matrix that is, if rounding "
                "did it"
            )


def _joined(table: pd.DataFrame, data: Any, labelled: bool) -> pd.DataFrame:
    """The table with the columns of `data`, by label."""
    frame = as_frame(data, "data")
    if unnamed := [name for name in frame.columns if not isinstance(name, str)]:
        raise DataError(f"data has a column without a name, {shown(unnamed[0])}; it must be a data frame with names")
    doubled = [name for name in frame.columns if name in table.columns and name != PLACE]
    if doubled:
        raise SpecError(f"data has a column '{doubled[0]}', which is also a coefficient; rename one")
    places = list(table[PLACE])
    keys = _keys(frame, set(places))
    if keys is None:
        if labelled or len(frame) != len(table):
            raise DataError(
                f"neither the index nor a column of data holds the labels of the places: {listing(places)}\n"
                "  give data with the labels as its index"
            )
        return pd.concat([table, frame.drop(columns=PLACE, errors="ignore").reset_index(drop=True)], axis=1)
    if twice := [key for key, count in Counter(keys).items() if count > 1 and key in set(places)]:
        raise DataError(f"data has two rows for place {twice[0]!r}\n  leave one of them out")
    at = {key: i for i, key in enumerate(keys)}
    if missing := [place for place in places if place not in at]:
        raise DataError(
            f"data has no row for place {missing[0]!r} ({len(missing)} of {len(places)} places have none)"
            "\n  add the rows, or leave these places out of the results"
        )
    if unused := [key for key in keys if key not in set(places)]:
        warn(f"{len(unused)} rows of data belong to no place: {listing(unused)}", AssumptionWarning)
    ordered = frame.iloc[[at[place] for place in places]].drop(columns=PLACE, errors="ignore").reset_index(drop=True)
    return pd.concat([table, ordered], axis=1)


def _keys(frame: pd.DataFrame, places: set[str]) -> list[str] | None:
    """The labels of the rows of data: its index, or the first column that holds most of the places."""
    choices = [] if isinstance(frame.index, pd.RangeIndex) else [[label(one) for one in frame.index]]
    choices += [[label(one) for one in frame[name]] for name in frame.columns]
    return next((keys for keys in choices if 2 * len(places & set(keys)) > len(places)), None)


def decorrelated(columns: FloatArray, S: Iterable[FloatArray]) -> FloatArray:
    """(n, q) C^-1 times columns (n, q) with S = C C', C lower triangular, of blocks whose rows follow each other."""
    from scipy.linalg import solve_triangular  # heavy, and most models need none of it

    white, end = np.empty_like(columns), 0
    for block in S:
        at, end = slice(end, end + len(block)), end + len(block)
        white[at] = solve_triangular(np.linalg.cholesky(block), columns[at], lower=True)
    return white


class Described(NamedTuple):
    """How one set of coefficients describes effects with known covariances; effects and residuals decorrelated (n,)."""

    beta: FloatArray
    effects: FloatArray
    residuals: FloatArray

    @classmethod
    def by(cls, X: FloatArray, y: FloatArray, S: Iterable[FloatArray]) -> "Described":
        """By generalised least squares, with blocks of S whose rows follow each other."""
        white = decorrelated(np.column_stack([X, y]), S)
        beta = np.linalg.lstsq(white[:, :-1], white[:, -1])[0]
        return cls(beta, white[:, -1], white[:, -1] - white[:, :-1] @ beta)

    def statistics(self) -> dict[str, float]:
        """Deviance, the chi-squared test that these coefficients are enough, and shares of the sum of squares."""
        n, df = len(self.effects), len(self.effects) - len(self.beta)
        deviance = float(self.residuals @ self.residuals)
        r_squared = 1 - deviance / float(self.effects @ self.effects)
        return {
            "deviance": deviance,
            "df": float(df),
            "pvalue": float(chdtrc(df, deviance)) if df else np.nan,
            "r_squared": r_squared,
            "r_squared_adjusted": 1 - n / df * (1 - r_squared) if df else np.nan,
        }


def curves_of_groups(
    X: FloatArray, y: FloatArray, S: Mapping[Any, FloatArray], group: str, parts: tuple[str, str], remedy: str
) -> tuple[FloatArray, FloatArray]:
    """(m, k) coefficients of every group by itself, and their covariances; the rows of a group follow each other.

    S : of every group by label.  parts : what one row is, and several are; remedy : what helps, in words.
    """
    b, V, size, end = [], [], np.maximum(np.abs(X).max(0), 1e-300), 0
    for name, block in S.items():
        at, end = slice(end, end + len(block)), end + len(block)
        if np.linalg.matrix_rank(X[at] / size) < X.shape[1]:
            raise DataError(
                f"{group} {label(name)} has {len(block)} {parts[len(block) > 1]}, too few or too close for the "
                f"{X.shape[1]} columns of the basis\n  {remedy}"
            )
        coefficients, covariance = least_squares(X[at], y[at], block)
        b.append(coefficients)
        V.append(covariance)
    return np.array(b), np.array(V)


def least_squares(X: FloatArray, y: FloatArray, S: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients (k,) of one place by generalised least squares, and their covariance, for X (n, k) of full rank.

    >>> least_squares(np.eye(2), np.array([1.0, 2.0]), np.array([[1.0, 0.5], [0.5, 1.0]]))
    (array([1., 2.]), array([[1. , 0.5],
           [0.5, 1. ]]))
    """
    white = decorrelated(np.column_stack([X, y]), [S])
    Q, R = np.linalg.qr(white[:, :-1])
    root = np.linalg.inv(R)
    return root @ (Q.T @ white[:, -1]), root @ root.T
