"""Commands that fit the models of a file or sample from their posteriors: fit, sample, compare."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
import xarray as xr

from bayesmeta.bayes.sample import check_seed, check_settings
from bayesmeta.bayes.sample import sample as draw
from bayesmeta.cli.app import (
    Chains,
    Draws,
    ModelFile,
    OneModel,
    Out,
    Outside,
    Sampler,
    Seed,
    TargetAccept,
    Tune,
    chosen_models,
    echo,
    fail,
    plain_errors,
)
from bayesmeta.display.export import Page
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.fit import fit as fit_model
from bayesmeta.estimation.methods import method_named
from bayesmeta.model.respecify import homogeneous
from bayesmeta.model_files.model_file import Analysis, Model, load_analysis
from bayesmeta.summaries.compare import compare as compare_trees
from bayesmeta.summaries.summary import summary
from bayesmeta.tree import files

Trees = dict[str, xr.DataTree]
Run = Callable[[Model], tuple[Trees, Page]]  # results trees by the name under which they are saved, and what is printed


def fit(
    file: ModelFile,
    model: OneModel = None,
    method: Annotated[
        str | None, typer.Option(help="Fit by this method (reml, ml, fixed ...) instead of the file's.")
    ] = None,
    out: Out = None,
    allow_outside: Outside = False,
) -> None:
    """Fit the models of a file, print them and save the results."""

    def run(model: Model) -> tuple[Trees, Page]:
        tree = fit_model(model.spec, method=model.method if method is None else method)
        return {model.name: tree}, summary(tree)

    with plain_errors():
        if method is not None:
            method_named(method, "--method")
        run_each(file, model, out or Path(f"{file.stem}.nc"), run, allow_outside, tables=True)


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
    allow_outside: Outside = False,
) -> None:
    """Sample from the posteriors of the models of a file, print them and save the draws."""

    def run(model: Model) -> tuple[Trees, Page]:
        tree = draw(model.spec, model.priors, draws, tune, chains, seed, sampler, target_accept)
        return {model.name: tree}, summary(tree)

    with plain_errors():
        check_settings(draws, tune, chains, target_accept)
        check_seed(seed)
        run_each(file, model, out or Path(f"{file.stem}_sample.nc"), run, allow_outside, one_by_one=True)


def compare(
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
    allow_outside: Outside = False,
) -> None:
    """Fit and sample the models of a file, print both side by side and save both.

    A model of the file with method = "fixed" has no between-group variance in either.
    """

    def run(model: Model) -> tuple[Trees, Page]:
        fixed = method_named(model.method).zero_psi
        spec = homogeneous(model.spec) if fixed else model.spec
        by = model.method if fixed else method
        pair = {
            by: fit_model(model.spec, method=by),
            "bayes": draw(spec, model.priors, draws, tune, chains, seed, sampler, target_accept),
        }
        return {f"{model.name}_{backend}": tree for backend, tree in pair.items()}, compare_trees(pair)

    with plain_errors():
        method = method_named(method, "--method").name
        check_settings(draws, tune, chains, target_accept)
        check_seed(seed)
        run_each(file, model, out or Path(f"{file.stem}_compare.nc"), run, allow_outside, one_by_one=True)


def run_each(
    file: Path, model: str | None, out: Path, run: Run, outside: bool, tables: bool = False, one_by_one: bool = False
) -> None:
    """Run the models of a file one after the other, save them, and print each.

    All are specified before the first is run. What is done is saved, also when a model fails or the user interrupts;
    exit code 1 says that some models failed.

    tables : whether to print the tables of the file as well.
    one_by_one : whether to save and print each as soon as it is done, because the next one takes long.
    """
    analysis = load_analysis(file, allow_outside=outside)
    names, path = chosen_models(analysis, model), files.check_target(out, analysis.inputs)
    failures = _not_specified(analysis, names)
    echo(f"{analysis.title}\n{analysis.citation}".rstrip())
    done = _Done(analysis, path)
    try:
        for name in names:
            if name not in failures:
                try:
                    done.add(name, *run(analysis.models[name]))
                except BayesmetaError as error:
                    failures[name] = error
                if one_by_one:
                    done.save_and_print()
    except KeyboardInterrupt:
        done.save_and_print()
        saved = f"; the models that were finished are saved in {path}" if done.trees else "; nothing is saved"
        raise KeyboardInterrupt(f"{name} is not finished{saved}") from None
    done.save_and_print()
    if tables:
        failures |= _print_tables(analysis, done.trees)
    if done.trees:
        echo(f"\nResults saved in {path}")
    _report_failures(failures, saved=bool(done.trees))


def _not_specified(analysis: Analysis, names: Sequence[str]) -> dict[str, BayesmetaError]:
    """The models whose formulas, columns or sampling covariances are wrong, each with the reason."""
    failures = {}
    for name in names:
        try:
            _ = analysis.models[name].spec
        except BayesmetaError as error:
            failures[name] = error
    return failures


@dataclass
class _Done:
    """What has been run: the trees, in the end all in one file, and the pages that are not printed yet."""

    analysis: Analysis
    path: Path
    trees: Trees = field(default_factory=dict)
    pages: list[str] = field(default_factory=list)

    def add(self, name: str, trees: Trees, page: Page) -> None:
        self.trees |= trees
        heading = f"{name}: {self.analysis.models[name].what}".rstrip(": ")
        self.pages.append(f"\n== {heading}\n\n{page}")

    def save_and_print(self) -> None:
        """Save before anything is printed, and only where there is something new."""
        if self.pages:
            files.save(next(iter(self.trees.values())) if len(self.trees) == 1 else self.trees, self.path)
        for page in self.pages:
            echo(page)
        self.pages.clear()


def _print_tables(analysis: Analysis, trees: Mapping[str, xr.DataTree]) -> dict[str, BayesmetaError]:
    """Print the models that the file sets side by side, where all of them were run; failures by title."""
    failures: dict[str, BayesmetaError] = {}
    for title, members in analysis.tables.items():
        if set(members) <= set(trees):
            try:
                echo(f"\n== {title}\n\n{compare_trees({name: trees[name] for name in members})}")
            except BayesmetaError as error:
                failures[title] = error
    return failures


def _report_failures(failures: Mapping[str, BayesmetaError], saved: bool) -> None:
    """List what failed and exit with code 1; where nothing was done for one common reason, that error itself."""
    if not failures:
        return
    if not saved and len({str(error) for error in failures.values()}) == 1:
        raise next(iter(failures.values()))
    others = "; the results of the others are saved" if saved else ""
    lines = "\n".join(f"{name}: {error}" for name, error in failures.items())
    fail(f"Error: {len(failures)} failed{others}\n{lines}", 1)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (fit, sample, compare):
        app.command()(command)
