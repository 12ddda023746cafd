"""The report of a file: a model file, whose models are fitted and sampled, or a file of saved results."""

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_name
from bayesmeta.bayes.engines import CHAINS
from bayesmeta.bayes.sample import sample
from bayesmeta.bayes.waiting import several
from bayesmeta.errors import BayesmetaError, SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.reference import Asked, asked, check_asked, declare
from bayesmeta.io.toml_files import is_declared
from bayesmeta.model.respecify import homogeneous
from bayesmeta.model.spec import Spec
from bayesmeta.model_files.figures import KINDS, Figure, draw
from bayesmeta.model_files.model_file import ANALYSES, Analysis, Model, load_analysis
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.prior import Priors
from bayesmeta.report.blocks import Code
from bayesmeta.report.chapters import Chapter, chapters_of
from bayesmeta.report.page import page
from bayesmeta.report.pictures import Drawing
from bayesmeta.report.render import Report, render
from bayesmeta.report.sections.other_priors import other_priors
from bayesmeta.report.sections.python_code import code_of
from bayesmeta.tree import files
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group, spec_attrs

LOGGER = logging.getLogger("bayesmeta")
BAYES = "bayes"
_NOT_ASKED = "Not requested for this page; without --no-sensitivity, the command makes it."
_OF_ONE = "Shown for model {}; use --sensitivity for all models, or --model for another one."
_SAVED = "Not part of saved results; bm.sensitivity makes it, and bayesmeta report of a model file shows it."


@dataclass(frozen=True)
class ReportOptions:
    """The options of the command.

    model, method : None for all models of the file, and for the method that it gives.
    df, vcov, cluster : None for how the file tests coefficients.
    sensitivity : to priors, of all models; None for one of them (see `for_priors`), since it takes the longest.
    """

    model: str | None = None
    method: str | None = None
    draws: int = 1000
    tune: int | None = None
    chains: int | None = None
    seed: int = 1
    bayes: bool = True
    sensitivity: bool | None = None
    allow_outside: bool = False
    df: str | None = None
    vcov: str | None = None
    cluster: str | None = None

    @property
    def inference(self) -> Asked:
        """How coefficients of fits are tested, as typed."""
        vcov = self.vcov if self.cluster is None else {"kind": self.vcov, "cluster": self.cluster}
        return check_asked(vcov, self.df)

    @property
    def sampler(self) -> dict[str, Any]:
        """Settings of `bm.sample`."""
        chains = {name: value for name in ("tune", "chains") if (value := getattr(self, name)) is not None}
        return {"draws": self.draws, **chains, "random_seed": self.seed}

    def arguments(self) -> list[str]:
        """As they are typed on the command line, those that are not the default."""
        arguments = []
        for name, value in asdict(self).items():
            if value != getattr(ReportOptions, name):
                option = name.replace("_", "-")
                switch = f"--{option}" if value is True else f"--no-{option}"
                arguments += [switch] if isinstance(value, bool) else [f"--{option}", str(value)]
        return arguments


def report_file(
    path: Path,
    out: Path,
    options: ReportOptions,
    prob: float = 0.95,
    failures: dict[str, BayesmetaError] | None = None,
) -> Report:
    """The page of a model file (TOML) or of saved results.

    failures : receives the errors of models that fail beside others that do not; without it, the first one is raised.

    Raises
    ------
    DataError
        If there is no such file, or it holds no results.
    SpecError
        If a model is unknown, or an option does not apply to saved results.
    """
    if is_declared(path):
        analysis = load_analysis(path, allow_outside=options.allow_outside).tested_by(options.inference)
        return _of_models(analysis, out, options, prob, failures)
    if options.method or not options.bayes:
        raise SpecError(
            f"{path.name} holds results; --method and --no-bayes are for model files"
            "\n  leave these out, or name a model file"
        )
    return _of_results(path, out, options, prob)


