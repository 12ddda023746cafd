"""The application: its own options, the options that several commands take, and errors as messages."""

import os
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from bayesmeta._validation import check_name
from bayesmeta._version import __version__
from bayesmeta.errors import BayesmetaError, BayesmetaWarning
from bayesmeta.model_files.model_file import Analysis

INTERRUPTED = 130  # exit code of what Ctrl-C has ended
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
Outside = Annotated[
    bool,
    typer.Option("--allow-outside", help="Read data that the model file names outside its own folder."),
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
        with plain_errors():
            echo(versions())
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
    """Print errors of the user's input, of files and of disks as messages with exit code 2, interruptions with 130.

    Warnings are part of the summaries.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BayesmetaWarning)
            yield
        flush()
    except BayesmetaError as error:
        fail(f"Error: {error}", 2)
    except OSError as error:
        fail(f"Error: {' '.join(filter(None, (error.strerror or str(error), str(error.filename or '')[:200])))}", 2)
    except MemoryError as error:
        fail(f"Error: the memory of this computer does not suffice: {error}".rstrip(": "), 2)
    except KeyboardInterrupt as interruption:
        # what the work itself has to say of what is saved
        fail("Interrupted" + "".join(f": {text}" for text in interruption.args if isinstance(text, str)), INTERRUPTED)


def fail(message: str, code: int) -> NoReturn:
    """Say on the error stream what went wrong, and end."""
    with suppress(OSError):
        typer.echo(message, err=True)
    raise typer.Exit(code) from None


class _Output:
    """What is wrong with the standard output, once something is: a reader that has gone, or a full disk."""

    problem: OSError | None = None


def echo(text: object) -> None:
    """Print on the standard output, as long as anybody reads it: nobody's results are lost because of that."""
    if _Output.problem is None:
        try:
            typer.echo(str(text))
        except OSError as error:
            _close_output(error)


def flush() -> None:
    """Bring what was printed to its readers; OSError where it could not be, unless they have gone on purpose."""
    if _Output.problem is None:
        try:
            sys.stdout.flush()
        except OSError as error:
            _close_output(error)
    problem, _Output.problem = _Output.problem, None
    if problem is not None and not isinstance(problem, BrokenPipeError):
        raise OSError(problem.errno, f"the output cannot be written ({problem.strerror}), saved files are whole")


def _close_output(problem: OSError) -> None:
    _Output.problem = problem
    with suppress(OSError, ValueError):  # Python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def chosen_models(analysis: Analysis, model: str | None) -> list[str]:
    """Names of all models of a file, or the one that the user names."""
    if model is None:
        return list(analysis.models)
    check_name(model, analysis.models, f"{analysis.path}: no model", "models")
    return [model]
