"""The page on diagnostic accuracy runs, and its table of sparse cells is that of the benchmark."""

import re
from pathlib import Path

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.diagnostic.curves import SLOPES
from tests.benchmarks import sparse_tables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/diagnostic.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")
def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    first, *_ = blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    for code in blocks:
        exec(code, names)
    assert {path.name for path in tmp_path.iterdir()} == {"curve.png", "studies.png"}
    assert len(first.strip().splitlines()) <= 16


def test_it_names_every_function_and_every_curve() -> None:
    assert all(f"`{name}`" in PAGE or f"bm.diagnostic.{name}" in PAGE for name in bm.diagnostic.__all__)
    assert all(f'| `"{kind}"` |' in PAGE for kind in SLOPES)


def test_its_table_has_the_designs_of_the_benchmark() -> None:
    designs = [f"| {a} / {b} | {c} / {d} |" for a, b in sparse_tables.PERSONS for c, d in sparse_tables.POINTS]
    rows = [line for line in PAGE.splitlines() if any(line.startswith(design) for design in designs)]
    assert len(rows) == len(designs)


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.BayesmetaWarning")
def test_a_row_of_the_benchmark_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_tables, "DATA_SETS", 2)
    cells = sparse_tables.row((50, 100), (0.8, 0.9)).split("|")
    assert cells[1:3] == [" 50 / 100 ", " 0.8 / 0.9 "]


def test_areas_that_it_quotes() -> None:
    """mada's area, what the right division gives, and the exact one."""
    tree = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    curve = bm.diagnostic.sroc(tree, fpr=np.arange(1, 100) / 100)["estimate"].to_numpy()
    area = curve.sum() - (curve[0] + curve[-1]) / 2
    exact = bm.diagnostic.auc(tree)["estimate"]["auc"]
    for value in (area / 99, area / 98, exact):
        assert f"{value:.4f}" in PAGE
