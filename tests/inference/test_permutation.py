"""Permutation tests: the numbers of metafor, refits one by one, what stays together, and refusals."""

from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta.estimation.many_designs import fit_designs
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.arrangements import exchanges, signs
from tests.support.posteriors import make_posterior

Read = Callable[[str], Any]


def trials(seed: int, n: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.05, 0.4, n)
    x, z = rng.normal(size=n), rng.integers(0, 2, n)
    return pd.DataFrame({"y": rng.normal(0.4 * x, np.sqrt(0.1 + v)), "v": v, "x": x, "z": z})


def nested(seed: int, sizes: tuple[int, ...] = (1, 2, 3, 2, 4)) -> pd.DataFrame:
    """Groups of several rows; x is constant within them, w varies."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(sizes)), sizes)
    v = rng.uniform(0.05, 0.4, len(g))
    y = rng.normal(0, np.sqrt(v)) + rng.normal(0, 0.3, len(sizes))[g]
    of_group = {"x": rng.normal(size=len(sizes))[g], "w": rng.normal(size=len(g)), "g": g.astype(str)}
    return pd.DataFrame({"y": y, "v": v, "row": np.arange(len(g)).astype(str)} | of_group)


@pytest.mark.parametrize(("name", "formula"), [("bcg_ablat", "yi ~ ablat"), ("raudenbush1985_weeks", "yi ~ weeks")])
def test_drawn_arrangements_of_metafor(reference: Read, name: str, formula: str):
    """Within four Monte Carlo errors of the difference; theirs are shares of 20,000 and 5,000 arrangements."""
    file = reference(f"influence/{name}")
    fit = bm.fit(bm.specify(formula, pd.DataFrame(file["data"]), S="vi"))
    out, expected = bm.permutation_test(fit, draws=10_000, random_seed=1), file["expected"]["permutation"]
    theirs = np.array([*expected["pval"], expected["QMp"]])
    ours = np.array([*out["coef_pvalue"].to_numpy(), out["pvalue"].item()])
    error = np.sqrt(np.maximum(ours, 1e-4) * (1 - ours) * (1 / 10_000 + 1 / 5_000))
    assert (np.abs(ours - theirs) < 4 * error).all()
    assert not out.attrs["exact"]


def test_signs_of_metafor(reference: Read):
    file = reference("influence/normand1999")
    out = bm.permutation_test(bm.fit(bm.specify("yi ~ 1", pd.DataFrame(file["data"]), S="vi")))
    assert out["pvalue"].item() == file["expected"]["permutation"]["pval"][0]
    assert (out.attrs["exact"], out.attrs["draws"], out.attrs["exchanged"]) == (1, 512, "signs of effects")


@pytest.mark.parametrize(
    ("key", "formula", "statistic"),
    [
        ("ablat", "yi ~ ablat", "wald"),
        ("intercept", "yi ~ 1", "wald"),
        ("ablat_knha", "yi ~ ablat", "knapp-hartung"),
        ("ablat_year", "yi ~ ablat + year", "wald"),
    ],
)
def test_all_arrangements_of_metafor(reference: Read, key: str, formula: str, statistic: str):
    file = reference("small_study/permutation_exact")
    fit = bm.fit(bm.specify(formula, pd.DataFrame(file["data"]), S="vi"))
    out, expected = bm.permutation_test(fit, statistic=statistic), file["expected"][key]
    np.testing.assert_allclose(out["coef_pvalue"], np.atleast_1d(expected["pval"]), rtol=1e-9)
    assert out["pvalue"].item() == pytest.approx(expected.get("QMp", expected["pval"]), rel=1e-9)


@settings(max_examples=4)
@given(st.integers(0, 1_000))
def test_all_arrangements_one_by_one(seed: int):
    """A loop of fits over every order of the rows of X."""
    data = trials(seed, 5)
    fit = bm.fit(bm.specify("y ~ x", data, S="v"))
    observed = abs(fit["estimate"]["beta"][1].item() / fit["estimate"]["beta_se"][1].item())
    hits = []
    for order in permutations(range(5)):
        own = bm.fit(bm.specify("y ~ x", data.assign(x=data["x"].to_numpy()[list(order)]), S="v"))["estimate"]
        hits.append(abs(own["beta"][1].item() / own["beta_se"][1].item()) >= observed * (1 - 1e-6))
    assert bm.permutation_test(fit)["pvalue"].item() == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("method", ["reml", "ml", "fixed", "dl", "pm"])
def test_fits_together_are_fits_one_by_one(method: str):
    """Each design as `bm.fit` fits it, by methods that search together and by those that do not."""
    data, rng = trials(3, 14), np.random.default_rng(1)
    spec = bm.specify("y ~ x + z", data, S="v")
    orders = np.array([rng.permutation(14) for _ in range(25)])
    psi = (bm.fit(spec, method)["estimate"]["psi_unit"].to_numpy(),)
    many = fit_designs(spec, np.broadcast_to(spec.y, (25, 14)), spec.X[orders], method_named(method), psi)
    for i, order in enumerate(orders):
        own = bm.fit(
            bm.specify("y ~ x + z", data.assign(x=data["x"].to_numpy()[order], z=data["z"].to_numpy()[order]), S="v"),
            method,
        )
        np.testing.assert_allclose(many.beta[i], own["estimate"]["beta"], rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(many.cov[i], own["estimate"]["beta_cov"], rtol=2e-5, atol=1e-8)


def test_dependent_fits_together_are_fits_one_by_one():
    data, rng = nested(2), np.random.default_rng(1)
    spec = bm.specify("y ~ w", data, S="v", random="1 | g/row")
    w = np.array([rng.permutation(data["w"]) for _ in range(10)])
    X = np.stack([np.ones_like(w), w], axis=-1)
    tree = bm.fit(spec)
    psi = tuple(tree["estimate"][f"psi_{level.name}"].to_numpy() for level in spec.levels)
    many = fit_designs(spec, np.broadcast_to(spec.y, w.shape), X, method_named("reml"), psi)
    for i, own in enumerate(w):
        alone = bm.fit(bm.specify("y ~ w", data.assign(w=own), S="v", random="1 | g/row"))["estimate"]
        np.testing.assert_allclose(many.beta[i], alone["beta"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(many.cov[i], alone["beta_cov"], rtol=1e-4, atol=1e-7)


def test_far_from_zero_with_enormous_heterogeneity():
    """Effects about a large mean lose no digits to centring."""
    data = trials(5, 10).assign(v=lambda d: d["v"] * 1e-8)
    moved = data.assign(y=data["y"] + 1e4)
    one, other = (
        bm.permutation_test(bm.fit(bm.specify("y ~ x", each, S="v")), draws=300, random_seed=1)
        for each in (data, moved)
    )
    assert one["pvalue"].item() == other["pvalue"].item()


def arranged(spec: bm.Spec, moved: list[int]) -> Any:
    values = spec.design.fixed(spec.data.loc[spec.kept])
    return exchanges(spec, values, np.array(moved))


@given(st.integers(0, 1_000))
def test_groups_stay_together(seed: int):
    """A predictor of groups moves between groups, one of rows within them; both as often as there are orders."""
    data = nested(seed)
    spec = bm.specify("y ~ x + w", data, S="v", random="1 | g/row")
    between, within = arranged(spec, [1]), arranged(spec, [2])
    assert between.count == 120
    assert within.count == 1 * 2 * 6 * 2 * 24
    random = np.random.default_rng(seed)
    for made, column in ((between, 1), (within, 2)):
        _, X = made.data(spec.y, spec.X, made.drawn(20, random))
        others = [c for c in range(3) if c != column]
        np.testing.assert_array_equal(X[:, :, others], np.broadcast_to(spec.X[:, others], (20, len(spec.y), 2)))
        for own in X[:, :, column]:
            frame = pd.DataFrame({"own": own, "g": data["g"]}).groupby("g")["own"]
            if column == 1:
                assert frame.nunique().max() == 1
                assert set(frame.first()) == set(data["x"])
            else:
                assert all(sorted(values) == sorted(data.loc[data["g"] == g, "w"]) for g, values in frame)


def test_signs_of_a_group_change_together():
    spec = bm.specify("y ~ 1", nested(1), S="v", random="1 | g/row")
    made = signs(spec)
    assert made.count == 2**5
    y, _ = made.data(spec.y, spec.X, made.all())
    assert len({tuple(row) for row in np.sign(y).tolist()}) == 32
    for own in y / spec.y:
        assert pd.Series(own).groupby(spec.levels[0].index).nunique().max() == 1


def test_equal_values_are_arranged_once():
    """A predictor of two values has as many arrangements as there are places for one of them, each once."""
    data = trials(1, 7).assign(z=[1, 1, 0, 0, 0, 1, 0])
    made = arranged(bm.specify("y ~ z", data, S="v"), [1])
    _, X = made.data(data["y"].to_numpy(), np.ones((7, 2)), made.all())
    assert made.count == len({tuple(row) for row in X[:, :, 1].tolist()}) == 35
    assert set(map(tuple, X[:, :, 1].tolist())) == {r for r in product((0.0, 1.0), repeat=7) if sum(r) == 3}


def test_a_term_is_exchanged_alone():
    data = trials(4, 5)
    fit = bm.fit(bm.specify("y ~ x + z", data.assign(z=[0, 1, 0, 1, 1]), S="v"))
    with pytest.warns(bm.AssumptionWarning, match="10 arrangements have no p value below 0.1"):
        one = bm.permutation_test(fit, "z")
    both = bm.permutation_test(fit)
    assert (one.attrs["arrangements"], both.attrs["arrangements"]) == (10, 120)
    assert one["coef"].to_numpy().tolist() == ["z"]
    assert one["pvalue"].item() == one["coef_pvalue"].item()


def test_missing_outcomes_have_the_predictors_of_their_row():
    data = bm.datasets.load("berkey98").assign(x=[1.0, 2.0, 3.0, 4.0, 5.5])
    data.loc[1, ["AL", "var_AL", "cov_PD_AL"]] = np.nan
    spec = bm.specify("PD + AL ~ x", data, S=["var_PD", "cov_PD_AL", "var_AL"])
    out = bm.permutation_test(bm.fit(spec, "fixed"))
    assert (out.attrs["arrangements"], out.attrs["exact"]) == (120, 1)
    assert 0 < out["pvalue"].item() <= 1


def test_a_seed_and_processes_do_not_change_it():
    fit = bm.fit(bm.specify("y ~ x", trials(1, 12), S="v"))
    one, same = (bm.permutation_test(fit, draws=400, random_seed=3) for _ in range(2))
    xr.testing.assert_identical(one, same)
    assert 1 / 401 <= one["pvalue"].item() <= 1


def test_too_few_arrangements_are_told():
    fit = bm.fit(bm.specify("y ~ z", trials(1, 4).assign(z=[0, 0, 1, 1]), S="v"))
    with pytest.warns(bm.AssumptionWarning, match="6 arrangements have no p value below 0.17"):
        bm.permutation_test(fit)
    more = bm.fit(bm.specify("y ~ x", trials(1, 5), S="v"))
    with pytest.warns(bm.AssumptionWarning, match="draws=1000, but there are 120 distinct arrangements"):
        bm.permutation_test(more, draws=1000)


def test_refused():
    data = nested(1)
    both = bm.fit(bm.specify("y ~ x + w", data, S="v", random="1 | g/row"))
    with pytest.raises(bm.SpecError, match="exchanged in different ways: x between groups of 'g', w between"):
        bm.permutation_test(both)
    assert 0 < bm.permutation_test(both, "x", draws=50, random_seed=1)["pvalue"].item() <= 1
    with pytest.raises(bm.SpecError, match="Intercept is the same in all rows"):
        bm.permutation_test(both, "Intercept")
    with pytest.raises(bm.SpecError, match="the model has no term 'zz'"):
        bm.permutation_test(both, "zz")
    with pytest.raises(bm.SpecError, match="one random effect for each row"):
        bm.permutation_test(both, "x", statistic="knapp-hartung")
    slopes = bm.fit(bm.specify("y ~ w", data, S="v", random="1 + w | g"), "ml")
    with pytest.raises(bm.SpecError, match="level 'g' has random slopes"):
        bm.permutation_test(slopes)
    with pytest.raises(bm.SpecError, match="of a posterior ask for intervals"):
        bm.permutation_test(make_posterior(bm.specify("y ~ x", trials(1), S="v")))
