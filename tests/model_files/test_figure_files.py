"""Pictures of files, as a user of the command line asks for them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.model_files import figure_files
from bayesmeta.model_files.figures import KINDS, draw
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.tree import files
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior

ROOT = Path(__file__).resolve().parents[2]
RUN = CliRunner()
HEADS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}

BCG = """
title = "BCG"
data = "bcg"
[model.ml]
formula = "logor ~ 1"
S = "logorvar"
method = "ml"
measure = "logor"
[model.latitude]
formula = "logor ~ ablat"
S = "logorvar"
measure = "logor"
"""
FIGURES = """
[figure.effects]
kind = "caterpillar"
models = ["ml"]
[figure.both]
kind = "compare"
models = {Mean = "ml", Latitude = "latitude"}
[figure.nested]
kind = "structure"
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("plain.toml").write_text(BCG)
    Path("bcg.toml").write_text(BCG + FIGURES)
    return tmp_path


@pytest.fixture(autouse=True)
def none_left_open():
    yield
    assert not plt.get_fignums()


def plot(*arguments: str):
    return RUN.invoke(app, ["plot", *arguments])


def pictures(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.suffix in HEADS}


# -- which figures


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["bcg.toml"], {"bcg_effects", "bcg_both", "bcg_nested_ml", "bcg_nested_latitude"}),
        (["bcg.toml", "--model", "latitude"], {"bcg_both", "bcg_nested"}),
        (
            ["bcg.toml", "--model", "ml", "--model", "latitude"],
            {"bcg_effects", "bcg_both", "bcg_nested_ml", "bcg_nested_latitude"},
        ),
        (["bcg.toml", "--kind", "structure"], {"bcg_nested_ml", "bcg_nested_latitude"}),
        (["bcg.toml", "--kind", "caterpillar", "--model", "latitude"], {"bcg_caterpillar"}),
        (["bcg.toml", "--kind", "profile", "--model", "ml", "--set", "parameters=tau"], {"bcg_profile"}),
        (["bcg.toml", "--kind", "compare", "--set", "prob=0.5"], {"bcg_both"}),
        (["plain.toml"], {"plain_forest_ml", "plain_forest_latitude"}),
        (["plain.toml", "--kind", "bubble", "--model", "latitude", "--set", "x=ablat"], {"plain_bubble"}),
        (["plain.toml", "bcg.toml", "--kind", "compare"], {"plain_compare", "bcg_both"}),
    ],
)
def test_names_say_what_is_drawn(directory, arguments, names):
    ran = plot(*arguments)
    assert ran.exit_code == 0, ran.output
    assert pictures(directory) == {f"{name}.png" for name in names}
    assert sorted(line for line in ran.stdout.splitlines()) == sorted(f"Saved {name}.png" for name in names)


def test_a_method_of_the_figure_goes_before_that_of_the_model(directory):
    source = figure_files.open_source(Path("bcg.toml"))
    assert source.tree("ml", None).attrs["method"] == "ml"
    assert source.tree("ml", "reml").attrs["method"] == "reml"
    assert source.tree("latitude", None) is source.tree("latitude", None)  # fitted once for all figures


def test_each_of_several_pictures_says_what_it_shows(directory):
    analysis = figure_files.open_source(Path("bcg.toml"))
    figures = figure_files.figures_of(analysis, "structure", ())
    titled = [replace(figure, title="Trials") for figure in figures]
    for figure, titles in ((figures[0], ["ml", "latitude"]), (titled[0], ["Trials: ml", "Trials: latitude"])):
        made = [drawing.make() for drawing in figure_files._of_figure(analysis, figure, ".png")]
        assert [picture.get_suptitle() for picture in made] == titles
        plt.close("all")


def test_arguments_reach_the_plot(directory, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        bm.plots,
        "compare",
        lambda results, parameters=None, axes=None, *, prob=None: (
            seen.update(trees=results, prob=prob, parameters=parameters) or plt.subplots()[1]
        ),
    )
    ran = plot("bcg.toml", "--kind", "compare", "--set", "prob=0.5", "--set", "parameters=beta[Intercept]")
    assert ran.exit_code == 0, ran.output
    assert list(seen["trees"]) == ["Mean", "Latitude"]
    assert (seen["prob"], seen["parameters"]) == (0.5, "beta[Intercept]")


def test_what_a_plot_warns_of_is_said_beside_the_path(directory, monkeypatch):
    def warned(tree, ax=None):
        import warnings

        warnings.warn("an interval has no end", bm.BoundaryWarning, stacklevel=2)
        return plt.subplots()[1]

    monkeypatch.setattr(bm.plots, "structure", warned)
    ran = plot("bcg.toml", "--kind", "structure", "--model", "ml")
    assert ran.stdout == "Saved bcg_nested.png\n"
    assert ran.stderr == "  note: an interval has no end\n"


