"""Effect sizes of matched pairs, or of the same persons twice, by an event: a formula a measure.

The cells are numbers of pairs: with the event in both (a), in the first only (b), in the second only (c), in neither.
"""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.effects.recipe import Estimate, Inputs, enters
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.two_by_two import TwoByTwo, log_odds_ratio
from bayesmeta.effects.two_by_two import read as read_table
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import SpecError


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs with the event in both members, the first only, the second only, neither; each (n,)."""

    a: FloatArray
    b: FloatArray
    c: FloatArray
    d: FloatArray

    @property
    def n(self) -> FloatArray:
        return self.a + self.b + self.c + self.d

    @property
    def first(self) -> FloatArray:
        """Risk of the first members."""
        return (self.a + self.b) / self.n

    @property
    def second(self) -> FloatArray:
        return (self.a + self.c) / self.n

    @property
    def difference(self) -> FloatArray:
        """Sampling variance of the difference of the two risks."""
        b, c = self.b / self.n, self.c / self.n
        return (b + c - (b - c) ** 2) / self.n


def _read(reported: Reported, zeros: ZeroCells) -> Pairs:
    table = read_table(reported, zeros)
    return Pairs(table.a, table.b, table.c, table.d)


PAIRS = Inputs(_read, ("ai", "bi", "ci", "di", "n1i", "n2i"), {})


@enters("MPRD", "marginal_risk_difference", "rd", PAIRS, example="0.0500 0.0025")
def marginal_risk_difference(t: Pairs) -> Estimate:
    """Difference of the risks of the two members of pairs, positive where the risk of the first is higher.

    (b - c) / n with variance (q + r - (q - r)^2) / n, where q = b / n and r = c / n.

    Newcombe (1998), Stat. Med. 17:2635-2650.
    """
    return t.first - t.second, {"LS": t.difference}


@enters("MPRR", "marginal_risk_ratio", "logrr", PAIRS, example="0.1178 0.0139")
def marginal_log_risk_ratio(t: Pairs) -> Estimate:
    """Log ratio of the risks of the two members of pairs, positive where the risk of the first is higher.

    log((a + b) / (a + c)) with variance (b + c) / ((a + b) (a + c)).

    Nam and Blackwelder (2002), Stat. Med. 21:689-699.
    """
    return np.log(t.first) - np.log(t.second), {"LS": (t.b + t.c) / ((t.a + t.b) * (t.a + t.c))}


@enters("MPOR", "marginal_odds_ratio", "logor", PAIRS, example="0.2048 0.0417")
def marginal_log_odds_ratio(t: Pairs) -> Estimate:
    """Log ratio of the odds of the two members of pairs, in the population; compare `conditional_odds_ratio`.

    log of p1 / (1 - p1) over p2 / (1 - p2), p1 = (a + b) / n and p2 = (a + c) / n, with the variance of their
    difference divided by p1 (1 - p1) p2 (1 - p2).

    Zou (2007), Stat. Med. 26:5116-5127; Becker and Balagtas (1993), Biometrics 49:997-1009.
    """
    spread = t.first * (1 - t.first) * t.second * (1 - t.second)
    y = np.log(t.first / (1 - t.first)) - np.log(t.second / (1 - t.second))
    return y, {"LS": t.difference / spread}


@enters("MPORC", "conditional_odds_ratio", "logor", PAIRS, example="0.4055 0.1667")
def conditional_log_odds_ratio(t: Pairs) -> Estimate:
    """Log odds ratio within pairs, from those whose members differ.

    log(b / c) with variance 1/b + 1/c.

    McNemar (1947), Psychometrika 12:153-157; Becker and Balagtas (1993), Biometrics 49:997-1009.
    """
    return np.log(t.b) - np.log(t.c), {"LS": 1 / t.b + 1 / t.c}


@enters("MPPETO", "paired_peto_odds_ratio", "logor", PAIRS, example="0.4000 0.1600")
def paired_peto_log_odds_ratio(t: Pairs) -> Estimate:
    """Log odds ratio within pairs by Peto's one-step method, from those whose members differ.

    (b - E) / V with variance 1 / V, E = (b + c) / 2 and V = (b + c) / 4.

    Curtin, Elbourne and Altman (2002), Stat. Med. 21:2145-2159.
    """
    differ = t.b + t.c
    return 2 * (t.b - t.c) / differ, {"LS": 4 / differ}


@dataclass(frozen=True, eq=False)
class Margins:
    """Two arms that are the same persons: their margins, those observed, and the correlation of their outcomes."""

    table: TwoByTwo
    r: FloatArray


def _read_margins(reported: Reported, zeros: ZeroCells) -> Margins:
    if not reported.has("ri") and not reported.has("pi"):
        raise SpecError(f"{reported.who} needs ri, the correlation, or pi, the share of persons with the event twice")
    observed = read_table(reported, ZeroCells("none"))
    r = np.full(len(reported.frame), np.nan)
    if reported.has("pi"):
        r = _correlation(observed, reported.between("pi", 0, 1, "a proportion"))
    if reported.has("ri"):
        stated = reported.correlation("ri")
        r = np.where(np.isnan(stated), r, stated)
    return Margins(read_table(reported, zeros), r)


def _correlation(t: TwoByTwo, both: FloatArray) -> FloatArray:
    """Phi of the two occasions from the share with the event in both; NaN where that share is impossible."""
    p, q = t.p1, t.p2
    with np.errstate(all="ignore"):
        phi = (both - p * q) / np.sqrt(p * (1 - p) * q * (1 - q))
    return np.where(np.abs(phi) <= 1, phi, np.nan)


MARGINS = Inputs(_read_margins, (*PAIRS.arguments, "ri", "pi"), {})


@enters("MPORM", "marginal_odds_ratio_from_totals", "logor", MARGINS, example="0.2048 0.0410")
def marginal_log_odds_ratio_from_totals(t: Margins) -> Estimate:
    """Log ratio of the odds of the same persons twice, where only the totals of both times are reported.

    The log odds ratio of the two margins with the variance of independent arms minus twice the covariance that the
    correlation r of the two outcomes implies, 2 r / (n sqrt(p1 (1 - p1) p2 (1 - p2))).

    Elbourne, Altman, Higgins, Curtin, Worthington and Vail (2002), Int. J. Epidemiol. 31:140-149.
    """
    y, variances = log_odds_ratio(t.table)
    covariance = np.round(t.table.n / 2) * t.r / np.sqrt(np.prod(t.table.cells, axis=0))
    return y, {word: v - 2 * covariance for word, v in variances.items()}
