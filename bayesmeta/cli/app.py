"""The application: its own options, the options that several commands take, and errors as messages."""

import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from bayesmeta._validation import check_name
from bayesmeta._version import __version__
from bayesmeta.errors import BayesmetaError, BayesmetaWarning
from bayesmeta.model_files.model_file import Analysis

PACKAGES = ("numpy", "scipy", "pandas", "xarray", "formulaic", "pymc", "pytensor", "nutpie", "arviz", "matplotlib")

app = typer.Typer(
    help="Meta-analysis of any shape from model files.", no_args_is_help=True, pretty_exceptions_enable=False
)

ModelFile = Annotated[
    Path, typer.Argument(help="A model file, or the name of a bundled one, such as school (see `bayesmeta models`).")
]
OneModel = Annotated[str | None, typer.Option("--model", help="Only this model of the file.")]
Draws = Annotated[int, typer.Option(help="Draws of each chain that are kept.")]
Tune = Annotated[int, typer.Option(help="Draws of each chain that are discarded while the sampler tunes.")]
Chains = Annotated[int, typer.Option(help="Number of chains.")]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers; the same seed gives the same draws.")]
Sampler = Annotated[Literal["auto", "nutpie", "pymc", "numpyro"], typer.Option(help="The sampler.")]
TargetAccept = Annotated[
    float, typer.Option(help="Between 0 and 1; values closer to 1 take smaller steps and reduce divergences.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Where to save the results, a netCDF file or a directory NAME.zarr; by default the name of FILE with .nc, "
        "with _sample.nc, or with _compare.nc.",
    ),
]


def versions() -> str:
    """Versions of bayesmeta, of Python and of the packages that results depend on, one a line."""
    lines = [f"bayesmeta {__version__}", f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} is not installed")
    return "\n".join(lines)


def _print_versions(asked: bool) -> None:
    if asked:
        typer.echo(versions())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_versions, is_eager=True, help="Print the versions of bayesmeta and its basis."
        ),
    ] = False,
) -> None:
    """Meta-analysis of any shape from model files."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print errors that concern the user's input as messages with exit code 2; warnings are part of the summaries."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BayesmetaWarning)
            yield
    except BayesmetaError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


def chosen_models(analysis: Analysis, model: str | None) -> list[str]:
    """Names of all models of a file, or the one that the user names."""
    if model is None:
        return list(analysis.models)
    check_name(model, analysis.models, f"{analysis.path}: no model", "models")
    return [model]
