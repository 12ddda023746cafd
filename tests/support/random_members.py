"""Random members of the families of a specification's levels."""

import numpy as np

import bayesmeta as bm
from tests.support.dense import FloatArray


def random_psi(
    spec: bm.Spec, rng: np.random.Generator
) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray], list[FloatArray]]:
    """Per level a Psi (a, a) of the size of its sampling errors, and the xi that it is at.

    Then its first (a, a, K) and second derivatives (a, a, K, K) by the (co)variances.
    """
    psi, at, slopes, bends = [], [], [], []
    for level, typical in zip(spec.levels, spec.statistics.typical, strict=True):
        structure, dim = level.structure, level.dim
        share = rng.random((structure.n_free(dim) if dim else 0, 1))
        xi = (
            structure.scatter(share, lambda u: 0.3 * 10.0**u, dim)[:, 0] * structure.units(typical)
            if dim
            else share[:, 0]
        )
        psi.append(np.asarray(structure.psi(xi, dim)) if dim else np.zeros((0, 0)))
        at.append(xi)
        slopes.append(structure.variance_slopes(xi, dim) if dim else np.zeros((0, 0, 0)))
        bends.append(structure.variance_bends(xi, dim) if dim else np.zeros((0, 0, 0, 0)))
    return psi, at, slopes, bends
