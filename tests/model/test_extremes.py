"""Numbers whose squares leave the range of floating point are refused with words."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.errors import DataError, SpecError


@pytest.mark.parametrize("v", [1e-300, 5e-324, 1e300])
def test_sampling_variances_beyond_numbers(v: float) -> None:
    with pytest.raises(DataError, match="to compute with"):
        bm.specify("y ~ 1", {"y": [0.1, 0.2, 0.3], "v": [0.1, v, 0.2]}, S="v")


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (bm.structures.Fixed, 1e308),
        (bm.structures.Fixed, 1e-320),
        (bm.structures.Proportional, 1e308),
        (bm.structures.Proportional, 1e-320),
        (bm.structures.KnownCorrelation, 1e308),
    ],
)
def test_matrices_beyond_numbers(structure: Callable[[Any], Any], size: float) -> None:
    with pytest.raises(SpecError, match="largest entry"):
        structure(size * np.eye(2))
