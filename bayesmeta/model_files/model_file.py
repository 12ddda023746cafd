"""Model files: one TOML file holds the models of one worked analysis, each a specification and a method of fitting."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from bayesmeta import datasets, structures, within
from bayesmeta._validation import check_choice, check_keys, check_name, check_type
from bayesmeta.datasets.csv_files import read_csv
from bayesmeta.errors import DataError, SpecError
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.reference import NOTHING, Asked, check_asked
from bayesmeta.io.toml_files import Place, check_table, check_value, locate, parsed, read_with_places
from bayesmeta.measures import check_measure
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import specify
from bayesmeta.model_files.argument_types import check_argument_types
from bayesmeta.model_files.derive import derive
from bayesmeta.model_files.effects_table import function_of, with_effects
from bayesmeta.model_files.figures import DeclaredFigures, Figure
from bayesmeta.model_files.prior_tables import ALL, Average, alternatives, names_of_models, placed, read_average
from bayesmeta.model_files.published import Printed, read_printed
from bayesmeta.priors.prior import Priors
from bayesmeta.tree.files import check_name_of_model

_TYPES: dict[str, type[Any] | tuple[type[Any], ...]] = {
    **dict.fromkeys(("title", "citation", "data"), str),
    **dict.fromkeys(("derive", "tables", "priors", "model", "figure", "average"), dict),
    "effects": (dict, list),
    "complete": list,
    "df": str,
    "vcov": (str, dict),
}
_PASSED = (
    "formula",
    "random",
    "S_correlation",
    "offset",
    "common",
    "groups",
    "measure",
    "se",
    "labels",
    "arms",
    "subset",
)
_INFERENCE = ("vcov", "df")
_OF_ANY_KIND = ("what", "method", "priors", "paper", *_INFERENCE)
_MODEL = (*_PASSED, "psi", "S", *_OF_ANY_KIND)
_BUILDERS: dict[str, Callable[..., Any]] = {
    "ar1": within.ar1,
    "car1": within.car1,
    "correlated": within.correlated,
    "gleser_olkin": within.gleser_olkin,
    "greenland_longnecker": within.greenland_longnecker,
    "hamling": within.hamling,
    "imputed": within.imputed,
    "shared_arms": within.shared_arms,
    "vcalc": within.vcalc,
}

# modules whose `specify` makes a whole specification from counts or contrasts, by the key of its table of arguments in
# a model; loaded for the models that have one
ANALYSES = {key: f"bayesmeta.{key}" for key in ("diagnostic", "dose_response", "network")}


@dataclass(frozen=True, eq=False)
class Source:
    """The data of an analysis: a bundled name or a CSV file, new columns, effects and which columns a row must have.

    labels : columns that name groups or rows, whose text is kept.
    """

    data: str
    directory: Path
    derived: Mapping[str, str]
    complete: tuple[str, ...]
    labels: frozenset[str] = frozenset()
    allow_outside: bool = False
    effects: tuple[Mapping[str, Any], ...] = ()

    @property
    def path(self) -> Path | None:
        """The CSV file; None where the data are bundled. DataError where it lies outside the model file's folder."""
        if not self.data.lower().endswith(".csv"):
            return None
        path = self.directory / self.data
        if not self.allow_outside and not path.resolve().is_relative_to(self.directory.resolve()):
            raise DataError(
                f"data = {self.data!r} lies outside the folder of the model file, and is not read\n"
                "  --allow-outside on the command line, or load_analysis(path, allow_outside=True), allows it"
            )
        return path

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows with the new columns, without those that lack what effects cannot be made from."""
        path = self.path
        if path is not None and not path.is_file():
            raise DataError(
                f"no file {path}, which the model file gives as its data"
                "\n  paths are relative to the model file: mend `data`, or put the file there"
            )
        table = derive(datasets.load(self.data) if path is None else read_csv(path, self.labels), self.derived)
        table = _complete(table, [column for column in self.complete if column in table.columns])
        for written in self.effects:
            table = with_effects(table, written, "effects")
        return table

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows that enter the models."""
        for column in self.complete:
            check_name(column, self.table.columns, "complete: the data have no column", "columns")
        return _complete(self.table, self.complete)


