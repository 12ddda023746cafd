"""Likelihood-ratio tests: the reference distribution, and what is refused."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta.errors import AssumptionWarning, ConvergenceError, SpecError
from bayesmeta.inference.lr_bootstrap import null_statistics
from bayesmeta.inference.nesting import Addition, Model, addition
from tests.support.edited import unhashed

GROUPS, ROWS = 12, 6


def data() -> pd.DataFrame:
    """Groups in which intercept and slopes vary, so that no variance is estimated at zero."""
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(GROUPS), ROWS)
    x, z = rng.normal(size=(2, len(group)))
    b = rng.normal(size=(GROUPS, 3)) * [0.8, 0.5, 0.5]
    v = rng.uniform(0.02, 0.1, len(group))
    own = 0.3 * rng.normal(size=len(group))
    y = 1 + 0.2 * x + b[group, 0] + b[group, 1] * x + b[group, 2] * z + own + rng.normal(size=len(group)) * np.sqrt(v)
    return pd.DataFrame({"y": y, "x": x, "z": z, "v": v, "group": group, "row": np.arange(len(group))})


def fit(
    effects: str | None = "1", psi: Any = "unstr", formula: str = "y ~ x", method: str = "ml", **options: Any
) -> xr.DataTree:
    """A fit with random effects of the groups, or only of rows; `inner` adds a level of rows."""
    frame = options.pop("frame", data())
    inner = {"row": "1"} if options.pop("inner", True) else {}
    outer = {"group": effects} if effects else {}
    structures = {**dict.fromkeys(outer, psi), **dict.fromkeys(inner, "unstr")}
    spec = bm.specify(formula, frame, **({"S": "v", "random": {**outer, **inner}, "psi": structures} | options))
    return bm.fit(spec, method=method)


def loglik(tree: xr.DataTree) -> float:
    return float(tree["criteria"]["loglik"])


@pytest.mark.parametrize(
    ("small", "big", "mixture"),
    [
        ({"formula": "y ~ 1"}, {}, (1,)),
        ({"formula": "y ~ 1"}, {"formula": "y ~ x * z"}, (3,)),
        ({"effects": None}, {}, (0, 1)),
        ({"effects": None, "method": "reml"}, {"method": "reml"}, (0, 1)),
        ({"inner": False}, {}, (0, 1)),
        ({"effects": None, "formula": "y ~ 1"}, {}, (1, 2)),
        ({}, {"effects": "1 + x"}, (1, 2)),
        ({}, {"effects": "x", "psi": "diag"}, (0, 1)),
        ({"effects": "1 + x"}, {"effects": "1 + x + z"}, (2, 3)),
        ({"effects": "1 + x"}, {"effects": "1 + I(1 - 2 * x) + z"}, (2, 3)),
        ({"effects": "1 + x", "formula": "y ~ x"}, {"effects": "1 + x + z", "formula": "y ~ x + z"}, (3, 4)),
        ({"effects": "1 + x", "psi": "diag"}, {"effects": "1 + x"}, (1,)),
        ({"effects": "1 + x", "psi": "id"}, {"effects": "1 + x", "psi": "diag"}, (1,)),
        ({"effects": "1 + x + z", "psi": "cs"}, {"effects": "1 + x + z", "psi": "unstr"}, (4,)),
        ({"effects": "1 + x + z", "psi": "ar1"}, {"effects": "1 + x + z", "psi": "har1"}, (2,)),
        ({"effects": "1 + x", "psi": "cs"}, {"effects": "x", "psi": "har1"}, (1,)),
        ({"effects": "1 + x", "psi": "hcs", "formula": "y ~ 1"}, {"effects": "1 + x"}, (1,)),
        ({"effects": None}, {"effects": "0 + x + z", "psi": "id"}, (0, 1)),
    ],
)
def test_reference_distribution(small: dict[str, Any], big: dict[str, Any], mixture: tuple[int, ...]) -> None:
    one, two = fit(**small), fit(**big)
    found = bm.lr_test(one, two)
    statistic = 2 * (loglik(two) - loglik(one))
    assert found.statistic == pytest.approx(statistic)
    assert found.statistic > 0
    assert found.mixture == mixture
    assert found.df == max(mixture)
    tails = [chi2.sf(statistic, df) if df else 0.0 for df in mixture]
    assert found.pvalue == pytest.approx(np.mean(tails), rel=1e-9)
    assert found.doubt == ""


@pytest.mark.parametrize(
    ("small", "big"),
    [
        ({}, {"effects": "1 + x + z"}),  # two variances at once
        ({"effects": "1 + x", "psi": "diag"}, {"effects": "1 + x + z"}),  # a variance and a covariance
        ({"effects": None}, {"effects": "1 + x"}),
        ({"effects": "1 + x", "psi": "id"}, {"effects": "1 + x + z", "psi": "diag"}),
        ({"effects": "x", "psi": "diag", "inner": False}, {"effects": "1 + x"}),
        ({}, {"effects": "1 + x", "psi": "hcs"}),
    ],
)
def test_more_than_one_variance_is_conservative(small: dict[str, Any], big: dict[str, Any]) -> None:
    one, two = fit(**small), fit(**big)
    with pytest.warns(AssumptionWarning, match="is conservative: the p-value is too large") as caught:
        found = bm.lr_test(one, two, bootstrap=0)
    df = int(two["criteria"]["df"]) - int(one["criteria"]["df"])
    assert found.mixture == (df,)
    assert found.pvalue == pytest.approx(chi2.sf(found.statistic, df), rel=1e-9)
    assert str(caught[0].message) == found.doubt
    assert caught[0].filename == __file__


def test_unknown_weights_are_found_by_bootstrap() -> None:
    frame = data()
    rng = np.random.default_rng(0)
    noise = 0.3 * rng.normal(size=len(frame)) + rng.normal(size=len(frame)) * np.sqrt(frame.v)
    frame["y"] = noise + 0.1 * rng.normal(size=GROUPS)[frame.group] * frame.z
    small, big = fit(effects=None, frame=frame), fit(effects="1 + z", psi="diag", frame=frame[::-1])
    found, again = (bm.lr_test(small, big, bootstrap=99, random_seed=3) for _ in range(2))
    assert found.pvalue == again.pvalue
    assert found.reference == "parametric bootstrap, 99 data sets"
    assert found.doubt == ""
    with pytest.warns(AssumptionWarning, match="is conservative"):
        naive = bm.lr_test(small, big, bootstrap=0)
    assert 0 < found.pvalue <= naive.pvalue + 2 / 100  # of which a bootstrap of 99 cannot be nearer
    assert "Reference  parametric bootstrap, 99 data sets" in repr(found)
    with pytest.raises(SpecError, match="bootstrap is -1"):
        bm.lr_test(small, big, bootstrap=-1)


def test_the_bootstrap_agrees_with_a_mixture_that_is_known() -> None:
    """Statistics of one variance more are zero half the time, and chi2_1 otherwise."""
    frame = data()
    null = null_statistics(fit(effects=None, frame=frame), fit(frame=frame), 200, 1)
    assert null is not None
    assert np.mean(null < 1e-8) == pytest.approx(0.5, abs=0.15)  # a share that 12 groups bring near to one half
    assert np.mean(null > chi2.ppf(0.9, 1)) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 200))


def test_a_bootstrap_in_place_of_a_known_mixture() -> None:
    """The distribution of one variance more, from the data sets themselves."""
    frame = data()
    small, big = fit(effects=None, frame=frame), fit(frame=frame)
    found = bm.lr_test(small, big, reference="bootstrap", bootstrap=199, random_seed=1)
    null = null_statistics(small, big, 199, 1)
    assert null is not None
    assert found.reference == "parametric bootstrap, 199 data sets"
    assert found.pvalue == (1 + np.sum(null >= found.statistic - 2e-6)) / 200
    assert bm.lr_test(small, big).reference == "1/2 chi2_0 + 1/2 chi2_1"
    with pytest.raises(SpecError, match="reference is 'bootstrp'; did you mean 'bootstrap'"):
        bm.lr_test(small, big, reference="bootstrp")
    twice = frame.set_axis(np.arange(len(frame)) // 2)
    with pytest.raises(SpecError, match="rows of the two models cannot be matched"):
        bm.lr_test(fit(effects=None, frame=twice), fit(frame=twice), reference="bootstrap")


@pytest.mark.filterwarnings("ignore:psi of level 'unit' is given as zero")
def test_type_one_error_at_zero_variance() -> None:
    """Forty studies without heterogeneity: near 5 percent with the mixture, near 2.5 with chi2_1."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"y": rng.normal(size=40), "v": 0.2})
    spec, n = bm.specify("y ~ 1", frame, S="v"), 4000
    zero = bm.specify("y ~ 1", frame, S="v", psi=bm.structures.Fixed([[0.0]]))
    Y = bm.simulate(spec, n, 1, beta=[0.2], psi=0.0)
    statistic = 2 * (bm.fit_many(spec, Y)["loglik"] - bm.fit_many(zero, Y)["loglik"]).values
    for quantile, share in ((chi2.ppf(0.90, 1), 0.05), (chi2.ppf(0.95, 1), 0.025)):
        assert np.mean(statistic > quantile) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))


