"""How coefficients are tested, from the shell: the options are the arguments of the functions."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.inference import adjusted
from bayesmeta.inference.reference import NORMAL
from tests.support.posteriors import make_posterior

RUN = CliRunner()


def run(*arguments, code=0):
    ran = RUN.invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert ran.exit_code == code, ran.output
    return ran


@pytest.fixture
def results(tmp_path):
    spec = bm.specify("effect ~ I(year - 1990)", bm.datasets.load("school"), S="var", random="1 | district/study")
    bm.save(bm.fit(spec), tmp_path / "school.nc")
    bm.save(make_posterior(spec), tmp_path / "posterior.nc")
    return tmp_path


OPTIONS = [
    (["--df", "kenward-roger"], {"df": "kenward-roger"}),
    (["--vcov", "CR2"], {"vcov": "CR2"}),
    (["--vcov", "CR1", "--cluster", "district", "--df", "residual"], {"vcov": "CR1", "df": "residual"}),
]


@pytest.mark.parametrize(("options", "arguments"), OPTIONS)
def test_estimates_show_and_methods(results, options, arguments):
    tree = bm.load(results / "school.nc")
    expected = bm.estimates(tree, **arguments)
    file = str(results / "school.nc")
    printed = run("estimates", file, "--json", *options)
    rows = pd.DataFrame(next(iter(json.loads(printed.stdout)["results"].values())))
    assert rows["se"][:2].to_numpy() == pytest.approx(expected["se"][:2].to_numpy())
    assert rows["df"][:2].to_numpy(float) == pytest.approx(expected["df"][:2].to_numpy())
    assert str(bm.summary(tree, **arguments)).splitlines()[7] in run("show", file, *options).stdout
    record = json.loads(run("show", file, "--json", *options).stdout)["results"]
    assert next(iter(record.values()))["df"] == expected.attrs["df"]
    assert bm.methods_text(tree, **arguments).results[:40] in " ".join(run("methods", file, *options).stdout.split())


def test_a_table_has_them_too(results):
    out = results / "table.md"
    run("show", str(results / "school.nc"), "--df", "kenward-roger", "-o", str(out))
    assert "8.9" in out.read_text(encoding="utf-8")


WRONG = [
    (["--df", "kr"], "df is 'kr'"),
    (["--vcov", "CR9"], "did you mean"),
    (["--cluster", "district"], "--cluster belongs to --vcov"),
    (["--vcov", "CR2", "--cluster", "study"], "split group"),
    (["--vcov", "CR2", "--df", "kenward-roger"], "has no meaning"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_what_does_not_fit_is_said(results, options, message):
    answer = run("estimates", str(results / "school.nc"), *options, code=2)
    assert message in " ".join(answer.output.split())


def test_posteriors_and_other_tables_have_none(results):
    answer = run("show", str(results / "posterior.nc"), "--df", "residual", code=2)
    assert "are for fits" in answer.output
    answer = run("show", str(results / "school.nc"), "--of", "studies", "--df", "residual", code=2)
    assert "not for --of studies" in answer.output


def test_help_names_every_distribution_and_covariance():
    listed = {word.strip(" .,;:") for word in " ".join(run("fit", "--help").output.split()).split()}
    assert {NORMAL, *adjusted.KINDS} <= listed
    assert {"CR0", "CR2", "CR3"} <= listed
