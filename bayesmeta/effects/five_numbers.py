"""Means and SDs from medians, quartiles and ranges, and SDs from what else papers print."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_choice, listing, shown
from bayesmeta.effects.arms import frame_of, is_pair
from bayesmeta.effects.call_words import Values, single
from bayesmeta.effects.quantile_fits import fitted_moments
from bayesmeta.effects.reported import Reported, Source
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning, SpecError, warn

Method = Literal["luo-wan", "mcgrath"]
METHODS = ("luo-wan", "mcgrath")
Distribution = Literal["normal", "lognormal"]
NUMBERS = ("minimum", "q1", "median", "q3", "maximum")
FEWEST = 5  # persons, whose five numbers say less than their values


class Five(NamedTuple):
    """Minimum, quartiles and maximum, NaN where they are not reported, and persons; each (n,)."""

    minimum: FloatArray
    q1: FloatArray
    median: FloatArray
    q3: FloatArray
    maximum: FloatArray
    n: FloatArray

    @property
    def has_range(self) -> BoolArray:
        return ~np.isnan(self.minimum + self.maximum + self.median)

    @property
    def has_quartiles(self) -> BoolArray:
        return ~np.isnan(self.q1 + self.q3 + self.median)

    def by_what_is_there(self, of_range: FloatArray, of_quartiles: FloatArray, of_both: FloatArray) -> FloatArray:
        """The value that suits what a row reports."""
        some = np.where(self.has_range, of_range, np.where(self.has_quartiles, of_quartiles, np.nan))
        return np.where(self.has_range & self.has_quartiles, of_both, some)

    @property
    def xi(self) -> FloatArray:
        """Expected range of n normal values in SDs: Wan et al. (2014), BMC Med. Res. Methodol. 14:135, equation 9."""
        return 2 * ndtri((self.n - 0.375) / (self.n + 0.25))

    @property
    def eta(self) -> FloatArray:
        """Expected distance of their quartiles in SDs: Wan et al. (2014), equation 16."""
        return 2 * ndtri((0.75 * self.n - 0.125) / (self.n + 0.25))


def mean_from_quantiles(
    data: Any,
    n: Values,
    median: str,
    *,
    quartiles: Sequence[str] | None = None,
    extremes: Sequence[str] | None = None,
    method: Method = "luo-wan",
    distribution: Distribution = "normal",
    names: Sequence[str] = ("mean", "sd"),
) -> pd.DataFrame:
    """Means and SDs of one arm from its median with quartiles, range or both.

    Parameters
    ----------
    data : DataFrame
        One row per arm, or anything `pandas.DataFrame` takes.
    n : str or float
        Column of the numbers of persons, at least 5.
    median : str
        Column of the medians.
    quartiles : (str, str), optional
        Columns of the first and of the third quartile; these or `extremes` are needed, and a row may have either.
    extremes : (str, str), optional
        Columns of the minimum and of the maximum.
    method : {"luo-wan", "mcgrath"}, default "luo-wan"
        "luo-wan" has the optimal weights of Luo et al. for the mean and those of Wan et al. and Shi et al. for the SD,
        of normal values; "mcgrath" takes mean and SD of the normal, lognormal, gamma or Weibull distribution whose
        quantiles come closest; where a number is not positive that of the normal one.
    distribution : {"normal", "lognormal"}, default "normal"
        Of the values, for "luo-wan".
    names : (str, str), default ("mean", "sd")
        Names of the two new columns, or of columns with gaps that are filled and nothing else.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and mean and SD; NaN where a row has neither quartiles nor
        range. Make it once for each arm, then `bm.effects.mean_difference` or another function of means.

    Raises
    ------
    SpecError
        For a column that does not exist, or an argument that is not as above.
    DataError
        For numbers that are not in order, a median outside its quartiles, fewer than five persons, or values that are
        not positive where a lognormal distribution is assumed; it names the row and its study.

    Warns
    -----
    AssumptionWarning
        Always: what is assumed about how many rows. By "luo-wan" of normal values also which rows are skewed by the
        test of Shi et al., so that the assumption does not hold.
    BayesmetaWarning
        Where rows stay without mean and SD, with their number.

    References
    ----------
    Luo, Wan, Liu and Tong (2018), Stat. Methods Med. Res. 27:1785-1805, equations 7, 11 and 15; Wan, Wang, Liu and Tong
    (2014), BMC Med. Res. Methodol. 14:135, equations 9 and 16; Shi, Luo, Weng, Zeng, Lin, Chu and Tong (2020), Res.
    Synth. Methods 11:641-654, equation 10; Shi, Luo, Wan, Liu and Tong (2023), Res. Synth. Methods, for skewness; Shi,
    Tong, Wang and Genton (2020), Stat. Interface 13:519-531, for lognormal values; McGrath, Zhao, Steele, Thombs and
    Benedetti (2020), Stat. Methods Med. Res. 29:2520-2537, section 2.2, for "mcgrath".

    Examples
    --------
    >>> import warnings
    >>> import bayesmeta as bm
    >>> trials = {"n": [50], "median": [8], "q1": [6], "q3": [10]}
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     table = bm.effects.mean_from_quantiles(trials, "n", "median", quartiles=("q1", "q3"))
    >>> table[["mean", "sd"]].round(3)
       mean     sd
    0   8.0  3.053
    """
    if not is_pair(names):
        raise SpecError(f"names is {shown(names)}; it must be two names, for the columns of the mean and of the SD")
    check_choice(method, METHODS, "method")
    check_choice(distribution, ("normal", "lognormal"), "distribution")
    sources = single(n=("n", n), median=("median", median))
    for argument, pair, ends in (
        ("quartiles", quartiles, ("q1", "q3")),
        ("extremes", extremes, ("minimum", "maximum")),
    ):
        if pair is not None:
            if not is_pair(pair) or pair[0] == pair[1]:
                raise SpecError(f"{argument} is {shown(pair)}; it must be two columns, of the lower and the upper one")
            sources |= {end: Source(column, argument) for end, column in zip(ends, pair, strict=True)}
    reported = Reported(frame_of(data), sources, "bm.effects.mean_from_quantiles")
    if quartiles is None and extremes is None:
        raise SpecError("bm.effects.mean_from_quantiles needs quartiles or extremes")
    five = _read(reported, distribution == "lognormal" and method == "luo-wan")
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is missing, and counted
        mean, sd, assumed = _moments(five, method, distribution)
        normal = method == "luo-wan" and distribution == "normal"
        skewed = skewness(five) if normal else np.zeros(len(mean), dtype=bool)
    return _filled(reported, {names[0]: mean, names[1]: sd}, assumed, skewed)


def _moments(five: Five, method: Method, distribution: Distribution) -> tuple[FloatArray, FloatArray, str]:
    """Means, SDs, and of what they are, in words."""
    if method == "mcgrath":
        return *fitted_moments(five), "the distribution with the closest quantiles"
    if distribution == "normal":
        return luo_mean(five), wan_sd(five), "normal values"
    return *_lognormal(five), "lognormal values"


def _read(reported: Reported, positive: bool) -> Five:
    """The numbers of all rows, in order."""
    unknown = np.full(len(reported.frame), np.nan)
    known = [reported.real(name) if reported.has(name) else unknown for name in NUMBERS]
    for at, name in enumerate(NUMBERS):
        for before, other in zip(known[:at], NUMBERS[:at], strict=True):
            reported.refuse(
                name,
                known[at] < before,
                f"is below the {other}, {reported.where(other)}"
                "\n  the numbers must increase from minimum to maximum; check the columns' order",
            ) if reported.has(name) else None
        if positive and reported.has(name):
            reported.refuse(
                name,
                known[at] <= 0,
                "is not positive, as the distributions ask for\n  leave out this distribution, or the row",
            )
    persons = reported.size("n", FEWEST, f"fewer than {FEWEST} persons, whose median says too little")
    return Five(*[*known, persons])


def luo_mean(f: Five) -> FloatArray:
    """Mean of normal values: Luo et al. (2018), equations 7, 11 and 15."""
    mid_range, mid_quartile = (f.minimum + f.maximum) / 2, (f.q1 + f.q3) / 2
    of_range, of_quartiles = 4 / (4 + f.n**0.75), 0.7 + 0.39 / f.n
    first, second = 2.2 / (2.2 + f.n**0.75), 0.7 - 0.72 / f.n**0.55
    return f.by_what_is_there(
        of_range * mid_range + (1 - of_range) * f.median,
        of_quartiles * mid_quartile + (1 - of_quartiles) * f.median,
        first * mid_range + second * mid_quartile + (1 - first - second) * f.median,
    )


def wan_sd(f: Five) -> FloatArray:
    """SD of normal values: Wan et al. (2014), equations 9 and 16; Shi et al. (2020), equation 10."""
    of_range, of_quartiles = (f.maximum - f.minimum) / f.xi, (f.q3 - f.q1) / f.eta
    weight = 1 / (1 + 0.07 * f.n**0.6)
    return f.by_what_is_there(of_range, of_quartiles, weight * of_range + (1 - weight) * of_quartiles)


def skewness(f: Five) -> BoolArray:
    """Whether normal values are as skewed in at most one of twenty samples: Shi et al. (2023)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        of_range = np.abs(f.minimum + f.maximum - 2 * f.median) / (f.maximum - f.minimum)
        of_quartiles = np.abs(f.q1 + f.q3 - 2 * f.median) / (f.q3 - f.q1)
    both = np.maximum(2.65 * np.log(0.6 * f.n) / np.sqrt(f.n) * of_range, of_quartiles)
    statistic = f.by_what_is_there(of_range, of_quartiles, both)
    critical = f.by_what_is_there(
        1 / np.log(f.n + 9) + 2.5 / (f.n + 1),
        2.65 / np.sqrt(f.n) - 6 / f.n**2,
        3 / np.sqrt(f.n) - 40 / f.n**3,
    )
    return statistic >= critical


