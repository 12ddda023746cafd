"""Probabilities that a value of one group exceeds one of the other, also known as areas under the curve."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.effects.recipe import Estimate, Inputs, enters
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.two_groups import (
    ARGUMENTS,
    REPORTED,
    TwoGroups,
    groups_but,
    of_unequal_sds,
    stated_difference,
)
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import SpecError


@dataclass(frozen=True, eq=False)
class Superiority:
    """Two groups, with NaN for unknown means and SDs, and d where it is stated, which supposes equal SDs."""

    groups: TwoGroups
    d: FloatArray

    @property
    def stated(self) -> BoolArray:
        return ~np.isnan(self.d)


def _read(reported: Reported, zeros: ZeroCells) -> Superiority:
    reported.need("n1i", "n2i")
    measured = reported.has(*ARGUMENTS[:4])
    d = stated_difference(reported)
    if reported.has("ai"):
        share = reported.between("ai", 0, 1, "a probability")
        d = np.where(np.isnan(d), np.sqrt(2) * ndtri(share), d)
    if not measured and not any(map(reported.has, ("di", "ti", "pi", "ai"))):
        raise SpecError(f"{reported.who} needs m1i, m2i, sd1i and sd2i, or one of di, ti, pi and ai")
    return Superiority(groups_but(reported, () if measured else ARGUMENTS[:4]), d)


NORMAL = Inputs(_read, (*ARGUMENTS, "di", "ti", "pi", "ai"), REPORTED)


def superiority_of(d: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Phi(d / sqrt(2)) and its variance, by the delta method, from a standardised difference and its variance."""
    return ndtr(d / np.sqrt(2)), np.exp(-(d**2) / 2) / (4 * np.pi) * variance


@enters("CLESN", "probability_of_superiority", "cles", NORMAL, example="0.6694 0.0049")
def probability_of_superiority(g: Superiority) -> Estimate:
    """Probability that a person of the first arm has the larger value, of normal outcomes: common language effect size.

    Phi(d / sqrt(2)), d in roots of the mean variance, with the variance of `smd_unequal_sds` by the delta method, in
    its three kinds. Where d, or what it follows from, is stated in place of means, the SDs are taken for equal.

    Ruscio (2008), Psychol. Methods 13:19-30.
    """
    d = (g.groups.m1 - g.groups.m2) / g.groups.average_sd
    y, _ = superiority_of(np.where(g.stated, g.d, d), d)
    equal = superiority_of(g.d, _of_equal_sds(g, g.d))[1]
    kinds = {word: superiority_of(d, v)[1] for word, v in of_unequal_sds(g.groups, d).items()}
    return y, {word: np.where(g.stated, equal, v) for word, v in kinds.items()}


@enters(
    *("CLESN_HO", "probability_of_superiority_equal_sds", "cles", NORMAL),
    metafor='CLESN with vtype="HO"',
    example="0.6693 0.0048",
)
def probability_of_superiority_equal_sds(g: Superiority) -> Estimate:
    """Probability that a person of the first arm has the larger value, of normal outcomes with the same SD.

    Phi(d / sqrt(2)), d in pooled SDs, with its variance 1/n1 + 1/n2 + d^2 / (2 (n1 + n2)) by the delta method.

    Ruscio (2008), Psychol. Methods 13:19-30.
    """
    d = np.where(g.stated, g.d, g.groups.d)
    y, v = superiority_of(d, _of_equal_sds(g, d))
    return y, {"LS": v, "HO": v}


def _of_equal_sds(g: Superiority, d: FloatArray) -> FloatArray:
    return g.groups.inverse_sizes + d**2 / (2 * g.groups.n)


@dataclass(frozen=True, eq=False)
class Ranks:
    """Area under the curve, sizes of two groups and the share of ties, each (n,)."""

    auc: FloatArray
    n1: FloatArray
    n2: FloatArray
    ties: FloatArray


def _read_ranks(reported: Reported, zeros: ZeroCells) -> Ranks:
    auc = reported.between("ai", 0, 1, "an area under the curve")
    ties = reported.between("mi", 0, 1, "a share of ties") if reported.has("mi") else np.zeros_like(auc)
    return Ranks(auc, reported.size("n1i"), reported.size("n2i"), np.nan_to_num(ties))


RANKS = Inputs(_read_ranks, ("ai", "n1i", "n2i", "mi"), {"n": REPORTED["n"]})


@enters("CLES", "area_under_curve", "cles", RANKS, example="0.7000 0.0051")
def area_under_curve(r: Ranks) -> Estimate:
    """Probability that a person of the first arm has the larger value, from ranks: area under the curve.

    The area A as it is reported, with Newcombe's variance A (1 - A) (2 m - 1 - (3 m - 3) / ((2 - A) (1 + A))) /
    ((n1 - 1) (n2 - 1)), m the mean of n1 and n2. "LS2" is that of Hanley and McNeil, with the share of ties, "H0" that
    of equal distributions, "MAX" its upper bound.

    Newcombe (2006), Stat. Med. 25:559-573; Hanley and McNeil (1982), Radiology 143:29-36; Cho, Matthews and Harel
    (2019), Stat. Methods Med. Res. 28:2537-2561, for (n1 - 1) (n2 - 1).
    """
    A, pairs, m = r.auc, (r.n1 - 1) * (r.n2 - 1), (r.n1 + r.n2) / 2
    spread = A * (1 - A)
    exceeds_two, exceeded_twice = A / (2 - A) - A**2, 2 * A**2 / (1 + A) - A**2
    return A, {
        "LS": spread / pairs * (2 * m - 1 - (3 * m - 3) / ((2 - A) * (1 + A))),
        "LS2": (spread - r.ties / 4 + (r.n1 - 1) * exceeds_two + (r.n2 - 1) * exceeded_twice) / pairs,
        "H0": (r.n1 + r.n2 + 1) / (12 * r.n1 * r.n2),
        "MAX": spread / (np.minimum(r.n1, r.n2) - 1),
    }
