"""Words of other software and of the literature that mean one thing here are taken for it, in any case."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta import structures
from bayesmeta.cli import app
from bayesmeta.estimation.methods import REGISTER, method_named
from bayesmeta.measures import MEASURES, check_measure

BCG = bm.datasets.load("bcg")
BERKEY = bm.datasets.load("berkey98")
MEASURE = {
    "logor": ("OR", "LOGOR", "log_or", "log(or)", "log OR", "lnOR", "Odds ratio", "log odds ratio"),
    "logrr": ("RR", "logRR", "relative risk", "Risk Ratio", "ln(RR)"),
    "loghr": ("HR", "hazard ratio", "log(HR)"),
    "logirr": ("IRR", "rate ratio"),
    "logrom": ("ROM", "ratio of means"),
    "rd": ("RD", "Risk difference"),
    "md": ("MD", "WMD", "mean difference"),
    "smd": ("SMD", "Hedges' g", "Cohen's d", "standardized mean difference"),
    "cor": ("COR", "correlation"),
    "zcor": ("ZCOR", "Fisher's z"),
    "logit": ("PLO", "logit of a proportion"),
    "arcsine": ("PAS",),
    "lograte": ("log(IR)", "incidence rate"),
    "mean": ("MN", "Mean"),
    "generic": ("GEN", "effect"),
}
METHOD = {
    "reml": ("REML", "Reml"),
    "ml": ("ML",),
    "fixed": ("FE", "EE", "CE", "common", "Fixed effects", "equal-effects"),
    "dl": ("DL", "DerSimonian-Laird", "dersimonian laird"),
    "he": ("HE", "Hedges"),
    "hs": ("HS", "Hunter-Schmidt"),
    "sj": ("SJ", "Sidik-Jonkman"),
    "eb": ("EB", "Empirical Bayes"),
    "pm": ("PM", "Paule-Mandel", "MP"),
    "pmm": ("PMM",),
    "mm": ("MM",),
    "vc": ("VC",),
}
STRUCTURE = {
    "unstr": ("UN", "Unstr", "unstructured"),
    "diag": ("DIAG", "diagonal"),
    "id": ("ID", "identity"),
    "cs": ("CS", "compound symmetry"),
    "hcs": ("HCS", "CSH"),
    "ar1": ("AR", "AR1", "AR(1)"),
    "har1": ("HAR", "HAR1"),
}


def pairs(table):
    return [(name, word) for name, words in table.items() for word in words]


@pytest.mark.parametrize(("name", "word"), pairs(MEASURE))
def test_a_measure_by_another_name(name, word):
    spec = bm.specify("logor ~ 1", BCG, S="logorvar", measure=word)
    assert spec.measure == name
    assert bm.fit(spec).attrs["measure"] == name


@pytest.mark.parametrize(("name", "word"), pairs(METHOD))
def test_a_method_by_another_name(name, word):
    assert bm.fit(bm.specify("logor ~ 1", BCG, S="logorvar"), word).attrs["method"] == name


@pytest.mark.parametrize(("name", "word"), pairs(STRUCTURE))
def test_a_structure_by_another_name(name, word):
    for psi in (word, {"trial": word}):
        spec = bm.specify("PD + AL ~ 1", BERKEY, S=["var_PD", "cov_PD_AL", "var_AL"], random="1 | trial", psi=psi)
        assert spec.levels[0].structure.name == name


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (check_measure, sorted(MEASURES)),
        (lambda word: method_named(word).name, sorted(REGISTER)),
        (lambda word: structures.resolve(word).name, [n for n, s in structures.REGISTER.items() if not s.arguments]),
    ],
    ids=["measures", "methods", "structures"],
)
@given(data=st.data())
def test_every_name_means_itself_in_any_case_and_punctuation(read, names, data):
    name = data.draw(st.sampled_from(names))
    word = "".join(
        data.draw(st.sampled_from([letter, letter.upper()]))
        + data.draw(st.sampled_from(["", "", " ", "_", "-", "(", ")"]))
        for letter in name
    )
    assert read(word) == name


def test_no_word_means_two_things():
    measures = {name: (name, *record.words) for name, record in MEASURES.items()}
    methods = {name: (name, record.short, *record.synonyms) for name, record in REGISTER.items()}
    families = {name: (name, *family.synonyms) for name, family in structures.REGISTER.items()}
    for words_of in (measures, methods, families):
        meanings: dict[str, set[str]] = {}
        for name, words in words_of.items():
            for word in filter(None, words):
                meanings.setdefault("".join(filter(str.isalnum, word.casefold())), set()).add(name)
        assert {word: names for word, names in meanings.items() if len(names) > 1} == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bm.specify("logor ~ 1", BCG, S="logorvar", measure="GENQ"), "^measure is 'GENQ'"),
        (lambda: bm.specify("logor ~ 1", BCG, S="logorvar", measure="()"), r"^measure is '\(\)'"),
        (lambda: bm.specify("logor ~ 1", BCG, S="logorvar", measure=["OR"]), r"^measure is \['OR'\]"),
        (lambda: bm.fit(bm.specify("logor ~ 1", BCG, S="logorvar"), "GENQ"), "^method is 'GENQ'"),
        (lambda: bm.fit(bm.specify("logor ~ 1", BCG, S="logorvar"), ""), "^method is ''"),
        (lambda: bm.specify("logor ~ 1", BCG, S="logorvar", psi="SPEXP"), "structure is 'SPEXP'"),
    ],
)
def test_words_without_a_meaning_here_are_refused(call, message):
    with pytest.raises(bm.SpecError, match=message):
        call()


MODELS = """
title = "t"
data = "d.csv"
[model.m]
formula = "logor ~ 1"
S = "logorvar"
measure = "OR"
method = "DL"
psi = "UN"
[figure.f]
kind = "forest"
method = "ML"
"""


def test_model_files_and_the_command_line_take_the_same_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    BCG.to_csv("d.csv", index=False)
    Path("m.toml").write_text(MODELS)
    analysis = bm.load_analysis("m.toml")
    assert (analysis.models["m"].method, analysis.figures["f"].method) == ("dl", "ml")
    assert analysis.models["m"].spec.measure == "logor"
    for arguments, method in ((["fit", "m.toml"], "dl"), (["fit", "m.toml", "--method", "REML"], "reml")):
        result = CliRunner().invoke(app, [*arguments, "-o", "m.nc"])
        assert result.exit_code == 0, result.output
        assert bm.load("m.nc").attrs["method"] == method
    result = CliRunner().invoke(app, ["fit", "m.toml", "--method", "Remml"])
    assert result.exit_code == 2
    assert "--method is 'Remml'; did you mean 'reml'?" in result.output


def test_names_registered_from_outside_come_before_synonyms():
    try:
        bm.measures.register(bm.measures.Measure("or", "odds ratio itself"))
        assert check_measure("or") == "or"
        assert check_measure("OR") == "or"
    finally:
        del MEASURES["or"]