def test_no_gain_is_no_evidence() -> None:
    """A variance estimated at zero: half of the distribution lies there, so p is one."""
    frame = data().assign(y=lambda rows: 0.1 * rows.x + 0.5 * np.sqrt(rows.v) * np.sin(7.0 * np.arange(len(rows))))
    fixed, random = fit(frame=frame, method="fixed", effects=None), fit(frame=frame, effects=None)
    found = bm.lr_test(fixed, random)
    assert found.mixture == (0, 1)
    assert found.statistic == pytest.approx(0, abs=1e-9)
    assert found.pvalue == pytest.approx(1.0, abs=1e-4)


def test_a_fixed_effects_fit_is_a_model_without_variances() -> None:
    found = bm.lr_test(fit(effects=None, method="fixed"), fit(effects=None))
    assert found.mixture == (0, 1)


def test_other_variances_at_zero_spoil_the_mixture_but_not_a_test_of_coefficients() -> None:
    frame = data()
    frame["y"] -= frame.groupby("group")["y"].transform("mean")
    null, more = fit(effects="1", frame=frame), fit(effects="1 + z", psi="diag", frame=frame)
    assert null["optimizer"]["at_boundary"].any()
    with pytest.warns(AssumptionWarning, match="a variance of the smaller model is estimated at its boundary"):
        assert bm.lr_test(null, more, bootstrap=0).mixture == (1,)
    assert bm.lr_test(fit(formula="y ~ 1", frame=frame), null).mixture == (1,)
    equal = fit(effects="1 + z", psi="id", frame=frame)
    with pytest.warns(AssumptionWarning, match="a variance or correlation is estimated at its boundary"):
        bm.lr_test(equal, more, bootstrap=0)


