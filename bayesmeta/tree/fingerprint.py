"""Hashes of what a results tree holds, by which one that was edited or damaged is known.

A tree has one hash for its attributes and one for every variable, which whoever reads a group compares; a file has one
for all of it besides. In place of the hash of an array that is yet to be computed there is a mark, by which its hash is
known once somebody reads it; files of `bm.save` have hashes throughout.
"""

import hashlib
import json
from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta.errors import SpecError
from bayesmeta.tree.assembly import tree_of
from bayesmeta.tree.unread import Source, computed_hash, unread

CONTENT_HASH = "content_hash"
HASHES = "group_hashes"  # attribute of the root: JSON of a hash for every variable by group, "" for the attributes
_ATTRIBUTES = (
    *("backend", "method", "formula", "random", "common", "offset", "groups", "outcomes", "psi", "measure", "arms"),
    *(
        "arm_columns",
        "S_assumed",
        "analysis",
        "notes",
        "priors",
        "sampler",
        "seed",
        "tune",
        "target_accept",
        "data_hash",
        "partitions",
    ),
)
_SIZE = 8  # bytes: enough for accidents
_UNREAD = "unread "  # how marks begin
_BY_DATA_HASH = (schema.OBSERVED, schema.CONSTANT)  # groups whose floats have a hash of their own


def with_hash(tree: xr.DataTree) -> xr.DataTree:
    """A shallow copy of a results tree whose root attributes have the hash of its content.

    Arrays that nobody has read are computed; the tree itself then has their hashes in place of their marks, too.
    """
    attrs: dict[str, Any] = {str(name): value for name, value in tree.attrs.items()}
    if _UNREAD in str(attrs.get(HASHES, "")):
        tree.attrs[HASHES] = attrs[HASHES] = _without_marks(tree, str(attrs[HASHES]))
    attrs[CONTENT_HASH] = content_hash(tree, attrs)
    if not tree.variables and not any(child.children for child in tree.children.values()):
        return tree_of(attrs, {str(name): child.to_dataset(inherit=False) for name, child in tree.children.items()})
    copy = xr.DataTree.from_dict(tree.copy().to_dict())
    copy.attrs = attrs
    return copy


def check_content(tree: xr.DataTree) -> None:
    """SpecError where the content is not what its hash was made of; trees without one are left alone."""
    if CONTENT_HASH in tree.attrs and tree.attrs[CONTENT_HASH] != content_hash(tree):
        raise SpecError(
            f"the content is not that which was saved: its {CONTENT_HASH} differs, so the file was edited or damaged\n"
            "  fit again; if the edit is yours, bm.save(xarray.open_datatree(path), path) makes the hash anew"
        )


def attribute_hash(attrs: Mapping[Any, Any]) -> str:
    """Hash of the attributes that say what was fitted, and how."""
    return _short(_plain({name: attrs[name] for name in _ATTRIBUTES if name in attrs}).encode(errors="surrogatepass"))


def variable_hashes(name: str, table: xr.Dataset, aligned: Container[Any]) -> dict[str, str]:
    """A hash for every variable of a group, whatever the order of its dimensions.

    aligned : dimensions whose labels are compared by themselves, see `checked_groups.aligned`.
    """
    kinds = "OUTbiu" if name in _BY_DATA_HASH else "OUTbiuf"
    hashes = {}
    for key, variable in table.variables.items():
        kind, dims = variable.dtype.kind, variable.dims
        is_text = kind in "OUT"
        if kind not in kinds or (key in dims and (not is_text or key in aligned)):
            continue
        if not variable.size:  # files keep no type of texts where there are none
            continue
        if (waiting := unread(variable)) is not None:
            hashes[str(key)] = _UNREAD + waiting.source.token
            continue
        values = _ordered(tuple(map(str, dims)), variable.values)
        content = _text_bytes(values) if is_text else _number_bytes(values)
        about = _plain(variable.attrs).encode() if name == schema.RAW else b""  # which say how a column is to be read
        hashes[str(key)] = _short(content + about)
    return hashes


def number_hash(dims: tuple[str, ...], values: np.ndarray) -> str:
    """Hash of a variable of numbers, whatever the order of its dimensions."""
    return _short(_number_bytes(_ordered(dims, values)))


def _ordered(dims: tuple[str, ...], values: np.ndarray) -> np.ndarray:
    return values.transpose(sorted(range(values.ndim), key=dims.__getitem__)) if values.ndim > 1 else values


