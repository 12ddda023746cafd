"""The page from what papers print to y and v: its lines run, and its table has every measure."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.effects.recipe import ALIASES, RECIPES
from bayesmeta.model_files.model_file import load_analysis
from tests.support.reference import read_reference

MODELS = Path(__file__).resolve().parents[2] / "models"
PAGE = (Path(__file__).resolve().parents[2] / "docs/effects.md").read_text(encoding="utf-8")
LINES = re.findall(r"`(bm\.[\w.]+\([^`]*\))`", PAGE)
DATA = pd.DataFrame(
    {
        "study": ["Aronson", "Comstock", "Comstock"],
        "a": [4, 6, 9],
        "c": [11, 29, 12],
        "n1": [123, 306, 90],
        "n2": [139, 303, 88],
        "n": [262, 609, 178],
        "x": [15, 35, 21],
        "both": [30, 20, 9],
        "first": [15, 9, 4],
        "second": [10, 4, 3],
        "neither": [45, 22, 11],
        "t1": [40.0, 50.0, 60.0],
        "t2": [41.0, 52.0, 59.0],
        "m1": [24.1, 18.0, 20.0],
        "m2": [21.0, 18.9, 17.0],
        "sd1": [5.1, 4.2, 4.4],
        "sd2": [4.9, 5.0, 4.1],
        "m1b": [22.0, 19.0, 18.0],
        "m2b": [21.5, 18.5, 17.5],
        "sdc": [4.0, 4.5, 3.9],
        "r": [0.3, 0.2, 0.4],
        "t": [2.1, -0.4, 1.7],
        "k": [3, 4, 5],
        "alpha": [0.8, 0.9, 0.7],
        "or": [0.43, 0.2, 0.79],
        "low": [0.13, 0.08, 0.33],
        "high": [1.4, 0.5, 1.9],
        "logor": [-0.84, -1.6, -0.24],
        "se": [0.6, 0.46, 0.45],
        "p": [0.04, 0.001, 0.6],
        "median": [24.0, 18.0, 20.0],
        "q1": [20.0, 15.0, 17.0],
        "q3": [28.0, 21.5, 23.5],
        "sdx": [5.1, np.nan, 4.4],
        "sens": [0.8, 0.9, 0.75],
        "spec": [0.7, 0.95, 0.6],
    }
)


def test_there_is_a_line_for_whatever_is_printed():
    assert len(LINES) > 30


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_page_runs(line):
    made = eval(line, {"bm": bm, "np": np, "data": DATA})
    if isinstance(made, pd.DataFrame) and {"y", "v"} <= set(made.columns):
        assert made[["y", "v"]].notna().all(axis=None)
        assert (made["v"] > 0).all()
        spec = bm.specify("y ~ 1", made, S="v")
        assert spec.measure == made.attrs.get("measure")


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_its_example_runs():
    names: dict[str, Any] = {"pd": pd}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    assert float(names["fit"]["estimate"]["beta"][0]) == pytest.approx(-0.7452, abs=1e-3)
    assert [names[tree].attrs["measure"] for tree in ("gliomas", "smoking")] == ["logor", "logor"]
    assert round(float(names["thrombolysis"]["estimate"]["beta"][0]), 5) == -0.03493  # the digit that the page tells of
    # S as in the paper: 0.61 between neighbouring times, which are half a year apart
    of_paper = load_analysis(MODELS / "gliomas.toml").models["5"].spec
    np.testing.assert_allclose(bm.Spec.from_tree(names["gliomas"]).S.value, of_paper.S.value, rtol=1e-12)
    berkey = bm.specify(
        "PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"]
    )  # as published
    of_page = names["periodontal"]["estimate"]["beta"]
    np.testing.assert_allclose(of_page, bm.fit(berkey)["estimate"]["beta"], atol=0.005)
    published = bm.datasets.load("smoking")  # the same comparisons as they are published, to single precision
    assert np.allclose(names["table"]["y_C"], published["yC"], rtol=1e-5, equal_nan=True) or "yC" not in published


def test_its_table_has_every_measure_of_escalc():
    rows = dict(re.findall(r"^\| (\w+) \| `bm\.effects\.(\w+)` \|", PAGE, re.MULTILINE))
    assert rows.items() >= {name: each.function for name, each in RECIPES.items() if each.metafor == name}.items()
    for alias, name in ALIASES.items():
        assert f"| {alias} | as {name} |" in PAGE


OF_METAFOR = """
RR OR PETO RD AS PHI YUQ YUY RTET PBIT OR2D OR2DN OR2DL MPRD MPRR MPOR MPORC MPPETO MPORM IRR IRD IRSD MD SMD SMDH SMD1
SMD1H ROM CVR VR RPB RBIS D2OR D2ORN D2ORL COR UCOR ZCOR PCOR ZPCOR SPCOR PR PLN PLO PAS PFT IR IRLN IRS IRFT MN MNLN
CVLN SDLN SMN MC SMCC SMCR SMCRH ROMC CVRC VRC ARAW AHW ABT REH GEN
"""  # what metafor 3.8.1 says that its argument `measure` may be


def test_its_table_has_every_name_of_metafor():
    """Of version 3.8.1 by its own list, and all that the reference of version 5.1 has."""
    cells = re.findall(r"^\| ([^|`]+) \|", PAGE, re.MULTILINE)
    on_page = {name for cell in cells for name in re.findall(r"\b[A-Z][A-Z0-9]+\b", cell)}
    files = Path(__file__).resolve().parents[1] / "reference" / "effects"
    held = {
        key.split(" ")[0]
        for path in files.glob("*.json")
        if not path.stem.startswith("pooled")
        for key in read_reference(f"effects/{path.stem}").get("expected", {})
        if key.split(" ")[0].isupper()
    }
    more = {key.split(" ")[0] for case in read_reference("effects/more_measures")["cases"] for key in case["expected"]}
    assert len(held | more) > 60
    assert set(OF_METAFOR.split()) | held | more <= on_page


def test_numbers_that_other_software_has_otherwise():
    """The page names the factor of a bias-corrected correlation."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = bm.effects.unbiased_correlation({"r": [0.05], "n": [12]}, "n", r="r")
    assert table["y"].item() / 0.05 == pytest.approx(1.0641, abs=5e-5)
