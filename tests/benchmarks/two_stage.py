"""Second stages: seconds of 854 places, and two published cases: `python -m tests.benchmarks.two_stage [DIR]`.

The first case, 87 Italian cities, is that of the gallery's page masselot2025: its numbers are held to those of mixmeta,
dlnm and attrdl, and its seconds are printed. DIR is the folder `data` of https://github.com/gasparrini/Extended2stage,
in which Sera and Gasparrini (2022), Environ. Health 21:41, publish the coefficients of heat and mortality in 108 cities
of the USA. With it their table of models is printed beside ours, and the pooled curve: its minimum, and the relative
risk of the 99th percentile.
"""

import sys
import warnings
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd

import bayesmeta as bm
from tests.support.make_gallery import run_page

PLACES, AGES, K = 854, (30.0, 54.5, 69.5, 79.5, 90.0), 5
PRINTED = {  # df, I2, AIC, BIC as printed
    "1": (14, 61.5, -520.60, -463.64),
    "pop100": (18, 53.3, -529.81, -456.57),
    "Phigh": (18, 58.1, -530.26, -456.80),
    "Punem": (18, 55.7, -536.24, -463.11),
}


def many_places(seed: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    """Coefficients of 854 places at five ages, five each, which vary between places and change with age."""
    rng = np.random.default_rng(seed)
    n = PLACES * len(AGES)
    table = pd.DataFrame({"city": np.repeat(np.arange(PLACES), len(AGES)), "age": np.tile(AGES, PLACES)})
    b = rng.multivariate_normal(np.zeros(K), 0.05 * (0.3 + 0.7 * np.eye(K)), PLACES)
    roots = rng.normal(size=(n, K, K)) * 0.15
    S = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(K)
    mean = np.outer(0.01 * (table["age"] - 60), np.linspace(1, -1, K))
    y = mean + b[table["city"]] + np.einsum("nij,nj->ni", np.linalg.cholesky(S), rng.normal(size=(n, K)))
    return table.assign(**{f"coef{j + 1}": y[:, j] for j in range(K)}), S


def seconds() -> None:
    table, S = many_places()
    outcomes = " + ".join(f"coef{j + 1}" for j in range(K))
    for _ in range(2):  # the first compiles
        start = process_time()
        spec = bm.specify(f"{outcomes} ~ ns(age, knots=[60])", table, S=S, random="1 | city")
        fit = bm.fit(spec)
        fitted = process_time()
        bm.blup(fit, covariance=True)
        end = process_time()
    print(
        f"{PLACES} places x {len(AGES)} ages x {K} coefficients: specify and fit {fitted - start:.2f} s of CPU, ",
        end="",
    )
    print(f"BLUPs with covariances {end - fitted:.2f} s, {end - start:.2f} s in all")


def italy() -> None:
    """All cells of the page, whose last holds its numbers to those of R."""
    start = process_time()
    names = run_page("masselot2025")
    spent = process_time() - start
    print(f"87 Italian cities, six fits, 89 curves, attributable deaths: {spent:.2f} s of CPU; numbers of R: equal")
    for part, each in names["percent"].items():
        fraction, low, high = (float(each[f"fraction{end}"]) for end in ("", "_lower", "_upper"))
        print(f"  deaths attributable to temperature, {part}: {fraction:.2f}% ({low:.2f} to {high:.2f})")


def published(folder: Path) -> None:
    table = pd.read_csv(folder / "tmeanpar.csv").merge(pd.read_csv(folder / "citycensus.csv"), on="city")
    S = [f"vcov{j + 1}" for j in range(10)]
    fits = {
        right: bm.fit(
            bm.specify(f"coef1 + coef2 + coef3 + coef4 ~ {right}", table, S=S, random="1 | city"), method="ml"
        )
        for right in PRINTED
    }
    rows = []
    for right, fit in fits.items():
        criteria, df = fit["criteria"], int(fit["criteria"]["df"])
        pvalue = bm.lr_test(fits["1"], fit).pvalue if right != "1" else np.nan
        ours = df, float(bm.heterogeneity(fit)["I2"][0]), float(criteria["aic"]), float(criteria["bic"])
        rows.append([right, *(f"{a:.6g} ({b:g})" for a, b in zip(ours, PRINTED[right], strict=True)), f"{pvalue:.2g}"])
    print(pd.DataFrame(rows, columns=["predictor", "df", "I2", "AIC", "BIC", "LR p"]).to_string(index=False))
    summer = pd.read_csv(folder / "avgtmeansum.csv").assign(perc=lambda d: d["perc"].str.rstrip("%").astype(float))
    at = summer["tmean"].to_numpy()
    knots = [float(x) for x in at[summer["perc"].isin([50, 90])]]
    basis = bm.basis(f"bs(t, knots={knots}, degree=2, boundary_knots=[{at.min()}, {at.max()}])", {"t": at})
    pooled = bm.predict(fits["1"], {}, covariance=True)
    curve = bm.curve(pooled, basis, at, scale="ratio", random_seed=1).isel(row=0)
    lowest = float(curve["minimum"])
    hot = curve.sel(at=float(at[summer["perc"] == 99][0]))
    risk = ", ".join(f"{float(hot[name]):.3f}" for name in ("mean", "lower", "upper"))
    percentile = float(summer["perc"][at == lowest].iloc[0])
    print(f"least risk at {lowest:.1f} °C, percentile {percentile:g}; 99th percentile against it {risk}")


def main() -> None:
    warnings.simplefilter("ignore")
    seconds()
    italy()
    if len(sys.argv) > 1:
        published(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
