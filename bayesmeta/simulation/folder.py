"""The folder of a study: one process at a time writes there, and what it has saved is checked when it is read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.atomic import by_this_process, sole_writer, write_file
from bayesmeta.simulation.declaration import Simulation
from bayesmeta.tree.fingerprint import CONTENT_HASH, content_hash

DECLARED, DESIGN = "study.json", "design_hash"
LOCK = ".lock"
_ADVICE = ", and run this command again, which goes on from where it was"


@contextmanager
def claimed(study: Simulation, directory: Path) -> Iterator[None]:
    """The folder, made if there is none, for as long as this process writes there.

    Raises
    ------
    SpecError : it holds the results of a study with another design.
    DataError : it holds anything else, another process writes there, or nobody can.
    """
    if directory.exists() and not directory.is_dir():
        raise DataError(
            f"{directory} is not a directory; the results of a study are saved in one"
            "\n  give the name of a new directory"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _check_content(study, directory)
    except OSError as error:
        raise DataError(f"{directory} cannot be written: {error.strerror or error}\n  give another directory") from None
    with sole_writer(directory, directory / LOCK, _ADVICE):
        _check_content(study, directory)  # another process may have begun a study in between
        if not (directory / DECLARED).is_file():
            write_file(directory / DECLARED, json.dumps({DESIGN: study.design_hash}))
        yield


def _check_content(study: Simulation, directory: Path) -> None:
    file = directory / DECLARED
    if file.is_file():
        if _json(file).get(DESIGN) != study.design_hash:
            raise SpecError(
                f"{directory} holds results of another design, to which this one cannot be added\n"
                "  give another directory, or remove this one"
            )
    elif any(not each.name.startswith(".") for each in directory.iterdir()):
        raise DataError(f"{directory} holds other files; give an empty or new directory")


def _json(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise DataError(f"{file} is damaged, so nobody knows which study {file.parent} holds\n  remove the directory")
    return content


def save_piece(table: xr.Dataset, file: Path) -> None:
    """Write the estimates of a piece with their hash."""
    table.attrs[CONTENT_HASH] = content_hash(xr.DataTree(table))
    with by_this_process(), table.to_netcdf(None, engine="h5netcdf") as content:
        write_file(file, content)


def read_piece(file: Path) -> xr.Dataset | None:
    """The estimates of a piece; None where they are not those that were saved."""
    try:
        h5py.File(file).close()
        with xr.open_dataset(file, engine="h5netcdf") as opened:
            table = opened.load()
    except Exception:  # whatever libraries say of bytes that are no file of theirs
        return None
    return table if table.attrs.pop(CONTENT_HASH, None) == content_hash(xr.DataTree(table)) else None


def done(file: Path, datasets: np.ndarray) -> bool:
    """Whether a piece has been saved whole; one that is damaged is announced, and counts as not done."""
    if not file.is_file():
        return False
    table = read_piece(file)
    whole = table is not None and "dataset" in table.coords and np.array_equal(table["dataset"], datasets)
    if not whole:
        warn(f"piece {file} is damaged, or of an earlier version; its data sets are fitted again", AssumptionWarning)
    return whole
