"""What a reader of the repository relies on: a light import, commands that work as written, nothing of one machine."""

import ast
import inspect
import pickle
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from tests.support.pictures import crowded, drawn_texts

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "pymc",
    "pytensor",
    "arviz",
    "nutpie",
    "matplotlib",
    "formulaic",
    "scipy.stats",
    "typer",
    "rich",
    "xarray",
    "pandas",
}


def in_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def tracked() -> list[Path]:
    """Files under version control, and those that would be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def blocks(markdown: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)


def commands(markdown: str) -> list[str]:
    """Lines of the shell blocks."""
    return [
        line for block in re.findall(r"^```sh\n(.*?)^```", markdown, re.M | re.S) for line in block.splitlines() if line
    ]


def test_import_loads_nothing_heavy():
    loaded = set(in_new_process("import bayesmeta, sys; print(*sys.modules)").split())
    assert "bayesmeta" in loaded
    assert not loaded & HEAVY


def test_public_names_for_type_checkers_are_those_at_run_time():
    body = ast.parse((ROOT / "bayesmeta/__init__.py").read_text()).body
    (checked,) = [node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {alias.asname: node.module for node in checked.body for alias in node.names}
    ring = {name: f".{path.rpartition('.')[0]}" for name, path in bm._INSIDE.items()}
    lived = {
        name: "bayesmeta" + (ring.get(name, "") if name in bm._MODULES else f".{bm._HOME[name]}") for name in bm.__all__
    }
    assert typed == lived


@pytest.mark.parametrize("name", bm.__all__)
def test_every_public_name_resolves(name):
    value = getattr(bm, name)
    assert isinstance(value, ModuleType) == (name in bm._MODULES)
    assert name in dir(bm)


@pytest.mark.parametrize("name", bm._MODULES)
def test_a_public_module_shows_its_public_names_and_nothing_else(name):
    module = getattr(bm, name)
    assert dir(module) == sorted(module.__all__)
    assert all(hasattr(module, public) for public in module.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        bm.fitt  # noqa: B018


def test_a_function_outlives_the_import_of_the_module_of_its_name():
    modules = {path.stem for path in Path(bm.__file__).parent.iterdir()}
    same = [name for name in bm._HOME if name in modules]
    assert same
    imports = "; ".join(f"import bayesmeta.{name}" for name in same)
    printed = in_new_process(f"{imports}; print([callable(getattr(bayesmeta, name)) for name in {same}])")
    assert printed.strip() == str([True] * len(same))


def test_a_users_function_goes_to_other_processes() -> None:
    """As from a notebook, where joblib sends functions by value, with the modules that they use."""
    names: dict[str, Any] = {"bm": bm, "__name__": "__main__"}
    exec("def tau(y):\n    return bm.fit(bm.specify('y ~ 1', {'y': y, 'v': [1.0] * len(y)}, S='v'))", names)
    sent = cloudpickle.dumps(names["tau"])
    again = pickle.loads(sent)
    assert again([0.1, 3.0, 6.0])["estimate"]["tau_unit"].item() > 1
    assert pickle.loads(pickle.dumps(bm)) is bm


def test_public_functions_carry_an_example():
    functions = {name: getattr(bm, name) for name in bm.__all__ if inspect.isfunction(getattr(bm, name))}
    assert not [name for name, function in functions.items() if ">>>" not in (inspect.getdoc(function) or "")]


def test_doctests_are_collected():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "--doctest-modules" in options["addopts"]
    assert "bayesmeta" in options["testpaths"]


def test_versions_agree():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == bm.__version__
    assert version("bayesmeta") == bm.__version__


def test_readme_commands_are_those_that_are_tried():
    readme = commands((ROOT / "README.md").read_text())
    script = [line.strip() for line in (ROOT / ".ci/run").read_text().splitlines()]
    assert len(readme) == 2
    for command in readme:
        assert command.startswith("pip install uv && uv run ")
        assert f"({command})" in script


NUMBER = re.compile(r"-?\d+\.\d+|\d{3,}")
MONTE_CARLO = 0.02  # between two runs of the same chains on other processors, for a quantity below one


def test_readme_result_is_what_the_command_prints(tmp_path):
    """Words and digits, those of draws up to Monte Carlo error, effective sample sizes up to a factor of two."""
    readme = (ROOT / "README.md").read_text()
    result, _ = blocks(readme, "text")
    program, *given = commands(readme)[0].partition("uv run ")[2].split()
    assert program == "bayesmeta"
    arguments = [str(ROOT / word) if word.endswith(".toml") else word for word in given]
    first = result.splitlines()[0]
    model = first.removeprefix("== ").partition(":")[0]  # the others of the file, .ci/run samples too
    command = [sys.executable, "-c", "from bayesmeta.cli import app; app()", *arguments, "--model", model]
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert (tmp_path / "school_compare.nc").is_file()
    part = printed[printed.index(first) :][: len(result) + 200]
    words, found = ([NUMBER.sub("#", line).split() for line in text.splitlines()] for text in (result, part))
    assert found[: len(words)] == words
    for ours, theirs in zip(NUMBER.findall(result), NUMBER.findall(part), strict=False):
        if float(ours) > 100:
            assert 0.5 < float(theirs) / float(ours) < 2
        else:
            assert abs(float(theirs) - float(ours)) <= MONTE_CARLO, f"{ours} in the README, {theirs} now"
    reml = re.compile(r"^\S.*?(\S+ \(\S+\))", re.MULTILINE)
    assert reml.findall(part)[:3] == reml.findall(result)[:3]  # the frequentist column to its last digit


@pytest.fixture
def newcomer(tmp_path, monkeypatch) -> Path:
    """A directory with the table of trials that the README shows."""
    (table,) = blocks((ROOT / "README.md").read_text(), "csv")
    (tmp_path / "trials.csv").write_text(table)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_readme_python_prints_what_is_written_below_it(newcomer, capsys):
    readme = (ROOT / "README.md").read_text()
    (code,), (_, summary) = blocks(readme, "python"), blocks(readme, "text")
    exec(code, {})
    assert capsys.readouterr().out.startswith(summary)


def test_what_the_readme_says_of_the_package_and_the_data():
    readme, school = (ROOT / "README.md").read_text(), bm.datasets.load("school")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{len(school)} schools in {school['district'].nunique()} districts" in readme
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in readme
    assert project["license"].replace("-", " License ") in readme
    extras = {
        extra for names in re.findall(r"\[([a-z,]+)\](?!\()|--extra", readme) for extra in names.split(",") if extra
    }
    assert extras == {"bayes", "tables"}
    assert {*extras, *re.findall(r"--extra (\w+)", readme)} <= {*project["optional-dependencies"]}


def test_tour_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks((ROOT / "docs/learn/tour.md").read_text(), "python")), {})
    assert capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"school.nc", "school.html"}


def test_readme_leads_from_a_table_to_pictures_and_tables_in_fifteen_lines(newcomer, capsys):
    readme = (ROOT / "README.md").read_text().partition("## Quick start")[2]
    first = blocks(readme, "python")[0]
    assert len([line for line in first.splitlines() if line]) <= 15
    assert 'read_csv("trials.csv")' in first
    space: dict = {}
    exec(first, space)
    printed = capsys.readouterr().out
    assert (newcomer / "forest.png").read_bytes().startswith(b"\x89PNG")
    assert (newcomer / "funnel.png").read_bytes().startswith(b"\x89PNG")
    assert (newcomer / "summary.docx").read_bytes().startswith(b"PK")
    assert "95% CI" in (newcomer / "studies.html").read_text(encoding="utf-8")
    # pooled by hand at the estimated tau2
    table = pd.read_csv(newcomer / "trials.csv")
    cells = np.stack([table.ill, table.vaccinated - table.ill, table.ill_control, table.control - table.ill_control])
    weight = 1 / ((1 / cells).sum(axis=0) + space["fit"]["estimate"]["psi_unit"].item())
    pooled = (weight * (np.array([1, -1, -1, 1]) @ np.log(cells))).sum() / weight.sum()
    assert f"{pooled:.4f}" in printed
    texts = {text.get_text() for text in drawn_texts(space["ax"].figure)}
    assert {*table.trial, *map(str, table.ill), *map(str, table.control)} <= texts
    assert not crowded(space["ax"].figure)
    plt.close(space["ax"].figure)


@pytest.mark.mpl_image_compare(
    filename="readme_forest.png",
    tolerance=10,
    style="default",
    savefig_kwargs={"dpi": 110},
)
def test_readme_shows_the_picture_that_its_lines_draw(newcomer):
    names: dict[str, Any] = {}
    exec(blocks((ROOT / "README.md").read_text().partition("## Quick start")[2], "python")[0], names)
    return names["ax"].figure


def test_readme_pictures_are_there_and_described():
    pages = ROOT / "README.md", ROOT / "docs/learn/tour.md"
    pictures = [(page, *found) for page in pages for found in re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text())]
    assert len(pictures) >= 3
    for page, words, path in pictures:
        assert len(words) > 40
        assert (page.parent / path).is_file()


def test_no_lock_file_is_tracked():
    locks = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pixi.lock", "conda-lock.yml"}
    assert not [path for path in tracked() if path.name in locks]


def test_nothing_of_one_machine_is_tracked():
    elsewhere = re.compile(
        r"(?<![\w.])/(work|home|root|opt|tmp|Users)/\w|pypi\.org|pythonhosted\.org|anaconda\.org|cran\.r-project\.org|"
        r"\b(localhost|\d+\.\d+\.\d+\.\d+):\d"
    )
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="ignore").splitlines(), start=1):
            if elsewhere.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found
