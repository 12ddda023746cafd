"""CSV files as people have them: the numbers of the true table, or an error of ours that names file and line."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

import bayesmeta as bm
from tests.hostile.csv_variations import HEADER, Variation, table, variation, written

CASES = int(os.environ.get("HOSTILE_CASES", "500"))
FIRST = int(os.environ.get("HOSTILE_SEED", os.environ["HOSTILE_FRESH"]))
MODEL = """
title = "A table"
data = "table.csv"
[model.m]
formula = "y ~ x"
S = "v"
random = "1 | study"
"""


def fitted(folder: Path, data: bytes) -> np.ndarray:
    """The estimates of the model, and how many groups it has."""
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    (folder / "table.csv").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        tree = bm.fit(bm.load_analysis(folder / "model.toml").models["m"].spec)
    return np.append(tree["estimate"]["beta"].values, tree["constant_data"].sizes["group_study"])


def fault(folder: Path, case: Variation, true: np.ndarray) -> str:
    """What is wrong with the answer to a file; empty for nothing."""
    try:
        estimates = fitted(folder, case.data)
    except bm.BayesmetaError as error:
        return f"refused: {error}" if case.same else ""
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:100]}"
    if case.same:
        return "" if np.allclose(estimates, true, rtol=1e-9) else f"other numbers: {estimates}"
    return f"read in silence: {estimates}"


@pytest.mark.hostile
@pytest.mark.parametrize("seed", sorted({0, FIRST}))
def test_variations_of_one_table(seed: int, tmp_path: Path):
    true = fitted(tmp_path, written(table()).encode())
    assert true[-1] == 8  # 01 is not 1, NA is a name, and numbers of 17 digits stay apart
    faults = ((case, fault(tmp_path, case, true)) for case in map(variation, range(seed, seed + CASES // 2)))
    wrong = [f"{case.name}: {why}\n    {case.data[:200]!r}" for case, why in faults if why]
    assert not wrong, f"HOSTILE_SEED={seed}: {len(wrong)} files\n" + "\n".join(wrong[:20])


def test_the_header_has_the_columns_of_the_rows():
    assert all(len(row) == len(HEADER) for row in table())
