"""87 Italian cities from coefficients to attributable deaths, beside what mixmeta, dlnm and attrdl make of them.

The cities and their days lie beside the page of the gallery that tells the analysis.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm

DATA = Path(__file__).resolve().parents[2] / "docs/gallery/data"
LEFT = "coef1 + coef2 + coef3 + coef4 + coef5"
S = [f"vcov{i + 1}" for i in range(15)]
ML = ("1", "mean_temperature", "range_temperature", "mean_temperature + range_temperature")
REML = {"mean": ML[0], "climate": ML[-1]}


def basis(place):
    knots, ends = list(place[["knot1", "knot2", "knot3"]]), list(place[["low", "high"]])
    return bm.basis(f"bs(t, knots={knots}, degree=2, boundary_knots={ends})", {"t": np.array(ends, float)})


def full(lower: list[float]) -> np.ndarray:
    k = np.triu_indices(5)
    V = np.zeros((5, 5))
    V[k] = V.T[k] = lower
    return V


@pytest.fixture(scope="module")
def known(reference):
    return reference("two_stage/italy")


@pytest.fixture(scope="module")
def cities() -> pd.DataFrame:
    return pd.read_csv(DATA / "italy.csv")


@pytest.fixture(scope="module")
def fits(cities):
    return {
        name: bm.fit(bm.specify(f"{LEFT} ~ {right}", cities, S=S, random="1 | city")) for name, right in REML.items()
    }


@pytest.mark.parametrize("name", REML)
def test_fits_and_heterogeneity(fits, known, name):
    tree, theirs = fits[name], known["reml"][name]
    assert tree["criteria"]["loglik"].item() == pytest.approx(theirs["loglik"], abs=1e-8)
    assert tree["criteria"]["aic"].item() == pytest.approx(theirs["aic"], abs=1e-8)
    assert tree["criteria"]["bic"].item() == pytest.approx(theirs["bic"], abs=1e-8)
    V = np.array(theirs["vcov"])
    ours = bm.estimates(tree, df="z").filter(like="beta", axis=0)
    np.testing.assert_allclose((ours["estimate"] - theirs["beta"]) / np.sqrt(np.diag(V)), 0, atol=1e-6)
    np.testing.assert_allclose(ours["se"], np.sqrt(np.diag(V)), rtol=1e-6)
    np.testing.assert_allclose(tree["estimate"]["psi_city"], theirs["Psi"], atol=1e-6 * np.abs(theirs["Psi"]).max())
    overall = bm.heterogeneity(tree).sel(outcome="overall")
    for ours_name, name in (("Q", "Q"), ("df", "Qdf"), ("pvalue", "Qp"), ("I2", "I2")):
        assert float(overall[ours_name]) == pytest.approx(theirs[name], rel=1e-8), name


def test_information_criteria_by_maximum_likelihood(cities, known):
    for right, theirs in zip(ML, known["ml"], strict=True):
        tree = bm.fit(bm.specify(f"{LEFT} ~ {right}", cities, S=S, random="1 | city"), method="ml")
        for name in ("loglik", "aic", "bic"):
            assert tree["criteria"][name].item() == pytest.approx(theirs[name], abs=1e-7), (right, name)


def test_pooled_curves(cities, fits, known):
    average, at = basis(cities.mean(numeric_only=True)), np.array(known["temperature"])
    predicted = {
        "mean": (bm.predict(fits["mean"], {}, covariance=True), [known["pooled"]]),
        "climate": (
            bm.predict(
                fits["climate"],
                {"mean_temperature": known["at"]["avg"], "range_temperature": known["at"]["rng"]},
                covariance=True,
            ),
            list(known["climates"].values()),
        ),
    }
    for pooled, of_all in predicted.values():
        curves = bm.curve(pooled, average, at, within=(at[25], at[99]), scale="ratio", random_seed=1)
        for i, theirs in enumerate(of_all):
            assert float(curves["minimum"][i]) == theirs["mmt"] == at[theirs["mmp"]]
            for ours, name in (("mean", "rr"), ("lower", "low"), ("upper", "high")):
                np.testing.assert_allclose(curves[ours][i], theirs[name], rtol=1e-6, err_msg=name)


def test_curves_of_cities(cities, fits, known):
    blup = bm.blup(fits["climate"], se="paper", covariance="joint")
    for i, city in cities.iloc[::6].iterrows():
        theirs = known["cities"][city["city"]]
        one, V, own = blup.isel(row=[i], row_bis=[i]), full(theirs["vcov"]), basis(city)
        sd = np.sqrt(np.diag(V))
        np.testing.assert_allclose((one["mean"][0] - theirs["blup"]) / sd, 0, atol=1e-5)
        np.testing.assert_allclose(one["covariance"][0] / np.outer(sd, sd), V / np.outer(sd, sd), atol=1e-5)
        grid = np.arange(np.ceil(city["p25"] * 10), np.floor(city["p99"] * 10) + 1) / 10
        least = bm.curve(one, own, grid, draws=2, random_seed=1)["minimum"].item()
        assert least == theirs["mmt"], city["city"]
        ends = bm.curve(one, own, city[["p1", "p99"]].tolist(), least, scale="ratio", draws=2)
        ratios = np.stack([ends[name][0] for name in ("mean", "lower", "upper")], 1)
        np.testing.assert_allclose(ratios, theirs["rr"], rtol=1e-5)


def test_attributable_deaths(cities, fits, known):
    bases = {city["city"]: basis(city) for _, city in cities.iterrows()}
    days = pd.read_csv(DATA / "italy_days.csv").groupby("city")
    temperatures, deaths = ({str(city): day[column] for city, day in days} for column in ("temperature", "deaths"))
    least = {name: theirs["mmt"] for name, theirs in known["cities"].items()}

    def percent(blup: Any, between: Any = None, draws: int = 400) -> Any:
        made = bm.attributable(blup, bases, temperatures, deaths, least, between, draws=draws, random_seed=1)
        return 100 * made

    together = bm.blup(fits["climate"], se="paper", covariance="joint")
    parts = [percent(together), percent(together, "below", draws=1), percent(together, "above", draws=1)]
    for j, ours in enumerate(parts):
        theirs = np.array([known["cities"][city]["an"][j] for city in cities["city"]])
        # the days are in classes of 1 degree, two values with the mean and variance of each; attrdl took the series
        np.testing.assert_allclose(ours["cases"][:-1] / 100, cities["deaths"], rtol=1e-4)
        np.testing.assert_allclose(ours["fraction"][:-1], 100 * theirs / cities["deaths"], atol=0.004)
        assert float(ours["fraction"][-1]) == pytest.approx(known["fraction"]["all"][j], abs=2e-4)

    # drawn city by city, as attrdl is used, the interval is theirs up to the error of the draws; together it is wider
    low, high = known["fraction"]["low"][0], known["fraction"]["high"][0]
    with pytest.warns(bm.AssumptionWarning, match="drawn independently"):
        alone = percent(together.drop_vars("joint")).sel(row="all")
    assert float(alone["fraction_lower"]) == pytest.approx(low, abs=0.25)
    assert float(alone["fraction_upper"]) == pytest.approx(high, abs=0.25)
    jointly = parts[0].sel(row="all")
    assert float(jointly["fraction_upper"] - jointly["fraction_lower"]) > 1.1 * (high - low)
