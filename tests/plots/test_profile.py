"""Curves of profile likelihoods drawn: cuts, intervals, edges, and bounds that were not reached."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta.errors import BoundaryWarning, SpecError
from tests.support.drawn import notes
from tests.support.pictures import crowded
from tests.support.trials import berkey, school, trial_spec


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    return bm.profile(bm.fit(berkey("diag"), method="ml"), points=7)


def test_a_panel_for_every_curve(found: xr.Dataset) -> None:
    panels = bm.plots.profile(found)
    curved = [ax.get_xlabel() for ax in panels]
    assert {"tau[unit, PD]", "tau[unit, AL]"} <= set(curved)
    assert not any(name.startswith(("psi", "tau2")) for name in curved)  # which would say the same
    cut = -chi2.ppf(0.95, 1) / 2
    for ax, name in zip(panels, curved, strict=True):
        own = found.sel(parameter=name)
        x, y = ax.lines[0].get_data()
        assert len(x) > 100
        np.testing.assert_allclose(np.interp(own["value"], x, y), own["loglik"] - found.attrs["fitted"], atol=1e-9)
        ax.set_title("A title")
        np.testing.assert_allclose(ax.lines[1].get_ydata(), cut)
        np.testing.assert_allclose(ax.collections[0].get_segments()[0][:, 0], [own["lower"], own["upper"]])
        assert ax.lines[-1].get_xdata() == [own["estimate"]]
    assert "Held constant, no curve: rho[unit, PD~AL]" in notes(panels[-1])
    assert crowded(panels[0].figure) == []


def test_an_edge_is_a_square_and_said(found: xr.Dataset) -> None:
    ax = bm.plots.profile(found.sel(parameter=["tau[unit, PD]"]))[0]
    squares = [line for line in ax.lines if line.get_marker() == "s"]
    assert [line.get_xdata() for line in squares] == [[0.0]]
    assert notes(ax) == "95% interval lower bound at the edge of the range"
    assert any("[0, 0.25" in text.get_text() for text in ax.texts)
    assert len(ax.collections) == 2  # the interval, and a line down from the upper bound alone


def test_a_bound_that_was_not_reached_is_an_arrow_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesmeta.inference.profile.MOST_DOUBLINGS", 2)
    with pytest.warns(BoundaryWarning):
        found = bm.profile(bm.fit(school()), "tau[district, Intercept]", prob=0.9999, points=3)
    ax = bm.plots.profile(found)[0]
    arrows = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == ">"]
    assert arrows == [found["upper"].item()]
    assert "upper bound not bracketed" in notes(ax)
    assert crowded(ax.figure) == []


def test_variances_are_drawn_where_they_are_asked_for(found: xr.Dataset) -> None:
    assert bm.plots.profile(found.sel(parameter=["tau2[unit, PD]"]))[0].get_xlabel() == "tau2[unit, PD]"


@pytest.mark.parametrize("n", [3, 60])
def test_readable(n: int) -> None:
    ax = bm.plots.profile(bm.profile(bm.fit(trial_spec(n)), "tau", points=5))[0]
    assert crowded(ax.figure) == []


def test_given_axes_and_refusals(found: xr.Dataset) -> None:
    ax = plt.subplots()[1]
    assert bm.plots.profile(found.sel(parameter=["tau[unit, AL]"]), ax).tolist() == [ax]
    with pytest.raises(SpecError, match=r"takes the dataset returned by bm\.profile"):
        bm.plots.profile(found["value"])  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="no curve to draw: every parameter is held constant"):
        bm.plots.profile(found.sel(parameter=["rho[unit, PD~AL]"]))
    with pytest.raises(SpecError, match="1 axes for"):
        bm.plots.profile(found, ax)


def test_the_datasets_old_name_still_works_with_a_warning(found: xr.Dataset) -> None:
    with pytest.warns(DeprecationWarning, match="'found' is deprecated, use 'dataset'"):
        axes = bm.plots.profile(found=found)  # type: ignore[call-arg]
    assert len(axes) > 1
