"""The observed variable of the PyMC model: the marginal likelihood, or the likelihood given explicit random effects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from bayesmeta import kernel
from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.bayes.marginal_op import MarginalLoglik
from bayesmeta.bayes.posterior import observations
from bayesmeta.kernel.batched_linalg import psd_factor
from bayesmeta.kernel.draws import fresh_effects, sampling_errors
from bayesmeta.kernel.flat import flatten
from bayesmeta.kernel.layout import layout
from bayesmeta.kernel.likelihood import matrix_first
from bayesmeta.kernel.whitening import whitener
from bayesmeta.model.spec import Level, Spec

WITHIN = "within"  # dimension over the observations of an outer group
STATISTICS = "statistics"  # shared variable: what the likelihood reads of y
Y = "y"


@dataclass(frozen=True, eq=False)
class Blocks:
    """Observations in one row for each outer group, filled up at the end.

    index : (m, most) positions among the observations, 0 where filled up. filled : (m, most).
    row, place : (n_obs,) where every observation stands.
    """

    index: IntArray
    filled: BoolArray
    row: IntArray
    place: IntArray

    @classmethod
    def of(cls, spec: Spec) -> "Blocks":
        outer = spec.levels[0].index
        order = np.argsort(outer, kind="stable")
        size = np.bincount(outer)
        place = np.empty(len(outer), dtype=np.int64)
        place[order] = np.arange(len(outer)) - np.repeat(np.cumsum(size) - size, size)
        index = np.zeros((len(size), size.max()), dtype=np.int64)
        index[outer, place] = np.arange(len(outer))
        return cls(index, np.arange(size.max()) >= size[:, None], outer, place)

    def spread(self, values: FloatArray) -> FloatArray:
        """(..., n_obs) -> (..., m, most), zeros where filled up."""
        return np.where(self.filled, 0.0, values[..., self.index])

    def gather(self, table: Any) -> Any:
        """(m, most) -> (n_obs,)."""
        return table[self.row, self.place]


class StatisticsOf(Op):
    """The values of `Flat` for other y of the same design, not interpreted by any compiler: for `pm.observe` and data
    that are replaced."""

    __props__ = ("spec", "blocks")

    def __init__(self, spec: Spec, blocks: Blocks) -> None:
        self.spec, self.blocks = spec, blocks

    def make_node(self, y: Any) -> Apply:
        return Apply(self, [pt.as_tensor_variable(y, dtype="float64")], [pt.dvector()])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Sequence[Any]) -> None:
        output_storage[0][0] = values_of(self.spec, self.blocks.gather(inputs[0]))

    def infer_shape(self, *node_and_shapes: Any) -> list[Any]:
        return [(len(flatten(self.spec.statistics).values),)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False]]


def values_of(spec: Spec, y: FloatArray) -> FloatArray:
    """What the likelihood reads of other y (n_obs,) of the same design."""
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    S = (spec.S.value, spec.S.row, spec.S.col)
    return flatten(kernel.statistics(y - spec.offset, spec.X, Z, index, S)).values


def marginal_likelihood(spec: Spec, blocks: Blocks, beta: Any, psi: Sequence[Any]) -> Any:
    """The observed y with the random effects integrated out; one log-likelihood for each outer group."""
    flat = flatten(spec.statistics)
    op, observed = MarginalLoglik(flat), blocks.spread(spec.y)
    values = pytensor.shared(flat.values, name=STATISTICS)
    base = pt.constant(flat.base)
    place = np.argsort(flat.outer_group)
    used = [p.ravel() for p, level in zip(psi[: len(flat.dims)], spec.levels, strict=False) if level.dim]
    entries = pt.concatenate(used) if used else pt.zeros(0)

    def logp(value: Any, beta: Any, entries: Any, like: Any) -> Any:
        same = isinstance(value, pt.TensorConstant) and np.array_equal(value.data, observed)
        seen = values if same else StatisticsOf(spec, blocks)(value)
        return op(_vector(beta), _vector(entries), seen, base)[0][place]

    def random(beta: Any, entries: Any, like: Any, rng: Any = None, size: Any = None) -> FloatArray:
        return blocks.spread(draw_y(spec, np.ravel(beta), _matrices(spec, np.ravel(entries)), rng))

    return pm.CustomDist(
        Y,
        beta,
        entries,
        np.zeros(observed.shape[1]),
        logp=logp,
        random=random,
        signature="(p),(q),(n)->(n)",
        observed=observed,
        dims=(schema.group(spec.levels[0].name), WITHIN),
    )


def _vector(parameter: Any) -> Any:
    """PyMC gives the parameters of a distribution an axis for its batches, here of length one."""
    return parameter[0] if parameter.ndim == 2 else parameter


def _matrices(spec: Spec, entries: FloatArray) -> list[FloatArray]:
    matrices, at = [], 0
    for level in spec.levels:
        matrices.append(entries[at : at + level.dim**2].reshape(level.dim, level.dim))
        at += level.dim**2
    return matrices


def draw_y(spec: Spec, beta: FloatArray, psi: Sequence[FloatArray], rng: np.random.Generator) -> FloatArray:
    """y (n_obs,) of new groups with the designs and sampling covariances of these."""
    b = fresh_effects([p[None] for p in psi], [level.n_groups for level in spec.levels], rng)
    return observations(spec, beta[None], b, rng)[0]


def _root(level: Level, covariance: Any) -> Any:
    """F with Psi = F F'; Psi may be singular where its structure has no correlations to sample."""
    structure, dim = level.structure, level.dim
    if structure.n_rho(dim):
        return pt.linalg.cholesky(covariance)
    fixed = np.array(structure.compose(np.ones(structure.n_tau(dim)), np.zeros(0), dim), float)
    sizes = np.diag(fixed)
    scale = pt.sqrt(pt.diagonal(covariance) / np.where(sizes > 0, sizes, 1.0))
    return scale[:, None] * psd_factor(matrix_first(fixed))[:, :, 0, 0]


