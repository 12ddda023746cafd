"""Curves of an exposure from pooled coefficients: their minimum, and the cases that are attributable to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import (
    check_choice,
    check_count,
    check_is,
    check_probability,
    check_seed,
    check_size,
    is_number,
    shown,
)
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.inference.basis_columns import BasisColumns
from bayesmeta.inference.prediction_rows import JOINT, quantile
from bayesmeta.io.arrays import as_numbers

AT, MINIMUM, COVARIANCE = "at", "min", "covariance"
DRAWS = 1000
INDEPENDENT = (
    "errors of different rows are drawn independently: the interval of all leaves out what rows share\n"
    '  bm.blup(tree, covariance="joint"), or bm.predict, has it'
)
Basis = Callable[[FloatArray], ArrayLike]
BasisLike = Basis | ArrayLike


def curve(
    coefficients: xr.Dataset,
    basis: BasisLike,
    at: ArrayLike,
    reference: float | Literal["min"] = "min",
    prob: float = 0.95,
    within: tuple[float, float] | None = None,
    scale: Literal["model", "ratio"] = "model",
    draws: int = DRAWS,
    random_seed: int | Sequence[int] | None = None,
    weights: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Exposure-response curves from coefficients that were pooled in a second stage.

    Parameters
    ----------
    coefficients : Dataset
        Of `bm.predict(tree, ..., covariance=True)`, the mean curve at the predictors of each of its rows, or of
        `bm.blup(tree, covariance=True)`, the curve of every place. Its outcomes are the coefficients theta.
    basis : callable or array
        The basis of the first stage, columns in the order of the outcomes: `bm.basis(formula, data)`, another function
        of values (n,) that returns (n, k), or the array (len(at), k) itself, which needs `reference` to be in `at`.
    at : array
        (n,) values of the exposure, in its unit, at which the curves are wanted; for the minimum a fine grid.
    reference : float or "min", default "min"
        Value of the exposure against which a curve is read, where it is zero; "min", that where the curve is least.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    within : pair of float, optional
        Range in which the minimum is looked for, such as the 1st and 99th percentile of the exposure; by default that
        of `at`.
    scale : {"model", "ratio"}, default "model"
        "ratio", the exponentials: relative risks of coefficients of a log-linear model.
    draws : int, default 1000
        Draws of the coefficients from which the interval of the minimum is taken.
    random_seed : int or sequence of int, optional
        Of these draws: whatever `numpy.random.SeedSequence` takes.
    weights : mapping, optional
        Of every row by its label or name, such as populations: the curve of the weighted mean of the rows is then the
        only one, in the row "all". Needs the joint covariance of the rows, `bm.blup(tree, covariance="joint")`.

    Returns
    -------
    Dataset
        Over (row, at): `mean`, `se`, `lower`, `upper`; without `se` on the scale of ratios. Over row: `reference`, the
        value that a curve is read against; `minimum`, the value of `at` where it is least, and `minimum_lower`,
        `minimum_upper`, quantiles of that value over draws of the coefficients. A row with a missing coefficient is
        NaN.

    Raises
    ------
    SpecError
        When an argument is not as above, or the coefficients have no covariances.
    DataError
        When the basis has another number of columns than there are outcomes, or is not finite.

    Notes
    -----
    A curve is (b(x) - b(x0))'theta with the variance (b(x) - b(x0))'V(b(x) - b(x0)), exact where the errors of theta
    are normal; intervals take normal quantiles. They hold for each value of x by itself and, where the reference is the
    estimated minimum, take that as known, as is usual.

    References
    ----------
    Gasparrini and Armstrong (2013), BMC Med. Res. Methodol. 13:1; Tobias, Armstrong and Gasparrini (2017), Epidemiology
    28:72-76, for the minimum.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> first = {place: ([b, 0.4], [[0.02, 0], [0, 0.01]]) for place, b in zip("abcd", (-0.3, -0.1, -0.2, -0.5))}
    >>> data, S = bm.from_first_stage(first)
    >>> pooled = bm.predict(bm.fit(bm.specify("coef1 + coef2 ~ 1", data, S=S)), {}, covariance=True)
    >>> bm.curve(pooled, lambda x: np.stack([x, x**2], 1), [-1, 0, 1, 2], reference=0)["mean"][0].round(3).values
    array([0.675, 0.   , 0.125, 1.05 ])
    """
    grid = _values(at, "at")
    prob, n = check_probability(prob), _number_of_draws(draws, coefficients)
    check_choice(scale, ("model", "ratio"), "scale")
    rng = np.random.default_rng(check_seed(random_seed))
    of = _Coefficients.of(coefficients)
    if weights is not None:
        of = of.averaged(weights)
    columns = BasisColumns.of(basis, len(of.outcomes), grid)
    inside = _inside(grid, within)
    lowest = _Minimum.of(of, columns.on_grid, grid, inside, prob, n, rng)
    zero = (
        lowest.value
        if isinstance(reference, str) and reference == MINIMUM
        else np.full(len(of.mean), _number(reference, "reference"))
    )
    b = columns.on_grid[None] - columns.at_each(zero)[:, None]  # (rows, at, k)
    mean = np.einsum("rak,rk->ra", b, of.mean)
    se = np.sqrt(np.maximum(np.einsum("rak,rkl,ral->ra", b, of.V, b), 0.0))
    half = quantile(prob) * se
    statistics = {"mean": mean, "se": se, "lower": mean - half, "upper": mean + half}
    if scale == "ratio":
        statistics = {name: np.exp(values) for name, values in statistics.items() if name != "se"}
    variables: dict[str, Any] = {name: ((schema.ROW, AT), values) for name, values in statistics.items()}
    variables |= {
        "reference": (schema.ROW, zero),
        "minimum": (schema.ROW, lowest.value),
        "minimum_lower": (schema.ROW, lowest.lower),
        "minimum_upper": (schema.ROW, lowest.upper),
    }
    return xr.Dataset(variables, {**of.rows, AT: grid}, {"prob": prob, "scale": scale, "draws": n})


