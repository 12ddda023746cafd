"""The net heat plot: netmeta's numbers, networks without the trials of a design, and what is drawn of them."""

import re
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

import bayesmeta as bm
from bayesmeta.plots.style import root_figure
from tests.network.test_netmeta import ARMS, CLOSE
from tests.network.test_random_networks import SETTINGS, networks, specified
from tests.support.pictures import crowded

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.AssumptionWarning", "ignore::bayesmeta.BoundaryWarning")
SENN = {"study": "study", "treatment": "treatment", **ARMS["MD"]}


@pytest.fixture
def senn() -> bm.Spec:
    return bm.network.specify(bm.datasets.load("senn2013"), **SENN, reference="placebo")


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("name", ["senn2013", "smoking", "dogliotti2014"])
def test_numbers_are_netmeta_s(name: str, random: bool, reference: Callable[[str], Any]):
    theirs, of = reference("network/net_heat")[name], reference(f"network/{name}")
    columns = {"study": "study", "treatment": "treatment", **ARMS[of["sm"]]}
    spec = bm.network.specify(pd.DataFrame(of["arms"]), **columns, reference=theirs["reference"])
    ours, theirs = bm.network.net_heat(spec, random, "dl"), theirs["random" if random else "common"]
    assert ours.attrs["tau"] == pytest.approx(theirs["tau"], abs=1e-9)
    own = [
        (frozenset(design.split(" : ")), frozenset(pair))
        for design, *pair in zip(*(ours[x].values for x in ("design", "treatment", "versus")), strict=True)
    ]
    pairs = zip(theirs["design"], theirs["comparison"], strict=True)
    at = [own.index((frozenset(design.split(":")), frozenset(pair.split(":")))) for design, pair in pairs]
    assert sorted(at) == list(range(len(own)))
    ours = ours.isel(contrast=at, source=at)
    np.testing.assert_allclose(ours["Q"], theirs["Q"], **CLOSE)
    change = ours["change"].sel(detached=ours["design"].values)
    np.testing.assert_allclose(change, np.array(theirs["change"], float), **CLOSE)
    np.testing.assert_allclose(np.abs(ours["hat"]), np.abs(theirs["hat"]), **CLOSE)


@settings(SETTINGS, max_examples=3)
@given(networks())
def test_detaching_a_design_is_leaving_out_its_trials(arms: pd.DataFrame):
    spec = specified(arms)
    if not bm.network.designs(spec, "fixed")["df"].values[-1]:
        return
    ours = bm.network.net_heat(spec)
    assert ours["Q"].sum().item() == pytest.approx(bm.network.designs(spec, "fixed")["Q"].values[-1])
    left = (ours["Q"] - ours["change"]).sum("contrast", skipna=False)
    design = arms.groupby("study")["treatment"].transform(lambda own: " : ".join(sorted(own, key=str.casefold)))
    for name in ours["detached"].values:
        rest = arms[design != name]
        try:
            without = specified(rest, reference=spec.analysis["reference"])
        except (bm.DataError, bm.SpecError):  # in pieces, or without the reference
            assert np.isnan(left.sel(detached=name))
            continue
        if set(without.analysis["treatments"]) < set(spec.analysis["treatments"]):
            assert np.isnan(left.sel(detached=name))
            continue
        between = bm.network.designs(without, "fixed")["Q"].values[-1]
        assert left.sel(detached=name).item() == pytest.approx(between, abs=1e-9)


def test_the_picture_has_what_the_numbers_say(senn: bm.Spec):
    ax = bm.plots.network_heat(senn)
    assert not crowded(root_figure(ax))
    table = bm.network.net_heat(senn)
    names = [text.get_text().replace("\n", " ") for text in ax.get_yticklabels()]
    assert set(table["contrast"].values) - set(names) == {
        *("benfluorex : placebo", "miglitol : placebo", "sitagliptin : placebo", "vildagliptin : placebo")
    }
    drawn = np.asarray(ax.images[0].get_array(), float)
    own = table.sel(contrast=names)
    expected = own["change"].sel(detached=own["design"].values).to_numpy()
    np.testing.assert_allclose(drawn, np.clip(expected, -8, 8))
    sides = np.array([path.get_extents().width for path in ax.collections[0].get_paths()]).reshape(12, 12)
    hat = np.abs(table["hat"].sel(contrast=names, source=names).to_numpy())
    np.testing.assert_allclose((sides / sides.max()) ** 2, hat / hat.max(), atol=1e-9)
    turned = bm.plots.network_heat(bm.fit(senn), order=names[::-1])
    assert [text.get_text().replace("\n", " ") for text in turned.get_yticklabels()] == names[::-1]
    plt.close("all")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: bm.plots.network_heat(s, order=["a"]), "order is a; it must hold each contrast once"),
        (lambda s: bm.network.net_heat(s, random="yes"), "random is 'yes'"),
        (lambda s: bm.network.net_heat(s, method="lasso"), "method is 'lasso'"),
        (lambda s: bm.network.net_heat(bm.network.node_split(s, "metformin", "placebo")), "split of one comparison"),
        (lambda s: bm.plots.network_heat(without_a_loop()), "no design can contradict the others"),
    ],
)
def test_questions_that_are_refused(senn: bm.Spec, ask: Callable[[bm.Spec], Any], message: str):
    with pytest.raises(bm.SpecError, match=re.escape(message)):
        ask(senn)


def test_a_number_is_no_column():
    arms = bm.datasets.load("hasselblad1998")
    with pytest.raises(bm.SpecError, match="events is 2; it must be a name or a list of names"):
        bm.network.specify(arms, study="study", treatment="treatment", events=2, total="total", measure="logor")


def without_a_loop() -> bm.Spec:
    arms = bm.datasets.load("senn2013")
    return bm.network.specify(arms[arms["study"].isin(["De Fronzo (1995)", "Lewin (2007)"])], **SENN)