def mark_unread(sources: Iterable[Source], about: str) -> None:
    """Give arrays that are yet to be computed the marks by which their hashes are known later.

    about : the hash of the attributes of their tree.
    """
    for source in sources:
        source.known_as(_short(f"{about} {source.about}".encode()))


def _without_marks(tree: xr.DataTree, written: str) -> str:
    """The hashes of a tree, with those of arrays as they were computed in place of their marks.

    Where that is not known any more, it is that of the array which the tree holds.
    """
    try:
        hashes = json.loads(written)
        for name, own in hashes.items():
            if name in tree.children and any(str(each).startswith(_UNREAD) for each in own.values()):
                table = tree.children[name].to_dataset(inherit=False)
                known = {key: _as_computed(name, key, mark) for key, mark in own.items()}
                present = variable_hashes(name, table.copy().load(), table.dims) if None in known.values() else {}
                hashes[name] = {key: hashed or present.get(key, own[key]) for key, hashed in known.items()}
    except (AttributeError, TypeError, ValueError):  # attributes that were edited, of which readers will complain
        return written
    return json.dumps(hashes)


def _as_computed(name: str, key: str, written: str) -> str | None:
    """A hash for what is written in a tree; None for a mark whose array this process has not computed."""
    return computed_hash(written.removeprefix(_UNREAD), f"{name}/{key}") if written.startswith(_UNREAD) else written


def check_attribute_hash(attrs: Mapping[Any, Any], hashes: Mapping[str, Any]) -> None:
    """SpecError where attributes are not those that were written."""
    if "" in hashes and hashes[""] != attribute_hash(attrs):
        raise _edited(f"attributes are not those that were written: one of {', '.join(_ATTRIBUTES)}")


def check_variable_hashes(
    name: str, table: xr.Dataset, aligned: Container[Any], hashes: Mapping[str, Mapping[str, str]]
) -> None:
    """SpecError for the first variable of a group that is not as it was written."""
    if name not in hashes:
        return
    now = variable_hashes(name, table, aligned)
    for variable, written in hashes[name].items():
        present = now.get(variable)
        if present != written and (present is None or _as_computed(name, variable, written) not in (present, None)):
            raise _edited(
                f"/{name} {variable} is {'not what was computed' if variable in table.variables else 'missing'}"
            )


def _edited(what: str) -> SpecError:
    return SpecError(
        f"{what} (attribute {HASHES} differs), so the tree was edited or damaged\n"
        f'  fit again; if the edit is yours, del tree.attrs["{HASHES}"] lets readers take it as it is'
    )


def _short(content: bytes | memoryview) -> str:
    return hashlib.blake2b(content, digest_size=_SIZE).hexdigest()


def content_hash(tree: xr.DataTree, attrs: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of all attributes, labels and values, whatever the file format.

    attrs : of the root, by default those of the tree.
    """
    digest = hashlib.sha256()
    for node in sorted(tree.subtree, key=lambda each: each.path):
        about = attrs if attrs is not None and node is tree else node.attrs
        own = {name: value for name, value in about.items() if name != CONTENT_HASH}
        digest.update(f"{node.relative_to(tree)}\n{_plain(own)}\n".encode(errors="surrogatepass"))
        for name, variable in sorted(node.variables.items(), key=lambda each: str(each[0])):
            described = f"{name} {variable.dims} {variable.shape} {_plain(variable.attrs)}\n"
            digest.update(described.encode(errors="surrogatepass"))
            digest.update(_bytes(variable.values))
    return digest.hexdigest()


def _plain(attrs: Any) -> str:
    return json.dumps({str(key): _value(value) for key, value in attrs.items()}, sort_keys=True)


def _value(value: Any) -> Any:
    listed = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    return listed[0] if isinstance(listed, list) and len(listed) == 1 else listed


def _bytes(values: np.ndarray) -> bytes | memoryview:
    """The values as bytes that do not depend on machine or file format."""
    if not values.size:  # files keep no type of texts where there are none
        return b""
    if values.dtype.kind in "OUST":
        return json.dumps([str(text) for text in values.ravel().tolist()]).encode()
    return _number_bytes(values)


def _text_bytes(values: np.ndarray) -> bytes:
    return "\0".join(map(str, values.ravel().tolist())).encode(errors="surrogatepass")


def _number_bytes(values: np.ndarray) -> bytes:
    if values.dtype.kind != "f":
        return values.astype("<i8").tobytes()
    if (lacking := np.isnan(values)).any():
        values = np.where(lacking, np.nan, values)  # of which there are many
    return values.astype("<f8", copy=False).tobytes()