def attributable(
    coefficients: xr.Dataset,
    basis: Basis | Mapping[str, Basis],
    exposure: Mapping[str, ArrayLike] | ArrayLike,
    cases: Mapping[str, ArrayLike] | ArrayLike,
    reference: float | Mapping[str, float] | xr.DataArray,
    between: tuple[float, float] | Mapping[str, tuple[float, float]] | Literal["below", "above"] | None = None,
    prob: float = 0.95,
    draws: int = DRAWS,
    random_seed: int | Sequence[int] | None = None,
) -> xr.Dataset:
    """Fraction and number of cases that are attributable to an exposure, by place and in all.

    Parameters
    ----------
    coefficients : Dataset
        As `bm.curve` takes it, of a log-linear model.
    basis : callable, or mapping of callables
        The basis of the first stage: `bm.basis(formula, data)`, or another function from values (n,) to (n, k); where
        places have knots of their own, such as percentiles of their temperatures, the basis of every row by its label
        or name.
    exposure, cases : mapping of arrays, or array
        Of every row, by its label or its name, the series of the exposure and of the cases at the same times; arrays
        where there is one row. Pairs in which either is missing are left out.
    reference : float, mapping, or DataArray
        Value of the exposure that would cause no cases: one, one for each row, or `bm.curve(...)["reference"]`.
    between : pair of float, mapping of pairs, "below" or "above", optional
        Cases are attributed to values in this range alone, of all rows or of each; "below" and "above" mean the
        reference of each row: cold and heat. By default all values.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    draws : int, default 1000
        Draws of the coefficients for the intervals.
    random_seed : int or sequence of int, optional
        Of these draws: whatever `numpy.random.SeedSequence` takes.

    Returns
    -------
    Dataset
        Over row, with "all" as the last where there are several: `number`, `fraction` (of all cases), each with
        `_lower` and `_upper`, quantiles over draws, and `cases`. The errors of different rows are drawn jointly where
        `coefficients` have their covariances, `bm.blup(tree, covariance="joint")`, else independently.

    Raises
    ------
    SpecError, DataError
        When an argument is not as above, a row has no series, or its series differ in length; cases below zero.

    Warns
    -----
    AssumptionWarning
        When the errors of several rows are drawn independently, so that the interval of their sum leaves out what they
        share.

    Notes
    -----
    The number is the sum over times of cases n_t (1 - exp(-(b(x_t) - b(x0))'theta)), with the cases of the same time.
    Of a curve that is cumulated over lags, n_t is the mean of the cases over the lags that follow t ("forward").

    References
    ----------
    Gasparrini and Leone (2014), BMC Med. Res. Methodol. 14:55.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> data, S = bm.from_first_stage({"a": (0.1, 0.001), "b": (0.3, 0.002), "c": (0.2, 0.001)})
    >>> pooled = bm.predict(bm.fit(bm.specify("coef1 ~ 1", data, S=S)), {}, covariance=True)
    >>> cases = bm.attributable(pooled, lambda x: x[:, None], [0, 1, 2], [10, 10, 10], reference=0, random_seed=1)
    >>> cases["fraction"].round(3).item()
    0.168
    """
    prob, n = check_probability(prob), _number_of_draws(draws, coefficients)
    seeds = np.random.SeedSequence(check_seed(random_seed))
    of = _Coefficients.of(coefficients)
    columns = _columns_by_row(basis, of)
    x, weight = of.by_row(exposure, "exposure"), of.by_row(cases, "cases")
    zero = [
        _number(value, f"reference of row {label!r}")
        for value, label in zip(of.by_row(reference, "reference"), of.labels, strict=True)
    ]
    ranges = _ranges(between, of, zero)
    numbers, totals = np.empty((len(of.mean), n + 1)), np.empty(len(of.mean))
    for r, theta in enumerate(of.drawn_rows(n, seeds)):
        values, counts = _series(x[r], weight[r], of.labels[r])
        inside = (values >= ranges[r][0]) & (values <= ranges[r][1])
        b = columns[r].at_each(np.append(values[inside], zero[r]))
        with np.errstate(over="ignore", invalid="ignore"):  # which is refused
            numbers[r], totals[r] = _summed(b[:-1] - b[-1], theta, counts[inside]), counts.sum()
        if not np.isfinite(numbers[r]).all():
            raise DataError(
                f"row {of.labels[r]!r}: against reference {zero[r]:g} the relative risk at some exposures is beyond "
                "all numbers\n  take a reference among the exposures, or coefficients without such large errors"
            )
    rows = dict(of.rows)
    if len(numbers) > 1:
        if of.joint is None:
            warn(INDEPENDENT, AssumptionWarning)
        numbers, totals = np.vstack([numbers, numbers.sum(0)]), np.append(totals, totals.sum())
        rows = {schema.ROW: [*of.labels, "all"]}
    variables: dict[str, Any] = {"cases": (schema.ROW, totals)}
    for name, each in (("number", numbers), ("fraction", numbers / totals[:, None])):
        ends = np.quantile(each[:, 1:], [0.5 - prob / 2, 0.5 + prob / 2], axis=1)
        variables |= {name: (schema.ROW, each[:, 0])}
        variables |= {f"{name}_{end}": (schema.ROW, value) for end, value in zip(("lower", "upper"), ends, strict=True)}
    return xr.Dataset(variables, rows, {"prob": prob, "draws": n})


