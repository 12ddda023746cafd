"""What the tests share: reference numbers, the tables behind them, and one profile for Hypothesis."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings

from tests.support.reference import DATA, read_reference, read_table

# the seed of tests marked hostile that draw fresh cases; the same in every worker, which must collect the same tests
os.environ.setdefault("HOSTILE_FRESH", "0")

settings.register_profile("bayesmeta", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("bayesmeta")


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Any]:
    """Reads a reference file by its path below `tests/reference`: `reference("mixmeta/school_study")`."""
    return read_reference


@pytest.fixture(scope="session")
def table() -> Callable[[str], pd.DataFrame]:
    """Reads a table as the reference fits read it: `table("bcg")`."""
    return read_table


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of tables and files that tests read and users have no need of."""
    return DATA
