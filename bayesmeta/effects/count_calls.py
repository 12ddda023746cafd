"""Calls of effect sizes of counts: one function a family, which takes the words of the field.

`functions` binds each to the recipes of its family. The docstrings are the sections on parameters, with the parts of
`call_words` in braces.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bayesmeta._validation import shown
from bayesmeta.effects.arms import Arms
from bayesmeta.effects.call_words import Names, Values, made, pair, single
from bayesmeta.effects.recipe import Choices, Recipe
from bayesmeta.effects.reported import Source
from bayesmeta.effects.zero_cells import Add, Zero, ZeroCells
from bayesmeta.errors import SpecError


def arms_of_counts(events: Any, total: Any, no_events: Any) -> dict[str, Source]:
    if (total is None) == (no_events is None):
        which = "neither is" if total is None else "both are"
        raise SpecError(
            f"total or no_events: {which} given\n  give all persons of the arms, or those without the event"
        )
    others = pair(no_events, "bi", "di", "no_events") if total is None else pair(total, "n1i", "n2i", "total")
    return pair(events, "ai", "ci", "events") | others


def of_counts(
    recipe: Recipe,
    data: Any,
    events: Arms,
    *,
    total: Arms | None = None,
    no_events: Arms | None = None,
    zero: Zero | None = None,
    add: Add = 0.5,
    drop_double_zero: bool | None = None,
    variance: str | Sequence[str] = "LS",
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    events : (str, str)
        Columns of the persons with the event, (first arm, second arm). Counts are numbers of at least 0, not
        necessarily whole: effective sizes of cluster-randomised trials are not.
    total : (str, str), optional
        Columns of all persons of the arms; this or `no_events` is needed.
    no_events : (str, str), optional
        Columns of the persons without the event.
    {zeros_of_arms}
    {double}
    {variance}
    {names}
    {arms}
    """
    zeros = ZeroCells(zero, add, drop_double_zero)
    sources = arms_of_counts(events, total, no_events)
    return made(recipe, data, sources, Choices(zeros, variance, names=names, arms=arms))


def of_pairs(
    recipe: Recipe,
    data: Any,
    cells: Sequence[str],
    *,
    zero: Zero | None = None,
    add: float = 0.5,
    names: Names = ("y", "v"),
) -> pd.DataFrame:
    """{data}
    cells : (str, str, str, str)
        Columns of the numbers of pairs with the event in both members, in the first only, in the second only, in
        neither. The members may be two occasions of the same persons.
    {zeros}
    {names}
    """
    if isinstance(cells, str) or not isinstance(cells, Sequence) or len(set(map(str, cells))) != 4 or len(cells) != 4:
        raise SpecError(
            f"cells is {shown(cells)}; it must be four columns: pairs with the event in both members, in the first "
            "only, in the second only, in neither"
        )
    sources = {name: Source(column, "cells") for name, column in zip(("ai", "bi", "ci", "di"), cells, strict=True)}
    return made(recipe, data, sources, Choices(ZeroCells(zero, add, False), names=names))


def of_margins(
    recipe: Recipe,
    data: Any,
    events: Arms,
    *,
    total: Arms | None = None,
    no_events: Arms | None = None,
    r: Values | None = None,
    both: Values | None = None,
    zero: Zero | None = None,
    add: float = 0.5,
    names: Names = ("y", "v"),
) -> pd.DataFrame:
    """{data}
    events : (str, str)
        Columns of the persons with the event, (first occasion, second occasion).
    total : (str, str), optional
        Columns of all persons on the occasions; this or `no_events` is needed.
    no_events : (str, str), optional
        Columns of the persons without the event.
    r : str or float, optional
        Correlation (phi) of the event on both occasions: its column, or a number for all rows. This or `both` is
        needed.
    both : str or float, optional
        Share of persons with the event on both occasions, likewise.
    {zeros}
    {names}
    """
    sources = arms_of_counts(events, total, no_events) | single(ri=("r", r), pi=("both", both))
    return made(recipe, data, sources, Choices(ZeroCells(zero, add, False), names=names))


def of_rates(
    recipe: Recipe,
    data: Any,
    events: Arms,
    time: Arms,
    *,
    zero: Zero | None = None,
    add: float = 0.5,
    drop_double_zero: bool | None = None,
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    events : (str, str)
        Columns of the numbers of events, (first group, second group).
    time : (str, str)
        Columns of person-time at risk, positive, in the same unit everywhere.
    {zeros}
    {double}
    {names}
    {arms}
    """
    sources = pair(events, "x1i", "x2i", "events") | pair(time, "t1i", "t2i", "time")
    return made(recipe, data, sources, Choices(ZeroCells(zero, add, drop_double_zero), names=names, arms=arms))


def of_events(
    recipe: Recipe,
    data: Any,
    events: str,
    *,
    total: str | None = None,
    no_events: str | None = None,
    zero: Zero | None = None,
    add: float = 0.5,
    variance: str | Sequence[str] = "LS",
    names: Names = ("y", "v"),
) -> pd.DataFrame:
    """{data}
    events : str
        Column of the persons with the event.
    total : str, optional
        Column of all persons; this or `no_events` is needed.
    no_events : str, optional
        Column of the persons without the event.
    {zeros}
    {variance}
    {names}
    """
    if (total is None) == (no_events is None):
        which = "neither is" if total is None else "both are"
        raise SpecError(f"total or no_events: {which} given\n  give all persons, or those without the event")
    sources = single(xi=("events", events), ni=("total", total), mi=("no_events", no_events))
    return made(recipe, data, sources, Choices(ZeroCells(zero, add), variance, names=names))


def of_rate(
    recipe: Recipe,
    data: Any,
    events: str,
    time: str,
    *,
    zero: Zero | None = None,
    add: float = 0.5,
    names: Names = ("y", "v"),
) -> pd.DataFrame:
    """{data}
    events : str
        Column of the numbers of events.
    time : str
        Column of person-time at risk, positive, in the same unit everywhere.
    {zeros}
    {names}
    """
    sources = single(xi=("events", events), ti=("time", time))
    return made(recipe, data, sources, Choices(ZeroCells(zero, add), names=names))


def of_genotypes(recipe: Recipe, data: Any, genotypes: Sequence[str], *, names: Names = ("y", "v")) -> pd.DataFrame:
    """{data}
    genotypes : (str, str, str)
        Columns of the persons who are homozygous for one allele, heterozygous, homozygous for the other.
    {names}
    """
    three = isinstance(genotypes, Sequence) and not isinstance(genotypes, str) and len(genotypes) == 3
    if not three or not all(isinstance(column, str) for column in genotypes):
        raise SpecError(
            f"genotypes is {shown(genotypes)}; it must be three columns: homozygous, heterozygous, homozygous for the "
            "other allele"
        )
    sources = {name: Source(column, "genotypes") for name, column in zip(("ai", "bi", "ci"), genotypes, strict=True)}
    return made(recipe, data, sources, Choices(names=names))
