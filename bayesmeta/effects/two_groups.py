"""Effect sizes of the means and SDs of two groups: a formula a measure."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, poch, stdtrit

from bayesmeta._typing import FloatArray
from bayesmeta.effects.recipe import Correction, Estimate, Inputs, enters, mean_over_rows
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.two_by_two import fisher_z, scaled
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import SpecError


def bias_factor(df: FloatArray, correction: Correction = "exact") -> FloatArray:
    """What a standardised difference with these degrees of freedom is multiplied by, NaN for one or fewer.

    Hedges (1981), J. Educ. Stat. 6:107-128, equation 6e, and the approximation below it.
    """
    if correction == "none":
        return np.ones_like(df)
    if correction == "approximate":
        return 1 - 3 / (4 * df - 1)
    enough = np.where(df > 1, df, np.nan)
    return np.asarray(poch((enough - 1) / 2, 0.5) / np.sqrt(enough / 2))  # poch is the ratio of the gamma functions


@dataclass(frozen=True, eq=False)
class TwoGroups:
    """Means, SDs and sizes of two groups, each (n,)."""

    m1: FloatArray
    m2: FloatArray
    sd1: FloatArray
    sd2: FloatArray
    n1: FloatArray
    n2: FloatArray

    @property
    def n(self) -> FloatArray:
        return self.n1 + self.n2

    @property
    def df(self) -> FloatArray:
        return self.n - 2

    @property
    def pooled(self) -> FloatArray:
        """SD of both groups; on a scale of 1, so that no SD is too large or too small to be squared."""
        scale = np.fmax(self.sd1, self.sd2)
        squares = (self.n1 - 1) * (self.sd1 / scale) ** 2 + (self.n2 - 1) * (self.sd2 / scale) ** 2
        return scale * np.sqrt(squares / self.df)

    @property
    def average_sd(self) -> FloatArray:
        """Root of the mean of both variances, whatever the sizes."""
        scale = np.fmax(self.sd1, self.sd2)
        return scale * np.sqrt(((self.sd1 / scale) ** 2 + (self.sd2 / scale) ** 2) / 2)

    @property
    def d(self) -> FloatArray:
        """Difference in pooled SDs."""
        return (self.m1 - self.m2) / self.pooled

    @property
    def inverse_sizes(self) -> FloatArray:
        return 1 / self.n1 + 1 / self.n2

    @property
    def relative_errors(self) -> tuple[FloatArray, FloatArray]:
        """Squared standard errors of the means, relative to the means."""
        return (self.sd1 / self.m1) ** 2 / self.n1, (self.sd2 / self.m2) ** 2 / self.n2


ARGUMENTS = ("m1i", "m2i", "sd1i", "sd2i", "n1i", "n2i")
REPORTED = {"mean": ("m1i", "m2i"), "sd": ("sd1i", "sd2i"), "n": ("n1i", "n2i")}


def _read(reported: Reported, zeros: ZeroCells) -> TwoGroups:
    reported.need(*ARGUMENTS)
    return groups_but(reported)


def groups_but(reported: Reported, but: tuple[str, ...] = ()) -> TwoGroups:
    """Groups of which these quantities are not needed, and NaN."""
    unknown = np.full(len(reported.frame), np.nan)
    kinds = {"m": reported.real, "s": reported.sd, "n": reported.size}
    return TwoGroups(*(unknown if name in but else kinds[name[0]](name) for name in ARGUMENTS))


def _read_sds(reported: Reported, zeros: ZeroCells) -> TwoGroups:
    return groups_but(reported, ("m1i", "m2i"))


def _read_control_sd(reported: Reported, zeros: ZeroCells) -> TwoGroups:
    return groups_but(reported, ("sd1i",))


def _read_with_statistics(reported: Reported, zeros: ZeroCells) -> TwoGroups:
    """Means and SDs, or else the standardised difference that a row's d, t, p or point-biserial r says."""
    d = stated_difference(reported)
    if reported.has(*ARGUMENTS[:4]):
        groups = groups_but(reported)
    elif reported.has("n1i", "n2i") and reported.has("di") | reported.has("ti") | reported.has("pi") | reported.has(
        "ri"
    ):
        groups = groups_but(reported, ARGUMENTS[:4])
    else:
        raise SpecError(f"{reported.who} needs n1i and n2i, and m1i, m2i, sd1i and sd2i, or one of di, ti, pi, ri")
    stated, one = ~np.isnan(d), np.ones_like(d)
    of_d = (d, 0 * one, one, one)
    of_means = (groups.m1, groups.m2, groups.sd1, groups.sd2)
    known = [np.where(stated, x, y) for x, y in zip(of_d, of_means, strict=True)]
    return TwoGroups(*[*known, groups.n1, groups.n2])


