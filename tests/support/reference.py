"""Numbers of other software (`tests/reference`) and the tables that they were computed from (`tests/data`)."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

import bayesmeta as bm

TESTS = Path(__file__).resolve().parents[1]
REFERENCE, DATA = TESTS / "reference", TESTS / "data"


def read_reference(name: str) -> Any:
    """The content of `tests/reference/NAME.json`: `read_reference("mixmeta/school_study")`."""
    path = REFERENCE / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no reference file {path}")
    return json.loads(path.read_text(encoding="utf-8"))


def table_path(name: str) -> Path:
    """Where a table as the other software read it lies: `tests/data`, unless the bundled table is the same."""
    path = DATA / f"{name}.csv"
    return path if path.is_file() else Path(bm.datasets.__file__).parent / f"{name}.csv"


def read_table(name: str) -> pd.DataFrame:
    """A table as the other software read it, with the columns and the precision that it had there."""
    return pd.read_csv(table_path(name))
