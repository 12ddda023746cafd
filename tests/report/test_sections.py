"""What stands in the sections of a report, computed apart from the page."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.report import pictures
from bayesmeta.report.chapters import chapters_of
from bayesmeta.report.pictures import Drawing
from bayesmeta.report.sections import data, drawings, model, opening, other_priors, python_code, results
from bayesmeta.report.sections.chain_plots import by_parameter, of_chains
from bayesmeta.structures import REGISTER
from tests.support.posteriors import make_posterior


@pytest.fixture(scope="module")
def school() -> bm.Spec:
    return bm.specify(
        "effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", psi="unstr", measure="smd"
    )


@pytest.fixture(scope="module")
def times() -> bm.Spec:
    S = bm.within.ar1(bm.datasets.load("gliomas"), "logORvar", rho=0.61, group="study")
    data = bm.datasets.load("gliomas")
    return bm.specify("logOR ~ 0 + C(time)", data, S=S, random="0 + C(time) | study", psi="diag", measure="logor")


def facts_of(tree) -> dict[str, str]:
    return dict(model.facts(tree).pairs)


def test_every_structure_has_words():
    assert all(structure.meaning for structure in REGISTER.values())


def test_levels_with_groups_and_free_parameters(school, times):
    assert model.levels(bm.fit(school)).rows == (
        ("district", "11", "Intercept", "unstr: one variance", "1"),
        ("study", "56", "Intercept", "unstr: one variance", "1"),
    )
    ((level, groups, effects, structure, free),) = model.levels(bm.fit(times)).rows
    assert (level, groups, free) == ("study", "17", "4")
    assert structure == "diag: a variance for each, no correlation"
    assert effects.count("C(time)") == 4


def test_sampling_errors_in_words(school, times):
    S = np.sqrt(school.S.variances)
    independent = facts_of(bm.fit(school))["Sampling errors"]
    assert independent == f"known, independent; standard errors from {S.min():.3f} to {S.max():.3f}"
    coupled = facts_of(bm.fit(times))["Sampling errors"]
    pairs = sum(n * (n - 1) // 2 for n in np.bincount(times.levels[0].index))
    assert coupled.startswith(f"known, {pairs} pairs of observations correlated (correlations from 0.23 to 0.61)")


def test_common_effects_have_no_random_part(school):
    tree = bm.fit(school, "fixed")
    assert [row[3] for row in model.levels(tree).rows] == ["zero: no variation between groups"] * 2
    equations = model.equations(tree)
    assert len(equations.lines) == 2
    assert "do not vary between groups" in equations.words
    assert "the model assumes that true effects are the same" in opening.differences({"fixed": tree}, 0.95)


def test_equations_name_every_term_and_escape_labels(school):
    first, district, study, error = model.equations(bm.fit(school)).lines
    assert "effect" in first
    assert first.count("<mo stretchy") >= 4
    assert "<mn>11</mn>" in district
    assert "<mn>56</mn>" in study
    assert "ε" in error
    frame = pd.DataFrame({"<b>": [0.1, 0.2, 0.4], "v": 0.1})
    evil = model.equations(bm.fit(bm.specify("`<b>` ~ 1", frame, S="v"))).lines[0]
    assert "<b>" not in evil
    assert "&lt;b&gt;" in evil


def test_many_terms_are_written_with_matrices(times):
    lines = model.equations(bm.fit(times)).lines
    assert ">X<" in lines[0]
    assert ">S<" in lines[-1]


def test_same_model_is_told_from_others(school):
    named = {"a_ml": bm.fit(school, "ml"), "a_bayes": make_posterior(school), "b": bm.fit(school, "fixed")}
    models = chapters_of(dict(reversed(named.items())))
    assert [(model.name, list(model.trees)) for model in models] == [("b", ["fixed"]), ("a", ["ml", "bayes"])]
    (one,) = chapters_of({"reml": named["a_ml"], "bayes": named["a_bayes"]})
    assert (one.name, list(one.trees)) == ("", ["reml", "bayes"])


def test_data_rows_with_groups_errors_and_reasons():
    frame = bm.datasets.load("school").assign(x=1.5)
    frame.loc[2, "effect"] = np.nan
    spec = bm.specify("effect ~ x - 1", frame, S="var", random="1 | district/study")
    table, rest = data.data_table(spec)
    assert rest == ""
    assert table.header == ("district", "study", "effect", "SE", "x", "used")
    assert table.rows[0] == ("0", "11", "1", "-0.1800", f"{np.sqrt(frame['var'][0]):.4f}", "1.5", "yes")
    assert table.rows[2][3:] == ("-", "-", "1.5", "no: missing effect")
    assert len(table.rows) == 56


def test_long_data_are_cut_with_a_sentence(school):
    table, rest = data.data_table(school, most=10)
    assert len(table.rows) == 10
    assert rest == "The first 10 of 56 rows; a results file holds all of them."


def test_data_of_several_outcomes_stand_side_by_side():
    spec = bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"])
    table, _ = data.data_table(spec)
    assert table.header[:4] == ("PD", "SE of PD", "AL", "SE of AL")
    assert len(table.rows) == 5


def test_places_are_combinations_or_means(times):
    assert results.places(times)["time"].tolist() == [6, 12, 18, 24]
    bcg = bm.datasets.load("bcg")
    spec = bm.specify("logor ~ ablat + alloc", bcg, S="logorvar")
    place = results.places(spec)  # 13 latitudes are too many for a list
    assert place["ablat"].tolist() == [bcg["ablat"].mean()]
    assert place["alloc"].tolist() == ["random"]


def test_predictions_are_those_of_predict(school):
    tree = bm.fit(school)
    (table,) = results.predictions({"reml": tree}, 0.95)
    for label, interval, row in zip(("mean", "new group"), ("confidence", "prediction"), table.rows, strict=True):
        found = bm.predict(tree, interval=interval).isel(row=0, outcome=0)
        assert row[0] == label
        numbers = [float(number) for number in row[1].replace("[", "").replace("]", "").replace(",", "").split()]
        assert numbers == pytest.approx([float(found[part]) for part in ("mean", "lower", "upper")], abs=6e-5)


def test_ratios_are_exponentials(times):
    tree = bm.fit(times)
    one, there = (bm.compare({"reml": tree}, scale=scale).dataset for scale in (None, "response"))
    table = results.ratios(one, there, tree, 0.95)
    for row, beta in zip(table.rows, tree["estimate"]["beta"].values, strict=True):
        assert float(row[1].split()[0]) == pytest.approx(np.exp(beta), abs=6e-5)


def test_the_opening_tells_means_from_slopes(school, times):
    assert opening.effects_in_words(bm.fit(school), 0.95).startswith("pooled standardised mean difference 0.18")
    assert opening.effects_in_words(bm.fit(times), 0.95).startswith("mean odds ratio: C(time)[6] 1.1")
    assert "and 1 more in the table" in opening.effects_in_words(bm.fit(times), 0.95)
    year = bm.specify("effect ~ year", bm.datasets.load("school"), S="var", measure="smd")
    said = opening.effects_in_words(bm.fit(year), 0.9)
    assert said.startswith("change in the standardised mean difference per unit of a predictor: year ")
    assert "90% confidence interval" in said
    assert "Intercept" not in said


def test_the_opening_says_what_priors_did():
    data = bm.datasets.load("bcg")
    spec = bm.specify("logor ~ 1", data, S="logorvar", measure="logor")
    narrow = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=0.2))
    for priors, moves in ((narrow, True), (bm.Priors(beta=bm.Prior("Flat")), False)):
        trees = {"reml": bm.fit(spec), "bayes": make_posterior(spec, priors=priors)}
        said = [finding.text for finding in opening.findings(trees, 0.95)]
        about = [
            text for text in said if text.startswith("Full Bayes: the priors moved the mean of beta[Intercept] from")
        ]
        assert bool(about) == moves, said


def test_which_picture_a_predictor_gets(times):
    def kinds(spec):
        return [drawing.title for part in drawings.drawings({"reml": bm.fit(spec)}, 0.95) for drawing in part]

    assert "Course over time" in kinds(times)
    bcg = bm.datasets.load("bcg")
    assert "Regression on ablat" in kinds(bm.specify("logor ~ ablat", bcg, S="logorvar"))
    assert "Effect by ablat" in kinds(bm.specify("logor ~ 0 + ablat", bcg, S="logorvar"))


def test_alternative_priors_scale_the_default(school):
    found = other_priors.alternatives(school, None)
    assert list(found) == ["half as wide", "twice as wide", "half-Cauchy"]
    scale = 2**0.5 / 4  # a quarter of the unit-information SD of a standardised mean difference
    for name, factor in (("half as wide", 0.5), ("twice as wide", 2)):
        prior = found[name].tau["district"]["Intercept"]
        assert prior.name == "HalfNormal"
        assert prior.params["sigma"] == pytest.approx(factor * scale)
    own = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=3), tau=bm.priors.half_normal(9))
    assert other_priors.alternatives(school, own)["half as wide"].beta == own.beta
    one = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    assert other_priors.alternatives(one, None)["Turner et al. (2015)"].tau == bm.priors.turner()


@pytest.mark.parametrize("psi", ["cs", "id", "diag", "hcs", {"fixed": [[0.1, 0], [0, 0.1]]}])
def test_alternative_priors_fit_every_structure(psi):
    from bayesmeta.priors.defaults import resolve

    structure = bm.structures.Fixed(psi["fixed"]) if isinstance(psi, dict) else psi
    S = ["var_PD", "cov_PD_AL", "var_AL"]
    spec = bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=S, psi=structure, measure="smd")
    found = other_priors.alternatives(spec, None)
    assert found
    if isinstance(psi, dict):
        assert list(found) == ["flat coefficients"]
        return
    for given in found.values():
        assert all(not default for level in resolve(spec, given).levels for default in level.tau_default)


def test_python_lines_make_the_trees_again(school, tmp_path, monkeypatch):
    priors = bm.Priors(
        beta={"Intercept": bm.Prior("Normal", mu=0.0, sigma=2.0)}, tau={"study": {"Intercept": bm.priors.half_t(0.25)}}
    )
    fit, post = bm.fit(school, "ml"), make_posterior(school, priors=priors)
    code = python_code.code_of({"ml": fit, "bayes": post}).text
    assert "bm.fit(spec, method='ml')" in code
    assert "draws=100, chains=2, random_seed=1, sampler='nutpie'" in code
    assert eval(python_code.priors_of(post), {"bm": bm}) == priors
    assert python_code.priors_of(make_posterior(school)) == "None"
    monkeypatch.chdir(tmp_path)
    bm.save(fit, "results.nc")
    code = python_code.code_of({"ml": fit}).text
    assert "bm.save(tree, 'results.nc')" in code
    ran: dict = {}
    exec(code, ran)
    assert float(ran["fit"]["estimate"]["beta"][0]) == float(fit["estimate"]["beta"][0])


def test_draws_by_parameter_have_the_labels_of_the_summary(school):
    post = make_posterior(school)
    found = by_parameter(post)
    assert list(found) == bm.compare(post).dataset["parameter"].values.tolist()
    assert float(found["tau[study, Intercept]"].mean()) == float(post["posterior"]["tau_study"].mean())
    assert list(by_parameter(post, most=1)) == ["beta[Intercept]"]  # whose R-hat is the largest
    traces, ranks = of_chains(post)
    for drawing in (traces, ranks):
        figure = pictures.figure_of(drawing.draw())
        assert [ax.get_title() for ax in figure.axes] == list(found)


def test_large_pictures_are_pixels(monkeypatch):
    drawing = Drawing("A line", "A line from 0 to 1.", "", lambda: plt.figure().subplots().plot([0, 1])[0].axes)
    assert pictures.picture(drawing).uri.startswith("data:image/svg+xml;base64,")
    monkeypatch.setattr(pictures, "_SMALL", 10)
    assert pictures.picture(drawing).uri.startswith("data:image/webp;base64,")
    assert plt.get_fignums() == []


def test_only_refusals_are_left_out():
    def refuse():
        raise SpecError("there is nothing to draw\n  give data")

    def fail():
        raise RuntimeError("a fault")

    assert pictures.pictures([Drawing("P", "", "", refuse)])[1] == ["P: left out, because there is nothing to draw"]
    with pytest.raises(RuntimeError, match="a fault"):
        pictures.pictures([Drawing("P", "", "", fail)])
