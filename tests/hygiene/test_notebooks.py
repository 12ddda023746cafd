"""The notebooks run, hold what they say they hold, and their last table is that of the package as it is now."""

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.model_files.published import Printed
from tests.support.make_notebooks import NOTEBOOKS, execute

ROOT = NOTEBOOKS.parent
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
ANALYSES = sorted(
    path.stem
    for path in (ROOT / "models").glob("*.toml")
    if any("paper" in model for model in tomllib.loads(path.read_text(encoding="utf-8")).get("model", {}).values())
)
COMPARED = [*ANALYSES, "two_stage"]  # notebooks whose last table holds published numbers and those of mixmeta
COLUMNS = ("paper", "mixmeta", "ours", "ours, Bayes")
LEVELS = {"school": ("district", "study"), "thrombolytic": ("trial", "subtrial")}  # in mixmeta's order


@dataclass(frozen=True)
class Cells:
    """The last table of a notebook: the labels of every row, filled down, and its cells by column."""

    rows: dict[tuple[str, ...], dict[str, str]]

    @classmethod
    def of(cls, notebook: nbformat.NotebookNode) -> "Cells":
        (table,) = [o["data"]["text/html"] for o in code(notebook)[-1].outputs if "text/html" in o.get("data", {})]
        rows: dict[tuple[str, ...], dict[str, str]] = {}
        labels: list[str] = []
        for row in re.findall(r"<tr.*?</tr>", table.partition("<tbody>")[2], re.S):
            new = [unescape(text) for text in re.findall(r"<th(?: [^>]*)?>(.*?)</th>", row, re.S)]
            labels = labels[: max(len(labels) - len(new), 0)] + new
            cells = [unescape(text) for text in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)]
            rows[tuple(labels)] = dict(zip(headings(table), cells, strict=True))
        return cls(rows)


def headings(table: str) -> list[str]:
    first = re.search(r"<thead>\s*<tr.*?</tr>", table, re.S)
    assert first
    return [text for text in re.findall(r"<th(?: [^>]*)?>(.*?)</th>", first[0], re.S) if text]


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in code(notebook) for output in cell.outputs]


