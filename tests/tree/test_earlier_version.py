"""A results file that version 0.1.0 wrote still answers every question."""

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.tree import files

RUN = CliRunner()
NAMES = ["reml", "bayes"]


@pytest.fixture(scope="module")
def results(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("earlier") / "results.nc"
    path.write_bytes(lzma.decompress((data_dir / "results_0.1.nc.xz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def trees(results: Path) -> dict[str, xr.DataTree]:
    return files.read(results)


@pytest.fixture(scope="module")
def today() -> xr.DataTree:
    school = bm.datasets.load("school")
    return bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district/study", measure="smd"))


def test_it_is_of_that_version(trees: dict[str, xr.DataTree]) -> None:
    assert list(trees) == NAMES
    assert {tree.attrs["bayesmeta_version"] for tree in trees.values()} == {"0.1.0"}


def test_a_fit_is_todays(trees: dict[str, xr.DataTree], today: xr.DataTree) -> None:
    for name in ("beta", "beta_se", "tau_district", "tau_study"):
        np.testing.assert_allclose(trees["reml"]["estimate"][name], today["estimate"][name], rtol=1e-5)
    for name in ("loglik", "aic", "df", "nobs"):
        assert float(trees["reml"]["criteria"][name]) == pytest.approx(float(today["criteria"][name]), abs=1e-6)


QUESTIONS: dict[str, Any] = {
    "summary": lambda tree: str(bm.summary(tree)),
    "heterogeneity": bm.heterogeneity,
    "predict": lambda tree: bm.predict(tree, interval="prediction"),
    "blup": bm.blup,
    "ranef": bm.ranef,
    "confint": bm.confint,
    "forest": bm.plots.forest,
    "structure": bm.plots.structure,
    "report": lambda tree: bm.report({"a": tree}),
}


# intervals of a posterior are those of its summary
ASKED = [(name, question) for name in NAMES for question in QUESTIONS if (name, question) != ("bayes", "confint")]


@pytest.mark.parametrize(("name", "question"), ASKED)
@pytest.mark.filterwarnings("ignore::bayesmeta.errors.BayesmetaWarning")
def test_every_question_has_its_answer(trees: dict[str, xr.DataTree], name: str, question: str) -> None:
    assert QUESTIONS[question](trees[name]) is not None


def test_a_refit_from_the_file_is_todays(trees: dict[str, xr.DataTree], today: xr.DataTree) -> None:
    again = bm.fit(bm.Spec.from_tree(trees["bayes"]))
    assert float(again["criteria"]["loglik"]) == pytest.approx(float(today["criteria"]["loglik"]), abs=1e-9)


def test_both_stand_side_by_side(trees: dict[str, xr.DataTree], today: xr.DataTree) -> None:
    text = str(bm.compare({**trees, "today": today}))
    assert "today" in text
    assert "tau[district, Intercept]" in text


@pytest.mark.parametrize("command", [["show"], ["plot", "--kind", "forest"], ["report"]], ids=lambda parts: parts[0])
def test_the_commands_read_it(
    command: list[str], results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = RUN.invoke(app, [command[0], str(results), *command[1:]])
    assert ran.exit_code == 0, ran.output
    assert command[0] != "show" or "0.1847" in ran.output
