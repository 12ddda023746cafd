"""Model files that are written: of a model that was typed, and with comments for somebody to begin with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bayesmeta.estimation.methods import REGISTER
from bayesmeta.formula.safety import quoted_if_needed
from bayesmeta.measures import MEASURES

MODEL = "main"
# names that tables of studies give their columns, the likeliest first
_EFFECTS = ("y", "yi", "effect", "logor", "logrr", "smd", "es", "te", "estimate")
_VARIANCES = ("v", "vi", "var", "variance", "logorvar", "logrrvar")
_ERRORS = ("se", "sei", "sete", "stderr", "std_error", "standard_error")


def model_text(data: Path, settings: Mapping[str, Any]) -> str:
    """A model file of one model, to stand beside its data.

    settings : of the model, by key; those that are empty are left out, lists of one are written as the one.

    >>> print(model_text(Path("trials.csv"), {"formula": "y ~ 1", "S": ["v"], "random": []}))
    title = "trials"
    data = "trials.csv"
    <BLANKLINE>
    [model.main]
    formula = "y ~ 1"
    S = "v"
    <BLANKLINE>
    """
    lines = [f"title = {_toml(data.stem)}", f"data = {_toml(data.name)}", "", f"[model.{MODEL}]"]
    lines += [f"{key} = {_toml(value)}" for key, value in settings.items() if value]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A string, a list or a table of TOML; JSON's strings are among TOML's."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return _toml(value[0]) if len(value) == 1 else "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def commented_model(data: Path, frame: pd.DataFrame) -> str:
    """A model file that says what each of its lines does, with the columns that look like effects and variances."""
    numbers = [str(name) for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    labels = [str(name) for name in frame if str(name) not in numbers]
    y, v, se = (_first(names, numbers) for names in (_EFFECTS, _VARIANCES, _ERRORS))
    sampling = f"se = {_toml(se)}" if se and not v else f"S = {_toml(v or 'v')}"
    group = next((name for name in labels if frame[name].duplicated().any()), "study")
    recurring = [name for name in numbers if name not in (y, v, se) and frame[name].duplicated().any()]
    predictor = recurring[0] if recurring else "x"  # numbers that never recur may number the rows
    measure = y.lower() if y.lower() in MEASURES else ""
    return _TEXT.format(
        title=_toml(data.stem),
        data=_toml(data.name),
        columns=_wrapped(map(str, frame.columns)),
        unsure="" if y and (v or se) else _UNSURE,
        formula=_toml(f"{quoted_if_needed(y or 'y')} ~ 1"),
        regression=_toml(f"{quoted_if_needed(y or 'y')} ~ {quoted_if_needed(predictor)}"),
        S=sampling,
        random=_toml(f"1 | {quoted_if_needed(group)}"),
        measure=f'measure = "{measure}"' if measure else '# measure = "smd"',
        measures=_wrapped(MEASURES),
        methods=_wrapped(REGISTER),
        labels=_toml(labels[0] if labels else "study"),
    )


def _first(names: Sequence[str], columns: Sequence[str]) -> str:
    """The column of the likeliest of these names."""
    by_lower = {column.lower(): column for column in columns}
    return next((by_lower[name] for name in names if name in by_lower), "")


def _wrapped(names: Any) -> str:
    words, lines = list(names), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 100:
            lines.append("")
        lines[-1] += f", {word}" if lines[-1] else word
    return ",\n#   ".join(lines)


_UNSURE = "# No columns look like an effect and its variance: put the names of yours in the lines below.\n"
_TEXT = """\
# A model file of bayesmeta: `bayesmeta fit FILE` fits its models, `bayesmeta report FILE` writes a page about them.
# Lines after a # are comments; take the sign away to use one.

title = {title}
# citation = "Where the data come from."
data = {data}
# Its columns:
#   {columns}

# New columns by formulas, before anything else:
# [derive]
# v = "se**2"

{unsure}[model.main]
# what = "One line about this model, for tables and the report."
# The outcome, and what explains it; "y ~ 1" is the pooled effect alone.
formula = {formula}
# The column of sampling variances, or with se in place of S, that of standard errors.
{S}
# What the effects are, so that ratios are shown as ratios:
#   {measures}
{measure}
# Groups that share a random effect; without this line, every row has its own.
# random = {random}
# How it is fitted:
#   {methods}
method = "reml"

# A second model, with a predictor:
# [model.regression]
# formula = {regression}
# {S}

# Models side by side in one table, once there are several:
# [tables]
# "Both" = ["main", "regression"]

# A figure that `bayesmeta plot FILE` draws:
# [figure.forest]
# kind = "forest"
# models = ["main"]
# labels = {labels}
"""
