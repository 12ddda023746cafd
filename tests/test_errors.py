"""Warnings name the user's line, wherever in the package their cause lies."""

import ast
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import errors

PACKAGE = Path(errors.__file__).parent
RNG = np.random.default_rng(5)
TABLE = pd.DataFrame(
    {"A": RNG.normal(size=8), "B": RNG.normal(size=8), "vA": 0.5, "vB": 0.5, "g": list("aabbccdd"), "all": 1}
)
COUNTS = pd.DataFrame({"ill": [0, 3, 0], "ill_control": [2, 5, 0], "n": [10, 20, 30], "n_control": [10, 20, 30]})
ONE = bm.specify("A ~ 1", TABLE, S="vA", random="1 | g")

EMITTERS: dict[str, Callable[[], object]] = {
    "zero covariances between outcomes": lambda: bm.specify("A + B ~ 1", TABLE, S=["vA", "vB"]),
    "a variance that the data cannot identify": lambda: bm.specify("A ~ 1", TABLE, S="vA", random="1 | all"),
    "something added to empty cells": lambda: bm.effects.odds_ratio(
        COUNTS, ("ill", "ill_control"), total=("n", "n_control")
    ),
    "rows without an estimate": lambda: bm.effects.risk_ratio(
        COUNTS, ("ill", "ill_control"), total=("n", "n_control"), zero="none"
    ),
    "a search that is stopped": lambda: bm.fit(
        bm.specify("A + B ~ 1", TABLE, S=["vA", "vB"], S_correlation=0.3), tolerance=1e-300
    ),
    "missing outcomes taken as missing at random": lambda: bm.fit(
        bm.specify("A + B ~ 1", TABLE.assign(B=TABLE["B"].where(TABLE.index > 1)), S=["vA", "vB"], S_correlation=0),
        "mm",
    ),
    "few groups to draw from": lambda: bm.bootstrap(bm.fit(ONE), n=5, seed=1, kind="groups"),
    "default priors on the scale of the data": lambda: bm.to_pymc(bm.specify("A ~ 1", TABLE, S="vA")),
}


@pytest.mark.parametrize("emit", EMITTERS.values(), ids=EMITTERS)
def test_every_warning_names_a_file_outside_the_package(emit):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        emit()
    ours = [w for w in caught if issubclass(w.category, bm.BayesmetaWarning)]
    assert ours
    assert {w.filename for w in ours} == {__file__}


def test_a_script_beside_the_package_is_outside_of_it():
    script = os.path.join(PACKAGE.parent, "bayesmeta_trials.py")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile("warn('said', UserWarning)", script, "exec"), {"warn": errors.warn})
    assert caught[0].filename == script


def test_warnings_are_emitted_in_one_place():
    calls = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("warnings.warn", "warnings.warn_explicit")
    ]
    assert [place.partition(":")[0] for place in calls] == ["errors.py"]
