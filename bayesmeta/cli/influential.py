"""Influence diagnostics of saved results or of the models of a file: what `influence` does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from bayesmeta.cli.app import FAILED, echo, fail
from bayesmeta.cli.as_json import json_text
from bayesmeta.cli.presentation import check_out, read_results, save
from bayesmeta.cli.run_models import chosen_models
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.influence import influence as diagnostics_of
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.summaries.influence_table import InfluencePage
from bayesmeta.toml_files import is_declared


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
    for name, tree in _trees(file, model, method, outside):
        try:
            made[name] = diagnostics_of(tree() if callable(tree) else tree, by, exact)
        except BayesmetaError as error:
            failures[name] = error
    if failures and not made:
        raise next(iter(failures.values()))
    _print(file, made, failures, out, json)
    if failures:
        lines = "\n".join(f"{name}: {error}" for name, error in failures.items())
        fail(f"Error: {len(failures)} failed\n{lines}", FAILED)


def _trees(file: Path, model: str | None, method: str | None, outside: bool) -> Iterator[tuple[str, Any]]:
    """Results trees by model, or functions that fit one."""
    chosen = None if method is None else method_named(method, "--method").name
    if not is_declared(file):
        yield from read_results(file, model).items()
        return
    analysis = load_analysis(file, allow_outside=outside)
    for name in chosen_models(analysis, model):
        declared = analysis.models[name]
        yield name, lambda declared=declared: fit(declared.spec, method=chosen or declared.method)


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
