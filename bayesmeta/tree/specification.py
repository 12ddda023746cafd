"""The part of a results tree that holds the specification, which every backend writes, and the way back from it."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import structures
from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._version import __version__
from bayesmeta.errors import SpecError
from bayesmeta.formula.parse import Terms
from bayesmeta.model.partitioned_spec import PartitionedSpec
from bayesmeta.model.spec import Level, SamplingCovariance, Spec
from bayesmeta.tree import raw_data
from bayesmeta.tree.assembly import Labels, labels_of, table_of, tree_of
from bayesmeta.tree.checked_groups import checked_group
from bayesmeta.tree.fingerprint import HASHES, attribute_hash, mark_unread, variable_hashes
from bayesmeta.tree.partitions_attribute import PARTITIONS, in_partitions, partitions_attrs
from bayesmeta.tree.schema_check import missing_group
from bayesmeta.tree.unread import unread

MOST_RANDOM_EFFECTS = 1_000_000  # predicted random effects that are kept in a tree without being asked for

_TABLES: WeakKeyDictionary[Spec, dict[str, xr.Dataset]] = WeakKeyDictionary()
_LABELS: WeakKeyDictionary[Spec, dict[str, Labels]] = WeakKeyDictionary()
_HASHES: WeakKeyDictionary[Spec, dict[str, dict[str, str]]] = WeakKeyDictionary()


_READ: ContextVar[dict[tuple[int, str], tuple[xr.DataTree, Any]] | None] = ContextVar("read", default=None)
_WHOLE = ""  # in place of a group's name: the specification


def group(tree: xr.DataTree, name: str) -> xr.Dataset:
    """A group of a results tree; SpecError for anything that has none of this name."""
    if not isinstance(tree, xr.DataTree):
        raise no_tree(tree)
    if name not in tree.children:
        raise missing_group(tree, name)
    return read_once(tree, name, lambda: checked_group(tree, name))


def read_once(tree: xr.DataTree, name: str, read: Callable[[], Any]) -> Any:
    """What is read from a tree, inside of `reading_once` only at first use."""
    known = _READ.get()
    if known is None:
        return read()
    key = id(tree), name
    if key not in known:
        known[key] = tree, read()
    return known[key][1]


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside, every group of a tree, and its specification, is read at first use only: for what asks for them often.

    Nothing inside may change a tree or what `group` returns.
    """
    known = _READ.get()
    token = _READ.set({} if known is None else known)  # that of a caller, also where it has read nothing yet
    try:
        yield
    finally:
        _READ.reset(token)


def no_tree(value: object) -> SpecError:
    """The error about anything else in place of a results tree, with the line that makes one."""
    line = "bm.fit(spec)" if isinstance(value, Spec) else 'bm.fit(bm.specify("y ~ 1", data, S="v"))'
    return SpecError(
        f"expected the results tree that bm.fit or bm.sample returned, got {type(value).__name__}; write {line}"
    )


def results_tree(attrs: dict[str, str], groups: dict[str, xr.Dataset], spec: Spec) -> xr.DataTree:
    """A results tree: what a backend computed, and the specification itself, which every backend writes."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"bayesmeta_version": __version__, **attrs, **spec_attrs(spec), "created_at": created}
    if spec not in _HASHES:
        _HASHES[spec] = _hashes(spec_tables(spec), spec)
    own = attribute_hash(about)
    mark_unread(
        {each.source for table in groups.values() for v in table.variables.values() if (each := unread(v))}, own
    )
    about[HASHES] = json.dumps({"": own, **_hashes(groups, spec), **_HASHES[spec]})
    return tree_of(about, groups | spec_tables(spec))


def _hashes(tables: Mapping[str, xr.Dataset], spec: Spec) -> dict[str, dict[str, str]]:
    known = _constant_labels(spec)
    aligned = {*known, *map(schema.bis, known)}
    return {
        name: variable_hashes(name, table, () if name == schema.CONSTANT else aligned) for name, table in tables.items()
    }


def spec_attrs(spec: Spec) -> dict[str, str]:
    """The formulas as given, a text or JSON; the structure of every level, outer to inner; "" for nothing."""
    terms = {"formula" if part == "fixed" else part: _text(written) for part, written in spec.terms.to_json().items()}
    return {
        **terms,
        **partitions_attrs(spec),
        "outcomes": json.dumps(spec.outcomes),
        "psi": json.dumps({level.name: level.structure.to_json() for level in spec.levels}),
        "measure": spec.measure or "",
        "arms": json.dumps(spec.arms) if spec.arms else "",
        "arm_columns": json.dumps(spec.arm_columns) if spec.arm_columns else "",
        "S_assumed": json.dumps(spec.S_assumed) if spec.S_assumed else "",
        "analysis": json.dumps(spec.analysis) if spec.analysis else "",
        "notes": json.dumps(spec.notes),
        "data_hash": data_hash(spec),
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value) if value is not None else ""


def data_hash(spec: Spec) -> str:
    """SHA-256 of the numbers that the model sees: y, offset, X, S and every level's design and groups."""
    if isinstance(spec, PartitionedSpec):
        return spec.totals.digest
    digest = hashlib.sha256()
    arrays = [spec.y, spec.offset, spec.X, spec.S.value, spec.S.row, spec.S.col, spec.outcome_index]
    arrays += [array for level in spec.levels for array in (level.Z, level.index)]
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array, "<i8" if array.dtype.kind in "iu" else "<f8"))
    return digest.hexdigest()


