"""The glossary: every word of ours in it is one, and nothing that users choose or call is missing."""

import ast
import inspect
import re
import typing
from functools import cache
from typing import Any

import pytest
from formulaic import Formula

import bayesmeta as bm
from bayesmeta import tree_schema
from bayesmeta.bayes.samplers import SAMPLERS
from bayesmeta.formula.safety import FUNCTIONS
from bayesmeta.inference import adjusted, reference, robust
from bayesmeta.inference.prediction_intervals import NAGASHIMA, RILEY, RILEY_KNAPP_HARTUNG
from bayesmeta.kernel.sandwich import KINDS as SANDWICHES
from bayesmeta.structures import resolve
from tests.support.make_gallery import GALLERY
from tests.support.make_site_files import public_names

PAGE = (GALLERY.parent / "glossary.md").read_text(encoding="utf-8")
EFFECTS = (GALLERY.parent / "effects.md").read_text(encoding="utf-8")
# what metafor 3.8.1 and mixmeta 1.2.0 export (getNamespaceExports in R), without methods and transformations
METAFOR = """
addpoly aggregate anova baujat bldiag blsplit blup confint contrmat cooks.distance cumul dfbetas dfround escalc
fitstats forest fsn funnel galbraith gosh hatvalues hc influence labbe leave1out llplot matreg permutest profile
qqnorm radial ranef ranktest rcalc regplot regtest replmiss reporter rma rma.glmm rma.mh rma.mv rma.peto rma.uni
robust rstandard rstudent selmodel simulate summary.escalc tes to.long to.table to.wide trimfill update vcalc
vec2mat vif weights AIC BIC coef deviance fitted logLik model.matrix nobs predict residuals summary vcov
"""
MIXMETA = """
bdiagMat blup coef inputcov inputna logLik mixmeta mixmeta.control mixmeta.fit mixmeta.fixed mixmeta.ml
mixmeta.mm mixmeta.reml mixmeta.vc mixmetaSim predict qtest simulate summary vcov vechMat xpndMat add1 drop1
model.matrix nobs
"""
STRUCT = "CS HCS UN ID DIAG AR HAR CAR SPEXP SPGAU SPLIN SPRAT SPSPH GEN GDIAG PHYBM PHYPL PHYPD"  # of rma.mv
BSCOV = "unstr diag id cs hcs ar1 har1 prop cor fixed"  # of mixmeta
METHOD = "FE EE CE HS HSk HE DL DLIT GENQ GENQM SJ SJIT PM MP PMM ML REML EB"  # of rma.uni

ANYTHING = "*"  # of arguments that are not only words


def rows() -> list[list[str]]:
    """Cells of all rows of the tables."""
    split = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace(r"\|", "|") for cell in cells] for cells in split]


def words(cells: list[str]) -> list[str]:
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def ours() -> list[str]:
    """Words of the columns of bayesmeta, and those of ours between the tables."""
    found, columns = [], slice(0)
    for cells in rows():
        if cells[0] == "thing":
            at = [name in ("bayesmeta", "instead", "its class") for name in cells]
            columns = slice(at.index(True), None)
        else:
            found += words(cells[columns])
    return found + re.findall(r"`(bm\.[^`]+)`", "".join(line for line in PAGE.splitlines(True) if line[0] != "|"))


def theirs() -> set[str]:
    return {part for cells in rows() for word in words(cells[1:-1]) for part in re.findall(r"[\w.]+", word)}


@cache
def arguments() -> dict[str, set[Any]]:
    """Arguments of public functions, each with the words that its type names."""
    known: dict[str, set[Any]] = {}
    for value in public_names().values():
        if inspect.isfunction(value):
            for name, parameter in inspect.signature(value).parameters.items():
                known.setdefault(name, set()).update(literals(parameter.annotation))
    registers = {
        "df": [reference.NORMAL, *adjusted.KINDS, RILEY, RILEY_KNAPP_HARTUNG, NAGASHIMA],
        "vcov": [reference.MODEL, *SANDWICHES],
    }
    return known | {name: {*each} for name, each in registers.items()}


def literals(annotation: Any) -> set[Any]:
    if annotation is Any:
        return {ANYTHING}
    if isinstance(annotation, str):
        return {*re.findall(r"'([^' ]+)'", annotation)}
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return {*parts}
    return set().union(*map(literals, parts)) if parts else set()


def check_keyword(name: str, value: ast.expr | None, function: Any = None) -> None:
    """An argument of the function, or of any, and a word that it takes."""
    named = inspect.signature(function).parameters if function else arguments()
    assert name in named or any(each.kind is each.VAR_KEYWORD for each in getattr(named, "values", dict)()), name
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return
    if name == "psi":
        resolve(value.value)
    elif name == "method" and not function:
        assert value.value in bm.estimation.REGISTER, value.value
    elif arguments().get(name):
        assert {value.value, ANYTHING} & arguments()[name], (name, value.value)