def _of_models(
    analysis: Analysis, out: Path, options: ReportOptions, prob: float, failures: dict[str, BayesmetaError] | None
) -> Report:
    chosen = _chosen(list(analysis.models), options.model, analysis.path)
    one = for_priors(analysis, chosen)
    with_priors = chosen if options.sensitivity else [one] if options.sensitivity is None else []
    chapters, saved = [], saved_posteriors(analysis.path) if options.bayes else []
    with several(len(chosen)):
        for name in chosen:
            try:
                chapters.append(_chapter(analysis.models[name], options, prob, name in with_priors, one, saved))
            except BayesmetaError as error:
                if failures is None:
                    raise
                failures[name] = error
    if failures and not chapters:
        raise next(iter(failures.values()))
    trees = {chapter.name: next(iter(chapter.trees.values())) for chapter in chapters}
    tables = {
        title: {name: trees[name] for name in names}
        for title, names in analysis.tables.items()
        if set(names) <= set(trees)
    }
    codes = (_command(analysis.path, out, options), _python(analysis, chapters, out, options))
    figures = [drawing for figure in analysis.figures.values() for drawing in _declared(figure, analysis, trees)]
    return render(page(analysis.title, analysis.citation, chapters, codes, prob, tables, figures, one))


def _declared(figure: Figure, analysis: Analysis, trees: Mapping[str, xr.DataTree]) -> Iterator[Drawing]:
    """The pictures of a figure in the model file, of those models that are on the page."""
    labels = [label for label, name in figure.models.items() if name in trees]
    if not labels or (KINDS[figure.kind] == "several" and len(labels) < len(figure.models)):
        return
    groups = [labels] if KINDS[figure.kind] == "several" else [[label] for label in labels]
    for each in groups:
        title = figure.title or figure.name.replace("_", " ").capitalize()
        models = f" of {', '.join(each)}" if len(figure.models) > 1 else ""
        yield Drawing(
            f"{title}{models if len(groups) > 1 else ''}",
            f"{figure.kind.replace('_', ' ').capitalize()}{models}: {title}",
            "",
            partial(_draw, figure.only(each), analysis, trees),
        )


def _draw(figure: Figure, analysis: Analysis, trees: Mapping[str, xr.DataTree]) -> Any:
    """The picture, from the page's own fits where they use the method of the figure."""
    chosen = {}
    for label, name in figure.models.items():
        method = figure.method or trees[name].attrs["method"]
        own = trees[name].attrs["method"] == method
        model = analysis.models[name]
        chosen[label] = trees[name] if own else fit(model.spec, method=method)
        declare(chosen[label], model.inference)
    data = analysis.models[next(iter(figure.models.values()))].source.frame
    return next(iter(draw(replace(figure, title=""), chosen, data).values()))


def for_priors(analysis: Analysis, chosen: Sequence[str]) -> str:
    """The model whose sensitivity to priors is shown.

    It is the last of those shown side by side, because tables go from simple models to complex ones; without a table,
    the first with a random part.
    """
    listed = [name for names in list(analysis.tables.values())[:1] for name in names if name in chosen]
    random = [name for name in chosen if not method_named(analysis.models[name].method).zero_psi]
    return listed[-1] if listed else (random or list(chosen))[0]


def saved_posteriors(path: Path) -> list[xr.DataTree]:
    """The posteriors that `bayesmeta compare` and `sample` of a model file have left in this folder."""
    kept: list[xr.DataTree] = []
    for file in (Path(f"{path.stem}_{command}{files.NETCDF}") for command in ("compare", "sample")):
        with suppress(BayesmetaError):  # what cannot be read is made again
            kept += [tree for tree in files.read(file).values() if is_posterior(tree)] if file.is_file() else []
    return kept


def _as_asked(tree: xr.DataTree, spec: Spec, priors: Priors | None, options: ReportOptions) -> bool:
    """Whether a posterior is of this specification, with these priors, draws and seed."""
    attributes = {**spec_attrs(spec), "priors": resolve(spec, priors).to_json(), "seed": str(options.seed)}
    attributes |= {} if options.tune is None else {"tune": str(options.tune)}
    sizes = group(tree, schema.POSTERIOR).sizes
    as_long = (sizes[schema.DRAW], sizes[schema.CHAIN]) == (options.draws, options.chains or CHAINS)
    return as_long and all(tree.attrs.get(name) == value for name, value in attributes.items())


