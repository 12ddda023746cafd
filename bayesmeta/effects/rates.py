"""Effect sizes of events in person-time, of two groups and of one: a formula a measure."""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.effects.recipe import Estimate, Inputs, enters
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.zero_cells import ZeroCells


@dataclass(frozen=True, eq=False)
class Rates:
    """Events x and person-time t of two groups, each (n,)."""

    x1: FloatArray
    x2: FloatArray
    t1: FloatArray
    t2: FloatArray


def read(reported: Reported, zeros: ZeroCells) -> Rates:
    """The counts of all rows, checked, with what is added to them."""
    events = np.stack([reported.count("x1i"), reported.count("x2i")])
    times = [reported.positive(name, "person-time") for name in ("t1i", "t2i")]
    unknown = np.isnan(times).any(axis=0)
    double_zero = (events == 0).all(axis=0)
    cells = zeros.applied(np.where(unknown, np.nan, events), reported, "both counts", double_zero)
    return Rates(*cells, *times)


RATES = Inputs(read, ("x1i", "x2i", "t1i", "t2i"), {"events": ("x1i", "x2i"), "time": ("t1i", "t2i")})


@enters("IRR", "rate_ratio", "logirr", RATES, example="-0.7842 0.1637")
def log_rate_ratio(r: Rates) -> Estimate:
    """Log ratio of the incidence rates of two groups, positive where events are more frequent in the first.

    log((x1 / t1) / (x2 / t2)) with variance 1/x1 + 1/x2, for events x in person-time t.

    Rothman, Greenland and Lash (2008), Modern Epidemiology, 3rd ed., chapter 14.
    """
    return np.log(r.x1 / r.t1) - np.log(r.x2 / r.t2), {"LS": 1 / r.x1 + 1 / r.x2}


@enters("IRD", "rate_difference", "ird", RATES, example="-0.0259 0.0002")
def rate_difference(r: Rates) -> Estimate:
    """Difference of the incidence rates of two groups, per unit of person-time.

    x1 / t1 - x2 / t2 with variance x1 / t1^2 + x2 / t2^2.

    Rothman, Greenland and Lash (2008), Modern Epidemiology, 3rd ed., chapter 14.
    """
    return r.x1 / r.t1 - r.x2 / r.t2, {"LS": r.x1 / r.t1**2 + r.x2 / r.t2**2}


@enters("IRSD", "root_rate_difference", "irsd", RATES, adds=False, example="-0.0709 0.0012")
def root_rate_difference(r: Rates) -> Estimate:
    """Difference of the roots of two incidence rates, which is defined for groups without events too.

    sqrt(x1 / t1) - sqrt(x2 / t2) with variance 1 / (4 t1) + 1 / (4 t2). Nothing is added to empty cells unless `zero`
    says so.

    Rothman, Greenland and Lash (2008), Modern Epidemiology, 3rd ed.; the delta method for the root.
    """
    return np.sqrt(r.x1 / r.t1) - np.sqrt(r.x2 / r.t2), {"LS": 1 / (4 * r.t1) + 1 / (4 * r.t2)}


@dataclass(frozen=True, eq=False)
class Rate:
    """Events x and person-time t of one group, each (n,)."""

    x: FloatArray
    t: FloatArray


def _read_one(reported: Reported, zeros: ZeroCells) -> Rate:
    events, time = reported.count("xi"), reported.positive("ti", "person-time")
    known = np.where(np.isnan(time), np.nan, events)
    return Rate(zeros.applied(known[None], reported, "the count")[0], time)


RATE = Inputs(_read_one, ("xi", "ti"), {})


@enters("IR", "rate", "rate", RATE, example="0.0150 0.0001")
def rate(r: Rate) -> Estimate:
    """Incidence rate of one group, per unit of person-time.

    x / t with variance x / t^2, for events x in person-time t.

    Rothman, Greenland and Lash (2008), Modern Epidemiology, 3rd ed., chapter 14.
    """
    return r.x / r.t, {"LS": r.x / r.t**2}


@enters("IRLN", "log_rate", "lograte", RATE, example="-4.1997 0.3333")
def log_rate(r: Rate) -> Estimate:
    """Logarithm of the incidence rate of one group.

    log(x / t) with variance 1 / x.

    Rothman, Greenland and Lash (2008), Modern Epidemiology, 3rd ed., chapter 14.
    """
    return np.log(r.x / r.t), {"LS": 1 / r.x}


@enters("IRS", "root_rate", "rootrate", RATE, adds=False, example="0.1225 0.0013")
def root_rate(r: Rate) -> Estimate:
    """Square root of the incidence rate of one group, which has the same variance for every rate.

    sqrt(x / t) with variance 1 / (4 t). Nothing is added to a count of 0 unless `zero` says so.

    Bartlett (1936), J. R. Stat. Soc. Suppl. 3:68-78.
    """
    return np.sqrt(r.x / r.t), {"LS": 1 / (4 * r.t)}


@enters("IRFT", "double_root_rate", "irft", RATE, adds=False, example="0.1319 0.0013")
def double_root_rate(r: Rate) -> Estimate:
    """Freeman and Tukey's mean of two square roots of the incidence rate of one group.

    (sqrt(x / t) + sqrt((x + 1) / t)) / 2 with variance 1 / (4 t). Nothing is added to a count of 0 unless `zero` says
    so.

    Freeman and Tukey (1950), Ann. Math. Stat. 21:607-611.
    """
    return (np.sqrt(r.x / r.t) + np.sqrt((r.x + 1) / r.t)) / 2, {"LS": 1 / (4 * r.t)}
