"""Run a declared simulation study piece by piece, saving each when it is done, and tabulate its results."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_boolean, check_count, check_is, check_path
from bayesmeta.errors import ConvergenceWarning, DataError
from bayesmeta.estimation.fit_many import fit_many
from bayesmeta.estimation.parallel import Backend, Jobs
from bayesmeta.simulation.declaration import Scenario, Simulation, Statistic, scenario_of
from bayesmeta.simulation.folder import claimed, done, read_piece, save_piece
from bayesmeta.tree import files
from bayesmeta.tree.schema_check import missing_group

PIECE = 250  # data sets that are fitted and saved together: what a kill can lose
RESULTS, RESULTS_ZARR = "results.nc", "results.zarr"
WALD = 1.959963984540054


@dataclass(frozen=True)
class Piece:
    """Data sets `start` to `stop` of one scenario, with sampling SDs drawn in one way."""

    way: str
    scenario: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.way}-{self.scenario + 1:02d}-{self.start:06d}-{self.stop:06d}.nc"

    @property
    def datasets(self) -> IntArray:
        return np.arange(self.start, self.stop)


def run_study(
    study: Simulation,
    directory: str | Path,
    datasets: int | None = None,
    n_jobs: int = 1,
    progress: bool = False,
    zarr: bool = False,
    backend: Backend | None = None,
) -> xr.DataTree:
    """Fit all data sets of a declared study, or those that an earlier run has not saved in the directory.

    Parameters
    ----------
    study : Simulation
        From `bayesmeta.load_study`.
    directory : str or Path
        Where every piece of 250 data sets is saved when it is done, and the whole at the end; created if missing.
    datasets : int, optional
        Data sets per scenario, instead of the study's number.
    n_jobs : int, default 1
        Number of processes, -1 for one on every processor. The results do not depend on it, nor on interruptions.
    progress : bool, default False
        Whether to show a progress bar.
    zarr : bool, default False
        Whether to save the whole as a Zarr directory, `results.zarr`, instead of `results.nc`.
    backend : {"loky", "dask", "threading"}, optional
        Of joblib: processes of this machine (the default), the workers of the Dask client in scope, or threads.
        Workers of a cluster save their pieces themselves, in a directory that all machines share.

    Returns
    -------
    DataTree
        One node for every draw and scenario, such as "script_1", each with `beta`, `beta_se`, `psi_L`, `loglik` and
        `converged` over (estimator, dataset, ...).

    Raises
    ------
    SpecError
        If the directory holds the results of a study with another design.
    DataError
        If it holds anything else, or another process is writing there.

    Warns
    -----
    AssumptionWarning
        When a piece that was saved earlier is damaged; its data sets are fitted again.

    Examples
    --------
    >>> import bayesmeta as bm, tempfile
    >>> study = bm.load_study("table6")
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     bm.run_study(study, directory, datasets=2)["script_1"]["beta"].sizes
    Frozen({'estimator': 1, 'dataset': 2, 'coef': 3})
    """
    check_is(study, Simulation, "study", "a simulation study from bm.load_study")
    jobs = Jobs(n_jobs, backend, progress)
    check_boolean(zarr, "zarr")
    directory = check_path(directory, "directory")
    if datasets is not None:
        check_count(datasets, "datasets")
    with claimed(study, directory):
        return _run(study, directory, datasets, jobs, zarr)


def _run(study: Simulation, directory: Path, datasets: int | None, jobs: Jobs, zarr: bool) -> xr.DataTree:
    n = study.datasets if datasets is None else datasets
    pieces = [
        Piece(way, scenario, start, min(start + PIECE, n))
        for way in study.draws
        for scenario in range(len(study.scenarios))
        for start in range(0, n, PIECE)
    ]
    open_pieces = [piece for piece in pieces if not done(directory / piece.name, piece.datasets)]
    for _ in jobs.in_order(partial(_save_piece, study, directory), open_pieces, study.title):
        pass
    groups = {}
    for way in study.draws:
        own = [piece for piece in pieces if piece.way == way]
        for number in range(len(study.scenarios)):
            read = [_read(directory / piece.name) for piece in own if piece.scenario == number]
            groups[f"{way}_{number + 1}"] = xr.DataTree(xr.concat(read, dim="dataset", join="exact"))
    tree = xr.DataTree(xr.Dataset(attrs={"title": study.title, "design_hash": study.design_hash}), children=groups)
    files.write(tree, results_path(directory, zarr))
    return tree


def results_path(directory: Path, zarr: bool) -> Path:
    """Where the results of a whole study are."""
    return directory / (RESULTS_ZARR if zarr else RESULTS)


def _save_piece(simulation: Simulation, directory: Path, piece: Piece) -> None:
    save_piece(estimates(simulation, piece), directory / piece.name)


def _read(file: Path) -> xr.Dataset:
    table = read_piece(file)
    if table is None:
        raise DataError(f"piece {file} was damaged after it had been saved\n  run the study again, which fits it anew")
    return table


def estimates(simulation: Simulation, piece: Piece) -> xr.Dataset:
    """Estimates of every estimator from the data sets of a piece: (estimator, dataset, ...)."""
    scenario = scenario_of(simulation, piece.scenario, piece.way)
    Y, S = scenario.data_sets(seeds(simulation, piece.way, piece.scenario, piece.start, piece.stop))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [fit_many(scenario.spec, Y, S, method) for method in simulation.estimators]
    kept = ["beta", "beta_se", *(schema.psi(v.name) for v in scenario.spec.levels), "loglik", "converged"]
    by = pd.Index(simulation.estimators, dtype=object, name="estimator")
    table = xr.concat([fit[kept] for fit in fits], dim=by, combine_attrs="drop")
    return table.assign_coords(dataset=piece.datasets).drop_attrs()


def seeds(simulation: Simulation, way: str, scenario: int, start: int, stop: int) -> list[np.random.SeedSequence]:
    """Seeds of the data sets `start` to `stop`, one each, whatever piece they are in."""
    key = (list(simulation.draws).index(way), scenario)
    return [np.random.SeedSequence(simulation.seed, spawn_key=(*key, i)) for i in range(start, stop)]


def study_table(study: Simulation, results: xr.DataTree) -> pd.DataFrame:
    """Statistics of every scenario and estimator of a study, with their Monte Carlo errors.

    Parameters
    ----------
    study : Simulation
        From `bayesmeta.load_study`.
    results : DataTree
        From `bayesmeta.run_study`.

    Returns
    -------
    DataFrame
        One row for every draw, scenario, estimator and statistic: `draw`, the numbers of the scenario, `estimator`,
        `statistic`; `value`, its Monte Carlo error `mcse`, and `paper`, the published value, or NaN; `datasets`, and
        `used`, how many of them converged and count.

    Examples
    --------
    >>> import bayesmeta as bm, tempfile
    >>> study = bm.load_study("table6")
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     results = bm.run_study(study, directory, datasets=2)
    >>> len(bm.study_table(study, results))  # 2 draws, 8 scenarios, 7 statistics
    112
    """
    check_is(study, Simulation, "study", "a simulation study from bm.load_study")
    check_is(results, xr.DataTree, "results", "the results tree of bm.run_study")
    for way in study.draws:
        for number in range(1, len(study.scenarios) + 1):
            if (name := f"{way}_{number}") not in results.children:
                raise missing_group(results, name)
    return pd.DataFrame(_rows(study, results))


def _rows(simulation: Simulation, results: xr.DataTree) -> Iterator[dict[str, object]]:
    for way in simulation.draws:
        for number, declared in enumerate(simulation.scenarios):
            scenario = scenario_of(simulation, number, way)
            fits = results[f"{way}_{number + 1}"].to_dataset()
            numbers = {key: value for key, value in declared.items() if key != "paper"}
            for method in simulation.estimators:
                own = fits.sel(estimator=method)
                used = own.isel(dataset=np.flatnonzero(own["converged"].to_numpy()))
                for statistic in simulation.statistics:
                    value, error = summarised(statistic, used, scenario)
                    yield {
                        "draw": way,
                        **numbers,
                        "estimator": method,
                        "statistic": statistic.name,
                        "kind": statistic.kind,
                        "value": value,
                        "mcse": error,
                        "paper": float(declared.get("paper", {}).get(statistic.name, np.nan)),
                        "used": used.sizes["dataset"],
                        "datasets": own.sizes["dataset"],
                    }


def summarised(statistic: Statistic, fits: xr.Dataset, scenario: Scenario) -> tuple[float, float]:
    """A statistic and its Monte Carlo error; a correlation of variances that are zero is left out."""
    error = _estimate(statistic, fits) - scenario.truth(statistic)
    if statistic.kind == "coverage":
        inside = np.abs(error) <= WALD * fits["beta_se"].to_numpy()[:, 0]
        if not len(inside):
            return np.nan, np.nan
        share = float(inside.mean())
        return share, float(np.sqrt(share * (1 - share) / len(inside)))
    error = error[np.isfinite(error)]
    if not len(error):
        return np.nan, np.nan
    if statistic.kind == "bias":
        return float(error.mean()), _monte_carlo_error(error)
    rmse = float(np.sqrt(np.mean(error**2)))
    return rmse, _monte_carlo_error(error**2) / (2 * rmse) if rmse > 0 else np.nan


def _monte_carlo_error(values: FloatArray) -> float:
    """Standard error of a mean; NaN of a single value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def _estimate(statistic: Statistic, fits: xr.Dataset) -> FloatArray:
    if statistic.of == "beta":
        return np.asarray(fits["beta"].to_numpy()[:, 0])
    psi = fits[schema.psi(statistic.level)].to_numpy()
    if statistic.of == "tau2":
        return np.asarray(psi[:, 0, 0])
    scale = np.sqrt(psi[:, 0, 0] * psi[:, 1, 1])
    return np.divide(psi[:, 0, 1], scale, out=np.full(len(psi), np.nan), where=scale > 0)
