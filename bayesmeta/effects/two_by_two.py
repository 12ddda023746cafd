"""Effect sizes of two arms by event: a formula a measure, on the cells of their two-by-two tables.

A formula returns effects and, by the word of `variance`, their sampling variances: "LS" of large samples, "AV" with
the risks of all studies averaged, "H0" where nothing differs, "UB" unbiased.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.effects.recipe import Estimate, Inputs, enters, mean_over_rows
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.tetrachoric import tetrachoric
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import SpecError


@dataclass(frozen=True, eq=False)
class TwoByTwo:
    """Events a and non-events b of the first arm, c and d of the second, each (n,), NaN where one is not known."""

    a: FloatArray
    b: FloatArray
    c: FloatArray
    d: FloatArray

    @property
    def n1(self) -> FloatArray:
        return self.a + self.b

    @property
    def n2(self) -> FloatArray:
        return self.c + self.d

    @property
    def n(self) -> FloatArray:
        return self.n1 + self.n2

    @property
    def p1(self) -> FloatArray:
        return self.a / self.n1

    @property
    def p2(self) -> FloatArray:
        return self.c / self.n2

    @property
    def pooled(self) -> FloatArray:
        """Risk of both arms together."""
        return (self.a + self.c) / self.n

    @property
    def averages(self) -> tuple[float, float]:
        """Risks of the two arms over all studies."""
        return mean_over_rows(self.p1, self.n1), mean_over_rows(self.p2, self.n2)

    @property
    def cells(self) -> FloatArray:
        return np.stack([self.a, self.b, self.c, self.d])

    @property
    def double_zero(self) -> BoolArray:
        """(n,) whether both arms are without events, or both without anything else."""
        return ((self.a == 0) & (self.c == 0)) | ((self.b == 0) & (self.d == 0))

    @property
    def opposite_arm(self) -> FloatArray:
        """(4, n) additions to the cells in proportion to the reciprocal of the size of the opposite arm, 1 together.

        Sweeting, Sutton and Lambert (2004), Stat. Med. 23:1351-1375, section 2.3.
        """
        first = self.n1 / self.n
        return np.stack([first, first, 1 - first, 1 - first])


def read(reported: Reported, zeros: ZeroCells) -> TwoByTwo:
    """The tables of all rows, checked, with what is added to their cells."""
    reported.need("ai", "ci")
    a, b = _arm(reported, "ai", "bi", "n1i")
    c, d = _arm(reported, "ci", "di", "n2i")
    observed = TwoByTwo(a, b, c, d)
    cells = zeros.applied(observed.cells, reported, "the four cells", observed.double_zero, observed.opposite_arm)
    return TwoByTwo(*cells)


def _arm(reported: Reported, events: str, others: str, total: str) -> tuple[FloatArray, FloatArray]:
    """Events and non-events of an arm, whose persons or non-events are reported, or both."""
    cases = reported.count(events)
    if not reported.has(others) and not reported.has(total):
        named = f"{reported.argument(total)} or {reported.argument(others)}"
        raise SpecError(f"{named}: neither is given\n  give all persons of the arms, or those without the event")
    rest = reported.count(others) if reported.has(others) else np.full_like(cases, np.nan)
    if reported.has(total):
        persons = reported.count(total)
        where = f"the number of persons, {reported.where(total)}"
        over = cases > persons
        remedy = "one of the two is wrong, or the columns stand for something else"
        reported.refuse(events, over, f"exceeds {where}: {persons[int(np.argmax(over))]:g}\n  {remedy}")
        differs = np.abs(cases + rest - persons) > 1e-9 * persons
        reported.refuse(
            events,
            differs,
            f"and {reported.where(others) if rest.any() else others} do not add up to {where}"
            "\n  check the columns, or leave total= out",
        )
        rest = np.where(np.isnan(rest), persons - cases, rest)
    reported.refuse(
        events, cases + rest == 0, "belongs to an arm without persons\n  use NaN for an arm that is missing"
    )
    return cases, rest


TABLES = Inputs(
    read,
    ("ai", "bi", "ci", "di", "n1i", "n2i"),
    {"events": ("ai", "ci"), "total": ("n1i", "n2i"), "no_events": ("bi", "di")},
)


def of_log_odds(t: TwoByTwo) -> FloatArray:
    """Sampling variance of a log odds ratio."""
    return 1 / t.a + 1 / t.b + 1 / t.c + 1 / t.d


@enters("OR", "odds_ratio", "logor", TABLES, example="-0.9387 0.3571")
def log_odds_ratio(t: TwoByTwo) -> Estimate:
    """Log odds ratio of two arms, positive where events are more frequent in the first.

    log(a d / (b c)) with variance 1/a + 1/b + 1/c + 1/d, for events and non-events a, b of the first and c, d of the
    second arm. Cells of zero are treated as by default in metafor's escalc. "AV" has the risks p1 and p2 of all studies
    together in 1 / (p1 (1 - p1) n1) + 1 / (p2 (1 - p2) n2), and "H0" the study's own risk of both arms in both.

    Woolf (1955), Ann. Hum. Genet. 19:251-253.
    """
    p1, p2 = t.averages
    return np.log(t.a) - np.log(t.b) - np.log(t.c) + np.log(t.d), {
        "LS": of_log_odds(t),
        "AV": 1 / (p1 * (1 - p1) * t.n1) + 1 / (p2 * (1 - p2) * t.n2),
        "H0": (1 / t.n1 + 1 / t.n2) / (t.pooled * (1 - t.pooled)),
    }


@enters("RR", "risk_ratio", "logrr", TABLES, example="-0.8893 0.3256")
def log_risk_ratio(t: TwoByTwo) -> Estimate:
    """Log risk ratio of two arms, positive where the risk is higher in the first.

    log(a / n1) - log(c / n2) with variance 1/a - 1/n1 + 1/c - 1/n2, for events a, c and persons n1, n2 of the arms.
    Something is added to all four cells, thus twice to each n. "AV" has the risks p1 and p2 of all studies together in
    (1 - p1) / (p1 n1) + (1 - p2) / (p2 n2), and "H0" the study's own risk of both arms in both.

    Katz, Baptista, Azen and Pike (1978), Biometrics 34:469-474.
    """
    p1, p2 = t.averages
    return np.log(t.p1) - np.log(t.p2), {
        "LS": t.b / (t.a * t.n1) + t.d / (t.c * t.n2),
        "AV": (1 - p1) / (p1 * t.n1) + (1 - p2) / (p2 * t.n2),
        "H0": (1 - t.pooled) / t.pooled * (1 / t.n1 + 1 / t.n2),
    }


@enters("RD", "risk_difference", "rd", TABLES, example="-0.0466 0.0008")
def risk_difference(t: TwoByTwo) -> Estimate:
    """Difference of the risks of two arms, between -1 and 1, positive where the risk is higher in the first.

    p1 - p2 with variance p1 (1 - p1) / n1 + p2 (1 - p2) / n2, for risks p and persons n of the arms. With zero="none"
    the difference of an arm without events is the observed one; without any event in both arms it has no variance.
    "UB" has n - 1 in place of n, "AV" the risks of all studies together, "H0" the study's own risk of both arms.

    Rothman, Greenland and Lash (2008), Modern Epidemiology, 3rd ed., chapter 14.
    """
    p1, p2 = t.averages
    return t.p1 - t.p2, {
        "LS": t.a * t.b / t.n1**3 + t.c * t.d / t.n2**3,
        "UB": t.p1 * (1 - t.p1) / (t.n1 - 1) + t.p2 * (1 - t.p2) / (t.n2 - 1),
        "AV": p1 * (1 - p1) / t.n1 + p2 * (1 - p2) / t.n2,
        "H0": t.pooled * (1 - t.pooled) * (1 / t.n1 + 1 / t.n2),
    }


@enters("PETO", "peto_odds_ratio", "logor", TABLES, example="-0.8604 0.2828")
def peto_log_odds_ratio(t: TwoByTwo) -> Estimate:
    """Log odds ratio of two arms by Peto's one-step method, for rare events and arms of about equal size.

    (a - E) / V with variance 1 / V, where E = n1 (a + c) / n and V = n1 n2 (a + c) (b + d) / (n^2 (n - 1)) are mean and
    variance of the events of the first arm under the hypergeometric distribution, n = n1 + n2.

    Yusuf, Peto, Lewis, Collins and Sleight (1985), Prog. Cardiovasc. Dis. 27:335-371.
    """
    observed_minus_expected, V = peto_parts(t)
    return observed_minus_expected / V, {"LS": 1 / V}


def peto_parts(t: TwoByTwo) -> tuple[FloatArray, FloatArray]:
    """Observed minus expected events of the first arm, and their hypergeometric variance."""
    events, others = t.a + t.c, t.b + t.d
    return t.a - t.n1 * events / t.n, events * others * (t.n1 / t.n) * (t.n2 / t.n) / (t.n - 1)


@enters("AS", "arcsine_difference", "asd", TABLES, adds=False, example="-0.1038 0.0038")
def arcsine_difference(t: TwoByTwo) -> Estimate:
    """Difference of the arcsines of the roots of two risks, which is defined for arms without events too.

    asin(sqrt(p1)) - asin(sqrt(p2)) with variance 1 / (4 n1) + 1 / (4 n2). Nothing is added to empty cells unless `zero`
    says so.

    Rücker, Schwarzer, Carpenter and Olkin (2009), Stat. Med. 28:721-738.
    """
    return np.arcsin(np.sqrt(t.p1)) - np.arcsin(np.sqrt(t.p2)), {"LS": 1 / (4 * t.n1) + 1 / (4 * t.n2)}


@enters("PHI", "phi_coefficient", "phi", TABLES, adds=False, example="-0.1001 0.0032")
def phi_coefficient(t: TwoByTwo) -> Estimate:
    """Phi coefficient of a two-by-two table, the correlation of two variables that are 0 or 1.

    (a d - b c) / sqrt((a + b) (c + d) (a + c) (b + d)). Its variance is that of cross-sectional sampling ("CS", the
    same as "LS"), where only the sum of all cells is fixed, or of stratified sampling ("ST"), where the arms are.

    Yule (1912), J. R. Stat. Soc. 75:579-652, page 603, for "CS"; the delta method on two binomial risks for "ST".
    """
    rows, columns = t.n1 * t.n2, (t.a + t.c) * (t.b + t.d)
    phi = (t.a * t.d - t.b * t.c) / np.sqrt(rows * columns)
    across, down = (t.n1 - t.n2) / np.sqrt(rows), (t.a + t.c - t.b - t.d) / np.sqrt(columns)
    multinomial = (1 - phi**2 + phi * (1 + phi**2 / 2) * across * down - 0.75 * phi**2 * (across**2 + down**2)) / t.n
    return phi, {"LS": multinomial, "CS": multinomial, "ST": _phi_stratified(t)}


def _phi_stratified(t: TwoByTwo) -> FloatArray:
    """Variance of phi = (p1 - p2) sqrt(w1 w2 / (p (1 - p))), w the shares of the arms, by the delta method."""
    w1, w2, p = t.n1 / t.n, t.n2 / t.n, t.pooled
    spread = p * (1 - p)
    scale = np.sqrt(w1 * w2 / spread)
    bend = (t.p1 - t.p2) * (1 - 2 * p) / (2 * spread)  # how phi falls as the risk of both arms rises
    by_p1, by_p2 = scale * (1 - w1 * bend), -scale * (1 + w2 * bend)
    return by_p1**2 * t.p1 * (1 - t.p1) / t.n1 + by_p2**2 * t.p2 * (1 - t.p2) / t.n2


@enters("ZPHI", "phi_z", "zphi", TABLES, adds=False, example="-0.1005 0.0032")
def phi_z(t: TwoByTwo) -> Estimate:
    """Fisher's z of the phi coefficient of a two-by-two table; it does not make the variance independent of phi.

    atanh(phi) with the variance of phi, "CS" or "ST", divided by (1 - phi^2)^2.

    The delta method on Yule (1912), J. R. Stat. Soc. 75:579-652.
    """
    return fisher_z(phi_coefficient(t))


def fisher_z(estimate: Estimate) -> Estimate:
    """An estimate on the scale of correlations on that of Fisher's z, by the delta method."""
    r, variances = estimate
    return np.arctanh(r), {word: v / (1 - r**2) ** 2 for word, v in variances.items()}


