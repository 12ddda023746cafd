"""The kernel called on a model of tests.dense, and how its answers are compared."""

import numpy as np
from numpy.typing import ArrayLike

from bayesmeta import kernel
from tests.support import dense
from tests.support.dense import Model


def statistics(model: Model) -> kernel.Statistics:
    return kernel.statistics(model.y, model.X, model.Z, model.groups, dense.triplet(model.S))


def likelihood(model: Model, restricted: bool, gradient: bool = False) -> kernel.Likelihood:
    return kernel.likelihood(statistics(model), model.psi, restricted, gradient)


def predicted(model: Model) -> kernel.Prediction:
    return kernel.random_effects(statistics(model), model.psi)


def assert_close(actual: ArrayLike, expected: ArrayLike, tolerance: float = 1e-9) -> None:
    """Equal shapes, and entries equal relative to the largest of them; where all are zero, to numbers of order one."""
    assert np.shape(actual) == np.shape(expected)
    scale = np.max(np.abs(expected), initial=1e-2)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)
