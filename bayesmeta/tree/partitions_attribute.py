"""What a results tree says of data in partitions, whose rows it does not hold."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesmeta.errors import SpecError
from bayesmeta.model.partitioned_spec import LevelElsewhere, PartitionedSpec, Totals
from bayesmeta.model.spec import Spec

PARTITIONS = "partitions"


def of_partitions(tree: xr.DataTree) -> dict[str, Any] | None:
    """What is known of all rows of data in partitions; None for a tree that holds its rows."""
    return json.loads(tree.attrs[PARTITIONS]) if PARTITIONS in tree.attrs else None


def partitions_attrs(spec: Spec) -> dict[str, str]:
    """The attribute, of data in partitions."""
    if not isinstance(spec, PartitionedSpec):
        return {}
    levels = {level.name: level for level in spec.levels}
    about = {
        "source": spec.source,
        "n_groups": {name: level.n_groups for name, level in levels.items()},
        "taken_up": {
            name: np.asarray(level.taken_up).tolist()
            for name, level in levels.items()
            if isinstance(level, LevelElsewhere)
        },
        "totals": spec.totals.to_json(),
        "states": _written(spec.states),
    }
    return {PARTITIONS: json.dumps(about)}


def in_partitions(example: Spec, attrs: Mapping[Any, Any]) -> PartitionedSpec:
    """The specification behind a tree.

    example : that of the rows that the tree holds.
    """
    try:
        about = json.loads(attrs[PARTITIONS])
        levels = tuple(
            LevelElsewhere(
                name=level.name,
                labels=(),
                index=np.zeros(0, np.int64),
                Z=np.zeros((0, level.dim)),
                effects=level.effects,
                structure=level.structure,
                groups=int(about["n_groups"][level.name]),
                taken_up=np.array(about["taken_up"][level.name], bool),
            )
            for level in example.levels
        )
        totals, states, source = Totals.from_json(about["totals"]), _read(about["states"]), str(about["source"])
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(
            f"attribute {PARTITIONS} cannot be read: {error!r}\n"
            "  the tree was edited or damaged, or bayesmeta did not write it"
        ) from None
    names = ("outcomes", "coef", "terms", "measure", "notes", "arms", "arm_columns", "S_assumed", "analysis")
    parts = {name: getattr(example, name) for name in names}
    return PartitionedSpec({**parts, "levels": levels}, totals, example, states, source)


def _written(value: Any) -> Any:
    """Plain values that say what they were: tables with any keys, tuples, arrays."""
    if isinstance(value, Mapping):
        return {"table": [[_written(key), _written(each)] for key, each in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_written(each) for each in value]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def _read(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "table":
        return {_read(key): _read(each) for key, each in content}
    return tuple(map(_read, content)) if kind == "tuple" else np.array(content)
