"""Results trees as netCDF-4 files, written and read through HDF5 itself.

xarray's way by h5netcdf takes four milliseconds for each of the 150 variables of a posterior, in looking up groups and
dimensions by name. Results trees need little of what netCDF can do: numbers, truth values and texts over named
dimensions. What is more than that goes xarray's way, and so do files that others have written.

The layout is that of netCDF-4 ("NetCDF-4 C library: file format specifications"): dimensions are HDF5's dimension
scales, with an attribute that numbers them, and xarray's attributes say which variables are coordinates and which are
truth values.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from h5py import h5, h5a, h5d, h5ds, h5p, h5s, h5t

from bayesmeta._typing import AnyArray
from bayesmeta._version import __version__
from bayesmeta.tree.assembly import labels_of, table_of

_PROPERTIES, _DIMID, _OF_COORDINATES = "_NCProperties", "_Netcdf4Dimid", "_Netcdf4Coordinates"
_LINKS = {_PROPERTIES, "CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST"}
_HIDDEN = {*_LINKS, _DIMID, _OF_COORDINATES}
_WRITER = "version=2,bayesmeta="  # how the properties of files of this module begin
_COORDINATES, _DTYPE = "coordinates", "dtype"  # attributes by which xarray knows coordinates and truth values
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable."
_TEXT = h5t.py_create(h5py.string_dtype(), logical=True)  # in files
_OBJECTS = h5t.py_create(h5py.string_dtype())  # in memory
_BLOCK = 1 << 20  # bytes by which the file grows in memory, at least
_SCALAR = h5s.create(h5s.SCALAR)


class _Variable(NamedTuple):
    """What is stored of a variable; text : whether its values are texts."""

    dims: tuple[str, ...]
    values: AnyArray
    attrs: Mapping[Any, Any]
    text: bool


def is_plain(tree: xr.DataTree) -> bool:
    """Whether a tree holds nothing but what this module writes: groups that have either variables or children, and in
    these no values or attributes but numbers, truth values and texts."""
    return all(_is_plain_node(node) for node in tree.subtree)


def content_of(tree: xr.DataTree) -> bytes:
    """The netCDF file of a plain tree."""
    block = max(_BLOCK, tree.nbytes // 4)
    with h5py.File("results.nc", "w", driver="core", backing_store=False, block_size=block, track_order=True) as file:
        versions = f"{_WRITER}{__version__},hdf5={h5py.version.hdf5_version},h5py={h5py.__version__}"
        _write_attribute(file, _PROPERTIES, versions)
        _write_node(file, tree, 0)
        file.flush()
        content: bytes = file.id.get_file_image()
    return content


def is_own(file: h5py.File) -> bool:
    """Whether this module wrote a file."""
    written = file.attrs.get(_PROPERTIES, b"")
    return str(written.decode() if isinstance(written, bytes) else written).startswith(_WRITER)


def read_tree(path: Path) -> xr.DataTree | None:
    """The tree in a file of this module, in memory; None where another program has added to it what is not plain."""
    with h5py.File(path) as file:
        try:
            return _read_node(file)
        except (KeyError, TypeError, ValueError):
            return None


def _is_plain_node(node: xr.DataTree) -> bool:
    variables = node.to_dataset(inherit=False).variables
    if variables and (node.children or not all(map(_plain_name, variables))):
        return False
    hosts = [set(variable.dims) for name, variable in variables.items() if name not in node.coords]
    return (
        all(map(_plain_name, node.children))
        and _plain_attributes(node.attrs)
        and all(_plain_variable(name, variable) for name, variable in variables.items())
        and all(name in node.dims or any(set(variables[name].dims) <= dims for dims in hosts) for name in node.coords)
    )


def _plain_variable(name: Any, variable: xr.Variable) -> bool:
    dims, kind = variable.dims, variable.dtype.kind
    return (
        all(map(_plain_name, dims))
        and len(set(dims)) == len(dims)
        and (name not in dims or (dims == (name,) and not variable.attrs))
        and _plain_attributes(variable.attrs)
        and (kind in "biufU" or (kind in "OT" and all(isinstance(text, str) for text in variable.values.ravel())))
    )


def _plain_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and "/" not in name and " " not in name and name not in _HIDDEN


def _plain_attributes(attrs: Mapping[Any, Any]) -> bool:
    reserved = {*_HIDDEN, _COORDINATES, _DTYPE, "_FillValue"}
    return all(
        isinstance(name, str)
        and name.isprintable()
        and name
        and name not in reserved
        and (type(value) in (str, int, float) or isinstance(value, np.integer | np.floating))
        for name, value in attrs.items()
    )


def _write_node(group: h5py.Group, node: xr.DataTree, dimid: int) -> int:
    """A group and those below it; the number of the next dimension."""
    for name, value in node.attrs.items():
        _write_attribute(group, str(name), value)
    if variables := node.to_dataset(inherit=False).variables:
        dimid = _write_table(group, node, variables, dimid)
    for name, child in node.children.items():
        dimid = _write_node(group.create_group(name, track_order=True), child, dimid)
    return dimid


def _write_table(group: h5py.Group, node: xr.DataTree, variables: Mapping[Any, xr.Variable], dimid: int) -> int:
    """The variables of a group."""
    sizes = {dim: size for variable in variables.values() for dim, size in variable.sizes.items()}
    number = {dim: dimid + i for i, dim in enumerate(sizes)}
    scales: dict[Any, h5d.DatasetID] = {}
    for dim, size in sizes.items():
        scale = _dataset(group, str(dim), variables[dim]) if dim in variables else _bare_scale(group, str(dim), size)
        h5ds.set_scale(scale, str(dim).encode() if dim in variables else _NO_VARIABLE + b"%10d" % size)
        _write_numbers(scale, _DIMID, np.array(number[dim], np.int32))
        scales[dim] = scale
    others = [name for name in node.coords if name not in sizes]
    for name, variable in variables.items():
        dataset = scales[name] if name in scales else _dataset(group, name, variable)
        if variable.ndim:
            _write_numbers(dataset, _OF_COORDINATES, np.array([number[dim] for dim in variable.dims], np.int32))
        for i, dim in enumerate(() if name in scales else variable.dims):
            h5ds.attach_scale(dataset, scales[dim], i)
        own = (
            [] if name in node.coords else [each for each in others if set(variables[each].dims) <= set(variable.dims)]
        )
        if own:
            _write_text(dataset, _COORDINATES, " ".join(map(str, own)))
    return dimid + len(sizes)


def _dataset(group: h5py.Group, name: str, variable: xr.Variable) -> h5d.DatasetID:
    values, truth = np.ascontiguousarray(variable.values).reshape(variable.shape), variable.dtype.kind == "b"
    text = values.dtype.kind in "UOT"
    stored = values.astype(object) if text else values.view(np.int8) if truth else values
    kind = _TEXT if text else h5t.py_create(stored.dtype)
    space = h5s.create_simple(stored.shape) if stored.ndim else _SCALAR
    dataset = h5d.create(group.id, name.encode(), kind, space, _properties())
    if stored.size:
        dataset.write(h5s.ALL, h5s.ALL, stored, mtype=_OBJECTS if text else None)
    if truth:
        _write_text(dataset, _DTYPE, "bool")
    for attribute, value in variable.attrs.items():
        _write_attribute(dataset, attribute, value)
    return dataset


def _bare_scale(group: h5py.Group, dim: str, size: int) -> h5d.DatasetID:
    """A dimension without labels: a variable that netCDF does not show."""
    return h5d.create(group.id, dim.encode(), h5t.IEEE_F32BE, h5s.create_simple((size,)), _properties())


def _properties() -> Any:
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_attr_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    return properties


def _write_attribute(owner: Any, name: str, value: Any) -> None:
    owner = owner.id if isinstance(owner, h5py.Group) else owner
    if isinstance(value, str):
        _write_text(owner, name, value)
    else:
        _write_numbers(owner, name, np.atleast_1d(value))


def _write_text(owner: Any, name: str, value: str) -> None:
    attribute = h5a.create(owner, name.encode(), _TEXT, _SCALAR)
    attribute.write(np.array(value, dtype=object), mtype=_OBJECTS)


def _write_numbers(owner: Any, name: str, value: AnyArray) -> None:
    space = h5s.create_simple(value.shape) if value.ndim else _SCALAR
    h5a.create(owner, name.encode(), h5t.py_create(value.dtype), space).write(value)


def _read_node(group: h5py.Group) -> xr.DataTree:
    datasets: dict[str, h5py.Dataset] = {}
    children: dict[str, h5py.Group] = {}
    for name, item in group.items():
        (children if isinstance(item, h5py.Group) else datasets)[name] = item
    table = _read_table(datasets, dict(_attributes(group.id)))
    return xr.DataTree(table, children={name: _read_node(child) for name, child in children.items()})


def _read_table(datasets: Mapping[str, h5py.Dataset], attrs: dict[str, Any]) -> xr.Dataset:
    known = {name: dict(_attributes(dataset.id)) for name, dataset in datasets.items()}
    dims = {int(each[_DIMID]): name for name, each in known.items() if _DIMID in each}
    variables: dict[str, Any] = {}
    coordinates = set()
    for name, dataset in datasets.items():
        about = known[name]
        if _DIMID in about and _OF_COORDINATES not in about:  # a dimension without labels
            continue
        over = tuple(dims[int(number)] for number in np.atleast_1d(about.get(_OF_COORDINATES, [])))
        coordinates |= {name} if _DIMID in about else set(about.get(_COORDINATES, "").split())
        variables[name] = (over, _values(dataset, about), _shown(about))
    labels = {name: _labels(name, *variables.pop(name)) for name in list(variables) if name in coordinates}
    return table_of(variables, labels, attrs)


def _labels(name: str, dims: tuple[str, ...], values: AnyArray, attrs: dict[str, Any]) -> Any:
    if dims != (name,):
        return dims, values, attrs
    return labels_of(name, values if values.dtype.kind == "O" else pd.Index(values))


def _values(dataset: h5py.Dataset, about: Mapping[str, Any]) -> AnyArray:
    """Values of a variable; ValueError for those of a kind that this module has not written."""
    if h5py.check_string_dtype(dataset.dtype):
        return _texts(dataset.id, dataset.shape)
    if dataset.dtype.kind not in "iuf":
        raise ValueError(f"{dataset.name} is neither text nor numbers")
    values = np.empty(dataset.shape, dataset.dtype)
    if values.size:
        dataset.id.read(h5s.ALL, h5s.ALL, values)
    return values.astype(bool) if about.get(_DTYPE) == "bool" else values


def _texts(stored: h5d.DatasetID, shape: tuple[int, ...]) -> AnyArray:
    values = np.empty(shape, object)
    if values.size:
        stored.read(h5s.ALL, h5s.ALL, values, mtype=_OBJECTS)
        flat = values.reshape(-1)
        flat[:] = [text.decode() for text in flat]
    return values


def _attributes(owner: Any) -> Iterator[tuple[str, Any]]:
    """Of a group or variable, but those that are links between variables."""
    for i in range(h5a.get_num_attrs(owner)):
        attribute = h5a.open(owner, index=i, index_type=h5.INDEX_CRT_ORDER)
        name = attribute.name.decode()
        if name not in _LINKS:
            yield name, _attribute(attribute)


def _attribute(attribute: h5a.AttrID) -> Any:
    """A text or a number; ValueError for anything else, which this module has not written."""
    text = h5py.check_string_dtype(attribute.dtype)
    if attribute.shape is None or not ((text and text.length is None) or attribute.dtype.kind in "iuf"):
        raise ValueError(f"attribute {attribute.name.decode()} is neither a text nor numbers")
    value = np.empty(attribute.shape, object if text else attribute.dtype)
    attribute.read(value, mtype=_OBJECTS if text else None)
    if text:
        return value.item().decode()
    return value[0] if value.ndim and value.size == 1 else value


def _shown(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if name not in (_DIMID, _OF_COORDINATES, _COORDINATES, _DTYPE)}