def stated_difference(reported: Reported) -> FloatArray:
    """(n,) standardised differences: d, else from t, else from the p-value, else from the point-biserial r."""
    d = np.full(len(reported.frame), np.nan)
    if not reported.has("n1i", "n2i"):
        return d
    n1, n2 = reported.size("n1i", 1), reported.size("n2i", 1)
    if reported.has("di"):
        d = reported.real("di")
    if reported.has("ti") or reported.has("pi"):
        d = np.where(np.isnan(d), stated_t(reported, n1 + n2 - 2) * np.sqrt(1 / n1 + 1 / n2), d)
    if reported.has("ri"):
        r = reported.correlation("ri")
        with np.errstate(divide="ignore"):
            from_r = np.sqrt((n1 + n2 - 2) * (1 / n1 + 1 / n2)) * r / np.sqrt(1 - r**2)
        d = np.where(np.isnan(d), from_r, d)
    return d


def stated_t(reported: Reported, df: FloatArray) -> FloatArray:
    """(n,) t statistics, where there is none that of the two-sided p-value with the sign of the effect."""
    t = reported.real("ti") if reported.has("ti") else np.full(len(reported.frame), np.nan)
    if not reported.has("pi"):
        return t
    p = reported.pvalue("pi")
    enough = np.where(df >= 1, df, np.nan)
    return np.where(np.isnan(t), -np.sign(p) * stdtrit(enough, np.abs(p) / 2), t)


GROUPS = Inputs(_read, ARGUMENTS, REPORTED)
SDS = Inputs(_read_sds, ARGUMENTS[2:], {"sd": REPORTED["sd"], "n": REPORTED["n"]})
CONTROL_SD = Inputs(_read_control_sd, ARGUMENTS, {"mean": REPORTED["mean"], "n": REPORTED["n"]})
STATED = Inputs(_read_with_statistics, (*ARGUMENTS, "di", "ti", "pi", "ri"), REPORTED)


@enters("MD", "mean_difference", "md", GROUPS, example="3.1000 1.7245")
def mean_difference(g: TwoGroups) -> Estimate:
    """Difference of the means of two arms, in the unit of the outcome.

    m1 - m2 with variance sd1^2 / n1 + sd2^2 / n2; the SDs of the arms may differ. With "HO" they are the same, the
    pooled SD.

    Welch (1938), Biometrika 29:350-362.
    """
    unequal = g.sd1**2 / g.n1 + g.sd2**2 / g.n2
    return g.m1 - g.m2, {"LS": unequal, "UB": unequal, "HO": g.pooled**2 * g.inverse_sizes}


def standardised(g: TwoGroups, d: FloatArray, df: FloatArray, persons: FloatArray, correction: Correction) -> Estimate:
    """Corrected for bias, with the variances of a noncentral t; persons : those behind the SD."""
    J = bias_factor(df, correction)
    y = J * d
    apart = g.inverse_sizes
    return y, {
        "LS": apart + y**2 / (2 * persons),
        "LS2": J**2 * (apart + d**2 / (2 * persons)),
        "UB": apart + (1 - (df - 2) / (df * J**2)) * y**2,
        "AV": apart + mean_over_rows(y, g.n) ** 2 / (2 * persons),
        "H0": np.where(df > 2, J**2 * apart * df / (df - 2), np.nan),
    }


