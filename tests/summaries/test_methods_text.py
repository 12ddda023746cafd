"""Text for a paper: every number in it is one of the summary, every reference is cited, and the words fit the model."""

import json
import re
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.estimation.methods import REGISTER
from bayesmeta.io.toml_files import bundled
from bayesmeta.measures import MEASURES
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.structures.base import REGISTER as REGISTERED
from bayesmeta.tree.response import is_read_elsewhere, measure_of, roles
from tests.support.posteriors import make_posterior

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
NUMBER = re.compile(r"(?<![\w.\[])−?\d[\d,]*(?:\.\d+)?(?:e[−-]\d+)?")
BCG = bm.datasets.load("bcg")
MODELS = [
    (file, name)
    for file, path in bundled().items()
    if "[model." in path.read_text()
    for name in load_analysis(path).models
]


@cache
def spec_of(file: str, model: str) -> bm.Spec:
    return load_analysis(bundled()[file]).models[model].spec


@cache
def fit_of(file: str, model: str) -> xr.DataTree:
    return bm.fit(spec_of(file, model), load_analysis(bundled()[file]).models[model].method)


def bcg(method: str = "reml", formula: str = "logor ~ 1", **more: object) -> xr.DataTree:
    return bm.fit(bm.specify(formula, BCG, S="logorvar", **{"measure": "logor", **more}), method)


def value(token: str) -> float:
    return float(token.replace("−", "-").replace(",", ""))


def rounds_to(x: float, token: str) -> bool:
    """Whether a number, written with the digits of a token, is that token."""
    plain = token.replace("−", "-").replace(",", "")
    if "e" in plain:
        return bool(np.isclose(x, float(plain), rtol=0.06))
    places = len(plain.partition(".")[2])
    return abs(x - float(plain)) <= 0.5000001 * 10.0**-places


def pool_of(tree: xr.DataTree, prob: float, scale: str | None) -> np.ndarray:
    """Every number that a result of this tree may have: of the estimates, the summary's tables, and the tests."""
    numbers = [*bm.estimates(tree, prob).select_dtypes("number").to_numpy().ravel()]
    if scale is not None:
        numbers += [*bm.estimates(tree, prob, scale).select_dtypes("number").to_numpy().ravel()]
    numbers += [float(x) for each in bm.heterogeneity(tree).data_vars.values() for x in np.ravel(each)]
    printed = str(bm.summary(tree, prob)).replace("-", "−")
    numbers += [value(token) for token in NUMBER.findall(printed)]
    return np.array(numbers, dtype=float)


def without_names(text: str, tree: xr.DataTree) -> str:
    """A text without terms, levels, outcomes and the probability of intervals, which hold numbers of their own."""
    names = {str(term) for term in bm.estimates(tree)["term"]}
    names |= {part for name in names for part in name.split("~")} | set(json.loads(tree.attrs["outcomes"]))
    names |= {name.partition(".")[2] for name in names}
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = text.replace(f" {name}", " ")
    text = re.sub(r"[\d.]+% (CI|CrI|prediction)", r"\1", text)
    return re.sub(r"is −?1\b|[<>] 0\b|[<>] 1\b|τ²|χ²|I²|R²|R-hat", "", text)


def strange(tokens: list[str], pool: np.ndarray) -> list[str]:
    """Numbers of a text that are none of the pool, which itself has shares with two decimals only."""
    finite = pool[np.isfinite(pool)]
    off = [token for token in tokens if not any(rounds_to(x, token) for x in finite)]
    one_decimal = {token for token in off if len(token.partition(".")[2]) == 1}
    ties = {token for token in one_decimal if (np.abs(finite - value(token)) <= 0.0501).any()}
    return [token for token in off if token not in ties]


@pytest.mark.parametrize(("file", "model"), MODELS, ids=lambda part: part)
def test_every_number_is_of_the_summary(file: str, model: str) -> None:
    tree = fit_of(file, model)
    scale = "response" if measure_of(tree).has_response else None
    prob = 0.9 if "_" in model else 0.95
    text = bm.methods_text(tree, prob)
    tokens = NUMBER.findall(without_names(text.results, tree))
    assert len(tokens) > 4
    assert not strange(tokens, pool_of(tree, prob, scale)), text.results