def spec_tables(spec: Spec) -> dict[str, xr.Dataset]:
    """The groups of a results tree that hold the specification; made once, because repeated fits write them again."""
    if spec not in _TABLES:
        _TABLES[spec] = _spec_tables(spec.example if isinstance(spec, PartitionedSpec) else spec)
    return _TABLES[spec]


def _spec_tables(spec: Spec) -> dict[str, xr.Dataset]:
    obs: dict[str, Any] = {
        schema.OBS: labels_of(schema.OBS, pd.RangeIndex(len(spec.y))),
        schema.ROW: (schema.OBS, np.array(spec.row_labels)[spec.row]),
        schema.OUTCOME: (schema.OBS, np.array(spec.outcomes)[spec.outcome_index]),
    }
    return {
        schema.OBSERVED: table_of({"y": (schema.OBS, spec.y)}, obs),
        schema.CONSTANT: table_of(_constant_variables(spec), obs | _constant_labels(spec)),
        schema.RAW: raw_data.to_dataset(spec.data, spec.row_labels, spec.kept, spec.dropped, spec.labels),
    }


def _constant_variables(spec: Spec) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "X": ((schema.OBS, schema.COEF), spec.X),
        "offset": (schema.OBS, spec.offset),
        "row_index": (schema.OBS, spec.row),
        "outcome_index": (schema.OBS, spec.outcome_index),
        "S_value": ("nonzero", spec.S.value),
        "S_row": ("nonzero", spec.S.row),
        "S_col": ("nonzero", spec.S.col),
    }
    for level in spec.levels:
        variables[schema.Z(level.name)] = ((schema.OBS, schema.effect(level.name)), level.Z)
        variables[schema.index(level.name)] = (schema.OBS, level.index)
    return variables


def spec_labels(spec: Spec) -> dict[str, Labels]:
    """`Spec.coords` for tables, made once."""
    if spec not in _LABELS:
        _LABELS[spec] = {dim: labels_of(dim, labels) for dim, labels in spec.coords.items()}
    return _LABELS[spec]


def _constant_labels(spec: Spec) -> dict[str, Labels]:
    dims = [schema.COEF]
    dims += [dim for level in spec.levels for dim in (schema.effect(level.name), schema.group(level.name))]
    return {dim: spec_labels(spec)[dim] for dim in dims}


def spec_from_tree(tree: xr.DataTree) -> Spec:
    """The specification behind a results tree, also one read with `xarray.open_datatree` in another process.

    Raises
    ------
    SpecError
        When a group of the specification is missing, a variable is not as the schema has it, or the numbers are not
        those of which `data_hash` was made: the tree was edited, or bayesmeta did not write it.
    """
    spec: Spec = read_once(tree, _WHOLE, lambda: _spec_from_tree(tree))
    return spec


