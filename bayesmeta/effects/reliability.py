"""Coefficient alpha, as it is and transformed: a formula a measure."""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.effects.recipe import Estimate, Inputs, enters
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.zero_cells import ZeroCells


@dataclass(frozen=True, eq=False)
class Alphas:
    """Coefficients alpha of scales with m items, from n persons, each (n,)."""

    alpha: FloatArray
    m: FloatArray
    n: FloatArray


def _read(reported: Reported, zeros: ZeroCells) -> Alphas:
    alpha = reported.between("ai", -np.inf, 1, "a coefficient alpha")
    return Alphas(alpha, reported.size("mi", 2, "fewer than two items"), reported.size("ni", 3))


ALPHAS = Inputs(_read, ("ai", "mi", "ni"), {})


@enters("ARAW", "alpha", "alpha", ALPHAS, example="0.9300 0.0001")
def alpha(a: Alphas) -> Estimate:
    """Coefficient alpha of a scale, on its own scale.

    alpha with variance 2 m (1 - alpha)^2 / ((m - 1) (n - 2)), for m items.

    Bonett (2010), Psychol. Methods 15:368-385; van Zyl, Neudecker and Nel (2000), Psychometrika 65:271-280.
    """
    return a.alpha, {"LS": 2 * a.m * (1 - a.alpha) ** 2 / ((a.m - 1) * (a.n - 2))}


@enters("AHW", "alpha_cube_root", "alphahw", ALPHAS, example="0.5879 0.0004")
def alpha_cube_root(a: Alphas) -> Estimate:
    """Coefficient alpha of a scale by the cube root, which makes it more nearly normal.

    1 - (1 - alpha)^(1/3) with variance 18 m (n - 1) (1 - alpha)^(2/3) / ((m - 1) (9 n - 11)^2), for m items.

    Hakstian and Whalen (1976), Psychometrika 41:219-231.
    """
    root = np.cbrt(1 - a.alpha)
    return 1 - root, {"LS": 18 * a.m * (a.n - 1) * root**2 / ((a.m - 1) * (9 * a.n - 11) ** 2)}


@enters("ABT", "alpha_log", "alphalog", ALPHAS, example="2.6593 0.0208")
def alpha_log(a: Alphas) -> Estimate:
    """Coefficient alpha of a scale by the logarithm, which has the same variance for every alpha.

    -log(1 - alpha) with variance 2 m / ((m - 1) (n - 2)), for m items.

    Bonett (2002), J. Educ. Behav. Stat. 27:335-340.
    """
    return -np.log(1 - a.alpha), {"LS": 2 * a.m / ((a.m - 1) * (a.n - 2))}