def _lognormal(five: Five) -> tuple[FloatArray, FloatArray]:
    """Mean and SD of lognormal values, from those of their logarithms, corrected for bias: Shi et al. (2020)."""
    f = Five(*[*(np.log(each) for each in five[:5]), five.n])
    n, m = f.n, luo_mean(f)
    log_n = np.log(n)
    shrink = f.by_what_is_there(1.01 + 0.25 / log_n**2, 1 + 1.58 / n, 1 + 0.28 / log_n**2)
    s2 = wan_sd(f) ** 2 / shrink
    s4 = wan_sd(f) ** 4 / f.by_what_is_there(1 + 2.23 / log_n**2, 1 + 19.2 / n**1.2, 1 + 3.93 / n)
    first, second = _bias(f, s2, s4, (0.565, 0.57, 0.405), (0.37, 0.75, 0.315)), (2.26, 2.28, 1.62)
    upper, lower = _bias(f, s2, s4, second, (5.92, 12, 5.04)), _bias(f, s2, s4, second, (1.48, 3, 1.26))
    variance = np.exp(2 * m + 2 * s2) / upper - np.exp(2 * m + s2) / lower
    return np.exp(m + s2 / 2) / first, np.sqrt(variance)


def _bias(
    f: Five, s2: FloatArray, s4: FloatArray, of_s2: tuple[float, float, float], of_s4: tuple[float, float, float]
) -> FloatArray:
    """By how much the exponential of an estimate is too large, by what a row reports."""
    return np.asarray(1 + f.by_what_is_there(*(a * s2 / f.n + b * s4 / f.n for a, b in zip(of_s2, of_s4, strict=True))))