@pytest.mark.parametrize(("file", "model"), MODELS, ids=lambda part: part)
def test_every_coefficient_is_there_with_its_interval(file: str, model: str) -> None:
    tree = fit_of(file, model)
    record, of_coef = measure_of(tree), roles(tree)
    for scale in ("model", None):
        other = scale is None and record.has_response
        frame = bm.estimates(tree, scale="response" if other else None)
        results = bm.methods_text(tree, scale=scale).results
        found = re.findall(
            r"(−?[\d.,]+) \((?:95% CI )?(−?[\d.,e−]+) to (−?[\d.,e−]+); (?:z|t\([\d.,]+\)) = (−?[\d.]+), "
            r"p ([<=]) ([\d.]+)",
            results,
        )
        rows = frame[frame["kind"] == "beta"]
        assert len(found) == len(rows)
        written = {tuple(part) for part in found}
        for _, row in rows.iterrows():
            assert any(
                rounds_to(row["estimate"], e)
                and rounds_to(row["lower"], low)
                and rounds_to(row["upper"], high)
                and rounds_to(row["statistic"], z)
                and (row["pvalue"] < 1e-4 if sign == "<" else rounds_to(row["pvalue"], p))
                for e, low, high, z, sign, p in written
            ), (row, results)
            assert not other or is_read_elsewhere(record, of_coef[row["term"]]) or row["se"] > 0


@pytest.mark.parametrize(("file", "model"), MODELS, ids=lambda part: part)
def test_posteriors_of_every_model_have_their_own_numbers(file: str, model: str) -> None:
    tree = make_posterior(spec_of(file, model), draws=60)
    scale = "response" if measure_of(tree).has_response else None
    text = bm.methods_text(tree)
    tokens = NUMBER.findall(without_names(text.results, tree))
    assert not strange(tokens, pool_of(tree, 0.95, scale)), text.results
    assert "full Bayes" in text.methods
    assert "CrI" in text.results
    assert "CI" not in text.results.replace("CrI", "")
    assert "Wald" not in text.methods


@pytest.mark.parametrize(("file", "model"), MODELS, ids=lambda part: part)
def test_references_are_cited_in_their_order(file: str, model: str) -> None:
    for tree in (fit_of(file, model), make_posterior(spec_of(file, model), draws=20)):
        text = bm.methods_text(tree)
        cited = [int(n) for group in re.findall(r" \[(\d+(?:, \d+)*)\]", text.methods) for n in group.split(", ")]
        first = list(dict.fromkeys(cited))
        assert first == list(range(1, len(text.references) + 1))
        assert len(set(text.references)) == len(text.references)
        assert text.references[0].startswith("Sera F")


@pytest.mark.parametrize(("file", "model"), dict(MODELS).items(), ids=lambda part: part)
def test_the_text_is_the_same_after_a_file(file: str, model: str, tmp_path: Path) -> None:
    tree = fit_of(file, model)
    again = bm.load(bm.save(tree, tmp_path / "tree.nc"))
    assert bm.methods_text(again) == bm.methods_text(tree)


@pytest.mark.parametrize("name", sorted(REGISTER))
def test_every_method_is_named_and_cited(name: str) -> None:
    tree = bcg(name)
    text, record = bm.methods_text(tree), REGISTER[name]
    assert record.reference in text.references
    assert re.search(r"\d{4}\)\. .*\.$", record.reference)
    assert record.label in text.methods or record.zero_psi
    zero = "all studies share one true effect" in text.methods
    assert zero == record.zero_psi
    assert ("vary between studies" in text.methods) != record.zero_psi
    assert ("prediction interval" in text.results) != record.zero_psi


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_every_measure_is_called_by_its_name_on_both_scales(name: str) -> None:
    record = MEASURES[name]
    data = pd.DataFrame({"y": [0.1, 0.35, 0.2, 0.6], "v": [0.01, 0.02, 0.02, 0.03]})
    tree = bm.fit(bm.specify("y ~ 1", data, S="v", measure=name))
    natural, model = bm.methods_text(tree), bm.methods_text(tree, scale="model")
    if name != "generic":
        assert record.label_of_several in natural.methods
        assert f"The pooled {record.label} was" in model.results
    if record.has_response:
        label = record.response_label[:1].lower() + record.response_label[1:]
        assert f"The pooled {label} was" in natural.results
        assert natural != model
        assert "are reported as" in natural.methods
        assert bm.methods_text(tree, scale="response") == natural
    else:
        assert natural == model
        with pytest.raises(bm.SpecError, match="no scale"):
            bm.methods_text(tree, scale="response")
    for text, scale in ((natural, "response" if record.has_response else None), (model, None)):
        row = bm.estimates(tree, scale=scale).loc["beta[Intercept]"]
        estimate, lower, upper = re.search(r"was (\S+) \(95% CI (\S+) to (\S+);", text.results).groups()
        for x, token in zip(row[["estimate", "lower", "upper"]], (estimate, lower, upper), strict=True):
            assert rounds_to(x, token)


