"""Entries of a results tree that are one number: without a dimension in the tree, with it again for those who read it.

An SD of a level with one random effect, and the tests of a model with one outcome, are scalars to whoever opens the
tree. Readers that treat every level and outcome alike get them over their dimension, from `checked_groups`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.tree.assembly import Labels, labels_of, with_variables
from bayesmeta.tree.unread import unread

EFFECT = "effect"  # attribute with the label of the one effect, whose dimension psi_L keeps in the same group
OF_ONE_EFFECT: Mapping[str, tuple[Callable[[str], str], ...]] = {  # by group
    schema.ESTIMATE: (schema.tau, schema.tau2_se),
    schema.POSTERIOR: (schema.tau,),
    schema.PRIOR: (schema.tau,),
}


def over_effects(
    level: str, effects: Sequence[str], values: FloatArray, before: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], FloatArray] | tuple[tuple[str, ...], FloatArray, dict[str, str]]:
    """A variable over the effects of a level, its last axis; of a single effect a scalar with its label as attribute.

    before : the dimensions of the axes before.
    """
    if len(effects) == 1:
        return before, values[..., 0], {EFFECT: effects[0]}
    return (*before, schema.effect(level)), values


def single(tree: xr.DataTree, levels: Iterable[str]) -> xr.DataTree:
    """A results tree of which every entry that is one number is a scalar; the tree itself where they are already."""
    one = one_effect(tree, levels)
    groups = {name: tree[name].to_dataset() for name in (*OF_ONE_EFFECT, schema.HETEROGENEITY) if name in tree.children}
    changed = {name: without_dimensions(name, table, one) for name, table in groups.items()}
    if all(changed[name] is table for name, table in groups.items()):
        return tree
    return xr.DataTree.from_dict({**tree.to_dict(), **{f"/{name}": table for name, table in changed.items()}})


def one_effect(tree: xr.DataTree, levels: Iterable[str]) -> dict[str, str]:
    """The label of the effect of every level that has one."""
    constant = tree[schema.CONSTANT].dataset
    labels = {level: constant[schema.effect(level)].values for level in levels}
    return {level: str(own[0]) for level, own in labels.items() if len(own) == 1}


def without_dimensions(name: str, table: xr.Dataset, one: Mapping[str, str]) -> xr.Dataset:
    """A group with its single entries as scalars.

    one : the label of the effect of every level that has one.
    """
    if name == schema.HETEROGENEITY:
        return table.isel({schema.OUTCOME: 0}) if table.sizes.get(schema.OUTCOME) == 1 else table
    scalars: dict[str, Any] = {}
    for level, label in one.items():
        effect = schema.effect(level)
        for variable in (each(level) for each in OF_ONE_EFFECT[name]):
            if variable in table and effect in table[variable].dims:
                own = table.variables[variable].isel({effect: 0})
                scalars[variable] = (own.dims, own.values, {**own.attrs, EFFECT: label})
    if not scalars:
        return table
    changed = table.assign(scalars)
    used = {dim for variable in changed.data_vars.values() for dim in variable.dims}
    return changed.drop_vars([dim for dim in map(schema.effect, one) if dim in changed.indexes and dim not in used])


def with_dimensions(name: str, table: xr.Dataset, one: Mapping[str, str]) -> xr.Dataset:
    """A group with its single entries over their dimension."""
    if name == schema.HETEROGENEITY:
        return table if schema.OUTCOME in table.dims else table.expand_dims(schema.OUTCOME)
    arrays, labels = dict[str, Any](), dict[str, Labels]()
    for level, label in one.items():
        effect = schema.effect(level)
        for variable in (each(level) for each in OF_ONE_EFFECT.get(name, ())):
            own = table.variables.get(variable)
            if own is None or effect in own.dims:
                continue
            if name != schema.ESTIMATE and EFFECT not in own.attrs:  # draws of one SD for all effects
                continue
            waiting = unread(own)
            arrays[variable] = (*own.dims, effect), waiting.expanded() if waiting else own.values[..., None]
            if effect not in table.indexes:
                labels[effect] = labels_of(effect, [label])
    return with_variables(table, arrays, labels) if arrays else table
