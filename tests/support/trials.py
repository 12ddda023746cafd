"""Made-up trials for tests of plots: few or many, with short and long names."""

import numpy as np
import pandas as pd

import bayesmeta as bm

LONG = "A very long title of a study in a far country, costing $5 or $6, "


def trials(n: int, long: bool = False, seed: int = 1) -> pd.DataFrame:
    """n rows: effect y, variance v, category kind, year, study."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.02, 0.3, n)
    kinds = np.array(["random", "alternate", "systematic"])[np.arange(n) % 3]
    y = rng.normal(-0.3, 0.4, n) + rng.normal(size=n) * np.sqrt(v)
    study = [f"{LONG if long else ''}trial {i + 1}" for i in range(n)]
    return pd.DataFrame({"y": y, "v": v, "kind": kinds, "year": rng.integers(1950, 2000, n), "study": study})


def trial_spec(n: int, long: bool = False, formula: str = "y ~ 1", seed: int = 1) -> bm.Spec:
    return bm.specify(formula, trials(n, long, seed), S="v", random="1 | study", measure="logor")


def school() -> bm.Spec:
    return bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")


def berkey(psi: str = "unstr") -> bm.Spec:
    data = bm.datasets.load("berkey98")
    return bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi, measure="md")


def bcg(formula: str = "logor ~ 1") -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("bcg"), S="logorvar", measure="logor")
