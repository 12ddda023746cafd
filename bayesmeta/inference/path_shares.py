"""A flow from one node of a graph to another, divided into paths whose shares belong to their edges in equal parts."""

from collections.abc import Callable

import numpy as np

from bayesmeta._typing import FloatArray, IntArray

Divide = Callable[[FloatArray, int, int], FloatArray]
NONE = 1e-10  # of a flow of one unit, that is rounding


def by_random_walk(F: FloatArray, start: int, end: int) -> FloatArray:
    """(T, T) shares of edges along a flow of one unit: of every path its probability over its number of edges.

    F : (T, T) flow from row to column, without circles. Davies et al. (2022), Stat. Med. 41:2091-2114.
    """
    T = len(F)
    out = F.sum(1)
    P = np.divide(F, out[:, None], out=np.zeros_like(F), where=out[:, None] > NONE)
    P[end] = 0.0
    ahead, behind = np.zeros((T, T)), np.zeros((T, T))
    ahead[0, start] = behind[0, end] = 1.0
    for k in range(1, T):  # a flow has no circles, so that no path has more edges
        ahead[k], behind[k] = ahead[k - 1] @ P, P @ behind[k - 1]
    length = 1.0 / (1 + np.add.outer(np.arange(T), np.arange(T)))
    return P * np.einsum("ki,lj,kl->ij", ahead, behind, length)


def by_shortest_paths(F: FloatArray, start: int, end: int) -> FloatArray:
    """The same where the shortest path is taken away with all the flow that it can have, until none is left.

    Papakonstantinou et al. (2018), F1000Research 7:610.
    """
    F, shares = F.copy(), np.zeros_like(F)
    i, j = np.nonzero(np.triu(F + F.T))
    forward = F[i, j] > 0
    order = list(dict.fromkeys(np.column_stack([np.where(forward, i, j), np.where(forward, j, i)]).ravel().tolist()))
    while (path := _shortest(F, start, end, order)) is not None:
        a, b = path[:-1], path[1:]
        taken = F[a, b].min()
        F[a, b] -= taken
        F[F < NONE] = 0.0
        shares[a, b] += taken / len(a)
    return shares


def _shortest(F: FloatArray, start: int, end: int, order: list[int]) -> list[int] | None:
    """The shortest path; of several the one through nodes that come first in this order."""
    before, front = {start: start}, [start]
    while front and end not in before:
        reached = [(i, j) for i in front for j in order if F[i, j] > 0 and j not in before]
        before |= {j: i for i, j in reversed(reached)}
        front = list(dict.fromkeys(j for _, j in reached))
    if end not in before:
        return None
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return path[::-1]


def flows(W: FloatArray, i: IntArray, j: IntArray, edges: IntArray, divide: Divide) -> tuple[FloatArray, FloatArray]:
    """(pairs, edges) flows of one unit between the nodes of every pair (i, j), and the shares of edges in them.

    W : (T, T) conductances of an electrical network; its currents are the weights of edges in least-squares estimates
    of differences of nodes (Rücker 2012, Res. Synth. Methods 3:312-324).  edges : positions of those among the pairs.
    """
    L = np.linalg.pinv(np.diag(W.sum(1)) - W)
    potential, start, end = L[i] - L[j], i[edges], j[edges]
    flow = W[start, end] * (potential[:, start] - potential[:, end])
    flow[np.abs(flow) < NONE] = 0.0
    shares = np.zeros_like(flow)
    for at in range(len(i)):
        F = np.zeros(W.shape)
        F[start, end], F[end, start] = np.maximum(flow[at], 0), np.maximum(-flow[at], 0)
        of_edges = divide(F, int(i[at]), int(j[at]))
        shares[at] = (of_edges + of_edges.T)[start, end]
    return flow, shares
