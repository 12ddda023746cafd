"""Commands about published analyses: models, reproduce, simulate."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bayesmeta._validation import check_count
from bayesmeta.cli.app import Outside, echo, fail, plain_errors
from bayesmeta.cli.printing import print_files, print_rows, print_study
from bayesmeta.errors import BayesmetaError, DataError
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.model_files.reproduce import Row, rows_of
from bayesmeta.simulation.declaration import declares_simulation, load_study
from bayesmeta.simulation.run import results_path, run_study, study_table
from bayesmeta.toml_files import bundled


def models() -> None:
    """List the bundled model files, which other commands take by name: `bayesmeta fit school`."""
    with plain_errors():
        rows = []
        for name, path in bundled().items():
            if declares_simulation(path):
                rows.append((name, "simulation", load_study(path).title))
            else:
                analysis = load_analysis(path)
                rows.append((name, f"{len(analysis.models)} models", analysis.title))
        print_files(rows)


def reproduce(
    directory: Annotated[
        Path | None, typer.Option("--models", help="A directory of model files instead of the bundled ones.")
    ] = None,
    allow_outside: Outside = False,
) -> None:
    """Check every published number of the model files; exit code 1 when one is not reproduced."""
    with plain_errors():
        paths = bundled().values() if directory is None else sorted(directory.glob("*.toml"))
        analyses = [load_analysis(path, allow_outside=allow_outside) for path in paths if not declares_simulation(path)]
        if not analyses:
            raise DataError(f"no model files (*.toml) in {directory}; give their directory with --models")
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
        fail(f"Error: {len(failures)} failed\n" + "\n".join(failures), 1)
    if not all(row.ok for row in rows):
        raise typer.Exit(1)


def simulate(
    file: Annotated[
        Path, typer.Argument(help="A declared simulation study, or the name of a bundled one, such as table6.")
    ],
    datasets: Annotated[int | None, typer.Option(help="Data sets per scenario instead of the file's number.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Directory of the results; by default the name of FILE with _results."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Number of processes; -1 for one on every processor.")] = -1,
    zarr: Annotated[bool, typer.Option("--zarr", help="Save a Zarr directory instead of a netCDF file.")] = False,
) -> None:
    """Run a simulation study, or what is left of it, and print its statistics beside the published ones."""
    with plain_errors():
        study, directory = load_study(file), out or Path(f"{file.stem}_results")
        n = study.datasets if datasets is None else check_count(datasets, "--datasets")
        echo(f"{study.title}\n{study.citation}".rstrip())
        results = run_study(study, directory, n, jobs, Console().is_terminal, zarr)
        print_study(study_table(study, results))
        echo(f"Results saved in {results_path(directory, zarr)}")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (models, reproduce, simulate):
        app.command()(command)