@enters("SMD", "hedges_g", "smd", STATED, example="0.6111 0.0723")
def standardised_mean_difference(g: TwoGroups, correction: Correction = "exact") -> Estimate:
    """Standardised mean difference of two arms, in SDs of persons, corrected for the bias of small samples.

    g = J d with variance 1/n1 + 1/n2 + g^2 / (2 (n1 + n2)), as by default in metafor's escalc, for d = (m1 - m2) /
    pooled SD. "LS2" has J^2 (1/n1 + 1/n2 + d^2 / (2 (n1 + n2))), "UB" the unbiased 1/n1 + 1/n2 + (1 - (m - 2) /
    (m J^2)) g^2, "AV" the mean of g over all studies in place of g, and "H0" supposes no difference.

    Hedges (1981), J. Educ. Stat. 6:107-128; Hedges and Olkin (1985), Statistical Methods for Meta-Analysis, page 86;
    Hedges (1983), Psychol. Bull. 93:388-395, equation 9, for "UB".
    """
    return standardised(g, g.d, g.df, g.n, correction)


@enters("SMD1", "glass_delta", "smd", CONTROL_SD, example="0.6149 0.0758")
def glass_delta(g: TwoGroups, correction: Correction = "exact") -> Estimate:
    """Standardised mean difference of two arms in SDs of the second, the control group.

    J (m1 - m2) / sd2 with the variance of `hedges_g`, where n2 persons stand behind the SD.

    Glass (1976), Educ. Res. 5(10):3-8; Hedges (1981), J. Educ. Stat. 6:107-128.
    """
    return standardised(g, (g.m1 - g.m2) / g.sd2, g.n2 - 1, g.n2, correction)


@enters("SMD1H", "glass_delta_unequal_sds", "smd", GROUPS, example="0.6149 0.0814")
def glass_delta_unequal_sds(g: TwoGroups, correction: Correction = "exact") -> Estimate:
    """Standardised mean difference of two arms in SDs of the second, where the SD of the first may differ.

    J (m1 - m2) / sd2 with variance (sd1 / sd2)^2 / (n1 - 1) + 1 / (n2 - 1) + y^2 / (2 (n2 - 1)).

    Bonett (2008), Psychol. Methods 13:99-109, equation 12.
    """
    y = bias_factor(g.n2 - 1, correction) * (g.m1 - g.m2) / g.sd2
    return y, {"LS": (g.sd1 / g.sd2) ** 2 / (g.n1 - 1) + 1 / (g.n2 - 1) + y**2 / (2 * (g.n2 - 1))}


@enters("SMDH", "smd_unequal_sds", "smd", GROUPS, example="0.6115 0.0748")
def smd_unequal_sds(g: TwoGroups, correction: Correction = "exact") -> Estimate:
    """Standardised mean difference of two arms whose SDs may differ, in roots of their mean variance.

    J (m1 - m2) / s, s^2 = (sd1^2 + sd2^2) / 2, with variance y^2 (sd1^4 / (n1 - 1) + sd2^4 / (n2 - 1)) / (8 s^4) +
    (sd1^2 / (n1 - 1) + sd2^2 / (n2 - 1)) / s^2. "LS2" has n in place of n - 1, "LS3" only in the second part.

    Bonett (2008), Psychol. Methods 13:99-109, equation 8.
    """
    y = bias_factor(g.df, correction) * (g.m1 - g.m2) / g.average_sd
    return y, of_unequal_sds(g, y)


def of_unequal_sds(g: TwoGroups, y: FloatArray) -> dict[str, FloatArray]:
    """Variances of a difference in roots of the mean variance; they differ in what is taken from n in their parts."""
    share1, share2 = (g.sd1 / g.average_sd) ** 2, (g.sd2 / g.average_sd) ** 2

    def variance(of_sd: int, of_mean: int) -> FloatArray:
        from_sd = y**2 / 8 * (share1**2 / (g.n1 - of_sd) + share2**2 / (g.n2 - of_sd))
        return np.asarray(from_sd + share1 / (g.n1 - of_mean) + share2 / (g.n2 - of_mean))

    return {"LS": variance(1, 1), "LS2": variance(0, 0), "LS3": variance(1, 0)}


