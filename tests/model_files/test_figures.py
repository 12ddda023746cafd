"""Figures that model files declare: what may stand there, and that it is what is drawn."""

import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.model_files.figures import KINDS, Figure, check_arguments, draw, drawer, read_figure, setting
from bayesmeta.model_files.model_file import load_analysis
from tests.support.pictures import crowded, drawn_texts

MODELS = ("study", "district", "district_study")
LONG = "Standardised mean differences of achievement under modified school calendars in 56 schools of 11 districts"


@pytest.fixture(scope="module")
def trees() -> dict[str, xr.DataTree]:
    school = bm.datasets.load("school")
    return {
        level: bm.fit(bm.specify("effect ~ 1", school, S="var", random=f"1 | {level}", measure="smd"))
        for level in ("study", "district", "district/study")
    }


def read(written: dict) -> Figure:
    return read_figure("one", written, MODELS, "school.toml")


# -- what may stand there


def test_every_kind_is_a_plot_and_every_plot_of_trees_a_kind():
    other = {
        "curves",
        "loo_pit_values",
        "rho_sensitivity",
        "robustness",
        "sensitivity",
        "simulation",
    }  # of what is no tree
    assert set(KINDS) == set(bm.plots.__all__) - other


def test_a_figure_is_read():
    figure = read({"kind": "caterpillar", "models": ["study"], "title": "Schools", "method": "ml", "prob": 0.9})
    assert figure == Figure("one", "caterpillar", {"study": "study"}, "Schools", "ml", {"prob": 0.9})


def test_all_models_by_default_and_others_by_their_labels():
    assert read({"kind": "compare"}).models == dict(zip(MODELS, MODELS, strict=True))
    assert read({"kind": "compare", "models": {"Schools alone": "study"}}).models == {"Schools alone": "study"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "school.toml: figure one is []; it must be a table"),
        ({}, "school.toml: figure one: 'kind' is missing\nknown: forest"),
        ({"kind": "caterpilar"}, "school.toml: figure one: kind is 'caterpilar'; did you mean 'caterpillar'?"),
        ({"kind": "simulation"}, "school.toml: figure one: kind is 'simulation'"),
        (
            {"kind": "compare", "model": ["study"]},
            "school.toml: figure one: unknown key 'model'; did you mean 'models'?",
        ),
        ({"kind": "compare", "parameter": "beta"}, "school.toml: figure one: unknown key 'parameter'; did you mean"),
        ({"kind": "compare", "axes": 1}, "school.toml: figure one: unknown key 'axes'"),
        ({"kind": "compare", "results": 1}, "school.toml: figure one: unknown key 'results'"),
        ({"kind": "compare", "models": ["studi"]}, "school.toml: figure one: models: no model 'studi'; did you mean"),
        ({"kind": "compare", "models": {"A": "studi"}}, "school.toml: figure one: models: no model 'studi'; did you"),
        (
            {"kind": "compare", "models": []},
            "school.toml: figure one: models: the list is empty\n  models: study",
        ),
        ({"kind": "compare", "models": "study"}, "school.toml: figure one: models is 'study'; it must be a table"),
        ({"kind": "compare", "models": [["study"]]}, "school.toml: figure one: models: no model ['study']"),
        ({"kind": "compare", "title": 2}, "school.toml: figure one: title is 2; it must be a string"),
        ({"kind": "compare", "method": "remll"}, "school.toml: figure one: method is 'remll'; did you mean 'reml'?"),
    ],
)
def test_what_is_wrong_is_said(written, message):
    with pytest.raises(bm.SpecError) as error:
        read(written)
    assert str(error.value).startswith(message)


def test_a_model_file_declares_figures(tmp_path: Path):
    path = tmp_path / "schools.toml"
    path.write_text(
        'title = "Schools"\ndata = "school"\n[model.one]\nformula = "effect ~ 1"\nS = "var"\n'
        '[figure.effects]\nkind = "caterpillar"\n[figure."side by side"]\nkind = "compare"\nmodels = {A = "one"}\n'
    )
    figures = load_analysis(path).figures
    assert {name: figure.kind for name, figure in figures.items()} == {
        "effects": "caterpillar",
        "side by side": "compare",
    }
    path.write_text(path.read_text().replace("caterpillar", "caterpiller"))
    with pytest.raises(
        bm.SpecError, match=r"schools.toml, line \d+: figure effects: kind is 'caterpiller'; did you mean"
    ):
        load_analysis(path)


@pytest.mark.parametrize(
    ("written", "argument"),
    [
        ("upto=60", ("upto", 60)),
        ("x=ablat", ("x", "ablat")),
        ('x="ablat"', ("x", "ablat")),
        ("at=[0, 12.5]", ("at", [0, 12.5])),
        ("scale=model", ("scale", "model")),
        ("x=I(time - 15) = 1", ("x", "I(time - 15) = 1")),
    ],
)
def test_settings(written, argument):
    assert setting(written) == argument


@pytest.mark.parametrize("written", ["upto", "=60", ""])
def test_a_setting_has_a_name_and_a_value(written):
    with pytest.raises(bm.SpecError, match="an argument must be NAME=VALUE"):
        setting(written)


# -- what is drawn


@pytest.mark.parametrize("kind", list(KINDS))
def test_arguments_are_those_of_the_function(kind):
    first, *others = inspect.signature(drawer(kind)).parameters
    for name in set(others) - {"ax", "axes"}:
        with pytest.raises(bm.SpecError) as caught:
            check_arguments(kind, {name: None, "no argument": 1}, "figure")
        assert str(caught.value).startswith("figure: unknown key 'no argument'")
    for name in (first, "ax", "axes"):
        with pytest.raises(bm.SpecError, match=f"unknown key '{name}'"):
            check_arguments(kind, {name: None}, "figure")


