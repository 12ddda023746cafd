"""Effect sizes of change: the same persons twice, or matched pairs, whose values are correlated."""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.effects.associations import unbiased
from bayesmeta.effects.recipe import Correction, Estimate, Inputs, enters
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.superiority import superiority_of
from bayesmeta.effects.two_groups import bias_factor, stated_t
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import SpecError


@dataclass(frozen=True, eq=False)
class Changes:
    """Means and SDs of two occasions, persons and the correlation of their values, each (n,)."""

    m1: FloatArray
    m2: FloatArray
    sd1: FloatArray
    sd2: FloatArray
    n: FloatArray
    r: FloatArray

    @property
    def sd_change(self) -> FloatArray:
        """SD of the persons' changes; on a scale of 1, so that no SD is too large or too small to be squared."""
        scale = np.fmax(self.sd1, self.sd2)
        s1, s2 = self.sd1 / scale, self.sd2 / scale
        return scale * np.sqrt(np.maximum(s1**2 + s2**2 - 2 * self.r * s1 * s2, 0))

    @property
    def average_sd(self) -> FloatArray:
        scale = np.fmax(self.sd1, self.sd2)
        return scale * np.sqrt(((self.sd1 / scale) ** 2 + (self.sd2 / scale) ** 2) / 2)

    @property
    def relative(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Squared standard errors of the means, and their covariance, relative to the means."""
        cv1, cv2 = self.sd1 / self.m1, self.sd2 / self.m2
        return cv1**2 / self.n, cv2**2 / self.n, self.r * cv1 * cv2 / self.n


ARGUMENTS = ("m1i", "m2i", "sd1i", "sd2i", "ni", "ri")
REPORTED = {"mean": ("m1i", "m2i"), "sd": ("sd1i", "sd2i")}


def _changes(reported: Reported, but: tuple[str, ...] = ()) -> Changes:
    """Changes of which these quantities are not needed, and NaN; r from the SD of the changes where there is one."""
    needed = [name for name in ARGUMENTS if name not in but]
    if reported.has("sd_change"):
        needed.remove("ri")
    reported.need(*needed)
    unknown = np.full(len(reported.frame), np.nan)
    kinds = {"m": reported.real, "s": reported.sd, "n": reported.size}
    known = [unknown if name in but else kinds[name[0]](name) for name in ARGUMENTS[:5]]
    return Changes(*[*known, _correlation(reported, known[2], known[3])])


def _correlation(reported: Reported, sd1: FloatArray, sd2: FloatArray) -> FloatArray:
    """(n,) correlations of the two occasions, as stated or as the SD of the changes says."""
    r = reported.correlation("ri") if reported.has("ri") else np.full_like(sd1, np.nan)
    if not reported.has("sd_change"):
        return r
    implied = (sd1**2 + sd2**2 - reported.sd("sd_change") ** 2) / (2 * sd1 * sd2)
    impossible = (
        "is no SD of changes between occasions of these SDs: it lies between their difference and their sum"
        "\n  check that it is the SD of the changes, not their standard error"
    )
    reported.refuse("sd_change", np.abs(implied) > 1 + 1e-9, impossible)
    return np.where(np.isnan(r), np.clip(implied, -1, 1), r)


def _read(reported: Reported, zeros: ZeroCells) -> Changes:
    return _changes(reported)


def _read_first_sd(reported: Reported, zeros: ZeroCells) -> Changes:
    return _changes(reported, () if reported.has("sd2i") else ("sd2i",))


def _read_sds(reported: Reported, zeros: ZeroCells) -> Changes:
    return _changes(reported, ("m1i", "m2i"))


def _read_with_statistics(reported: Reported, zeros: ZeroCells) -> Changes:
    """Means, SDs and correlation, or else the change in SDs of changes that a row's d, t or p says."""
    n = reported.size("ni")
    d = reported.real("di") if reported.has("di") else np.full_like(n, np.nan)
    d = np.where(np.isnan(d), stated_t(reported, n - 1) / np.sqrt(n), d)
    means = reported.has("m1i")
    if not means and not any(map(reported.has, ("di", "ti", "pi"))):
        raise SpecError(f"{reported.who} needs m1i, m2i, sd1i, sd2i and ri, or one of di, ti and pi")
    changes = _changes(reported) if means else Changes(*[*[np.full_like(n, np.nan)] * 4, n, n])
    stated, one = ~np.isnan(d), np.ones_like(n)
    known = (changes.m1, changes.m2, changes.sd1, changes.sd2, n, changes.r)
    return Changes(*(np.where(stated, x, y) for x, y in zip((d, 0 * one, one, one, n, one / 2), known, strict=True)))


CHANGES = Inputs(_read, (*ARGUMENTS, "sd_change"), REPORTED)
FIRST_SD = Inputs(_read_first_sd, (*ARGUMENTS, "sd_change"), {"mean": REPORTED["mean"]})
SDS = Inputs(_read_sds, (*ARGUMENTS[2:], "sd_change"), {"sd": REPORTED["sd"]})
STATED = Inputs(_read_with_statistics, (*ARGUMENTS, "sd_change", "di", "ti", "pi"), REPORTED)


@enters("MC", "mean_change", "mc", CHANGES, example="3.0000 1.4333")
def mean_change(c: Changes) -> Estimate:
    """Mean change of the same persons, first occasion minus second, in the unit of the outcome.

    m1 - m2 with variance s^2 / n, where s^2 = sd1^2 + sd2^2 - 2 r sd1 sd2 is the variance of the changes.

    Gibbons, Hedeker and Davis (1993), J. Educ. Stat. 18:271-279.
    """
    return c.m1 - c.m2, {"LS": c.sd_change**2 / c.n}


def _of_noncentral_t(y: FloatArray, J: FloatArray, df: FloatArray) -> FloatArray:
    """Part of the unbiased variance that the SD brings: Hedges (1983), Psychol. Bull. 93:388-395, equation 9."""
    return (1 - (df - 2) / (df * J**2)) * y**2


@enters("SMCC", "standardised_change", "smc", STATED, example="0.4455 0.0366")
def standardised_change(c: Changes, correction: Correction = "exact") -> Estimate:
    """Standardised mean change in SDs of the changes, corrected for the bias of small samples.

    y = J (m1 - m2) / s, s the SD of the changes, with variance 1/n + y^2 / (2 n). "LS2" is J^2 (1/n + d^2 / (2 n)) for
    d = y / J, "UB" unbiased, "H0" supposes no change.

    Gibbons, Hedeker and Davis (1993), J. Educ. Stat. 18:271-279, equation 21; Viechtbauer (2007), J. Educ. Behav. Stat.
    32:39-60, equation 26, for "UB".
    """
    df = c.n - 1
    J, d = bias_factor(df, correction), (c.m1 - c.m2) / c.sd_change
    y = J * d
    return y, {
        "LS": 1 / c.n + y**2 / (2 * c.n),
        "LS2": J**2 * (1 / c.n + d**2 / (2 * c.n)),
        "UB": 1 / c.n + _of_noncentral_t(y, J, df),
        "H0": np.where(df > 2, J**2 / c.n * df / (df - 2), np.nan),
    }


@enters("SMCR", "standardised_change_raw", "smcr", FIRST_SD, example="0.4869 0.0373")
def standardised_change_raw(c: Changes, correction: Correction = "exact") -> Estimate:
    """Standardised mean change in SDs of persons on the first occasion, corrected for the bias of small samples.

    y = J (m1 - m2) / sd1 with variance 2 (1 - r) / n + y^2 / (2 n). "LS2" is J^2 times that of d = y / J, "UB"
    unbiased, "H0" supposes no change. Its unit is that of `hedges_g`, which `standardised_change` has not.

    Becker (1988), Br. J. Math. Stat. Psychol. 41:257-278, equation 13; Viechtbauer (2007), J. Educ. Behav. Stat.
    32:39-60, equation 37, for "UB".
    """
    df = c.n - 1
    J, d = bias_factor(df, correction), (c.m1 - c.m2) / c.sd1
    y, apart, of_unbiased_r = J * d, 2 * (1 - c.r) / c.n, 2 * (1 - unbiased(c.r, c.n)) / c.n
    return y, {
        "LS": apart + y**2 / (2 * c.n),
        "LS2": J**2 * (apart + d**2 / (2 * c.n)),
        "UB": of_unbiased_r + _of_noncentral_t(y, J, df),
        "H0": np.where(df > 2, J**2 * of_unbiased_r * df / (df - 2), np.nan),
    }


@enters("SMCRH", "standardised_change_raw_unequal_sds", "smcr", CHANGES, example="0.4869 0.0453")
def standardised_change_raw_unequal_sds(c: Changes, correction: Correction = "exact") -> Estimate:
    """Standardised mean change in SDs of persons on the first occasion, where the SD of the second may differ.

    y = J (m1 - m2) / sd1 with variance s^2 / (sd1^2 (n - 1)) + y^2 / (2 (n - 1)), s the SD of the changes. "LS2" has n
    in place of n - 1.

    Bonett (2008), Psychol. Methods 13:99-109, equation 13.
    """
    y = bias_factor(c.n - 1, correction) * (c.m1 - c.m2) / c.sd1
    part = (c.sd_change / c.sd1) ** 2 + y**2 / 2
    return y, {"LS": part / (c.n - 1), "LS2": part / c.n}


def _in_average_sds(c: Changes, correction: Correction) -> FloatArray:
    """The degrees of freedom are those of two correlated variances; Cousineau (2020), Tutor. Quant. Methods Psychol."""
    return bias_factor(2 * (c.n - 1) / (1 + c.r**2), correction) * (c.m1 - c.m2) / c.average_sd


@enters("SMCRP", "standardised_change_pooled", "smcr", CHANGES, example="0.4527 0.0355")
def standardised_change_pooled(c: Changes, correction: Correction = "exact") -> Estimate:
    """Standardised mean change in SDs of persons on both occasions, corrected for the bias of small samples.

    y = J (m1 - m2) / sqrt((sd1^2 + sd2^2) / 2), J with 2 (n - 1) / (1 + r^2) degrees of freedom, with variance
    2 (1 - r) / n + y^2 (1 + r^2) / (4 n).

    Cousineau (2020), Tutor. Quant. Methods Psychol. 16:418-421, equation 2.
    """
    y = _in_average_sds(c, correction)
    return y, {"LS": 2 * (1 - c.r) / c.n + y**2 * (1 + c.r**2) / (4 * c.n)}


@enters("SMCRPH", "standardised_change_pooled_unequal_sds", "smcr", CHANGES, example="0.4527 0.0371")
def standardised_change_pooled_unequal_sds(c: Changes, correction: Correction = "exact") -> Estimate:
    """Standardised mean change in SDs of persons on both occasions, which may differ.

    y as `standardised_change_pooled` with variance s^2 / (a^2 (n - 1)) + y^2 (sd1^4 + sd2^4 + 2 r^2 sd1^2 sd2^2) /
    (8 a^4 (n - 1)), a^2 = (sd1^2 + sd2^2) / 2. "LS2" has n in place of n - 1.

    Bonett (2008), Psychol. Methods 13:99-109, equation 10.
    """
    y = _in_average_sds(c, correction)
    part = _of_unequal_sds(c, y)
    return y, {"LS": part / (c.n - 1), "LS2": part / c.n}


def _of_unequal_sds(c: Changes, y: FloatArray) -> FloatArray:
    s1, s2 = c.sd1 / c.average_sd, c.sd2 / c.average_sd
    return (c.sd_change / c.average_sd) ** 2 + y**2 * (s1**4 + s2**4 + 2 * (c.r * s1 * s2) ** 2) / 8


@enters("CLESCN", "change_superiority", "cles", CHANGES, example="0.6276 0.0027")
def change_superiority(c: Changes) -> Estimate:
    """Probability that a value of the first occasion exceeds one of the second of another person, of normal outcomes.

    Phi(d / sqrt(2)), d in roots of the mean variance, with the variance of `standardised_change_pooled_unequal_sds` by
    the delta method.

    Ruscio (2008), Psychol. Methods 13:19-30, for the normal model; Bonett (2008), Psychol. Methods 13:99-109.
    """
    d = (c.m1 - c.m2) / c.average_sd
    y, v = superiority_of(d, _of_unequal_sds(c, d) / (c.n - 1))
    return y, {"LS": v}


@enters("ROMC", "ratio_of_means_change", "logrom", CHANGES, example="0.1049 0.0018")
def log_ratio_of_means_change(c: Changes, correction: Correction = "exact") -> Estimate:
    """Log ratio of the means of two occasions, of outcomes that are positive.

    log(m1 / m2) + (e1 - e2) / 2 with variance e1 + e2 - 2 e12, where e = sd^2 / (n m^2) and e12 = r sd1 sd2 /
    (n m1 m2); correction="none" leaves out the second term. "LS2" is of second order.

    Lajeunesse (2011), Ecology 92:2049-2055, equation 6; Senior, Viechtbauer and Nakagawa (2020), Res. Synth. Methods
    11:553-567, equations 7, 18 and 19.
    """
    e1, e2, e12 = c.relative
    y = np.log(c.m1 / c.m2) + (0 if correction == "none" else (e1 - e2) / 2)
    first = e1 + e2 - 2 * e12
    mixed = (c.r * c.sd1 * c.sd2 / c.n) ** 2 * (c.m1**4 + c.m2**4) / (2 * (c.m1 * c.m2) ** 4)
    return y, {"LS": first, "LS2": first + (e1**2 + e2**2) / 2 + mixed}


@enters("VRC", "variability_ratio_change", "logvr", SDS, example="-0.1542 0.0259")
def log_variability_ratio_change(c: Changes) -> Estimate:
    """Log ratio of the SDs of two occasions.

    log(sd1 / sd2) with variance (1 - r^2) / (n - 1). "LS2" is of second order.

    Senior, Viechtbauer and Nakagawa (2020), Res. Synth. Methods 11:553-567, equations 8, 21 and 22.
    """
    ratio = (c.sd1 / c.sd2) ** 4
    second = c.n / (c.n - 1) ** 2 - c.r**2 / (c.n - 1) + c.r**4 * (ratio + 1 / ratio) / (2 * (c.n - 1) ** 2)
    return np.log(c.sd1 / c.sd2), {"LS": (1 - c.r**2) / (c.n - 1), "LS2": second}


@enters("CVRC", "cv_ratio_change", "logcvr", CHANGES, example="-0.2591 0.0277")
def log_cv_ratio_change(c: Changes, correction: Correction = "exact") -> Estimate:
    """Log ratio of the coefficients of variation of two occasions, of outcomes that are positive.

    The log ratio of SDs less that of means, with the sum of their variances. "LS2" is of second order.

    Senior, Viechtbauer and Nakagawa (2020), Res. Synth. Methods 11:553-567, equations 9, 23 and 24.
    """
    vr, of_sds = log_variability_ratio_change(c)
    rom, of_means = log_ratio_of_means_change(c, correction)
    return vr - rom, {word: of_sds[word] + of_means[word] for word in ("LS", "LS2")}
