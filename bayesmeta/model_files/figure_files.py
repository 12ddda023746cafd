"""Picture files of a model file, a results file or a simulation study: what `bayesmeta plot` does."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from bayesmeta import plots
from bayesmeta._validation import check_choice, check_name, did_you_mean, listing
from bayesmeta.errors import BayesmetaError, BayesmetaWarning, DataError, SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.io.atomic import is_stream, write_file
from bayesmeta.io.toml_files import is_declared, locate
from bayesmeta.model_files.figures import KINDS, Figure, draw
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.simulation.declaration import declares_simulation, load_study
from bayesmeta.simulation.run import RESULTS, study_table
from bayesmeta.tree import files
from bayesmeta.tree.files import check_place

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

SUFFIXES = (".png", ".svg", ".pdf")
SIMULATION, DEFAULT = "simulation", "forest"
_DPI = 200
_HEAD = 4096


@dataclass(frozen=True, eq=False)
class Source:
    """What can be drawn from a file.

    models : their names. figures : declared ones by name. tree : results of a model, by a method or by its own.
    data : the table whose columns figures may name.
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


def is_study(path: Path) -> bool:
    return is_declared(path) and declares_simulation(locate(path))


def open_source(path: Path, allow_outside: bool = False) -> Source:
    """The source that a model file or a file of saved results is."""
    if not is_declared(path):
        trees = files.read(path)
        named = {name or path.stem: tree for name, tree in trees.items()}
        return Source(path.stem, tuple(named), {}, lambda name, method: named[name])
    analysis = load_analysis(path, allow_outside=allow_outside)

    @cache
    def fitted(name: str, method: str | None) -> xr.DataTree:
        model = analysis.models[name]
        return fit(model.spec, method=method or model.method)

    data = next(iter(analysis.models.values())).source.frame
    return Source(path.stem, tuple(analysis.models), analysis.figures, fitted, data)


def figures_of(
    source: Source, kind: str | None, models: Sequence[str], settings: Mapping[str, Any] | None = None
) -> list[Figure]:
    """The figures of a source that show the named models and are of the named kind.

    They are those that the file declares; where it declares none, plots of the kind itself, or forest plots.
    """
    if kind is not None:
        check_choice(kind, (*KINDS, SIMULATION), "--kind")
    if kind == SIMULATION:
        raise SpecError(f"{source.stem} is not a simulation study, which --kind {SIMULATION} requires")
    for model in models:
        check_name(model, source.models, f"{source.stem} has no model", "models")
    chosen = models or source.models
    figures = []
    for figure in source.figures.values():
        labels = [label for label, model in figure.models.items() if model in chosen]
        if labels and kind in (None, figure.kind):
            figures.append(figure.only(labels))
    if not figures:
        plain = kind or DEFAULT
        figures = [Figure(plain, plain, {name: name for name in chosen})]
    if settings and len(kinds := dict.fromkeys(figure.kind for figure in figures)) > 1:
        raise SpecError(
            f"--set {listing(settings)} belongs to one kind of figure, and {source.stem} has several\n"
            f"  name one with --kind: {listing(kinds)}"
        )
    return [figure.with_arguments(settings) for figure in figures] if settings else figures


