"""The report of a file: a model file, whose models are fitted and sampled, or saved results."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from bayesmeta._validation import did_you_mean, listing
from bayesmeta.analysis.figures import KINDS, Figure, draw
from bayesmeta.analysis.model_file import Analysis, load_analysis
from bayesmeta.analysis.model_file import Model as Given
from bayesmeta.bayes.sample import sample
from bayesmeta.errors import SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import method_named
from bayesmeta.model.respecify import homogeneous
from bayesmeta.report.blocks import Code
from bayesmeta.report.grouping import grouped
from bayesmeta.report.page import Model, page
from bayesmeta.report.pictures import Drawing
from bayesmeta.report.render import Report, render
from bayesmeta.report.sections.again import lines_of
from bayesmeta.report.sections.other_priors import other_priors
from bayesmeta.tree import files

BAYES = "bayes"
_NOT_ASKED = "Not asked for on this page; without --no-sensitivity, the command makes it."
_OF_ONE = "Shown for model {}; for all models, with the option --sensitivity, and for any one with --model."
_SAVED = "Saved results do not hold it; bm.sensitivity makes it, and bayesmeta report of a model file shows it."


@dataclass(frozen=True)
class Options:
    """What the command says.

    model, method : None for all of the file, and for the method that it gives.
    sensitivity : to priors, of all models; None for one of them (see `for_priors`), since it takes the longest.
    """

    model: str | None = None
    method: str | None = None
    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    seed: int = 1
    bayes: bool = True
    sensitivity: bool | None = None

    @property
    def how(self) -> dict[str, Any]:
        return {"draws": self.draws, "tune": self.tune, "chains": self.chains, "seed": self.seed}

    def words(self) -> list[str]:
        """As they are typed, those that are not the default."""
        found = []
        for name, value in asdict(self).items():
            if value != getattr(Options, name):
                switch = f"--{name}" if value is True else f"--no-{name}"
                found += [switch] if isinstance(value, bool) else [f"--{name}", str(value)]
        return found


def report_file(path: Path, out: Path, options: Options, prob: float = 0.95) -> Report:
    """The page of a model file (TOML) or of results that were saved.

    Raises
    ------
    DataError : no such file, or no results in it.
    SpecError : unknown models, and options that saved results cannot follow.
    """
    if path.suffix == ".toml":
        return _of_models(load_analysis(path), out, options, prob)
    if options.method or not options.bayes:
        raise SpecError(f"{path.name} holds results; --method and --no-bayes are for model files")
    return _of_results(path, out, options, prob)


def _of_models(analysis: Analysis, out: Path, options: Options, prob: float) -> Report:
    chosen = _chosen(list(analysis.models), options.model, analysis.path)
    one = for_priors(analysis, chosen)
    wanted = chosen if options.sensitivity else [one] if options.sensitivity is None else []
    models = [_model(analysis.models[name], options, prob, name in wanted, one) for name in chosen]
    trees = {model.name: next(iter(model.trees.values())) for model in models}
    tables = {
        title: {name: trees[name] for name in names}
        for title, names in analysis.tables.items()
        if set(names) <= set(trees)
    }
    codes = (_command(analysis.path, out, options), _python(analysis, models, out, options))
    figures = [drawing for figure in analysis.figures.values() for drawing in _declared(figure, analysis, trees)]
    return render(page(analysis.title, analysis.citation, models, codes, prob, tables, figures))


def _declared(figure: Figure, analysis: Analysis, trees: Mapping[str, xr.DataTree]) -> Iterator[Drawing]:
    """The pictures of a figure of the model file whose models are on the page."""
    labels = [label for label, name in figure.models.items() if name in trees]
    if not labels or (KINDS[figure.kind] == "several" and len(labels) < len(figure.models)):
        return
    groups = [labels] if KINDS[figure.kind] == "several" else [[label] for label in labels]
    for each in groups:
        name = figure.title or figure.name.replace("_", " ").capitalize()
        which = f" of {', '.join(each)}" if len(figure.models) > 1 else ""
        yield Drawing(
            f"{name}{which if len(groups) > 1 else ''}",
            f"{figure.kind.replace('_', ' ').capitalize()}{which}: {name}",
            "",
            partial(_draw, figure.only(each), analysis, trees),
        )


def _draw(figure: Figure, analysis: Analysis, trees: Mapping[str, xr.DataTree]) -> Any:
    """The picture, of the page's own fits where they are by the method that the figure asks for."""
    chosen = {}
    for label, name in figure.models.items():
        by = figure.method or trees[name].attrs["method"]
        ours = trees[name].attrs["method"] == by
        chosen[label] = trees[name] if ours else fit(analysis.models[name].spec, method=by)
    data = analysis.models[next(iter(figure.models.values()))].source.frame
    return next(iter(draw(replace(figure, title=""), chosen, data).values()))


