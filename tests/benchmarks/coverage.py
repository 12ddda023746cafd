"""Coverage of intervals, and size of tests, of coefficients in small samples: `python -m tests.benchmarks.coverage`.

A declared study: m studies (or groups), a variance between them of zero, of the size of the sampling variances, or four
times that, sampling variances equal or very unequal (log-normal, SD 1), for one outcome, two correlated outcomes, and
two rows within each group. Of every data set the mean, or the first of two means, is bracketed at 95% by every method.

With `--tests`: groups of three rows with predictors of groups that have no effects (one normal, one that three in ten
groups have, and with three of them another normal one), drawn anew for every hundred data sets; shares of data sets in
which the test that the first, or that all, have no effect rejects at 5%.
"""

import argparse
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

import bayesmeta as bm
from bayesmeta.inference.reference import reference
from tests.benchmarks.many_corrections import Many
from tests.support.dense import FloatArray

GROUPS = (5, 10, 20, 50)
TAU2 = {"zero": 0.0, "moderate": 1.0, "large": 4.0}  # in units of the median sampling variance
VARIANCES = ("equal", "unequal")
REGRESSIONS = {f"{q} predictors": q for q in (2, 3)}
UNIVARIATE, BIVARIATE, NESTED = "univariate", "two outcomes", "two levels"
ROWS = {UNIVARIATE: 1, BIVARIATE: 1, NESTED: 2} | dict.fromkeys(REGRESSIONS, 3)
HOW: dict[str, dict[str, str]] = {
    "z": {"df": "z"},
    "t": {"df": "residual"},
    "KH": {"df": "knapp-hartung"},
    "KH ad hoc": {"df": "knapp-hartung-adhoc"},
    "Satt": {"df": "satterthwaite"},
    "Satt scaled": {"df": "satterthwaite-scaled"},
    "KR": {"df": "kenward-roger"},
    "CR2": {"vcov": "CR2"},
}
DEFAULT = "default"
TESTS = ("KR one", "KR all", "CR2 one", "CR2 all", "wild one", "wild all")
CORRELATION, V = 0.5, 0.1
BLOCK, PER_DESIGN, DRAWS = 250, 100, 399
COMPARED, TOLERANCE = 3, 1e-6  # data sets of every cell that the package computes as well, and how close it is
UNSTRUCTURED = np.array([[[1.0, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]])


class Cell(NamedTuple):
    """One combination of the study."""

    design: str
    m: int
    tau2: str
    variances: str


def cells(designs: tuple[str, ...] | list[str]) -> Iterator[Cell]:
    yield from (Cell(d, m, t, v) for d, m, t, v in product(designs, GROUPS, TAU2, VARIANCES))


class DataSets(NamedTuple):
    """Data sets of one design: its specification, effects (B, m, s), sampling variances (B, m, s), dSigma / dtheta."""

    spec: bm.Spec
    y: FloatArray
    v: FloatArray
    slopes: FloatArray
    cell: Cell

    def fitted(self) -> Many:
        """By REML, all together."""
        B, (m, s) = len(self.y), self.y.shape[1:]
        outcomes = len(self.spec.outcomes)
        Y = self.y.reshape(B, -1, outcomes)
        S = self.sampling()
        rows = np.diagonal(S, axis1=2, axis2=3).reshape(B, -1, 1, 1) if outcomes == 1 else S
        fits = bm.fit_many(self.spec, Y, rows)
        psi = [fits[f"psi_{level.name}"].to_numpy() for level in self.spec.levels]
        lower = np.tril_indices(psi[0].shape[1])
        theta = np.concatenate([p[:, lower[0], lower[1]] for p in psi], axis=1)
        X = np.broadcast_to(np.array(self.spec.X).reshape(m, s, -1), (B, m, s, self.spec.X.shape[1]))
        return Many(X, self.y, S, self.slopes, theta)

    def sampling(self) -> FloatArray:
        """(B, m, s, s) sampling covariances."""
        s = self.y.shape[2]
        within = correlation() if self.cell.design == BIVARIATE else np.eye(s)
        return self.v[..., None] * within

    def alone(self, i: int) -> bm.Spec:
        """The specification of one data set."""
        y, v = self.y[i], self.v[i]
        if self.cell.design == BIVARIATE:
            data = pd.DataFrame({"a": y[:, 0], "b": y[:, 1], "v11": v[:, 0], "v21": CORRELATION * v[:, 0]})
            return bm.specify("a + b ~ 1", data.assign(v22=v[:, 0]), S=["v11", "v21", "v22"])
        data = self.spec.data.assign(y=y.ravel(), v=v.ravel())
        return specified(data, self.cell)


def correlation() -> FloatArray:
    return np.array([[1.0, CORRELATION], [CORRELATION, 1.0]])


def specified(data: pd.DataFrame, cell: Cell) -> bm.Spec:
    predictors = REGRESSIONS.get(cell.design, 0)
    formula = "y ~ " + (" + ".join(f"x{j}" for j in range(predictors)) or "1")
    return bm.specify(formula, data, S="v", random=None if cell.design == UNIVARIATE else "1 | group/row")


def drawn(cell: Cell, n: int, rng: np.random.Generator) -> DataSets:
    """n data sets of one design whose true coefficients are zero."""
    m, s, tau2 = cell.m, ROWS[cell.design], V * TAU2[cell.tau2]
    v = V * (np.exp(rng.normal(size=(n, m, s))) if cell.variances == "unequal" else np.ones((n, m, s)))
    if cell.design == BIVARIATE:
        v = np.repeat(v, 2, axis=2)
        y = np.sqrt(v + tau2) * (rng.normal(size=(n, m, 2)) @ np.linalg.cholesky(correlation()).T)
        data = pd.DataFrame({"a": y[0, :, 0], "b": y[0, :, 1], "v11": V, "v21": CORRELATION * V, "v22": V})
        return DataSets(bm.specify("a + b ~ 1", data, S=["v11", "v21", "v22"]), y, v, UNSTRUCTURED, cell)
    share = 1.0 if cell.design == UNIVARIATE else 0.5  # of the variance between rows of a group
    between = rng.normal(0.0, np.sqrt(tau2 * (1 - share)), (n, m, 1))
    y = between + rng.normal(size=v.shape) * np.sqrt(v + tau2 * share)
    data = pd.DataFrame({"y": y[0].ravel(), "v": v[0].ravel(), "group": np.repeat(np.arange(m), s)})
    x = rng.normal(size=(3, m))
    x[1] = rng.permutation(np.arange(m) < 0.3 * m)
    data = data.assign(row=np.arange(m * s), **{f"x{j}": np.repeat(x[j], s) for j in range(3)})
    slopes = np.ones((1, 1, 1)) if cell.design == UNIVARIATE else np.stack([np.ones((s, s)), np.eye(s)])
    return DataSets(specified(data, cell), y, v, slopes, cell)


def blocks(cell: Cell, seed: int, n: int) -> Iterator[DataSets]:
    rng = np.random.default_rng([seed, *map(ord, str(cell))])
    size = PER_DESIGN if cell.design in REGRESSIONS else BLOCK
    yield from (drawn(cell, min(size, n - start), rng) for start in range(0, n, size))


def covered(cell: Cell, seed: int, n: int) -> dict[str, FloatArray]:
    """Of every method whether its intervals hold zero: (n,)."""
    parts, default = [], ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in blocks(cell, seed, n):
            many = data.fitted()
            first = np.eye(many.X.shape[-1])[0]
            widths = many.half_widths(first)
            if cell.design != UNIVARIATE:
                widths = {name: half for name, half in widths.items() if not name.startswith("KH")}
            default = default or compared(data, many.beta[:, 0], widths)
            parts.append({name: np.abs(many.beta[:, 0]) <= half for name, half in widths.items()})
    result = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return result | {DEFAULT: result[default]}


def compared(data: DataSets, estimate: FloatArray, widths: dict[str, FloatArray]) -> str:
    """Which method is the default, after the package has computed the first data sets as well."""
    defaults = set()
    for i in range(min(COMPARED, len(data.y))):
        spec = data.alone(i)
        fit, first = bm.fit(spec, random_effects=False), np.eye(len(spec.coef))[:1]
        for name, half in widths.items():
            used = reference(fit, **HOW[name])
            assert used is not None
            lower, upper = used.each(first).bounds(0.95)
            own = np.array([estimate[i] - half[i], estimate[i] + half[i]])
            assert np.abs(own - [lower[0], upper[0]]).max() < TOLERANCE * half[i], (data.cell, name)
        used = reference(fit)
        assert used is not None
        defaults |= {name for name, how in HOW.items() if how == {"df": used.df}}
    (default,) = defaults
    return default


def rejected(cell: Cell, seed: int, n: int) -> dict[str, FloatArray]:
    """Of every test whether it rejects at 5%, NaN where there is none: (n,)."""
    parts = []
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in blocks(cell, seed, n):
            many = data.fitted()
            tests = pvalues(many, rng)
            if not parts:
                compared_tests(data, tests)
            parts.append({name: np.where(np.isnan(p), np.nan, p <= 0.05) for name, p in tests.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in TESTS}


def pvalues(many: Many, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Of the tests that the first predictor, and that all, have no effect."""
    identity, m = np.eye(many.X.shape[-1]), many.y.shape[1]
    values = np.sqrt([0.5, 1.0, 1.5])
    kinds = np.concatenate([-values, values]) if m <= 10 else np.array([-1.0, 1.0])
    eta = kinds[rng.integers(0, len(kinds), (DRAWS, m))]
    found = {}
    for which, L in (("one", identity[:, 1:2]), ("all", identity[:, 1:])):
        found[f"KR {which}"] = many.kenward_roger(L)
        found[f"CR2 {which}"] = many.hotelling(L)
        found[f"wild {which}"] = many.wild(L, eta)
    return found


def compared_tests(data: DataSets, tests: dict[str, FloatArray]) -> None:
    """That the package has the same p values; those of the wild bootstrap as far as draws agree."""
    for i in range(min(COMPARED, len(data.y))):
        fit = bm.fit(data.alone(i), random_effects=False)
        for name, p in tests.items():
            terms = "x0" if name.endswith("one") else list(fit["estimate"]["coef"].values[1:])
            if name.startswith("wild"):
                own = bm.wald_test(fit, terms, vcov="CR2", bootstrap="wild", draws=4999, random_seed=1)["pvalue"]
                assert abs(float(own) - p[i]) < 5 * np.sqrt(0.25 / DRAWS), (data.cell, name)
            else:
                how = {"vcov": "CR2"} if name.startswith("CR2") else {"df": "kenward-roger"}
                own = bm.wald_test(fit, terms, **how)["pvalue"]  # type: ignore[arg-type]
                np.testing.assert_allclose(float(own), p[i], rtol=100 * TOLERANCE, err_msg=f"{data.cell} {name}")


def row(cell: Cell, result: dict[str, FloatArray], names: list[str]) -> str:
    """Shares of the data sets for which there is an answer, with how many have none where some do."""
    texts = []
    for name in names:
        there = result[name][~np.isnan(result[name])] if name in result else np.zeros(0)
        lacking = len(result[name]) - len(there) if name in result else 0
        texts.append((f"{there.mean():.3f}" if len(there) else "") + (f" ({lacking} none)" if lacking else ""))
    return f"| {cell.design} | {cell.m} | {cell.tau2} | {cell.variances} | {' | '.join(texts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--m", type=int, action="append", choices=GROUPS, help="by default all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", action="store_true", help="size of tests of predictors")
    options = parser.parse_args()
    names = list(TESTS) if options.tests else [*HOW, DEFAULT]
    study = rejected if options.tests else covered
    chosen = [
        cell
        for cell in cells([*REGRESSIONS] if options.tests else [UNIVARIATE, BIVARIATE, NESTED])
        if options.m is None or cell.m in options.m
    ]
    error = np.sqrt(0.95 * 0.05 / options.datasets)
    print(f"{options.datasets} data sets a cell, Monte Carlo error {error:.4f}\n")
    print(f"| design | m | tau2 | sampling variances | {' | '.join(names)} |")
    print("|---|---:|---|---|" + "---:|" * len(names))
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(study, cell, options.seed, options.datasets) for cell in chosen]
        for cell, run in zip(chosen, runs, strict=True):
            print(row(cell, run.result(), names), flush=True)


if __name__ == "__main__":
    main()
