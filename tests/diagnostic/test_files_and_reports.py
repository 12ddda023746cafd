"""Diagnostic analyses in model files, on the command line and in reports."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app

D = bm.diagnostic
MODELS = Path(__file__).parents[2] / "models"
pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")


@pytest.fixture
def model(tmp_path: Path):
    bm.datasets.load("questionnaires").query("table == 1").to_csv(tmp_path / "tables.csv", index=False)

    def written(arguments: str) -> Path:
        path = tmp_path / "tables.toml"
        path.write_text(f'title = "Tests"\ndata = "tables.csv"\n[model.main]\ndiagnostic = {{ {arguments} }}\n')
        return path

    return written


def test_a_model_file_makes_the_same_specification(model) -> None:
    spec = bm.load_analysis(model('study = "study", formula = "questionnaire", link = [0.5, 1.2]')).models["main"].spec
    own = D.specify(
        bm.datasets.load("questionnaires").query("table == 1"),
        study="study",
        formula="questionnaire",
        link=(0.5, 1.2),
    )
    np.testing.assert_allclose(spec.y, own.y)
    assert spec.analysis == own.analysis
    np.testing.assert_allclose(D.summary_point(bm.fit(spec))["estimate"], D.summary_point(bm.fit(own))["estimate"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('stud = "study"', "did you mean 'study'"),
        ('study = "study", correction = "half"', "correction is 'half'; it must be one of"),
        ('study = "study", add = "a half"', "add is 'a half'; it must be a number"),
        ('study = "study", tp = "positives"', "tp: the data have no column 'positives'"),
    ],
)
def test_mistakes_in_a_model_file_are_named(model, arguments: str, message: str) -> None:
    with pytest.raises(bm.BayesmetaError, match=message):
        bm.load_analysis(model(arguments)).models["main"].spec  # noqa: B018  # built at first use


def test_the_command_line(tmp_path: Path) -> None:
    run = CliRunner().invoke
    fitted = run(app, ["fit", str(MODELS / "auditc.toml"), "-o", str(tmp_path / "fit.nc")])
    assert fitted.exit_code == 0, fitted.output
    shown = run(app, ["show", str(tmp_path / "fit.nc")])
    assert "beta[sensitivity.Intercept]" in shown.output
    drawn = run(app, ["report", str(tmp_path / "fit.nc"), "-o", str(tmp_path / "page.html")])
    assert drawn.exit_code == 0, drawn.output
    assert "Diagnostic accuracy" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_section_of_a_report() -> None:
    spec = D.specify(bm.datasets.load("auditc"), study="study", correction="all")
    fit = bm.fit(spec)
    page = bm.report(reml=fit, ml=bm.fit(spec, "ml"), df="z").html
    row = D.summary_point(fit, df="z").loc["sensitivity"]
    assert f"{row['estimate']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})" in page
    assert all(title in page for title in ("Summary ROC curve", "Sensitivity and specificity by study"))
    assert "correlate by 0.66" in page


def test_a_report_of_several_tests_and_of_a_number(model) -> None:
    data = bm.datasets.load("questionnaires").query("table == 1").assign(year=range(26))
    page = bm.report(bm.fit(D.specify(data, study="study", formula="questionnaire"))).html
    assert "sensitivity, interviewer" in page
    page = bm.report(bm.fit(D.specify(data, study="study", formula="year"))).html
    assert "newdata is missing" in page or "predictors year" in page


def test_other_analyses_have_no_such_section() -> None:
    tree = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    assert "Diagnostic accuracy" not in bm.report(tree).html
