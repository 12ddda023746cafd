"""Results trees as JSON, for other programs: the numbers that the pages show, in full precision."""

import json
import math
from typing import Any

import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._version import __version__
from bayesmeta.display import remarks
from bayesmeta.inference.estimates import estimates
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group

_ATTRIBUTES = ("backend", "method", "formula", "measure", "created_at", "sampler", "seed")


def json_text(record: dict[str, Any]) -> str:
    """One JSON object, with the version that wrote it; what is not a finite number is null.

    >>> print(json_text({"se": float("nan")}).replace(__version__, "0"))
    {
      "bayesmeta": "0",
      "se": null
    }
    """
    return json.dumps({"bayesmeta": __version__, **_plain(record)}, indent=2, ensure_ascii=False)


def tree_record(tree: xr.DataTree, **tested: Any) -> dict[str, Any]:
    """What a results tree says: the model, estimates with intervals, heterogeneity, and whether to trust it.

    tested : the arguments `vcov` and `df` of `bm.estimates`; of a fit, what was used is in the record.
    """
    record: dict[str, Any] = {name: tree.attrs[name] for name in _ATTRIBUTES if tree.attrs.get(name)}
    record |= {"random": remarks.random(tree), "psi": remarks.structure(tree), "data": remarks.counts(tree)}
    record |= {"warnings": remarks.alarms(tree), "notes": remarks.notes(tree)}
    frame = estimates(tree, **tested)
    record |= {str(name): value for name, value in frame.attrs.items() if name not in ("prob", "scale")}
    record["estimates"] = frame.reset_index().to_dict("records")
    record["heterogeneity"] = _rows(group(tree, schema.HETEROGENEITY))
    if is_posterior(tree) and schema.DIAGNOSTICS in tree.children:
        record["diagnostics"] = _rows(group(tree, schema.DIAGNOSTICS)[["r_hat", "ess_bulk", "ess_tail"]])
    if schema.CRITERIA in tree.children:
        record["criteria"] = {str(name): value.item() for name, value in group(tree, schema.CRITERIA).items()}
    return record


def _rows(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """One object for each label, with its numbers."""
    if not dataset.sizes:
        return [{str(name): value.item() for name, value in {**dataset.coords, **dataset.data_vars}.items()}]
    return [
        {str(name): value for name, value in row.items()}
        for row in dataset.to_dataframe().reset_index().to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