@dataclass(frozen=True, eq=False)
class _Coefficients:
    """Coefficients (rows, k) and their covariances (rows, k, k), of rows with labels, and perhaps names.

    joint : (rows k, rows k) covariances of all of them; None where they are not known.
    """

    mean: FloatArray
    V: FloatArray
    labels: tuple[str, ...]
    outcomes: tuple[str, ...]
    rows: Mapping[str, Any]
    joint: FloatArray | None

    @classmethod
    def of(cls, coefficients: object) -> "_Coefficients":
        check_is(coefficients, xr.Dataset, "coefficients", "what bm.predict or bm.blup returns with covariance=True")
        table: Any = coefficients
        if "mean" not in table or COVARIANCE not in table or schema.ROW not in table["mean"].dims:
            raise SpecError(
                "coefficients has no covariances; write bm.predict(tree, {}, covariance=True), or "
                "bm.blup(tree, covariance=True) for the curves of the places"
            )
        rows = {schema.ROW: table[schema.ROW].to_numpy()}
        if schema.NAME in table.coords:
            rows[schema.NAME] = (schema.ROW, table[schema.NAME].to_numpy())
        mean = table["mean"].transpose(schema.ROW, schema.OUTCOME)
        V = table[COVARIANCE].transpose(schema.ROW, schema.OUTCOME, schema.bis(schema.OUTCOME)).to_numpy()
        labels = tuple(map(str, rows[schema.ROW]))
        joint = None
        if JOINT in table:
            dims = (schema.ROW, schema.OUTCOME, schema.bis(schema.ROW), schema.bis(schema.OUTCOME))
            joint = table[JOINT].transpose(*dims).to_numpy().reshape(mean.size, -1)
            if joint.shape != (mean.size, mean.size):
                raise SpecError(
                    f"coefficients are of {len(labels)} rows, their joint covariance is of others\n"
                    "  take rows of both: coefficients.isel(row=rows, row_bis=rows)"
                )
        outcomes = tuple(map(str, mean[schema.OUTCOME].to_numpy()))
        return cls(mean.to_numpy(), V, labels, outcomes, rows, joint)

    def averaged(self, weights: Any) -> "_Coefficients":
        """The weighted mean of the rows, as one row."""
        if self.joint is None:
            raise SpecError('weights need the covariance of the rows\n  bm.blup(tree, covariance="joint") has it')
        if not isinstance(weights, Mapping):
            raise SpecError(f"weights is {shown(weights)}; it must be a mapping from the labels of the rows to numbers")
        w = np.array(
            [
                _number(value, f"weight of row {r!r}")
                for r, value in zip(self.labels, self.by_row(weights, "weights"), strict=True)
            ]
        )
        if (w < 0).any() or not w.sum() > 0:
            raise SpecError("weights must be 0 or more, and not all 0")
        used, k = w > 0, len(self.outcomes)
        share = np.kron((w / w.sum())[used], np.eye(k))
        at = np.repeat(used, k)
        V = share @ self.joint[np.ix_(at, at)] @ share.T
        mean = share @ self.mean[used].ravel()
        return _Coefficients(mean[None], V[None], ("all",), self.outcomes, {schema.ROW: ["all"]}, V)

    def drawn_rows(self, n: int, seeds: np.random.SeedSequence) -> Iterator[FloatArray]:
        """Of every row (n + 1, k) its coefficients and draws: jointly where covariances between rows are known."""
        if self.joint is None:
            for row, seed in enumerate(seeds.spawn(len(self.mean))):
                yield self.drawn(row, n, np.random.default_rng(seed))
            return
        theta = np.full((n + 1, self.mean.size), np.nan)
        known = np.isfinite(self.mean).all(1).repeat(len(self.outcomes))
        z = np.random.default_rng(seeds).standard_normal((n, int(known.sum())))
        theta[0], theta[1:, known] = (
            self.mean.ravel(),
            self.mean.ravel()[known] + z @ _root(self.joint[np.ix_(known, known)]),
        )
        yield from theta.reshape(n + 1, *self.mean.shape).transpose(1, 0, 2)

    def drawn(self, row: int, n: int, rng: np.random.Generator) -> FloatArray:
        """(n + 1, k) the coefficients themselves, and draws from their normal distribution."""
        if np.isnan(self.mean[row]).any():
            return np.full((n + 1, len(self.outcomes)), np.nan)
        values, vectors = np.linalg.eigh(self.V[row])
        z = rng.standard_normal((n, len(values))) * np.sqrt(np.maximum(values, 0.0))
        return np.vstack([self.mean[row], self.mean[row] + z @ vectors.T])

    def by_row(self, written: Any, what: str) -> list[Any]:
        """What is written for every row, in their order: by label or name, or the same for the only one."""
        if isinstance(written, xr.DataArray) and written.dims == (schema.ROW,):
            written = dict(zip(map(str, written[schema.ROW].to_numpy()), written.to_numpy(), strict=True))
        if not isinstance(written, Mapping):
            if len(self.labels) > 1 and not is_number(written):
                raise SpecError(f"{what} must be a mapping from the labels of the {len(self.labels)} rows")
            return [written] * len(self.labels)
        table = {str(key): value for key, value in written.items()}
        names = self.rows[schema.NAME][1] if schema.NAME in self.rows else self.labels
        chosen = []
        for label, name in zip(self.labels, map(str, names), strict=True):
            key = label if label in table else name
            if key not in table:
                raise DataError(
                    f"{what} has nothing for row {label!r}{f' ({name!r})' if name != label else ''}"
                    "\n  it must hold an entry for every row, under its label"
                )
            chosen.append(table[key])
        return chosen


