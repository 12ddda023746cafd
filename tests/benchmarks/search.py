"""Random valid models against optimisations from many starts with full matrices: how often the search misses.

    python -m tests.benchmarks.search --models 200 --starts 20

Every model has one to three nested levels with any structure of the register, one to four outcomes, missing cells, any
sampling covariance and random slopes, and is fitted by REML and by ML. What is compared is the log-likelihood that
L-BFGS-B reaches from random starts, written with full matrices. A model on which S or the data determine nothing (a
level of one group, no observation left) is counted apart, as not ordinary.
"""

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

import bayesmeta as bm
from bayesmeta._typing import FloatArray
from bayesmeta.structures import REGISTER

STEPS, GO_ON = 60, 3  # of every dense climb at first, and how many of the best climb on
LOW = 1e-4  # log-likelihood below the best known from which a fit counts as low
STRUCTURES = ("unstr", "diag", "id", "cs", "hcs", "ar1", "har1", "prop", "cor", "fixed")
RANDOM = ("1", "1", "1", "1 + x1", "0 + x1", "1 + f", "0 + f")
NEED_TWO = ("cs", "hcs", "ar1", "har1")
NEED_MATRIX = ("prop", "cor", "fixed")


@dataclass(frozen=True)
class Problem:
    """A model as plain values: what `specify` takes, and what is known of its maximum."""

    name: str
    columns: dict[str, list[Any]]
    formula: Any
    S: list[Any]
    random: dict[str, str] | None
    psi: dict[str, Any]
    offset: list[float] | None
    method: str

    def spec(self) -> bm.Spec:
        psi = {level: structure(name, matrix) for level, (name, matrix) in self.psi.items()}
        data, S = pd.DataFrame(self.columns), np.array(self.S, dtype=float)
        offset = None if self.offset is None else np.array(self.offset)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bm.specify(self.formula, data, S=S, random=self.random, psi=psi, offset=offset)

    @property
    def structures(self) -> str:
        return " ".join(name for name, _ in self.psi.values())


def structure(name: str, matrix: Any) -> Any:
    return name if matrix is None else REGISTER[name](np.array(matrix))  # type: ignore[call-arg]


def problems(n: int, seed: int) -> Iterator[Problem]:
    """Random models that `specify` accepts, each by REML and by ML."""
    made = 0
    for number in range(10 * n):
        problem = random_problem(f"m{seed}_{number}", np.random.default_rng([seed, number]))
        try:
            spec = problem.spec()
        except bm.BayesmetaError:
            continue
        if not sum(v.structure.n_free(v.dim) for v in spec.levels):
            continue
        for method in ("reml", "ml"):
            if made == n:
                return
            made += 1
            yield replace(problem, method=method, name=f"{problem.name}_{method}")


def named(name: str) -> Problem:
    """The model of a name that `problems` gave."""
    stem, method = name.rsplit("_", 1)
    seed, number = stem.removeprefix("m").split("_")
    problem = random_problem(stem, np.random.default_rng([int(seed), int(number)]))
    return replace(problem, name=name, method=method)


def random_problem(name: str, rng: np.random.Generator) -> Problem:
    n, k = int(rng.integers(3, 31)), int(rng.choice([1, 1, 2, 2, 3, 4]))
    n_levels = int(rng.choice([0, 1, 1, 2, 2, 3]))
    columns: dict[str, Any] = {f"level{i + 1}": g for i, g in enumerate(nested(rng, n, n_levels))}
    columns["x1"], columns["x2"] = rng.normal(size=n) * rng.choice([0.1, 1.0, 10.0]), rng.uniform(0, 2, n)
    columns["f"] = rng.choice(list("abc"), n)
    levels = [f"level{i + 1}" for i in range(n_levels)] or ["unit"]
    random = (
        None
        if not n_levels
        else {v: str(rng.choice(["1", "1", "1", "1 + x1", "0 + x1", "1 + f", "0 + f"])) for v in levels}
    )
    dims = [1 if random is None else len(effects(random[v], columns)) for v in levels]
    psi = {v: random_structure(rng, k * q) for v, q in zip(levels, dims, strict=True)}
    S = sampling(rng, n, k, columns.get("level1"))
    y = outcomes(rng, n, k, columns, levels, random, S)
    formula = random_formula(rng, k)
    columns = {key: list(map(_plain, value)) for key, value in columns.items()}
    columns |= {f"y{j}": [None if np.isnan(v) else float(v) for v in y[:, j]] for j in range(k)}
    offset = rng.normal(size=n).tolist() if rng.random() < 0.1 else None
    return Problem(name, columns, formula, S.tolist(), random, psi, offset, "reml")


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, float | np.floating) else str(value)


