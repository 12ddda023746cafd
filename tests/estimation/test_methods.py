"""The register of estimation methods: a record says what a method can do, and one from outside appears everywhere."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest

import bayesmeta as bm
from bayesmeta.estimation.fit import MethodName
from bayesmeta.estimation.methods import REGISTER, Method, method_named, method_of, register
from tests.support.edited import unhashed


@pytest.fixture
def spec() -> bm.Spec:
    return bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")


@pytest.fixture
def half() -> Iterator[Method]:
    """A method from outside: half of DerSimonian and Laird's tau2."""

    def estimate(spec: bm.Spec):
        dl = method_named("dl").estimate(spec)
        return replace(dl, method="half", psi=tuple(p / 2 for p in dl.psi))

    yield register(Method("half", "half of DerSimonian and Laird's tau2", "1/2 DL", estimate))
    del REGISTER["half"]


def test_the_names_of_the_signature_are_those_registered() -> None:
    assert set(get_args(MethodName)) == set(REGISTER)


def test_every_method_has_a_label_and_a_short_one() -> None:
    assert all(m.label and m.short and m.name == name for name, m in REGISTER.items())
    assert len({m.label for m in REGISTER.values()}) == len({m.short for m in REGISTER.values()}) == len(REGISTER)


@pytest.mark.parametrize("name", ["reml", "ml", "fixed", "mm", "vc", "dl", "pm"])
def test_an_option_that_a_method_does_not_take(spec: bm.Spec, name: str) -> None:
    values = {"start": [0.1], "max_iterations": 5, "tolerance": 1e-3, "verbose": True, "vc_adjust": True}
    for option, value in values.items():
        if option not in REGISTER[name].options:
            with pytest.raises(bm.SpecError, match=f"method '{name}' has no option '{option}'"):
                bm.fit(spec, name, **{option: value})


def test_starts_of_many_data_sets_for_a_method_that_takes_none(spec: bm.Spec) -> None:
    Y = bm.simulate(spec, 3, 1, beta=[0.0], psi=0.1)
    with pytest.raises(bm.SpecError, match="method 'dl' has no option 'start'"):
        bm.fit_many(spec, Y, method="dl", start=[0.1])


def test_a_method_from_outside_is_fitted_described_and_compared(spec: bm.Spec, half: Method) -> None:
    tree, dl = bm.fit(spec, "half"), bm.fit(spec, "dl")
    assert tree["estimate"]["tau_unit"].item() == pytest.approx(dl["estimate"]["tau_unit"].item() / 2**0.5)
    assert half.label in str(bm.summary(tree))
    many = bm.fit_many(spec, bm.simulate(dl, 3, 1), method="half")
    assert many["beta"].shape == (3, 1)
    assert "half" in str(bm.compare(tree, dl))


def test_a_tree_by_a_method_that_is_not_registered_here(spec: bm.Spec) -> None:
    tree = unhashed(bm.fit(spec, "dl"))
    tree.attrs["method"] = "theirs"
    with pytest.warns(bm.AssumptionWarning, match="method 'theirs' of this tree is not registered here"):
        record = method_of(tree)
    assert record.label == "theirs"
    assert record.likelihood is None
    with pytest.warns(bm.AssumptionWarning, match="not registered"):
        assert "theirs" in str(bm.summary(tree))
    with pytest.raises(bm.SpecError, match="not registered"):
        record.estimate(spec)