@dataclass(frozen=True, eq=False)
class _Minimum:
    """Where curves are least, (rows,), with an interval for each."""

    value: FloatArray
    lower: FloatArray
    upper: FloatArray

    @classmethod
    def of(
        cls,
        of: _Coefficients,
        columns: FloatArray,
        grid: FloatArray,
        inside: np.ndarray,
        prob: float,
        n: int,
        rng: np.random.Generator,
    ) -> "_Minimum":
        ends = np.full((3, len(of.mean)), np.nan)
        for r in np.flatnonzero(~np.isnan(of.mean).any(axis=1)):
            lowest = grid[inside][np.argmin(of.drawn(int(r), n, rng) @ columns[inside].T, axis=1)]
            ends[:, r] = lowest[0], *np.quantile(lowest[1:], [0.5 - prob / 2, 0.5 + prob / 2])
        return cls(*ends)


def _columns_by_row(basis: Any, of: _Coefficients) -> list[BasisColumns]:
    bases = of.by_row(basis, "basis") if isinstance(basis, Mapping) else [basis] * len(of.labels)
    if not all(map(callable, bases)):
        raise SpecError("basis must be a function of exposures, as bm.basis(formula, data) is; an array fits one grid")
    return [BasisColumns.of(each, len(of.outcomes), np.zeros(0)) for each in bases]


