"""The page on model files: every key that the reader takes, and none that it does not."""

import re
from pathlib import Path

from bayesmeta.estimation.methods import REGISTER
from bayesmeta.measures import MEASURES
from bayesmeta.model_files import figures, model_file, published

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/model_files.md").read_text(encoding="utf-8")


def keys_below(heading: str) -> set[str]:
    """The keys in the first column of the table below a heading."""
    part = PAGE.partition(heading)[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def words_of(key: str, heading: str) -> str:
    part = PAGE.partition(heading)[2].partition("\n## ")[0]
    (row,) = [line for line in part.splitlines() if line.startswith(f"| `{key}`")]
    return row


def test_the_page_has_every_key_of_the_reader():
    assert keys_below("## At the top") == set(model_file._TYPES)
    assert keys_below("## `[model.NAME]`") == set(model_file._MODEL)
    assert keys_below("## `[figure.NAME]`") == set(figures._OWN)
    assert keys_below("## `paper`") == set(published._KEYS)


def test_the_page_lists_what_the_registers_have():
    model = "## `[model.NAME]`"
    assert all(f"`{name}`" in words_of("measure", model) for name in MEASURES)
    assert all(name in words_of("method", model) for name in REGISTER)
    assert all(f"`{name}`" in words_of("S", model) for name in model_file._BUILDERS)
    assert all(f"`{name}`" in words_of("kind", "## `[figure.NAME]`") for name in figures.KINDS)
    assert all(f"`{name}`" in words_of("quantity", "## `paper`") for name in published.QUANTITIES)


def test_its_example_is_a_model_file(tmp_path):
    example = re.search(r"```toml\n(title.*?)```", PAGE, re.DOTALL)
    assert example
    (tmp_path / "trials.csv").write_text("y,v\n0.1,0.2\n0.3,0.2\n-0.2,0.1\n")
    analysis = model_file.analysis_from_text(example[1], tmp_path / "trials.csv")
    assert analysis.models["main"].spec.measure == "logor"
