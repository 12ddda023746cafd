"""The command line: fit and sample the models of a file, compare, show saved results, hold the published numbers."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
import xarray as xr
from rich.console import Console

from bayesmeta._validation import check_name
from bayesmeta.analysis import figure_files
from bayesmeta.analysis.figures import KINDS, setting
from bayesmeta.analysis.model_file import Analysis, Model, load_analysis
from bayesmeta.analysis.reproduce import reproduce
from bayesmeta.bayes.sample import sample as draw
from bayesmeta.cli.printing import print_rows, print_study
from bayesmeta.display.export import Page
from bayesmeta.errors import BayesmetaError, BayesmetaWarning, DataError
from bayesmeta.estimation.fit import fit as fit_model
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.simulate import count
from bayesmeta.model.respecify import homogeneous
from bayesmeta.simulation.run import results_path, run_study, study_table
from bayesmeta.simulation.study import is_study, load_study
from bayesmeta.summaries.compare import compare
from bayesmeta.summaries.summary import summary
from bayesmeta.tree import files

app = typer.Typer(
    help="Meta-analysis of any shape from model files.", no_args_is_help=True, pretty_exceptions_enable=False
)

ModelFile = Annotated[Path, typer.Argument(help="A model file, such as models/school.toml.")]
OneModel = Annotated[str | None, typer.Option("--model", help="Only this model of the file.")]
Draws = Annotated[int, typer.Option(help="Kept draws of every chain.")]
Tune = Annotated[int, typer.Option(help="Draws of every chain that are discarded while it tunes.")]
Chains = Annotated[int, typer.Option(help="Number of chains.")]
Seed = Annotated[int, typer.Option(help="Seed; the same seed gives the same draws.")]
Sampler = Annotated[Literal["auto", "nutpie", "pymc", "numpyro"], typer.Option(help="auto, nutpie, pymc or numpyro.")]
TargetAccept = Annotated[float, typer.Option(help="Between 0 and 1; nearer to 1, divergences are rarer.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Where to save the results, a netCDF file or a directory NAME.zarr; by default the name of FILE with .nc, "
        "with _sample.nc, or with _compare.nc."
    ),
]


@contextmanager
def _said_plainly() -> Iterator[None]:
    """Errors that concern the user's input are messages, not tracebacks; warnings stand in the summaries already."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BayesmetaWarning)
            yield
    except BayesmetaError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def fit(
    file: ModelFile,
    model: OneModel = None,
    method: Annotated[
        str | None, typer.Option(help="Fit by this method (reml, ml, fixed) instead of the file's.")
    ] = None,
    out: Out = None,
) -> None:
    """Fit the models of a file, print them and save the results."""
    with _said_plainly():
        analysis, chosen, path = _opened(file, model, out or Path(f"{file.stem}.nc"))
        trees = {}
        for name in chosen:
            trees[name] = fit_model(analysis.models[name].spec, method=method or analysis.models[name].method)
            _echo_page(analysis.models[name], summary(trees[name]))
        for title, members in analysis.tables.items():
            if set(members) <= set(trees):
                typer.echo(f"\n== {title}\n\n{compare({name: trees[name] for name in members})}")
        _save(trees, path)


@app.command()
def sample(
    file: ModelFile,
    model: OneModel = None,
    draws: Draws = 1000,
    tune: Tune = 1000,
    chains: Chains = 4,
    seed: Seed = 1,
    sampler: Sampler = "auto",
    target_accept: TargetAccept = 0.9,
    out: Out = None,
) -> None:
    """Sample from the posteriors of the models of a file, print them and save the draws."""
    with _said_plainly():
        analysis, chosen, path = _opened(file, model, out or Path(f"{file.stem}_sample.nc"))
        trees = {}
        for name in chosen:
            given = analysis.models[name]
            trees[name] = draw(given.spec, given.priors, draws, tune, chains, seed, sampler, target_accept)
            _echo_page(given, summary(trees[name]))
        _save(trees, path)


@app.command("compare")
def compare_command(
    file: ModelFile,
    model: OneModel = None,
    method: Annotated[str, typer.Option(help="The frequentist method.")] = "reml",
    draws: Draws = 1000,
    tune: Tune = 1000,
    chains: Chains = 4,
    seed: Seed = 1,
    sampler: Sampler = "auto",
    target_accept: TargetAccept = 0.9,
    out: Out = None,
) -> None:
    """Fit and sample the models of a file, print both side by side and save both; no between-group variance where the
    file says method = "fixed"."""
    with _said_plainly():
        analysis, chosen, path = _opened(file, model, out or Path(f"{file.stem}_compare.nc"))
        trees: dict[str, xr.DataTree] = {}
        for name in chosen:
            given = analysis.models[name]
            fixed = method_named(given.method).zero_psi
            spec = homogeneous(given.spec) if fixed else given.spec
            by = given.method if fixed else method
            pair = {
                by: fit_model(given.spec, method=by),
                "bayes": draw(spec, given.priors, draws, tune, chains, seed, sampler, target_accept),
            }
            _echo_page(given, compare(pair))
            trees |= {f"{name}_{backend}": tree for backend, tree in pair.items()}
        _save(trees, path)


