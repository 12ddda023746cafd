"""A page prints every SD and correlation of a few effects, and of many effects those that are free."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.display.free_parameters import to_print
from bayesmeta.tree.parameters import parameters

MANY = 12


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    k = np.arange(MANY**2)
    columns = {"y": np.sin(k) + np.cos(k // MANY), "v": 0.1, "g": k // MANY, "t": [f"t{i % MANY:02d}" for i in k]}
    return pd.DataFrame(columns | {"few": ["abc"[i % 3] for i in k]})


def fitted(data: pd.DataFrame, psi: str, random: str = "0 + t | g") -> xr.DataTree:
    return bm.fit(bm.specify("y ~ 1", data, S="v", random=random, psi=psi), max_iterations=20)


FREE = {"cs": ["tau[g]", "rho[g]"], "id": ["tau[g]"], "ar1": ["tau[g]", "rho[g]"]}


@pytest.mark.parametrize("psi", [*FREE, "hcs", "diag"])
@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_the_page_of_many_effects_has_what_is_free(data: pd.DataFrame, psi: str) -> None:
    tree = fitted(data, psi)
    shown = to_print(parameters(tree), [tree])
    assert list(shown.values())[1:] == FREE.get(
        psi, [f"tau[g, t[t{i:02d}]]" for i in range(MANY)] + ["rho[g]"] * (psi == "hcs")
    )
    summary = bm.summary(tree)
    assert len(str(summary).splitlines()) <= 20 + len(shown)
    assert summary.components().shape[0] == MANY  # the rest on request
    assert len(str(bm.compare(tree)).splitlines()) <= 15 + 2 * len(shown)
    one = summary.components().iloc[0]
    row = next(line for line in str(summary).splitlines() if line.startswith(("all effects", "t[t00]")))
    assert f"{one['tau']:.4f}" in row
    if psi in ("cs", "ar1", "hcs"):
        line = next(line for line in str(summary).splitlines() if line.startswith("correlation"))
        assert f"{summary.components()['rho[t[t00]]'].iloc[1]:.4f}" in line


@pytest.mark.parametrize("components", ["sd", "variance"])
@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_variances_of_many_effects(data: pd.DataFrame, components: str) -> None:
    summary = bm.summary(fitted(data, "cs"), components=components)
    size = summary.components().iloc[0, 0]
    row = next(line for line in str(summary).splitlines() if line.startswith("all effects"))
    assert f"{size:.4f}" in row


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_few_effects_have_a_row_each(data: pd.DataFrame) -> None:
    tree = fitted(data, "cs", "0 + few | g")
    shown = to_print(parameters(tree), [tree])
    assert list(shown) == list(shown.values()) == list(parameters(tree).index)
    assert "corr few[a]" in str(bm.summary(tree))


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_trees_side_by_side_share_the_labels_of_what_is_free(data: pd.DataFrame) -> None:
    many, few = fitted(data, "cs"), fitted(data, "unstr", "1 | g")
    rows = str(bm.compare(many, few)).splitlines()
    labels = [line.split("  ")[0] for line in rows if line.startswith(("tau", "rho"))]
    assert labels == ["tau[g]", "tau[g, Intercept]", "rho[g]"]
    assert bm.compare(many, few).to_dataframe().shape[0] == 1 + MANY + 1 + MANY * (MANY - 1) // 2
