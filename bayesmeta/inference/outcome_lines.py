"""Lines along which the true values of two outcomes lie, and the curves of proportions that they are.

In the plane of xi, minus the second outcome, and eta, the first, lines go through the means; definitions differ in
their slope. Of outcomes that are transformed proportions, as sensitivity and specificity, a line is a curve of the one
by the complement of the other, with an area under it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from scipy.special import expit, logit

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import check_choice
from bayesmeta.effects.links import Link
from bayesmeta.inference.quantities import Truth

_NODES, _PIECE, _FAR = 16, 3.0, 36.0  # of Gauss-Legendre quadrature; its pieces' width; logit of the least proportion
_PIECES, _LINES = 24, 100_000  # at most, of each of many lines, and of all lines together
_STEEP = (0.0, 2.0, 8.0, np.inf)  # slopes between which lines are alike
_STEP, _END = 0.65, 28.6  # of the trapezoidal rule over all logits, and how far it goes
_HALVINGS = 60
_FLAT = 1e-12  # of a variance between groups, to that of the other outcome


class Spread:
    """Variances between groups of eta and xi, and their covariance."""

    def __init__(self, at: Truth) -> None:
        self.eta, self.xi, self.both = at.psi[..., 0, 0], at.psi[..., 1, 1], -at.psi[..., 0, 1]


def _major_axis(v: Spread) -> FloatArray:
    apart = v.eta - v.xi
    return np.asarray((apart + np.sqrt(apart**2 + 4 * v.both**2)) / (2 * v.both))


# slope of the line eta = intercept + slope xi through the means (Arends et al. 2008, section 3.3)
SLOPES: dict[str, Callable[[Spread], FloatArray]] = {
    "rutter-gatsonis": lambda v: np.sqrt(v.eta / v.xi),
    "eta-xi": lambda v: v.both / v.xi,
    "xi-eta": lambda v: v.eta / v.both,
    "moses-littenberg": lambda v: (v.eta + v.both) / (v.xi + v.both),
    "major-axis": _major_axis,
}
_SYNONYMS = {
    "rutter-gatsonis": ("ruttergatsonis", "hsroc", "rg"),
    "eta-xi": ("naive", "eta on xi"),
    "xi-eta": ("xi on eta",),
    "moses-littenberg": ("d on s", "moses"),
    "major-axis": ("ma",),
}


def check_kind(kind: Any) -> str:
    """A definition of the line, by its name or another one."""
    return check_choice(kind, SLOPES, "kind", _SYNONYMS.__getitem__)


def evenly(ends: FloatArray, n: int) -> FloatArray:
    """(..., n) values from one end to the other of (..., 2)."""
    return np.asarray(ends[..., :1] + (ends[..., 1:] - ends[..., :1]) * np.linspace(0, 1, n))


@dataclass(frozen=True, eq=False)
class Lines:
    """One line for each truth: intercept, slope and whether a variance is too small to have one, each (n, B)."""

    intercept: FloatArray
    slope: FloatArray
    flat: BoolArray
    links: tuple[Link, ...]

    @classmethod
    def of(cls, at: Truth, kind: str) -> "Lines":
        v = Spread(at)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = SLOPES[kind](v)
            flat = (v.xi <= _FLAT * v.eta) | (v.eta <= _FLAT * v.xi) | ~np.isfinite(slope)
            return cls(at.mean[..., 0] + slope * at.mean[..., 1], slope, flat, at.links)

    @property
    def weights(self) -> FloatArray:
        """(n, B, 1, 2) of the means in the intercept."""
        return np.stack([np.ones_like(self.slope), self.slope], axis=-1)[..., None, :]

    def at(self, share: FloatArray) -> FloatArray:
        """(n, B, m) eta where the complement of the second proportion is (n, 1, m)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.intercept[..., None] - self.slope[..., None] * self.links[1].forward(1 - share))

    def area(self, within: FloatArray) -> FloatArray:
        """(n, B) mean of the first proportion over complements of the second between two (n, 2).

        By Gauss-Legendre quadrature over their logits, in which the integrand is smooth; a piece at a time, since there
        may be thousands of truths. All of it, where both are on the scale of the logit, see `_whole_area`.
        """
        ends = np.clip(logit(within), -_FAR, _FAR)
        if all(link.name == "logit" for link in self.links) and (np.abs(ends) == _FAR).all():
            return self._whole_area()
        steep, made = np.abs(self.slope), np.full(self.slope.shape, np.nan)
        for i, (least, most) in product(range(len(ends)), pairwise(_STEEP)):
            alike = np.flatnonzero((steep[i] >= least) & (steep[i] < most))
            if len(alike):
                made[i, alike] = self._area_of(i, alike, ends[i], steep[i, alike].max())
        return np.clip(made, 0.0, 1.0)

    def _area_of(self, i: int, alike: IntArray, ends: FloatArray, steepest: float) -> FloatArray:
        """(m,) of lines of row i that are about as steep, the steepest of which says how many pieces are needed."""
        wanted = max(steepest, 1.0) * float(np.ptp(ends)) / _PIECE
        edges = evenly(ends, int(np.clip(np.ceil(wanted), 1, max(_PIECES, _LINES // len(alike)))) + 1)
        z, w = np.polynomial.legendre.leggauss(_NODES)
        total, weights = np.zeros(len(alike)), 0.0
        for low, high in pairwise(edges.tolist()):
            x = (low + high) / 2 + (high - low) / 2 * z
            share = w * (high - low) * expit(x) * expit(-x)
            at = self.links[1].forward(expit(-x))
            for node, each in zip(at.tolist(), share.tolist(), strict=True):
                total += each * self.links[0].inverse(self.intercept[i, alike] - self.slope[i, alike] * node)
            weights += float(share.sum())
        return total / weights

    def _whole_area(self) -> FloatArray:
        """(n, B) areas under lines of logits: the mean of expit(a + s x) for x of the standard logistic distribution.

        By the trapezoidal rule, whose error falls exponentially with the distance of the nearest pole from the real
        axis, pi over the larger of 1 and s. As x is symmetric, the sign of s does not matter; and with y like x, P(y <
        a + s x) = P(x > (y - a) / s) = P(y < a / s + x / s), so that of s and 1 / s the smaller one serves.
        """
        steep = np.maximum(np.abs(self.slope), 1.0)
        a, s = self.intercept / steep, np.minimum(np.abs(self.slope), 1.0) / steep
        x = np.linspace(-_END, _END, 2 * int(_END / _STEP) + 1)
        weight, total = expit(x) * expit(-x), np.zeros(self.slope.shape)
        for node, share in zip(x.tolist(), (weight / weight.sum()).tolist(), strict=True):
            total += share * expit(a + s * node)
        return np.asarray(np.clip(total, 0.0, 1.0))

    def crossing(self) -> FloatArray:
        """(n, B) where both proportions are equal; by halving where they are not on one scale."""
        if self.links[0] is self.links[1]:
            with np.errstate(divide="ignore", invalid="ignore"):
                both = self.links[0].inverse(self.intercept / (1 + self.slope))
            return np.where(np.isfinite(self.slope), both, np.nan)
        low, high = np.zeros(self.slope.shape), np.ones(self.slope.shape)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            eta = self.intercept - self.slope * self.links[1].forward(1 - middle)
            above = self.links[0].inverse(eta) > 1 - middle
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.where(np.isfinite(self.slope), 1 - low, np.nan)
