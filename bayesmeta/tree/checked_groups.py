"""Groups of results trees as readers get them: checked, with labels and dimensions in the usual order.

Whoever reads a tree that this process may not have written goes through here, by `group` and `Spec.from_tree`, or when
a file is opened.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import xarray as xr

from bayesmeta import measures
from bayesmeta import tree_schema as schema
from bayesmeta._validation import did_you_mean, listing
from bayesmeta.errors import AssumptionWarning, warn
from bayesmeta.tree.fingerprint import check_variable_hashes
from bayesmeta.tree.schema_check import (
    GROUPS,
    About,
    check_attributes,
    check_group,
    missing_group,
    problem,
    written_hashes,
)
from bayesmeta.tree.single_entries import OF_ONE_EFFECT, one_effect, with_dimensions
from bayesmeta.tree.unread import unread

_SPECIFICATION = (schema.OBSERVED, schema.CONSTANT, schema.RAW, schema.HETEROGENEITY)
_SMALL = 100_000  # bytes of a group whose values are compared with their hashes at every reading


def check_tree(tree: xr.DataTree) -> None:
    """SpecError naming group and variable where a tree is not a whole results tree; all of it is checked anew."""
    check_attributes(tree)
    if (measure := tree.attrs["measure"]) and measure not in measures.MEASURES:
        hint = did_you_mean(measure, measures.MEASURES)
        warn(
            f"effect measure {measure!r} of this tree is not registered here and counts as generic{hint}",
            AssumptionWarning,
        )
    for name in (*_SPECIFICATION, *GROUPS[tree.attrs["backend"]]):
        if name not in tree.children:
            raise missing_group(tree, name)
    _SEEN.pop(id(tree), None)
    for name in tree.children:
        checked_group(tree, name)


@dataclass(eq=False)
class _Seen:
    """What was checked of a tree before: its attributes, and the variables of its groups, each by identity."""

    tree: "ref[xr.DataTree]"
    attrs: dict[Any, Any] = field(default_factory=dict)
    about: About | None = None
    hashes: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, tuple[xr.Variable, ...]] = field(default_factory=dict)
    numbers: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    ordered: set[str] = field(default_factory=set)  # groups whose labels are in the order of the specification


_SEEN: dict[int, _Seen] = {}  # by id, since trees have no hash


def checked_group(tree: xr.DataTree, name: str) -> xr.Dataset:
    """A group of a tree, checked at first and whenever one of its variables has been exchanged for another.

    Its labels are in the order of the specification, whatever their order in the tree, and what is one number there
    has its dimension again, see `single_entries`.
    """
    seen = _SEEN.get(id(tree))
    if seen is None or seen.tree() is not tree:
        key = id(tree)
        seen = _SEEN[key] = _Seen(ref(tree, lambda _: _SEEN.pop(key, None)))
    if seen.about is None or seen.attrs != tree.attrs:
        seen.groups.clear()
        seen.about, seen.hashes, seen.attrs = check_attributes(tree), written_hashes(tree), dict(tree.attrs)
    nodes = [tree.children[each] for each in (name, schema.CONSTANT) if each in tree.children]
    variables = tuple(variable for node in nodes for variable in node.variables.values())
    before = seen.groups.get(name, ())
    exchanged = len(before) != len(variables) or any(a is not b for a, b in zip(before, variables, strict=True))
    numbers = _numbers(nodes[0])
    if exchanged:
        seen.ordered.discard(name)
        check_group(tree, name, seen.about)
    table = nodes[0].to_dataset()
    straight = table if name in seen.ordered else aligned(tree, name, table)
    if exchanged or seen.numbers.get(name) != numbers:
        labels = () if name == schema.CONSTANT else dict(_known_labels(tree))
        check_variable_hashes(name, straight, labels, seen.hashes)
    seen.groups[name], seen.numbers[name] = variables, numbers
    if straight is table:
        seen.ordered.add(name)
    if name not in (*OF_ONE_EFFECT, schema.HETEROGENEITY):
        return straight
    return with_dimensions(name, straight, one_effect(tree, seen.about.levels))


def _numbers(node: xr.DataTree) -> tuple[bytes, ...]:
    """The numbers of a small group, by which an edit where they stand is noticed; none of a large one.

    Whether an array is yet to be computed is told apart, since it is compared with its hash once somebody has read it.
    """
    own = [v for v in node.variables.values() if v.dtype.kind in "biuf"]
    if sum(v.nbytes for v in own) > _SMALL:
        return tuple(b"" for v in own if unread(v) is not None)
    return tuple(b"" if unread(v) is not None else v.values.tobytes() for v in own)


def aligned(tree: xr.DataTree, name: str, table: xr.Dataset) -> xr.Dataset:
    """A group with its labels in the order of the specification, whatever their order in the tree.

    It is the table itself where that is so already; SpecError where they are other labels.
    """
    for key, variable in table.variables.items():
        if variable.ndim > 1 and (order := sorted(variable.dims, key=_rank)) != list(variable.dims):
            table = table.assign({key: variable.transpose(*order)})
    for dim, known in _known_labels(tree):
        if dim not in table.dims or (dim in table.indexes and table.indexes[dim].equals(known)):
            continue
        if not known.is_unique:
            raise problem(f"/{schema.CONSTANT} {dim}", f"has a label twice: {known[known.duplicated()][0]!r}")
        if dim not in table.indexes:  # of the same length, which was checked
            table = table.assign_coords({dim: known})
            continue
        own = table.indexes[dim]
        if not own.is_unique or len(own) != len(known) or not own.isin(known).all():
            raise problem(f"/{name} {dim}", f"has other labels than /{schema.CONSTANT}: {listing(own, 12)}")
        table = table.isel({dim: own.get_indexer(known)})
    if schema.OBS in table.indexes and not table.indexes[schema.OBS].is_monotonic_increasing:
        table = table.sortby(schema.OBS)
    return table


def _rank(dim: Hashable) -> int:
    """The place of a dimension among those of a variable, as backends write them."""
    name = str(dim)
    if name.endswith(schema.bis("")):
        return 4
    first = {schema.CHAIN: -2, schema.DRAW: -1, schema.OBS: 0, schema.ROW: 0, schema.COEF: 3, schema.FREE: 3}
    starts = ((schema.group(""), 2), (schema.effect(""), 3), (schema.pair(""), 3))
    return first.get(name, next((rank for start, rank in starts if name.startswith(start)), 1))


def _known_labels(tree: xr.DataTree) -> Iterator[tuple[str, Any]]:
    if schema.CONSTANT not in tree.children:
        return
    for dim, labels in tree[schema.CONSTANT].indexes.items():
        if dim != schema.OBS:
            yield str(dim), labels
            yield schema.bis(str(dim)), labels
