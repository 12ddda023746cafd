"""Results files: the trees of one or several models in one netCDF file or one Zarr directory, written and read back."""

import json
import logging
import warnings
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import xarray as xr

from bayesmeta._validation import check_path, did_you_mean, listing
from bayesmeta.errors import BayesmetaError, DataError, SpecError
from bayesmeta.io.atomic import by_this_process, is_stream, sole_writer, write_file, write_folder
from bayesmeta.tree import netcdf
from bayesmeta.tree.checked_groups import check_tree
from bayesmeta.tree.fingerprint import CONTENT_HASH, check_content, with_hash
from bayesmeta.tree.single_entries import single

NETCDF, ZARR = ".nc", ".zarr"
_VERSION, _DESIGN = "bayesmeta_version", "design_hash"  # attributes of the root of results, and of those of a study
_ORDER = "models"  # attribute of the root: Zarr gives the groups of a directory in no order
_ZARR_ROOT = ("zarr.json", ".zgroup")  # of format 3 and of format 2
LOGGER = logging.getLogger("bayesmeta")
OTHER_NAME = ", or give another name"  # what to do where another process writes to a file
_PATIENCE = 20.0  # seconds in which another process has saved its results, too
_READINGS = 50  # of a directory that is replaced while it is read
_LONGEST = 120  # bytes of the name of a model, which is the name of a folder in Zarr directories


def save(trees: xr.DataTree | Mapping[str, xr.DataTree], path: str | PathLike[str]) -> Path:
    """Save results trees in one file, whole or not at all: an older file stays as it was until the new one is complete.

    Parameters
    ----------
    trees : DataTree or mapping of str to DataTree
        A results tree of `bm.fit` or `bm.sample`, or several by name, which become groups of the file.
    path : str or path-like
        A netCDF file NAME.nc or a Zarr directory NAME.zarr. Results that are there already are replaced.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    SpecError
        For names that a file cannot hold, an extension that is neither .nc nor .zarr, and trees that are no results.
    DataError
        Where there is no such folder, the file there holds no results of bayesmeta, another process keeps writing to
        it, a label has characters that no file can hold, or the disk is full.

    See Also
    --------
    bayesmeta.load : The way back.

    Examples
    --------
    >>> import bayesmeta as bm, tempfile
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = bm.save({"reml": fit}, f"{folder}/bcg.nc")
    ...     path.name, list(bm.load(path))
    ('bcg.nc', ['reml'])
    """
    path = check_target(path)
    several = not isinstance(trees, xr.DataTree) and isinstance(trees, Mapping)
    named: dict[str, Any] = dict(trees) if several else {"": trees}
    if not named:
        raise SpecError(f"there are no results to save in {path}\n  pass a tree, or a dict of names and trees")
    for name, tree in named.items():
        if several:
            check_name_of_model(name)
        if not _is_own(tree):
            raise SpecError(f"expected a results tree to save in {path}, got {type(tree).__name__} without results")
    hashed = {name: with_hash(tree) for name, tree in named.items()}
    with sole_writer(path, advice=OTHER_NAME, patience=_PATIENCE):
        write(_together(hashed) if several else hashed[""], path)
    return path


def load(path: str | PathLike[str]) -> xr.DataTree | dict[str, xr.DataTree]:
    """Read results that `bm.save`, the command line or `tree.to_netcdf` wrote, and check them.

    Parameters
    ----------
    path : str or path-like
        A netCDF file or a Zarr directory.

    Returns
    -------
    DataTree or dict of str to DataTree
        The results tree, or those of several models by name; in memory, so that the file may be replaced.

    Raises
    ------
    DataError
        When there is no such file, it holds no results, is damaged, was edited, or was written by a later version.

    See Also
    --------
    bayesmeta.save : Writes such files.

    Examples
    --------
    >>> import bayesmeta as bm, tempfile
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bm.load(bm.save(fit, f"{folder}/bcg.zarr")).attrs["method"]
    'reml'
    """
    trees = read(path)
    return trees[""] if list(trees) == [""] else trees