def _complete(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows that have all of the columns."""
    rows = table.dropna(subset=list(columns)).reset_index(drop=True)
    rows.attrs = dict(table.attrs)
    return rows


@dataclass(frozen=True, eq=False)
class Model:
    """One model of a file.

    name : its table's name. what : one line for readers. method : of `bayesmeta.fit`.
    settings : the arguments of `bayesmeta.specify` as written in the file.
    priors : of the model, those of the whole file where it has none of its own; None for the defaults.
    inference : how coefficients of fits are tested, likewise.
    paper : the printed numbers it is held against.
    alternatives : all combinations of priors, by what differs, where the file lists several; the first is `priors`.
    """

    name: str
    what: str
    method: str
    settings: Mapping[str, Any]
    priors: Priors | None
    inference: Asked
    paper: tuple[Printed, ...]
    source: Source
    alternatives: Mapping[str, Priors] = MappingProxyType({})

    @cached_property
    def spec(self) -> Spec:
        """The specification, built from the data at first use."""
        for kind in ANALYSES.keys() & self.settings:
            with _as_called(self.settings[kind], f"model {self.name}: {kind}"):
                return _specify_of(kind)(self.source.frame, **self.settings[kind])
        arguments = {key: self.settings[key] for key in _PASSED if key in self.settings}
        if "psi" in self.settings:
            arguments["psi"] = _structures(self.settings["psi"], f"model {self.name}: psi")
        return specify(data=self.source.frame, S=self._sampling(), **arguments)

    def _sampling(self) -> Any:
        S = self.settings.get("S")
        if not isinstance(S, Mapping):
            return S
        if "se" in S and "within" not in S:
            return within.from_se(*([S["se"]] if isinstance(S["se"], str) else S["se"]))
        options = {key: value for key, value in S.items() if key != "within"}
        with _as_called(options, f"model {self.name}: S: {S['within']}"):
            return _BUILDERS[S["within"]](self.source.frame, **options)


@dataclass(frozen=True, eq=False)
class Analysis:
    """A model file: `models` by name, `tables`, the lists of models to be set side by side, and `figures` by name.

    inference : how coefficients of fits are tested, of models that say nothing else.
    average : how posteriors are averaged.
    path : as the user wrote it; the name of a bundled file is one too. inputs : files that are read, never written.
    """

    title: str
    citation: str
    path: Path
    models: Mapping[str, Model]
    tables: Mapping[str, tuple[str, ...]]
    figures: Mapping[str, Figure]
    inputs: tuple[Path, ...]
    inference: Asked = NOTHING
    average: Average = ALL

    def tested_by(self, inference: Asked) -> "Analysis":
        """The same analysis with coefficients tested in another way, where one is given."""
        if inference == NOTHING:
            return self
        models = {name: replace(model, inference=inference) for name, model in self.models.items()}
        return replace(self, models=MappingProxyType(models), inference=inference)


def load_analysis(path: str | Path, *, allow_outside: bool = False) -> Analysis:
    """Read a model file; its data are read when a specification is first asked for.

    Parameters
    ----------
    path : str or Path
        A TOML file, or the name of a bundled one, such as "school" (`bayesmeta models` lists them); a path takes
        precedence. The file has `title`, `citation`, `data` (a name that `bayesmeta.datasets.load` knows, or a CSV file
        relative to the model file), and optionally `[derive]` (new columns, see `model_files.derive`), `complete`
        (columns without which a row is left out; constructed sampling covariances still see the whole table),
        `[tables]` (models to be shown side by side), and of all models `[priors]`, `df` and `vcov`.
    allow_outside : bool, default False
        Whether the data may be a file outside the folder of the model file.

    Returns
    -------
    Analysis
        Its models by name, tables and figures.

    Raises
    ------
    SpecError
        If the file is not TOML, has an unknown key (the closest known one is named) or a value of the wrong type.
    DataError
        If there is no such file, or its data lie outside its folder.

    Notes
    -----
    Each model is a table `[model.NAME]` with the arguments of `bayesmeta.specify` but `data`, `what` (one line),
    `method` ("reml" by default), `priors`, `df` and `vcov` (instead of those of the file) and `paper` (the printed
    numbers, see `model_files.published`). `psi` may be a name, a table by level, or `{prop = [[..]]}`,
    `{cor = [[..]]}`, `{fixed = [[..]]}`; `S` a column, several, `{se = "column"}`, or `{within = "ar1", ...}` with the
    arguments of that function of `bayesmeta.within` (ar1, correlated, greenland_longnecker or hamling).
    In place of all these a model may have one table `network`, `dose_response` or `diagnostic` with the arguments of
    `specify` in the module of that name, as in `network = {study = "study", treatment = "drug", ...}`.

    `df` and `vcov` say how coefficients of fits are tested and bracketed wherever the file is used, as in
    `bayesmeta.estimates`: `df = "z"`, `vcov = {kind = "CR2", cluster = "study"}`.

    Priors are tables `beta`, `tau` and `rho`, each a distribution as in `{name = "HalfNormal", sigma = 0.5}`, or
    several by coefficient or by level (and effect), see `bayesmeta.Priors`. A list of them has alternatives, which
    `bayesmeta robustness` compares; the first is the model's own. `[average]` has `models`, those that `bayesmeta
    average` takes, by default all, and `weights`: "posterior", "stacking", or a table of prior probabilities by model.

    A table `[figure.NAME]` is a figure that `bayesmeta plot` draws: `kind`, a function of `bayesmeta.plots`; `models`,
    a list or a table of labels and models, by default all; `title`; `method` instead of the models' own; and arguments
    of the function, of which `labels`, `columns` and `subgroup` may name columns of the data.

    Examples
    --------
    >>> analysis = load_analysis("school")
    >>> analysis.models["district_study"].settings["random"]
    '1 | district/study'
    """
    analysis = load_models(path, allow_outside=allow_outside)
    for name in analysis.figures:
        _ = analysis.figures[name]  # which checks it
    return analysis


def load_models(path: str | Path, *, allow_outside: bool = False) -> Analysis:
    """What `load_analysis` says, for whoever draws no figure: their arguments are not checked yet."""
    if not isinstance(path, str | Path):
        raise SpecError(f"expected the path of a model file, got {type(path).__name__}")
    file = locate(path)
    return _analysis(*read_with_places(file), file, Path(path), (file,), allow_outside)


def analysis_from_text(text: str, file: Path) -> Analysis:
    """The analysis of the text of a model file that could stand beside `file`, its data; errors begin with its name."""
    return _analysis(*parsed(text, file.name), file, file, (), False)


def _analysis(
    content: dict[str, Any], root: Place, file: Path, path: Path, inputs: tuple[Path, ...], allow_outside: bool
) -> Analysis:
    """What `load_analysis` says; path : as the user wrote it. inputs : files that are read beside the data."""
    if "scenario" in content:
        raise SpecError(f"{file.name} declares a simulation study, not models; see bayesmeta.load_study")
    check_table(content, _TYPES, root, required=("title", "data", "model"))
    for key, value in content.items():
        check_value(value, _TYPES[key], root / key)
    derived, complete = content.get("derive", {}), tuple(content.get("complete", ()))
    for name, expression in derived.items():
        check_value(expression, str, root / "derive" / name)
    for position, column in enumerate(complete):
        check_value(column, str, root / "complete" / position)
    made = content.get("effects", [])
    effects = tuple(made) if isinstance(made, list) else (made,)
    for position, written in enumerate(effects):
        check_value(written, dict, root / "effects" / position)
        function_of(written, str(root / "effects"))
    new = MappingProxyType(derived)
    source = Source(content["data"], file.parent, new, complete, _labels(content), allow_outside, effects)
    priors = alternatives(content["priors"], root / "priors") if "priors" in content else {}
    inference = _inference(content, root, NOTHING)
    if not content["model"]:
        raise (root / "model").error("is empty; there must be at least one table [model.NAME]")
    models = MappingProxyType(
        {
            name: _model(name, table, source, priors, inference, root.of("model", name))
            for name, table in content["model"].items()
        }
    )
    tables = {
        title: names_of_models(title, names, models, root / "tables" / title)
        for title, names in content.get("tables", {}).items()
    }
    figures = DeclaredFigures(content.get("figure", {}), models, lambda name: str(root.at("figure", name)))
    inputs = (*inputs, *filter(None, (source.path,)))
    average = read_average(content["average"], models, root / "average") if "average" in content else ALL
    return Analysis(
        content["title"],
        content.get("citation", ""),
        path,
        models,
        MappingProxyType(tables),
        figures,
        inputs,
        inference,
        average,
    )


def _specify_of(kind: str) -> Callable[..., Spec]:
    specify_it: Callable[..., Spec] = import_module(ANALYSES[kind]).specify
    return specify_it


def _labels(content: Mapping[str, Any]) -> frozenset[str]:
    """The columns that the models and figures of a file take groups and labels from."""
    parts: list[Any] = []
    for table in filter(lambda each: isinstance(each, Mapping), content["model"].values()):
        random, S = table.get("random", ()), table.get("S")
        parts += random if isinstance(random, Mapping | list | tuple) else [random]
        parts += [table.get("groups"), table.get("labels"), S.get("group") if isinstance(S, Mapping) else None]
        for arguments in (table[kind] for kind in ANALYSES if isinstance(table.get(kind), Mapping)):
            parts += [arguments.get(key) for key in ("study", "treatment", "treat1", "treat2")]
    for table in filter(lambda each: isinstance(each, Mapping), content.get("figure", {}).values()):
        parts += [table.get("labels"), table.get("subgroup")]
    texts = [part for part in parts if isinstance(part, str)]
    return frozenset(name.strip(" `") for text in texts for name in text.rpartition("|")[2].split("/"))


def _model(
    name: str, table: Any, source: Source, priors: Mapping[str, Priors], inference: Asked, place: Place
) -> Model:
    """One model; priors, inference : of the whole file."""
    check_name_of_model(name, str(place))
    kind = _kind(table, place)
    check_table(table, (kind, *_OF_ANY_KIND) if kind else (*_MODEL, *ANALYSES), place, () if kind else ("formula",))
    for key in ("what", "method", "offset", "common", "groups", "measure", "labels", "subset"):
        check_value(table.get(key, ""), str, place / key)
    method = method_named(table["method"], str(place / "method")).name if "method" in table else "reml"
    check_measure(table.get("measure"), str(place / "measure"))
    check_value(table.get("paper", []), list, place / "paper")
    check_value(table.get("arms", []), list, place / "arms")
    if kind is None and ("S" in table) == ("se" in table):
        which = "both 'S' and 'se' are given" if "S" in table else "'S' or 'se' is missing"
        raise SpecError(f"{place}: {which}\n  S names sampling variances, se standard errors")
    if "S" in table:
        _check_sampling(table["S"], place / "S")
    elif "se" in table:
        _check_columns(table["se"], place / "se")
    with placed(place.at("psi")):
        _structures(table.get("psi", "unstr"), "psi")
    printed = tuple(
        read_printed(entry, str((place / "paper").at(position)))
        for position, entry in enumerate(table.get("paper", ()))
    )
    settings = {key: value for key, value in table.items() if key in (*_PASSED, *ANALYSES, "psi", "S")}
    own = alternatives(table["priors"], place / "priors") if "priors" in table else priors
    first, several = next(iter(own.values()), None), own if len(own) > 1 else {}
    tested = _inference(table, place, inference)
    return Model(
        name, table.get("what", ""), method, MappingProxyType(settings), first, tested, printed, source, several
    )


def _kind(table: Any, place: Place) -> str | None:
    """The key that makes a whole specification, its arguments checked; None in a model that has a formula."""
    kind = next((key for key in ANALYSES if isinstance(table, Mapping) and key in table), None)
    if kind is not None:
        _, *parameters = inspect.signature(_specify_of(kind)).parameters.values()
        required = [p.name for p in parameters if p.default is p.empty]
        check_table(table[kind], [p.name for p in parameters], place / kind, required)
        with placed(place / kind):
            check_argument_types(_specify_of(kind), table[kind], kind)
    return kind


def _inference(table: Mapping[str, Any], place: Place, otherwise: Asked) -> Asked:
    """How coefficients are tested by a table of the file; `otherwise` where it does not say."""
    chosen = [key for key in _INFERENCE if key in table]
    if not chosen:
        return otherwise
    with placed(place / chosen[-1]):
        return check_asked(table.get("vcov"), table.get("df"))


@contextmanager
def _as_called(arguments: Mapping[str, Any], where: str) -> Iterator[None]:
    """Arguments of a file that a function cannot be called with are an error of the file."""
    try:
        yield
    except TypeError as error:
        raise SpecError(f"{where} cannot use {dict(arguments)}: {error}") from None


def _structures(written: Any, where: str) -> Any:
    """A structure or a table of them by level, as `specify` takes it."""
    if not isinstance(written, Mapping):
        check_type(written, str, where)
        return structures.resolve(written)
    families = {name: family for name, family in structures.REGISTER.items() if family.arguments}
    called = [key for key, value in written.items() if key in families and _is_argument(families[key], value)]
    if not called:
        return {level: _structures(structure, f"{where}.{level}") for level, structure in written.items()}
    check_keys(written, called[:1], where)
    return structures.from_json({"name": called[0], families[called[0]].arguments[0]: written[called[0]]})


def _is_argument(family: type[structures.Structure], value: Any) -> bool:
    """Whether a value is the first argument of a structure, as in {prop = [[1, 0.5], [0.5, 1]]} or {car1 = "month"}."""
    return isinstance(value, str if family.arguments[0] == "time" else list)


def _check_sampling(S: Any, place: Place) -> None:
    if not isinstance(S, Mapping):
        _check_columns(S, place)
    elif "within" not in S:
        check_table(S, ("se", "within"), place, required=("se",))
        _check_columns(S["se"], place / "se")
    else:
        check_choice(S["within"], _BUILDERS, str(place / "within"))
        _, *parameters = inspect.signature(_BUILDERS[S["within"]]).parameters.values()
        required = [p.name for p in parameters if p.default is p.empty]
        check_table(S, ("within", *(p.name for p in parameters)), place / S["within"], required)


def _check_columns(written: Any, place: Place) -> None:
    """The name of a column, or a list of them."""
    for name in written if isinstance(written, list) else [written]:
        check_value(name, str, place)
    if not written:
        raise place.error("is empty; it must name a column")