def for_priors(analysis: Analysis, chosen: Sequence[str]) -> str:
    """The model whose sensitivity to priors is shown: the last of those set side by side, since tables go from simple
    models to rich ones; without a table, the first that has a random part."""
    listed = [name for names in list(analysis.tables.values())[:1] for name in names if name in chosen]
    random = [name for name in chosen if not method_named(analysis.models[name].method).zero_psi]
    return listed[-1] if listed else (random or list(chosen))[0]


def _model(given: Given, options: Options, prob: float, with_priors: bool, one: str) -> Model:
    method = options.method or given.method
    trees = {method: fit(given.spec, method=method)}
    what, sampling = given.what, _plain(given.settings["S"])
    if not options.bayes:
        return Model(given.name, trees, what, sampling)
    spec = homogeneous(given.spec) if method_named(method).zero_psi else given.spec
    trees[BAYES] = sample(spec, given.priors, **options.how)
    if not with_priors:
        said = _NOT_ASKED if options.sensitivity is False else _OF_ONE.format(one)
        return Model(given.name, trees, what, sampling, no_priors=said)
    priors = other_priors(spec, given.priors, trees[BAYES], prob, **options.how)
    return Model(given.name, trees, what, sampling, priors)


def _plain(S: Any) -> str:
    """S of a model file in words.

    >>> _plain({"within": "ar1", "rho": 0.6}), _plain(["v_1", "v_2"])
    ('within = ar1, rho = 0.6', 'v_1, v_2')
    """
    if isinstance(S, Mapping):
        return ", ".join(f"{key} = {_plain(value)}" for key, value in S.items())
    return ", ".join(map(str, S)) if isinstance(S, list) else str(S)


def _of_results(path: Path, out: Path, options: Options, prob: float) -> Report:
    trees = files.read(path)
    if options.model is not None:
        trees = {name: trees[name] for name in _chosen(list(trees), options.model, path)}
    named = {name or str(tree.attrs["method"]): tree for name, tree in trees.items()}
    models = grouped(named, no_priors=_SAVED)
    opened = f"xr.open_datatree({path.as_posix()!r})"
    return render(page(path.stem, "", models, (_command(path, out, options), lines_of(named, opened)), prob))


def _chosen(known: Sequence[str], wanted: str | None, path: Path) -> list[str]:
    if wanted is None:
        return list(known)
    if wanted not in known:
        hint = did_you_mean(wanted, known)
        raise SpecError(f"no model '{wanted}' in {path}{hint}\nmodels: {listing(known, most=20)}")
    return [wanted]


def _command(path: Path, out: Path, options: Options) -> Code:
    line = shlex.join(["bayesmeta", "report", str(path), "-o", str(out), *options.words()])
    return Code("On the command line", line, "sh")


def _python(analysis: Analysis, models: Sequence[Model], out: Path, options: Options) -> Code:
    """The same numbers in Python."""
    lines = [
        "import bayesmeta as bm",
        "",
        f'models = bm.load_analysis("{analysis.path.as_posix()}").models',
        "trees = {}",
    ]
    how = ", ".join(f"{key}={value}" for key, value in options.how.items())
    for model in models:
        for name, tree in model.trees.items():
            key, given = f"trees[{f'{model.name}, {name}'!r}]", f"models[{model.name!r}]"
            if name == BAYES:
                lines.append(f"{key} = bm.sample({given}.spec, {given}.priors, {how})")
            else:
                lines.append(f"{key} = bm.fit({given}.spec, method={tree.attrs['method']!r})")
    lines.append(f"bm.report(trees, path={str(out)!r}, title={analysis.title!r})")
    return Code("In Python", "\n".join(lines), "python")
