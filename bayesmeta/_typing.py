"""Types of arrays, named once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]  # what argsort, flatnonzero and searchsorted answer
ObjectArray = NDArray[np.object_]
AnyArray = NDArray[Any]
