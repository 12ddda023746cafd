"""Data in partitions against the same data in one place: specifications, fits and what is asked of them."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm

pytest.importorskip("distributed", reason="the extra `distributed`")
dd = pytest.importorskip("dask.dataframe")

Model = tuple[str | dict[str, str], dict[str, Any]]


@cache
def trials() -> pd.DataFrame:
    """90 trials in 24 districts of very unequal sizes, with whatever the models need; some values are missing."""
    rng = np.random.default_rng(20)
    n = 90
    district = np.sort(rng.choice(24, n, p=np.r_[0.25, np.full(23, 0.75 / 23)]))
    frame = pd.DataFrame({"district": district})
    frame["study"] = frame.groupby("district").cumcount() // 2
    frame["month"] = frame.groupby("district").cumcount() % 4
    frame["x"] = rng.normal(size=n).round(3)
    frame["arm"] = rng.choice(["usual", "new", "both"], n)
    frame["base"] = rng.normal(size=n).round(2)
    u = rng.normal(0, 0.5, (24, 3))
    for j, name in enumerate(("a", "b", "c")):
        frame[f"v{name}"] = rng.uniform(0.02, 0.4, n)
        frame[name] = u[district, j] + 0.3 * frame.x + rng.normal(0, np.sqrt(frame[f"v{name}"] + 0.05))
    frame["cab"] = 0.4 * np.sqrt(frame.va * frame.vb)
    frame.loc[rng.choice(n, 8, replace=False), "b"] = np.nan
    frame.loc[rng.choice(n, 4, replace=False), "x"] = np.nan
    return frame.sample(frac=1, random_state=3).reset_index(drop=True)


def blocks(frame: pd.DataFrame, group: str = "district") -> dict[Any, Any]:
    """AR(1) errors among the rows of every group."""
    made = {}
    for label, rows in frame.groupby(group):
        sd = np.sqrt(rows["va"].to_numpy())
        lag = np.abs(np.subtract.outer(np.arange(len(rows)), np.arange(len(rows))))
        made[label] = 0.5**lag * np.outer(sd, sd)
    return made


MODELS: dict[str, Model] = {
    "a row a group": ("a ~ x", {"S": "va"}),
    "two levels": ("a ~ x + arm", {"S": "va", "random": "1 | district/study"}),
    "slopes": ("a ~ x", {"S": "va", "random": "1 + x | district"}),
    "two outcomes": ("a + b ~ x", {"S": ["va", "cab", "vb"], "random": "1 | district"}),
    "three outcomes": (
        "a + b + c ~ 1",
        {"S": ["va", "vb", "vc"], "S_correlation": 0.3, "random": "1 | district/study", "psi": "cs"},
    ),
    "blocks of S": ("a ~ arm", {"S": blocks, "random": "1 | district/study"}),
    "common effect, blocks of S": ("a ~ x", {"S": blocks, "groups": "district"}),
    "splines": ("a ~ ns(x, df=3) * arm + offset(base)", {"S": "va", "random": "1 | district"}),
    "times": (
        "a ~ 1",
        {"S": "va", "random": "1 | district", "psi": bm.structures.CAR1(time="month")},
    ),
    "predictors by outcome": (
        {"a": "1 + x", "b": "1"},
        {
            "se": ["va", "vb"],
            "S_correlation": 0.2,
            "random": {"district": "1"},
            "psi": "hcs",
            "common": "poly(base, 2)",
        },
    ),
    "categories in numbers": ("a ~ C(month) + scale(x)", {"S": "va", "random": "1 | district", "psi": "diag"}),
}


def quiet(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.errors.BayesmetaWarning)
        return make(*arguments, **options)


@cache
def in_one_place(name: str, method: str) -> xr.DataTree:
    formula, options = MODELS[name]
    own = options | ({"S": blocks(trials())} if options.get("S") is blocks else {})
    return quiet(lambda: bm.fit(bm.specify(formula, trials(), **own), method))


def in_partitions(name: str, data: Any, method: str = "reml", **where: Any) -> xr.DataTree:
    formula, options = MODELS[name]
    return quiet(lambda: bm.fit(bm.specify(formula, data, **options, **where), method))


def assert_same(tree: xr.DataTree, expected: xr.DataTree, tolerance: float = 1e-10) -> None:
    for group in ("estimate", "criteria", "heterogeneity"):
        for key in expected[group].data_vars:
            name = str(key)
            if name.startswith(("b_", "psi_", "rho_")) and name not in tree[group]:
                assert name.startswith("b_")
                continue
            one, other = tree[group][name].values, expected[group][name].values
            scale = max(np.nanmax(np.abs(other), initial=0.0), 1e-2)
            spread = 1e-7 if name in ("xi_cov", "xi") or "_se" in name or name.startswith("rho") else tolerance
            np.testing.assert_allclose(one, other, rtol=spread, atol=spread * scale, err_msg=f"{group} {name}")


@pytest.mark.parametrize(("name", "turn"), [(name, i) for i, name in enumerate(MODELS)])
def test_results_do_not_depend_on_partitions(name: str, turn: int) -> None:
    partitions, method = (2, 5, 9)[turn % 3], ("reml", "ml")[turn % 2]
    assert_same(in_partitions(name, trials(), method, partitions=partitions), in_one_place(name, method))