def check(word: str) -> None:
    """Fails unless the word is one of the package: a public name, a call, an argument, an entry of a results tree."""
    if keyword := re.fullmatch(r"(\w+)=(.*)", word):
        check_keyword(keyword[1], ast.parse(keyword[2], mode="eval").body if keyword[2] else None)
        return
    node = ast.parse(word, mode="eval").body
    if isinstance(node, ast.Constant):
        Formula(node.value.partition("~")[2])
    elif isinstance(node, ast.Subscript):
        check_entry(*re.findall(r'"(\w+)"', word))
    elif isinstance(node, ast.Name):
        assert node.id in arguments() or any(node.id in entries for entries in entries_of_trees().values()), word
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        assert node.func.id in FUNCTIONS, word
    else:
        check_name(node)


def fault_of(word: str) -> str:
    try:
        check(word)
    except (AssertionError, AttributeError, SyntaxError, bm.BayesmetaError) as fault:
        return f"{type(fault).__name__}: {fault}"
    return ""


def check_name(node: ast.expr) -> None:
    """`bm.name`, or calls of it, those inside their arguments too."""
    function = node.func if isinstance(node, ast.Call) else node
    assert isinstance(function, ast.Attribute), ast.unparse(node)
    value: Any = bm
    for part in ast.unparse(function).split(".")[1:]:
        value = getattr(value, part)
    for keyword in node.keywords if isinstance(node, ast.Call) else ():
        check_keyword(keyword.arg or "", keyword.value, value)
    for each in node.args if isinstance(node, ast.Call) else ():
        if isinstance(each, ast.Call):
            check_name(each)
        else:
            assert isinstance(each, ast.Constant | ast.Dict | ast.List) or ast.unparse(each) in ("data", "fit", "post")


@cache
def entries_of_trees() -> dict[str, set[str]]:
    return {name: {*group.entries} for name, group in tree_schema.TREE.items()}


def check_entry(group: str, variable: str) -> None:
    names = {name.replace("_L", "_study") for name in entries_of_trees()[group]} | entries_of_trees()[group]
    assert variable in names or variable.replace("_unit", "_study") in names, variable


def test_every_word_of_ours_is_one():
    found = ours()
    assert len(found) > 350
    wrong = {word: fault for word in found if (fault := fault_of(word))}
    assert not wrong


@pytest.mark.parametrize(
    "wrong",
    [
        "bm.nothing",
        "bm.small_study.nothing",
        'bm.confint(fit, metod="wald")',
        'method="dll"',
        'psi="unst"',
        'df="t"',
        'vcov="CR9"',
        'scale="ratio of"',
        "nothing=",
        'fit["estimate"]["nothing"]',
        "tan(x)",
        "nothing",
        'bm.fit(bm.specify("y ~ 1", data, V="v"))',
    ],
)
def test_what_is_no_word_of_ours_is_noticed(wrong):
    assert fault_of(wrong)


def test_every_public_name_is_in_it_or_among_the_effect_sizes():
    named = {"`bm." + name: name for name in public_names()}
    missing = [
        name
        for start, name in named.items()
        if not re.search(re.escape(start) + r"[`(]", EFFECTS if name.startswith("effects.") else PAGE)
    ]
    short = [name for name in missing if name.startswith("effects.") and f"`{name.partition('.')[2]}`" in EFFECTS]
    assert sorted({*missing} - {*short}) == []


def test_every_choice_is_in_it():
    for name in bm.estimation.REGISTER:
        assert f'`method="{name}"`' in PAGE, name
    for name in bm.structures.REGISTER:
        assert f'`psi="{name}"`' in PAGE or f'`, "{name}" |' in PAGE, name
        assert f"bm.structures.{bm.structures.REGISTER[name].__name__}`" in PAGE
    for name in arguments()["df"]:
        assert f'`df="{name}"`' in PAGE, name
    assert {*robust.KINDS} < arguments()["df"]
    for name in arguments()["vcov"]:
        assert f'`vcov="{name}"`' in PAGE, name
    for name in ("auto", *SAMPLERS):
        assert f'`sampler="{name}"`' in PAGE, name
    for name in inspect.signature(bm.specify).parameters:
        assert f"{name}=" in PAGE or name in ("formula", "data", "partitions", "n_jobs"), name


@pytest.mark.parametrize("listed", [METAFOR, MIXMETA, STRUCT, BSCOV, METHOD])
def test_every_word_of_theirs_is_in_it(listed):
    assert {*listed.split()} <= theirs(), {*listed.split()} - theirs()
