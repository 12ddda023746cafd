"""When log-likelihoods stand on one scale."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.inference.same_data import obstacle, other_sampling_covariances


def data(**columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": rng.normal(size=12), "v": rng.uniform(0.1, 0.3, 12), "kind": list("abc") * 4})
    return frame.assign(y=1 + 0.5 * frame.x + rng.normal(size=12) * 0.8, **columns)


def fit(
    formula: str = "y ~ x", frame: pd.DataFrame | None = None, method: str = "reml", **options: object
) -> xr.DataTree:
    return bm.fit(bm.specify(formula, data() if frame is None else frame, **({"S": "v"} | options)), method=method)


def test_equal_fits_have_no_obstacle():
    assert obstacle({"one": fit(), "two": fit()}) == ""


def test_restricted_and_full_likelihoods_do_not_mix():
    words = obstacle({"one": fit(), "two": fit(method="ml")})
    assert words == "one by reml and two by ml maximise different likelihoods; fit all by ml, or all by reml"
    assert "one by reml and two by fixed" in obstacle({"one": fit(), "two": fit(method="fixed")})


def test_a_fixed_effects_fit_is_ml_with_no_variance():
    ml, fixed = fit(method="ml"), fit(method="fixed")
    assert obstacle({"ml": ml, "fixed": fixed}) == ""
    with pytest.warns(bm.AssumptionWarning, match="given as zero"):
        held = fit(method="ml", psi=bm.structures.Fixed([[0.0]]))
    assert float(fixed["criteria"]["loglik"]) == pytest.approx(float(held["criteria"]["loglik"]), rel=1e-12)


def test_ml_fits_with_different_fixed_parts_compare():
    assert obstacle({"one": fit("y ~ x", method="ml"), "two": fit("y ~ 1", method="ml")}) == ""


@pytest.mark.parametrize("other", ["y ~ 1", "y ~ x + I(x**2)", "y ~ I(x**2)", "y ~ 0 + x"])
def test_reml_fits_with_different_fixed_parts_do_not(other):
    words = obstacle({"one": fit("y ~ x"), "two": fit(other)})
    assert words == 'one and two are REML fits with different fixed parts; fit both with method="ml"'


@pytest.mark.parametrize(
    ("one", "two"),
    [("y ~ x", "y ~ I(1000 * x - 7)"), ("y ~ kind", "y ~ 0 + kind"), ("y ~ x + kind", "y ~ kind + I(x / 9)")],
)
def test_reml_fits_with_the_same_column_space_do(one, two):
    first, second = fit(one), fit(two)
    assert obstacle({"one": first, "two": second}) == ""
    assert float(first["criteria"]["loglik"]) == pytest.approx(float(second["criteria"]["loglik"]), abs=1e-7)


def test_random_parts_and_structures_do_not_matter():
    frame = data(g=list("aabbccddeeff"), h=range(12))
    assert obstacle({"one": fit(frame=frame), "two": fit(frame=frame, random="1 | g/h")}) == ""


def test_the_order_of_rows_does_not_matter():
    frame = data()
    shuffled = frame.sample(frac=1, random_state=1)
    for method in ("ml", "reml"):
        assert obstacle({"one": fit(frame=frame, method=method), "two": fit(frame=shuffled, method=method)}) == ""


@pytest.mark.parametrize("method", ["ml", "reml"])
def test_other_rows_or_other_values_do(method):
    frame, changed = data(), data()
    changed.loc[3, "y"] += 1e-9
    words = obstacle({"one": fit(frame=frame, method=method), "two": fit(frame=changed, method=method)})
    assert words == "one (12 observations) and two (12 observations) do not describe the same observations"
    words = obstacle({"one": fit(frame=frame, method=method), "two": fit(frame=frame.iloc[1:], method=method)})
    assert words == "one (12 observations) and two (11 observations) do not describe the same observations"
    swapped = frame.assign(y=frame.y.to_numpy()[::-1], x=frame.x.to_numpy()[::-1], v=frame.v.to_numpy()[::-1])
    assert "do not describe" in obstacle(
        {"one": fit(frame=frame, method=method), "two": fit(frame=swapped, method=method)}
    )


def test_every_pair_of_neighbours_is_looked_at():
    trees = {"a": fit(method="ml"), "b": fit(method="ml"), "c": fit()}
    assert obstacle(trees).startswith("b by ml and c by reml")


def test_another_sampling_covariance_is_remarked():
    frame = data(w=lambda d: 2 * d.v)
    trees = {"a": fit(frame=frame), "b": fit(frame=frame, S="w"), "c": fit("y ~ I(2 * x)", frame=frame)}
    remark = "(a, c) and (b) take different sampling covariances S as known, so the criteria also judge S"
    assert obstacle(trees) == ""
    assert other_sampling_covariances(trees) == remark
    assert remark in " ".join(str(bm.compare(trees)).split())
    assert other_sampling_covariances({"a": trees["a"], "c": trees["c"]}) == ""
