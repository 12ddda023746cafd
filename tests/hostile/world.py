"""What the lines of malformed calls are evaluated in: small data, models and results, the same in every run.

`python -m tests.hostile.world "LINE"` runs one line again.
"""

import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import bayesmeta as bm
from tests.support.posteriors import make_posterior

N = 10


@cache
def world() -> dict[str, Any]:
    """Names and values."""
    rng = np.random.default_rng(0)
    D = pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "v": rng.uniform(0.1, 0.5, N),
            "x": rng.normal(size=N),
            "g": list("aabbccddee"),
            "f": list("pqrpqrpqrp"),
            "y2": rng.normal(size=N),
            "v2": rng.uniform(0.1, 0.5, N),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = bm.specify("y ~ x", D, S="v", random="1 | g", measure="smd")
        spec2 = bm.specify("y + y2 ~ x", D, S=["v", "v2"], random="1 | g")
        fits = {f"T{name}": bm.fit(spec, method) for name, method in (("", "reml"), ("ML", "ml"))}
        null = bm.fit(bm.specify("y ~ 1", D, S="v", random="1 | g", measure="smd"), "ml")
        posterior = make_posterior(spec)
        estimates = bm.profile(fits["T"], points=3)
        single = bm.specify("y ~ 1", D, S="v", measure="smd")
        arms = {"e": range(1, N + 1), "c": range(2, N + 2), "n": range(20, 40, 2), "m": range(21, 41, 2)}
        alone = bm.fit(bm.specify("y ~ 1", D.assign(**arms), S="v", measure="logor"))
        ARMS = pd.DataFrame({"s": list("112233444"), "t": list("ABBCACABC"), "e": [3, 6, 5, 9, 2, 8, 4, 5, 9], "n": 40})
        columns = {"study": "s", "treatment": "t", "events": "e", "total": "n", "measure": "logor"}
        network = bm.network.specify(ARMS, **columns)
        combined = bm.network.specify(ARMS.replace({"C": "A+B"}), **columns)
        fitted = bm.fit(network)
        cells = {"tp": [40, 30, 25, 60, 44, 80], "fp": [8, 12, 5, 30, 9, 14], "fn": [5, 9, 4, 12, 6, 15]}
        tables = pd.DataFrame({**cells, "tn": [90, 70, 60, 200, 110, 150], "s": list("abcdef")})
        accuracy = bm.fit(bm.diagnostic.specify(tables, study="s"))
    counts = pd.DataFrame({"e": [3, 5, 7], "c": [4, 2, 9], "n": [20, 20, 30], "m": [20, 22, 30]})
    counts = counts.assign(
        p=counts.n - counts.e, q=counts.m - counts.c, a=[1.0, 2, 3], b=[0.5, 1, 2], s=1.5, t=[1, 2, 3.0]
    )
    y = D[["y"]].to_numpy()[None].repeat(3, axis=0)
    return {
        "np": np,
        "pd": pd,
        "xr": xr,
        "bm": bm,
        "Path": Path,
        "D": D,
        "E": counts,
        "ARMS": ARMS,
        "NET": fitted,
        "NETS": network,
        "NETC": combined,
        "A": tables,
        "ACC": accuracy,
        "AL": (cohorts := bm.datasets.load("alcohol")),
        "DR": bm.fit(
            bm.dose_response.specify(
                cohorts, study="id", cases="cases", person_years="peryears", y="logrr", se="se", basis="rcs(dose, 3)"
            )
        ),
        "Y": y,
        "S": np.full((3, N, 1, 1), 0.2),
        "SPEC": spec,
        "SPEC2": spec2,
        "NULL": null,
        "POST": posterior,
        "PROFILE": estimates,
        "ONE": single,
        "ALONE": alone,
        "T2": bm.fit(spec2),
        **fits,
        "STUDY": bm.load_study("table6"),
        "OUT": Path(tempfile.gettempdir()) / "bayesmeta-hostile",
    }


def run(line: str) -> Any:
    """The value of one line."""
    return eval(line, dict(world()))


if __name__ == "__main__":
    print(run(sys.argv[1]))
