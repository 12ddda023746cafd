"""Effect sizes of one group: proportions, means and their spread, genotypes."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from bayesmeta._typing import FloatArray
from bayesmeta.effects.recipe import Correction, Estimate, Inputs, enters, mean_over_rows
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.two_by_two import _arm as arm
from bayesmeta.effects.two_groups import bias_factor
from bayesmeta.effects.zero_cells import ZeroCells


@dataclass(frozen=True, eq=False)
class Proportions:
    """Persons with the event x and without it m, each (n,)."""

    x: FloatArray
    m: FloatArray

    @property
    def n(self) -> FloatArray:
        return self.x + self.m

    @property
    def p(self) -> FloatArray:
        return self.x / self.n

    @property
    def average(self) -> float:
        """Proportion of all studies together."""
        return mean_over_rows(self.p, self.n)

    def wilson(self, prob: float) -> tuple[FloatArray, FloatArray]:
        """Ends of intervals by the score test (Wilson 1927, J. Am. Stat. Assoc. 22:209-212)."""
        z = float(ndtri(0.5 + prob / 2))
        middle = (self.x + z**2 / 2) / (self.n + z**2)
        half = z / (self.n + z**2) * np.sqrt(self.x * self.m / self.n + z**2 / 4)
        return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)

    def equality(self) -> tuple[float, float, float]:
        """Pearson's chi-squared test that all proportions are equal: statistic, df and p-value, NaN where none is."""
        from scipy.stats import chi2_contingency  # heavy, and effect sizes need none of it

        counts = np.stack([self.x, self.m])
        counts = counts[:, ~np.isnan(counts).any(0)]
        df = float(counts.shape[1] - 1)
        if df <= 0 or not counts.sum(1).all():
            return np.nan, df, np.nan
        chi2, p, df, _ = chi2_contingency(counts, correction=False)
        return float(chi2), float(df), float(p)


def _read(reported: Reported, zeros: ZeroCells) -> Proportions:
    cells = np.stack(arm(reported, "xi", "mi", "ni"))
    return Proportions(*zeros.applied(cells, reported, "events and non-events"))


PROPORTIONS = Inputs(_read, ("xi", "mi", "ni"), {})


@enters("PR", "proportion", "proportion", PROPORTIONS, example="0.9412 0.0033")
def proportion(g: Proportions) -> Estimate:
    """Proportion of persons with an event, on its own scale.

    p = x / n with variance p (1 - p) / n; "UB" has n - 1 in place of n, "AV" the proportion of all studies together.

    Newcombe (1998), Stat. Med. 17:857-872, for the normal interval.
    """
    spread = g.p * (1 - g.p)
    return g.p, {"LS": spread / g.n, "UB": spread / (g.n - 1), "AV": g.average * (1 - g.average) / g.n}


@enters("PLN", "log_proportion", "logproportion", PROPORTIONS, example="-0.0606 0.0037")
def log_proportion(g: Proportions) -> Estimate:
    """Logarithm of the proportion of persons with an event.

    log(x / n) with variance 1/x - 1/n; "AV" has the proportion of all studies together.

    Katz, Baptista, Azen and Pike (1978), Biometrics 34:469-474, for one group.
    """
    return np.log(g.p), {"LS": 1 / g.x - 1 / g.n, "AV": 1 / (g.average * g.n) - 1 / g.n}


@enters("PLO", "logit_proportion", "logit", PROPORTIONS, example="2.7726 1.0625")
def logit_proportion(g: Proportions) -> Estimate:
    """Logit of the proportion of persons with an event, its log odds.

    log(x / m) with variance 1/x + 1/m, for x persons with and m without the event; "AV" has the proportion of all
    studies together.

    Stijnen, Hamza and Özdemir (2010), Stat. Med. 29:3046-3067, section 2.
    """
    average = 1 / (g.average * g.n) + 1 / ((1 - g.average) * g.n)
    return np.log(g.x) - np.log(g.m), {"LS": 1 / g.x + 1 / g.m, "AV": average}


@enters("PRZ", "probit_proportion", "probit", PROPORTIONS, example="1.5647 0.2367")
def probit_proportion(g: Proportions) -> Estimate:
    """Probit of the proportion of persons with an event, its normal quantile.

    z = Phi^-1(p) with variance 2 pi p (1 - p) exp(z^2) / n.

    The delta method on the binomial distribution; Rosenthal (1994), in The Handbook of Research Synthesis, 231-244.
    """
    z = ndtri(g.p)
    return z, {"LS": 2 * np.pi * g.p * (1 - g.p) * np.exp(z**2) / g.n}


@enters("PAS", "arcsine_proportion", "arcsine", PROPORTIONS, adds=False, example="1.3258 0.0147")
def arcsine_proportion(g: Proportions) -> Estimate:
    """Arcsine of the root of the proportion of persons with an event, which has the same variance for every one.

    asin(sqrt(p)) with variance 1 / (4 n). Nothing is added to counts of 0 unless `zero` says so.

    Rücker, Schwarzer, Carpenter and Olkin (2009), Stat. Med. 28:721-738.
    """
    return np.arcsin(np.sqrt(g.p)), {"LS": 1 / (4 * g.n)}


