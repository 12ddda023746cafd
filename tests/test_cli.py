"""The commands as a user types them."""

import re
from pathlib import Path

import pytest
import xarray as xr
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.analysis import load_analysis
from bayesmeta.cli import app
from bayesmeta.published import rounded

MODELS = Path(__file__).resolve().parents[1] / "models"
RUN = CliRunner()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fit_prints_table_2_and_saves(directory: Path) -> None:
    ran = RUN.invoke(app, ["fit", str(MODELS / "school.toml")])
    assert ran.exit_code == 0, ran.output
    table = ran.output.split("== Table 2")[1]
    analysis = load_analysis(MODELS / "school.toml")
    for name in analysis.tables["Table 2"]:
        assert name in table
        for entry in analysis.models[name].paper:
            if entry.quantity in ("beta", "aic"):
                shown = [float(number) for number in re.findall(r"-?\d+\.\d+", table)]
                assert any(rounded(number, entry.printed) == entry.printed for number in shown), entry
    saved = directory / "school.nc"
    assert f"saved in {saved.name}" in ran.output
    tree = xr.open_datatree(saved, group="district")
    fit = bm.fit(analysis.models["district"].spec, method="ml")
    assert float(tree["estimate"]["beta"][0]) == float(fit["estimate"]["beta"][0])


def test_show_prints_what_fit_printed(directory: Path) -> None:
    fitted = RUN.invoke(app, ["fit", str(MODELS / "school.toml"), "--out", "here.nc"])
    shown = RUN.invoke(app, ["show", "here.nc"])
    assert shown.exit_code == 0, shown.output
    for name, model in load_analysis(MODELS / "school.toml").models.items():
        assert f"== {name}" in shown.output
        page = str(bm.summary(bm.fit(model.spec, method=model.method)))
        assert page in fitted.output
        assert page in shown.output


def test_one_model_by_another_method_is_saved_as_its_own_tree(directory: Path) -> None:
    ran = RUN.invoke(
        app, ["fit", str(MODELS / "school.toml"), "--model", "district", "--method", "reml", "--out", "d.nc"]
    )
    assert ran.exit_code == 0, ran.output
    assert "== Table 2" not in ran.output
    tree = xr.open_datatree(directory / "d.nc")
    assert tree.attrs["method"] == "reml"
    shown = RUN.invoke(app, ["show", "d.nc"])
    assert shown.output.rstrip() == str(bm.summary(tree)).rstrip()


def test_reproduce_ticks_every_number_and_gives_the_reasons_of_exceptions(directory: Path) -> None:
    for name in ("school.toml", "thrombolytic.toml"):
        (directory / name).write_text((MODELS / name).read_text(encoding="utf-8"), encoding="utf-8")
    ran = RUN.invoke(app, ["reproduce", "--models", str(directory)])
    assert ran.exit_code == 0, ran.output
    assert "24 held, 2 known to differ, 0 not held" in ran.output
    assert ran.output.count("✓") == 24
    words = " ".join(ran.output.split())
    for name in ("school", "thrombolytic"):
        for model in load_analysis(MODELS / f"{name}.toml").models.values():
            for entry in model.paper:
                assert entry.label in ran.output
                assert entry.printed in ran.output
                assert entry.reason in words


def test_reproduce_looks_in_the_current_directory(directory: Path) -> None:
    ran = RUN.invoke(app, ["reproduce"])
    assert ran.exit_code == 2
    assert "no model files (*.toml) in models" in ran.output


@pytest.mark.parametrize("entry", load_analysis(MODELS / "school.toml").models["district"].paper, ids=lambda e: e.label)
def test_a_changed_digit_makes_the_exit_code_1(entry: object, directory: Path) -> None:
    text = (MODELS / "school.toml").read_text(encoding="utf-8")
    printed = entry.printed  # type: ignore[attr-defined]
    changed = printed[:-1] + str((int(printed[-1]) + 1) % 10)
    assert text.count(f'"{printed}"') == 1
    (directory / "models").mkdir()
    (directory / "models" / "school.toml").write_text(text.replace(f'"{printed}"', f'"{changed}"'), encoding="utf-8")
    ran = RUN.invoke(app, ["reproduce"])
    assert ran.exit_code == 1, ran.output
    assert "1 not held" in ran.output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["fit", "none.toml"], "no model file none.toml"),
        (["fit", str(MODELS / "school.toml"), "--model", "distrct"], "no model 'distrct'"),
        (["fit", str(MODELS / "school.toml"), "--method", "remll"], "remll"),
        (["fit", str(MODELS / "school.toml"), "--out", "none/x.nc"], "no directory none for the results file x.nc"),
        (["show", "none.nc"], "no file none.nc"),
        (["show", str(MODELS / "school.toml")], "school.toml is not a results file"),
    ],
)
def test_errors_are_messages(command: list[str], message: str, directory: Path) -> None:
    ran = RUN.invoke(app, command)
    assert ran.exit_code == 2
    assert message in ran.output
    assert "Traceback" not in ran.output
    assert ran.stderr.startswith("Error: ")
    assert not list(directory.iterdir())


def test_a_missing_data_set_says_how_to_get_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAYESMETA_DATA")
    ran = RUN.invoke(app, ["fit", str(MODELS / "alcohol.toml")])
    assert ran.exit_code == 2
    assert "data/alcohol.rda" in ran.output


def test_a_file_whose_models_have_no_random_effects_or_constructed_covariances(directory: Path) -> None:
    ran = RUN.invoke(app, ["fit", str(MODELS / "alcohol.toml")])
    assert ran.exit_code == 0, ran.output
    assert "== Table 4" in ran.output
    shown = RUN.invoke(app, ["show", "alcohol.nc"])
    assert shown.exit_code == 0, shown.output
    assert [line for line in shown.output.splitlines() if line.startswith("== ")] == [
        f"== {name}" for name in load_analysis(MODELS / "alcohol.toml").models
    ]
