"""What a reviewer asks of results: what `influence` and `small-study` do."""

from pathlib import Path
from typing import Any

import xarray as xr

from bayesmeta.cli.app import FAILED, echo, fail
from bayesmeta.cli.as_json import json_text
from bayesmeta.cli.inference_options import Tested
from bayesmeta.cli.presentation import check_out, results_of, save
from bayesmeta.errors import BayesmetaError
from bayesmeta.inference.influence import influence as diagnostics_of
from bayesmeta.summaries.influence_table import InfluencePage
from bayesmeta.summaries.small_study_page import SmallStudyPage, small_study_pages


def influence(
    file: Path,
    model: str | None,
    by: str | None,
    method: str | None,
    exact: bool,
    out: Path | None,
    json: bool,
    outside: bool,
) -> None:
    """Print, or save, the diagnostics of every model."""
    check_out(out, json)
    made: dict[str, xr.Dataset] = {}
    failures: dict[str, BayesmetaError] = {}
    for name, tree in results_of(file, model, method, outside, failures):
        try:
            made[name] = diagnostics_of(tree, by, exact)
        except BayesmetaError as error:
            failures[name] = error
    if failures and not made:
        raise next(iter(failures.values()))
    _print(file, made, failures, out, json)
    if failures:
        lines = "\n".join(f"{name}: {error}" for name, error in failures.items())
        fail(f"Error: {len(failures)} failed\n{lines}", FAILED)


def _print(
    file: Path, made: dict[str, xr.Dataset], failures: dict[str, BayesmetaError], out: Path | None, json: bool
) -> None:
    if json:
        results = {name: as_record(table) for name, table in made.items()}
        echo(json_text({"file": str(file), "results": results, "failures": {k: str(e) for k, e in failures.items()}}))
        return
    pages = {name: InfluencePage(table) for name, table in made.items()}
    if out is not None:
        save(pages, out)
        return
    for name, page in pages.items():
        echo(f"== {name}\n\n{page}" if name and len(pages) > 1 else str(page))


def as_record(table: xr.Dataset) -> dict[str, Any]:
    """The diagnostics as JSON: by variable its dimensions and values, with the labels of the dimensions."""
    variables = {
        str(name): {"dims": list(values.dims), "values": values.to_numpy().tolist()}
        for name, values in table.data_vars.items()
    }
    labels = {str(name): values.to_numpy().tolist() for name, values in table.coords.items()}
    return {**table.attrs, "labels": labels, "diagnostics": variables}


def small_study(file: Path, model: str | None, tested: Tested, json: bool, outside: bool) -> None:
    """Print what all methods say of every model; those of a model file are fitted by its methods."""
    tested.check_pair()
    vcov = tested.inference.vcov
    pages: dict[str, dict[str, SmallStudyPage]] = {}
    failures: dict[str, BayesmetaError] = {}
    for name, tree in results_of(file, model, None, outside, failures):
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