def drawings(
    path: Path,
    kind: str | None,
    models: Sequence[str],
    settings: Mapping[str, Any],
    suffix: str,
    allow_outside: bool = False,
) -> list[Drawing]:
    """All pictures of a file, to be called FILE_FIGURE, or FILE_FIGURE_MODEL where each shows one of several models."""
    if is_study(path):
        return [_of_study(path, kind, models, settings, suffix)]
    source = open_source(path, allow_outside)
    return [
        drawing
        for figure in figures_of(source, kind, models, settings)
        for drawing in _of_figure(source, figure, suffix)
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
        raise SpecError(
            f"{path} is a simulation study, whose only figure is --kind {SIMULATION}"
            "\n  leave out --kind, --model and --set"
        )

    def make() -> "Picture":
        rows = study_table(load_study(path), xr.open_datatree(results_of(path), engine="h5netcdf"))
        picture: Picture = plots.simulation(rows).flat[0].figure
        return picture

    return Drawing(Path(f"{path.stem}_{SIMULATION}{suffix}"), make)


def results_of(study: Path) -> Path:
    """Where `bayesmeta simulate` saves the results of a study by default."""
    return Path(f"{study.stem}_results") / RESULTS


def places(planned: Sequence[Drawing], out: Path | None) -> list[Path]:
    """The paths of the pictures: their own names in a directory, or the one file that the user names.

    A directory that is not there yet is made when the first picture is saved (`save`), once all has been checked.
    """
    if out is None or out.is_dir():
        return [(out or Path()) / drawing.path for drawing in planned]
    if is_stream(out):
        raise SpecError(
            f"{out} is a device; pictures are saved in files ({listing(SUFFIXES)}) or in a directory"
            "\n  give --out the name of a file or of a directory"
        )
    if not out.suffix and not out.exists() and out.parent.is_dir():
        return [out / drawing.path for drawing in planned]
    if not out.suffix:
        raise DataError(f"no directory {out} for the pictures\n  make it first, or give another --out")
    check_suffix(out)
    if len(planned) > 1:
        names = listing(drawing.path.stem for drawing in planned)
        raise SpecError(
            f"{len(planned)} pictures cannot be saved in one file {out}: {names}\n"
            "  give a directory, or choose by --kind and --model"
        )
    return [out]


def check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        known = listing(SUFFIXES)
        raise SpecError(f"{path}: pictures must be saved as {known}{did_you_mean(path.suffix, SUFFIXES)}")


def check_picture(path: Path, inputs: Iterable[Path] = ()) -> None:
    """An error where no picture can be saved: only one that matplotlib has made is replaced."""
    check_place(path, "picture", inputs)
    if path.is_dir() or (path.exists() and path.stat().st_size and not _is_picture(path)):
        raise DataError(
            f"{path} exists and is no picture of bayesmeta; it is not overwritten\n  give another name, or remove it"
        )


def _is_picture(path: Path) -> bool:
    """Whether matplotlib has made the file, as a picture of this format, and not a page with such pictures."""
    content = path.read_bytes()
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[path.suffix]
    head = content if path.suffix == ".pdf" else content[:_HEAD]  # where its name stands among the metadata
    return content.startswith(start) and b"Matplotlib" in head


@dataclass(frozen=True)
class Saved:
    """What became of a picture: its path, None where there is none; notes; and why it could not be drawn."""

    path: Path | None = None
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def save(
    files: Sequence[Path],
    kind: str | None = None,
    models: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    suffix: str = ".png",
    allow_outside: bool = False,
) -> Iterator[Saved]:
    """Draw all pictures of the files, without a window, and save them.

    Everything that can be checked beforehand is, so that nothing is fitted for a picture that has no place to go. Among
    several files, a simulation study that has not been run is left out with a note. A picture that cannot be drawn does
    not stop the others.

    Yields
    ------
    Saved
        One for each picture, as soon as it is there.

    Raises
    ------
    SpecError, DataError
        Before anything is drawn, or when there is only one picture and it cannot be drawn.
    """
    import matplotlib

    not_run = [file for file in files if is_study(file) and not results_of(file).is_file()]
    notes = [f"no results of {file} in {results_of(file)}\n  bayesmeta simulate {file} makes them" for file in not_run]
    if notes and len(files) == 1:
        raise DataError(notes[0])
    drawn = [file for file in files if file not in not_run]
    planned = [
        drawing for file in drawn for drawing in drawings(file, kind, models, settings or {}, suffix, allow_outside)
    ]
    paths = places(planned, out)
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise SpecError(f"two pictures have the same name {twice[0]}\n  draw the files one by one")
    for path in paths:
        if path.parent != out or out.exists():  # in a directory to be made nothing can be in the way
            check_picture(path, files)
    if notes:
        yield Saved(notes=tuple(notes))
    matplotlib.use("agg")
    for drawing, path in zip(planned, paths, strict=True):
        try:
            yield Saved(path, _saved(drawing, path))
        except BayesmetaError as error:
            if len(planned) == 1:
                raise
            yield Saved(failures=(f"{path.stem}: {error}",))


def _saved(drawing: Drawing, path: Path) -> tuple[str, ...]:
    """Draw and save one picture, its letters as text that can be searched and edited; the warnings it gave."""
    from matplotlib import rc_context

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BayesmetaWarning)
        picture = drawing.make()
        content = BytesIO()
        with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
            picture.savefig(content, format=path.suffix[1:], dpi=_DPI)
    _close(picture)
    _make_directory(path.parent)
    write_file(path, content.getvalue())
    return tuple(str(warning.message) for warning in caught)


def _make_directory(path: Path) -> None:
    """The directory that the user names, beside those that are there."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"no directory {path} for the pictures: {error.strerror}\n  give another --out") from None


def _close(picture: "Picture") -> None:
    from matplotlib import pyplot

    pyplot.close(picture)
