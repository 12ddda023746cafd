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
    "few groups to draw from": lambda: bm.bootstrap(bm.fit(ONE), n=5, random_seed=1, kind="groups"),
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


SPEC = bm.specify("A ~ 1", TABLE, S="vA", measure="md")


SMALL, BIG = (bm.fit(bm.specify(f"A ~ {x}", TABLE, S="vA"), "ml") for x in ("1", "B"))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (bm.simulate, {"spec_or_tree": SMALL, "n": 3}),
        (bm.bootstrap, {"tree": SMALL, "n": 3}),
        (bm.lr_test, {"small": SMALL, "big": BIG, "reference": "bootstrap", "bootstrap": 5}),
    ],
)
def test_an_old_name_of_a_parameter_still_works_and_warns_at_the_users_line(function, arguments):
    with pytest.warns(DeprecationWarning, match="'seed' is deprecated, use 'random_seed'.*version") as caught:
        old = function(**arguments, seed=3)
    assert caught[0].filename == __file__
    assert str(old) == str(function(**arguments, random_seed=3))
    with pytest.raises(TypeError, match="both 'random_seed' and its old name 'seed'"):
        function(**arguments, seed=3, random_seed=3)


@pytest.mark.parametrize("function", [bm.sample, bm.sensitivity])
def test_an_old_name_of_a_parameter_of_samplers(function):
    priors = {} if function is bm.sample else {"priors": {}}
    with pytest.warns(DeprecationWarning, match="'seed' is deprecated"), pytest.raises(bm.SpecError):
        function(SPEC, **priors, draws=0, seed=3)


def test_what_is_deprecated_has_a_version_ahead_that_removes_it():
    here = tuple(map(int, bm.__version__.split(".")[:2]))
    assert all(tuple(map(int, each.removed.split("."))) > here for each in errors.DEPRECATIONS)
