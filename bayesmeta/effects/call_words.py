"""What the calls of effect sizes share: how their words become quantities, and the sections of their docstrings."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bayesmeta._validation import shown
from bayesmeta.effects.arms import frame_of, is_pair
from bayesmeta.effects.recipe import Choices, Recipe, computed
from bayesmeta.effects.reported import Reported, Source
from bayesmeta.errors import SpecError
from bayesmeta.io.columns import find_column

Names = Sequence[str]
Values = str | float  # the column, or one number for all rows

SHARED = {
    "data": """data : DataFrame
    One row per estimate, or anything `pandas.DataFrame` takes.""",
    "zeros": """zero : {"only0", "if0all", "all", "none"}, optional
    What is done about a cell of zero persons. "only0" adds `add` to all cells of each row that has one; "if0all" to
    all rows if one of them has one; "all" to all rows; "none" adds nothing, and a row whose estimate is not finite, or
    has no positive variance, has none. By default {zero}.
add : float, default 0.5
    What is added to cells, greater than 0.""",
    "zeros_of_arms": """zero : {"only0", "if0all", "all", "none"}, optional
    What is done about a cell of zero persons. "only0" adds `add` to all cells of each row that has one; "if0all" to
    all rows if one of them has one; "all" to all rows; "none" adds nothing, and a row whose estimate is not finite, or
    has no positive variance, has none. By default {zero}.
add : float or "opposite-arm", default 0.5
    What is added to cells, greater than 0. "opposite-arm" adds to those of each arm its share n1 / (n1 + n2) of all
    persons, the reciprocal of the size of the opposite arm: where arms are of very unequal size, a half in each cell
    moves the estimate (Sweeting, Sutton and Lambert 2004, Stat. Med. 23:1351-1375).""",
    "double": """drop_double_zero : bool, optional
    Whether a row without any event in both arms, or without any non-event, is left without an estimate. By default
    it is treated like other rows, with a warning where something is added to it.""",
    "variance": """variance : str or sequence of str, default "LS"
    Which estimate of the sampling variance, for all rows or one for each; see Notes for what there is beside "LS", that
    of large samples.""",
    "correction": """correction : {"exact", "approximate", "none"}, default "exact"
    How the bias of small samples is corrected. Of standardised differences with m degrees of freedom by the factor J:
    "exact", Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)); "approximate", 1 - 3 / (4 m - 1); "none", 1. Of other
    measures, "none" leaves their correction out.""",
    "names": """names : (str, str), default ("y", "v")
    Names of the two new columns.""",
    "arms": """arms : (str, str), optional
    Names of the two arms, for plots, such as ("vaccine", "control"). By default the words in which the names of
    their columns differ, such as "events_vaccine" and "events_control", if those are words.""",
}


def pair(names: Any, first: str, second: str, argument: str) -> dict[str, Source]:
    """The columns of two arms."""
    if not is_pair(names):
        raise SpecError(f"{argument} is {shown(names)}; it must be two columns, of the first arm and of the second")
    if names[0] == names[1]:
        raise SpecError(f"{argument}: both arms are column '{names[0]}'\n  name the column of each arm")
    return {first: Source(names[0], argument), second: Source(names[1], argument)}


def single(**named: tuple[str, Any]) -> dict[str, Source]:
    """Sources of single quantities by escalc's name: its argument here and the value, left out where that is None."""
    return {name: Source(value, argument) for name, (argument, value) in named.items() if value is not None}


def made(recipe: Recipe, data: Any, sources: dict[str, Source], choices: Choices) -> pd.DataFrame:
    frame = frame_of(data)
    for source in sources.values():  # also those that the measure does without
        if isinstance(source.value, str):
            find_column(frame, source.value, source.argument)
    return computed(recipe, Reported(frame, sources, f"bm.effects.{recipe.function}"), choices)
