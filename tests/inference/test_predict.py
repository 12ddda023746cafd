"""Predictions, BLUPs and random effects against published fits and against dense algebra."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

import bayesmeta as bm
from bayesmeta.errors import DataError, SpecError
from tests.support import dense
from tests.support.awkward import awkward_data, awkward_new_data, awkward_spec
from tests.support.posteriors import make_posterior


@pytest.fixture(scope="module")
def bcg() -> xr.DataTree:
    return bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))


@pytest.fixture(scope="module")
def school() -> xr.DataTree:
    return bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"))


@pytest.fixture(scope="module")
def awkward() -> xr.DataTree:
    return bm.fit(awkward_spec())


def model_of(tree: xr.DataTree) -> dense.Model:
    """The fitted model with full matrices."""
    spec = bm.Spec.from_tree(tree)
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    return dense.Model(
        y=spec.y - spec.offset,
        X=spec.X,
        Z=[level.Z for level in spec.levels],
        groups=[level.index for level in spec.levels],
        S=S,
        psi=[tree["estimate"][f"psi_{level.name}"].to_numpy() for level in spec.levels],
    )


def test_blup_equals_published_ones(bcg: xr.DataTree, reference):
    published = reference("metafor/blup_influence_bcg")
    outcome, residual = bm.blup(bcg), bm.blup(bcg, kind="residual")
    for ours, theirs in (("mean", "pred"), ("se", "se"), ("lower", "lower"), ("upper", "upper")):
        np.testing.assert_allclose(outcome[ours][:, 0], published["blup"][theirs], rtol=0, atol=1e-6)
    for ours, theirs in (("mean", "pred"), ("se", "se")):
        np.testing.assert_allclose(residual[ours][:, 0], published["ranef"][theirs], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("level", "published"), [("district", "district"), ("study", "district_study")])
def test_ranef_equals_published_ones(school: xr.DataTree, reference, level: str, published: str):
    expected = reference("metafor/multilevel_school")["ranef"][published]
    found = bm.ranef(school)[level]
    assert found["mean"].dims == (f"group_{level}", f"effect_{level}")
    assert list(found[f"group_{level}"].values) == expected["label"]
    np.testing.assert_allclose(found["mean"][:, 0], expected["pred"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["se"][:, 0], expected["se"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["upper"] - found["mean"], norm.ppf(0.975) * found["se"], rtol=1e-12)


def test_paper_errors_equal_the_reference_package_s(reference):
    case = reference("mixmeta/bcg_reml_ablat")["expected"]
    found = bm.blup(bm.fit(bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar")), se="paper")
    published = np.array(case["blup"])
    for name, column in (("mean", 0), ("se", 1), ("lower", 2), ("upper", 3)):
        np.testing.assert_allclose(found[name][:, 0], published[:, column], rtol=0, atol=1e-5)


def test_prediction_interval_equals_the_published_one(bcg: xr.DataTree, reference):
    published = reference("metafor/prediction_interval_bcg")["z"]
    tau2 = bcg["estimate"]["psi_unit"].item()
    found = bm.predict(bcg, pd.DataFrame(index=["new"]), interval="prediction", df="z")
    assert found["mean"].item() == pytest.approx(published["pred"], abs=1e-6)
    assert [found["lower"].item(), found["upper"].item()] == pytest.approx(published["pi"], abs=1e-6)
    assert found["se"].item() ** 2 == pytest.approx(published["se"] ** 2 + tau2, abs=1e-6)
    confidence = bm.predict(bcg, pd.DataFrame(index=["new"]), interval="confidence", df="z")
    assert [confidence["lower"].item(), confidence["upper"].item()] == pytest.approx(published["ci"], abs=1e-6)


@pytest.mark.parametrize("level", ["region", "lab"])
@pytest.mark.parametrize("kind", ["outcome", "residual"])
@pytest.mark.parametrize("se", ["exact", "paper"])
def test_blup_is_the_dense_one(awkward: xr.DataTree, level: str, kind: str, se: str):
    model, spec = model_of(awkward), bm.Spec.from_tree(awkward)
    depth = 1 + ["region", "lab"].index(level)
    found = bm.blup(awkward, level=level, kind=kind, se=se)
    coefficients = np.concatenate([dense.coefficients(model), dense.blups(model)])
    exact, beta_cov = dense.prediction_error(model), dense.coefficient_covariance(model)
    given_beta = dense.conditional_variance(model)
    for obs, (row, outcome) in enumerate(zip(spec.row, spec.outcome_index, strict=True)):
        x0 = model.X[obs] * (kind == "outcome")
        z, groups = [Z[obs] for Z in model.Z[:depth]], dense.path(model, obs)[:depth]
        weights = dense.selector(model, x0, z, groups)
        b = weights[len(x0) :]
        variance = weights @ exact @ weights if se == "exact" else x0 @ beta_cov @ x0 + b @ given_beta @ b
        mean = weights @ coefficients + spec.offset[obs] * (kind == "outcome")
        assert found["mean"].values[row, outcome] == pytest.approx(mean, rel=1e-9, abs=1e-10)
        assert found["se"].values[row, outcome] == pytest.approx(np.sqrt(variance), rel=1e-8)


def test_blup_has_every_row_of_the_data(awkward: xr.DataTree):
    found, data = bm.blup(awkward), awkward_data()
    assert found["mean"].dims == found["upper"].dims == ("row", "outcome")
    assert list(found["row"].values) == list(data.index)
    assert list(found["outcome"].values) == ["A", "B"]
    for name in ("mean", "se", "lower", "upper"):
        missing = found[name].isnull().any("outcome")
        assert set(found["row"].values[missing]) == {"r3", "r7"}


def test_a_missing_outcome_is_predicted_from_its_groups(awkward: xr.DataTree):
    spec, data = bm.Spec.from_tree(awkward), awkward_data()
    b = {level: found["mean"] for level, found in bm.ranef(awkward).children.items()}
    row, fixed = data.loc["r20"], bm.predict(awkward)["mean"].sel(row="r20", outcome="B").item()
    region = row["region"].replace("\\", "\\\\").replace("/", "\\/")
    lab = region + "/" + row["lab"].replace("\\", "\\\\").replace("/", "\\/")
    at_lab = b["lab"].sel(group_lab=lab)
    random = b["region"].sel(group_region=region, effect_region="B") + at_lab.sel(effect_lab="B.Intercept")
    random = random + row["dose"] * at_lab.sel(effect_lab="B.dose")
    found = bm.blup(awkward)["mean"].sel(row="r20", outcome="B").item()
    assert found == pytest.approx(fixed + random.item(), rel=1e-10)
    assert not (spec.outcome_index[spec.row == spec.row_labels.index("r20")] == 1).any()


def test_predict_for_the_rows_of_the_data(awkward: xr.DataTree):
    found, spec, estimate = bm.predict(awkward, interval=None), bm.Spec.from_tree(awkward), awkward["estimate"]
    assert list(found.data_vars) == ["mean", "se"]
    assert set(found["row"].values[found["mean"].isnull().any("outcome")]) == {"r3"}  # r7 has its predictors
    mean, se = found["mean"].values, found["se"].values
    expected = spec.X @ estimate["beta"].values + spec.offset
    np.testing.assert_allclose(mean[spec.row, spec.outcome_index], expected, rtol=1e-10, atol=1e-12)
    variance = np.diag(spec.X @ estimate["beta_cov"].values @ spec.X.T)
    np.testing.assert_allclose(se[spec.row, spec.outcome_index] ** 2, variance, rtol=1e-9)


def test_predict_for_new_rows(awkward: xr.DataTree):
    new, spec = awkward_new_data(), bm.Spec.from_tree(awkward)
    found = bm.predict(awkward, new, interval="prediction", prob=0.8, df="z")
    assert list(found["row"].values) == ["x", "y", "z"]
    assert found.sel(row="z")["mean"].isnull().all()
    assert found.sel(row=["x", "y"]).notnull().all().to_array().all()
    beta = awkward["estimate"]["beta"].values
    known = bm.predict(awkward, awkward_data()[["dose", "kind", "year", "base"]])
    np.testing.assert_allclose(known["mean"].sel(row="r5"), bm.predict(awkward)["mean"].sel(row="r5"), rtol=1e-12)
    x0, dose = spec.design.fixed(new)[0], new.loc["x", "dose"]
    region, lab = (awkward["estimate"][f"psi_{level}"].values for level in ("region", "lab"))
    for j in range(2):
        z = np.eye(2)[j]
        at_lab = np.concatenate([z, dose * z])
        variance = x0[j] @ awkward["estimate"]["beta_cov"].values @ x0[j] + z @ region @ z + at_lab @ lab @ at_lab
        cell = found.isel(row=0, outcome=j)
        assert cell["mean"].item() == pytest.approx(x0[j] @ beta + 0.1, rel=1e-12)
        assert cell["se"].item() == pytest.approx(np.sqrt(variance), rel=1e-12)
        half = norm.ppf(0.9) * cell["se"].item()
        assert cell["lower"].item() == pytest.approx(cell["mean"].item() - half, rel=1e-10)
        assert cell["upper"].item() == pytest.approx(cell["mean"].item() + half, rel=1e-10)


def test_intervals_say_what_they_are(awkward: xr.DataTree):
    new = awkward_new_data()
    assert "new unit in a new group" in bm.predict(awkward, new, interval="prediction").attrs["se"]
    confidence = bm.predict(awkward, new, interval="confidence")
    assert confidence.attrs == {
        "se": "standard error of the mean",
        "interval": "confidence",
        "prob": 0.95,
        "vcov": "model",
        "df": "satterthwaite-scaled",
    }
    assert list(confidence.data_vars) == ["mean", "se", "lower", "upper"]
    assert bm.blup(awkward).attrs == {"level": "lab", "kind": "outcome", "se": "exact", "prob": 0.95}


def test_new_rows_in_other_forms(school: xr.DataTree):
    ablat = bm.fit(bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar"))
    frame = bm.predict(ablat, pd.DataFrame({"ablat": [10.0, 40.0]}))
    xr.testing.assert_identical(bm.predict(ablat, {"ablat": [10, 40]}), frame)
    xr.testing.assert_identical(bm.predict(ablat, {"ablat": 10}), frame.isel(row=[0]))
    beta = ablat["estimate"]["beta"].values
    np.testing.assert_allclose(frame["mean"][:, 0], beta[0] + beta[1] * np.array([10, 40]), rtol=1e-12)


def test_new_rows_without_a_predictor_or_with_an_unseen_category(awkward: xr.DataTree):
    new = awkward_new_data()
    with pytest.raises(DataError, match="kind"):
        bm.predict(awkward, new.drop(columns="kind"))
    with pytest.raises(DataError, match="base"):
        bm.predict(awkward, new.drop(columns="base"))
    with pytest.raises(DataError, match=r"kind.*'none'"):
        bm.predict(awkward, new.assign(kind=["none", "low", "mid"]))
    with pytest.raises(DataError, match="newdata is the text"):
        bm.predict(awkward, "kind")


@pytest.mark.parametrize("method", ["fit", "posterior"])
def test_no_columns_are_one_row_where_no_predictor_is_needed(method: str):
    bcg = bm.datasets.load("bcg")
    spec = bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor")
    tree = bm.fit(spec) if method == "fit" else make_posterior(spec, draws=50)
    pooled = bm.predict(tree, {}, interval="prediction")
    assert pooled.sizes == {"row": 1, "outcome": 1}
    xr.testing.assert_allclose(pooled.squeeze(drop=True), bm.predict(tree, bcg[:1], "prediction").squeeze(drop=True))
    with pytest.raises(DataError, match="ablat"):
        bm.predict(bm.fit(bm.specify("logor ~ ablat", bcg, S="logorvar")), {})


@pytest.mark.parametrize("empty", [pd.DataFrame(), pd.DataFrame({"ablat": []}), {"ablat": []}])
def test_new_data_without_rows_are_refused(empty):
    for formula in ("logor ~ 1", "logor ~ ablat"):
        fit = bm.fit(bm.specify(formula, bm.datasets.load("bcg"), S="logorvar"))
        with pytest.raises(DataError, match="newdata has no rows"):
            bm.predict(fit, empty)


@pytest.mark.parametrize("form", [dict, pd.DataFrame])
def test_columns_that_the_model_does_not_use_are_mentioned(form):
    bcg = bm.datasets.load("bcg")
    fit = bm.fit(bm.specify("logor ~ ablat", bcg, S="logorvar", random="1 | trial"))
    with pytest.warns(bm.AssumptionWarning, match="does not use these columns of newdata: ablt; did you mean 'ablat'"):
        found = bm.predict(fit, form({"ablat": [33.0], "ablt": [44.0], "trial": ["1"]}))
    xr.testing.assert_identical(found, bm.predict(fit, form({"ablat": [33.0]})))
    bm.predict(fit, bcg)  # a whole data set, whose other columns are no mistake


@pytest.mark.parametrize("method", ["fit", "posterior"])
def test_a_row_dropped_for_its_outcome_is_predicted(method: str):
    data = bm.datasets.load("bcg")
    data.loc[[3, 5], "logor"] = np.nan
    data.loc[7, ["logor", "ablat"]] = np.nan
    data.loc[9, ["logor", "ablat"]] = np.nan, -1.0  # no logarithm
    data.loc[11, "logor"], data.loc[11, "alloc"] = np.nan, "never seen in a row kept"
    spec = bm.specify("logor ~ log(ablat) + alloc", data, S="logorvar", measure="logor")
    tree = bm.fit(spec) if method == "fit" else make_posterior(spec, draws=50)
    found = bm.predict(tree, interval="confidence")
    assert set(np.flatnonzero(found["mean"].isnull())) == {7, 9, 11}
    new = bm.predict(tree, data.loc[[3, 5], ["ablat", "alloc"]], interval="confidence")
    xr.testing.assert_allclose(found.isel(row=[3, 5]).drop_vars("name"), new)


def test_fixed_effects_have_no_random_part():
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"), method="fixed")
    found, fixed = bm.blup(fit), bm.predict(fit)
    np.testing.assert_allclose(found["mean"], fixed["mean"], rtol=1e-12)
    np.testing.assert_allclose(found["se"], fixed["se"], rtol=1e-12)
    np.testing.assert_array_equal(bm.ranef(fit)["unit"]["mean"], 0)
    np.testing.assert_array_equal(bm.ranef(fit)["unit"]["se"], 0)


def test_a_level_without_effects(reference):
    data = pd.DataFrame({"y": [0.1, 0.4, -0.2, 0.3, 0.0], "g": [1, 1, 2, 2, 2]})
    S = {1: np.array([[0.2, 0.1], [0.1, 0.3]]), 2: 0.1 * np.eye(3) + 0.05}
    fit = bm.fit(bm.specify("y ~ 1", data, S=S, groups="g"), method="fixed")
    assert bm.ranef(fit)["g"]["mean"].shape == (2, 0)
    np.testing.assert_allclose(bm.blup(fit)["se"], bm.predict(fit)["se"], rtol=1e-12)
    np.testing.assert_array_equal(bm.blup(fit, kind="residual")["mean"], 0)


@pytest.mark.parametrize("prob", [0, 1, 95, -0.1, np.nan])
def test_prob_is_a_probability(school: xr.DataTree, prob: float):
    for ask in (bm.predict, bm.blup, bm.ranef):
        with pytest.raises(SpecError, match=f"prob is {prob}; it must lie strictly between 0 and 1"):
            ask(school, prob=prob)


def test_wrong_arguments_are_named(school: xr.DataTree):
    with pytest.raises(SpecError, match=r"no level 'distrit'; did you mean 'district'\?\n.*district, study"):
        bm.blup(school, level="distrit")
    with pytest.raises(SpecError, match=r"kind is 'residuals'; did you mean 'residual'\?"):
        bm.blup(school, kind="residuals")
    with pytest.raises(SpecError, match="se is 'robust'"):
        bm.blup(school, se="robust")
    with pytest.raises(SpecError, match="interval is 'credible'"):
        bm.predict(school, interval="credible")


def test_a_tree_without_estimates(school: xr.DataTree):
    without = school.copy()
    del without["estimate"]
    for ask in (bm.predict, bm.blup, bm.ranef):
        with pytest.raises(SpecError, match="no group /estimate in this tree; its groups: criteria"):
            ask(without)
        with pytest.raises(SpecError, match="expected the results tree"):
            ask(school["estimate"].to_dataset())
