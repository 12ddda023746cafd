"""Mistakes that users of metafor, meta, bambi, brms and lme4 make: each is answered with the line to type."""

import inspect
import pickle
import warnings
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import pytest

import bayesmeta as bm
from bayesmeta._validation.calls import CallError
from bayesmeta._validation.other_software import PARAMETERS, advice
from tests.support.public_surface import public_objects

DATA = bm.datasets.load("bcg")
SPEC = bm.specify("logor ~ 1", DATA, S="logorvar", measure="logor")
FIT = bm.fit(SPEC)
NAMES = {
    "bm": bm,
    "data": DATA.assign(y=DATA.logor, v=DATA.logorvar, x=DATA.ablat, study=DATA.trial, ai=DATA.tpos, ci=DATA.cpos),
    "spec": SPEC,
    "fit": FIT,
    "small": bm.fit(SPEC, "ml"),
    "big": bm.fit(bm.specify("logor ~ ablat", DATA, S="logorvar", measure="logor"), "ml"),
    "pandas": __import__("pandas"),
}

# what is typed, the error, what its first line says, and the line that the message leads to
MISTAKES: list[tuple[str, type[Exception], str, str]] = [
    ('bm.specify("y ~ 1", data, vi="v")', bm.SpecError, "S='v'", "bm.specify('y ~ 1', data, S='v')"),
    ('bm.specify("y ~ 1", data, sei="v")', bm.SpecError, "se='v'", "bm.specify('y ~ 1', data, se='v')"),
    ('bm.specify(yi="y", vi="v", data=data)', bm.SpecError, '"y ~ 1"', 'bm.specify("y ~ 1", data, S="v")'),
    ('bm.specify("y ~ 1", data, S="v", mods="~ x")', bm.SpecError, '"y ~ x"', 'bm.specify("y ~ x", data, S="v")'),
    (
        'bm.specify("y ~ 1", data, S="v", slab="author")',
        bm.SpecError,
        "labels='author'",
        'bm.specify("y ~ 1", data, S="v", labels="author")',
    ),
    (
        'bm.specify("y ~ 1", data, S="v", struct="CS")',
        bm.SpecError,
        "psi='CS'",
        'bm.specify("y + x ~ 1", data, S=["v", "v"], S_correlation=0, psi="CS")',
    ),
    (
        'bm.specify("y ~ 1", data, S="v", method="REML")',
        bm.SpecError,
        "bm.fit takes it: method='REML'",
        'bm.fit(spec, method="REML")',
    ),
    (
        'bm.specify("y ~ 1", data, S="v", intercept=False)',
        bm.SpecError,
        '"y ~ 0 + x"',
        'bm.specify("y ~ 0 + x", data, S="v")',
    ),
    (
        'bm.specify("y ~ 1", data, S="v", exclude=data.year <= 1950)',
        bm.SpecError,
        "subset=data.year > 1950",
        'bm.specify("y ~ 1", data, S="v", subset=data.year > 1950)',
    ),
    ('bm.specify(data, "y ~ 1", S="v")', bm.DataError, "bm.specify('y ~ 1', data", 'bm.specify("y ~ 1", data, S="v")'),
    (
        'bm.specify("y ~ 1", "bcg.csv", S="v")',
        bm.DataError,
        "the name of a file; it must be a data frame",
        'bm.specify("y ~ 1", data, S="v")',
    ),
    (
        'bm.specify("y ~ factor(alloc)", data, S="v")',
        bm.SpecError,
        "C(alloc)",
        'bm.specify("y ~ C(alloc)", data, S="v")',
    ),
    ('bm.specify("y ~ x + I(x^2)", data, S="v")', bm.SpecError, "x**2", 'bm.specify("y ~ x + I(x**2)", data, S="v")'),
    ('bm.specify("y ~ s(x)", data, S="v")', bm.SpecError, "ns(x, df=3)", 'bm.specify("y ~ ns(x, df=3)", data, S="v")'),
    (
        'bm.specify("y ~ 1 + (1 | study)", data, S="v")',
        bm.SpecError,
        'random="1 | study"',
        'bm.specify("y ~ 1", data, S="v", random="1 | study")',
    ),
    ('bm.specify("y | se(v) ~ 1", data)', bm.SpecError, "se='se'", 'bm.specify("y ~ 1", data, se="v")'),
    ('bm.specify("data$y ~ 1", data, S="v")', bm.SpecError, "its name alone: y", 'bm.specify("y ~ 1", data, S="v")'),
    (
        'bm.specify("y ~ 1", data, ai="ai", ci="ci")',
        bm.SpecError,
        "bm.effects.odds_ratio(data,",
        'bm.effects.odds_ratio(data, ("ai", "ci"), no_events=("tneg", "cneg"), names=("w", "wv"))',
    ),
    (
        'bm.fit("y ~ 1", data)',
        bm.SpecError,
        'bm.fit(bm.specify("y ~ 1", data, S="v"))',
        'bm.fit(bm.specify("y ~ 1", data, S="v"))',
    ),
    (
        "bm.fit(data)",
        bm.SpecError,
        'bm.fit(bm.specify("y ~ 1", data, S="v"))',
        'bm.fit(bm.specify("y ~ 1", data, S="v"))',
    ),
    (
        'bm.fit(spec, measure="OR")',
        bm.SpecError,
        "bm.specify takes it: measure='OR'",
        'bm.specify("y ~ 1", data, S="v", measure="OR")',
    ),
    (
        'bm.fit(spec, test="knha")',
        bm.SpecError,
        'bm.summary(bm.fit(spec), df="knapp-hartung")',
        'bm.summary(bm.fit(spec), df="knapp-hartung")',
    ),
    ("bm.fit(spec, draws=2000)", bm.SpecError, "bm.sample takes it: draws=2000", ""),
    (
        'bm.sample(spec, {"tau": "halfnormal"})',
        bm.SpecError,
        "bm.Priors(tau=bm.priors.half_normal(0.5))",
        "bm.Priors(tau=bm.priors.half_normal(0.5))",
    ),
    ("bm.sample(spec, iter=2000)", bm.SpecError, "draws=2000", ""),
    (
        'bm.Priors(mu=bm.Prior("Normal", mu=0, sigma=1))',
        bm.SpecError,
        "beta=bm.Prior(",
        'bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1))',
    ),
    (
        'bm.predict(fit, newmods={"x": 1})',
        bm.SpecError,
        'newdata={"x": [0, 1]}',
        'bm.predict(bm.fit(bm.specify("y ~ x", data, S="v")), newdata={"x": [0, 1]})',
    ),
    ("bm.summary(fit, level=95)", bm.SpecError, "prob=0.95", "bm.summary(fit, prob=0.95)"),
    ("bm.summary(fit, exp=True)", bm.SpecError, 'scale="response"', 'bm.summary(fit, scale="response")'),
    ("bm.summary(spec)", bm.SpecError, "bm.fit(spec)", "bm.summary(bm.fit(spec))"),
    ("bm.compare(fit, small, level=95)", bm.SpecError, "prob=0.95", "bm.compare(fit, small, prob=0.95)"),
    (
        "bm.r_squared(fit)",
        bm.SpecError,
        "bm.r_squared(fit, plain)",
        'bm.r_squared(bm.fit(bm.specify("logor ~ ablat", data, S="logorvar")), fit)',
    ),
    ("bm.lr_test(fit)", bm.SpecError, "bm.lr_test(small, big)", "bm.lr_test(small, big)"),
    (
        'bm.plots.forest(fit, xlab="Odds ratio")',
        bm.SpecError,
        "ax.set_xlabel('Odds ratio')",
        "bm.plots.forest(fit).set_xlabel('Odds ratio')",
    ),
    (
        "bm.plots.forest(fit, slab=data.author)",
        bm.SpecError,
        "here it is labels=",
        "bm.plots.forest(fit, labels=data.author)",
    ),
    (
        "bm.plots.profile(fit)",
        bm.SpecError,
        "bm.plots.profile(bm.profile(fit))",
        "bm.plots.profile(bm.profile(fit, points=5))",
    ),
    (
        'bm.rma("y", "v", data=data)',
        AttributeError,
        'bm.fit(bm.specify("y ~ x", data, S="v"))',
        'bm.fit(bm.specify("y ~ x", data, S="v"))',
    ),
    ('bm.Model("y ~ x", data)', AttributeError, 'bm.specify("y ~ x", data, S="v")', 'bm.specify("y ~ x", data, S="v")'),
    ("bm.forest(fit)", AttributeError, "bm.plots.forest(fit)", "bm.plots.forest(fit)"),
]


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize(("typed", "error", "says", "line"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_mistake_is_answered_with_the_line_to_type(typed: str, error: type[Exception], says: str, line: str) -> None:
    with pytest.raises(error) as caught:
        eval(typed, NAMES)
    first, *rest = str(caught.value).splitlines()
    assert says in first, first
    assert all(len(text) <= 240 for text in (first, *rest))
    if line:
        eval(line, NAMES)
    plt.close("all")


# words of other software that mean one thing simply work
WORKS = [
    'bm.fit(spec, method="REML")',
    'bm.fit(spec, method="DL")',
    'bm.fit(spec, method="FE")',
    'bm.fit(spec, method="EE")',
    'bm.specify("y ~ 1", data, S="v", measure="OR")',
    'bm.specify("y + x ~ 1", data, S=["v", "v"], S_correlation=0, psi="CS")',
    'bm.specify("y ~ 1", data, S="v", random="~ 1 | study")',
    'bm.specify("y ~ 1", data.to_dict("list"), S="v")',
    'bm.specify("cbind(y, x) ~ 1", data, S=["v", "v"], S_correlation=0)',
]


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("typed", WORKS)
def test_what_means_one_thing_works(typed: str) -> None:
    eval(typed, NAMES)


def functions() -> list[tuple[str, Any]]:
    return [(name, value) for name, value in public_objects() if inspect.isfunction(value)]


@pytest.mark.parametrize(("name", "function"), functions(), ids=[name for name, _ in functions()])
def test_every_public_function_answers_an_argument_that_it_does_not_have(name: str, function: Any) -> None:
    parameters = inspect.signature(function).parameters
    needed = {each.name: None for each in parameters.values() if each.default is each.empty and each.kind not in (2, 4)}
    with pytest.raises(bm.SpecError) as caught:
        function(**needed, no_such_argument=1)
    assert isinstance(caught.value, TypeError)
    assert f"bm.{name} has no argument 'no_such_argument'" in str(caught.value)


@pytest.mark.parametrize(("name", "function"), functions(), ids=[name for name, _ in functions()])
def test_signature_documentation_and_place_are_kept(name: str, function: Any) -> None:
    original = function.__wrapped__  # which is bound to its recipe, where it has one
    assert function.explains in (f"bm.{name}", f"bm.{name.rpartition('.')[2]}")
    assert function.__doc__ == original.__doc__
    assert inspect.signature(function) == inspect.signature(original)
    assert pickle.loads(pickle.dumps(function)) is function


def test_errors_inside_a_function_are_left_alone() -> None:
    def broken(x: object) -> int:
        return len(x)  # type: ignore[arg-type]

    from bayesmeta._validation.calls import explaining

    with pytest.raises(TypeError, match="has no len") as caught:
        explaining(broken, "bm.broken")(3)
    assert not isinstance(caught.value, bm.SpecError)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bm.fit(), r"^bm\.fit needs 'spec'\n  its arguments: spec, method, "),
        (lambda: bm.fit(SPEC, spec=SPEC), r"^bm\.fit has 'spec' twice, once without its name"),
        (lambda: bm.fit(SPEC, "ml", 3), r"^bm\.fit has 3 arguments without a name, and takes at most 2: spec, method"),
        (lambda: bm.fit(SPEC, methd="ml"), r"^bm\.fit has no argument 'methd'; did you mean 'method'\?"),
        (lambda: bm.Prior(), r"^bm\.Prior needs 'name'"),
        (lambda: bm.datasets.load(), r"^bm\.datasets\.load needs 'name'"),
    ],
)
def test_arguments_that_do_not_fit(call: Any, message: str) -> None:
    with pytest.raises(CallError, match=message):
        call()


def test_old_names_of_arguments_go_on_working() -> None:
    with pytest.warns(DeprecationWarning, match="random_seed"), pytest.raises(CallError, match="'nn'"):
        bm.simulate(SPEC, n=1, seed=3, nn=2)


@pytest.mark.parametrize("function", PARAMETERS)
def test_advice_names_parameters_that_exist(function: str) -> None:
    parameters = inspect.signature(getattr(bm, function.removeprefix("bm."))).parameters
    assert set(PARAMETERS[function]) <= set(parameters)


def test_advice_is_about_arguments_that_the_function_has_not() -> None:
    for name, function in functions():
        parameters = list(inspect.signature(function).parameters)
        for argument in ("vi", "level", "xlab", "by", "seed", "newmods", "transf"):
            if argument not in parameters:
                text = advice(f"bm.{name}", argument, "3", parameters)
                if text.startswith("here it is "):
                    assert text.removeprefix("here it is ").partition("=")[0] in parameters


def test_an_unknown_name_of_the_package() -> None:
    with pytest.raises(AttributeError, match="did you mean 'summary'"):
        _ = bm.sumary
    assert not hasattr(bm, "__wrapped__")
    assert isinstance(bm.plots, ModuleType)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not hasattr(bm, "nothing_like_it")