def test_one_picture_for_several_models_or_one_for_each(trees):
    models = {name: name for name in trees}
    (together,) = draw(Figure("f", "compare", models), trees).values()
    names = {text.get_text() for text in drawn_texts(together)}
    assert set(trees) <= names
    apart = draw(Figure("f", "structure", models), trees)
    assert list(apart) == list(trees)
    assert len({id(picture) for picture in apart.values()}) == 3


def test_arguments_arrive(trees):
    figure = Figure("f", "compare", {}, arguments={"parameters": ["beta[Intercept]"], "prob": 0.5})
    (picture,) = draw(figure, trees).values()
    (ax,) = picture.axes
    assert "50%" in ax.get_xlabel()
    drawn = np.concatenate([line.get_xdata() for line in ax.lines])
    for tree in trees.values():
        assert np.isclose(drawn, tree["estimate"]["beta"].item()).any()
    with pytest.raises(bm.SpecError, match=r"--set, for compare: unknown key 'probb'; did you mean 'prob'?"):
        figure.with_arguments({"probb": 0.9})
    assert figure.with_arguments({"prob": 0.9}).arguments == {"parameters": ["beta[Intercept]"], "prob": 0.9}


def test_what_a_function_needs_is_asked_for(trees):
    with pytest.raises(bm.SpecError, match=r"figure f: longitudinal requires 'time'\n.*--set time=VALUE"):
        draw(Figure("f", "longitudinal", {}), trees)


@pytest.mark.parametrize("kind", ["compare", "caterpillar", "structure", "forest", "profile"])
@pytest.mark.parametrize("title", ["Schools", LONG, ""])
def test_titles_stand_above_and_touch_nothing(trees, kind, title):
    one = {"district": trees["district"]}
    (picture,) = draw(Figure("f", kind, {"district": "district"}, title), one).values()
    assert picture.get_suptitle().replace("\n", " ") == title
    assert not crowded(picture)
    if title:
        bottom = picture._suptitle.get_window_extent().y0  # after it was drawn
        assert all(ax.get_window_extent().y1 <= bottom for ax in picture.axes)


@pytest.mark.parametrize("kind", ["compare", "structure", "forest"])
def test_a_title_takes_no_room_from_the_plot(trees, kind):
    one = {"district": trees["district"]}
    sizes = []
    for title in ("", LONG):
        (picture,) = draw(Figure("f", kind, {}, title), one).values()
        crowded(picture)
        sizes.append([ax.get_window_extent().height / picture.dpi for ax in picture.axes])
    assert sizes[1] == pytest.approx(sizes[0], abs=0.12)


def test_columns_of_the_data_by_their_names():
    trials = bm.datasets.load("bcg")
    tree = bm.fit(bm.specify("logor ~ 1", trials, S="logorvar", measure="logor"))
    arguments = {"labels": "author", "columns": {"ill": "tpos", "not ill": "tneg"}}
    (picture,) = draw(Figure("f", "forest", {}, arguments=arguments), {"ml": tree}, trials).values()
    texts = [text.get_text() for text in drawn_texts(picture)]
    assert {*trials.author, *map(str, trials.tpos), "ill", "not ill"} <= set(texts)
    assert not crowded(picture)
    two = {"Vaccinated": {"TB": "tpos", "none": "tneg"}, "Year": "year"}
    (nested,) = draw(Figure("f", "forest", {}, arguments={"columns": two}), {"ml": tree}, trials).values()
    assert {"Vaccinated", "TB", "none", "Year", *map(str, trials.tneg)} <= {t.get_text() for t in drawn_texts(nested)}
    (listed,) = draw(Figure("f", "forest", {}, arguments={"columns": ["tpos"]}), {"ml": tree}, trials).values()
    assert {"tpos", *map(str, trials.tpos)} <= {text.get_text() for text in drawn_texts(listed)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": "authr"}, "figure f: labels: the data have no column 'authr'; did you mean 'author'?"),
        ({"columns": ["tpos", "tnge"]}, "figure f: columns: the data have no column 'tnge'; did you mean 'tneg'?"),
        (
            {"columns": {"Arm": {"TB": "tops"}}},
            "figure f: columns: the data have no column 'tops'; did you mean 'tpos'?",
        ),
        ({"subgroup": 3}, "figure f: subgroup is 3; it must be a table"),
    ],
)
def test_columns_that_are_not_there(arguments, message):
    trials = bm.datasets.load("bcg")
    tree = bm.fit(bm.specify("logor ~ 1", trials, S="logorvar"))
    with pytest.raises(bm.SpecError) as error:
        draw(Figure("f", "forest", {}, arguments=arguments), {"ml": tree}, trials)
    assert str(error.value).startswith(message)


def test_rows_without_a_required_column_are_not_in_the_data(tmp_path: Path):
    frame = pd.DataFrame({"y": [0.1, 0.2, 0.3, 0.4], "v": [0.1] * 4, "who": list("abcd"), "x": [1, None, 2, 3]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.toml").write_text(
        'title = "T"\ndata = "t.csv"\ncomplete = ["x"]\n[model.m]\nformula = "y ~ 1"\nS = "v"\n'
        '[figure.f]\nkind = "forest"\nlabels = "who"\n'
    )
    analysis = load_analysis(tmp_path / "t.toml")
    model = analysis.models["m"]
    (picture,) = draw(analysis.figures["f"], {"m": bm.fit(model.spec)}, model.source.frame).values()
    texts = {text.get_text() for text in drawn_texts(picture)}
    assert {"a", "c", "d"} <= texts
    assert "b" not in texts