@enters("YUQ", "yules_q", "yuq", TABLES, example="-0.4377 0.0584")
def yules_q(t: TwoByTwo) -> Estimate:
    """Yule's Q of a two-by-two table, between -1 and 1.

    (OR - 1) / (OR + 1) with variance (1 - Q^2)^2 / 4 times that of the log odds ratio.

    Yule (1912), J. R. Stat. Soc. 75:579-652, page 593.
    """
    odds_ratio = (t.a / t.b) / (t.c / t.d)
    Q = (odds_ratio - 1) / (odds_ratio + 1)
    return Q, {"LS": (1 - Q**2) ** 2 / 4 * of_log_odds(t)}


@enters("YUY", "yules_y", "yuy", TABLES, example="-0.2305 0.0200")
def yules_y(t: TwoByTwo) -> Estimate:
    """Yule's Y of a two-by-two table, the coefficient of colligation, between -1 and 1.

    (sqrt(OR) - 1) / (sqrt(OR) + 1) with variance (1 - Y^2)^2 / 16 times that of the log odds ratio.

    Yule (1912), J. R. Stat. Soc. 75:579-652, page 593.
    """
    root = np.sqrt((t.a / t.b) / (t.c / t.d))
    Y = (root - 1) / (root + 1)
    return Y, {"LS": (1 - Y**2) ** 2 / 16 * of_log_odds(t)}