def explicit_likelihood(spec: Spec, blocks: Blocks, beta: Any, psi: Sequence[Any]) -> Any:
    """The observed y given random effects b_L = z_L F' with Psi = F F' and z_L standard normal."""
    mean = pt.dot(spec.X, beta) + spec.offset
    for level, covariance in zip(spec.levels, psi, strict=True):
        if level.dim:
            group, effect = schema.group(level.name), schema.effect(level.name)
            z = pm.Normal(f"z_{level.name}", dims=(group, effect))
            b = pm.Deterministic(schema.b(level.name), z @ _root(level, covariance).T, dims=(group, effect))
            mean = mean + (b[level.index] * level.Z).sum(-1)
    observed = blocks.spread(spec.y)
    outer = spec.levels[0].index
    n, m = len(spec.y), spec.levels[0].n_groups
    S = (spec.S.value, spec.S.row, spec.S.col)
    plan = layout([outer], spec.S.row, spec.S.col)
    white = whitener(np.atleast_2d(spec.S.value), spec.S.row, spec.S.col, plan)
    constant = np.zeros(m)
    np.add.at(constant, outer[plan.order], -(np.log(2 * np.pi) + white.logdet(n)[:, 0]) / 2)
    roots = [np.linalg.inv(np.moveaxis(C[:, :, 0], -1, 0)) for C in white.factors]

    def logp(value: Any, mean: Any, like: Any) -> Any:
        residual = blocks.gather(value) - _vector(mean)
        total = pt.constant(constant)
        for rows, root in zip(white.rows, roots, strict=True):
            at = plan.order[rows.T]
            e = (root * residual[at][:, None, :]).sum(-1)
            total = pt.inc_subtensor(total[outer[at[:, 0]]], -(e * e).sum(-1) / 2, ignore_duplicates=False)
        return total

    def random(mean: Any, like: Any, rng: Any = None, size: Any = None) -> FloatArray:
        return blocks.spread(np.ravel(mean) + sampling_errors(S, n, 1, rng)[0])

    return pm.CustomDist(
        Y,
        mean,
        np.zeros(observed.shape[1]),
        logp=logp,
        random=random,
        signature="(a),(n)->(n)",
        observed=observed,
        dims=(schema.group(spec.levels[0].name), WITHIN),
    )
