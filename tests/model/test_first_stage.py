"""Coefficients of a first stage, in every form in which people have them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm

B = np.array([[0.2, 0.5], [0.1, 0.3], [0.4, -0.2]])
V = np.array([[[0.01, 0.002], [0.002, 0.02]], [[0.02, 0.001], [0.001, 0.03]], [[0.03, 0.0], [0.0, 0.01]]])
PLACES = ["Athens", "Berlin", "Cairo"]
NAMES = ["b1", "b2"]


def pairs(make=lambda b, v: (b, v)):
    return {place: make(b, v) for place, b, v in zip(PLACES, B, V, strict=True)}


def named(b, v):
    return pd.Series(b, index=NAMES), pd.DataFrame(v, NAMES, NAMES)


def of_r(b, v):
    """As rdata reads a named vector and a matrix with dimnames."""
    rows = xr.DataArray(b, {"dim_0": NAMES}, ("dim_0",))
    return {"coefficients": rows, "vcov": xr.DataArray(v, {"dim_0": NAMES, "dim_1": NAMES}, ("dim_0", "dim_1"))}


def of_statsmodels(b, v):
    return SimpleNamespace(params=pd.Series(b, index=NAMES), cov_params=lambda: pd.DataFrame(v, NAMES, NAMES))


def of_statsmodels_arrays(b, v):
    return SimpleNamespace(params=b, cov_params=lambda: v, model=SimpleNamespace(exog_names=NAMES))


def of_linearmodels(b, v):
    return SimpleNamespace(params=pd.Series(b, index=NAMES), cov=pd.DataFrame(v, NAMES, NAMES))


def of_pyfixest(b, v):
    return SimpleNamespace(coef=lambda: pd.Series(b, index=NAMES), _vcov=v)


def of_glum(b, v):
    return SimpleNamespace(coef_=b[1:], intercept_=b[0], covariance_matrix_=v, feature_names_=["b2"])


def of_failed():
    def cov_params():
        raise ValueError("no Hessian")

    return SimpleNamespace(params=B[0], cov_params=cov_params)


def of_glum_alone():
    return SimpleNamespace(coef_=B[0], intercept_=0.1, covariance_matrix_=None)


FORMS = [named, of_r, of_statsmodels, of_statsmodels_arrays, of_linearmodels, of_pyfixest]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
def test_forms(form):
    data, S = bm.from_first_stage(pairs(form))
    assert list(data.columns) == ["place", *NAMES]
    assert data["place"].tolist() == PLACES
    np.testing.assert_array_equal(data[NAMES], B)
    np.testing.assert_array_equal(S, V)


def test_glum_keeps_its_intercept_apart():
    data, S = bm.from_first_stage(pairs(of_glum))
    assert list(data.columns) == ["place", "Intercept", "b2"]
    np.testing.assert_array_equal(S, V)


def test_all_places_in_one_matrix():
    coef = pd.DataFrame(B, PLACES, NAMES)
    data, S = bm.from_first_stage({"coef": coef, "vcov": dict(zip(PLACES, V, strict=True))})
    assert data["place"].tolist() == PLACES
    np.testing.assert_array_equal(data[NAMES], B)
    np.testing.assert_array_equal(S, V)
    plain, _ = bm.from_first_stage({"coef": B, "vcov": V})
    assert plain["place"].tolist() == ["1", "2", "3"]
    assert list(plain.columns[1:]) == ["coef1", "coef2"]


def test_arrays_and_triangles_as_R_makes_them():
    """As many places as coefficients, and others: with places last, and triangles by columns."""
    rng = np.random.default_rng(3)
    for n, k in ((2, 3), (3, 3), (4, 2)):
        root = rng.normal(size=(n, k, k))
        b, v = rng.normal(size=(n, k)), root @ root.mT + 0.1 * np.eye(k)
        row, col = zip(*((i, j) for j in range(k) for i in range(j, k)), strict=True)
        for vcov in (list(v), v, np.stack(list(v), axis=-1), v[:, row, col], pd.DataFrame(v[:, row, col])):
            data, S = bm.from_first_stage({"coef": b, "vcov": vcov})
            np.testing.assert_array_equal(S, v)
            np.testing.assert_array_equal(data.iloc[:, 1:], b)


def test_all_models_of_a_split_are_read_with_their_samples():
    models = [
        SimpleNamespace(**vars(of_pyfixest(b, v)), _sample_split_value=p) for b, v, p in zip(B, V, PLACES, strict=True)
    ]
    split = SimpleNamespace(to_list=lambda: models, all_fitted_models={})
    data, S = bm.from_first_stage(split)
    assert data["place"].tolist() == PLACES
    np.testing.assert_array_equal(S, V)


def test_some_coefficients_of_larger_models():
    def larger(b, v):
        full = np.eye(4)
        full[1:3, 1:3] = v
        names = ["Intercept", "cb_1", "cb_2", "humidity"]
        return pd.Series([3.0, *b, 9.0], index=names), pd.DataFrame(full, names, names)

    data, S = bm.from_first_stage(pairs(larger), names="cb*")
    np.testing.assert_array_equal(data[["cb_1", "cb_2"]], B)
    np.testing.assert_array_equal(S, V)


def test_coefficients_in_another_order_are_matched_by_name():
    turned = pairs(named)
    b, v = turned["Berlin"]
    turned["Berlin"] = (b[::-1], v.iloc[::-1, ::-1])
    data, S = bm.from_first_stage(turned)
    np.testing.assert_array_equal(data[NAMES], B)
    np.testing.assert_array_equal(S, V)


def test_the_fit_is_that_of_the_same_numbers_by_hand():
    data, S = bm.from_first_stage(pairs())
    by_hand = pd.DataFrame(B, columns=["u", "w"])
    fits = [bm.fit(bm.specify(f, d, S=S)) for f, d in (("coef1 + coef2 ~ 1", data), ("u + w ~ 1", by_hand))]
    assert float(fits[0]["criteria"]["loglik"]) == float(fits[1]["criteria"]["loglik"])


def test_predictors_are_joined_by_label():
    for frame in (
        pd.DataFrame({"mean": [3.0, 1.0, 2.0]}, index=["Cairo", "Athens", "Berlin"]),
        pd.DataFrame({"mean": [3.0, 1.0, 2.0], "city": ["Cairo", "Athens", "Berlin"]}),
    ):
        data, _ = bm.from_first_stage(pairs(), data=frame)
        assert data["mean"].tolist() == [1.0, 2.0, 3.0]
    in_order, _ = bm.from_first_stage([*pairs().values()], data=pd.DataFrame({"mean": [1.0, 2.0, 3.0]}))
    assert in_order["mean"].tolist() == [1.0, 2.0, 3.0]


def test_rows_without_a_place_are_told():
    frame = pd.DataFrame({"mean": range(4)}, index=[*PLACES, "Dakar"])
    with pytest.warns(bm.AssumptionWarning, match="1 rows of data belong to no place: Dakar"):
        bm.from_first_stage(pairs(), data=frame)


def test_a_coefficient_that_was_not_estimated():
    some = pairs()
    some["Berlin"] = ([0.1, np.nan], [[0.02, np.nan], [np.nan, np.nan]])
    data, S = bm.from_first_stage(some)
    spec = bm.specify("coef1 + coef2 ~ 1", data, S=S)
    assert len(spec.y) == 5
    assert bool(bm.fit(spec)["optimizer"]["converged"])


def one(coef=B[0], cov=V[0]):
    return pairs() | {"Berlin": (coef, cov)}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (one(cov=V[0][:1]), "place 'Berlin' has 2 coefficients, and a covariance of shape"),
        (one(cov=[[1.0, 0.5], [0.4, 1.0]]), "covariance of place 'Berlin' is not symmetric"),
        (one(cov=[[1.0, 1.2], [1.2, 1.0]]), "covariance of place 'Berlin' is not positive semi-definite"),
        (one(cov=[[0.0, 0.0], [0.0, 1.0]]), "sampling variance of place 'Berlin' is 0"),
        (one(cov=[[np.nan, 0.0], [0.0, 1.0]]), "covariance of place 'Berlin' has missing entries"),
        (one(coef=[np.inf, 1.0]), "coefficient of place 'Berlin' is infinite"),
        (one(coef=[0.1], cov=[[1.0]]), "place 'Berlin' has the coefficients coef1; place 'Athens' has coef1, coef2"),
        (one(coef=["a", "b"]), "Berlin"),
        (pairs() | {"Berlin": 3}, "place 'Berlin' is 3"),
        ([], "results is empty"),
        ("first.rds", "results is 'first.rds'"),
        ({"coef": B, "vcov": V[:2]}, "'coef' has 3 places, 'vcov' 2 matrices"),
        (one(cov=np.eye(3)), r"place 'Berlin' has 2 coefficients, and a covariance of shape \(3, 3\)"),
        (one(cov=[0.1, 0.2]), r"place 'Berlin' has 2 coefficients, and a covariance of shape \(2,\)"),
        (
            pairs() | {"Berlin": of_failed()},
            "place 'Berlin' is a SimpleNamespace that gives no .*: ValueError: no Hessian",
        ),
        (
            pairs() | {"Berlin": of_glum_alone()},
            "'Berlin' is a SimpleNamespace without .*\n.*store_covariance_matrix=True",
        ),
    ],
)
def test_what_does_not_fit_names_the_place(results, message):
    with pytest.raises(bm.BayesmetaError, match=message):
        bm.from_first_stage(results)


def test_names_that_contradict_each_other():
    b, v = named(B[1], V[1])
    with pytest.raises(bm.DataError, match="the coefficients of place 'Berlin' are b1, b2"):
        bm.from_first_stage(pairs(named) | {"Berlin": (b, v.iloc[::-1, ::-1])})
    with pytest.raises(bm.SpecError, match="names: no coefficient 'b3'"):
        bm.from_first_stage(pairs(named), names=["b1", "b3"])
    with pytest.raises(bm.DataError, match="two places are called 'x'"):
        bm.from_first_stage([*pairs().values()], labels=["x", "x", "y"])
    with pytest.raises(bm.SpecError, match="labels has 2 entries"):
        bm.from_first_stage([*pairs().values()], labels=["x", "y"])
    for missing in (None, float("nan"), " "):
        with pytest.raises(bm.DataError, match="labels has no name for place 2"):
            bm.from_first_stage([*pairs().values()], labels=["x", missing, "y"])
    with pytest.raises(bm.DataError, match="data has no row for place 'Cairo'"):
        bm.from_first_stage(pairs(), data=pd.DataFrame({"mean": [1, 2]}, index=PLACES[:2]))
    with pytest.raises(bm.DataError, match="neither the index nor a column"):
        bm.from_first_stage(pairs(), data=pd.DataFrame({"mean": [1, 2, 3]}))
    with pytest.raises(bm.DataError, match="data has two rows for place 'Athens'"):
        bm.from_first_stage(pairs(), data=pd.DataFrame({"mean": range(4)}, index=[*PLACES, "Athens"]))
    with pytest.raises(bm.SpecError, match="column 'coef1', which is also a coefficient"):
        bm.from_first_stage(pairs(), data=pd.DataFrame({"coef1": range(3)}, index=PLACES))


def simulated(k: int, n: int = 60) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(k)
    roots = rng.normal(size=(n, k, k)) * 0.1
    S = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(k)
    noise = np.einsum("nij,nj->ni", np.linalg.cholesky(S), rng.normal(size=(n, k)))
    b = np.linspace(-1, 1, k) + rng.normal(size=(n, k)) * 0.3 + noise
    data = pd.DataFrame({"x": rng.normal(size=n), "use": np.arange(n) % 3 > 0}, index=[f"p{i}" for i in range(n)])
    return bm.from_first_stage(dict(zip(data.index, zip(b, S, strict=True), strict=True)), data=data)


def test_twenty_coefficients():
    """At its Psi dense generalised least squares; estimates lie near the truth."""
    data, S = simulated(20, 25)
    outcomes = " + ".join(f"coef{j + 1}" for j in range(20))
    tree = bm.fit(bm.specify(f"{outcomes} ~ 1", data, S=S, psi="diag"))
    (psi,) = (tree["estimate"][name].to_numpy() for name in tree["estimate"] if name.startswith("psi_"))
    W = np.linalg.inv(S + psi)
    y = data[outcomes.split(" + ")].to_numpy()
    cov = np.linalg.inv(W.sum(0))
    beta = tree["estimate"]["beta"].to_numpy()
    np.testing.assert_allclose(beta, cov @ np.einsum("nij,nj->i", W, y), rtol=1e-7)
    error = (beta - np.linspace(-1, 1, 20)) / np.sqrt(np.diag(cov))
    assert np.sqrt((error**2).mean()) < 2
    assert bm.blup(tree, covariance=True)["covariance"].shape == (25, 20, 20)


@pytest.mark.parametrize("form", ["matrices", "columns", "by place", "long"])
def test_a_subset_of_places_is_the_same_as_their_own_data(form):
    data, S = simulated(3)
    own = data[data["use"]]
    formula, options = "coef1 + coef2 + coef3 ~ x", {}
    lower = [(r, c) for c in range(3) for r in range(c, 3)]
    if form == "columns":
        data = data.assign(**{f"v{r}{c}": S[:, r, c] for r, c in lower})
        own, given = data[data["use"]], [[f"v{r}{c}" for r, c in lower]] * 2
    elif form == "by place":
        given = [dict(zip(d["place"], S[d.index], strict=True)) for d in (data, own)]
        options = {"random": "1 | place"}
    elif form == "long":  # a row for each coefficient
        long = data.melt(["place", "x", "use"], ["coef1", "coef2", "coef3"], "which", "b")
        long = long.sort_values(["place", "which"], kind="stable", ignore_index=True)
        matrices = dict(zip(data["place"], S, strict=True))
        formula, options = "b ~ 0 + which + which:x", {"random": "0 + which | place"}
        data, own = long, long[long["use"]]
        given = [{p: matrices[p] for p in d["place"].unique()} for d in (data, own)]
    else:
        given = [S, S[own.index]]
    chosen = bm.fit(bm.specify(formula, data, S=given[0], subset="use", **options))
    alone = bm.fit(bm.specify(formula, own, S=given[1], **options))
    assert float(chosen["criteria"]["loglik"]) == pytest.approx(float(alone["criteria"]["loglik"]), abs=1e-9)
    np.testing.assert_allclose(chosen["estimate"]["beta"], alone["estimate"]["beta"], rtol=1e-7, atol=1e-9)
    same = bm.specify(formula, data, S=given[0], subset=data["use"] == 1, **options)
    np.testing.assert_array_equal(same.kept, data["use"])
    if form == "long":  # wide and long are one model
        wide_data, wide_S = simulated(3)
        wide = bm.fit(bm.specify("coef1 + coef2 + coef3 ~ x", wide_data, S=wide_S, subset="use"), "ml")
        ml = bm.fit(bm.specify(formula, data, S=given[0], subset="use", **options), "ml")
        assert float(ml["criteria"]["loglik"]) == pytest.approx(float(wide["criteria"]["loglik"]), abs=1e-6)


def test_a_subset_that_marks_no_rows():
    data, S = simulated(2)
    for subset, message in (
        ("nothing", "subset: the data have no column"),
        ([True], "subset is"),
        ("x", "must hold true"),
    ):
        with pytest.raises((bm.SpecError, bm.DataError), match=message):
            bm.specify("coef1 + coef2 ~ 1", data, S=S, subset=subset)
    with pytest.raises(bm.DataError, match="nothing is left of 60 rows"):
        bm.specify("coef1 + coef2 ~ 1", data, S=S, subset=np.zeros(60, bool))


def test_covariances_that_are_symmetric_but_for_rounding_keep_their_places():
    """As many places as coefficients, by `inv` of normal equations: not to be taken for R's order of axes."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        X = rng.normal(size=(3, 30, 3))
        V = np.stack([np.linalg.inv(x.T @ x) for x in X])
        assert not np.array_equal(V, V.mT)
        _, S = bm.from_first_stage({"coef": rng.normal(size=(3, 3)), "vcov": V})
        np.testing.assert_allclose(S, V, rtol=1e-12)
        _, S = bm.from_first_stage({"coef": rng.normal(size=(3, 3)), "vcov": np.moveaxis(V, 0, -1)})
        np.testing.assert_allclose(S, V, rtol=1e-12)
