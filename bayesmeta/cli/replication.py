"""Published analyses: what models, reproduce and simulate do."""

from pathlib import Path

import typer
from rich.console import Console

from bayesmeta._validation import check_count
from bayesmeta.cli.app import FAILED, echo, fail
from bayesmeta.cli.printing import print_files, print_rows, print_study
from bayesmeta.errors import BayesmetaError, DataError, SpecError
from bayesmeta.io.toml_files import bundled, locate
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.model_files.reproduce import Row, rows_of
from bayesmeta.simulation.declaration import declares_simulation, load_study
from bayesmeta.simulation.run import results_path, run_study, study_table


def models() -> None:
    rows = []
    for name, path in bundled().items():
        if declares_simulation(path):
            rows.append((name, "simulation", load_study(path).title))
        else:
            analysis = load_analysis(path)
            rows.append((name, f"{len(analysis.models)} models", analysis.title))
    print_files(rows)


def reproduce(file: Path | None, directory: Path | None, outside: bool) -> None:
    paths = _declared(file, directory)
    analyses = [load_analysis(path, allow_outside=outside) for path in paths if not declares_simulation(path)]
    if not analyses:
        raise DataError(f"no model files (*.toml) in {file or directory}; give their directory with --models")
    rows: list[Row] = []
    failures: list[str] = []
    for analysis in analyses:
        for name in analysis.models:
            try:
                rows += rows_of(analysis, name)
            except BayesmetaError as error:
                failures.append(f"{analysis.path.stem}, {name}: {error}")
    print_rows(rows)
    if failures:
        fail(f"Error: {len(failures)} failed\n" + "\n".join(failures), FAILED)
    if not all(row.ok for row in rows):
        raise typer.Exit(FAILED)


def _declared(file: Path | None, directory: Path | None) -> list[Path]:
    """The model files of a directory, the one that is named, or those that are bundled."""
    if file is not None and directory is not None:
        raise SpecError("reproduce takes a model file, or a directory with --models, not both")
    if file is not None:
        return sorted(file.glob("*.toml")) if file.is_dir() else [locate(file)]
    return list(bundled().values()) if directory is None else sorted(directory.glob("*.toml"))


def simulate(file: Path, datasets: int | None, out: Path | None, jobs: int, zarr: bool) -> None:
    study, directory = load_study(file), out or Path(f"{file.stem}_results")
    n = study.datasets if datasets is None else check_count(datasets, "--datasets")
    echo(f"{study.title}\n{study.citation}".rstrip())
    results = run_study(study, directory, n, jobs, Console(stderr=True).is_terminal, zarr)
    print_study(study_table(study, results))
    echo(f"Results saved in {results_path(directory, zarr)}")
