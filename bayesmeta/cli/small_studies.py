"""Tests and estimates for small-study effects: what `small-study` does."""

from collections.abc import Iterator
from pathlib import Path

import xarray as xr

from bayesmeta.cli.app import FAILED, echo, fail
from bayesmeta.cli.as_json import json_text
from bayesmeta.cli.inference_options import Tested
from bayesmeta.cli.presentation import read_results
from bayesmeta.cli.run_models import chosen_models
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.fit import fit
from bayesmeta.inference.reference import declare
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.summaries.small_study_page import SmallStudyPage, small_study_pages
from bayesmeta.toml_files import is_declared


def small_study(file: Path, model: str | None, tested: Tested, json: bool, outside: bool) -> None:
    """Print what all methods say of every model; those of a model file are fitted by its methods."""
    tested.check_pair()
    vcov = tested.inference.vcov
    pages: dict[str, dict[str, SmallStudyPage]] = {}
    failures: dict[str, BayesmetaError] = {}
    for name, tree in _trees(file, model, outside, failures):
        try:
            pages[name] = small_study_pages(tree, vcov)
        except BayesmetaError as error:
            failures[name] = error
    if failures and not pages:
        raise next(iter(failures.values()))
    if json:
        records = {name: [page.record() for page in own.values()] for name, own in pages.items()}
        lines = {name: str(error) for name, error in failures.items()}
        echo(json_text({"file": str(file), "results": records, "failures": lines}))
    for name, own in {} if json else pages.items():
        for outcome, page in own.items():
            heading = ": ".join(filter(None, (name, outcome if len(own) > 1 else "")))
            echo(f"\n== {heading}\n\n{page}" if heading else str(page))
    if failures:
        text = "\n".join(f"{name}: {error}" for name, error in failures.items())
        fail(f"Error: {len(failures)} failed\n{text}", FAILED)


def _trees(
    file: Path, model: str | None, outside: bool, failures: dict[str, BayesmetaError]
) -> Iterator[tuple[str, xr.DataTree]]:
    """Results by model; models that cannot be fitted go among the failures."""
    if not is_declared(file):
        yield from read_results(file, model).items()
        return
    analysis = load_analysis(file, allow_outside=outside)
    for name in chosen_models(analysis, model):
        declared = analysis.models[name]
        try:
            tree = fit(declared.spec, method=declared.method)
        except BayesmetaError as error:
            failures[name] = error
            continue
        declare(tree, declared.inference)
        yield name, tree