def committed(name: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, nbformat.NotebookNode]:
    """Copies of all notebooks as few draws leave them, two at a time."""
    place = tmp_path_factory.mktemp("run")
    shutil.copytree(ROOT / "models", place / "models")
    (place / "notebooks").mkdir()
    paths = [Path(shutil.copy(NOTEBOOKS / f"{name}.ipynb", place / "notebooks")) for name in NAMES]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setenv("BAYESMETA_DRAWS", "100")
        return dict(zip(NAMES, pool.map(lambda path: execute(path, quiet=True), paths), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_runs_without_complaint(runs, name):
    found = outputs(runs[name])
    assert not [output for output in found if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("name", COMPARED)
def test_last_table_is_that_of_the_package(runs, name):
    written, found = Cells.of(committed(name)).rows, Cells.of(runs[name]).rows
    assert list(written) == list(found)
    for label, cells in written.items():
        assert tuple(cells) == COLUMNS
        assert (cells["paper"], cells["mixmeta"]) == (found[label]["paper"], found[label]["mixmeta"])
        assert np.isclose(float(cells["ours"]), float(found[label]["ours"]), rtol=2e-4, atol=1e-6), label


def test_estimates_of_magnesium_are_those_of_the_package(runs):
    written, now = Cells.of(committed("magnesium")).rows, Cells.of(runs["magnesium"]).rows
    assert list(written) == list(now)
    for label, cells in written.items():
        for end, cell in cells.items():
            assert np.isclose(float(cell), float(now[label][end]), rtol=2e-4), (label, end)


@pytest.mark.parametrize("name", NAMES)
def test_committed_with_all_outputs(name):
    notebook = committed(name)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells[1:])  # the first imports
    assert not [output for output in outputs(notebook) if output.output_type in ("error", "stream")]
    assert notebook.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < 400_000


def test_every_analysis_has_a_notebook_and_the_site_leads_to_it():
    assert "](docs/notebooks.md)" in (ROOT / "README.md").read_text()
    page = (ROOT / "docs/notebooks.md").read_text()
    assert sorted([*COMPARED, "auditc", "magnesium", "network"]) == NAMES
    assert all(f"](../notebooks/{name}.ipynb)" in page for name in NAMES)


@pytest.mark.parametrize("name", ANALYSES)
def test_last_table_holds_every_printed_number(name):
    rows = Cells.of(committed(name)).rows
    models = load_analysis(ROOT / "models" / f"{name}.toml").models
    printed = {(key, entry.label): entry for key, model in models.items() for entry in model.paper}
    assert set(rows) == set(printed)
    for label, entry in printed.items():
        assert rows[label]["paper"] == entry.printed
        shown = rows[label]["ours"]  # of five digits, which may lie at the edge of what rounds to the printed number
        half = 0.5 * 10.0 ** -len(shown.partition(".")[2])
        near = [float(shown) + step for step in (-half, 0.0, half)]
        stated = entry.ours and np.isclose(float(shown), float(entry.ours), rtol=1e-5)
        assert any(map(entry.holds, near)) or stated, label


@pytest.mark.parametrize("name", ANALYSES)
def test_numbers_of_mixmeta_are_those_of_the_reference_files(name, reference):
    models = load_analysis(ROOT / "models" / f"{name}.toml").models
    entries = {(key, entry.label): entry for key, model in models.items() for entry in model.paper}
    for (model, label), cells in Cells.of(committed(name)).rows.items():
        theirs = of_mixmeta(reference(f"mixmeta/{name}_{model}")["expected"], entries[model, label], LEVELS.get(name))
        assert cells["mixmeta"] == f"{theirs:.5g}", label


def test_numbers_of_mixmeta_in_two_stages(reference):
    theirs = reference("mixmeta/gliomas_7_ml")["expected"]
    middle, slope = np.array([1, 15]), np.array([0, 1])
    expected = [f"{np.dot(x, theirs['coef']):.5g}" for x in (middle, slope)]
    expected += [f"{np.sqrt(x @ np.array(theirs['vcov']) @ x):.5g}" for x in (middle, slope)]
    expected += [f"{theirs['pvalue'][1]:.5g}", *(f"{v:.5g}" for v in np.sqrt(np.diag(theirs["psi"][0])))]
    assert sorted(cells["mixmeta"] for cells in Cells.of(committed("two_stage")).rows.values()) == sorted(expected)


def of_mixmeta(expected: dict[str, Any], entry: Printed, levels: tuple[str, ...] | None) -> float:
    """The value of a printed quantity in a reference file."""

    def coefficient(values: Any) -> float:
        names = ["Intercept" if name == "(Intercept)" else name for name in expected["coef_names"]]
        return float(values[names.index(entry.of[0].removesuffix(".Intercept"))])

    def predicted(column: int) -> float:
        at = [row["dose"] for row in expected["predict_newdata"]].index(entry.at["dose"])
        return float(np.exp(expected["predict"][at][column]))

    def variance() -> float:
        return float(expected["psi"][levels.index(entry.of[0]) if levels and len(expected["psi"]) > 1 else 0][0][0])

    readers: dict[str, Callable[[], float]] = {
        "beta": lambda: coefficient(expected["coef"]),
        "se": lambda: coefficient(np.sqrt(np.diag(expected["vcov"]))),
        "pvalue": lambda: coefficient(expected["pvalue"]),
        "lower": lambda: coefficient(expected["ci_lower"]),
        "upper": lambda: coefficient(expected["ci_upper"]),
        "tau": lambda: variance() ** 0.5,
        "tau2": variance,
        "I2": lambda: expected["I2"][0],
        "Q_pvalue": lambda: expected["Q_pvalue"][0],
        "wald_pvalue": lambda: expected["wald_interaction"]["pvalue"],
        **{
            f"exp_predict{end}": lambda c=column: predicted(c)
            for end, column in (("", 0), ("_lower", 2), ("_upper", 3))
        },
        **{key: lambda key=key: expected[key] for key in ("aic", "df")},
    }
    name = entry.quantity
    if name in readers:
        return readers[name]()
    return float(np.exp(readers[name.removeprefix("exp_")]()))


def test_no_execution_time_and_no_widget_is_kept():
    for name in NAMES:
        text = (NOTEBOOKS / f"{name}.ipynb").read_text()
        assert json.loads(text)["metadata"].keys() == {"kernelspec", "language_info"}
        assert "iopub" not in text
        assert "widget" not in text


def test_every_cell_with_a_plot_shows_it(tmp_path):
    lines = (
        "import bayesmeta as bm\nfit = bm.fit(bm.specify('logor ~ 1', bm.datasets.load('bcg'), S='logorvar'))",
        "bm.plots.forest(fit);",
        "bm.plots.funnel(fit);",
    )
    path = tmp_path / "plots.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line) for line in lines]), path)
    shown = [any("image/png" in o.get("data", {}) for o in cell.outputs) for cell in execute(path).cells]
    assert shown == [False, True, True]
