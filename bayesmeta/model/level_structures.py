"""The covariance structure of every level: from what the user writes to one that knows its effects."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta import structures
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_name, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.parse import Parsed, timed
from bayesmeta.io.columns import finite, label
from bayesmeta.model.observations import Groups, Observations
from bayesmeta.structures.base import Structure
from bayesmeta.structures.examination import examined
from bayesmeta.structures.known import Fixed

MOST_NAMED = 3  # groups whose repeated times are named


def structures_asked(psi: Any, parsed: Parsed) -> dict[str, Structure]:
    """The structure of every level that the user names, one for all levels or one for each; not yet over effects."""
    having = [level for level, part in zip(parsed.levels, parsed.random, strict=True) if part.text != "0"]
    by_level = psi if isinstance(psi, dict) else dict.fromkeys(having, psi)
    asked: dict[str, Structure] = {}
    for level, written in by_level.items():
        check_name(level, parsed.levels, "psi: no level", "levels")
        with _of_level(level):
            asked[level] = structures.resolve(written)
    return asked


def with_times(parsed: Parsed, asked: Mapping[str, Structure], columns: Sequence[str]) -> Parsed:
    """The formulas with the columns of times that structures ask for."""
    return timed(parsed, {level: structure.time for level, structure in asked.items()}, columns)


def positions_of(
    parsed: Parsed, asked: Mapping[str, Structure], raw: pd.DataFrame, response: FloatArray
) -> dict[str, FloatArray]:
    """The distinct times of every level that has an effect for each, increasing.

    Those of the rows kept; of a family that says how effects at other times are distributed also of rows that lack
    nothing but their outcome, so that it can be predicted.
    """
    if not parsed.times:
        return {}
    positions = {}
    complete = np.array([not reason for reason in parsed.missing(raw)], dtype=bool)
    observed = ~np.isnan(response).all(axis=1)
    for level, column in parsed.times.items():
        used = complete & (True if asked[level].stationary else observed)
        with _of_level(level):
            positions[level] = np.unique(finite(raw, column)[used])
    return positions


def structures_of(
    asked: Mapping[str, Structure], effects: Mapping[str, tuple[str, ...]], positions: Mapping[str, FloatArray]
) -> dict[str, Structure]:
    """The structure of every level, over its effects and checked against them."""
    for level in asked:
        if not effects[level]:
            raise SpecError(
                f"psi names a structure for the level '{level}', which has no random effects\n  leave it out of psi"
            )
    structure_of: dict[str, Structure] = {}
    for level, names in effects.items():
        if level not in asked and names:
            raise SpecError(f"psi names no structure for the level '{level}'\n  levels: {listing(effects)}")
        with _of_level(level):
            structure = asked[level] if level in asked else Fixed(np.zeros((0, 0)))
            structure_of[level] = structure.placed(positions[level]) if level in positions else structure
            structure_of[level].check(len(names))
            examined(structure_of[level], len(names))
    return structure_of


class _of_level:  # noqa: N801  # a context, written like a function
    """Puts the level before what is wrong with its structure."""

    def __init__(self, level: str) -> None:
        self.level = level

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, SpecError | DataError):
            raise type(error)(f"psi of level '{self.level}': {error}") from None


def shared_times(
    parsed: Parsed, grouping: Sequence[Groups], raw: pd.DataFrame, observations: Observations
) -> list[str]:
    """Sentences about estimates of one group at the same time, which share a random effect."""
    sentences = []
    for name, groups in zip(parsed.levels, grouping, strict=True):
        if name not in parsed.times:
            continue
        column = parsed.times[name]
        rows = observations.row
        frame = pd.DataFrame({"group": groups.codes[rows], "time": finite(raw, column)[rows], "row": rows})
        again = frame[frame.duplicated(["group", "time"], keep=False)]
        if again.empty:
            continue
        places = []
        for _, part in again.groupby(["group", "time"], sort=False):
            group, time = int(part["group"].iloc[0]), label(float(part["time"].iloc[0]))
            of_rows = listing(observations.row_labels[row] for row in part["row"])
            places.append(f"{name} {'/'.join(groups.labels[group])} at {time} (rows {of_rows})")
        shared = listing(places, MOST_NAMED)
        sentences.append(f"several estimates of one {name} at the same '{column}' share a random effect: {shared}")
    return sentences
