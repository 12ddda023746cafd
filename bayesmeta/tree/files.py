"""Results files: the trees of one or several models in one netCDF file or one Zarr directory, written and read back."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from bayesmeta._validation import listing
from bayesmeta.errors import DataError, SpecError

ZARR = ".zarr"
_ORDER = "models"  # attribute of the root: Zarr gives the groups of a directory in no order
_ZARR_ROOT = ("zarr.json", ".zgroup")  # of format 3 and of format 2


def check_path(path: Path) -> Path:
    """The path itself; DataError where no results can be saved there."""
    if not path.parent.is_dir():
        raise DataError(f"no directory {path.parent} for the results file {path.name}")
    if path.suffix == ZARR and path.exists() and not _is_zarr(path):
        raise DataError(f"{path} exists and is not a Zarr directory; it is not overwritten\n  give another name")
    if path.suffix != ZARR and path.is_dir():
        raise DataError(f"{path} is a directory\n  results are saved in a netCDF file, or in a directory NAME{ZARR}")
    return path


def save(trees: Mapping[str, xr.DataTree], path: Path) -> None:
    """Writes results trees, in place of what the file held.

    trees : by model. One is saved as it is; several as groups of the file, which `xarray.open_datatree` opens by name.
    path : ending in .zarr for a Zarr directory, otherwise a netCDF file.
    """
    check_path(path)
    if slashed := [name for name in trees if "/" in name]:
        raise SpecError(f"the name of a model that is saved may not contain '/': {listing(slashed)}")
    whole = next(iter(trees.values())) if len(trees) == 1 else _together(trees)
    if path.suffix != ZARR:
        whole.to_netcdf(path, engine="h5netcdf")
        return
    with warnings.catch_warnings():
        # what readers other than xarray may not understand is consolidated metadata, which they do not need either
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", UserWarning)
        whole.to_zarr(path, mode="w")


def read(path: Path) -> dict[str, xr.DataTree]:
    """The results trees of a file by model; of a single one under the name "".

    Raises
    ------
    DataError : there is no such file or directory, or it does not hold results of bayesmeta.
    """
    if not path.exists():
        raise DataError(f"no file {path}")
    try:
        whole = xr.open_datatree(path, engine="zarr" if path.is_dir() else "h5netcdf")
    except (OSError, ValueError):
        raise _no_results(path) from None
    order = json.loads(whole.attrs.get(_ORDER, "[]")) or whole.children
    trees = {"": whole} if _is_result(whole) else {name: whole.children[name].copy() for name in order}
    if not trees or not all(map(_is_result, trees.values())):
        raise _no_results(path)
    return trees


def _together(trees: Mapping[str, xr.DataTree]) -> xr.DataTree:
    return xr.DataTree(xr.Dataset(attrs={_ORDER: json.dumps(list(trees))}), children=dict(trees))


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in _ZARR_ROOT)


def _is_result(tree: xr.DataTree) -> bool:
    return "bayesmeta_version" in tree.attrs


def _no_results(path: Path) -> DataError:
    return DataError(f"{path} is not a results file (netCDF or Zarr) of bayesmeta")