def test_the_others_are_drawn_where_one_cannot_be(directory):
    text = BCG + '[model.common]\nformula = "logor ~ 1"\nS = "logorvar"\nmethod = "fixed"\n'
    Path("three.toml").write_text(text)
    ran = plot("three.toml", "--kind", "profile", "--set", "parameters=tau")
    assert ran.exit_code == 1
    assert pictures(directory) == {"three_profile_ml.png", "three_profile_latitude.png"}
    assert "Error: 1 could not be drawn\nthree_profile_common: " in ran.stderr
    ran = plot("three.toml", "--kind", "profile", "--model", "common", "-o", "x.png")
    assert ran.exit_code == 2
    assert ran.stderr.startswith("Error: ")


# -- saved results


def test_saved_results_of_one_model_and_of_several(directory):
    models = load_analysis(Path("plain.toml")).models
    trees = {name: bm.fit(model.spec) for name, model in models.items()}
    files.save({"ml": trees["ml"]}, Path("one.nc"))
    files.save(trees, Path("two.nc"))
    files.save(trees, Path("three.zarr"))
    for file in ("one.nc", "two.nc", "three.zarr"):
        ran = plot(file)
        assert ran.exit_code == 0, ran.output
    assert pictures(directory) == {"one_forest.png"} | {
        f"{file}_forest_{name}.png" for file in ("two", "three") for name in trees
    }


def test_posterior_trees_too(directory):
    spec = load_analysis(Path("plain.toml")).models["ml"].spec
    files.save({"post": make_posterior(spec)}, Path("post.nc"))
    for kind in ("forest", "caterpillar", "compare", "structure", "prior_posterior"):
        ran = plot("post.nc", "--kind", kind)
        assert ran.exit_code == 0, ran.output
    ran = plot("plain.toml", "--kind", "prior_posterior", "--model", "ml")
    assert ran.exit_code == 2
    assert "bm.sample" in ran.output


# -- where to


@pytest.mark.parametrize("suffix", HEADS)
def test_one_picture_by_the_suffix_of_its_name(directory, suffix):
    ran = plot("bcg.toml", "--kind", "caterpillar", "-o", f"picture{suffix}")
    assert ran.exit_code == 0, ran.output
    assert Path(f"picture{suffix}").read_bytes().startswith(HEADS[suffix])
    assert pictures(directory) == {f"picture{suffix}"}


def test_letters_of_drawings_are_text(directory):
    ran = plot("bcg.toml", "--kind", "caterpillar", "-o", "picture.svg")
    assert ran.exit_code == 0
    assert "Random effect" in Path("picture.svg").read_text()


@pytest.mark.parametrize("suffix", HEADS)
def test_all_pictures_in_a_directory(directory, suffix):
    Path("figures").mkdir()
    ran = plot("bcg.toml", "-o", "figures", "--format", suffix[1:])
    assert ran.exit_code == 0, ran.output
    found = list(Path("figures").iterdir())
    assert len(found) == 4
    assert all(path.read_bytes().startswith(HEADS[suffix]) for path in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.toml"], "no model file none.toml, and no bundled one of that name"),
        (["none.nc"], "no file none.nc"),
        (["bcg.toml", "--kind", "forrest"], "--kind is 'forrest'; did you mean 'forest'?"),
        (["bcg.toml", "--kind", "simulation"], "bcg is not a simulation study"),
        (["bcg.toml", "--model", "latitud"], "bcg has no model 'latitud'; did you mean 'latitude'?"),
        (["bcg.toml", "-o", "none/figures"], "no directory none/figures for the pictures"),
        (["bcg.toml", "-o", "x.jpeg"], "x.jpeg: pictures must be saved as .png, .svg, .pdf"),
        (["bcg.toml", "-o", "x.png"], "4 pictures cannot be saved in one file x.png: bcg_effects, bcg_both"),
        (["bcg.toml", "--kind", "caterpillar", "-o", "none/x.png"], "no directory none for the picture x.png"),
        (["bcg.toml", "--set", "prob=0.9"], "--set prob belongs to one kind of figure, and bcg has several"),
        (["bcg.toml", "--kind", "compare", "--set", "prob"], "--set prob: an argument must be NAME=VALUE"),
        (["bcg.toml", "--kind", "compare", "--set", "probb=1"], "unknown key 'probb'; did you mean 'prob'?"),
        (["bcg.toml", "--kind", "longitudinal"], "longitudinal requires 'time'"),
        (["bcg.toml", "bcg.toml"], "two pictures have the same name bcg_effects.png"),
    ],
)
def test_errors_are_messages(directory, arguments, message):
    ran = plot(*arguments)
    assert ran.exit_code == 2
    assert message in ran.stderr
    assert ran.stderr.startswith("Error: ")
    assert not pictures(directory)


def test_without_a_display(directory):
    """Also where pyplot is told to open windows."""
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-c", "from bayesmeta.cli import app; app()", "plot", str(directory / "bcg.toml")]
    command += ["--kind", "caterpillar", "-o", str(directory / "there.png")]
    subprocess.run(command, cwd=ROOT, check=True, env=environment | {"MPLBACKEND": "TkAgg"}, capture_output=True)
    assert (directory / "there.png").read_bytes().startswith(HEADS[".png"])


