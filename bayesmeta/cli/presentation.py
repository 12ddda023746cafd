"""Showing results: what show, plot and report do."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import xarray as xr

from bayesmeta._validation import check_name
from bayesmeta.bayes.sample import check_seed, check_settings
from bayesmeta.cli.app import FAILED, echo, fail, remark
from bayesmeta.cli.as_json import json_text, tree_record
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.estimates import estimates
from bayesmeta.summaries.summary import summary
from bayesmeta.tree import files


def read_results(file: Path, model: str | None) -> dict[str, xr.DataTree]:
    """The results of a file by model, or those of one."""
    trees = files.read(file)
    if model is None:
        return trees
    check_name(model, trees, f"{file}: no model", "models")
    return {model: trees[model]}


def print_estimates(
    file: Path, model: str | None, scale: Literal["model", "response"], prob: float, json: bool
) -> None:
    tables = {name: estimates(tree, prob, scale).reset_index() for name, tree in read_results(file, model).items()}
    if json:
        rows = {name: table.to_dict("records") for name, table in tables.items()}
        echo(json_text({"file": str(file), "prob": prob, "scale": scale, "results": rows}))
        return
    echo(pd.concat(tables, names=["model"]).droplevel(1).reset_index().to_csv(index=False).rstrip())


def show(file: Path, model: str | None, json: bool) -> None:
    trees = read_results(file, model)
    if json:
        echo(json_text({"file": str(file), "results": {name: tree_record(tree) for name, tree in trees.items()}}))
        return
    for name, tree in trees.items():
        echo(f"\n== {name}\n\n{summary(tree)}" if name else str(summary(tree)))


def plot(
    paths: Sequence[Path],
    kind: str | None,
    models: Sequence[str],
    settings: Sequence[str],
    out: Path | None,
    suffix: str,
    outside: bool,
) -> None:
    # plots load with the commands that draw
    from bayesmeta.model_files import figure_files
    from bayesmeta.model_files.figures import setting

    failures: list[str] = []
    arguments = dict(map(setting, settings))
    for picture in figure_files.save(paths, kind, models, arguments, out, f".{suffix}", outside):
        if picture.path:
            echo(f"Saved {picture.path}")
        for note in picture.notes:
            remark(f"  note: {note}")
        failures += picture.failures
    if failures:
        fail(f"Error: {len(failures)} could not be drawn\n" + "\n".join(failures), FAILED)


def report(file: Path, out: Path | None, settings: tuple[Any, ...]) -> None:
    # the page's template engine loads only when a page is made
    from bayesmeta.report.from_file import ReportOptions, report_file
    from bayesmeta.report.render import check_page

    options = ReportOptions(*settings)
    failures: dict[str, BayesmetaError] = {}
    path = out or Path(f"{file.stem}.html")
    check_page(path, [file])
    if options.method is not None:
        options = replace(options, method=method_named(options.method, "--method").name)
    check_settings(options.draws, options.tune, options.chains, 0.9)
    check_seed(options.seed)
    page = report_file(file, path, options, failures=failures)
    echo(f"Report written to {page.save(path)}")
    if failures:
        lines = "\n".join(f"{name}: {error}" for name, error in failures.items())
        fail(f"Error: {len(failures)} failed; the others are in the report\n{lines}", FAILED)
