"""One small data set that has everything a results tree must carry: see `awkward_spec`."""

import numpy as np
import pandas as pd

import bayesmeta as bm


def awkward_data(seed: int = 1) -> pd.DataFrame:
    """Two outcomes with covariances, 36 rows in 4 regions with 3 labs of the same labels in each, in no order.

    Row r3 misses a predictor, r7 both outcomes, r11 and r20 one of them; labels of groups contain the separators.
    """
    rng = np.random.default_rng(seed)
    n = 36
    region, lab = np.repeat(["n/orth", "south\\", "east", "west"], 9), np.tile(np.repeat(["a", "b/", "\\c"], 3), 4)
    sd, r = rng.uniform(0.1, 0.4, (n, 2)), rng.uniform(-0.6, 0.6, n)
    dose = rng.uniform(0, 10, n).round(2)
    frame = pd.DataFrame(
        {
            "A": rng.normal(0.3 * np.sin(dose), 0.7),
            "B": rng.normal(-0.1 * dose, 0.7),
            "vA": sd[:, 0] ** 2,
            "cAB": r * sd[:, 0] * sd[:, 1],
            "vB": sd[:, 1] ** 2,
            "dose": dose,
            "kind": pd.Categorical(rng.choice(["low", "mid", "high"], n), categories=["low", "mid", "high"]),
            "year": rng.integers(2000, 2003, n),
            "base": rng.normal(0, 0.1, n),
            "region": region,
            "lab": lab,
        },
        index=[f"r{i}" for i in range(n)],
    )
    frame.loc["r3", "dose"] = np.nan
    frame.loc["r7", ["A", "B"]] = np.nan
    frame.loc["r11", "A"] = np.nan
    frame.loc["r20", "B"] = np.nan
    return frame.iloc[rng.permutation(n)]


def awkward_spec() -> bm.Spec:
    """Spline, factors, offset and slopes at two levels with different structures."""
    return bm.specify(
        "A + B ~ ns(dose, df=3) + kind + C(year)",
        awkward_data(),
        S=["vA", "cAB", "vB"],
        random={"region": "1", "region/lab": "1 + dose"},
        psi={"region": "diag", "lab": "cs"},
        offset="base",
        measure="smd",
    )


def awkward_new_data() -> pd.DataFrame:
    """Rows with predictors only, one of them incomplete."""
    columns = {"dose": [1.0, 12.0, np.nan], "kind": ["high", "mid", "low"], "year": [2002, 2000, 2001]}
    return pd.DataFrame(columns | {"base": [0.1, 0.0, 0.2]}, index=["x", "y", "z"])