@enters("PFT", "double_arcsine_proportion", "doublearcsine", PROPORTIONS, adds=False, example="1.2819 0.0143")
def double_arcsine_proportion(g: Proportions) -> Estimate:
    """Freeman and Tukey's mean of two arcsines of the proportion of persons with an event.

    (asin(sqrt(x / (n + 1))) + asin(sqrt((x + 1) / (n + 1)))) / 2 with variance 1 / (4 n + 2). Nothing is added to
    counts of 0 unless `zero` says so. It has no inverse without a sample size; see Schwarzer et al. (2019), Res. Synth.
    Methods 10:476-483, before it is used.

    Freeman and Tukey (1950), Ann. Math. Stat. 21:607-611.
    """
    angles = np.arcsin(np.sqrt(g.x / (g.n + 1))) + np.arcsin(np.sqrt((g.x + 1) / (g.n + 1)))
    return angles / 2, {"LS": 1 / (4 * g.n + 2)}


@dataclass(frozen=True, eq=False)
class Means:
    """Means, SDs and sizes of one group, each (n,)."""

    m: FloatArray
    sd: FloatArray
    n: FloatArray


def _read_means(reported: Reported, zeros: ZeroCells) -> Means:
    return Means(reported.real("mi"), reported.sd("sdi"), reported.size("ni"))


def _read_sds(reported: Reported, zeros: ZeroCells) -> Means:
    n = reported.size("ni")
    return Means(np.full_like(n, np.nan), reported.sd("sdi"), n)


MEANS = Inputs(_read_means, ("mi", "sdi", "ni"), {})
SPREADS = Inputs(_read_sds, ("sdi", "ni"), {})


@enters("MN", "mean", "mean", MEANS, example="10.0000 0.4000")
def mean(g: Means) -> Estimate:
    """Mean of one group, in the unit of the outcome.

    m with variance sd^2 / n; "HO" has the SD of all studies together.

    Welch (1938), Biometrika 29:350-362.
    """
    shared = mean_over_rows(g.sd**2, g.n - 1)
    return g.m, {"LS": g.sd**2 / g.n, "HO": shared / g.n}


@enters("SMN", "standardised_mean", "smn", MEANS, example="4.5694 1.1440")
def standardised_mean(g: Means, correction: Correction = "exact") -> Estimate:
    """Mean of one group in SDs of persons, corrected for the bias of small samples.

    y = J m / sd with variance 1 / n + y^2 / (2 n).

    Hedges (1981), J. Educ. Stat. 6:107-128, for one group.
    """
    y = bias_factor(g.n - 1, correction) * g.m / g.sd
    return y, {"LS": 1 / g.n + y**2 / (2 * g.n)}


@enters("MNLN", "log_mean", "logmean", MEANS, example="2.3026 0.0040")
def log_mean(g: Means) -> Estimate:
    """Logarithm of the mean of one group, of an outcome that is positive.

    log(m) with variance sd^2 / (n m^2).

    Hedges, Gurevitch and Curtis (1999), Ecology 80:1150-1156, for one group.
    """
    return np.log(g.m), {"LS": (g.sd / g.m) ** 2 / g.n}


@enters("SDLN", "log_sd", "logsd", SPREADS, example="0.7487 0.0556")
def log_sd(g: Means, correction: Correction = "exact") -> Estimate:
    """Logarithm of the SD of one group.

    log(sd) + 1 / (2 (n - 1)) with variance 1 / (2 (n - 1)); correction="none" leaves out the second term.

    Raudenbush and Bryk (1987), J. Educ. Stat. 12:241-269; Nakagawa et al. (2015), Methods Ecol. Evol. 6:143-152.
    """
    v = 1 / (2 * (g.n - 1))
    return np.log(g.sd) + (0 if correction == "none" else v), {"LS": v}


@enters("CVLN", "log_cv", "logcv", MEANS, example="-1.5539 0.0596")
def log_cv(g: Means, correction: Correction = "exact") -> Estimate:
    """Logarithm of the coefficient of variation of one group, of an outcome that is positive.

    log(sd / m) + 1 / (2 (n - 1)) with variance 1 / (2 (n - 1)) + sd^2 / (n m^2); correction="none" leaves out the
    second term.

    Nakagawa et al. (2015), Methods Ecol. Evol. 6:143-152, without the covariance.
    """
    y, variances = log_sd(g, correction)
    return y - np.log(g.m), {"LS": variances["LS"] + (g.sd / g.m) ** 2 / g.n}


@dataclass(frozen=True, eq=False)
class Genotypes:
    """Persons who are homozygous for the one allele a, heterozygous b, homozygous for the other c; each (n,)."""

    a: FloatArray
    b: FloatArray
    c: FloatArray


def _read_genotypes(reported: Reported, zeros: ZeroCells) -> Genotypes:
    return Genotypes(*(reported.count(name) for name in ("ai", "bi", "ci")))


GENOTYPES = Inputs(_read_genotypes, ("ai", "bi", "ci"), {})


@enters("REH", "relative_excess_heterozygosity", "logreh", GENOTYPES, example="0.2231 0.0512")
def log_relative_excess_heterozygosity(g: Genotypes) -> Estimate:
    """Logarithm of the relative excess heterozygosity, 0 in Hardy-Weinberg equilibrium.

    log(b / (2 sqrt(a c))) with variance ((1 - q) / (4 p r) + 1 / q) / n, for shares p, q, r of a, b, c.

    Ziegler, Van Steen and Wellek (2011), Eur. J. Hum. Genet. 19:1-6 (supplement for the variance).
    """
    n = g.a + g.b + g.c
    p, q, r = g.a / n, g.b / n, g.c / n
    return np.log(q) - np.log(2 * np.sqrt(p * r)), {"LS": ((1 - q) / (4 * p * r) + 1 / q) / n}