@enters("RTET", "tetrachoric_correlation", "rtet", TABLES, adds=False, example="-0.2631 0.0236")
def tetrachoric_correlation(t: TwoByTwo) -> Estimate:
    """Tetrachoric correlation, of two normal variables, each of which was cut in two to make the table.

    The maximum of the likelihood, at which the bivariate normal distribution has the observed shares in all four
    cells, with the inverse information as variance. One empty cell, or an empty margin, leaves no estimate with a
    variance.

    Pearson (1900), Philos. Trans. R. Soc. A 195:1-47; Hamdan (1970), Biometrika 57:212-215.
    """
    r, v = tetrachoric(t.a, t.b, t.c, t.d)
    return r, {"LS": v}


@enters("ZTET", "tetrachoric_z", "ztet", TABLES, adds=False, example="-0.2695 0.0272")
def tetrachoric_z(t: TwoByTwo) -> Estimate:
    """Fisher's z of the tetrachoric correlation; it does not make the variance independent of the correlation.

    atanh(r) with the variance of r divided by (1 - r^2)^2.

    The delta method on Hamdan (1970), Biometrika 57:212-215.
    """
    return fisher_z(tetrachoric_correlation(t))


@enters("PBIT", "probit_difference", "smd", TABLES, example="-0.4341 0.0725")
def probit_difference(t: TwoByTwo) -> Estimate:
    """Standardised mean difference behind two risks, of a normal outcome that was cut into event and no event.

    z1 - z2 for z the normal quantile of a risk, with variance 2 pi p (1 - p) exp(z^2) / n summed over the arms.

    Sánchez-Meca, Marín-Martínez and Chacón-Moscoso (2003), Psychol. Methods 8:448-467, equations 20 and 21.
    """
    z1, z2 = ndtri(t.p1), ndtri(t.p2)
    v = t.p1 * (1 - t.p1) * np.exp(z1**2) / t.n1 + t.p2 * (1 - t.p2) * np.exp(z2**2) / t.n2
    return z1 - z2, {"LS": 2 * np.pi * v}


@enters("OR2DL", "smd_from_odds_ratio", "smd", TABLES, example="-0.5175 0.1086")
def smd_from_odds_ratio(t: TwoByTwo) -> Estimate:
    """Standardised mean difference behind two risks, of a logistic outcome that was cut into event and no event.

    sqrt(3) / pi times the log odds ratio.

    Hasselblad and Hedges (1995), Psychol. Bull. 117:167-178; Chinn (2000), Stat. Med. 19:3127-3131.
    """
    return scaled(log_odds_ratio(t), np.sqrt(3) / np.pi)


@enters("OR2DN", "smd_from_odds_ratio_normal", "smd", TABLES, example="-0.5689 0.1312")
def smd_from_odds_ratio_normal(t: TwoByTwo) -> Estimate:
    """Standardised mean difference behind two risks, of a normal outcome that was cut into event and no event.

    The log odds ratio divided by 1.65.

    Cox and Snell (1989), Analysis of Binary Data, 2nd ed.
    """
    return scaled(log_odds_ratio(t), 1 / 1.65)


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """An estimate in another unit."""
    y, variances = estimate
    return factor * y, {word: factor**2 * v for word, v in variances.items()}
