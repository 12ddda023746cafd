"""Small-sample inference: exact special cases, what is invariant, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta.inference.adjusted import KINDS, moments_of_f
from bayesmeta.kernel.sandwich import KINDS as SANDWICHES
from tests.support.dense_corrections import Corrections, dense_model
from tests.support.posteriors import make_posterior

DFS = [*KINDS]
BERKEY = ["var_PD", "cov_PD_AL", "var_AL"]


def one(n, seed=1, v=0.1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"y": rng.normal(0, 0.8, n), "v": np.broadcast_to(v, n), "x": rng.normal(size=n)})


def bcg(formula="logor ~ ablat", **options):
    return bm.specify(formula, bm.datasets.load("bcg"), S="logorvar", **options)


def school(formula="effect ~ year", **options):
    options = {"random": "1 | district/study", **options}
    return bm.specify(formula, bm.datasets.load("school"), S="var", **options)


@pytest.mark.parametrize("df", ["kenward-roger", "satterthwaite"])
def test_equal_variances_are_ordinary_regression(df):
    """Then Sigma is a multiple of the identity: nothing to correct, and n - p degrees of freedom."""
    fit = bm.fit(bm.specify("y ~ x", one(12), S="v"))
    plain, own = bm.estimates(fit, df="z"), bm.estimates(fit, df=df)
    np.testing.assert_allclose(own["se"][:2], plain["se"][:2], rtol=1e-10)
    np.testing.assert_allclose(own["df"][:2], 10, rtol=1e-10)
    joint = bm.wald_test(fit, contrast=np.eye(2), df=df)
    assert joint["df2"] == pytest.approx(10, rel=1e-9)
    assert joint["statistic"] == pytest.approx(
        float(bm.wald_test(fit, contrast=np.eye(2), df="z")["statistic"]) / 2, rel=1e-9
    )


@pytest.mark.parametrize("m", [4, 5, 6, 12])
def test_the_same_sampling_covariance_everywhere_is_hotelling(m):
    """q means of m studies: T2 with nu = m - 1 is F with lambda = m2 / nu and m2 = nu - q + 1, also at m2 = 2 and 4."""
    rng, q = np.random.default_rng(m), 2
    Y = rng.multivariate_normal([0.2, -0.4], [[1.0, 0.4], [0.4, 0.7]], m) * 3
    data = pd.DataFrame({"a": Y[:, 0], "b": Y[:, 1], "v11": 0.05, "c": 0.02, "v22": 0.08})
    fit = bm.fit(bm.specify("a + b ~ 1", data, S=["v11", "c", "v22"]))
    test, nu = bm.wald_test(fit, contrast=np.eye(2), df="kenward-roger"), m - 1
    assert test["df2"] == pytest.approx(nu - q + 1, rel=1e-6)
    T2 = m * Y.mean(0) @ np.linalg.solve(np.cov(Y.T), Y.mean(0))
    assert test["statistic"] == pytest.approx((nu - q + 1) / (nu * q) * T2, rel=1e-5)


@pytest.mark.parametrize(("q", "nu"), [(q, nu) for q in (2, 3, 5) for nu in (*range(q, 12), 30)])
def test_moments_of_hotelling(q, nu):
    """A covariance with nu degrees of freedom: A1 = 2 q / nu, A2 = q (q + 1) / nu; m = 2 and m = 4 are among them."""
    assert moments_of_f(q, 2 * q / nu, q * (q + 1) / nu) == pytest.approx((nu - q + 1, (nu - q + 1) / nu), rel=1e-10)


def test_a_balanced_layout_has_groups_less_one():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 3), "v": 0.1})
    data["y"] = rng.normal(0, 1, 8)[data["g"]] + rng.normal(0, 0.3, 24)
    data["row"] = np.arange(24)
    fit = bm.fit(bm.specify("y ~ 1", data, S="v", random="1 | g/row"))
    own = bm.estimates(fit, df="kenward-roger").iloc[0]
    assert own["df"] == pytest.approx(7, rel=1e-8)
    assert own["se"] == pytest.approx(bm.estimates(fit).iloc[0]["se"], rel=1e-8)


def test_kenward_roger_has_the_moments_of_the_original_where_that_is_defined():
    rng = np.random.default_rng(2)
    for _ in range(300):
        q = int(rng.integers(2, 6))
        A2 = rng.uniform(0.05, 1.5)
        A1 = rng.uniform(0.3, 1.0) * q * A2
        m, scale = moments_of_f(q, A1, A2)
        expected = original(q, A1, A2)
        if min(abs(expected[0] - 2), abs(expected[0] - 4)) > 0.01:
            assert (m, scale) == pytest.approx(expected, rel=1e-8)


def original(q, A1, A2):
    """Kenward and Roger (1997), section 3, as printed."""
    B = (A1 + 6 * A2) / (2 * q)
    g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    h = 3 * q + 2 * (1 - g)
    c1, c2, c3 = g / h, (q - g) / h, (q + 2 - g) / h
    E = 1 / (1 - A2 / q)
    V = 2 / q * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
    m = 4 + (q + 2) / (q * V / (2 * E**2) - 1)
    return m, m / (E * (m - 2))


def test_dense_and_own_joint_tests_are_the_same():
    fit = bm.fit(school("effect ~ year"))
    spec = bm.Spec.from_tree(fit)
    psi = [fit["estimate"][f"psi_{level.name}"].to_numpy() for level in spec.levels]
    dense = Corrections(dense_model(spec, psi), [np.ones((1, 1, 1))] * 2)
    m, scale = dense.kenward_roger(np.eye(2))
    own = bm.wald_test(fit, contrast=np.eye(2), df="kenward-roger")
    beta = fit["estimate"]["beta"].to_numpy()
    assert own["df2"] == pytest.approx(m, rel=1e-6)
    assert own["statistic"] == pytest.approx(scale * beta @ np.linalg.solve(dense.adjusted, beta) / 2, rel=1e-6)


@pytest.mark.parametrize("how", [*({"df": df} for df in DFS), *({"vcov": kind} for kind in ("CR0", "CR2", "CR3"))])
def test_units_of_y_and_x_do_not_matter(how):
    data = bm.datasets.load("bcg")
    scaled = data.assign(logor=1e3 * data["logor"], logorvar=1e6 * data["logorvar"], ablat=1e-4 * data["ablat"])
    fit, other = (bm.fit(bm.specify("logor ~ ablat", d, S="logorvar")) for d in (data, scaled))
    own, there = bm.estimates(fit, **how).iloc[:2], bm.estimates(other, **how).iloc[:2]
    np.testing.assert_allclose(there["se"], own["se"] * [1e3, 1e7], rtol=1e-5)
    np.testing.assert_allclose(there["df"], own["df"], rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*less than one degree of freedom")
def test_satterthwaite_and_kenward_roger_are_the_same_in_other_units_of_the_random_part():
    for psi in ("unstr", "diag", "hcs"):
        fits = []
        for factor in (1.0, 1e-3):
            data = bm.datasets.load("school")
            data["years"] = (data["year"] - 1990) * factor
            fits.append(bm.fit(bm.specify("effect ~ years", data, S="var", random="1 + years | district", psi=psi)))
        first, second = (bm.estimates(fit, df="kenward-roger").iloc[:2] for fit in fits)
        np.testing.assert_allclose(first["df"], second["df"], rtol=1e-3)


@pytest.mark.parametrize(("psi", "linear"), [("unstr", True), ("cs", True), ("hcs", False), ("har1", False)])
def test_second_derivatives_matter_where_psi_is_not_linear(psi, linear):
    fit = bm.fit(bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi))
    first, second = (bm.estimates(fit, df=df)[:2] for df in ("kenward-roger", "kenward-roger-second-order"))
    np.testing.assert_array_equal(first["df"], second["df"])
    assert np.allclose(first["se"], second["se"], rtol=1e-9) == linear
    assert bm.estimates(fit, df="kenward-roger-second-order").attrs["df"] == "kenward-roger-second-order"


def test_a_corrected_covariance_that_is_none_is_refused(monkeypatch):
    """The term of second derivatives may outweigh all else, here because it is made a thousand times as large."""
    fit = bm.fit(
        bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"], psi="hcs")
    )
    bends = bm.structures.HetCompoundSymmetry.variance_bends
    monkeypatch.setattr(bm.structures.HetCompoundSymmetry, "variance_bends", lambda *at: 1e3 * bends(*at))
    with pytest.raises(bm.SpecError, match='not positive definite\n  take df="kenward-roger", which'):
        bm.estimates(fit, df="kenward-roger-second-order")


def test_two_levels_with_the_same_groups_alias_each_other():
    """One study for each district: their sum is what the data know, and the test is that of one level."""
    data = bm.datasets.load("bcg").assign(district=lambda d: d["trial"])
    one_level = bm.fit(bm.specify("logor ~ 1", data, S="logorvar", random="1 | trial"))
    with pytest.warns(bm.BayesmetaWarning):
        both = bm.fit(bm.specify("logor ~ 1", data, S="logorvar", random="1 | district/trial"))
    expected = bm.estimates(one_level, df="kenward-roger").iloc[0]
    own = bm.estimates(both, df="kenward-roger").iloc[0]
    assert own["df"] == pytest.approx(expected["df"], rel=1e-4)
    assert own["se"] == pytest.approx(expected["se"], rel=1e-4)


def test_a_single_outer_group_leaves_its_mean_without_a_test():
    data = bm.datasets.load("school").assign(country="US")
    with pytest.warns(bm.BayesmetaWarning):
        fit = bm.fit(bm.specify("effect ~ year", data, S="var", random="1 | country/study"))
    with pytest.warns(bm.BoundaryWarning, match=r"beta\[Intercept\]: no test"):
        own = bm.estimates(fit, df="satterthwaite")
    assert np.isnan(own["df"].iloc[0])
    assert own["df"].iloc[1] > 1  # the slope does not rest on the variance between countries


@pytest.mark.parametrize("method", ["ml", "fixed", "dl"])
@pytest.mark.parametrize("df", ["kenward-roger", "satterthwaite", "satterthwaite-scaled"])
def test_corrections_are_for_reml(method, df):
    with pytest.raises(bm.SpecError, match="is for fits by REML"):
        bm.estimates(bm.fit(bcg(), method), df=df)


def test_knapp_hartung_is_for_one_outcome_with_rows_as_groups():
    for fit in (bm.fit(school()), bm.fit(bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=BERKEY))):
        with pytest.raises(bm.SpecError, match="kenward-roger"):
            bm.estimates(fit, df="knapp-hartung")


def test_a_posterior_has_its_own_intervals():
    tree = make_posterior(bcg())
    for how in ({"df": "residual"}, {"vcov": "CR2"}):
        with pytest.raises(bm.SpecError, match="is for fits"):
            bm.estimates(tree, **how)
    with pytest.raises(bm.SpecError, match="is for fits"):
        bm.wald_test(tree)


def test_the_ad_hoc_variant_never_shrinks():
    data = one(8, seed=5, v=1.0)
    fit = bm.fit(bm.specify("y ~ 1", data, S="v"))
    plain, shrunk, kept = (bm.estimates(fit, df=df).iloc[0]["se"] for df in ("residual", *DFS[-2:]))
    assert shrunk < plain == pytest.approx(kept)


def scale_of(fit, df="satterthwaite-scaled"):
    """By how much the variances of the coefficients are larger than those of the model."""
    own, plain = (bm.estimates(fit, df=kind).query("kind == 'beta'")["se"] for kind in (df, "satterthwaite"))
    ratios = (own / plain) ** 2
    np.testing.assert_allclose(ratios, ratios.iloc[0], rtol=1e-12)
    return ratios.iloc[0]


@pytest.mark.parametrize(
    "spec",
    [
        school(),
        school("effect ~ year", offset="var"),
        school(random="1 + year | district", psi="diag"),
        bm.specify("PD + AL ~ pubyear", bm.datasets.load("berkey98"), S=BERKEY),
    ],
    ids=["nested", "offset", "slopes", "outcomes"],
)
def test_the_scale_is_the_mean_square_of_the_weighted_residuals(spec):
    fit = bm.fit(spec)
    dense = dense_model(spec, [fit["estimate"][f"psi_{level.name}"].to_numpy() for level in spec.levels])
    residual = dense.y - dense.X @ fit["estimate"]["beta"].to_numpy()
    Sigma = np.linalg.inv(Corrections(dense, []).inverse)
    n, p = dense.X.shape
    expected = residual @ np.linalg.solve(Sigma, residual) / (n - p)
    assert scale_of(fit) == pytest.approx(expected, rel=1e-8)
    assert abs(expected - 1) > 1e-3
    tests = {df: bm.wald_test(fit, contrast=np.eye(p), df=df) for df in ("satterthwaite", "satterthwaite-scaled")}
    plain, scaled = tests.values()
    assert scaled["statistic"] == pytest.approx(float(plain["statistic"]) / expected, rel=1e-8)
    assert scaled["df2"] == plain["df2"]


def test_effects_that_agree_by_chance_shrink_no_more_than_a_quarter_of_such_data_would():
    equal = pd.DataFrame({"y": [0.2] * 12, "v": 0.1, "group": np.arange(12) // 3, "row": np.arange(12)})
    fit = bm.fit(bm.specify("y ~ 1", equal, S="v", random="1 | group/row"))
    assert scale_of(fit) == pytest.approx(chi2.ppf(0.25, 11) / 11, rel=1e-12)
    lower, upper = bm.estimates(fit).loc["beta[Intercept]", ["lower", "upper"]]
    assert lower < 0.2 < upper


def test_with_one_effect_a_row_the_scale_is_that_of_knapp_and_hartung():
    fit = bm.fit(bcg())
    assert scale_of(fit) == pytest.approx(scale_of(fit, "knapp-hartung"), rel=1e-8)


def test_no_degrees_of_freedom_are_left():
    with pytest.warns(bm.BayesmetaWarning):
        fit = bm.fit(bm.specify("y ~ x", one(2), S="v"))
    with pytest.raises(bm.SpecError, match="leave no degrees of freedom"):
        bm.estimates(fit, df="residual")


CLUSTERS = [
    ({"kind": "CR2", "cluster": "study"}, "split group"),
    ({"kind": "CR2", "cluster": "distrikt"}, "did you mean 'district'"),
    ({"kind": "CR2", "cluster": None}, None),
    ({"kind": "CR2", "clusters": "district"}, "unknown key"),
    ({"cluster": "district"}, "kind"),
    ({"kind": "CR2", "cluster": "same"}, "there is one"),
    ({"kind": "CR2", "cluster": ["district"]}, "no column"),
    ("CR4", "did you mean"),
    (2, "vcov is 2"),
    (True, "vcov is True"),
]


@pytest.mark.parametrize(("vcov", "message"), CLUSTERS)
def test_clusters(vcov, message):
    fit = bm.fit(
        bm.specify("effect ~ year", bm.datasets.load("school").assign(same=1), S="var", random="1 | district/study")
    )
    if message is None:
        assert bm.estimates(fit, vcov=vcov).attrs["n_clusters"] == 11
        return
    with pytest.raises(bm.SpecError, match=message):
        bm.estimates(fit, vcov=vcov)


def test_a_row_without_a_cluster_is_named():
    data = bm.datasets.load("bcg").assign(region=["a", "b", None] + ["c"] * 10)
    with pytest.raises(bm.DataError, match="column 'region' has no cluster in row 2"):
        bm.estimates(bm.fit(bm.specify("logor ~ 1", data, S="logorvar")), vcov={"kind": "CR2", "cluster": "region"})


def test_a_coefficient_that_one_cluster_determines_has_no_test():
    data = bm.datasets.load("bcg").assign(first=[1.0] + [0.0] * 12)
    fit = bm.fit(bm.specify("logor ~ first", data, S="logorvar"))
    for kind in ("CR0", "CR2"):
        with pytest.warns(bm.BoundaryWarning, match=r"beta\[first\]: no test"):
            own = bm.estimates(fit, vcov=kind)
        assert np.isnan(own["df"].iloc[1])
        assert np.isfinite(own["df"].iloc[0])
    with pytest.raises(bm.SpecError, match="coefficient first cannot be estimated"):
        bm.estimates(fit, vcov="CR3")


def test_variances_too_unequal_for_cr2_are_refused():
    data = one(10).assign(v=[1e-9, *[1.0] * 9], cluster=[1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    fit = bm.fit(bm.specify("y ~ 1", data, S="v"), "fixed")
    with pytest.raises(bm.DataError, match="differ by a factor"):
        bm.estimates(fit, vcov={"kind": "CR2", "cluster": "cluster"})


def test_what_was_used_is_in_the_attributes():
    fit = bm.fit(school())
    assert bm.estimates(fit).attrs["df"] == "satterthwaite-scaled"
    assert bm.estimates(fit, vcov="CR2").attrs == {
        "prob": 0.95,
        "scale": "model",
        "vcov": "CR2",
        "df": "satterthwaite",
        "cluster": "district",
        "n_clusters": 11,
    }
    assert bm.confint(fit, df="residual").attrs["df"] == "residual"
    with pytest.raises(bm.SpecError, match='df is for method="wald"'):
        bm.confint(fit, "profile", df="residual")


def test_the_page_runs_and_names_every_kind():
    page = (Path(__file__).parents[2] / "docs/small_samples.md").read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(code, {})
    assert {kind for kind in [*KINDS, *SANDWICHES] if f'"{kind}"' not in page} == set()


@pytest.mark.parametrize("given", [{"draws": 1999}, {"random_seed": 1}])
def test_draws_belong_to_what_draws(given):
    fit = bm.fit(bcg())
    with pytest.raises(bm.SpecError, match='has no effect here: it belongs to df="nagashima"'):
        bm.predict(fit, interval="prediction", df="riley", **given)
    with pytest.raises(bm.SpecError, match='has no effect here: it belongs to bootstrap="wild"'):
        bm.wald_test(fit, vcov="CR2", **given)


def test_every_function_gives_the_same_intervals():
    fit = bm.fit(school("effect ~ I(year - 1990)"))
    for how in ({"df": "kenward-roger"}, {"vcov": "CR2"}, {"vcov": "CR1", "df": "residual"}):
        expected = bm.estimates(fit, **how).iloc[:2]
        interval = bm.confint(fit, parameters="beta", **how).to_dataframe()
        compared = bm.compare(a=fit, **how).to_dataframe()["a"].iloc[:2]
        page = bm.summary(fit, **how).to_dataframe().iloc[:2]
        test = bm.wald_test(fit, contrast=np.eye(2), **how)
        for name in ("se", "lower", "upper"):
            for own in (interval[name], compared[name], page[name], test[name]):
                np.testing.assert_allclose(own, expected[name], rtol=1e-12)
        row = bm.predict(fit, {"year": 1990}, **how)
        assert row["lower"].item() == pytest.approx(expected["lower"].iloc[0])
