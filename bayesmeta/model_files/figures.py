"""Figures that a model file declares: a kind of plot, the models it shows, and its arguments; read, checked, drawn."""

import inspect
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import xarray as xr

from bayesmeta._validation import check_choice, check_keys, check_name, check_type, listing
from bayesmeta.errors import SpecError, with_new_names
from bayesmeta.estimation import methods
from bayesmeta.inference.profile import profile as profile_of
from bayesmeta.io.columns import find_column
from bayesmeta.model_files.argument_types import check_argument_types

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

# what each kind draws at once: one results tree, or several by label
KINDS: dict[str, Literal["one", "several"]] = {
    **dict.fromkeys(("forest", "funnel", "bubble", "caterpillar", "orchard", "structure"), "one"),
    **dict.fromkeys(("profile", "prior_posterior", "loo_pit", "cumulative", "leave_one_out"), "one"),
    **dict.fromkeys(("influence", "baujat", "radial", "gosh", "qqnorm", "labbe", "dose_residuals"), "one"),
    **dict.fromkeys(
        (
            "network_graph",
            "network_forest",
            "network_ranking",
            "network_league",
            "network_funnel",
            "network_heat",
            "network_split",
        ),
        "one",
    ),
    **dict.fromkeys(("accuracy_forest", "fagan"), "one"),
    **dict.fromkeys(("sroc", "likelihood_ratios", "predictive_values"), "several"),
    **dict.fromkeys(("dose_response", "longitudinal", "compare"), "several"),
}
_OWN = ("kind", "models", "title", "method")
_FROM_US = ("ax", "axes")  # arguments of plots that no file can give
_OF_DATA = ("labels", "columns", "subgroup")  # arguments that name columns of the data, also such that no model uses


@dataclass(frozen=True)
class Figure:
    """One declared figure.

    kind : a function of `bayesmeta.plots`. models : names of models by the label that the picture gives them.
    method : fit the models by this instead of their own. arguments : of the function, as written.
    """

    name: str
    kind: str
    models: Mapping[str, str]
    title: str = ""
    method: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def only(self, labels: Iterable[str]) -> "Figure":
        """The figure of the models with these labels."""
        return replace(self, models={label: self.models[label] for label in labels})

    def with_arguments(self, arguments: Mapping[str, Any]) -> "Figure":
        arguments = with_new_names(drawer(self.kind), arguments)
        check_arguments(self.kind, arguments, f"--set, for {self.kind}")
        return replace(self, arguments={**self.arguments, **arguments})


def read_figure(name: str, table: Any, models: Iterable[str], where: str) -> Figure:
    """Read a table `[figure.NAME]` of a model file; SpecError for anything that does not belong there.

    models : names of those of the file. where : file and line, as errors begin.
    """
    return _with_checked_arguments(_declared(name, table, models, where), where)


