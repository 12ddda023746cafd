"""Starts outside the parameter space, likelihoods that rise to an edge, and data at the ends of the ranges."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning, BoundaryWarning, SpecError


def two_outcomes(psi: str, rows: int = 12) -> tuple[bm.Spec, np.ndarray]:
    """A specification and four data sets of its design."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=rows), "z": rng.normal(size=rows), "v": 0.2, "w": 0.3})
    spec = bm.specify("y + z ~ 1", data, S=["v", "w"], S_correlation=0.3, psi=psi)
    return spec, rng.normal(size=(4, rows, 2))


STARTS = [
    ([-1.0, 0.5, 0.1], "start has -1 for unit.sd[y], which cannot be negative"),
    ([0.5, -1e-9, 0.1], "start has -1e-09 for unit.sd[z], which cannot be negative"),
    ([0.5, 1e308, 0.1], "start has 1e+308 for unit.sd[z], more than 1e+08 of its natural size"),
    ([0.5, 0.5], "start has shape (2,)"),
    ([0.5, 0.5, 0.1, 0.1], "start has shape (4,)"),
    ([0.5, np.nan, 0.1], "start"),
    ([0.5, np.inf, 0.1], "start"),
    (1.0, "start has shape ()"),
]


@pytest.mark.parametrize(("start", "message"), STARTS)
@pytest.mark.parametrize("many", [False, True])
def test_starts_outside_the_parameter_space(start: Any, message: str, many: bool) -> None:
    spec, Y = two_outcomes("hcs")
    with pytest.raises(SpecError) as caught:
        bm.fit_many(spec, Y, start=start) if many else bm.fit(spec, start=start)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("bad", "words"), [(-0.1, "which cannot be negative"), (1e300, "more than"), (np.nan, "")])
def test_starts_of_each_data_set(bad: float, words: str) -> None:
    spec, Y = two_outcomes("hcs")
    start = np.full((4, 3), 0.5)
    start[2, 1] = bad
    with pytest.raises(SpecError, match=f"^start has .* for unit.sd.z. in data set 2, {words}" if words else "^start"):
        bm.fit_many(spec, Y, start=start)


@pytest.mark.parametrize("method", ["ml", "reml"])
def test_a_coefficient_for_every_group_leaves_its_variance_at_zero_and_says_where_the_likelihood_rises(
    method: str,
) -> None:
    """With S known and positive definite there is always a maximum: log|S + Z Psi Z'| grows without bound."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(0, 5, 12), "g": np.repeat(list("abcd"), 3), "v": 0.1})
    with pytest.warns(BoundaryWarning, match="by ML the likelihood rises until it is 0"):
        spec = bm.specify("y ~ 0 + g", data, S="v", random="1 | g")
    fit = bm.fit(spec, method)
    assert bool(fit["optimizer"]["converged"])
    assert float(fit["estimate"]["tau_g"]) == 0.0
    assert bool(fit["optimizer"]["at_boundary"].all())


@pytest.mark.parametrize("method", ["reml", "fixed"])
def test_outcomes_that_a_nearly_singular_covariance_excludes(method: str) -> None:
    rng, g = np.random.default_rng(0), np.repeat(np.arange(4), 6)
    S = np.where(np.eye(24) == 1, 1.0, (1 - 2e-12) * (g[:, None] == g))
    spec = bm.specify("y ~ x", {"y": rng.normal(size=24), "x": rng.normal(size=24), "g": g}, S=S, random="1 | g")
    with pytest.warns(
        AssumptionWarning, match=r"^the outcomes lie \d.*e\+05 standard deviations from the fitted model"
    ):
        bm.fit(spec, method)


STRUCTURES = ("unstr", "diag", "id", "cs", "hcs", "ar1", "har1", "prop", "cor", "fixed")
SHAPES = ("unequal", "singular", "far", "heterogeneous", "homogeneous", "tiny units", "huge units", "few rows")


def structure(name: str, dim: int, rng: np.random.Generator) -> Any:
    """The structure by name, or one with a matrix, at times singular."""
    root = rng.normal(size=(dim, dim if rng.random() < 0.7 else max(1, dim // 2)))
    matrix = root @ root.T
    kinds = {"prop": bm.structures.Proportional, "cor": bm.structures.KnownCorrelation, "fixed": bm.structures.Fixed}
    return kinds[name](matrix * (0.1 if name == "fixed" else 1.0)) if name in kinds else name


def drawn(seed: int, psi: str, shape: str) -> dict[str, Any]:
    """Arguments of `specify`: random levels, outcomes and predictors, with data at one end of what is accepted."""
    rng = np.random.default_rng([seed, STRUCTURES.index(psi), SHAPES.index(shape)])
    k = int(rng.integers(1, 3))
    n = int(rng.integers(k + 2, 8)) if shape == "few rows" else int(rng.integers(8, 25))
    sd = rng.uniform(0.3, 1.0, (n, k))
    if shape == "unequal":
        sd *= 10 ** rng.choice([-5.9, -3, 0, 0, 0, 3, 5.9], (n, k))
    rho = 1 - 2e-12 if shape == "singular" else 0.5
    R = np.full((k, k), rho) + (1 - rho) * np.eye(k)
    group = rng.integers(0, max(2, n // 3), n)
    slopes = k == 1 and rng.random() < 0.5
    tau = {"heterogeneous": 1e5, "homogeneous": 1e-5}.get(shape, 0.5)
    x = rng.normal(size=n) * 10 ** rng.uniform(-3, 3)
    noise = np.einsum("nij,nj->ni", sd[:, :, None] * np.linalg.cholesky(R), rng.normal(size=(n, k)))
    y = rng.normal(size=k) + tau * rng.normal(size=(max(2, n // 3), k))[group] + noise
    y = y + (1e9 if shape == "far" else 0.0)
    unit = {"tiny units": 1e-40, "huge units": 1e40}.get(shape, 1.0)
    S = unit**2 * sd[:, :, None] * R * sd[:, None, :]
    names = [f"y{j}" for j in range(k)]
    data = pd.DataFrame(unit * y, columns=names).assign(x=x, g=group.astype(str), h=rng.integers(0, 2, n).astype(str))
    random = "1 + x | g" if slopes else ("1 | g" if rng.random() < 0.6 else "1 | g/h")
    dim = k * (2 if slopes else 1)
    psi_of = structure(psi, dim, rng)
    if psi == "fixed":
        psi_of = bm.structures.Fixed(psi_of.known * unit**2)
    formula = f"{' + '.join(names)} ~ {'x' if n * k > 2 * k + 1 else '1'}"
    return {"formula": formula, "data": data, "S": S if k > 1 else S[:, 0, 0], "random": random, "psi": psi_of}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("psi", STRUCTURES)
def test_no_warning_but_our_own_reaches_a_user(psi: str, shape: str) -> None:
    for seed in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", BayesmetaWarning)
            try:
                spec = bm.specify(**drawn(seed, psi, shape))
            except bm.BayesmetaError:
                continue
            for method in ("fixed", "ml" if seed else "reml"):
                fit = bm.fit(spec, method)
                assert np.isfinite(fit["estimate"]["beta"]).all()
                assert np.isfinite(fit["estimate"]["beta_se"]).all()
                str(bm.summary(fit))
