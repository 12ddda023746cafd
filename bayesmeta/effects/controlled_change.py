"""Effect sizes of trials with values before and after treatment in two arms: differences of changes."""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.effects.change import Changes, mean_change, standardised_change_raw
from bayesmeta.effects.recipe import Correction, Estimate, Inputs, enters
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.two_groups import TwoGroups, bias_factor
from bayesmeta.effects.zero_cells import ZeroCells


@dataclass(frozen=True, eq=False)
class Controlled:
    """The changes of two arms, after minus before."""

    treated: Changes
    control: Changes

    @property
    def r(self) -> FloatArray:
        """The correlation of both arms, weighted by their persons."""
        n1, n2 = self.treated.n, self.control.n
        return (n1 * self.treated.r + n2 * self.control.r) / (n1 + n2)


ARGUMENTS = ("before1", "before2", "after1", "after2", "sd_before1", "sd_before2", "n1i", "n2i", "ri1", "ri2")
AFTER = ("sd_after1", "sd_after2")


def _read(reported: Reported, zeros: ZeroCells) -> Controlled:
    return Controlled(*(_arm(reported, arm, f"sd_before{arm}") for arm in "12"))


def _read_with_sds_after(reported: Reported, zeros: ZeroCells) -> Controlled:
    return Controlled(*(_arm(reported, arm, f"sd_after{arm}") for arm in "12"))


def _arm(reported: Reported, arm: str, sd_after: str) -> Changes:
    """The changes of an arm; in the notation of changes, the first occasion is that after treatment."""
    before, after = reported.real(f"before{arm}"), reported.real(f"after{arm}")
    sds = reported.sd(sd_after), reported.sd(f"sd_before{arm}")
    return Changes(after, before, *sds, reported.size(f"n{arm}i"), reported.correlation(f"ri{arm}"))


BEFORE_ONLY = Inputs(_read, ARGUMENTS, {"n": ("n1i", "n2i")})
BOTH_SDS = Inputs(_read_with_sds_after, (*ARGUMENTS, *AFTER), {"n": ("n1i", "n2i")})
NONE = "not in escalc"


@enters("PPC", "pre_post_control", "smd", BEFORE_ONLY, metafor=NONE, example="0.7168 0.0605")
def pre_post_control(c: Controlled, correction: Correction = "exact") -> Estimate:
    """Standardised difference of the changes of two arms, in SDs of persons before treatment, pooled over the arms.

    d = J (change1 - change2) / s, J with m = n1 + n2 - 2 degrees of freedom, s the pooled SD before treatment, with
    variance 2 J^2 (1 - r) h m / (m - 2) (1 + d^2 / (2 (1 - r) h)) - d^2, where h = 1/n1 + 1/n2 and r is the correlation
    of a person's values.

    Morris (2008), Organ. Res. Methods 11:364-386, equations 8 and 25.
    """
    t, k = c.treated, c.control
    before = TwoGroups(t.m2, k.m2, t.sd2, k.sd2, t.n, k.n)
    m, h = before.df, before.inverse_sizes
    J = bias_factor(m, correction)
    d = J * ((t.m1 - t.m2) - (k.m1 - k.m2)) / before.pooled
    spread = 2 * (1 - c.r) * h
    v = np.where(m > 2, J**2 * m / (m - 2) * (spread + d**2) - d**2, np.nan)
    return d, {"LS": v}


@enters("PPCS", "pre_post_control_separate", "smd", BEFORE_ONLY, metafor=NONE, example="0.8447 0.0799")
def pre_post_control_separate(c: Controlled, correction: Correction = "exact") -> Estimate:
    """Difference of the standardised changes of two arms, each in SDs of its own persons before treatment.

    The difference of two `standardised_change_raw`, whose variances are added.

    Becker (1988), Br. J. Math. Stat. Psychol. 41:257-278; Morris (2008), Organ. Res. Methods 11:364-386, equation 5.
    """
    (y1, v1), (y2, v2) = (
        standardised_change_raw(Changes(x.m1, x.m2, x.sd2, x.sd2, x.n, x.r), correction) for x in (c.treated, c.control)
    )
    return y1 - y2, {word: v1[word] + v2[word] for word in v1}


@enters("PPCM", "pre_post_control_raw", "md", BOTH_SDS, metafor=NONE, example="4.0000 1.6952")
def pre_post_control_raw(c: Controlled) -> Estimate:
    """Difference of the mean changes of two arms, in the unit of the outcome.

    change1 - change2 with the sum of the variances of two `mean_change`.

    Morris and DeShon (2002), Psychol. Methods 7:105-125.
    """
    (y1, v1), (y2, v2) = mean_change(c.treated), mean_change(c.control)
    return y1 - y2, {"LS": v1["LS"] + v2["LS"]}