@enters("ROM", "ratio_of_means", "logrom", GROUPS, example="0.1375 0.0034")
def log_ratio_of_means(g: TwoGroups, correction: Correction = "exact") -> Estimate:
    """Log ratio of the means of two arms, of outcomes that are positive.

    log(m1 / m2) + (e1 - e2) / 2 with variance e1 + e2, where e = sd^2 / (n m^2); correction="none" leaves out the
    second term. "LS2" adds (e1^2 + e2^2) / 2, "HO" has the pooled SD, "AV" the coefficients of variation of all studies
    together, "AVHO" their mean over both arms.

    Hedges, Gurevitch and Curtis (1999), Ecology 80:1150-1156; Lajeunesse (2015), Ecology 96:2056-2063, equations 8 and
    9.
    """
    e1, e2 = g.relative_errors
    cv1, cv2 = g.sd1 / g.m1, g.sd2 / g.m2
    mean1, mean2 = mean_over_rows(cv1, g.n1), mean_over_rows(cv2, g.n2)
    both = np.isfinite(cv1 + cv2 + g.n)
    mean = mean_over_rows(np.concatenate([cv1[both], cv2[both]]), np.concatenate([g.n1[both], g.n2[both]]))
    y = np.log(g.m1 / g.m2) + (0 if correction == "none" else (e1 - e2) / 2)
    return y, {
        "LS": e1 + e2,
        "LS2": e1 + e2 + (e1**2 + e2**2) / 2,
        "HO": (g.pooled / g.m1) ** 2 / g.n1 + (g.pooled / g.m2) ** 2 / g.n2,
        "AV": mean1**2 / g.n1 + mean2**2 / g.n2,
        "AVHO": mean**2 * g.inverse_sizes,
    }


def of_log_sds(g: TwoGroups) -> tuple[FloatArray, FloatArray]:
    """Variance of the difference of two log SDs, of first and of second order."""
    first = 1 / (2 * (g.n1 - 1)) + 1 / (2 * (g.n2 - 1))
    return first, (g.n1 / (g.n1 - 1) ** 2 + g.n2 / (g.n2 - 1) ** 2) / 2


@enters("VR", "variability_ratio", "logvr", SDS, example="0.0387 0.0358")
def log_variability_ratio(g: TwoGroups, correction: Correction = "exact") -> Estimate:
    """Log ratio of the SDs of two arms.

    log(sd1 / sd2) + 1 / (2 (n1 - 1)) - 1 / (2 (n2 - 1)) with variance 1 / (2 (n1 - 1)) + 1 / (2 (n2 - 1));
    correction="none" leaves out what follows the log. "LS2" is of second order.

    Nakagawa et al. (2015), Methods Ecol. Evol. 6:143-152, equation 9; Senior, Viechtbauer and Nakagawa (2020), Res.
    Synth. Methods 11:553-567, equation 15.
    """
    first, second = of_log_sds(g)
    bias = 0 if correction == "none" else 1 / (2 * (g.n1 - 1)) - 1 / (2 * (g.n2 - 1))
    return np.log(g.sd1 / g.sd2) + bias, {"LS": first, "LS2": second}


@enters("CVR", "cv_ratio", "logcvr", GROUPS, example="-0.0987 0.0392")
def log_cv_ratio(g: TwoGroups, correction: Correction = "exact") -> Estimate:
    """Log ratio of the coefficients of variation of two arms, of outcomes that are positive.

    log((sd1 / m1) / (sd2 / m2)), corrected as the log ratio of SDs less that of means, with the sum of their variances;
    correction="none" leaves the correction out. "LS2" is of second order.

    Nakagawa et al. (2015), Methods Ecol. Evol. 6:143-152, equation 12, without its covariance; Senior, Viechtbauer and
    Nakagawa (2020), Res. Synth. Methods 11:553-567, equations 6 and 16.
    """
    vr, of_sds = log_variability_ratio(g, correction)
    rom, of_means = log_ratio_of_means(g, correction)
    return vr - rom, {word: of_sds[word] + of_means[word] for word in ("LS", "LS2")}


