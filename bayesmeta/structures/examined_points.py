"""A structure that is examined: points all over the range of its free parameters, and its matrices there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from bayesmeta._validation import shown
from bayesmeta.errors import SpecError
from bayesmeta.structures.base import STEPS, Structure

N_POINTS = 60  # of the free parameters, at random
MOST_LINES = 20  # parameters that are moved alone, from far below to far above zero
FAR = 12.0  # of a parameter that is no SD: beyond any angle, and where logistic functions are at their ends
SAME = 1e-7  # of the size of matrices that should be equal
NEGATIVE = 1e-9  # of the largest entry of Psi, an eigenvalue below zero that is rounding
REGULAR = 1e-3  # of the largest entry, the least eigenvalue of a matrix well inside the family
_AXES = {
    "psi": "; further axes of xi are data sets, or draws, and stand last",
    "compose": "; further axes of tau and rho are data sets, or draws, and stand last",
    "pullback": "; further axes are data sets, or draws, and stand last",
}
_MAPPED = (
    "the search may go wherever `lower` lets it: map every free parameter into the range in which Psi is positive "
    "definite\n  (of one correlation: the methods low(dim) and high(dim))"
)


class Examined:
    """One structure over `dim` effects, with points of its free parameters and the matrices there."""

    def __init__(self, structure: Structure, dim: int) -> None:
        self.structure, self.dim = structure, dim
        self.rng = np.random.default_rng(1)

    def wrong(self, method: str, what: str, remedy: str) -> NoReturn:
        raise problem(self.structure, self.dim, method, what, remedy)

    def call(self, method: str, *args: Any) -> Any:
        return called(self.structure, self.dim, method, getattr(self.structure, method), *args)

    def array(self, method: str, shape: tuple[int, ...], *args: Any) -> np.ndarray:
        """What a method returns, of this shape; matrices may lack the axes over which they are constant."""
        value = self.call(method, *args)
        try:
            value = np.asarray(value, float)
            value = np.broadcast_to(value, shape) if method in ("psi", "compose") and value.ndim >= 2 else value
        except (TypeError, ValueError):
            pass
        if not isinstance(value, np.ndarray) or value.shape != shape:
            given = f"shape {value.shape}" if isinstance(value, np.ndarray) else shown(value)
            self.wrong(method, f"returns {given}", f"it must be an array of shape {shape}{_AXES.get(method, '')}")
        return value

    def counts(self) -> None:
        """How many parameters there are, and what is said of each."""
        dim, pairs = self.dim, self.dim * (self.dim - 1) // 2
        self.n_free, self.n_tau, self.n_rho = (self.call(name, dim) for name in ("n_free", "n_tau", "n_rho"))
        for name, value, allowed in (
            ("n_tau", self.n_tau, {0, 1, dim}),
            ("n_rho", self.n_rho, {0, 1, pairs}),
            ("n_free", self.n_free, None),
        ):
            if not isinstance(value, int | np.integer) or value < 0 or (allowed and value not in allowed):
                choices = " or ".join(map(str, sorted(allowed))) if allowed else "a number of parameters"
                self.wrong(name, f"returns {shown(value)}", f"it must be {choices}: 0, 1 for all, or one for each")
        labels = self.call("labels", [f"e{i}" for i in range(dim)])
        texts = isinstance(labels, tuple | list) and all(isinstance(each, str) for each in labels)
        if not texts or len(set(labels)) != self.n_free or len(labels) != self.n_free:
            self.wrong("labels", f"returns {shown(labels)}", f"it must be {self.n_free} different texts (n_free)")
        units = self.array("units", (self.n_free,), np.linspace(1.0, 2.0, dim))
        if not (np.isfinite(units) & (units > 0)).all():
            self.wrong("units", f"returns {numbers(units)}", "sizes must be positive")
        self.lower = self.array("lower", (self.n_free,), dim)
        self.zeros = np.asarray(self.call("zero_positions", dim))
        if len(self.zeros) and (self.zeros.dtype.kind not in "iu" or not set(self.zeros) <= set(range(self.n_free))):
            self.wrong("zero_positions", f"returns {shown(self.zeros.tolist())}", "it must be positions in xi")

    def points(self) -> None:
        """xi all over the family: SDs of several sizes, the others from far below to far above zero."""
        shape = (self.n_free, N_POINTS)
        near = self.rng.uniform(-np.pi, np.pi, shape)
        xi = np.where(np.arange(N_POINTS) < N_POINTS // 2, near, self.rng.uniform(-FAR, FAR, shape))
        xi[self.zeros] = np.exp(self.rng.uniform(np.log(0.1), np.log(3.0), (len(self.zeros), N_POINTS)))
        others = np.setdiff1d(np.arange(self.n_free), self.zeros)
        others = others[:MOST_LINES]
        steps = max(STEPS // max(len(others), 1), 10)
        line = np.append(np.linspace(-FAR, FAR, 2 * steps + 1), np.linspace(0, np.pi, steps // 10 + 2))
        lines = np.repeat(xi[:, :1], len(line) * len(others), axis=1)
        for k, position in enumerate(others):
            lines[position, k * len(line) : (k + 1) * len(line)] = line
        xi = np.concatenate([xi, lines], axis=1)
        bounded = np.isfinite(self.lower)
        xi[bounded] = np.maximum(xi[bounded], self.lower[bounded, None] + 0.01)
        self.xi = xi
        self.psi = self.array("psi", (self.dim, self.dim, xi.shape[1]), xi, self.dim)

    def semidefinite(self) -> None:
        """Psi is a covariance matrix at all of them."""
        psi = np.moveaxis(self.psi, -1, 0)
        wrong = ~np.isfinite(psi).all((1, 2))
        if wrong.any():
            self.wrong("psi", f"is not finite at xi = {numbers(self.xi[:, wrong][:, 0])}", _MAPPED)
        self.size = np.abs(psi).max((1, 2), initial=0.0)
        wrong = np.abs(psi - psi.swapaxes(1, 2)).max((1, 2), initial=0.0) > SAME * self.size
        if wrong.any():
            at = int(np.argmax(wrong))
            self.wrong("psi", f"is not symmetric at xi = {numbers(self.xi[:, at])}", "entries ij and ji are the same")
        self.smallest = np.linalg.eigvalsh(psi)[:, 0]
        wrong = self.smallest < -NEGATIVE * self.size
        if wrong.any():
            at = int(np.argmin(self.smallest / np.maximum(self.size, 1e-300)))
            where = f"xi = {numbers(self.xi[:, at])}"
            self.wrong("psi", f"has the eigenvalue {self.smallest[at]:.3g} at {where}, so it is indefinite", _MAPPED)
        inside = np.flatnonzero(self.smallest > REGULAR * self.size)
        self.regular = inside[inside < N_POINTS]

    def data_sets(self) -> None:
        """Every column of xi is one data set, or draw."""
        for at in range(min(3, self.xi.shape[1])):
            one = self.array("psi", (self.dim, self.dim), self.xi[:, at], self.dim)
            if not same(one, self.psi[:, :, at]):
                self.wrong("psi", "of several data sets differs from that of each alone", _AXES["psi"].strip(" ;"))


@contextmanager
def _explained(structure: Structure, dim: int, method: str) -> Iterator[None]:
    try:
        yield
    except SpecError:
        raise
    except Exception as error:
        what = f"fails: {type(error).__name__}: {error}"
        raise problem(
            structure, dim, method, what, "the page of bm.structures.Structure says what it is asked"
        ) from error


def called(structure: Structure, dim: int, name: str, method: Callable[..., Any], *args: Any) -> Any:
    with _explained(structure, dim, name):
        return method(*args)


def problem(structure: Structure, dim: int, method: str, what: str, remedy: str) -> SpecError:
    name = getattr(structure, "name", type(structure).__name__)
    return SpecError(f"structure '{name}' over {dim} effects: {method} {what}\n  {remedy}")


def same(a: np.ndarray, b: np.ndarray, tolerance: float = SAME) -> bool:
    return bool(np.abs(a - b).max(initial=0.0) <= tolerance * max(np.abs(b).max(initial=0.0), 1e-300))


def numbers(values: np.ndarray) -> str:
    return (
        "[" + ", ".join(f"{value:.4g}" for value in np.ravel(values)[:8]) + ("]" if np.size(values) <= 8 else ", ..]")
    )


def correlations_of(psi: np.ndarray) -> np.ndarray:
    """(dim, dim, ...) of Psi, zero where an SD is."""
    sd = np.sqrt(np.abs(np.einsum("ii...->i...", psi)))
    size = sd[:, None] * sd[None, :]
    return np.divide(psi, size, out=np.zeros(psi.shape), where=size > 0)
