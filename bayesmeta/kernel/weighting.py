"""Products with the inverse of the marginal covariance Sigma = S + Z Psi Z', by the recursion: no n x n matrix.

Sigma^-1 y = S^-1 (y - Z b) with b = Psi Z' Sigma^-1 y, the random effects that y would have around zero. Columns are
so many data sets of one design.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesmeta.kernel.draws import linear_predictor, scatter
from bayesmeta.kernel.elimination import downward_nodes, leaf_psi, upward
from bayesmeta.kernel.likelihood import as_batch, pieces
from bayesmeta.kernel.prediction import leaf_mean
from bayesmeta.kernel.statistics import Design, reduce, whitened_design


@dataclass(frozen=True)
class Weighting:
    """Sigma^-1 of one design at one Psi; made by `weighting`."""

    design: Design
    Z: tuple[np.ndarray, ...]
    groups: tuple[np.ndarray, ...]
    S: tuple[np.ndarray, np.ndarray, np.ndarray]
    psi: tuple[np.ndarray, ...]

    def __call__(self, Y: np.ndarray) -> np.ndarray:
        """Sigma^-1 Y for Y (n_obs, columns), rows in the order of the data."""
        weighted = np.empty(Y.shape)
        width = sum(z.shape[1] for z in self.Z) + 2
        for part in pieces(Y.shape[1], 3 * len(Y) * width):
            weighted[:, part] = self._columns(Y[:, part])
        return weighted

    def covariance_times(self, Y: np.ndarray) -> np.ndarray:
        """Sigma Y for Y (n_obs, columns)."""
        value, row, col = self.S
        product, below = np.zeros(Y.shape), row != col
        np.add.at(product, row, value[:, None] * Y[col])
        np.add.at(product, col[below], value[below, None] * Y[row[below]])
        for Z, group, psi in zip(self.Z, self.groups, self.psi, strict=True):
            product += between_times(Z, group, psi, Y)
        return product

    def _columns(self, Y: np.ndarray) -> np.ndarray:
        order = self.design.plan.order
        residual = (Y - self._explained(Y[order]))[order]
        weighted = np.empty(Y.shape)
        weighted[order] = self.design.white.precision_times(residual[:, None])[:, 0]
        return weighted

    def _explained(self, y: np.ndarray) -> np.ndarray:
        """Z b (n_obs, columns) for y in sorted order."""
        if not any(z.shape[1] for z in self.Z):
            return np.zeros(y.shape)
        stats = reduce(self.design, y, np.zeros((0, y.shape[1])))
        psi = as_batch(stats, self.psi)
        up = upward(stats, psi)
        top = np.full((1, 1, 1, 1), -1.0)
        own, _ = downward_nodes(stats, up, top)
        effects = [np.zeros((y.shape[1], m, a)) for m, a in zip(stats.n_groups, stats.dims, strict=True)]
        for level, (node, rows) in enumerate(zip(stats.nodes, own, strict=True)):
            if stats.dims[level]:
                scatter(effects[level], node.group[None], rows[:, :1])
        for chunk, leaf in zip(stats.chunks, up.leaves, strict=True):
            if chunk.a:
                rows = leaf_mean(chunk, leaf, leaf_psi(chunk, psi), own, top)[:, :1]
                for j in range(len(chunk.members) - 1, -1, -1):
                    codes, of_level = chunk.members[j], effects[chunk.parent_level + 1 + j]
                    size = len(codes) * of_level.shape[2]
                    scatter(of_level, codes, rows[:size])
                    rows = rows[size:]
        nothing = np.zeros((len(y), 0))
        return linear_predictor(nothing, self.Z, self.groups, np.zeros((y.shape[1], 0)), effects).T


def weighting(
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
    psi: Sequence[np.ndarray],
) -> Weighting:
    """Sigma^-1 as a function.

    Parameters
    ----------
    Z, groups : per level, outer to inner, (n_obs, a_l) designs and (n_obs,) codes.
    S : values, rows and columns (nnz,) of the lower triangle of the sampling covariance.
    psi : per level (a_l, a_l), positive semi-definite.
    """
    design = whitened_design(np.zeros((len(groups[0]), 0)), Z, groups, S)
    return Weighting(design, tuple(Z), tuple(groups), S, tuple(psi))


def between_times(Z: np.ndarray, group: np.ndarray, psi: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Z psi Z'Y within the groups of a level, for Y (n_obs, columns) and a symmetric psi (a, a)."""
    inside = np.zeros((int(group.max()) + 1, Z.shape[1], Y.shape[1]))
    np.add.at(inside, group, Z[:, :, None] * Y[:, None, :])
    return np.asarray(((Z @ psi)[:, :, None] * inside[group]).sum(1))
