"""Table 6 as a picture."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.simulation.declaration import load_study
from bayesmeta.simulation.run import run_study, study_table
from tests.support.pictures import crowded

TABLE6 = Path(__file__).resolve().parents[2] / "models" / "table6.toml"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Both ways of drawing, three scenarios of ten groups, four data sets."""
    study = load_study(TABLE6)
    small = replace(study, scenarios=tuple(s for s in study.scenarios if s["m"] == 10)[:3])
    return study_table(small, run_study(small, tmp_path_factory.mktemp("study") / "out", datasets=4))


def test_panels_hold_the_table(rows: pd.DataFrame) -> None:
    panels = bm.plots.simulation(rows)
    statistics = list(rows["statistic"].unique())
    assert [ax.get_title() for ax in panels] == statistics
    for ax, statistic in zip(panels, statistics, strict=True):
        lines = {line.get_label(): line for line in ax.lines}
        for i, draw in enumerate(("script", "text")):
            own = rows[(rows["statistic"] == statistic) & (rows["draw"] == draw)]
            np.testing.assert_allclose(lines[draw].get_xdata(), own["value"])
            np.testing.assert_array_equal(np.round(lines[draw].get_ydata()), [2, 1, 0])
            ends = np.array(ax.collections[i].get_segments())[..., 0]
            np.testing.assert_allclose(
                ends, np.array([own["value"] - 2 * own["mcse"], own["value"] + 2 * own["mcse"]]).T
            )
        np.testing.assert_allclose(lines["published"].get_xdata(), own["paper"])
        assert lines["published"].get_ydata().tolist() == [2, 1, 0]
    assert len({(line.get_marker(), line.get_markerfacecolor()) for line in lines.values()}) >= 3  # without colour
    assert panels[0].get_yticklabels()[0].get_text() == "m=10, rho_b=0, rho_w=0"
    assert "4 data sets per scenario" in panels[0].figure.legends[0].get_title().get_text()
    assert crowded(panels[0].figure) == []


def test_nominal_values_are_marked_by_kind(rows: pd.DataFrame) -> None:
    panels = dict(zip(rows["statistic"].unique(), bm.plots.simulation(rows), strict=True))
    dashed = {s: [li.get_xdata()[0] for li in ax.lines if li.get_linestyle() == "--"] for s, ax in panels.items()}
    assert dashed["bias"] == dashed["bias_rho_1"] == [0.0]
    assert dashed["coverage"] == [0.95]
    assert dashed["rmse"] == []


def test_fits_that_are_not_used_are_said_and_unpublished_studies_work(rows: pd.DataFrame) -> None:
    ours = rows[rows["draw"] == "text"].assign(paper=np.nan, used=3)
    panels = bm.plots.simulation(ours)
    assert [t.get_text() for t in panels[0].figure.legends[0].get_texts()] == ["reml"]
    said = panels[0].figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "at least 75% of the fits converged and are used" in said
    assert crowded(panels[0].figure) == []


def test_sixty_scenarios_and_given_axes(rows: pd.DataFrame) -> None:
    bias = rows[(rows["statistic"] == "bias") & (rows["m"] == 10)].head(1)
    many = pd.concat([bias.assign(m=m) for m in range(60)])
    panels = bm.plots.simulation(many)
    assert len(panels[0].get_yticklabels()) == 60
    assert crowded(panels[0].figure) == []
    ax = plt.subplots(layout="constrained")[1]
    assert bm.plots.simulation(bias, ax).tolist() == [ax]
    assert crowded(ax.figure) == []


def test_refusals(rows: pd.DataFrame) -> None:
    with pytest.raises(SpecError, match=r"takes the table returned by bm\.study_table, and this one lacks mcse"):
        bm.plots.simulation(rows.drop(columns="mcse"))
    with pytest.raises(SpecError, match="this one lacks draw, estimator"):
        bm.plots.simulation(bm.datasets.load("bcg"))
    with pytest.raises(SpecError, match="has no rows"):
        bm.plots.simulation(rows[:0])
    with pytest.raises(SpecError, match="1 axes for 7 panels"):
        bm.plots.simulation(rows, plt.gca())
