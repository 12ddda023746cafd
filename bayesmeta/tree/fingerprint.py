"""A hash of everything that a results tree holds, by which a file that was edited or damaged is known."""

import hashlib
import json
from typing import Any

import numpy as np
import xarray as xr

from bayesmeta.errors import SpecError

CONTENT_HASH = "content_hash"


def with_hash(tree: xr.DataTree) -> xr.DataTree:
    """A shallow copy of a results tree whose root attributes have the hash of its content."""
    copy = xr.DataTree.from_dict(tree.copy().to_dict())
    copy.attrs = {**copy.attrs, CONTENT_HASH: content_hash(tree)}
    return copy


def check_content(tree: xr.DataTree) -> None:
    """SpecError where the content is not what its hash was made of; trees without one are left alone."""
    if CONTENT_HASH in tree.attrs and tree.attrs[CONTENT_HASH] != content_hash(tree):
        raise SpecError(
            f"the content is not that which was saved: its {CONTENT_HASH} differs, so the file was edited or damaged\n"
            "  fit again; if the edit is yours, bm.save(xarray.open_datatree(path), path) makes the hash anew"
        )


def content_hash(tree: xr.DataTree) -> str:
    """SHA-256 of all attributes, labels and values, whatever the file format."""
    digest = hashlib.sha256()
    for node in sorted(tree.subtree, key=lambda each: each.path):
        own = {name: value for name, value in node.attrs.items() if name != CONTENT_HASH}
        digest.update(f"{node.relative_to(tree)}\n{_plain(own)}\n".encode(errors="surrogatepass"))
        for name, variable in sorted(node.variables.items(), key=lambda each: str(each[0])):
            about = f"{name} {variable.dims} {variable.shape} {_plain(variable.attrs)}\n"
            digest.update(about.encode(errors="surrogatepass"))
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
    if values.dtype.kind == "f":
        plain = np.array(values, dtype="<f8")
        plain[np.isnan(plain)] = np.nan  # of which there are many
        return plain.tobytes()
    return np.ascontiguousarray(values, "<i8").tobytes()
