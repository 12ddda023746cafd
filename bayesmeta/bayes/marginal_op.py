"""The marginal log-likelihood as one PyTensor Op with its analytic gradient, for Numba, for JAX, and interpreted.

The recursion inside is `kernel.compiled`. One node of the graph stands for any number of groups, and a model that
contains it compiles as fast for a thousand groups as for ten.
"""

from collections.abc import Sequence
from ctypes import CFUNCTYPE, c_size_t
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op

from bayesmeta.kernel.compiled import loglik_and_gradient, marginal
from bayesmeta.kernel.flat import Flat


class MarginalLoglik(Op):
    """Log-likelihood (m,) of every outer group, in the order of `Flat.outer_group`, with the random effects eliminated.

    Inputs are beta (P,), the matrices Psi of every level with effects one after the other, row by row, and `values` and
    `base` of a Flat of the same design. The second output is the gradient (m, P + len(psi)) of the first, from which
    `pullback` reads: one evaluation gives both.
    """

    __props__ = ("flat",)

    def __init__(self, flat: Flat) -> None:
        self.flat = flat

    def make_node(self, *inputs: Any) -> Apply:
        beta, psi, values, base = (pt.as_tensor_variable(x, dtype="float64") for x in inputs)
        return Apply(self, [beta, psi, values, base], [pt.dvector("loglik"), pt.dmatrix("gradient")])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Sequence[Any]) -> None:
        beta, psi, values, base = inputs
        loglik, gradient = loglik_and_gradient(beta, psi, values, base, self.flat.tables)
        output_storage[0][0], output_storage[1][0] = loglik, gradient

    def infer_shape(self, *node_and_shapes: Any) -> list[Any]:
        (P,), (n_psi,), _, (m,) = node_and_shapes[-1]  # before it the node, and in older versions of PyTensor the graph
        return [(m,), (m, P + n_psi)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True, True], [True, True], [False, False], [False, False]]

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Variable]
    ) -> list[Variable]:
        if not isinstance(cotangents[1].type, DisconnectedType):
            raise NotImplementedError("the marginal log-likelihood has no second derivatives")
        slope = cotangents[0] @ outputs[1]
        n_psi = int((self.flat.dims**2).sum())  # JAX takes no slices whose length is computed
        by_beta, by_psi = (slope[:-n_psi], slope[-n_psi:]) if n_psi else (slope, slope[:0])
        return [by_beta, by_psi, disconnected_type(), disconnected_type()]


def register_numba() -> None:
    from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_and_cache_key

    @register_funcify_and_cache_key(MarginalLoglik)
    def numba_marginal(op: MarginalLoglik, node: Any, **kwargs: Any) -> tuple[Any, None]:
        # called by its address, so that neither compilation nor rounding depends on the graph around it; an address is
        # of this process, hence no key for a cache on disk
        call = CFUNCTYPE(None, *(c_size_t,) * len(marginal.ctypes.argtypes))(marginal.address)
        leaf, node_, top, shape, block, dims = (table.ctypes.data for table in op.flat.tables)
        n_leaf, n_node, _, n_shape, n_block, n_dims = map(len, op.flat.tables)

        @numba_njit(fastmath=False)
        def evaluate(beta, psi, values, base):
            beta, psi = np.ascontiguousarray(beta), np.ascontiguousarray(psi)
            values, base = np.ascontiguousarray(values), np.ascontiguousarray(base)
            sizes = np.array([len(beta), len(psi), len(values), len(base), n_leaf, n_node, n_shape, n_block, n_dims])
            loglik, gradient = np.empty(len(base)), np.empty((len(base), len(beta) + len(psi)))
            call(
                beta.ctypes.data,
                psi.ctypes.data,
                values.ctypes.data,
                base.ctypes.data,
                leaf,
                node_,
                top,
                shape,
                block,
                dims,
                loglik.ctypes.data,
                gradient.ctypes.data,
                sizes.ctypes.data,
            )
            return loglik, gradient

        return evaluate, None


def register_jax() -> None:
    from importlib.util import find_spec

    if find_spec("jax") is None:
        return
    from pytensor.link.jax.dispatch.basic import jax_funcify

    @jax_funcify.register(MarginalLoglik)
    def jax_marginal(op: MarginalLoglik, **kwargs: Any) -> Any:
        from bayesmeta.bayes.marginal_jax import evaluation  # loads JAX, which need not be installed

        return evaluation(op.flat)


register_numba()
