"""Declared studies: Table 6, resuming, and what is refused."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.errors import DataError, SpecError
from bayesmeta.simulation import run
from bayesmeta.simulation.declaration import Simulation, declares_simulation, load_study, scenario_of
from bayesmeta.simulation.run import Piece, estimates, run_study, study_table
from tests.benchmarks.table6 import deviations, model_of, upward
from tests.support import dense

MODELS = Path(__file__).resolve().parents[2] / "models"
TABLE6 = MODELS / "table6.toml"


@pytest.fixture(scope="module")
def study() -> Simulation:
    return load_study(TABLE6)


@pytest.fixture
def small(study: Simulation, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """The two smaller scenarios without correlation within rows, a few data sets to a piece."""
    monkeypatch.setattr(run, "PIECE", 3)
    scenarios = tuple(scenario for scenario in study.scenarios if scenario["m"] == 10 and scenario["rho_w"] == 0)
    return replace(study, draws={"script": study.draws["script"]}, scenarios=scenarios)


def test_the_file_holds_the_published_table(study: Simulation, reference: Any) -> None:
    published = reference("paper/table6")
    statistics = published["columns"][3:]
    rows = [[s["m"], s["rho_b"], s["rho_w"], *(float(s["paper"][c]) for c in statistics)] for s in study.scenarios]
    assert rows == published["rows"]
    assert [statistic.name for statistic in study.statistics] == statistics
    assert study.datasets == published["datasets_per_scenario"]


def test_data_sets_have_the_declared_moments(study: Simulation) -> None:
    scenario = scenario_of(study, 6, "script")
    Y, S = scenario.data_sets([np.random.SeedSequence(1, spawn_key=(i,)) for i in range(400)])
    sd = np.sqrt(np.einsum("bnii->bni", S))
    assert 0.5 < sd.min() < 0.51
    assert 1.99 < sd.max() < 2
    np.testing.assert_allclose(S[..., 0, 1], 0.8 * sd[..., 0] * sd[..., 1])
    assert np.mean(Y**2) == pytest.approx(2 + np.mean(sd**2), rel=0.05)
    assert np.mean(Y[..., 0] * Y[..., 1]) == pytest.approx(2 * 0.8 + np.mean(S[..., 0, 1]), rel=0.05)
    assert np.mean(Y[:, ::10] * Y[:, 1::10]) == pytest.approx(1, abs=0.2)  # rows of one outer group
    variances = np.einsum("bnii->bni", scenario_of(study, 0, "text").data_sets([np.random.SeedSequence(1)])[1])
    assert 0.1 < variances.min() < 0.15
    assert 1.9 < variances.max() < 2


def test_convergence_holds_in_the_dense_implementation(study: Simulation) -> None:
    """Log-likelihood and slopes at the answers, from full matrices, for data sets of every smaller scenario."""
    for number in (0, 2, 4, 6):
        scenario = scenario_of(study, number, "script")
        Y, S = scenario.data_sets([np.random.SeedSequence(2, spawn_key=(i,)) for i in range(5)])
        found = bm.fit_many(scenario.spec, Y, S)
        assert found["converged"].all()
        for i in range(5):
            model = model_of(
                scenario.spec, Y[i], S[i], [found[f"psi_{v.name}"].values[i] for v in scenario.spec.levels]
            )
            assert dense.loglik(model, True) == pytest.approx(found["loglik"].values[i], abs=1e-8)
            assert max(map(upward, model.psi, dense.scores(model, True))) < 1e-5


def test_a_killed_run_resumes_bit_for_bit(small: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_study(small, tmp_path / "whole", datasets=7)
    save, done = run._save_piece, []

    def killed(*given: Any) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        save(*given)
        done.append(given[-1].name)

    monkeypatch.setattr(run, "_save_piece", killed)
    with pytest.raises(KeyboardInterrupt):
        run_study(small, tmp_path / "resumed", datasets=7)
    monkeypatch.setattr(run, "_save_piece", lambda *given: (done.append(given[-1].name), save(*given)))
    resumed = run_study(small, tmp_path / "resumed", datasets=7)
    assert len(done) == len(set(done)) == 6
    assert resumed.identical(whole)
    for piece in (tmp_path / "whole").glob("script*.nc"):
        assert run._read(piece).identical(run._read(tmp_path / "resumed" / piece.name))


RUN = """
import sys
from dataclasses import replace
from pathlib import Path
from bayesmeta.simulation import run
from bayesmeta.simulation.declaration import load_study
run.PIECE = 3
study = load_study(sys.argv[1])
study = replace(study, draws={"script": study.draws["script"]}, scenarios=study.scenarios[:1])
run.run_study(study, Path(sys.argv[2]), 30, n_jobs=int(sys.argv[3]))
"""


def test_a_process_killed_at_half_leaves_what_resumes_bit_for_bit(tmp_path: Path) -> None:
    """Killed by a signal that nothing can catch, wherever it was, with one process and with two."""

    def start(directory: Path, jobs: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", RUN, str(TABLE6), str(directory), str(jobs)]
        return subprocess.Popen(command, start_new_session=True)

    def pieces(directory: Path) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in directory.glob("script*.nc")}

    assert start(tmp_path / "whole", 1).wait() == 0
    whole = pieces(tmp_path / "whole")
    assert len(whole) == 10
    for jobs in (1, 2):
        directory = tmp_path / f"killed{jobs}"
        process = start(directory, jobs)
        while len(pieces(directory) if directory.is_dir() else ()) < 4:
            assert process.poll() is None
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = pieces(directory)
        assert 4 <= len(done) < 10
        assert not (directory / run.RESULTS).exists()
        assert start(directory, jobs).wait() == 0
        assert pieces(directory) == whole
        assert done.items() <= whole.items()
        results = [folder / run.RESULTS for folder in (directory, tmp_path / "whole")]
        resumed, uninterrupted = (xr.load_datatree(file, engine="h5netcdf") for file in results)
        assert resumed.identical(uninterrupted)


def test_two_processes_give_the_same(small: Simulation, tmp_path: Path) -> None:
    one, two = (run_study(small, tmp_path / str(n), datasets=4, n_jobs=n) for n in (1, 2))
    assert one.identical(two)


def test_another_design_is_refused(small: Simulation, tmp_path: Path) -> None:
    run_study(small, tmp_path / "out", datasets=1)
    for other in (replace(small, seed=1), replace(small, scenarios=small.scenarios[:1])):
        with pytest.raises(SpecError, match="holds results of another design"):
            run_study(other, tmp_path / "out", datasets=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds other files"):
        run_study(small, tmp_path / "full", datasets=1)
    with pytest.raises(DataError, match="is not a directory"):
        run_study(small, tmp_path / "full" / "notes.txt", datasets=1)


def test_statistics_and_their_errors(small: Simulation, tmp_path: Path) -> None:
    results = run_study(small, tmp_path / "out", datasets=6)
    rows = study_table(small, results).set_index(["rho_b", "statistic"])
    found = estimates(small, Piece("script", 0, 0, 3))["beta"].values[0, :, 0]
    both = results["script_1"]["beta"].values[0, :, 0]
    np.testing.assert_array_equal(found, both[:3])
    bias, rmse = rows.loc[(0.0, "bias")], rows.loc[(0.0, "rmse")]
    assert bias["value"] == pytest.approx(both.mean())
    assert bias["mcse"] == pytest.approx(both.std(ddof=1) / np.sqrt(6))
    assert rmse["value"] == pytest.approx(np.sqrt(np.mean(both**2)))
    assert rmse["paper"] == 0.349
    inside = np.abs(both) < 1.96 * results["script_1"]["beta_se"].values[0, :, 0]
    assert rows.loc[(0.0, "coverage")]["value"] == pytest.approx(inside.mean())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("datasets = 10000", "datasets = 0"), "datasets is 0; it must be a whole number of at least 1"),
        (("datasets =", "dataset ="), "unknown key 'dataset'; did you mean 'datasets'"),
        (("seed = 5429\n", ""), "'seed' is missing"),
        (('["reml"]', '["remll"]'), "an estimator is 'remll'; did you mean 'reml'"),
        (("sd = [0.5, 2.0]", "sd = [2.0, 0.5]"), r"has the bounds \[2.0, 0.5\]"),
        (("sd = [0.5, 2.0]", "sds = [0.5, 2.0]"), "it must be sd = "),
        (('kind = "rmse"', 'kind = "mse"'), "is the 'mse' of 'beta'; known: bias, rmse, coverage"),
        (('level = "outer"', 'level = "outre"'), "no level 'outre'; did you mean 'outer'"),
        (('correlation = "rho_b"', 'correlation = "rho"'), "scenario 1 has no number 'rho'; did you mean"),
        (('correlation = "rho_b"', "correlation = -0.9"), "not positive semi-definite: smallest eigenvalue -0.8"),
        (("title =", "title"), "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(TABLE6.read_text().replace(*change))
    with pytest.raises(SpecError) as caught:
        load_study(tmp_path / "study.toml")
    assert re.search(message, str(caught.value))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["simulate", str(TABLE6), "--datasets", "2", "--jobs", "1"])
    assert ran.exit_code == 0, ran.output
    assert ran.output.count("paper") == 16
    assert (tmp_path / "table6_results" / "results.nc").is_file()
    for arguments, message in [
        (["none.toml"], "no model file none.toml"),
        ([str(TABLE6), "--datasets", "0"], "0; it must be"),
    ]:
        failed = CliRunner().invoke(app, ["simulate", *arguments])
        assert failed.exit_code == 2
        assert message in failed.output


def test_one_data_set_has_no_monte_carlo_error_and_no_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["simulate", str(TABLE6), "--datasets", "1", "--jobs", "1", "--out", "out"])
    assert ran.exit_code == 0, ran.output
    assert not re.search("ddof|degrees of freedom|Warning", ran.stderr)


def test_which_files_are_studies() -> None:
    assert [path.name for path in sorted(MODELS.glob("*.toml")) if declares_simulation(path)] == ["table6.toml"]


def test_differences_from_the_paper_are_counted_in_monte_carlo_errors() -> None:
    rows = pd.DataFrame(
        {
            "statistic": ["bias", "bias", "bias_rho_1", "bias_rho_1"],
            "value": [0.10, 0.16, 0.019, 0.021],
            "mcse": [0.02, 0.02, 1e-4, 1.0],
            "paper": [0.0, 0.0, 0.0, 0.0],
        }
    )
    found = deviations(rows)
    np.testing.assert_allclose(found["errors"][:2], [5, 8])
    assert found["holds"].tolist() == [True, False, True, False]


def test_slopes_upward_are_those_that_the_family_allows() -> None:
    """At limits of the compound-symmetric family only slopes that lead away from them count."""
    ones, eye = np.ones((3, 3)), np.eye(3)
    assert upward(0 * eye, eye) == pytest.approx(3)
    assert upward(0 * eye, -eye) == 0
    assert upward(2 * ones, ones - eye) == pytest.approx(12)  # by log tau2
    away = 2 * eye - ones + eye  # no slope by tau2, and one that lowers rho
    assert upward(ones, away) == pytest.approx(6)
    assert upward(ones, -away) == pytest.approx(0)


def test_results_as_zarr(small: Simulation, tmp_path: Path) -> None:
    found = run_study(small, tmp_path / "out", datasets=2, zarr=True)
    saved = xr.load_datatree(tmp_path / "out" / "results.zarr", engine="zarr")
    assert study_table(small, saved).equals(study_table(small, found))
    assert not (tmp_path / "out" / "results.nc").exists()
