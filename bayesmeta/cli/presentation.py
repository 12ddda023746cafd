"""Showing results: what show, plot and report do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import xarray as xr

from bayesmeta._validation import check_name
from bayesmeta.bayes.sample import check_seed, check_settings
from bayesmeta.cli.app import FAILED, echo, fail, remark
from bayesmeta.cli.as_json import json_text, tree_record
from bayesmeta.cli.inference_options import Tested
from bayesmeta.cli.run_models import chosen_models
from bayesmeta.display.export import Page
from bayesmeta.display.paper_files import check_table_path, write_tables
from bayesmeta.errors import BayesmetaError, SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.reference import declare
from bayesmeta.io.atomic import sole_writer
from bayesmeta.io.toml_files import is_declared
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.summaries.paper_table import table
from bayesmeta.summaries.summary import summary
from bayesmeta.tree import files


def read_results(file: Path, model: str | None) -> dict[str, xr.DataTree]:
    """The results of a file by model, or those of one."""
    trees = files.read(file)
    if model is None:
        return trees
    check_name(model, trees, f"{file}: no model", "models")
    return {model: trees[model]}


def results_of(
    file: Path, model: str | None, method: str | None, outside: bool, failures: dict[str, BayesmetaError]
) -> Iterator[tuple[str, xr.DataTree]]:
    """Saved results by model, or the models of a file, fitted by its methods or by one for all.

    Those that cannot be fitted go among the failures.
    """
    chosen = None if method is None else method_named(method, "--method").name
    if not is_declared(file):
        yield from read_results(file, model).items()
        return
    analysis = load_analysis(file, allow_outside=outside)
    for name in chosen_models(analysis, model):
        declared = analysis.models[name]
        try:
            tree = fit(declared.spec, method=chosen or declared.method)
        except BayesmetaError as error:
            failures[name] = error
            continue
        declare(tree, declared.inference)
        yield name, tree


def print_estimates(
    file: Path,
    model: str | None,
    scale: Literal["model", "response"],
    prob: float,
    tested: Tested,
    out: Path | None,
    json: bool,
) -> None:
    check_out(out, json)
    trees = read_results(file, model)
    tested.check(trees.values())
    frames = {name: estimates(tree, prob, scale, **tested.of(tree)) for name, tree in trees.items()}
    if out is not None:
        save({name: table(frame) for name, frame in frames.items()}, out)
        return
    tables = {name: frame.reset_index() for name, frame in frames.items()}
    if json:
        rows = {name: table.to_dict("records") for name, table in tables.items()}
        echo(json_text({"file": str(file), "prob": prob, "scale": scale, "results": rows}))
        return
    echo(pd.concat(tables, names=["model"]).droplevel(1).reset_index().to_csv(index=False).rstrip())


def show(
    file: Path,
    model: str | None,
    of: Literal["summary", "studies", "heterogeneity"],
    tested: Tested,
    out: Path | None,
    json: bool,
) -> None:
    check_out(out, json)
    if json and of != "summary":
        raise SpecError(f"--json has the whole of the results, not only --of {of}\n  leave --of out")
    if tested and of != "summary":
        raise SpecError(f"--df and --vcov are for the summary, not for --of {of}\n  leave them out")
    trees = read_results(file, model)
    tested.check(trees.values())
    if out is not None:
        pages = {name: summary(tree, **tested.of(tree)) if tested else tree for name, tree in trees.items()}
        save({name: table(page, None if tested else of) for name, page in pages.items()}, out)
        return
    if json:
        records = {name: tree_record(tree, **tested.of(tree)) for name, tree in trees.items()}
        echo(json_text({"file": str(file), "results": records}))
        return
    for name, tree in trees.items():
        page = summary(tree, **tested.of(tree)) if of == "summary" else table(tree, of)
        echo(f"\n== {name}\n\n{page}" if name else str(page))


def check_out(out: Path | None, json: bool) -> None:
    if out is None:
        return
    if json:
        raise SpecError(
            "--json and --out exclude each other: --out saves tables for people to read"
            "\n  leave one of them out; --json > FILE writes JSON to a file"
        )
    check_table_path(out)


def save(pages: Mapping[str, Page], out: Path) -> None:
    """All tables in one file, those of several models with their names."""
    named = [
        replace(each, caption=": ".join(filter(None, (name, each.caption))))
        for name, page in pages.items()
        for each in page.paper()
    ]
    echo(f"Table saved in {write_tables(named, out)}")


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
    check_settings(options.draws, options.tune, options.chains, None)
    check_seed(options.seed)
    with sole_writer(path, advice=files.OTHER_NAME):
        written = report_file(file, path, options, failures=failures).save(path)
    echo(f"Report written to {written}")
    if failures:
        lines = "\n".join(f"{name}: {error}" for name, error in failures.items())
        fail(f"Error: {len(failures)} failed; the others are in the report\n{lines}", FAILED)
