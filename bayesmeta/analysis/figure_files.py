"""Picture files of a model file, a results file or a simulation study: what `bayesmeta plot` does."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from bayesmeta import plots
from bayesmeta._validation import check_choice, check_name, did_you_mean, listing
from bayesmeta.analysis.figures import KINDS, Figure, draw
from bayesmeta.analysis.model_file import load_analysis
from bayesmeta.errors import BayesmetaError, BayesmetaWarning, DataError, SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.simulation.run import RESULTS, study_table
from bayesmeta.simulation.study import is_study, load_study
from bayesmeta.tree import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

SUFFIXES = (".png", ".svg", ".pdf")
SIMULATION, DEFAULT = "simulation", "forest"
_DPI = 200


@dataclass(frozen=True, eq=False)
class Source:
    """What a file has to be drawn.

    models : names. figures : declared ones by name. tree : results of a model, by a method or by its own.
    data : of which figures may name columns.
    """

    stem: str
    models: tuple[str, ...]
    figures: Mapping[str, Figure]
    tree: Callable[[str, str | None], xr.DataTree]
    data: pd.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class Drawing:
    """One picture to be: the file it goes to, and what makes it."""

    path: Path
    make: Callable[[], "Picture"]


def is_toml(path: Path) -> bool:
    return path.suffix == ".toml" and path.is_file()


def open_source(path: Path) -> Source:
    """The source that a model file or a file of saved results is."""
    if not is_toml(path):
        trees = files.read(path)
        named = {name or path.stem: tree for name, tree in trees.items()}
        return Source(path.stem, tuple(named), {}, lambda name, method: named[name])
    analysis = load_analysis(path)

    @cache
    def fitted(name: str, method: str | None) -> xr.DataTree:
        model = analysis.models[name]
        return fit(model.spec, method=method or model.method)

    data = next(iter(analysis.models.values())).source.frame
    return Source(path.stem, tuple(analysis.models), analysis.figures, fitted, data)


def wanted(
    source: Source, kind: str | None, models: Sequence[str], settings: Mapping[str, Any] | None = None
) -> list[Figure]:
    """The figures that are asked for.

    Those that the file declares, of the kind and the models that are named; where none is declared, the kind itself, or
    forests, of these models.
    """
    if kind is not None:
        check_choice(kind, (*KINDS, SIMULATION), "--kind")
    if kind == SIMULATION:
        raise SpecError(f"{source.stem} is no simulation study, of which --kind {SIMULATION} is a picture")
    if settings and kind is None:
        raise SpecError(f"--set {listing(settings)} belongs to one kind of figure; name it with --kind")
    for model in models:
        check_name(model, source.models, f"{source.stem} has no model", "models")
    chosen = models or source.models
    found = []
    for figure in source.figures.values():
        labels = [label for label, model in figure.models.items() if model in chosen]
        if labels and kind in (None, figure.kind):
            found.append(figure.only(labels))
    if not found:
        plain = kind or DEFAULT
        found = [Figure(plain, plain, {name: name for name in chosen})]
    return [figure.with_arguments(settings) for figure in found] if settings else found


def drawings(
    path: Path, kind: str | None, models: Sequence[str], settings: Mapping[str, Any], suffix: str
) -> list[Drawing]:
    """All pictures of a file, to be called FILE_FIGURE, or FILE_FIGURE_MODEL where each shows one of several models."""
    if not path.exists():
        raise DataError(f"no file {path}")
    if is_toml(path) and is_study(path):
        return [_of_study(path, kind, models, settings, suffix)]
    source = open_source(path)
    return [
        drawing for figure in wanted(source, kind, models, settings) for drawing in _of_figure(source, figure, suffix)
    ]


def _of_figure(source: Source, figure: Figure, suffix: str) -> Iterator[Drawing]:
    apart = KINDS[figure.kind] == "one" and len(figure.models) > 1
    for label, model in figure.models.items() if apart else [("", "")]:
        name = "_".join(filter(None, (source.stem, figure.name, model))).replace("/", "_")
        part = replace(figure.only([label]), title=f"{figure.title}: {label}".lstrip(": ")) if apart else figure
        yield Drawing(Path(name + suffix), partial(_draw, source, part))


def _draw(source: Source, figure: Figure) -> "Picture":
    trees = {label: source.tree(model, figure.method) for label, model in figure.models.items()}
    (picture,) = draw(figure, trees, source.data).values()
    return picture


def _of_study(path: Path, kind: str | None, models: Sequence[str], settings: Mapping[str, Any], suffix: str) -> Drawing:
    if kind not in (None, SIMULATION) or models or settings:
        raise SpecError(f"{path} is a simulation study, of which there is one figure: --kind {SIMULATION}")

    def make() -> "Picture":
        rows = study_table(load_study(path), xr.open_datatree(results_of(path), engine="h5netcdf"))
        picture: Picture = plots.simulation(rows).flat[0].figure
        return picture

    return Drawing(Path(f"{path.stem}_{SIMULATION}{suffix}"), make)


def results_of(study: Path) -> Path:
    """Where `bayesmeta simulate` puts the results of a study unless told otherwise."""
    return Path(f"{study.stem}_results") / RESULTS


def places(planned: Sequence[Drawing], out: Path | None) -> list[Path]:
    """Where the pictures go: to the names they have, in a directory, or to the one file that is named."""
    if out is None or out.is_dir():
        return [(out or Path()) / drawing.path for drawing in planned]
    if not out.suffix:
        raise DataError(f"no directory {out} for the pictures")
    check_suffix(out)
    if len(planned) > 1:
        names = listing(drawing.path.stem for drawing in planned)
        raise SpecError(
            f"{len(planned)} pictures do not go into one file {out}: {names}\n"
            "  give a directory, or choose by --kind and --model"
        )
    if not out.parent.is_dir():
        raise DataError(f"no directory {out.parent} for the picture {out.name}")
    return [out]


def check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        known = listing(SUFFIXES)
        raise SpecError(f"{path}: pictures are saved as {known}{did_you_mean(path.suffix, SUFFIXES)}")


def save(
    files: Sequence[Path],
    kind: str | None = None,
    models: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    suffix: str = ".png",
) -> Iterator[tuple[Path | None, list[str]]]:
    """Draws and saves all pictures of the files without a window.

    Everything that can be checked beforehand is, so that nothing is fitted for a picture that has no place to go. Among
    several files, a study that was not run is left out with a word; of several pictures, those that cannot be drawn are
    said when the others are there.

    Yields
    ------
    The path of each picture when it is there, and what was to be said of it; None for what was left out.
    """
    import matplotlib

    not_run = [file for file in files if is_toml(file) and is_study(file) and not results_of(file).is_file()]
    notes = [f"no results of {file} in {results_of(file)}\n  bayesmeta simulate {file} makes them" for file in not_run]
    if notes and len(files) == 1:
        raise DataError(notes[0])
    drawn = [file for file in files if file not in not_run]
    planned = [drawing for file in drawn for drawing in drawings(file, kind, models, settings or {}, suffix)]
    paths = places(planned, out)
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise SpecError(f"two pictures would be called {twice[0]}\n  draw the files one by one")
    if notes:
        yield None, notes
    matplotlib.use("agg")
    failures = []
    for drawing, path in zip(planned, paths, strict=True):
        try:
            yield path, _saved(drawing, path)
        except BayesmetaError as error:
            failures.append(f"{path.stem}: {error}")
    if failures:
        count = f"{len(failures)} of {len(planned)} pictures could not be drawn\n" if len(planned) > 1 else ""
        raise SpecError(count + "\n".join(failures))


def _saved(drawing: Drawing, path: Path) -> list[str]:
    """Draws and saves one picture; what was to be said of it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", BayesmetaWarning)
        picture = drawing.make()
        picture.savefig(path, dpi=_DPI)
    _close(picture)
    return [str(warning.message) for warning in said]


def _close(picture: "Picture") -> None:
    from matplotlib import pyplot

    pyplot.close(picture)