def _spec_from_tree(tree: xr.DataTree) -> Spec:
    observed, constant, raw = (group(tree, name) for name in (schema.OBSERVED, schema.CONSTANT, schema.RAW))
    spec = Spec(
        y=_floats(observed["y"]),
        X=_floats(constant["X"].transpose(schema.OBS, ...)),
        offset=_floats(constant["offset"]),
        S=_sampling(constant),
        levels=tuple(_level(constant, name, structure) for name, structure in json.loads(tree.attrs["psi"]).items()),
        outcomes=tuple(json.loads(tree.attrs["outcomes"])),
        coef=_labels(constant[schema.COEF]),
        row=_ints(constant["row_index"]),
        outcome_index=_ints(constant["outcome_index"]),
        row_labels=_labels(raw[schema.ROW]),
        kept=raw[raw_data.KEPT].to_numpy().astype(bool),
        dropped=_labels(raw[raw_data.DROPPED]),
        data=_raw_frame(raw),
        terms=terms_from_attrs(tree.attrs),
        measure=tree.attrs["measure"] or None,
        notes=tuple(json.loads(tree.attrs["notes"])),
        labels=_labels(raw[raw_data.ROW_NAME]) if raw_data.ROW_NAME in raw else None,
        arms=_arms(tree.attrs.get("arms")),
        arm_columns=json.loads(tree.attrs.get("arm_columns") or "{}"),
        S_assumed=json.loads(tree.attrs.get("S_assumed") or "{}"),
        analysis=json.loads(tree.attrs.get("analysis") or "{}"),
    )
    if PARTITIONS in tree.attrs:
        return in_partitions(spec, tree.attrs)
    if data_hash(spec) != tree.attrs["data_hash"]:
        raise SpecError(
            "the data of this tree are not those that were fitted: y, offset, X, S, Z or groups were edited "
            "(attribute data_hash differs)\n  specify and fit the other data with bm.specify and bm.fit"
        )
    return spec


def _arms(written: str | None) -> tuple[str, str] | None:
    """The two arms; none in trees of earlier versions."""
    if not written:
        return None
    first, second = json.loads(written)
    return first, second


def _sampling(constant: xr.Dataset) -> SamplingCovariance:
    row, col = _ints(constant["S_row"]), _ints(constant["S_col"])
    if (row < col).any() or not np.array_equal(np.sort(row[row == col]), np.arange(constant.sizes[schema.OBS])):
        raise SpecError(
            f"/{schema.CONSTANT} S_row and S_col are not the lower triangle of a matrix with all its variances\n"
            "  the tree was edited or damaged, or bayesmeta did not write it"
        )
    return SamplingCovariance(_floats(constant["S_value"]), row, col)


def _raw_frame(raw: xr.Dataset) -> pd.DataFrame:
    try:
        return raw_data.to_frame(raw)
    except (KeyError, TypeError, ValueError, IndexError) as error:  # of attributes and codes that were edited
        raise SpecError(
            f"/{schema.RAW} cannot be read as a data frame: {error!r}\n"
            "  the tree was edited or damaged, or bayesmeta did not write it"
        ) from None


Spec.from_tree = staticmethod(spec_from_tree)


def terms_from_attrs(attrs: Mapping[Any, Any]) -> Terms:
    """The formulas in the root attributes of a results tree."""
    parts = {field.name: "formula" if field.name == "fixed" else field.name for field in fields(Terms)}
    try:
        return Terms.from_json({part: _as_written(attrs[attribute]) for part, attribute in parts.items()})
    except (AttributeError, KeyError, TypeError) as error:  # of JSON that holds no formulas
        raise SpecError(f"the formulas in the attributes of this tree cannot be read: {error!r}") from None


def _as_written(text: str) -> Any:
    """A formula as it was given; no formula begins with a bracket, JSON of several formulas always does."""
    return json.loads(text) if text.startswith(("{", "[")) else text or None


def _level(constant: xr.Dataset, name: str, structure: str | dict[str, Any]) -> Level:
    return Level(
        name=name,
        labels=tuple(_split_label(label) for label in _labels(constant[schema.group(name)])),
        index=_ints(constant[schema.index(name)]),
        Z=_floats(constant[schema.Z(name)].transpose(schema.OBS, ...)),
        effects=_labels(constant[schema.effect(name)]),
        structure=structures.from_json(structure),
    )


def _split_label(label: str) -> tuple[str, ...]:
    r"""The inverse of `schema.join_label`.

    >>> _split_label("11/a\\/b")
    ('11', 'a/b')
    """
    if "\\" not in label:
        return tuple(label.split("/"))
    return tuple(re.sub(r"\\(.)|/", lambda match: match[1] or "\0", label, flags=re.DOTALL).split("\0"))


def _floats(values: xr.DataArray) -> FloatArray:
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _ints(values: xr.DataArray) -> IntArray:
    return np.asarray(values.to_numpy(), dtype=np.int64)


def _labels(values: xr.DataArray) -> tuple[str, ...]:
    return tuple(map(str, values.to_numpy().tolist()))