class DeclaredFigures(Mapping[str, Figure]):
    """The figures of a model file, by name.

    The arguments of a figure are checked when it is first asked for: that loads the plots, which takes as long as
    fitting some models does, and whoever fits them asks for none.
    """

    def __init__(self, tables: Mapping[str, Any], models: Iterable[str], where: Callable[[str], str]) -> None:
        """where : file and line of a figure."""
        self._where = {name: where(name) for name in tables}
        self._declared = {name: _declared(name, table, models, self._where[name]) for name, table in tables.items()}
        self._checked: dict[str, Figure] = {}

    def __getitem__(self, name: str) -> Figure:
        if name not in self._checked:
            self._checked[name] = _with_checked_arguments(self._declared[name], self._where[name])
        return self._checked[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


def _with_checked_arguments(figure: Figure, where: str) -> Figure:
    where = f"{where}: figure {figure.name}"
    arguments = with_new_names(drawer(figure.kind), figure.arguments)
    check_arguments(figure.kind, arguments, where, _OWN)
    return replace(figure, arguments=arguments)


def _declared(name: str, table: Any, models: Iterable[str], where: str) -> Figure:
    """The figure with its arguments as written."""
    where = f"{where}: figure {name}"
    check_type(table, dict, where)
    if "kind" not in table:
        raise SpecError(f"{where}: 'kind' is missing\nknown: {listing(KINDS, most=20)}")
    check_choice(table["kind"], KINDS, f"{where}: kind")
    check_type(table.get("title", ""), str, f"{where}: title")
    method = methods.method_named(table["method"], f"{where}: method").name if "method" in table else None
    arguments = {key: value for key, value in table.items() if key not in _OWN}
    shown = _models(table.get("models", list(models)), list(models), f"{where}: models")
    return Figure(name, table["kind"], shown, table.get("title", ""), method, arguments)


def _models(written: Any, known: list[str], where: str) -> dict[str, str]:
    if isinstance(written, list):
        written = {str(name): name for name in written}
    check_type(written, dict, where)
    if not written:
        raise SpecError(f"{where}: the list is empty\n  models: {listing(known, most=20)}")
    for name in written.values():
        check_name(name, known, f"{where}: no model", "models")
    return dict(written)


def check_arguments(kind: str, arguments: Mapping[str, Any], where: str, own: Iterable[str] = ()) -> None:
    """Raise SpecError for an argument that the kind's function does not have, or whose value is not of its type."""
    function = drawer(kind)
    _, *parameters = inspect.signature(function).parameters
    check_keys(arguments, [*own, *(name for name in parameters if name not in _FROM_US)], where)
    # those that name columns are of another type until the columns take their place
    check_argument_types(function, {k: v for k, v in arguments.items() if k not in _OF_DATA}, where)


def drawer(kind: str) -> Callable[..., Any]:
    """The function that draws a results tree, or several by label."""
    return _profile if kind == "profile" else getattr(_plots(), kind)


def _plots() -> ModuleType:
    """The plots, which load with the first figure: a file without any is fitted without them."""
    return import_module("bayesmeta.plots")


def _profile(tree: xr.DataTree, parameters: str | list[str] | None = None, prob: float = 0.95) -> Any:
    return _plots().profile(profile_of(tree, parameters, prob=prob))


def draw(figure: Figure, trees: Mapping[str, xr.DataTree], data: pd.DataFrame | None = None) -> dict[str, "Picture"]:
    """Pictures by the label of the model that each shows, "" where one shows all.

    Parameters
    ----------
    figure : with arguments that the function takes.
    trees : results trees by label.
    data : rows of which arguments may name columns; None where the trees are all there is.

    Raises
    ------
    SpecError : an argument of the function is missing, or whatever the function says.
    """
    function = drawer(figure.kind)
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.default is parameter.empty and name not in figure.arguments:
            raise SpecError(
                f"figure {figure.name}: {figure.kind} requires '{name}'\n"
                f"  declare it in [figure.NAME] of the model file, or give it with --set {name}=VALUE"
            )
    arguments = dict(figure.arguments)
    if data is not None:
        named = {key: arguments[key] for key in _OF_DATA if key in arguments}
        arguments |= {key: _of_data(value, data, f"figure {figure.name}: {key}") for key, value in named.items()}
    titled = _plots().panels.titled
    shown = {"": trees} if KINDS[figure.kind] == "several" else trees
    return {label: titled(function(results, **arguments), figure.title) for label, results in shown.items()}


def _of_data(value: Any, data: pd.DataFrame, where: str) -> Any:
    """The columns that an argument names: one, a list, or by heading, of which there may be two levels."""
    if isinstance(value, str):
        return find_column(data, value, where)
    if isinstance(value, list):
        return {name: find_column(data, name, where) for name in value}
    check_type(value, dict, where)
    columns: dict[Any, pd.Series[Any]] = {}
    for heading, below in value.items():
        if isinstance(below, Mapping):
            columns |= {(heading, lower): find_column(data, name, where) for lower, name in below.items()}
        else:
            columns[heading] = find_column(data, below, where)
    return columns


def setting(written: str) -> tuple[str, Any]:
    """An argument as the command line takes it: its name, "=", and a value of TOML, or a string without quotes.

    >>> setting("upto=60"), setting("x=ablat"), setting("at=[0, 12]")
    (('upto', 60), ('x', 'ablat'), ('at', [0, 12]))
    """
    name, equals, value = written.partition("=")
    if not equals or not name:
        raise SpecError(f"--set {written}: an argument must be NAME=VALUE, such as prob=0.9")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return name, value
