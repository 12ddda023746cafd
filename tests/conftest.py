"""What the tests share: the folder of reference numbers beside the checkout, and one profile for Hypothesis."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

# set before any test module is imported, because parametrisation already reads model files
os.environ["BAYESMETA_DATA"] = str(SHARED / "data")
os.environ["BAYESMETA_CACHE"] = str(SHARED / "nothing_fetched")

settings.register_profile("bayesmeta", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("bayesmeta")


@pytest.fixture(autouse=True)
def _no_figure_is_left() -> Iterator[None]:
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data sets and reference fits that lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.fail(f"the tests need the folder of reference numbers at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def reference(shared: Path) -> Callable[[str], Any]:
    """Reads a reference file by its path below `reference`, without the suffix: `reference("mixmeta/school_reml")`."""

    def read(name: str) -> Any:
        path = shared / "reference" / f"{name}.json"
        if not path.is_file():
            pytest.fail(f"no reference file {path}")
        return json.loads(path.read_text())

    return read