def _filled(reported: Reported, new: Mapping[str, FloatArray], assumed: str, skewed: BoolArray) -> pd.DataFrame:
    """The data with new columns, or with the gaps of old ones filled, and what was assumed as warnings."""
    frame = reported.frame
    if len(new) != 2 or not all(isinstance(name, str) and name.strip() for name in new):
        raise SpecError(
            f"names is {shown(tuple(new))}; it must be two names, for the columns of the mean and of the SD"
        )
    old = {
        name: Reported(frame, {name: Source(name, "names")}, reported.who).real(name) for name in new if name in frame
    }
    gaps = np.all([np.isnan(values) for values in old.values()], axis=0) if old else np.ones(len(frame), dtype=bool)
    made = gaps & ~np.isnan(next(iter(new.values())))
    table = frame.assign(**{name: np.where(made, values, old.get(name, np.nan)) for name, values in new.items()})
    table.attrs = dict(frame.attrs)
    if made.any():
        warn(
            f"means and SDs of {made.sum()} of {len(made)} rows were worked out from quantiles of {assumed}",
            AssumptionWarning,
        )
    if (skewed & made).any():
        warn(
            f"the quantiles of rows {listing(frame.index[skewed & made])} are skewed, which normal values are not"
            '\n  distribution="lognormal" or method="mcgrath" suits them better',
            AssumptionWarning,
        )
    if (lacking := gaps & ~made).any():
        rows = listing(frame.index[lacking])
        warn(f"no mean and SD in rows {rows}, which lack quartiles or range ({lacking.sum()} rows)", BayesmetaWarning)
    return table