def check_target(path: Any, inputs: Iterable[Path] = ()) -> Path:
    """The path; an error where no results can be saved there.

    inputs : files that the results are made from.
    """
    path = check_place(path, "results file", inputs)
    if is_stream(path):
        return path
    if path.suffix != ZARR and path.is_dir():
        raise DataError(f"{path} is a directory\n  results are saved in a netCDF file, or in a directory NAME{ZARR}")
    if path.suffix not in (NETCDF, ZARR):
        hint = did_you_mean(path.suffix, (NETCDF, ZARR))
        raise SpecError(
            f"{path}: results are saved as {NETCDF} (netCDF) or {ZARR} (a Zarr directory){hint}"
            "\n  give the name of the file one of these endings"
        )
    if path.suffix == ZARR and path.exists() and not _is_zarr(path):
        raise DataError(f"{path} exists and is not a Zarr directory; it is not overwritten\n  give another name")
    if path.exists() and not _replaceable(path):
        raise DataError(
            f"{path} exists and holds no results of bayesmeta; it is not overwritten\n  give another name, or remove it"
        )
    return path


def check_place(path: Any, what: str, inputs: Iterable[Path] = ()) -> Path:
    """The path of what is to be written: a stream, or a file in a folder that is there, and none that it is made from.

    inputs : files that it is made from.
    """
    path = check_path(path, f"the path of the {what}")
    if is_stream(path):
        return path
    try:
        if not path.parent.is_dir():
            raise DataError(
                f"no directory {path.parent} for the {what} {path.name}\n  make it first, or give another path"
            )
        there = path.resolve().exists()
        same = [each for each in inputs if there and each.exists() and path.samefile(each)]
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)[:200]} cannot be written: {getattr(error, 'strerror', '') or error}") from None
    if same:
        raise DataError(f"{path} is a file that the {what} is made from; it is not overwritten\n  give another name")
    return path


def check_name_of_model(name: Any, where: str = "the name of a model that is saved") -> None:
    """SpecError for a name that no file can hold."""
    text = name if isinstance(name, str) else repr(name)
    if not isinstance(name, str) or not name.strip():
        raise SpecError(f"{where.rstrip()}: {text[:60]!r} is no name; it must be a text that is not empty")
    if "/" in name:
        problem = "may not contain '/'"
    elif name in (".", "..", *_ZARR_ROOT) or name.startswith("__"):
        problem = "is reserved by file formats"
    elif not name.isprintable():
        problem = "may not contain control characters, nor others that cannot be printed"
    elif len(name.encode()) > _LONGEST:
        problem = f"may have at most {_LONGEST} bytes, not {len(name.encode())}"
    else:
        return
    raise SpecError(f"{where} {problem}: {ascii(text[:60]) if not text.isprintable() else text[:60]}")


def write(whole: xr.DataTree, path: Path) -> None:
    """Write a tree of any content in place of what the path held."""
    _check_texts(whole, path)
    LOGGER.debug("save %s", path)
    if path.suffix == ZARR:
        with warnings.catch_warnings():
            # what readers other than xarray may not understand is consolidated metadata, which they do not need either
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", UserWarning)
            with by_this_process():
                write_folder(path, lambda folder: whole.to_zarr(folder, mode="w"))
        return
    # in memory first: the HDF5 library crashes where a disk is full
    if netcdf.is_plain(whole):
        write_file(path, netcdf.content_of(whole))
        return
    with by_this_process(), whole.to_netcdf(None, engine="h5netcdf") as content:
        write_file(path, content)


def read(path: str | PathLike[str]) -> dict[str, xr.DataTree]:
    """The results trees of a file by model, checked; of a single one under the name "".

    Raises
    ------
    DataError : there is no such file or directory, or it does not hold results of bayesmeta.
    """
    path = check_path(path, "the path of a results file")
    trees = _models(_opened_whole(path), path)
    for name, tree in trees.items():
        model = f", model {name}" if name else ""
        try:
            check_content(tree)
            check_tree(tree)
            trees[name] = single(tree, json.loads(tree.attrs["psi"]))
        except BayesmetaError as error:
            raise DataError(f"{path}{model}: {error}") from None
        trees[name].attrs.pop(CONTENT_HASH, None)
    return trees


