"""Draws of a posterior tree as arrays, and the parameters that are read from them."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.kernel.draws import conditional_draws
from bayesmeta.structures import REGISTER
from bayesmeta.tree.parameters import level_structures, parameters
from bayesmeta.tree.posterior_draws import b_draws, is_posterior, psi_draws, rho_draws, tau_draws
from tests.contract.test_structures import make
from tests.support.awkward import awkward_spec
from tests.support.posteriors import make_posterior, stacked

S = ["SBB", "SBC", "SBD", "SCC", "SCD", "SDD"]
TREE = "posterior"


def smoking(structure: str) -> bm.Spec:
    """Three outcomes, some missing."""
    data = bm.datasets.load("smoking")
    return bm.specify("yB + yC + yD ~ 1", data, S=S, psi=make(structure, 3, seed=4), measure="logor")


def no_effects() -> bm.Spec:
    data = pd.DataFrame({"y": [0.1, 0.4, -0.2, 0.3, 0.0], "g": [1, 1, 2, 2, 2]})
    known = {1: np.array([[0.2, 0.1], [0.1, 0.3]]), 2: 0.1 * np.eye(3) + 0.05}
    return bm.specify("y ~ 1", data, S=known, groups="g", measure="smd")


@pytest.fixture(scope="module", params=sorted(REGISTER))
def drawn(request: pytest.FixtureRequest) -> xr.DataTree:
    return make_posterior(smoking(request.param), draws=40)


def structure_of(tree: xr.DataTree) -> str:
    return level_structures(tree)["unit"].name


def test_a_fit_is_no_posterior(drawn: xr.DataTree):
    assert is_posterior(drawn)
    assert not is_posterior(bm.fit(no_effects(), method="fixed"))
    assert not is_posterior(None)


def test_fixed_effects_are_summarised_by_their_draws(drawn: xr.DataTree):
    rows, beta = parameters(drawn, prob=0.8).query("kind == 'beta'"), stacked(drawn, TREE, "beta")
    assert list(rows["term"]) == ["yB.Intercept", "yC.Intercept", "yD.Intercept"]
    np.testing.assert_allclose(rows["estimate"].astype(float), beta.mean(0), rtol=1e-12)
    np.testing.assert_allclose(rows["se"].astype(float), beta.std(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(rows["lower"].astype(float), np.quantile(beta, 0.1, axis=0), rtol=1e-12)
    np.testing.assert_allclose(rows["upper"].astype(float), np.quantile(beta, 0.9, axis=0), rtol=1e-12)


def test_between_group_rows_stand_where_those_of_a_fit_do(drawn: xr.DataTree):
    method = "fixed" if "fixed" in drawn.attrs["psi"] else "ml"
    fit = bm.fit(bm.Spec.from_tree(drawn), method=method)
    assert list(parameters(drawn).index)[:6] == list(parameters(fit).index)[:6]
    own = {"car1": (1, 1), "hcar1": (3, 1)}.get(structure_of(drawn), (3, 3))
    assert list(parameters(drawn)["kind"]) == ["beta"] * 3 + ["tau"] * own[0] + ["rho"] * own[1]


def test_sds_and_correlations_are_those_of_psi(drawn: xr.DataTree):
    rows, psi = parameters(drawn), stacked(drawn, "derived", "psi_unit")
    if REGISTER[structure_of(drawn)].own_parameters:
        last = f"tau[unit{', yD' * (structure_of(drawn) == 'hcar1')}]"
        assert rows.loc[last, "estimate"] == pytest.approx(np.sqrt(psi[:, 2, 2]).mean(), rel=1e-12)
        per_unit = psi[:, 0, 2] / np.sqrt(psi[:, 0, 0] * psi[:, 2, 2])
        distance = np.ptp(level_structures(drawn)["unit"].positions)
        assert rows.loc["rho[unit]", "estimate"] == pytest.approx((per_unit ** (1 / distance)).mean(), rel=1e-9)
        return
    for i, one in enumerate(["yB", "yC", "yD"]):
        for j, two in enumerate(["yB", "yC", "yD"][: i + 1]):
            if i == j:
                label, draws = f"tau[unit, {one}]", np.sqrt(psi[:, i, i])
            else:
                label, draws = f"rho[unit, {two}~{one}]", psi[:, i, j] / np.sqrt(psi[:, i, i] * psi[:, j, j])
            row = rows.loc[label]
            assert row["estimate"] == pytest.approx(draws.mean(), rel=1e-12, abs=1e-15)
            if np.ptp(draws) < 1e-12:
                assert row[["se", "lower", "upper"]].isna().all()
            else:
                assert row["se"] == pytest.approx(draws.std(ddof=1), rel=1e-10)
                assert [row["lower"], row["upper"]] == pytest.approx(np.quantile(draws, [0.025, 0.975]), rel=1e-10)


def test_what_a_structure_holds_constant_has_no_interval():
    constant = {"diag": (0, 3), "id": (0, 3), "fixed": (3, 3), "cor": (0, 3), "prop": (0, 3), "unstr": (0, 0)}
    for structure, (taus, rhos) in constant.items():
        rows = parameters(make_posterior(smoking(structure), draws=20))
        missing = rows[rows["se"].isna()]
        assert [sum(missing["kind"] == kind) for kind in ("beta", "tau", "rho")] == [0, taus, rhos], structure
        assert missing["estimate"].notna().all()


def test_an_sd_that_is_zero_has_no_correlation():
    spec = bm.specify(
        "yB + yC ~ 1", bm.datasets.load("smoking"), S=["SBB", "SBC", "SCC"], psi=bm.structures.Fixed(np.diag([0, 0.2]))
    )
    tree = make_posterior(spec, draws=10)
    np.testing.assert_array_equal(tau_draws(tree, "unit"), np.tile([0, np.sqrt(0.2)], (20, 1)))
    assert np.isnan(rho_draws(tree, "unit")).all()
    assert parameters(tree).loc["tau[unit, yB]", "estimate"] == 0


def test_a_level_without_effects():
    tree = make_posterior(no_effects(), draws=10)
    assert psi_draws(tree, "g").shape == (20, 0, 0)
    assert list(parameters(tree).index) == ["beta[Intercept]"]
    assert [b.shape for b in b_draws(tree, no_effects())] == [(20, 2, 0)]


def test_random_effects_that_are_not_stored_are_drawn_again():
    spec = awkward_spec()
    tree = make_posterior(spec, draws=15, seed=5, store_b=False)
    assert "random_effects" not in tree.children
    psi = [stacked(tree, "derived", f"psi_{level}") for level in ("region", "lab")]
    expected = conditional_draws(spec.statistics, psi, stacked(tree, TREE, "beta"), np.random.default_rng(6))
    for found, again, b in zip(b_draws(tree, spec), b_draws(tree, spec), expected, strict=True):
        np.testing.assert_allclose(found, b, rtol=1e-12)
        np.testing.assert_array_equal(found, again)
    del tree[TREE].attrs["b_seed"]
    with pytest.raises(bm.SpecError, match="neither the random effects nor b_seed"):
        b_draws(tree, spec)


def test_a_level_without_effects_beside_one_with_effects():
    school, random = bm.datasets.load("school"), {"district": "0", "study": "1"}
    spec = bm.specify("effect ~ 1", school, S="var", random=random, measure="smd")
    for store_b in (True, False):
        tree = make_posterior(spec, draws=10, store_b=store_b)
        assert [b.shape for b in b_draws(tree, spec)] == [(20, 11, 0), (20, 56, 1)]
        assert list(parameters(tree).index) == ["beta[Intercept]", "tau[study, Intercept]"]
        assert bm.blup(tree, level="district", kind="residual")["upper"].item(0) == 0
        assert "district: no random effects" in str(bm.summary(tree))


def test_the_order_of_dimensions_does_not_matter():
    spec = awkward_spec()
    tree = make_posterior(spec, draws=10)
    turned = tree.copy()
    for name in (TREE, "derived"):
        turned[name] = xr.DataTree(tree[name].to_dataset().transpose(..., "draw", "chain"))
    pd.testing.assert_frame_equal(parameters(tree), parameters(turned))
    for one, two in zip(b_draws(tree, spec), b_draws(turned, spec), strict=True):
        np.testing.assert_array_equal(one, two)
