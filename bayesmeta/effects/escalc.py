"""Effect sizes in the words of metafor's escalc: one function for all measures."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._validation import check_boolean, check_choice, check_number
from bayesmeta.effects.arms import frame_of, with_estimates
from bayesmeta.effects.recipe import ALIASES, RECIPES, Choices, Recipe, computed
from bayesmeta.effects.reported import Reported, Source
from bayesmeta.effects.zero_cells import Zero, ZeroCells
from bayesmeta.errors import SpecError
from bayesmeta.measures import MEASURES, check_measure

Quantity = str | float | Sequence[float] | None
STATED = ("GEN", "HR", "HD")  # of estimates that papers print
NAMES = {"HR": "loghr", "HD": "hd", "GEN": "generic"}


def escalc(
    measure: str,
    data: Any,
    *,
    ai: Quantity = None,
    bi: Quantity = None,
    ci: Quantity = None,
    di: Quantity = None,
    n1i: Quantity = None,
    n2i: Quantity = None,
    x1i: Quantity = None,
    x2i: Quantity = None,
    t1i: Quantity = None,
    t2i: Quantity = None,
    m1i: Quantity = None,
    m2i: Quantity = None,
    sd1i: Quantity = None,
    sd2i: Quantity = None,
    xi: Quantity = None,
    mi: Quantity = None,
    ri: Quantity = None,
    ti: Quantity = None,
    fi: Quantity = None,
    pi: Quantity = None,
    sdi: Quantity = None,
    r2i: Quantity = None,
    ni: Quantity = None,
    yi: Quantity = None,
    vi: Quantity = None,
    sei: Quantity = None,
    add: float | None = None,
    to: Zero | None = None,
    drop00: bool | None = None,
    vtype: str | Sequence[str] = "LS",
    correct: bool = True,
    var_names: Sequence[str] = ("y", "v"),
) -> pd.DataFrame:
    """Effect estimates and their variances in the words of metafor's escalc.

    Parameters
    ----------
    measure : str
        Name of the measure in metafor, such as "OR", "SMD" or "ZCOR"; see the page on effects for all. A measure's own
        function, such as `bm.effects.odds_ratio`, has the words of the field.
    data : DataFrame
        One row per estimate, or anything `pandas.DataFrame` takes.
    ai, bi, ci, di : str, float or sequence of float, optional
        Columns of the cells of two-by-two tables: events and non-events of the first and of the second arm; of pairs,
        those with the event in both members, the first only, the second only, neither. Also the coefficient alpha and
        the area under the curve (`ai`), and Cohen's d (`di`). A number stands for all rows, a sequence for one each.
    n1i, n2i : str, float or sequence of float, optional
        Persons of the two arms.
    x1i, x2i, t1i, t2i : str, float or sequence of float, optional
        Events and person-time of two groups.
    m1i, m2i, sd1i, sd2i : str, float or sequence of float, optional
        Means and standard deviations of two groups or two occasions.
    xi, mi, ri, ti, fi, pi, sdi, r2i, ni : str, float or sequence of float, optional
        Of one group: events, non-events or mean or predictors or items, correlation, person-time or t statistic, F
        statistic, p-value (with the sign of the effect), standard deviation, R squared, persons.
    yi, vi, sei : str, float or sequence of float, optional
        Estimates that papers print with their variances or standard errors, of "GEN", "HR" (log hazard ratio) or "HD"
        (hazard difference).
    add : float, optional
        What is added to empty cells, 1/2 by default; 0 for measures that are defined without.
    to : {"only0", "if0all", "all", "none"}, optional
        To which rows: those with an empty cell ("only0"), all if one has one, all, none. By default "only0", with a
        warning where something is added.
    drop00 : bool, optional
        Whether rows without any event in both arms, or with nothing else, have no estimate. By default they have one,
        with a warning where something is added to them.
    vtype : str or sequence of str, default "LS"
        Estimate of the sampling variance, for all rows or one for each; see the function of the measure.
    correct : bool, default True
        Whether the bias of small samples is corrected, where the measure has a correction.
    var_names : (str, str), default ("y", "v")
        Names of the two new columns.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns; NaN where there is no estimate. Its
        `attrs` hold `measure` and what else `bm.specify` reads. Arguments that the measure does not use are left alone.

    Raises
    ------
    SpecError
        For an unknown measure or column, a quantity that the measure needs and that is not there, or an argument that
        is not as above.
    DataError
        For a value that is not a number, infinite or impossible; it names column, row and study.

    Warns
    -----
    AssumptionWarning
        Where something is assumed that no argument says, such as what is added to empty cells, and for a count that is
        not a whole number.
    BayesmetaWarning
        Where rows have no estimate, with their number.

    Notes
    -----
    Estimates and variances are those of metafor 5.1, but for tetrachoric correlations, which here are the exact
    maximum, and estimates whose variance is not positive, which here are none.

    References
    ----------
    Viechtbauer (2010), J. Stat. Softw. 36(3):1-48.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = bm.datasets.load("bcg")
    >>> table = bm.effects.escalc("RR", trials, ai="tpos", bi="tneg", ci="cpos", di="cneg")
    >>> table[["author", "y", "v"]].head(2).round(4)
                 author       y       v
    0           Aronson -0.8893  0.3256
    1  Ferguson & Simes -1.5854  0.1946
    >>> table.attrs["measure"]
    'logrr'
    """
    quantities = {
        "ai": ai,
        "bi": bi,
        "ci": ci,
        "di": di,
        "n1i": n1i,
        "n2i": n2i,
        "x1i": x1i,
        "x2i": x2i,
        "t1i": t1i,
        "t2i": t2i,
        "m1i": m1i,
        "m2i": m2i,
        "sd1i": sd1i,
        "sd2i": sd2i,
        "xi": xi,
        "mi": mi,
        "ri": ri,
        "ti": ti,
        "fi": fi,
        "pi": pi,
        "sdi": sdi,
        "r2i": r2i,
        "ni": ni,
        "yi": yi,
        "vi": vi,
        "sei": sei,
    }
    sources = {name: Source(value, name) for name, value in quantities.items() if value is not None}
    check_boolean(correct, "correct")
    reported = Reported(frame_of(data), sources, f"measure {measure!r}")
    if measure in STATED:
        return _stated(measure, reported, var_names)
    recipe = recipe_named(measure, vtype)
    used = {name: source for name, source in sources.items() if name in recipe.inputs.arguments}
    correction: Literal["exact", "none"] = "exact" if correct else "none"
    choices = Choices(_zeros(recipe, add, to, drop00), vtype, correction, var_names)
    return computed(recipe, Reported(reported.frame, used, reported.who), choices)


def recipe_named(measure: Any, vtype: Any = "LS") -> Recipe:
    """The recipe of a measure's name in metafor, in any case."""
    words = [name for name, each in RECIPES.items() if each.metafor == name] + [*ALIASES, *STATED]
    name = check_choice(measure.upper() if isinstance(measure, str) else measure, words, "measure")
    name = ALIASES.get(name, name)
    kind = f"{name}_{vtype}" if isinstance(vtype, str) else name
    return RECIPES.get(kind, RECIPES[name])