def test_the_order_of_the_data_and_names_of_levels_do_not_matter() -> None:
    frame = data()
    small = bm.fit(bm.specify("y ~ x", frame[::-1], S="v"), method="ml")  # the level is called unit
    big = bm.fit(bm.specify("y ~ x", frame, S="v", random="1 | group/row"), method="ml")
    assert bm.lr_test(small, big).mixture == (0, 1)


def test_trees_from_files(tmp_path: Any) -> None:
    trees = fit(formula="y ~ 1"), fit()
    for name, tree in zip("ab", trees, strict=True):
        tree.to_netcdf(tmp_path / f"{name}.nc")
    read = [xr.open_datatree(tmp_path / f"{name}.nc") for name in "ab"]
    assert bm.lr_test(*read).pvalue == bm.lr_test(*trees).pvalue
    for tree in read:
        tree.close()


@pytest.mark.parametrize(
    ("small", "big", "message"),
    [
        ({"formula": "y ~ 1", "method": "reml"}, {"method": "reml"}, "REML fits with different fixed parts"),
        ({"method": "reml"}, {"effects": "1 + x"}, "maximise different likelihoods"),
        ({}, {"formula": "y ~ 1"}, "first model has 4 parameters, the second 3\n  the smaller model comes first"),
        ({}, {"formula": "y ~ z"}, "both models have 4 parameters"),
        ({}, {"formula": "y ~ z", "effects": "1 + x"}, "smaller model are no linear combinations"),
        ({}, {"frame": data()[1:], "effects": "1 + x"}, "do not describe the same observations"),
        ({}, {"frame": data().assign(v=0.1), "effects": "1 + x"}, "different sampling covariances S"),
        ({}, {"offset": "z", "effects": "1 + x"}, "offsets differ"),
        ({"effects": "0 + z"}, {"effects": "1 + x"}, "holds 'unstr' with effects z is not known"),
        ({"effects": "1 + x + z", "psi": "ar1"}, {"effects": "z + x", "psi": "har1"}, "'har1' .* is not known"),
        ({"effects": "1 + x", "psi": "cs"}, {"effects": "1 + x + z", "psi": "hcs"}, "'hcs' .* is not known"),
        ({"effects": "1 + x", "psi": "hcs"}, {"effects": "1 + x + z", "psi": "hcs"}, "'hcs' .* is not known"),
        ({"inner": False}, {"effects": None, "formula": "y ~ x + z"}, "groups of level 'group' .* are no level"),
    ],
)
@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_refusals(small: dict[str, Any], big: dict[str, Any], message: str) -> None:
    one, two = fit(**small), fit(**big)
    with pytest.raises(SpecError, match=r"^no likelihood-ratio test: ") as caught:
        bm.lr_test(one, two)
    assert re.search(message, str(caught.value))