@enters("RPB", "point_biserial", "rpb", STATED, example="0.3005 0.0141")
def point_biserial(g: TwoGroups) -> Estimate:
    """Point-biserial correlation of the outcome with membership of the first arm.

    d / sqrt(d^2 + h) with h = (n1 + n2 - 2) (1/n1 + 1/n2). Its variance is that of arms of fixed size ("ST", the same
    as "LS") or of a sample that falls into two arms ("CS").

    Tate (1954), Ann. Math. Stat. 25:603-607.
    """
    h = g.df * g.inverse_sizes
    r = g.d / np.sqrt(g.d**2 + h)
    stratified = h**2 / (h + g.d**2) ** 3 * (g.inverse_sizes + g.d**2 / (2 * g.n))
    crossed = (1 - r**2) ** 2 * (g.n * r**2 / (4 * g.n1 * g.n2) + (2 - 3 * r**2) / (2 * g.n))
    return r, {"LS": stratified, "ST": stratified, "CS": crossed}


@enters("ZPB", "point_biserial_z", "zpb", STATED, example="0.3100 0.0170")
def point_biserial_z(g: TwoGroups) -> Estimate:
    """Fisher's z of the point-biserial correlation; it does not make the variance independent of the correlation.

    atanh(r) with the variance of r, "ST" or "CS", divided by (1 - r^2)^2.

    The delta method on Tate (1954), Ann. Math. Stat. 25:603-607.
    """
    return fisher_z(point_biserial(g))


@enters("RBIS", "biserial", "rbis", STATED, example="0.3767 0.0217")
def biserial(g: TwoGroups) -> Estimate:
    """Biserial correlation of the outcome with a normal variable that was cut to make the two arms.

    The point-biserial correlation times sqrt(p q) / f, for p = n1 / n, q = 1 - p and f the normal density at the cut,
    with Soper's variance.

    Soper (1914), Biometrika 10:384-390; Jacobs and Viechtbauer (2017), Res. Synth. Methods 8:161-180.
    """
    r, _ = point_biserial(g)
    p, q = g.n1 / g.n, g.n2 / g.n
    cut = -ndtri(p)
    density = np.exp(-(cut**2) / 2) / np.sqrt(2 * np.pi)
    y = np.sqrt(p * q) / density * r
    within = np.clip(y, -1, 1)
    bend = 1.5 + (1 - p * cut / density) * (1 + q * cut / density)
    return y, {"LS": (p * q / density**2 - bend * within**2 + within**4) / (g.n - 1)}


@enters("ZBIS", "biserial_z", "zbis", STATED, example="0.3962 0.0295")
def biserial_z(g: TwoGroups) -> Estimate:
    """Fisher's z of the biserial correlation; it does not make the variance independent of the correlation.

    atanh(r) with the variance of r divided by (1 - r^2)^2.

    The delta method on Soper (1914), Biometrika 10:384-390.
    """
    return fisher_z(biserial(g))


@enters("D2ORL", "odds_ratio_from_smd", "logor", STATED, example="1.1235 0.2380")
def odds_ratio_from_smd(g: TwoGroups) -> Estimate:
    """Log odds ratio of a logistic outcome of two arms that is cut into two, from its means and SDs.

    pi / sqrt(3) times d, which is not corrected for bias.

    Hasselblad and Hedges (1995), Psychol. Bull. 117:167-178.
    """
    return scaled(_uncorrected(g), np.pi / np.sqrt(3))


@enters("D2ORN", "odds_ratio_from_smd_normal", "logor", STATED, example="1.0221 0.1970")
def odds_ratio_from_smd_normal(g: TwoGroups) -> Estimate:
    """Log odds ratio of a normal outcome of two arms that is cut into two, from its means and SDs.

    1.65 times d, which is not corrected for bias.

    Cox and Snell (1989), Analysis of Binary Data, 2nd ed.
    """
    return scaled(_uncorrected(g), 1.65)


def _uncorrected(g: TwoGroups) -> Estimate:
    y, variances = standardised_mean_difference(g, "none")
    return y, {"LS": variances["LS"]}
