"""Commands that present results: show, plot, report."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bayesmeta.bayes.sample import check_seed, check_settings
from bayesmeta.cli.app import Chains, Draws, OneModel, Outside, Seed, Tune, echo, fail, plain_errors
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.methods import method_named
from bayesmeta.model_files import figure_files
from bayesmeta.model_files.figures import KINDS, setting
from bayesmeta.summaries.summary import summary
from bayesmeta.tree import files


def show(file: Annotated[Path, typer.Argument(help="Saved results, netCDF or Zarr.")]) -> None:
    """Print saved results."""
    with plain_errors():
        for name, tree in files.read(file).items():
            echo(f"\n== {name}\n\n{summary(tree)}" if name else str(summary(tree)))


def plot(
    files: Annotated[
        list[Path], typer.Argument(help="Model files or names of bundled ones, saved results, or a simulation study.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(KINDS)}. By default the figures that FILE declares, or forest plots."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be repeated.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="An argument of the plot as NAME=VALUE; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .png, .svg or .pdf file, or a directory for all pictures.")
    ] = None,
    suffix: Annotated[
        Literal["png", "svg", "pdf"], typer.Option("--format", help="Format of the pictures in a directory.")
    ] = "png",
    allow_outside: Outside = False,
) -> None:
    """Draw the figures of a file and save them."""
    failures: list[str] = []
    with plain_errors():
        arguments = dict(map(setting, settings or ()))
        for picture in figure_files.save(files, kind, model or (), arguments, out, f".{suffix}", allow_outside):
            if picture.path:
                echo(f"Saved {picture.path}")
            for note in picture.notes:
                typer.echo(f"  note: {note}", err=True)
            failures += picture.failures
    if failures:
        fail(f"Error: {len(failures)} could not be drawn\n" + "\n".join(failures), 1)


def report(
    file: Annotated[Path, typer.Argument(help="A model file, the name of a bundled one, or saved results.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; by default the name of FILE with .html.")
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
    allow_outside: Outside = False,
) -> None:
    """Write one self-contained HTML page about the models of a file or about saved results."""
    # the page's template engine loads only when a page is made
    from bayesmeta.report.from_file import ReportOptions, report_file
    from bayesmeta.report.render import check_page

    failures: dict[str, BayesmetaError] = {}
    with plain_errors():
        path = out or Path(f"{file.stem}.html")
        check_page(path, [file])
        if method is not None:
            method = method_named(method, "--method").name
        check_settings(draws, tune, chains, 0.9)
        check_seed(seed)
        options = ReportOptions(model, method, draws, tune, chains, seed, bayes, sensitivity, allow_outside)
        page = report_file(file, path, options, failures=failures)
        echo(f"Report written to {page.save(path)}")
    if failures:
        lines = "\n".join(f"{name}: {error}" for name, error in failures.items())
        fail(f"Error: {len(failures)} failed; the others are in the report\n{lines}", 1)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (show, plot, report):
        app.command()(command)