def test_a_level_held_at_a_matrix_is_no_larger_model() -> None:
    held = fit(psi=bm.structures.Fixed([[0.5]]), formula="y ~ x + z")
    assert "held at a fixed matrix" in str(addition(Model.of(fit(effects=None)), Model.of(held)))
    switched_off = fit(psi=bm.structures.Fixed([[0.0]]))
    assert addition(Model.of(fit(effects=None)), Model.of(switched_off)) == Addition(0, 0, ())


def test_the_caller_may_know_better() -> None:
    small, big = fit("1 + x", psi="cs"), fit("1 + x + z", psi="hcs")
    with pytest.warns(AssumptionWarning, match=r"takes the caller's word for it \(nested=True\)"):
        found = bm.lr_test(small, big, nested=True)
    assert found.mixture == (2,)
    with pytest.raises(SpecError, match="maximise different likelihoods"):
        bm.lr_test(small, fit("1 + x + z", method="reml"), nested=True)


def test_fits_that_are_no_maxima() -> None:
    small, big = fit(), fit("1 + x")
    worse = unhashed(big)
    worse["criteria"] = xr.DataTree(big["criteria"].to_dataset().assign(loglik=loglik(small) - 0.1))
    with pytest.raises(ConvergenceError, match=r"larger model has the lower log-likelihood, by 0\.1"):
        bm.lr_test(small, worse)
    stopped = unhashed(big)
    optimizer = big["optimizer"].to_dataset()
    stopped["optimizer"] = xr.DataTree(optimizer.assign(converged=False).assign_attrs(optimizer.attrs))
    with pytest.raises(ConvergenceError, match="big: THE SEARCH DID NOT CONVERGE"):
        bm.lr_test(small, stopped)


def test_it_prints_and_becomes_a_table() -> None:
    small, big = fit(), fit("1 + x")
    found = bm.lr_test(small, big)
    frame = found.to_dataframe()
    assert list(frame.index) == ["small", "big"]
    assert list(frame["df"]) == [4, 6]
    assert frame.loc["big", "reference"] == "1/2 chi2_1 + 1/2 chi2_2"
    for name in ("loglik", "aic", "aicc"):
        assert frame.loc["small", name] == small["criteria"][name].item()
    assert np.isnan(frame.loc["small", "pvalue"])
    text = repr(found)
    assert text.splitlines()[0] == "Likelihood-ratio test"
    assert "Reference  1/2 chi2_1 + 1/2 chi2_2" in text
    assert f"{found.statistic:.4f}" in text
    assert "<td" in found._repr_html_()
