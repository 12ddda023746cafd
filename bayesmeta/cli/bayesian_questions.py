"""What posteriors are asked beyond estimates: what `bayes-factor`, `robustness` and `average` do."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_choice, check_name, listing
from bayesmeta.bayes.sample import sample
from bayesmeta.cli.app import FAILED, echo, fail
from bayesmeta.cli.as_json import json_text
from bayesmeta.cli.presentation import read_results
from bayesmeta.cli.run_models import chosen_models
from bayesmeta.display.tables import percent
from bayesmeta.errors import BayesmetaError, SpecError
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.averaging import KINDS, average, distinct_models
from bayesmeta.inference.bayes_factors import bayes_factor
from bayesmeta.inference.robustness import robustness
from bayesmeta.io.atomic import write_file
from bayesmeta.io.toml_files import is_declared
from bayesmeta.model.respecify import homogeneous
from bayesmeta.model.spec import Spec
from bayesmeta.model_files.model_file import Analysis, Model, load_analysis
from bayesmeta.model_files.prior_tables import ALL, Average
from bayesmeta.tree.posterior_draws import is_posterior

Failures = dict[str, BayesmetaError]
SHOWN = 5  # scales of every family in the printed table
OF_MODELS = ("weight", "prior_probability", schema.LOG_ML, schema.LOG_ML_SE)
OF_PARAMETERS = ("estimate", "se", "lower", "upper", "inclusion_probability", "inclusion_bayes_factor")


def specification(model: Model) -> Spec:
    """Of a model; without variance between groups where its method has none."""
    return homogeneous(model.spec) if method_named(model.method).zero_psi else model.spec


def posteriors_of(file: Path, names: Sequence[str] | None, seed: int, outside: bool, failures: Failures) -> Any:
    """Posteriors by model: saved ones, or of the models of a file; those that have none go among the failures."""
    if not is_declared(file):
        saved = {name: tree for name, tree in read_results(file, None).items() if is_posterior(tree)}
        if not saved:
            raise SpecError(f"{file} has no posterior\n  bayesmeta sample saves them")
        for name in names or ():
            check_name(name, saved, f"{file}: no posterior", "posteriors")
        yield from ((name, saved[name]) for name in names or saved)
        return
    analysis = load_analysis(file, allow_outside=outside)
    for name in names or ():
        check_name(name, analysis.models, f"{file}: no model", "models")
    for name in names or analysis.models:
        model = analysis.models[name]
        try:
            yield name, sample(specification(model), model.priors, random_seed=seed)
        except BayesmetaError as error:
            failures[name] = error


def bayes_factors(
    file: Path,
    hypotheses: Sequence[str],
    model: str | None,
    against: str | None,
    seed: int,
    json: bool,
    outside: bool,
) -> None:
    """Of every model against hypotheses about it, or against another model."""
    if hypotheses and against:
        raise SpecError(
            "hypotheses and --against exclude each other: a model is compared with one thing at a time"
            "\n  leave one of them out, and call again for the other"
        )
    failures: Failures = {}
    names = None if model is None else list(dict.fromkeys([model, *([against] if against else [])]))
    trees = dict(posteriors_of(file, names, seed, outside, failures))
    made: dict[str, xr.Dataset] = {}
    for name, compared, other in _compared(trees, hypotheses, against, failures):
        try:
            made[f"{name} against {compared}"] = bayes_factor(trees[name], other)
        except BayesmetaError as error:
            failures[f"{name} against {compared}"] = error
    _raise_if_nothing(made, failures)
    columns = ("bayes_factor", "log_bayes_factor", "log_bayes_factor_se", "probability", "log_savage_dickey")
    if json:
        rows = {name: {c: each[c].item() for c in columns} | _likelihoods(each) for name, each in made.items()}
        _print_json(file, rows, failures)
    else:
        table = {name: [each[c].item() for c in columns] for name, each in made.items()}
        echo(_text(pd.DataFrame.from_dict(table, "index", columns=list(columns)).dropna(axis=1, how="all")))
    _report(failures)


def _compared(
    trees: Mapping[str, xr.DataTree], hypotheses: Sequence[str], against: str | None, failures: Failures
) -> Iterator[tuple[str, str, Any]]:
    """Model, what it is compared with in words, and that."""
    if hypotheses:
        yield from ((name, ", ".join(hypotheses), list(hypotheses)) for name in trees)
        return
    first = against or next(iter(trees), "")
    if first in failures:
        raise failures[first]
    if against:
        check_name(against, trees, "--against: no model", "models")
    others = [name for name in trees if name != first]
    if not others:
        raise SpecError(
            'nothing to compare the model with\n  give a hypothesis, such as "Intercept = 0" or "tau = 0", or --against'
        )
    yield from ((name, first, trees[first]) for name in others)


def _likelihoods(factor: xr.Dataset) -> dict[str, Any]:
    return {name: factor[name].to_numpy().tolist() for name in (schema.LOG_ML, schema.LOG_ML_SE)}


def averaged(
    file: Path, models: Sequence[str], weights: str | None, prob: float, seed: int, json: bool, outside: bool
) -> None:
    """Estimates averaged over the models of a file."""
    if weights is not None:
        check_choice(weights, KINDS, "--weights")
    declared = load_analysis(file, allow_outside=outside).average if is_declared(file) else ALL
    chosen = Average(tuple(models) or declared.models, weights or ("posterior" if models else declared.weights))
    failures: Failures = {}
    trees = dict(posteriors_of(file, list(chosen.models) or None, seed, outside, failures))
    if failures:
        raise next(iter(failures.values()))
    if chosen == ALL and len(trees) > len(distinct := distinct_models(trees)):
        if len(distinct) == 1:
            raise SpecError(f"{listing(trees)} have the same posterior, of one model: there is nothing to average over")
        trees = distinct
    made = average(trees, chosen.weights, prob)  # type: ignore[arg-type]  # checked where it was read
    if json:
        over = {"models": made[list(OF_MODELS)], "parameters": made.drop_dims("model")}
        rows = {name: each.to_dataframe().reset_index().to_dict("records") for name, each in over.items()}
        echo(json_text({"file": str(file), **made.attrs, **rows}))
        return
    echo(f"Weights: {made.attrs['weights']}\n\n{_text(made[list(OF_MODELS)].to_dataframe())}\n")
    table = made[list(OF_PARAMETERS)].to_dataframe()
    echo(f"Averages, with {percent(prob)} intervals\n\n{_text(table)}")


def robust(
    file: Path,
    model: str | None,
    axes: Mapping[str, Sequence[Any]],
    effect: str | None,
    prob: float,
    seed: int,
    out: Path | None,
    json: bool,
    outside: bool,
) -> None:
    """Every model under a grid of priors: that typed, the alternatives in the file, or the usual one."""
    _check_out(out, json)
    analysis = load_analysis(file, allow_outside=outside)
    grid = {name: list(values) for name, values in axes.items() if values}
    failures: Failures = {}
    made: dict[str, xr.Dataset] = {}
    for name in chosen_models(analysis, model):
        try:
            made[name] = _of_model(analysis, name, grid, effect, prob, seed)
        except BayesmetaError as error:
            failures[name] = error
    _raise_if_nothing(made, failures)
    if json:
        _print_json(file, {name: _record(each) for name, each in made.items()}, failures)
    elif out is not None:
        _save(made, out)
    else:
        for name, each in made.items():
            echo(f"== {name}\n\n{_page(each)}\n" if len(made) > 1 else _page(each))
    _report(failures)


def _of_model(
    analysis: Analysis, name: str, grid: Mapping[str, Any], effect: str | None, prob: float, seed: int
) -> xr.Dataset:
    model = analysis.models[name]
    chosen: Mapping[str, Any] | None = grid or dict(model.alternatives) or None
    return robustness(specification(model), chosen, model.priors, effect=effect, prob=prob, random_seed=seed)


def _record(table: xr.Dataset) -> dict[str, Any]:
    """Axes, parameters and values, the last by variable with their dimensions."""
    variables = {
        str(name): {"dims": list(each.dims), "values": each.to_numpy().tolist()} for name, each in table.items()
    }
    labels = {str(name): each.to_numpy().tolist() for name, each in table.coords.items()}
    return {**table.attrs, "labels": labels, "robustness": variables}


def _page(table: xr.Dataset) -> str:
    """The effect under some of the priors of every family, and how far it ranges over all."""
    own = table.sel(parameter=table.attrs["effect"])
    dims = list(own["estimate"].dims)
    few = own
    if "scale" in dims and own.sizes["scale"] > SHOWN:
        at = np.unique(np.linspace(0, own.sizes["scale"] - 1, SHOWN).round().astype(int))
        few = own.isel(scale=at)
    columns = ["estimate", "lower", "upper", "probability_below", "log_bayes_factor", "log_bayes_factor_heterogeneity"]
    frame = few[[*columns, "log_bayes_factor_effect"]].to_dataframe()[[*columns, "log_bayes_factor_effect"]]
    frame.columns = ["estimate", "lower", "upper", "P(below)", "log BF", "log BF tau", "log BF effect"]
    n, null = int(np.prod([own.sizes[dim] for dim in dims])), table.attrs["null"]
    low, high = float(own["estimate"].min()), float(own["estimate"].max())
    outside = int(((own["lower"] > null) | (own["upper"] < null)).sum())
    words = (
        f"{table.attrs['effect']} under {n} priors: {low:.4g} to {high:.4g}, with"
        f" {percent(table.attrs['prob'])} intervals that exclude {null:g} under {outside} of them"
    )
    notes = "log BF: against the reference prior; tau: against no heterogeneity; effect: against no effect"
    reference = f"reference: {table.attrs['reference']}"
    return f"{words}\n\n{_text(frame.dropna(axis=1, how='all'))}\n\n{notes}\n{reference}"


def _check_out(out: Path | None, json: bool) -> None:
    if out is None:
        return
    if json:
        raise SpecError(
            "--json and --out exclude each other: --out saves a table or a picture"
            "\n  leave one of them out; --json > FILE writes JSON to a file"
        )
    if out.suffix.lower() not in (".csv", ".png", ".svg", ".pdf"):
        raise SpecError(f"--out is {out}; it must be a .csv file, or a .png, .svg or .pdf picture")


def _save(made: Mapping[str, xr.Dataset], out: Path) -> None:
    """One table of all models, or a picture of each."""
    if out.suffix.lower() == ".csv":
        frames = {name: each.to_dataframe().reset_index() for name, each in made.items()}
        write = pd.concat(frames, names=["model"]).reset_index(level=0).to_csv(index=False)
        write_file(out, write)
        echo(f"Saved {out}")
        return
    # plots load with the commands that draw
    from bayesmeta import plots

    for name, each in made.items():
        path = out if len(made) == 1 else out.with_stem(f"{out.stem}_{name}")
        drawn = plots.sensitivity(_as_sensitivity(each)) if "prior" in each.dims else plots.robustness(each)
        content = BytesIO()
        drawn.figure.savefig(content, format=path.suffix[1:].lower())
        write_file(path, content.getvalue())
        echo(f"Saved {path}")


def _as_sensitivity(table: xr.Dataset) -> xr.Dataset:
    return table.rename({"sd": "se"})


def _text(frame: pd.DataFrame) -> str:
    return str(frame.to_string(float_format=lambda value: f"{value:.4g}", na_rep=""))


def _print_json(file: Path, results: Mapping[str, Any], failures: Failures) -> None:
    echo(json_text({"file": str(file), "results": results, "failures": {k: str(e) for k, e in failures.items()}}))


def _raise_if_nothing(made: Mapping[str, Any], failures: Failures) -> None:
    if failures and not made:
        raise next(iter(failures.values()))


def _report(failures: Failures) -> None:
    if failures:
        lines = "\n".join(f"{name}: {error}" for name, error in failures.items())
        fail(f"Error: {len(failures)} failed\n{lines}", FAILED)