def _chapter(
    model: Model, options: ReportOptions, prob: float, with_priors: bool, one: str, saved: Sequence[xr.DataTree]
) -> Chapter:
    method = options.method or model.method
    trees = {method: fit(model.spec, method=method)}
    declare(trees[method], model.inference)
    kind = next((key for key in ANALYSES if key in model.settings), None)
    sampling = _plain(model.settings[kind] if kind else model.settings.get("S", {"se": model.settings.get("se")}))
    chapter = Chapter(model.name, trees, model.what, sampling)
    if not options.bayes:
        return chapter
    spec = homogeneous(model.spec) if method_named(method).zero_psi else model.spec
    reused = next((tree for tree in saved if _as_asked(tree, spec, model.priors, options)), None)
    if reused is not None:
        LOGGER.info("%s: the posterior is the saved one", model.name)
    trees[BAYES] = sample(spec, model.priors, **options.sampler) if reused is None else reused
    if not with_priors:
        reason = _NOT_ASKED if options.sensitivity is False else _OF_ONE.format(one)
        return replace(chapter, no_priors=reason)
    return replace(chapter, priors=other_priors(spec, model.priors, trees[BAYES], prob, **options.sampler))


def _plain(S: Any) -> str:
    """S of a model file in words.

    >>> _plain({"within": "ar1", "rho": 0.6}), _plain(["v_1", "v_2"])
    ('within = ar1, rho = 0.6', 'v_1, v_2')
    """
    if isinstance(S, Mapping):
        return ", ".join(f"{key} = {_plain(value)}" for key, value in S.items())
    return ", ".join(map(str, S)) if isinstance(S, list) else str(S)


def _of_results(path: Path, out: Path, options: ReportOptions, prob: float) -> Report:
    trees = files.read(path)
    if options.model is not None:
        trees = {name: trees[name] for name in _chosen(list(trees), options.model, path)}
    named = {name or str(tree.attrs["method"]): tree for name, tree in trees.items()}
    chapters = chapters_of(named, no_priors=_SAVED)
    codes = (_command(path, out, options), code_of(named, f"bm.load({path.as_posix()!r})"))
    with asked(*options.inference):
        return render(page(path.stem, "", chapters, codes, prob))


def _chosen(models: Sequence[str], name: str | None, path: Path) -> list[str]:
    if name is None:
        return list(models)
    check_name(name, models, f"{path} has no model", "models")
    return [name]


def _command(path: Path, out: Path, options: ReportOptions) -> Code:
    line = shlex.join(["bayesmeta", "report", str(path), "-o", str(out), *options.arguments()])
    return Code("On the command line", line, "sh")


def _python(analysis: Analysis, chapters: Sequence[Chapter], out: Path, options: ReportOptions) -> Code:
    """Code that computes the same numbers."""
    outside = ", allow_outside=True" if options.allow_outside else ""
    lines = [
        "import bayesmeta as bm",
        "",
        f'models = bm.load_analysis("{analysis.path.as_posix()}"{outside}).models',
        "trees = {}",
    ]
    settings = ", ".join(f"{key}={value}" for key, value in options.sampler.items())
    for chapter in chapters:
        for name, tree in chapter.trees.items():
            key, model = f"trees[{f'{chapter.name}, {name}'!r}]", f"models[{chapter.name!r}]"
            if name == BAYES:
                lines.append(f"{key} = bm.sample({model}.spec, {model}.priors, {settings})")
            else:
                lines.append(f"{key} = bm.fit({model}.spec, method={tree.attrs['method']!r})")
    tested = "".join(f", {key}={value!r}" for key, value in analysis.inference._asdict().items() if value is not None)
    lines.append(f"bm.report(trees, path={str(out)!r}, title={analysis.title!r}{tested})")
    return Code("In Python", "\n".join(lines), "python")