def _ranges(between: Any, of: _Coefficients, zero: list[float]) -> list[tuple[float, float]]:
    """Of every row the (lowest, highest) value to which cases are attributed."""
    if between is None:
        return [(-np.inf, np.inf)] * len(zero)
    if isinstance(between, str):
        check_choice(between, ("below", "above"), "between")
        return [(-np.inf, origin) if between == "below" else (origin, np.inf) for origin in zero]
    if isinstance(between, Mapping):
        pairs = zip(of.by_row(between, "between"), of.labels, strict=True)
        return [_range(pair, f"between of row {label!r}") for pair, label in pairs]
    return [_range(between, "between")] * len(zero)


def _root(V: FloatArray) -> FloatArray:
    """R with R'R = V, positive semi-definite."""
    try:
        return np.asarray(np.linalg.cholesky(V).T)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(V)
        return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def _number_of_draws(draws: Any, coefficients: Any) -> int:
    n = check_count(draws, "draws")
    rows = coefficients.sizes.get(schema.ROW, 1) if isinstance(coefficients, xr.Dataset) else 1
    check_size(16.0 * n * rows, f"{n:,} draws")
    return n


def _summed(b: FloatArray, theta: FloatArray, cases: FloatArray) -> FloatArray:
    """(draws,) attributable cases of every draw; a step at a time, since draws by days may not fit in memory."""
    step = max(1, 4_000_000 // max(len(cases), 1))
    parts = [cases @ -np.expm1(-(b @ theta[at : at + step].T)) for at in range(0, len(theta), step)]
    return np.concatenate(parts)


def _series(x: Any, cases: Any, label: str) -> tuple[FloatArray, FloatArray]:
    values, counts = (
        np.atleast_1d(as_numbers(each, f"{what} of row {label!r}", DataError))
        for each, what in ((x, "exposure"), (cases, "cases"))
    )
    if values.ndim != 1 or values.shape != counts.shape:
        raise DataError(f"row {label!r} has {values.shape} exposures and {counts.shape} cases; they must be as many")
    both = np.isfinite(values) & np.isfinite(counts)
    if not both.any() or (counts[both] < 0).any() or not counts[both].sum() > 0:
        raise DataError(f"the cases of row {label!r} must be numbers of 0 or more, and not all 0")
    return values[both], counts[both]


def _values(at: ArrayLike, what: str) -> FloatArray:
    values = np.atleast_1d(as_numbers(at.to_numpy() if isinstance(at, pd.Series) else at, what, DataError))
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise SpecError(f"{what} is {shown(at)}; it must be a list of finite numbers")
    return values


def _number(value: Any, what: str) -> float:
    if not is_number(value) or not np.isfinite(value):
        raise SpecError(
            f"{what} is {shown(value)}; it must be a finite number" + (", or 'min'" if what == "reference" else "")
        )
    return float(value)


def _range(ends: Any, what: str) -> tuple[float, float]:
    pair = as_numbers(list(ends) if isinstance(ends, tuple) else ends, what, SpecError)
    if pair.shape != (2,) or np.isnan(pair).any() or pair[0] > pair[1]:
        raise SpecError(f"{what} is {shown(ends)}; it must be (lowest, highest)")
    return float(pair[0]), float(pair[1])


def _inside(grid: FloatArray, within: Any) -> np.ndarray:
    """Which values of the grid the minimum may be."""
    if within is None:
        return np.ones(len(grid), bool)
    low, high = _range(within, "within")
    inside = (grid >= low) & (grid <= high)
    if not inside.any():
        raise SpecError(
            f"within: no value of at lies between {low:g} and {high:g}\n  widen within=, or give more values at="
        )
    return inside