def nested(rng: np.random.Generator, n: int, n_levels: int) -> list[np.ndarray]:
    """Labels of every level, outer to inner; inner ones are numbered over all outer groups."""
    groups, code = [], np.zeros(n, int)
    for _ in range(n_levels):
        within = rng.integers(0, max(2, int(rng.integers(2, 2 + n // 2))), n)
        code = np.unique(np.column_stack([code, within]), axis=0, return_inverse=True)[1].ravel()
        groups.append(np.array([f"g{c}" for c in code]))
    return groups


def effects(term: str, columns: dict[str, Any]) -> list[int]:
    """One entry for every column of a random design of one outcome."""
    n_f = len(set(columns["f"]))
    return list(range({"1": 1, "1 + x1": 2, "0 + x1": 1, "1 + f": n_f, "0 + f": n_f}[term]))


def random_structure(rng: np.random.Generator, dim: int) -> tuple[str, Any]:
    name = str(rng.choice([s for s in STRUCTURES if dim > 1 or s not in NEED_TWO]))
    if name not in NEED_MATRIX:
        return name, None
    root = rng.normal(size=(dim, int(rng.integers(1, dim + 2))))
    matrix = root @ root.T + (0.05 * np.eye(dim) if rng.random() < 0.8 else 0.0)
    return name, (matrix * rng.choice([0.1, 1.0])).tolist()


def sampling(rng: np.random.Generator, n: int, k: int, outer: Any) -> FloatArray:
    """(n k, n k) over the cells: independent units, correlated outcomes, or rows coupled within outer groups."""
    sd = np.exp(rng.normal(-0.5, rng.choice([0.2, 0.6, 1.2]), n * k))
    row = np.repeat(np.arange(n), k)
    block = row if outer is None or rng.random() < 0.7 else np.unique(outer, return_inverse=True)[1][row]
    root = rng.normal(size=(n * k, 3)) * rng.choice([0.0, 0.5, 1.0])
    R = (root @ root.T + np.eye(n * k)) * (block[:, None] == block[None, :])
    scale = np.sqrt(np.diag(R))
    return np.asarray(sd[:, None] * R / np.outer(scale, scale) * sd)


def outcomes(
    rng: np.random.Generator, n: int, k: int, columns: dict[str, Any], levels: list[str], random: Any, S: FloatArray
) -> FloatArray:
    """(n, k) effect estimates with group effects of any size, and missing cells."""
    y = (np.linalg.cholesky(S) @ rng.normal(size=n * k)).reshape(n, k) + rng.normal(size=k)
    for level in levels:
        code = np.arange(n) if random is None else np.unique(columns[level], return_inverse=True)[1]
        size = rng.choice([0.0, 0.1, 0.5, 1.0, 3.0], k)
        root = rng.normal(size=(k, k)) * size[:, None]
        y += (rng.normal(size=(code.max() + 1, k)) @ root.T)[code]
        if random is not None and "x1" in random[level]:
            y += (rng.normal(size=(code.max() + 1, k)) * size)[code] * columns["x1"][:, None]
    if rng.random() < 0.1:
        y[rng.integers(n), rng.integers(k)] += rng.normal(0, 30)
    missing = rng.random((n, k)) < rng.choice([0.0, 0.2])
    missing[np.arange(n), rng.integers(0, k, n)] = False
    return np.where(missing, np.nan, y)


def random_formula(rng: np.random.Generator, k: int) -> Any:
    right = ["1", "1", "1", "x1", "x1 + x2", "f", "x1 + f", "ns(x1, df=2)"]
    if k > 1 and rng.random() < 0.2:
        return {f"y{j}": str(rng.choice(["1", "x1"])) for j in range(k)}
    return " + ".join(f"y{j}" for j in range(k)) + f" ~ {rng.choice(right)}"


@dataclass(frozen=True)
class Dense:
    """The (restricted) log-likelihood with full matrices, as a function of xi."""

    spec: bm.Spec
    restricted: bool

    def __call__(self, xi: FloatArray) -> tuple[float, FloatArray]:
        """Minus the log-likelihood, and its gradient."""
        spec, at = self.spec, 0
        Sigma, pulls = self.S.copy(), []
        for level, same in zip(spec.levels, self.same, strict=True):
            own = xi[at : at + level.structure.n_free(level.dim)]
            at += len(own)
            Sigma += (level.Z @ np.asarray(level.structure.psi(own, level.dim)) @ level.Z.T) * same
            pulls.append((level, same, own))
        try:
            L = np.linalg.cholesky(Sigma)
            W = np.linalg.solve(L, np.column_stack([spec.X, spec.y - spec.offset]))
            F = np.linalg.cholesky(W[:, :-1].T @ W[:, :-1])
        except np.linalg.LinAlgError:
            return np.inf, np.zeros(len(xi))
        V = np.linalg.solve(F, W[:, :-1].T)
        left = W[:, -1] - V.T @ (V @ W[:, -1])
        n, P = spec.X.shape
        value = n * np.log(2 * np.pi) + 2 * np.log(np.diag(L)).sum() + left @ left
        inverse = np.linalg.inv(L)
        bar = inverse.T @ inverse
        Pm = bar - (V @ inverse).T @ (V @ inverse)
        if self.restricted:
            value += 2 * np.log(np.diag(F)).sum() - np.linalg.slogdet(spec.X.T @ spec.X)[1] - P * np.log(2 * np.pi)
            bar = Pm
        r = inverse.T @ left
        bar = (bar - np.outer(r, r)) / 2
        slopes = [v.structure.pullback(own, v.Z.T @ (bar * same) @ v.Z, v.dim) for v, same, own in pulls]
        return float(value / 2), np.concatenate(slopes)

    @cached_property
    def S(self) -> FloatArray:
        S, n = self.spec.S, len(self.spec.y)
        full = np.zeros((n, n))
        full[S.row, S.col] = full[S.col, S.row] = S.value
        return full

    @cached_property
    def same(self) -> list[np.ndarray]:
        return [v.index[:, None] == v.index[None, :] for v in self.spec.levels]


def best_of_starts(spec: bm.Spec, restricted: bool, n: int, seed: int) -> float:
    """The highest log-likelihood of n climbs by L-BFGS-B from random points, the best few of which go on to the end."""
    rng, dense = np.random.default_rng(seed), Dense(spec, restricted)
    typical = spec.statistics.typical
    lower = np.concatenate([v.structure.lower(v.dim) for v in spec.levels])
    bounds = [(low if np.isfinite(low) else None, None) for low in lower]

    def climbed(start: FloatArray, maxiter: int, ftol: float) -> Any:
        options = {"maxiter": maxiter, "ftol": ftol, "gtol": 1e-9}
        return minimize(dense, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)

    parts = [[_random_xi(rng, v, t) for v, t in zip(spec.levels, typical, strict=True)] for _ in range(n)]
    ends = sorted((climbed(np.concatenate(part), STEPS, 1e-9) for part in parts), key=lambda end: float(end.fun))
    return -min(float(climbed(end.x, 500, 1e-14).fun) for end in ends[:GO_ON])


def _random_xi(rng: np.random.Generator, level: Any, typical: FloatArray) -> FloatArray:
    share = rng.random((level.structure.n_free(level.dim), 1))
    z = level.structure.scatter(share, lambda u: 0.03 * (200.0) ** u, level.dim)[:, 0]
    return np.asarray(z * level.structure.units(typical))


def ordinary(spec: bm.Spec) -> bool:
    """Whether the data could identify every level: more groups than one, and observations left for them."""
    return len(spec.y) > len(spec.coef) and all(v.n_groups > 1 for v in spec.levels)


@dataclass(frozen=True)
class Outcome:
    """What became of one model: its log-likelihood, the best of the dense starts, and how the search went."""

    problem: Problem
    best: float
    loglik: float = np.nan
    converged: bool = False
    evaluations: int = 0
    error: str = ""
    ordinary: bool = True

    @property
    def verdict(self) -> str:
        if self.error:
            return "FAILS"
        if not self.converged:
            return "LOOSE"
        return "LOW" if self.loglik < self.best - LOW else ""  # never where a restricted likelihood is undefined

    def __str__(self) -> str:
        behind = self.error or f"{self.best - self.loglik:.1e} below the best"
        apart = "" if self.ordinary else " (not ordinary)"
        return f"{self.verdict} {self.problem.name} {self.problem.structures}{apart}: {behind}"


def outcome(problem: Problem, starts: int, seed: int) -> Outcome:
    spec, restricted = problem.spec(), problem.method == "reml"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = best_of_starts(spec, restricted, starts, seed)
        try:
            fit = bm.fit(spec, problem.method)
        except Exception as error:  # what is counted
            return Outcome(problem, best, error=f"{type(error).__name__} {error}", ordinary=ordinary(spec))
    optimizer = fit["optimizer"]
    return Outcome(
        problem,
        best,
        float(fit["criteria"]["loglik"]),
        bool(optimizer["converged"]),
        int(optimizer["evaluations"]),
        ordinary=ordinary(spec),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", type=Path, help="write the names of the models and their best values here")
    options = parser.parse_args()
    count: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(4, int))
    evaluations, stored = [], []
    for problem in problems(options.models, options.seed):
        one = outcome(problem, options.starts, options.seed)
        if one.verdict:
            print(one, flush=True)
        groups = {*problem.structures.split(), "all"} if one.ordinary else {"not ordinary"}
        for name in groups:
            count[name] += [1, *(one.verdict == word for word in ("LOW", "LOOSE", "FAILS"))]
        evaluations.append(one.evaluations)
        stored.append({"seed": options.seed, "name": problem.name, "loglik": float(np.fmax(one.best, one.loglik))})
    if options.store:
        options.store.write_text("[\n" + ",\n".join(json.dumps(one) for one in stored) + "\n]\n")
    print(f"{'structure':12} models   low  not converged  failed")
    for name, (n, low, loose, failed) in sorted(count.items()):
        print(f"{name:12} {n:6d} {low:5d} {loose:14d} {failed:7d}")
    print("evaluations of the winning climb: median {:.0f}, 95% {:.0f}".format(*np.quantile(evaluations, [0.5, 0.95])))


if __name__ == "__main__":
    main()
