"""Points beside one another without overlap, always in the same places."""

import numpy as np

from bayesmeta._typing import FloatArray


def swarm(x: FloatArray, radius: FloatArray) -> FloatArray:
    """Heights at which discs at x touch no other, each as near to the line as those before it leave room.

    Parameters
    ----------
    x : (n,) places along the line.
    radius : (n,) of the discs, in the same unit.

    Returns
    -------
    (n,) heights, about 0. Larger discs are placed first, so that they lie nearer to the line.

    Examples
    --------
    >>> swarm(np.array([0.0, 0.0, 5.0]), np.array([1.0, 0.5, 1.0]))
    array([0. , 1.5, 0. ])
    """
    height = np.zeros(len(x))
    order = np.lexsort((np.arange(len(x)), x, -radius))
    for position, i in enumerate(order):
        placed = order[:position]
        reach = radius[placed] + radius[i]
        near = placed[np.abs(x[placed] - x[i]) < reach]
        reach = radius[near] + radius[i]
        room = np.sqrt(np.maximum(reach**2 - (x[near] - x[i]) ** 2, 0))
        tried = np.concatenate([[0.0], height[near] + room, height[near] - room])
        tried = tried[np.lexsort((-tried, np.abs(tried).round(9)))]
        apart = (x[near] - x[i]) ** 2 + (height[near] - tried[:, None]) ** 2
        free = (apart >= (reach * (1 - 1e-9)) ** 2).all(1)
        height[i] = tried[np.argmax(free)]
    return height