# -- studies


def test_a_study_is_drawn_from_its_results(directory):
    text = (ROOT / "models" / "table6.toml").read_text()
    Path("study.toml").write_text(text)
    ran = plot("study.toml")
    assert ran.exit_code == 2
    assert (
        "no results of study.toml in study_results/results.nc\n  bayesmeta simulate study.toml makes them" in ran.stderr
    )
    ran = plot("study.toml", "bcg.toml", "--kind", "structure")
    assert ran.exit_code == 0, ran.output
    assert "note: no results of study.toml" in ran.stderr
    assert pictures(directory) == {"bcg_nested_ml.png", "bcg_nested_latitude.png"}
    assert RUN.invoke(app, ["simulate", "study.toml", "--datasets", "3", "--jobs", "1"]).exit_code == 0
    ran = plot("study.toml", "-o", "study.pdf")
    assert ran.exit_code == 0, ran.output
    assert Path("study.pdf").read_bytes().startswith(HEADS[".pdf"])
    ran = plot("study.toml", "--kind", "forest")
    assert ran.exit_code == 2
    assert "is a simulation study, whose only figure is" in ran.stderr


# -- the figures of the shipped model files


DECLARED = [
    (path.stem, figure)
    for path in sorted((ROOT / "models").glob("*.toml"))
    if path.stem != "table6"
    for figure in load_analysis(path).figures.values()
]


@pytest.mark.parametrize(("stem", "figure"), DECLARED, ids=[f"{stem}-{figure.name}" for stem, figure in DECLARED])
def test_shipped_figures_are_drawn_and_legible(stem, figure):
    source = figure_files.open_source(ROOT / "models" / f"{stem}.toml")
    trees = {label: source.tree(model, figure.method) for label, model in figure.models.items()}
    for picture in draw(figure, trees, source.data).values():
        assert not crowded(picture)
        assert picture.get_figwidth() <= bm.plots.style.PAGE + 0.01
        plt.close(picture)


def test_the_figures_of_the_paper_are_declared():
    kinds = {(stem, figure.kind): figure for stem, figure in DECLARED}
    assert list(kinds["alcohol", "dose_response"].models.values()) == ["L2", "NL1"]
    assert list(kinds["gliomas", "longitudinal"].models.values()) == ["4_ml", "7_ml"]
    assert {stem for stem, kind in kinds if kind == "structure"}
    assert {("bcg", "forest"), ("school", "forest")} <= set(kinds)
    assert set(KINDS) >= {kind for _, kind in kinds}


@pytest.mark.parametrize(
    ("stem", "kind", "x"), [("alcohol", "dose_response", "dose"), ("gliomas", "longitudinal", "time")]
)
def test_curves_of_figures_2_and_3_are_those_of_the_reference(stem, kind, x, reference):
    (figure,) = (figure for name, figure in DECLARED if (name, figure.kind) == (stem, kind))
    source = figure_files.open_source(ROOT / "models" / f"{stem}.toml")
    trees = {label: source.tree(model, figure.method) for label, model in figure.models.items()}
    (picture,) = draw(figure, trees, source.data).values()
    lines = {line.get_label(): line for line in picture.axes[0].lines}
    for label, model in figure.models.items():
        expected = reference(f"mixmeta/{stem}_{model}")["expected"]
        at = [row[x] for row in expected["predict_newdata"]]
        places, ratios = lines[label].get_xdata(), lines[label].get_ydata()
        curve = (
            CubicSpline(places, np.log(ratios))
            if len(places) > len(at)
            else dict(zip(np.round(places), np.log(ratios), strict=True)).get
        )
        found = np.array([curve(place) for place in at], dtype=float)
        np.testing.assert_allclose(found, np.array(expected["predict"])[:, 0], atol=1e-4)
    plt.close(picture)


def test_a_new_directory_is_made_when_there_is_something_to_put_in(directory, monkeypatch):
    ran = RUN.invoke(app, ["plot", "plain.toml", "--set", "outcome=nothing", "-o", "new"])
    assert ran.exit_code != 0
    assert not Path("new").exists()
    monkeypatch.setattr(figure_files, "check_picture", lambda *_: (_ for _ in ()).throw(bm.DataError("in the way")))
    ran = RUN.invoke(app, ["plot", "plain.toml", "plain.toml", "-o", "new"])
    assert "two pictures have the same name" in ran.stderr
    assert not Path("new").exists()
    monkeypatch.undo()
    os.chdir(directory)
    ran = RUN.invoke(app, ["plot", "plain.toml", "--kind", "forest", "--model", "ml", "-o", "new"])
    assert ran.exit_code == 0, ran.output
    assert [path.name for path in Path("new").iterdir()] == ["plain_forest.png"]


def test_a_directory_that_cannot_be_made(directory, monkeypatch):
    def refused(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    ran = RUN.invoke(app, ["plot", "plain.toml", "--model", "ml", "-o", "new"])
    assert ran.exit_code != 0
    assert "no directory new for the pictures: Permission denied" in ran.stderr
