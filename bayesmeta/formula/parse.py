"""From formulas to a checked description of the model: outcomes, predictors, levels and the columns they need.

Nothing here looks at data; `Design` (`design`) turns the description and the rows kept into matrices.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_keys, check_name, shown
from bayesmeta.errors import SpecError
from bayesmeta.formula.expressions import evaluate
from bayesmeta.formula.safety import LONGEST, Part, check_expression, check_formula, split
from bayesmeta.io.columns import reasons_missing

_CALL = re.compile(r"(cbind|offset)\s*\((.*)\)", re.DOTALL)


@dataclass(frozen=True)
class Terms:
    """The formulas of a model, as written.

    fixed : "y ~ x", "PD + AL ~ year", "cbind(PD, AL) ~ year", or {outcome: right-hand side}.
    random : "1 | district/study", {level: predictors}, or several of the first, outer to inner; or None. A level may be
        named with those around it, as in {"district": "1", "district/study": "1 + x"}.
    common : predictors that have one coefficient for all outcomes.
    offset : a raw column.  groups : the column of the independent groups when there is no random part.
    """

    fixed: str | dict[str, str]
    random: str | dict[str, str] | tuple[str, ...] | None = None
    common: str | None = None
    offset: str | None = None
    groups: str | None = None

    def __post_init__(self) -> None:
        random: object = self.random
        if isinstance(random, list):
            object.__setattr__(self, "random", tuple(random))

    def to_json(self) -> dict[str, Any]:
        """Plain values, tuples as lists.

        >>> Terms("y ~ x", random=("1 | a", "x | b")).to_json()["random"]
        ['1 | a', 'x | b']
        """
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Terms":
        """Inverse of `to_json`; SpecError for unknown keys."""
        check_keys(values, [each.name for each in fields(cls)], "formulas of a model", required=["fixed"])
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Parsed:
    """Checked formulas.

    outcomes : their labels.  levels : grouping factors, outer to inner; "unit" when each row is its own group.
    responses, fixed : per outcome its expression and its predictors.  common : predictors with one coefficient.
    offsets : expressions to be added up.  random : per level its predictors.
    group_columns : the column of every level; empty when each row is its own group.
    nested : per level whether it is written within the one before it, as in "district/study".
    times : column of the times whose distinct values are the effects of a level, where its structure asks for one.
    columns : every raw column used: outcomes, predictors, offsets, groups, times.
    """

    terms: Terms
    outcomes: tuple[str, ...]
    levels: tuple[str, ...]
    responses: tuple[Part, ...]
    fixed: tuple[Part, ...]
    common: Part | None
    offsets: tuple[Part, ...]
    random: tuple[Part, ...]
    group_columns: tuple[str, ...]
    nested: tuple[bool, ...] = ()
    times: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def fixed_predictors(self) -> tuple[str, ...]:
        """Raw columns of the fixed part, of all outcomes and common to them."""
        return _columns(*self.fixed, *(() if self.common is None else (self.common,)))

    @cached_property
    def predictors(self) -> tuple[str, ...]:
        """Raw columns of the fixed, common and random predictors and of the offsets."""
        return tuple(dict.fromkeys((*self.fixed_predictors, *_columns(*self.random, *self.offsets))))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        others = (*self.predictors, *self.times.values(), *self.group_columns)
        return tuple(dict.fromkeys((*_columns(*self.responses), *others)))

    def response(self, frame: pd.DataFrame) -> FloatArray:
        """(n, k) outcomes, NaN where missing; DataError for text, infinite values and undefined ones (log(-1))."""
        return np.column_stack([evaluate(part, frame) for part in self.responses])

    def missing(self, frame: pd.DataFrame) -> list[str]:
        """Per row why it cannot be used, such as "missing ablat" or "missing group district"; "" where it can."""
        reasons = [(c, f"missing {c}") for c in dict.fromkeys((*self.predictors, *self.times.values()))]
        return reasons_missing(frame, reasons + [(c, f"missing group {c}") for c in self.group_columns])


def parse(terms: Terms, columns: Sequence[str]) -> Parsed:
    """Check the formulas of a model against the columns of the data.

    Parameters
    ----------
    terms : Terms
        The formulas.
    columns : list of str
        Names of the columns that formulas may use.

    Returns
    -------
    Parsed
        What the formulas mean.

    Raises
    ------
    SpecError
        For unknown columns (with the closest one), anything outside the allow-list, levels that are not plain columns.

    Examples
    --------
    >>> parsed = parse(Terms("PD + AL ~ year", random="1 | lab/trial"), ["PD", "AL", "year", "lab", "trial"])
    >>> parsed.outcomes, parsed.levels, parsed.columns
    (('PD', 'AL'), ('lab', 'trial'), ('PD', 'AL', 'year', 'lab', 'trial'))
    """
    known = [str(c) for c in columns]
    responses, fixed, offsets = _fixed(terms.fixed, known)
    outcomes = tuple(part.readable(part.text) for part in responses)
    levels = _levels(terms, known)
    if terms.offset is not None:
        offsets = [*offsets, check_expression(_plain_column(terms.offset, "offset", known), known)]
    parsed = Parsed(
        terms=terms,
        outcomes=outcomes,
        levels=tuple(level.column for level in levels) or (schema.UNIT,),
        responses=tuple(responses),
        fixed=tuple(fixed),
        common=None if terms.common is None else check_formula(_text(terms.common, "common"), known),
        offsets=tuple(offsets),
        random=tuple(check_formula(level.effects, known) for level in levels) or (check_formula("1", known),),
        group_columns=tuple(level.column for level in levels),
        nested=tuple(level.nested for level in levels),
    )
    _check_names(parsed, known)
    return parsed


def sides_of(formula: Any, outcomes: Sequence[str], makers: str) -> str | dict[str, str]:
    """The formula of several outcomes from its right-hand side, one for all or a mapping with one for each.

    makers : what the outcomes are made of, which users therefore do not name.

    >>> sides_of("year", ("sensitivity", "specificity"), "the counts")
    'sensitivity + specificity ~ year'
    """
    if isinstance(formula, Mapping):
        check_keys(formula, outcomes, "formula")
        sides = {outcome: formula.get(outcome, "1") for outcome in outcomes}
    else:
        sides = dict.fromkeys(outcomes, formula)
    for side in sides.values():
        if not isinstance(side, str) or "~" in side.strip().removeprefix("~"):
            raise SpecError(
                f"formula is {shown(side)}; it must be predictors alone, such as 'test + year', or a dict of these by "
                f"outcome\n  the outcomes are {' and '.join(outcomes)}, which {makers} make"
            )
    sides = {outcome: side.strip().removeprefix("~").strip() for outcome, side in sides.items()}
    same = len(set(sides.values())) == 1
    return f"{' + '.join(outcomes)} ~ {sides[outcomes[0]]}" if same else sides


def timed(parsed: Parsed, times: Mapping[str, str | None], columns: Sequence[str]) -> Parsed:
    """The formulas with levels whose effects are the distinct values of a column.

    Parameters
    ----------
    parsed : Parsed
        The formulas.
    times : mapping
        Of some levels the column, None for those whose effects are named by their formula.
    columns : list of str
        Names of the columns.

    Returns
    -------
    Parsed
        The same with `times`.

    Raises
    ------
    SpecError
        For an unknown column, several outcomes, or a random part that is more than an intercept.

    Examples
    --------
    >>> parsed = parse(Terms("y ~ 1", random="1 | study"), ["y", "study", "month"])
    >>> timed(parsed, {"study": "month"}, ["y", "study", "month"]).columns
    ('y', 'month', 'study')
    """
    own = {level: column for level, column in times.items() if column is not None}
    for level, column in own.items():
        check_name(column, columns, f"psi of level '{level}': no column of times", "columns", most=30)
        part = parsed.random[parsed.levels.index(level)].text
        if part != "1":
            raise SpecError(
                f"psi of level '{level}' has an effect for each time in '{column}', the random part is '{part}'\n"
                f"  write random='1 | {level}'"
            )
        if len(parsed.outcomes) > 1:
            raise SpecError(
                f"psi of level '{level}' has an effect for each time in '{column}', which needs one outcome; the "
                f"formula has {len(parsed.outcomes)}\n"
                "  with a column for each time give their times instead: positions=[...]"
            )
        if column in (*parsed.outcomes, *parsed.group_columns):
            what = "an outcome" if column in parsed.outcomes else "a column of groups"
            raise SpecError(
                f"psi of level '{level}': '{column}' is {what}, and cannot hold its times"
                "\n  name the column of the times"
            )
    return replace(parsed, times=own)


def _check_names(parsed: Parsed, known: Sequence[str]) -> None:
    for what, names in (("outcome", parsed.outcomes), ("level", parsed.levels)):
        if twice := _repeated(names):
            raise SpecError(f"{what} '{twice}' occurs twice\n  name each {what} once")
    if repeated := _repeated([c for c in known if c in parsed.columns]):
        raise SpecError(f"the data have several columns named '{repeated}'\n  rename them, or drop all but one")
    _check_levels(parsed.levels)
    if schema.OVERALL in parsed.outcomes and len(parsed.outcomes) > 1:
        raise SpecError(f"outcome '{schema.OVERALL}' has the name of the test of all outcomes\n  rename the column")
    if schema.INTERCEPT in parsed.predictors:
        raise SpecError(f"'{schema.INTERCEPT}' is the name of a coefficient, not of a predictor\n  rename the column")
    if grouped := [column for column in _columns(*parsed.responses) if column in parsed.group_columns]:
        raise SpecError(
            f"'{grouped[0]}' is an outcome and also names the groups\n  name the column of the groups in random="
        )
    if twice := _repeated([part.text for part in parsed.offsets]):
        raise SpecError(f"the offset '{twice}' stands twice\n  leave one out, or write offset(2 * {twice})")
    if both := set(parsed.outcomes) & set(parsed.predictors):
        raise SpecError(f"'{min(both)}' is an outcome and also a predictor\n  leave it out of one side of the formula")


def _check_levels(levels: Sequence[str]) -> None:
    """Levels name variables of the results tree, which may not hold a slash or fall together."""
    for level in levels:
        if "/" in level:
            raise SpecError(
                f"level '{level}' has a slash in its name, which stands between levels\n  rename the column"
            )
    for one, two in permutations(levels, 2):
        derived = {schema.b_se(one), schema.index(one), schema.bis(schema.effect(one))}
        if derived & {schema.b(two), schema.group(two), schema.effect(two)}:
            raise SpecError(
                f"levels '{one}' and '{two}' would share a name in the results\n  rename the column '{two}'"
            )


def _fixed(fixed: str | dict[str, str], columns: Sequence[str]) -> tuple[list[Part], list[Part], list[Part]]:
    """Outcomes, predictors per outcome, offsets."""
    if isinstance(fixed, dict):
        if not fixed:
            raise SpecError("the formula is an empty dict; it must name an outcome, such as {'y': '1 + x'}")
        responses = [check_expression(_text(outcome, "outcome"), columns) for outcome in fixed]
        return responses, [check_formula(_right(f, f"formula of {y}"), columns) for y, f in fixed.items()], []
    sides = split(_text(fixed, "formula"), "~")
    if len(sides) != 2 or not sides[0]:
        raise SpecError(f"formula {shown(fixed, 200)} must have outcomes and predictors on two sides, such as 'y ~ x'")
    called = _CALL.fullmatch(sides[0])
    outcomes = split(called[2], ",") if called and called[1] == "cbind" else split(sides[0], "+")
    responses = [check_expression(_text(outcome, f"outcome of {shown(fixed, 200)}"), columns) for outcome in outcomes]
    terms, offsets = [], []
    for term in split(_right(sides[1], f"formula {shown(fixed, 200)}"), "+"):
        call = _CALL.fullmatch(term)
        if call and call[1] == "offset":
            offsets.append(check_expression(call[2], columns))
        else:
            terms.append(term)
    predictors = check_formula(" + ".join(terms) or "1", columns)
    return responses, [predictors] * len(responses), offsets


class _Level(NamedTuple):
    """A grouping column, the formula of its random effects, and whether it is written within the level before it."""

    column: str
    effects: str
    nested: bool = False


def _levels(terms: Terms, columns: Sequence[str]) -> list[_Level]:
    """The levels, outer to inner; empty for each row its own group."""
    if terms.groups is not None:
        if terms.random is not None:
            raise SpecError("both random and groups are given\n  groups is for models without a random part")
        return [_Level(_plain_column(terms.groups, "groups", columns), "0")]
    if terms.random is None:
        return []
    if isinstance(terms.random, dict):
        levels = list(_by_level(terms.random, columns))
    elif isinstance(terms.random, str | tuple):
        parts = (terms.random,) if isinstance(terms.random, str) else terms.random
        levels = [level for part in parts for level in _bar(_text(part, "random"))]
    else:
        raise SpecError(
            f"random is a {type(terms.random).__name__}; it must be a string such as '1 | group', a dict or a list"
        )
    if not levels:
        raise SpecError("random is empty\n  leave it out for one random effect per row and outcome")
    return [level._replace(column=_plain_column(level.column, "random", columns)) for level in levels]


def _by_level(random: Mapping[str, str], columns: Sequence[str]) -> Iterator[_Level]:
    """One level per key, which names the level alone or all levels down to it, as in 'outer/inner'."""
    above: list[str] = []
    for key, effects in random.items():
        names = [key] if key in columns else split(_text(key, "level"), "/")
        if len(names) > 1 and names[:-1] != above:
            raise SpecError(
                f"level '{key}' is written within {'/'.join(names[:-1])}, which is not what stands before it\n"
                f"  the levels before it: {'/'.join(above) or 'none'}"
            )
        above.append(names[-1])
        yield _Level(names[-1], _right(effects, f"random effects of level '{key}'"), nested=len(names) > 1)


def _bar(text: str) -> Iterator[_Level]:
    """The levels of 'predictors | outer/inner'."""
    sides = split(text.removeprefix("~").strip(), "|")
    if len(sides) != 2:
        hint = (
            "for uncorrelated effects: a single '|' and psi='diag'"
            if "" in sides[1:]
            else "such as '1 | district/study', without brackets"
        )
        raise SpecError(
            f"random part {shown(text, 200)} must be predictors | grouping column\n"
            f"  {hint}; several levels also as a list"
        )
    effects = _right(sides[0], f"random part {shown(text, 200)}")
    for position, group in enumerate(split(sides[1], "/")):
        yield _Level(group, effects, nested=position > 0)


def _plain_column(text: str, what: str, columns: Sequence[str]) -> str:
    """A column's name, with or without backticks; an expression is refused, since its groups would have no name."""
    column = _text(text, what).strip()
    column = column[1:-1] if len(column) > 2 and column[0] == column[-1] == "`" else column
    if column in columns:
        return column
    if ":" in column:
        nested = column.replace(":", "/")
        raise SpecError(f"{what}: '{column}' is not a plain column\n  levels are nested anyway: write {nested}")
    if not re.fullmatch(r"[\w.]+", column):
        raise SpecError(f"{what}: '{column}' is not a plain column\n  make it a column of the data first")
    check_name(column, columns, f"{what}: no column", "columns", most=30)
    return column


def _right(text: object, what: str) -> str:
    """Predictors without a leading '~'; no further '~' or '|'."""
    right = _text(text, what).strip().removeprefix("~").strip()
    if not right:
        raise SpecError(f"{what} has no predictors; write 1 for an intercept alone")
    if len(split(right, "~")) > 1 or len(split(right, "|")) > 1:
        raise SpecError(f"{what}: '{right}' must hold predictors only, without '~' and '|'")
    return right


def _text(value: object, what: str) -> str:
    if isinstance(value, str) and len(value) > LONGEST:
        raise SpecError(f"{what} has {len(value):,} characters; at most {LONGEST:,} are allowed")
    if not isinstance(value, str) or not value.strip():
        raise SpecError(f"{what} is {shown(value)}; it must be a non-empty string")
    return value


def _columns(*parts: Part) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column for part in parts for column in part.columns))


def _repeated(items: Sequence[str]) -> str | None:
    return next((item for i, item in enumerate(items) if item in items[:i]), None)
