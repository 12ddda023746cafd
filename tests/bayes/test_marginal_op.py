"""The marginal log-likelihood in graphs: interpreted, by Numba and by JAX, with its gradient."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

from bayesmeta.bayes.marginal_op import MarginalLoglik, register_jax
from bayesmeta.kernel.compiled import loglik_and_gradient
from bayesmeta.kernel.flat import Flat
from tests.support import dense
from tests.support.dense import FloatArray, Model
from tests.support.flat_calls import any_beta, by_group, dense_gradient, entries, flat_of
from tests.support.kernel_calls import assert_close
from tests.support.random_models import random_model

INTERPRETED = Mode(linker="py", optimizer=None)
SEEDS = range(10)


@lru_cache
def case(seed: int, psi: Any = "full") -> tuple[Model, Flat]:
    model = random_model(seed, psi=psi)
    return model, flat_of(model)


def point(seed: int) -> list[FloatArray]:
    model, flat = case(seed)
    return [any_beta(model), entries(model, flat), flat.values, flat.base]


def symbols() -> list[Any]:
    return [pt.dvector(name) for name in ("beta", "psi", "values", "base")]


def function(flat: Flat, mode: Any) -> Any:
    """Log-likelihood, and the gradient of its product with `weights` by beta and psi."""
    inputs, weights = symbols(), pt.dvector("weights")
    loglik = MarginalLoglik(flat)(*inputs)[0]
    slopes = pytensor.grad((loglik * weights).sum(), inputs[:2])
    return pytensor.function([*inputs, weights], [loglik, *slopes], mode=mode)


@pytest.mark.parametrize("seed", SEEDS)
def test_interpreted(seed: int) -> None:
    (model, flat), given = case(seed), point(seed)
    weights = np.random.default_rng(seed).normal(size=len(flat.base))
    loglik, by_beta, by_psi = function(flat, INTERPRETED)(*given, weights)
    expected, gradient = loglik_and_gradient(*given, flat.tables)
    np.testing.assert_array_equal(loglik, expected)
    assert_close(np.concatenate([by_beta, by_psi]), weights @ gradient, 1e-12)
    np.testing.assert_allclose(by_group(flat, loglik), dense.loglik_per_group(model, given[0]), rtol=1e-9, atol=1e-9)


def test_numba() -> None:
    """One structure: other data of the same design go through the same compiled code."""
    model, flat = case(3)
    compiled = function(flat, "NUMBA")
    for i in range(3):
        moved = model.at(y=model.y * (1 + i), psi=[psi * (1 + i) for psi in model.psi])
        other, beta, weights = flat_of(moved), any_beta(moved, i), np.arange(len(flat.base)) - 1.0
        given = [beta, entries(moved, other), other.values, other.base]
        loglik, by_beta, by_psi = compiled(*given, weights)
        expected, gradient = loglik_and_gradient(*given, flat.tables)
        np.testing.assert_array_equal(loglik, expected)
        assert_close(np.concatenate([by_beta, by_psi]), weights @ gradient, 1e-12)
    given[0] = np.full(len(beta), np.nan)
    assert not np.isfinite(compiled(*given, weights)[0]).any()


@pytest.mark.parametrize("seed", [6, 8, 11])
def test_jax(seed: int) -> None:
    """Compiled once for each design; Psi of full and of lower rank, and zero."""
    import jax

    register_jax()
    from pytensor.link.jax.dispatch import jax_funcify

    flat = case(seed)[1]
    evaluate = jax.jit(jax_funcify(MarginalLoglik(flat)))
    for psi in ("full", "singular", "zero", "mixed"):
        model, flat = case(seed, psi)
        beta = any_beta(model)
        given = [beta, entries(model, flat), flat.values, flat.base]
        loglik, gradient = (np.asarray(x) for x in evaluate(*given))
        expected, slopes = loglik_and_gradient(*given, flat.tables)
        assert loglik.dtype == np.float64
        np.testing.assert_allclose(loglik, expected, rtol=1e-9, atol=1e-9)
        assert_close(gradient, slopes, 1e-8)
        assert_close(by_group(flat, gradient), dense_gradient(model, beta)[:, : gradient.shape[1]], 1e-7)


def test_jax_compiles_and_differentiates() -> None:
    import jax

    from bayesmeta.bayes.marginal_jax import evaluation

    register_jax()
    _, flat = case(6)
    beta, psi, values, base = map(jax.numpy.asarray, point(6))
    evaluate = evaluation(flat)
    total = jax.jit(jax.value_and_grad(lambda *x: evaluate(*x, values, base)[0].sum(), argnums=(0, 1)))
    value, slopes = total(beta, psi)
    expected, gradient = loglik_and_gradient(*point(6), flat.tables)
    assert float(value) == pytest.approx(expected.sum(), rel=1e-9)
    assert_close(np.concatenate(slopes), gradient.sum(0), 1e-8)
    for broken in ((beta * np.nan, psi), (beta, -100 * psi)):
        assert not np.isfinite(total(*broken)[0])


def test_jax_through_pytensor() -> None:
    pytest.importorskip("jax")
    register_jax()
    _, flat = case(11)
    weights = np.arange(len(flat.base)) + 1.0
    loglik, by_beta, by_psi = function(flat, "JAX")(*point(11), weights)
    expected, gradient = loglik_and_gradient(*point(11), flat.tables)
    np.testing.assert_allclose(loglik, expected, rtol=1e-9, atol=1e-9)
    assert_close(np.concatenate([np.asarray(by_beta), np.asarray(by_psi)]), weights @ gradient, 1e-8)


def test_the_second_derivative_is_refused() -> None:
    _, flat = case(0)
    inputs = symbols()
    slope = pytensor.grad((MarginalLoglik(flat)(*inputs)[0] ** 2).sum(), inputs[0])
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        pytensor.grad(slope.sum(), inputs[0])


def test_nothing_flows_back_to_the_data() -> None:
    _, flat = case(0)
    inputs = symbols()
    loglik = MarginalLoglik(flat)(*inputs)[0].sum()
    with pytest.raises(pytensor.gradient.DisconnectedInputError):
        pytensor.grad(loglik, inputs[2])


def test_shapes_are_known_without_evaluating() -> None:
    _, flat = case(1)
    inputs = symbols()
    loglik, gradient = MarginalLoglik(flat)(*inputs)
    given = point(1)
    shapes = pytensor.function(inputs, [loglik.shape[0], *gradient.shape], mode="FAST_RUN", on_unused_input="ignore")
    m, n = len(given[3]), len(given[0]) + len(given[1])
    assert [int(x) for x in shapes(*given)] == [m, m, n]
    nodes = [node.op for node in shapes.maker.fgraph.toposort()]
    assert not any(isinstance(op, MarginalLoglik) for op in nodes)


def test_equal_for_the_same_statistics() -> None:
    _, flat = case(0)
    assert MarginalLoglik(flat) == MarginalLoglik(flat)
    assert MarginalLoglik(flat) != MarginalLoglik(case(1)[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", range(4))
def test_what_is_not_finite_stays_so(which: int, value: float) -> None:
    _, flat = case(2)
    given = [array.copy() for array in point(2)]
    given[which][:] = value
    evaluate = function(flat, INTERPRETED)
    with np.errstate(all="ignore"):
        loglik = evaluate(*given, np.ones(len(flat.base)))[0]
    assert not np.isfinite(loglik).any()
