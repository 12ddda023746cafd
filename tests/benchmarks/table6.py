"""Holds a finished run of models/table6.toml against the published table and, on a sample, against full matrices.

`python -m tests.benchmarks.table6 DIRECTORY [EVERY]`, after `bayesmeta simulate models/table6.toml --out DIRECTORY`:
prints by how many Monte Carlo errors of both tables each entry differs, and what the dense implementation says of every
EVERY-th data set (100 by default): log-likelihood and convergence, from the estimates that the run saved and the data
drawn anew.
"""

import sys
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta.estimation.fit_many import data_sets
from bayesmeta.estimation.parallel import in_order
from bayesmeta.model.spec import Spec
from bayesmeta.simulation.declaration import Simulation, load_study, scenario_of
from bayesmeta.simulation.run import RESULTS, seeds, study_table
from tests.support import dense

MOST_ERRORS = 4 * np.sqrt(2)  # Monte Carlo errors of one table; both have the same number of data sets
MOST_APART = 0.02  # of correlations, whose searches stop differently at their limits
FLAT = 1e-4  # derivative of the log-likelihood by log tau2 or by logit rho that counts as zero
ON_LIMIT = 1e-6


class Checked(NamedTuple):
    """Of one data set: error of the saved log-likelihood, and the largest derivative that leads to a higher one."""

    error: float
    slope: float
    converged: bool


def deviations(rows: pd.DataFrame) -> pd.DataFrame:
    """`errors`: difference from the paper in its Monte Carlo errors; `holds`: whether it is within what is allowed."""
    apart = (rows["value"] - rows["paper"]).abs()
    rho = rows["statistic"].str.startswith("bias_rho")
    errors = apart / rows["mcse"]
    return rows.assign(apart=apart, errors=errors, holds=np.where(rho, apart <= MOST_APART, errors <= MOST_ERRORS))


def model_of(spec: Spec, Y: np.ndarray, S: np.ndarray, psi: list[np.ndarray]) -> dense.Model:
    """Full matrices of one data set."""
    spec = data_sets(spec, Y[None], S[None]).one(0)
    full = np.zeros((len(spec.y),) * 2)
    full[spec.S.row, spec.S.col] = full[spec.S.col, spec.S.row] = spec.S.value
    Z, groups = [np.array(v.Z) for v in spec.levels], [np.array(v.index) for v in spec.levels]
    return dense.Model(spec.y, np.array(spec.X), Z, groups, full, psi)


def upward(psi: np.ndarray, score: np.ndarray) -> float:
    """Largest derivative of the log-likelihood in a direction open to a compound-symmetric Psi, 0 at a maximum.

    By log tau2 and by the logit of rho's place between its limits; at a limit only away from it, and at Psi = 0 by tau2
    itself, at whatever correlation.
    """
    k = len(psi)
    tau2, low = float(psi[0, 0]), -1 / (k - 1)
    by_tau2 = {rho: float(np.sum(score * np.where(np.eye(k, dtype=bool), 1.0, rho))) for rho in (low, 1.0)}
    if tau2 < ON_LIMIT:
        return max(0.0, *by_tau2.values())
    rho = float(psi[0, 1]) / tau2
    along_tau = abs(float(np.sum(score * psi)))
    by_rho = tau2 * float(np.sum(score) - np.trace(score))
    if min(1 - rho, rho - low) < ON_LIMIT:
        inward = -by_rho if 1 - rho < ON_LIMIT else by_rho
        return max(along_tau, inward)
    return max(along_tau, abs(by_rho) * (1 - rho) * (rho - low))


def check(study: Simulation, way: str, number: int, place: int, saved: xr.Dataset) -> Checked:
    scenario = scenario_of(study, number, way)
    Y, S = scenario.data_sets(seeds(study, way, number, place, place + 1))
    psi = [saved[f"psi_{level.name}"].to_numpy() for level in scenario.spec.levels]
    model = model_of(scenario.spec, Y[0], S[0], psi)
    error = abs(dense.loglik(model, True) - float(saved["loglik"]))
    slopes = [upward(p, score) for p, score in zip(psi, dense.scores(model, True), strict=True)]
    return Checked(error, max(slopes), bool(saved["converged"]))


def main(directory: str, every: str = "100") -> None:
    study = load_study(Path(__file__).parents[2] / "models" / "table6.toml")
    results = xr.open_datatree(Path(directory) / RESULTS, engine="h5netcdf").load()
    rows = deviations(study_table(study, results))
    pd.set_option("display.width", 160, "display.max_rows", 200)
    for way, own in rows.groupby("draw", sort=False):
        by = ["m", "rho_b", "rho_w"]
        print(f"\n{way}: difference from the paper in Monte Carlo errors of {own['datasets'].iloc[0]:,} data sets")
        print(own.pivot(index=by, columns="statistic", values="errors").round(2).to_string())
        rho = own[own["statistic"].str.startswith("bias_rho")]
        print(f"largest difference of a correlation's bias {rho['apart'].max():.4f}")
        print(f"{own['holds'].sum()} of {len(own)} entries hold; {(own['datasets'] - own['used']).max()} not converged")
    for way, number in product(study.draws, range(len(study.scenarios))):
        found = results[f"{way}_{number + 1}"].to_dataset().isel(estimator=0)
        places = range(0, found.sizes["dataset"], int(every))
        jobs = [(study, way, number, place, found.isel(dataset=place)) for place in places]
        checked = list(in_order(_check, jobs, -1, False))
        print(
            f"{way} {number + 1}: {len(checked)} data sets by full matrices: largest error of the log-likelihood "
            f"{max(c.error for c in checked):.1e}, largest derivative {max(c.slope for c in checked):.1e}, "
            f"{sum(c.slope <= FLAT for c in checked)} converged, {sum(c.converged for c in checked)} said to be",
            flush=True,
        )


def _check(job: tuple[Simulation, str, int, int, xr.Dataset]) -> Checked:
    return check(*job)


if __name__ == "__main__":
    main(*sys.argv[1:])
