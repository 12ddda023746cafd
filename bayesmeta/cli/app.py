"""The application: its own options, the options that several commands take, and errors as messages.

Nothing here, nor in the modules that declare commands, loads more than the standard library and Typer, so that help
and completion answer at once; `work` has what commands do.
"""

import inspect
import logging
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from bayesmeta._version import __version__
from bayesmeta.errors import BayesmetaError, BayesmetaWarning

FAILED, USAGE, INTERRUPTED = 1, 2, 130
EXIT_CODES = (
    f"Exit codes: 0 when all went well; {FAILED} when a model or a picture failed, or a number was not reproduced; "
    f"{USAGE} for wrong input, and for files that cannot be read or written; {INTERRUPTED} after Ctrl-C."
)
PACKAGES = ("numpy", "scipy", "pandas", "xarray", "formulaic", "pymc", "pytensor", "nutpie", "arviz", "matplotlib")
LOGGER = logging.getLogger("bayesmeta")

app = typer.Typer(
    help="Meta-analysis of any shape, from model files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)

ModelFile = Annotated[
    Path, typer.Argument(help="A model file, or the name of a bundled one, such as school (see `bayesmeta models`).")
]
OneModel = Annotated[str | None, typer.Option("--model", help="Only this model of the file.")]
Draws = Annotated[int, typer.Option(help="Draws of each chain that are kept.")]
Tune = Annotated[
    int | None,
    typer.Option(help="Draws of each Markov chain that are discarded while the sampler tunes; 1,000 by default."),
]
Chains = Annotated[int | None, typer.Option(help="Number of Markov chains; 4 by default.")]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers; the same seed gives the same draws.")]
Sampler = Annotated[
    Literal["auto", "quadrature", "importance", "nutpie", "pymc", "numpyro"],
    typer.Option(
        help="How posteriors are computed: auto needs no Markov chains with up to fifteen free SDs and correlations."
    ),
]
TargetAccept = Annotated[
    float | None,
    typer.Option(
        help="Acceptance rate that Markov chains aim at, between 0 and 1: closer to 1, smaller steps; 0.9 by default."
    ),
]
Outside = Annotated[
    bool,
    typer.Option("--allow-outside", help="Let the model file read data outside its own folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log every step, with the time, on the error stream.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Where to save the results, a netCDF file or a directory NAME.zarr; by default named after FILE: "
        ".nc of fit, _sample.nc of sample, _compare.nc of compare.",
    ),
]

Df = Annotated[
    str | None,
    typer.Option(
        "--df",
        help="Reference distribution of tests and intervals: z, residual, containment, knapp-hartung, "
        "knapp-hartung-adhoc, satterthwaite, satterthwaite-scaled, kenward-roger, kenward-roger-second-order.",
    ),
]
Vcov = Annotated[
    str | None,
    typer.Option("--vcov", help="Robust covariance of the coefficients of fits: CR0 to CR3; CR2 is the one to prefer."),
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", help="Column of the clusters for --vcov; by default the outer groups.")
]
TableOut = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Save tables as journals print them instead: a .docx, .html, .tex, .md, .png or .pdf file."
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
            "--version",
            callback=_print_versions,
            is_eager=True,
            help="Print the versions of bayesmeta and of what it builds on.",
        ),
    ] = False,
) -> None:
    """Meta-analysis of any shape, from model files."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator that enters a command: it gets the options of every command, and its errors become messages."""

    @wraps(function)
    def run(*, quiet: bool, verbose: bool, **named: Any) -> None:
        with plain_errors(quiet, verbose):
            function(**named)

    # Typer reads the options from the signature
    more = {"quiet": Quiet, "verbose": Verbose}
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False) for name in more]
    signature = inspect.signature(function)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *(each.replace(annotation=more[each.name]) for each in added)]
    )
    run.__annotations__ = {**function.__annotations__, **more}
    app.command(name=function.__name__.replace("_", "-"), epilog=EXIT_CODES)(run)
    return function


@contextmanager
def plain_errors(quiet: bool = False, verbose: bool = False) -> Iterator[None]:
    """Print errors of the user's input, of files and of disks as messages with exit code 2, interruptions with 130.

    Warnings are part of the summaries.
    """
    try:
        if quiet and verbose:
            raise typer.BadParameter("--quiet and --verbose exclude each other")
        with warnings.catch_warnings(), _logged(quiet, verbose):
            warnings.simplefilter("ignore", BayesmetaWarning)
            _Output.quiet = quiet
            yield
        flush()
    except BayesmetaError as error:
        fail(f"Error: {error}", USAGE)
    except OSError as error:
        fail(f"Error: {' '.join(filter(None, (error.strerror or str(error), str(error.filename or '')[:200])))}", USAGE)
    except MemoryError as error:
        fail(f"Error: the memory of this computer does not suffice: {error}".rstrip(": "), USAGE)
    except KeyboardInterrupt as interruption:
        # what the work itself has to say of what is saved
        fail("Interrupted" + "".join(f": {text}" for text in interruption.args if isinstance(text, str)), INTERRUPTED)
    finally:
        _Output.quiet = False


@contextmanager
def _logged(quiet: bool, verbose: bool) -> Iterator[None]:
    """Messages of the package on the error stream: those about waiting, with --verbose every step and its time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s" if verbose else "%(message)s", "%H:%M:%S"))
    before = LOGGER.level
    LOGGER.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)


def fail(message: str, code: int) -> NoReturn:
    """Say on the error stream what went wrong, and end."""
    with suppress(OSError):
        typer.echo(message, err=True)
    raise typer.Exit(code) from None


class _Output:
    """What is wrong with the standard output, once something is: a reader that has gone, or a full disk."""

    problem: OSError | None = None
    quiet = False  # nothing but errors is asked for


def echo(text: object) -> None:
    """Print on the standard output, as long as anybody reads it: nobody's results are lost because of that."""
    if _Output.problem is None and not _Output.quiet:
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


def remark(text: str) -> None:
    """Say something beside the results on the error stream."""
    if not _Output.quiet:
        with suppress(OSError):
            typer.echo(text, err=True)
