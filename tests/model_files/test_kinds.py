"""Models whose whole specification a function makes from what a table of the file says."""

from dataclasses import replace

import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.model_files import model_file


def specify(data: pd.DataFrame, study: str, outcome: str = "y", weights: list[float] | None = None) -> bm.Spec:
    spec = bm.specify(f"{outcome} ~ 1", data, S="v", labels=study)
    return replace(spec, analysis={"kind": "pooled", "study": study, "weights": weights})


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setitem(model_file.ANALYSES, "pooled", __name__)
    (tmp_path / "trials.csv").write_text("study,y,v\n01,0.1,0.2\n02,0.4,0.1\n03,-0.2,0.3\n")

    def of(model: str) -> bm.Spec:
        path = tmp_path / "trials.toml"
        path.write_text(f'title = "Trials"\ndata = "trials.csv"\n[model.main]\n{model}\n')
        return bm.load_analysis(path).models["main"].spec

    return of


def test_a_kind_makes_the_specification(load):
    spec = load('pooled = { study = "study", weights = [1.0, 2.0] }\nmethod = "ml"')
    assert spec.analysis == {"kind": "pooled", "study": "study", "weights": [1.0, 2.0]}
    assert spec.labels == ("study 01", "study 02", "study 03")  # read as text
    tree = bm.fit(spec)
    assert bm.Spec.from_tree(tree).analysis == spec.analysis


def test_the_record_travels_through_files(load, tmp_path):
    tree = bm.fit(load('pooled = { study = "study" }'))
    bm.save(tree, tmp_path / "fit.nc")
    assert bm.Spec.from_tree(bm.load(tmp_path / "fit.nc")).analysis["kind"] == "pooled"
    tree.attrs["analysis"] = tree.attrs["analysis"].replace("study", "trial")
    with pytest.raises(bm.BayesmetaError, match="analysis"):
        bm.summary(bm.load(bm.save(tree, tmp_path / "edited.nc") or tmp_path / "edited.nc"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ('pooled = { stud = "study" }', "did you mean 'study'"),
        ("pooled = {}", "study"),
        ('pooled = { study = "study", weights = "heavy" }', "weights is 'heavy'; it must be a list"),
        ('pooled = { study = "study" }\nformula = "y ~ 1"', "formula"),
        ('pooled = { study = "study" }\nS = "v"', "unknown key 'S'"),
        ('pooled = "study"', "pooled"),
        ('pooled = { study = "nowhere" }', "nowhere"),
        ('formula = "y ~ 1"', "'S' or 'se' is missing"),
    ],
)
def test_mistakes_are_named(load, model, message):
    with pytest.raises(bm.BayesmetaError, match=message):
        load(model)
