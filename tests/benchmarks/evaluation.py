"""One evaluation of the marginal log-likelihood with its gradient: our operation beside PyTensor graphs."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

import bayesmeta as bm


def fused(spec: bm.Spec) -> Callable[[Any, Any], Any]:
    """Log-likelihood as the operation of the package."""
    import pytensor.tensor as pt

    from bayesmeta.bayes.marginal_op import MarginalLoglik
    from bayesmeta.kernel.flat import flatten

    flat = flatten(spec.statistics)
    op = MarginalLoglik(flat)
    return lambda beta, psi: op(beta, psi.ravel(), pt.constant(flat.values), pt.constant(flat.base))[0].sum()


def _dense(spec: bm.Spec) -> tuple[np.ndarray, np.ndarray]:
    """y (m, k) and S (m, k, k) of a model without missing outcomes and one level."""
    k, m = len(spec.outcomes), spec.levels[0].n_groups
    S = np.zeros((m, k, k))
    for value, row_, col in zip(spec.S.value, spec.S.row, spec.S.col, strict=True):
        S[row_ // k, row_ % k, col % k] = S[row_ // k, col % k, row_ % k] = value
    return spec.y.reshape(m, k), S


def multivariate_normal(spec: bm.Spec) -> Callable[[Any, Any], Any]:
    """By pm.MvNormal on a batch of covariance matrices."""
    import pymc as pm

    y, S = _dense(spec)
    return lambda beta, psi: pm.logp(pm.MvNormal.dist(mu=beta, cov=S + psi, shape=y.shape), y).sum()


def plain(spec: bm.Spec) -> Callable[[Any, Any], Any]:
    """Elementwise Cholesky factors, one vector over all groups for every entry."""
    import pytensor.tensor as pt

    y, S = _dense(spec)
    k = y.shape[1]

    def total(beta: Any, psi: Any) -> Any:
        L: dict[tuple[int, int], Any] = {}
        z: list[Any] = []
        result = pt.constant(-0.5 * y.size * np.log(2 * np.pi))
        for i in range(k):
            for j in range(i + 1):
                s = S[:, i, j] + psi[i, j] - sum(L[i, h] * L[j, h] for h in range(j))
                L[i, j] = pt.sqrt(s) if i == j else s / L[j, j]
            z.append((y[:, i] - beta[i] - sum(L[i, h] * z[h] for h in range(i))) / L[i, i])
            result += (-pt.log(L[i, i]) - z[i] ** 2 / 2).sum()
        return result

    return total


# beta and Psi at which the ways are timed
PLACE = np.array([0.2, -0.1, 0.3]), np.array([[0.25, 0.2, 0.1], [0.2, 0.5, 0.1], [0.1, 0.1, 0.4]])
WAYS: dict[str, Callable[[bm.Spec], Callable[[Any, Any], Any]]] = {
    "one operation": fused,
    "pm.MvNormal": multivariate_normal,
    "plain graph": plain,
}


def evaluation(spec: bm.Spec, way: str) -> tuple[float, float, float]:
    """Seconds to compile, microseconds of one log-likelihood with its gradient by beta and Psi, and the value."""
    import pytensor
    import pytensor.tensor as pt

    begun = perf_counter()
    beta, psi = pt.dvector("beta"), pt.dmatrix("psi")
    total = WAYS[way](spec)(beta, psi)
    call = pytensor.function([beta, psi], [total, *pt.grad(total, [beta, psi])], mode="NUMBA", trust_input=True)
    value = float(call(*PLACE)[0])
    seconds = perf_counter() - begun
    return seconds, 1e6 * _repeated(lambda: call(*PLACE)), value


def call_overhead() -> float:
    """Microseconds of a call that computes nothing."""
    import pytensor
    import pytensor.tensor as pt

    beta, psi = pt.dvector("beta"), pt.dmatrix("psi")
    call = pytensor.function([beta, psi], [beta[0] + psi[0, 0], beta + 1, psi + 1], mode="NUMBA", trust_input=True)
    given = np.zeros(3), np.zeros((3, 3))
    return 1e6 * _repeated(lambda: call(*given))


def _repeated(call: Callable[[], Any], least: float = 0.2, times: int = 7) -> float:
    """Least over a few rounds: what disturbs a call only adds to it."""
    call()
    begun, n = perf_counter(), 0
    while perf_counter() - begun < least:
        call()
        n += 1
    rounds = []
    for _ in range(times):
        begun = perf_counter()
        for _ in range(n):
            call()
        rounds.append((perf_counter() - begun) / n)
    return min(rounds)