def _zeros(recipe: Recipe, add: Any, to: Any, drop00: Any) -> ZeroCells:
    """As in escalc, measures that are defined for empty cells have nothing added unless `add` says what."""
    if add is not None:
        check_number(add, "add", least=0)
    nothing = add == 0 or (add is None and not recipe.adds)
    checked = ZeroCells(to, add or 0.5, drop00)
    return ZeroCells("none", checked.add, drop00) if nothing else checked


def _stated(measure: str, reported: Reported, names: Sequence[str]) -> pd.DataFrame:
    """Estimates that are printed as such."""
    reported.need("yi")
    if not reported.has("vi") and not reported.has("sei"):
        raise SpecError(f"measure {measure!r} needs vi or sei, the variances or the standard errors of yi")
    v = reported.positive("vi", "a variance") if reported.has("vi") else np.full(len(reported.frame), np.nan)
    if reported.has("sei"):
        v = np.where(np.isnan(v), reported.standard_error("sei") ** 2, v)
    name = check_measure(NAMES[measure]) or "generic"
    return with_estimates(reported.frame, MEASURES[name].name, (reported.real("yi"), v), names, None)


def recipe_called(word: Any, where: str = "measure") -> Recipe:
    """The recipe of a function's name, of metafor's name, or the plainest of a measure that `specify` knows."""
    by_function = {recipe.function: recipe for recipe in RECIPES.values()}
    if isinstance(word, str) and word in by_function:
        return by_function[word]
    of_metafor = [*(name for name, each in RECIPES.items() if each.metafor == name), *ALIASES]
    if isinstance(word, str) and word.upper() in of_metafor:
        return recipe_named(word)
    by_measure = {recipe.measure: recipe for recipe in reversed(RECIPES.values())} | {"smd": RECIPES["SMD"]}
    if isinstance(word, str) and word in by_measure:
        return by_measure[word]
    check_choice(word, [*by_function, *of_metafor, *by_measure], where)
    measure = check_measure(word, where)
    return by_measure[check_choice(measure, by_measure, where)]
