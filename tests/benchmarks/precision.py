"""Prints the table of digits that notebooks/limits.md carries: what is left at the ends of the accepted ranges.

Every result is held against the same formulas with sixty digits, on data drawn from the model; the entries of y, X and
S are taken as exact, as they stand in floating point.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import mpmath
import numpy as np
import pandas as pd

import bayesmeta as bm
from bayesmeta import kernel
from tests.support import dense
from tests.support.dense import Model

SEEDS = range(12)
DIGITS = 60
HEADER = """\
| quantity | range | log-likelihood | coefficients | standard errors | tau |
|---|---|---:|---:|---:|---:|"""


class Digits(NamedTuple):
    """Decimal digits kept: of the log-likelihood (absolute where it is below 1), of coefficients relative to themselves
    or to their standard errors, whichever is larger, of standard errors, and of tau, likewise."""

    loglik: int
    beta: int
    se: int
    tau: int


class Case(NamedTuple):
    """One line of the table: a seed gives a model with the quantity at the end of its range; `stated` digits at least
    are kept."""

    quantity: str
    range: str
    draw: Callable[[int], Model]
    stated: Digits


def base(seed: int, grouped: bool, tau2: float = 0.3, predictors: int = 1) -> tuple[np.random.Generator, Model]:
    """Twelve rows in four groups, or each its own, with variances from 0.2 to 2 and no outcomes yet."""
    rng, n = np.random.default_rng([seed, grouped]), 12
    group = np.repeat(np.arange(4), 3) if grouped else np.arange(n)
    X = np.column_stack([np.ones(n), *rng.normal(size=(predictors, n))])
    S = np.diag(rng.uniform(0.2, 2.0, n))
    return rng, Model(np.zeros(n), X, [np.ones((n, 1))], [group], S, [np.array([[tau2]])])


def with_outcomes(model: Model, rng: np.random.Generator, mean: float = 1.0) -> Model:
    """The model with outcomes that it makes plausible."""
    effects = rng.normal(0, np.sqrt(model.psi[0][0, 0]), model.groups[0].max() + 1)[model.groups[0]]
    values, vectors = np.linalg.eigh(model.S)
    noise = vectors @ (np.sqrt(np.maximum(values, 0)) * rng.normal(size=len(values)))
    slopes = rng.normal(size=model.X.shape[1])
    slopes[0] = mean
    return model.at(y=model.X @ slopes + effects + noise)


def ordinary(seed: int, grouped: bool) -> Model:
    rng, model = base(seed, grouped)
    return with_outcomes(model, rng)


def unequal(seed: int, grouped: bool, decades: float) -> Model:
    """A quarter of the variances that many decades below the others, a quarter above."""
    rng, model = base(seed, grouped)
    shift = rng.permutation(np.repeat([-decades, 0.0, 0.0, decades], 3))
    variances = rng.uniform(0.98, 1.02, len(shift)) * 10 ** (0.995 * shift)
    return with_outcomes(model.at(S=np.diag(variances)), rng)


def precise(seed: int) -> Model:
    """As many rows of 1e-12 of the other variances as coefficients, two of them in one group: they fit exactly."""
    rng, model = base(seed, grouped=True, predictors=2)
    variances = np.diag(model.S).copy()
    variances[[0, 1, 5]] = 2e-12
    return with_outcomes(model.at(S=np.diag(variances)), rng)


def coupled(seed: int, distance: float) -> Model:
    """S couples the rows of every group; the smallest eigenvalue of its correlations is about `distance`."""
    rng, model = base(seed, grouped=True)
    group, n = model.groups[0], len(model.y)
    R = np.eye(n)
    for g in range(4):
        vectors = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        block = vectors * np.array([1.1 * distance, *rng.uniform(0.5, 2, 2)]) @ vectors.T
        scale = np.sqrt(np.diag(block))
        R[np.ix_(group == g, group == g)] = block / np.outer(scale, scale)
    sd = np.sqrt(np.diag(model.S))
    S = R * np.outer(sd, sd)
    return with_outcomes(model.at(S=(S + S.T) / 2), rng)


def between(seed: int, grouped: bool, ratio: float) -> Model:
    rng, model = base(seed, grouped, tau2=ratio)
    return with_outcomes(model, rng)


def far(seed: int, distance: float) -> Model:
    """Outcomes that many standard errors from zero, and no predictor but the intercept."""
    rng, model = base(seed, grouped=True, predictors=0)
    return with_outcomes(model, rng, mean=distance)


def units(seed: int, factor: float) -> Model:
    rng, model = base(seed, grouped=True)
    model = with_outcomes(model, rng)
    return model.at(y=factor * model.y, S=factor**2 * model.S, psi=[factor**2 * model.psi[0]])


def predictor_units(seed: int, factor: float) -> Model:
    rng, model = base(seed, grouped=True)
    model = with_outcomes(model, rng)
    return model.at(X=model.X * np.array([1.0, factor]))


CASES = (
    Case("ordinary data", "variances 0.2 to 2, tau2 0.3", partial(ordinary, grouped=True), Digits(13, 13, 13, 6)),
    Case("", "each row its own group", partial(ordinary, grouped=False), Digits(13, 13, 13, 5)),
    Case(
        "sampling variance",
        "1e-6 to 1e6 of the median",
        partial(unequal, grouped=True, decades=6),
        Digits(12, 11, 12, 7),
    ),
    Case("", "1e-12 to 1e12 of the median", partial(unequal, grouped=True, decades=12), Digits(12, 10, 12, 6)),
    Case("", "the same, each row its own group", partial(unequal, grouped=False, decades=12), Digits(12, 12, 12, 6)),
    Case("", "1e-12, of as many as coefficients", precise, Digits(4, 4, 4, 3)),
    Case(
        "smallest eigenvalue of S", "1e-6, of its correlations", partial(coupled, distance=1e-6), Digits(12, 12, 12, 7)
    ),
    Case("", "1e-10", partial(coupled, distance=1e-10), Digits(12, 11, 12, 7)),
    Case("", "1e-12", partial(coupled, distance=1e-12), Digits(11, 10, 11, 6)),
    Case("tau2", "1e-10 of the sampling variances", partial(between, grouped=True, ratio=1e-10), Digits(13, 13, 13, 7)),
    Case("", "1e6", partial(between, grouped=True, ratio=1e6), Digits(12, 11, 13, 7)),
    Case("", "1e10", partial(between, grouped=True, ratio=1e10), Digits(10, 9, 13, 6)),
    Case("", "1e10, each row its own group", partial(between, grouped=False, ratio=1e10), Digits(13, 13, 13, 6)),
    Case("outcome", "1e9 standard errors from zero", partial(far, distance=1e9), Digits(13, 13, 13, 6)),
    Case("", "1e12", partial(far, distance=1e12), Digits(13, 13, 13, 6)),
    Case("unit of the outcome", "1e-20", partial(units, factor=1e-20), Digits(12, 12, 12, 6)),
    Case("", "1e20", partial(units, factor=1e20), Digits(12, 12, 12, 6)),
    Case("unit of a predictor", "1e-20", partial(predictor_units, factor=1e-20), Digits(12, 12, 12, 6)),
    Case("", "1e20", partial(predictor_units, factor=1e20), Digits(12, 12, 12, 6)),
)


def specified(model: Model) -> bm.Spec:
    """The model as users would specify it."""
    n_x = model.X.shape[1] - 1
    data = pd.DataFrame({"y": model.y, "g": model.groups[0]} | {f"x{j}": model.X[:, j + 1] for j in range(n_x)})
    formula = "y ~ " + " + ".join([f"x{j}" for j in range(n_x)] or ["1"])
    return bm.specify(formula, data, S=model.S, random="1 | g")


def errors(model: Model) -> tuple[float, float, float, float]:
    """Errors of the log-likelihood, coefficients, standard errors and tau of a model, of the sizes in `Digits`."""
    spec = specified(model)
    fit = kernel.likelihood(spec.statistics, model.psi, restricted=True)
    loglik = float(dense.loglik_mp(model, True, DIGITS))
    beta, covariance = dense.coefficients_mp(model, DIGITS)
    se = np.sqrt(np.diag(covariance))
    return (
        abs(float(fit.loglik) - loglik) / max(1.0, abs(loglik)),
        float(np.max(np.abs(fit.beta - beta) / np.maximum(np.abs(beta), se))),
        float(np.max(np.abs(np.sqrt(np.diag(fit.beta_cov)) / se - 1))),
        error_of_tau(spec, model),
    )


def error_of_tau(spec: bm.Spec, model: Model) -> float:
    """Relative to tau or to its standard error; 0 where the maximum lies at zero and the search says so."""
    fit = bm.fit(spec)
    tau = float(fit["estimate"]["tau_g"])
    if tau == 0:
        return 0.0 if falls_from_zero(model) else np.inf
    with mpmath.workdps(DIGITS):
        exact, curvature = stationary(model, mpmath.mpf(tau))
        return float(abs(tau - exact) / max(exact, 1 / mpmath.sqrt(max(curvature, exact**-2))))


def loglik_at(model: Model, tau2: mpmath.mpf) -> mpmath.mpf:
    return dense.loglik_mp(model.at(psi=[np.array([[tau2]], dtype=object)]), True, DIGITS)


def falls_from_zero(model: Model) -> bool:
    """Whether the restricted log-likelihood falls as tau2 leaves zero."""
    with mpmath.workdps(DIGITS):
        step = mpmath.mpf(float(np.diag(model.S).min())) * mpmath.mpf(10) ** (-DIGITS // 4)
        return bool(loglik_at(model, step) <= loglik_at(model, mpmath.mpf(0)))


def stationary(model: Model, tau: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
    """tau at which the restricted log-likelihood has no slope, by Newton steps, and the curvature there."""
    curvature = mpmath.mpf(0)
    for _ in range(4):
        step = tau * mpmath.mpf(10) ** (-DIGITS // 4)
        below, here, above = (loglik_at(model, (tau + sign * step) ** 2) for sign in (-1, 0, 1))
        curvature = -(above - 2 * here + below) / step**2
        tau += (above - below) / (2 * step) / curvature
    return tau, curvature


def digits(case: Case, seeds: range) -> Digits:
    """The least number of digits kept over the data sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        worst = np.max([errors(case.draw(seed)) for seed in seeds], axis=0)
    return Digits(*(min(15, int(np.floor(-np.log10(max(e, 1e-16))))) for e in worst))


def line(case: Case) -> str:
    """A line of the table, with the digits stated."""
    return f"| {case.quantity} | {case.range} | {' | '.join(map(str, case.stated))} |"


def main() -> None:
    """Print the table; beside each line what is kept at least over the seeds, and whether it is less than stated."""
    print(HEADER, flush=True)
    for case in CASES:
        kept = digits(case, SEEDS)
        less = any(k < stated for k, stated in zip(kept, case.stated, strict=True))
        print(f"{line(case)}  measured: {', '.join(map(str, kept))}{'  LESS THAN STATED' * less}", flush=True)


if __name__ == "__main__":
    main()