def test_the_sentence_of_a_paper() -> None:
    text = bm.methods_text(bcg())
    assert text.methods.startswith(
        "We pooled the log odds ratios of 13 studies in a random-effects meta-analysis [1], fitted by restricted "
        "maximum likelihood (REML) [2]."
    )
    assert text.results.startswith("The pooled odds ratio was 0.47 (95% CI 0.32 to 0.71; t(12) = −3.99, p = 0.0018).")
    assert "The variance τ² between studies was 0.34 (95% CI 0.13 to 1.18)" in text.results
    I2 = bm.confint(bcg(), "qprofile", "I2").isel(parameter=0)
    shown = (f"{float(I2[name]):.1f}%" for name in ("estimate", "lower", "upper"))
    assert "I² was {} (95% CI {} to {})".format(*shown) in text.results


def test_counts_are_in_words_that_fit() -> None:
    school = bm.datasets.load("school")
    nested = bm.methods_text(bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district/study")))
    assert "of 56 studies in 11 districts" in nested.methods
    assert "a new study in a new district" in nested.methods
    one = bm.fit(bm.specify("y ~ 1", {"y": [0.2], "v": [0.1]}, S="v"), "fixed")
    assert "effect estimate (y) of 1 study in" in bm.methods_text(one).methods
    dose = bm.methods_text(fit_of("alcohol", "L2"))
    assert "40 log risk ratios from 8 groups of id" in dose.methods
    assert "Groups of id had a normally distributed random effect (dose)." in dose.methods
    assert "per unit of dose" in dose.results


def test_what_does_not_vary_is_assumed_to_be_the_same() -> None:
    alone = "which assumes that true effects differ by the predictors alone"
    assert f"fitted by maximum likelihood (ML) [2], {alone}." in bm.methods_text(fit_of("alcohol", "NL3")).methods
    spec = bm.specify("logor ~ 1", BCG, S="logorvar", psi=bm.structures.Fixed([[0.0]]), measure="logor")
    text = bm.methods_text(make_posterior(spec, draws=20))
    assert "in a fixed-effects meta-analysis [1], fitted by full Bayes, which assumes that all studies" in text.methods
    assert "τ" not in text.results


def test_one_study_has_no_test_of_heterogeneity() -> None:
    text = bm.methods_text(bm.fit(bm.specify("y ~ 1", {"y": [0.2], "v": [0.1]}, S="v"), "fixed"))
    assert "Cochran" not in str(text)
    assert text.results == "The pooled effect was 0.20 (95% CI −0.42 to 0.82; z = 0.63, p = 0.5271)."


def test_arms_dropped_rows_and_missing_outcomes_are_told() -> None:
    data = BCG.assign(logor=BCG.logor.where(BCG.index != 3))
    text = bm.methods_text(bm.fit(bm.specify("logor ~ 1", data, S="logorvar", measure="logor", arms=("BCG", "none"))))
    assert "log odds ratios (BCG versus none) of 12 studies" in text.methods
    assert "Of 13 rows of data, 1 was left out: missing logor" in text.methods
    assert "Of 72 outcomes, 41 were missing (yB 18, yC 5, yD 18)" in bm.methods_text(fit_of("smoking", "cs")).methods


def test_a_boundary_is_told() -> None:
    results = bm.methods_text(fit_of("thrombolytic", "twolevel")).results
    assert "The variance τ² between trials was 0, the standard deviation τ 0." in results
    assert "The estimate of the variation between trials lies at the boundary of its range (τ is zero)" in results


def test_levels_that_are_held_at_zero_have_no_results() -> None:
    text = bm.methods_text(fit_of("gliomas", "2"))
    assert "No variation between units within studies was allowed for." in text.methods
    assert "between units" not in text.results


def test_a_fit_that_did_not_converge_says_so_first() -> None:
    with pytest.warns(bm.ConvergenceWarning):
        tree = bm.fit(spec_of("smoking", "unstr"), "vc", max_iterations=1)
    text = bm.methods_text(tree)
    assert len(text.warnings) == 1
    for whole in (str(text), text.to_markdown(), text.to_latex(), text._repr_html_()):
        start = whole[:200]
        assert "Do not publish these numbers" in start
        assert "DID NOT CONVERGE" in whole.partition("Methods")[0]


def test_chains_that_disagree_say_so_first() -> None:
    bad = bm.methods_text(make_posterior(spec_of("bcg", "ml"), r_hat=1.3, ess=50, divergences=1))
    assert len(bad.warnings) == 3
    assert str(bad).startswith("Do not publish these numbers")
    assert "The largest R-hat of all parameters was 1.300." in bad.results
    assert "There was 1 divergence." in bad.results
    good = bm.methods_text(make_posterior(spec_of("bcg", "ml")))
    assert good.warnings == ()
    assert str(good).startswith("Methods")


def test_priors_are_in_words_and_defaults_are_told() -> None:
    spec = bm.specify("logor ~ 1", BCG, S="logorvar", measure="logor")
    default = bm.methods_text(make_posterior(spec, draws=20)).methods
    assert "the weakly informative defaults of the package: normal with mean 0 and SD 1 for beta[Intercept]" in default
    own = bm.Priors(tau=bm.priors.half_cauchy(0.3))
    mixed = bm.methods_text(make_posterior(spec, draws=20, priors=own))
    assert "Priors were normal with mean 0 and SD 1 for beta[Intercept] (default)" in mixed.methods
    assert "half-Cauchy with scale 0.3 for tau[unit, Intercept] [" in mixed.methods
    assert any(each.startswith("Röver") for each in mixed.references)
    both = bm.Priors(beta=bm.Prior("Normal", mu=-1, sigma=2), tau=bm.priors.half_cauchy(0.3))
    given = bm.methods_text(make_posterior(spec, draws=20, priors=both))
    assert "normal with mean −1 and SD 2" in given.methods
    assert not any(each.startswith("Röver") for each in given.references)


def test_the_sampler_is_named_with_its_versions() -> None:
    post = bm.sample(spec_of("bcg", "ml"), draws=50, tune=50, chains=2, random_seed=1, sampler="nutpie", progress=False)
    methods = bm.methods_text(post).methods
    assert "2 chains of 50 draws after 50 for tuning" in methods
    assert re.search(rf"with bayesmeta {re.escape(bm.__version__)}, nutpie [\d.]+ and PyMC [\d.]+\.", methods)
    del post.attrs["software"]
    assert ", nutpie 0" not in bm.methods_text(make_posterior(spec_of("bcg", "ml"))).methods


def test_it_prints_wrapped_and_pastes_whole() -> None:
    text = bm.methods_text(bcg())
    assert max(map(len, str(text).splitlines())) <= 100
    assert repr(text) == str(text)
    squeezed = " ".join(str(text).split())
    for part in (text.methods, text.results, *text.references):
        assert " ".join(part.split()) in squeezed
        assert "\n" not in part.replace("\n\n", "")
    assert [title for title, _ in text.sections()] == ["Methods", "Results", "References"]


def test_markup_is_escaped() -> None:
    data = BCG.rename(columns={"ablat": "a_lat"})
    text = bm.methods_text(bm.fit(bm.specify("logor ~ a_lat", data, S="logorvar", measure="logor")), df="z")
    assert r"a\_lat" in text.to_markdown()
    assert r"\item {}Sera F" in text.to_latex()
    assert r"95\% CI" in text.to_latex()
    assert text.to_latex().count(r"\section*") == 3
    assert "<ol><li>Sera F" in text._repr_html_()
    assert "p &lt; 0.0001" in text._repr_html_()


def test_every_structure_has_a_phrase_and_a_new_one_goes_without() -> None:
    for structure in REGISTERED.values():
        assert structure.phrase.split()[0] in ("a", "an", "one")

    class Same(bm.structures.Identity):
        name, phrase = "same", ""

    assert (
        Same().in_a_sentence(2) == "a covariance matrix of the structure 'same' (one variance for all, no correlation)"
    )


@pytest.mark.parametrize("tree", [None, "fit", BCG, xr.DataTree(), 3])
def test_anything_else_is_refused(tree: object) -> None:
    with pytest.raises(bm.SpecError):
        bm.methods_text(tree)


@pytest.mark.parametrize("arguments", [{"prob": 95}, {"prob": None}, {"scale": "odds"}, {"scale": 1}])
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(bm.SpecError):
        bm.methods_text(bcg(), **arguments)


def test_it_changes_nothing_and_is_silent() -> None:
    tree = bcg(formula="logor ~ ablat")
    before = tree.copy(deep=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bm.methods_text(tree)
    assert tree.identical(before)
