"""Fitting the models of a file and sampling from their posteriors: what fit, sample and compare do."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from bayesmeta._validation import check_name
from bayesmeta.bayes.sample import check_seed, check_settings
from bayesmeta.bayes.sample import sample as draw
from bayesmeta.bayes.waiting import several
from bayesmeta.cli.app import FAILED, LOGGER, echo, fail
from bayesmeta.cli.as_json import json_text, tree_record
from bayesmeta.cli.from_csv import Typed, typed_analysis
from bayesmeta.cli.inference_options import Tested
from bayesmeta.display.export import Page
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.fit import fit as fit_model
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.reference import asked, declare
from bayesmeta.io.atomic import sole_writer
from bayesmeta.model.respecify import homogeneous
from bayesmeta.model_files.model_file import Analysis, Model, load_models
from bayesmeta.summaries.compare import compare as compare_trees
from bayesmeta.summaries.summary import summary
from bayesmeta.tree import files

Trees = dict[str, xr.DataTree]
Run = Callable[[Model], tuple[Trees, Page]]  # results trees by the name under which they are saved, and what is printed


@dataclass(frozen=True)
class Sampling:
    """How to sample, as it was typed."""

    draws: int
    tune: int | None
    chains: int | None
    seed: int
    sampler: Literal["auto", "quadrature", "importance", "nutpie", "pymc", "numpyro"]
    target_accept: float | None

    def check(self) -> None:
        check_settings(self.draws, self.tune, self.chains, self.target_accept)
        check_seed(self.seed)

    def of(self, spec: Any, priors: Any) -> xr.DataTree:
        """The posterior of a specification."""
        return draw(
            spec, priors, self.draws, self.tune, self.chains, self.seed, self.sampler, target_accept=self.target_accept
        )


def fit(
    file: Path,
    typed: Typed,
    model: str | None,
    method: str | None,
    tested: Tested,
    out: Path | None,
    json: bool,
    outside: bool,
) -> None:
    def run(model: Model) -> tuple[Trees, Page]:
        tree = fit_model(model.spec, method=model.method if method is None else method)
        return {model.name: tree}, summary(tree)

    if method is not None:
        method_named(method, "--method")
    inference = tested.inference
    analysis = typed_analysis(file, typed) or load_models(file, allow_outside=outside)
    run_each(analysis.tested_by(inference), model, out or Path(f"{file.stem}.nc"), run, json, tables=True)


def sample(file: Path, model: str | None, sampling: Sampling, out: Path | None, json: bool, outside: bool) -> None:
    def run(model: Model) -> tuple[Trees, Page]:
        tree = sampling.of(model.spec, model.priors)
        return {model.name: tree}, summary(tree)

    sampling.check()
    analysis = load_models(file, allow_outside=outside)
    run_each(analysis, model, out or Path(f"{file.stem}_sample.nc"), run, json, one_by_one=True)


def compare(
    file: Path,
    model: str | None,
    method: str,
    sampling: Sampling,
    tested: Tested,
    out: Path | None,
    json: bool,
    outside: bool,
) -> None:
    def run(model: Model) -> tuple[Trees, Page]:
        fixed = method_named(model.method).zero_psi
        spec = homogeneous(model.spec) if fixed else model.spec
        by = model.method if fixed else method
        pair = {by: fit_model(model.spec, method=by), "bayes": sampling.of(spec, model.priors)}
        return {f"{model.name}_{backend}": tree for backend, tree in pair.items()}, compare_trees(pair)

    method = method_named(method, "--method").name
    sampling.check()
    analysis = load_models(file, allow_outside=outside).tested_by(tested.inference)
    run_each(analysis, model, out or Path(f"{file.stem}_compare.nc"), run, json, one_by_one=True)


def run_each(
    analysis: Analysis,
    model: str | None,
    out: Path,
    run: Run,
    json: bool,
    tables: bool = False,
    one_by_one: bool = False,
) -> None:
    """Run the models of a file one after the other, save them, and print each.

    All are specified before the first is run. What is done is saved, also when a model fails or the user interrupts;
    exit code 1 says that some models failed.

    json : whether to print one JSON object in the end in place of the pages.
    tables : whether to print the tables of the file as well.
    one_by_one : whether to save and print those that are done, every few seconds, because the next one may take long.
    """
    names, path = chosen_models(analysis, model), files.check_target(out, analysis.inputs)
    failures = _not_specified(analysis, names)
    if not json:
        echo(f"{analysis.title}\n{analysis.citation}".rstrip())
    done = _Done(analysis, path, json)
    with sole_writer(path, advice=files.OTHER_NAME):
        try:
            _run([name for name in names if name not in failures], run, done, failures, one_by_one)
        finally:
            done.save_and_print()
    if json:
        echo(json_text({**done.record(), "failures": {name: str(error) for name, error in failures.items()}}))
    elif tables:
        failures |= _print_tables(analysis, done.trees)
    if done.trees and not json:
        echo(f"\nResults saved in {path}")
    _report_failures(failures, saved=bool(done.trees))


def _run(names: Sequence[str], run: Run, done: "_Done", failures: dict[str, BayesmetaError], one_by_one: bool) -> None:
    """Run models, keeping what is done when the user interrupts."""
    start = time.monotonic()
    with several(len(names)):
        for i, name in enumerate(names):
            if one_by_one and i:
                left = (time.monotonic() - start) * (len(names) - i) / i
                LOGGER.info("%d of %d models done, about %.0f s left", i, len(names), left)
            try:
                done.add(name, run)
            except BayesmetaError as error:
                failures[name] = error
            except KeyboardInterrupt:
                done.save_and_print()
                saved = (
                    f"; the models that were finished are saved in {done.path}" if done.trees else "; nothing is saved"
                )
                raise KeyboardInterrupt(f"{name} is not finished{saved}") from None
            if one_by_one and done.is_due:
                done.save_and_print()


def chosen_models(analysis: Analysis, model: str | None) -> list[str]:
    """Names of all models of a file, or the one that the user names."""
    if model is None:
        return list(analysis.models)
    check_name(model, analysis.models, f"{analysis.path}: no model", "models")
    return [model]


def _not_specified(analysis: Analysis, names: Sequence[str]) -> dict[str, BayesmetaError]:
    """The models whose formulas, columns or sampling covariances are wrong, each with the reason."""
    failures = {}
    for name in names:
        try:
            _ = analysis.models[name].spec
        except BayesmetaError as error:
            failures[name] = error
    return failures


_PATIENCE = 5.0  # seconds of work that are not saved yet, at least, before a file is written again


@dataclass
class _Done:
    """What has been run: the trees, in the end all in one file, and the pages that are not printed yet."""

    analysis: Analysis
    path: Path
    json: bool
    trees: Trees = field(default_factory=dict)
    pages: list[str] = field(default_factory=list)
    saved_at: float = field(default_factory=time.monotonic)

    def add(self, name: str, run: Run) -> None:
        """Run a model; what is printed of it follows the file's own inference."""
        model = self.analysis.models[name]
        with asked(*model.inference):  # by the page, which the run makes
            trees, page = run(model)
            printed = str(page)
        for tree in trees.values():
            declare(tree, model.inference)
        self.trees |= trees
        self.pages.append(f"\n== {f'{name}: {model.what}'.rstrip(': ')}\n\n{printed}")

    @property
    def is_due(self) -> bool:
        """Whether more work would be lost than it takes to write the file once more, which is written whole."""
        return time.monotonic() - self.saved_at >= _PATIENCE

    def save_and_print(self) -> None:
        """Save before anything is printed, and only where there is something new."""
        self.saved_at = time.monotonic()
        if self.pages:
            files.save(next(iter(self.trees.values())) if len(self.trees) == 1 else self.trees, self.path)
        for page in () if self.json else self.pages:
            echo(page)
        self.pages.clear()

    def record(self) -> dict[str, Any]:
        """What was done, for JSON."""
        return {
            "title": self.analysis.title,
            "citation": self.analysis.citation,
            "saved": str(self.path) if self.trees else None,
            "results": {name: tree_record(tree) for name, tree in self.trees.items()},
        }


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
    fail(f"Error: {len(failures)} failed{others}\n{lines}", FAILED)