@app.command()
def show(file: Annotated[Path, typer.Argument(help="Results saved by `bayesmeta fit`, netCDF or Zarr.")]) -> None:
    """Print saved results."""
    with _said_plainly():
        for name, tree in files.read(file).items():
            typer.echo(f"\n== {name}\n\n{summary(tree)}" if name else str(summary(tree)))


@app.command("report")
def report_command(
    file: Annotated[Path, typer.Argument(help="A model file, such as models/school.toml, or saved results.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; FILE's name with .html by default.")
    ] = None,
    model: OneModel = None,
    method: Annotated[str | None, typer.Option(help="Fit by this method instead of the file's.")] = None,
    draws: Draws = 1000,
    tune: Tune = 1000,
    chains: Chains = 4,
    seed: Seed = 1,
    bayes: Annotated[bool, typer.Option(help="Sample from the posteriors as well as fit.")] = True,
    sensitivity: Annotated[
        bool | None,
        typer.Option("--sensitivity/--no-sensitivity", help="Sample under other priors too; by default for one model."),
    ] = None,
) -> None:
    """Write one HTML page about the models of a file or about saved results, complete in itself."""
    from bayesmeta.report.from_file import ReportOptions, report_file
    from bayesmeta.report.render import check_page

    with _said_plainly():
        path = out or Path(f"{file.stem}.html")
        check_page(path)
        page = report_file(file, path, ReportOptions(model, method, draws, tune, chains, seed, bayes, sensitivity))
        typer.echo(f"Report written to {page.save(path)}")


@app.command()
def plot(
    files: Annotated[list[Path], typer.Argument(help="Model files, saved results (netCDF or Zarr), or a study file.")],
    kind: Annotated[
        str | None, typer.Option(help=f"{', '.join(KINDS)}. By default the figures that FILE declares, or forests.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be repeated.")] = None,
    setting_: Annotated[
        list[str] | None, typer.Option("--set", help="An argument of the plot as NAME=VALUE; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .png, .svg or .pdf file, or a directory for all pictures.")
    ] = None,
    suffix: Annotated[
        Literal["png", "svg", "pdf"], typer.Option("--format", help="Of pictures in a directory.")
    ] = "png",
) -> None:
    """Draw the figures of a file and save them."""
    with _said_plainly():
        arguments = dict(map(setting, setting_ or ()))
        for path, said in figure_files.save(files, kind, model or (), arguments, out, f".{suffix}"):
            if path:
                typer.echo(f"Saved {path}")
            for note in said:
                typer.echo(f"  note: {note}", err=True)


@app.command("reproduce")
def reproduce_command(
    models: Annotated[Path, typer.Option(help="The directory of the model files.")] = Path("models"),
) -> None:
    """Hold every published number of the model files; exit code 1 when one is not held."""
    with _said_plainly():
        paths = [path for path in sorted(models.glob("*.toml")) if not is_study(path)]
        if not paths:
            raise DataError(f"no model files (*.toml) in {models}; give their directory with --models")
        rows = reproduce(paths)
    print_rows(rows)
    missed = sum(not row.ok for row in rows)
    if missed:
        raise typer.Exit(1)


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(help="A declared simulation study, such as models/table6.toml.")],
    datasets: Annotated[int | None, typer.Option(help="Data sets per scenario instead of the file's number.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the results; FILE's name with _results by default.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Number of processes; -1 for one on every processor.")] = -1,
    zarr: Annotated[bool, typer.Option("--zarr", help="Save a Zarr directory instead of a netCDF file.")] = False,
) -> None:
    """Run a simulation study, or what is left of it, and print its statistics beside the published ones."""
    with _said_plainly():
        study, directory = load_study(file), out or Path(f"{file.stem}_results")
        n = study.datasets if datasets is None else count("--datasets", datasets)
        typer.echo(f"{study.title}\n{study.citation}".rstrip())
        results = run_study(study, directory, n, jobs, Console().is_terminal, zarr)
        print_study(study_table(study, results))
        typer.echo(f"Results saved in {results_path(directory, zarr)}")


def _opened(file: Path, model: str | None, out: Path) -> tuple[Analysis, list[str], Path]:
    """The analysis of a file, the names of its models that are wanted, and where results go, all checked."""
    analysis = load_analysis(file)
    chosen, path = _chosen(analysis, model), files.check_path(out)
    typer.echo(f"{analysis.title}\n{analysis.citation}".rstrip())
    return analysis, chosen, path


def _echo_page(model: Model, page: Page) -> None:
    typer.echo(f"\n== {model.name}: {model.what}".rstrip(": ") + f"\n\n{page}")


def _save(trees: Mapping[str, xr.DataTree], path: Path) -> None:
    files.save(trees, path)
    typer.echo(f"\nResults saved in {path}")


def _chosen(analysis: Analysis, model: str | None) -> list[str]:
    if model is None:
        return list(analysis.models)
    check_name(model, analysis.models, f"{analysis.path} has no model", "models")
    return [model]
