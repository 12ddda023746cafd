"""A good call of every function of `bm.effects`, by the family of its recipe, and of Mantel-Haenszel and Peto."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta import effects
from bayesmeta.effects import functions
from tests.hostile.values import (
    BOOLEAN,
    PROBABILITY,
    Kind,
    is_none,
    is_number,
    optional,
    pair,
    real,
    texts,
    words,
)

COUNTS = ("e", "c", "n", "m", "p", "q", "a", "b", "s", "t")
TABLE = Kind(lambda value: isinstance(value, pd.DataFrame) and {"e", "c", "n", "m"} <= set(value.columns))


def are_values(value: Any) -> bool:
    """A column, a number for all rows, or one for each of three."""
    if isinstance(value, str):
        return value in COUNTS
    if is_number(value):
        return True
    listed = value if isinstance(value, list | tuple | np.ndarray | pd.Series) else []
    return (
        getattr(listed, "ndim", 1) == 1 and len(listed) == 3 and all(each is None or is_number(each) for each in listed)
    )


VALUES = Kind(are_values, ("'zz'", "[1, 2]", "'E'", "np.inf", "[[1, 2, 3]]", "['a', 'b', 'c']"))
VARIANCE = Kind(
    lambda value: (
        value == "LS"
        if isinstance(value, str)
        else list(value) == ["LS"] * 3
        if isinstance(value, list | tuple)
        else False
    ),
    ("'ls'", "['LS']", "['LS', 'LS', 3]", "None"),
)
NAMES = texts(2)
ARMS = Kind(
    lambda value: value is None or (isinstance(value, list | tuple) and len(value) == 2),
    ("'ab'", "('a', 'a')", "(1, 2)"),
)
CORRECTION = words("exact", "approximate", "none")
ZEROS = {"zero": optional(words("only0", "if0all", "all", "none")), "add": real(0)}
DOUBLE = {"drop_double_zero": optional(BOOLEAN)}
TWO = pair(*COUNTS)
OTHERS = Kind(is_none, pair("p", "q").own)
CELLS = Kind(
    lambda value: (
        isinstance(value, list | tuple)
        and len(value) == 4
        and all(isinstance(v, str) and v in COUNTS for v in value)
        and len(set(value)) == 4
    ),
    ("'ecpq'", "('e', 'c')", "('e', 'e', 'p', 'q')"),
)
THREE = Kind(
    lambda value: (
        isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(v, str) and v in COUNTS for v in value)
    ),
    ("'ecp'", "('e', 'c')", "(1, 2, 3)"),
)
MEAN, SD, N = {"mean": "('a', 'b')"}, {"sd": "('s', 't')"}, {"n": "('n', 'm')"}
EVENTS, TOTAL = {"events": "('e', 'c')"}, {"total": "('n', 'm')"}
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "of_counts": EVENTS | TOTAL,
    "of_pairs": {"cells": "('e', 'c', 'p', 'q')"},
    "of_margins": EVENTS | TOTAL | {"r": "0.3"},
    "of_rates": EVENTS | {"time": "('n', 'm')"},
    "of_means": MEAN | SD | N,
    "of_sds": SD | N,
    "of_statistics": N | {"t": "'a'"},
    "of_ranks": {"auc": "0.6"} | N,
    "of_correlations": {"n": "'n'", "t": "'a'"},
    "of_regressions": {"n": "'n'", "predictors": "2", "t": "'a'"},
    "of_events": {"events": "'e'", "total": "'n'"},
    "of_rate": {"events": "'e'", "time": "'n'"},
    "of_genotypes": {"genotypes": "('e', 'c', 'p')"},
    "of_mean": {"mean": "'a'", "sd": "'s'", "n": "'n'"},
    "of_sd": {"sd": "'s'", "n": "'n'"},
    "of_changes": MEAN | SD | {"n": "'n'", "r": "0.5"},
    "of_sd_changes": SD | {"n": "'n'", "r": "0.5"},
    "of_controlled_changes": {"before": "('a', 'b')", "after": "('b', 'a')", "sd_before": "('s', 't')"}
    | N
    | {"r": "0.5"},
    "of_alphas": {"alpha": "0.8", "items": "10", "n": "'n'"},
}
KINDS: Mapping[str, Kind] = {
    "data": TABLE,
    "names": NAMES,
    "arms": ARMS,
    "variance": VARIANCE,
    "correction": CORRECTION,
    "cells": CELLS,
    **ZEROS,
    **DOUBLE,
    "genotypes": THREE,
}


def _kind(parameter: str, text: str | None) -> Kind | None:
    """Of an argument whose good value this is; None for one that is left out of the good call."""
    if parameter in KINDS:
        return KINDS[parameter]
    if text in (None, "None"):
        return None
    if text.startswith("("):
        return TWO
    return VALUES


def effect_calls() -> dict[str, tuple[dict[str, str], dict[str, Kind]]]:
    """Arguments and kinds of every function that is bound to a recipe."""
    calls = {}
    for name in functions.__all__:
        function = getattr(effects, name)
        family = inspect.unwrap(function).__name__
        arguments = {"data": "E", **ARGUMENTS[family], **_own(name)}
        kinds = {p: _kind(p, arguments.get(p)) for p in inspect.signature(function).parameters}
        calls[f"effects.{name}"] = (arguments, {p: kind for p, kind in kinds.items() if kind is not None})
    return calls


def _own(name: str) -> dict[str, str]:
    """What a function needs beyond its family."""
    if name.startswith("semipartial"):
        return {"r_squared": "0.5"}
    if name.startswith("r_squared"):
        return {"r_squared": "0.5", "t": "None"}
    return {"sd_after": "('s', 't')"} if name == "pre_post_control_raw" else {}


OTHER_CALLS: dict[str, tuple[dict[str, str], dict[str, Kind]]] = {
    "effects.escalc": (
        {"measure": "'OR'", "data": "E", "ai": "'e'", "n1i": "'n'", "ci": "'c'", "n2i": "'m'"},
        {
            "data": TABLE,
            **dict.fromkeys(("ai", "n1i", "ci", "n2i"), VALUES),
            "to": optional(words("only0", "if0all", "all", "none")),
            "drop00": optional(BOOLEAN),
            "correct": BOOLEAN,
            "vtype": VARIANCE,
            "var_names": NAMES,
        },
    ),
    "effects.from_interval": (
        {"data": "E", "estimate": "'a'", "interval": "('b', 't')", "prob": "0.9"},
        {"data": TABLE, "interval": TWO, "scale": words("response", "model"), "prob": PROBABILITY, "names": NAMES},
    ),
    "effects.from_pvalue": (
        {"data": "E", "estimate": "'a'", "p": "[0.1, 0.2, 0.3]"},
        {"data": TABLE, "scale": words("response", "model"), "names": NAMES, "p": VALUES},
    ),
    "effects.from_se": (
        {"data": "E", "estimate": "'a'", "se": "'s'"},
        {"data": TABLE, "scale": words("response", "model"), "names": NAMES, "se": VALUES},
    ),
    "effects.mean_from_quantiles": (
        {"data": "E", "n": "'n'", "median": "'a'", "quartiles": "('b', 't')"},
        {
            "data": TABLE,
            "n": VALUES,
            "quartiles": TWO,
            "method": words("luo-wan"),
            "distribution": words("normal", "lognormal"),
            "names": NAMES,
        },
    ),
    "effects.sd_from": (
        {"data": "E", "n": "'n'", "se": "'s'"},
        {"data": TABLE, "n": VALUES, "se": VALUES, "prob": PROBABILITY},
    ),
    "effects.sd_from_test": (
        {"data": "E", "mean": "('a', 'b')", "n": "('n', 'm')", "t": "2.0"},
        {"data": TABLE, "mean": TWO, "n": TWO, "t": VALUES, "prob": PROBABILITY},
    ),
    "effects.impute_sd": (
        {"data": "E", "sd": "'s'", "rule": "'mean'"},
        {"data": TABLE, "rule": words("mean", "median", "largest")},
    ),
    "effects.cells_from": (
        {"data": "E", "total": "100", "first": "'n'", "events": "'e'", "odds_ratio": "2.0"},
        {
            "data": TABLE,
            "total": VALUES,
            "first": VALUES,
            "events": VALUES,
            "odds_ratio": VALUES,
            "continuity": BOOLEAN,
        },
    ),
    "effects.cells_from_accuracy": (
        {
            "data": "E.assign(k=5, se=0.8, sp=0.9)",
            "total": "'m'",
            "cases": "'k'",
            "sensitivity": "'se'",
            "specificity": "'sp'",
        },
        {
            "data": TABLE,
            "total": VALUES,
            "cases": VALUES,
            "sensitivity": VALUES,
            "specificity": VALUES,
            "ppv": optional(VALUES),
        },
    ),
    "effects.aggregate": (
        {"data": "E", "by": "'s'", "y": "'a'", "v": "'t'", "rho": "0.5"},
        {"data": TABLE, "rho": real(-1, 1), "weights": words("precision", "equal")},
    ),
    "effects.delta_method": (
        {"data": "E", "function": "np.exp", "y": "'a'", "v": "'t'"},
        {"data": TABLE, "names": NAMES},
    ),
    "mantel_haenszel": (
        {"data": "E", "events": "('e', 'c')", "total": "('n', 'm')"},
        {
            "data": TABLE,
            "events": TWO,
            "total": TWO,
            "continuity": BOOLEAN,
            "prob": PROBABILITY,
            "add": real(0),
            "zero": words("only0", "if0all", "all", "none"),
        },
    ),
    "peto": (
        {"data": "E", "events": "('e', 'c')", "total": "('n', 'm')"},
        {"data": TABLE, "events": TWO, "total": TWO, "prob": PROBABILITY},
    ),
}