def _models(whole: xr.DataTree, path: Path) -> dict[str, xr.DataTree]:
    """The trees of a file, in the order in which they were saved."""
    if _is_own(whole):
        return {"": whole}
    trees = {str(name): tree for name, tree in whole.children.items()}
    try:
        order = json.loads(whole.attrs.get(_ORDER, "null"))
    except (TypeError, ValueError):
        order = ()
    if not trees or not all(map(_is_own, trees.values())):
        raise _no_results(path)
    if order is not None and (not isinstance(order, list) or sorted(map(str, order)) != sorted(trees)):
        raise DataError(
            f"{path}: attribute {_ORDER} of the root does not name the models that the file holds: {listing(trees)}\n"
            "  the file was edited or damaged"
        )
    return {name: xr.DataTree.from_dict(trees[name].copy().to_dict()) for name in order or trees}


def _opened_whole(path: Path) -> xr.DataTree:
    """The same, of a directory that nobody replaced meanwhile: some of its files would be of the old one."""
    for _ in range(_READINGS):
        before = _version_of(path)
        try:
            whole = _opened(path)
        except DataError:
            if _version_of(path) == before:
                raise
        else:
            if _version_of(path) == before:
                return whole
    raise DataError(f"{path} is replaced faster than it can be read\n  stop the process that keeps writing to it")


def _version_of(path: Path) -> tuple[int, int, int] | None:
    """What changes when another directory takes the place of this one; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return (about.st_ino, about.st_mtime_ns, about.st_ctime_ns) if path.is_dir() else (0, 0, 0)


def _opened(path: Path) -> xr.DataTree:
    """The content of a file or directory, in memory."""
    try:
        if not path.exists():
            raise DataError(
                f"no file {path}\n  check the path; bm.save writes results, `bayesmeta fit` and `sample` do, too"
            )
        if not path.is_dir():
            with h5py.File(path) as file:  # complains in one line, where xarray leaves half an object behind
                own = netcdf.is_own(file)
            if own and (tree := netcdf.read_tree(path)) is not None:
                return tree
        with warnings.catch_warnings(), xr.open_datatree(path, engine="zarr" if path.is_dir() else "h5netcdf") as whole:
            warnings.simplefilter("ignore")
            return whole.load()
    except BayesmetaError:
        raise
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}\n  check whether you may read it") from None
    except Exception:  # whatever libraries say of bytes that are no file of theirs
        raise _no_results(path) from None


def _together(trees: Mapping[str, xr.DataTree]) -> xr.DataTree:
    return xr.DataTree(xr.Dataset(attrs={_ORDER: json.dumps(list(trees))}), children=dict(trees))


def _replaceable(path: Path) -> bool:
    """Whether nothing but results would be lost where a file is replaced."""
    if path.is_file() and not path.stat().st_size:
        return True
    try:
        if path.is_dir():
            import zarr

            attributes = dict(zarr.open_group(path, mode="r").attrs)
        else:
            with h5py.File(path) as file:
                attributes = dict(file.attrs)
    except Exception:  # whatever libraries say of bytes that are no file of theirs
        return False
    return bool({_VERSION, _DESIGN, _ORDER} & set(attributes))


def _check_texts(whole: xr.DataTree, path: Path) -> None:
    """DataError for a label with characters that no file can hold."""
    for node in whole.subtree:
        for name, variable in node.variables.items():
            if variable.dtype.kind not in "OUT":
                continue
            for text in variable.values.ravel().tolist():
                if isinstance(text, str) and ("\0" in text or not _is_unicode(text)):
                    raise DataError(
                        f"{path} cannot hold {text[:60]!a} in {node.path.rstrip('/')}/{name}\n"
                        "  labels may not contain NUL, nor halves of characters (surrogates)"
                    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in _ZARR_ROOT)


def _is_own(tree: object) -> bool:
    return isinstance(tree, xr.DataTree) and _VERSION in tree.attrs


def _no_results(path: Path) -> DataError:
    return DataError(
        f"{path} is not a results file (netCDF or Zarr) of bayesmeta, or it is damaged"
        "\n  read it with xarray or pandas if it is something else; else fit again and save"
    )
