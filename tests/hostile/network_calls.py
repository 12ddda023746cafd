"""A good call of every function of `bm.network`, and of its plots."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

import bayesmeta as bm
from tests.hostile.values import (
    AXES,
    BOOLEAN,
    PROBABILITY,
    Kind,
    is_empty,
    is_none,
    names,
    optional,
    real,
    whole,
    words,
)

TREATMENTS = ("A", "B", "C")
NONE = Kind(is_none)


def is_network(value: Any) -> bool:
    """Results of a network."""
    return isinstance(value, xr.DataTree) and '"network"' in str(value.attrs.get("analysis"))


def is_source(value: Any) -> bool:
    """The same, or its specification."""
    return is_network(value) or (isinstance(value, bm.Spec) and value.analysis.get("kind") == "network")


def is_order(value: Any) -> bool:
    """All treatments, each once."""
    return value is None or (names(*TREATMENTS).admits(value) and not isinstance(value, str) and len(value) == 3)


TREE = Kind(is_network, ("NETS", "[NET]", "{'a': NET}", "NET['estimate']"))
SOURCE = Kind(is_source, ("NETS", "NET", "SPEC", "[NETS]"))
ORDER = Kind(is_order, ("['A', 'B']", "['A', 'B', 'C']", "('C', 'B', 'A')", "['A', 'B', 'B']"))
AT = Kind(lambda value: value is None or is_empty(value), ("{'x': 1}", "{'year': 'a'}", "{1: 2}"))
BETTER = optional(words("smaller", "larger"))
SCALE = optional(words("model", "response"))
VERSUS = optional(words(*TREATMENTS))
TESTED = {"vcov": optional(words("model", "CR0", "CR1", "CR1p")), "df": optional(words("z"))}
READ = {"tree": TREE, "prob": PROBABILITY, "scale": SCALE, "at": AT}
ARMS = Kind(
    lambda value: isinstance(value, pd.DataFrame) and {"s", "t", "e", "n"} <= set(value.columns),
    ("ARMS.iloc[:0]", "ARMS.drop(columns='e')", "ARMS.assign(e=-1)", "ARMS.assign(t='A')", "ARMS.assign(s=None)"),
)


def network_calls() -> dict[str, tuple[Mapping[str, str], Mapping[str, Kind]]]:
    """Of every function the source of its arguments, and the kinds of those that are replaced."""
    tree = {"tree": "NET"}
    specified = {"study": "'s'", "treatment": "'t'", "events": "'e'", "total": "'n'", "measure": "'logor'"}
    return {
        "network.specify": (
            {"data": "ARMS", **specified},
            {
                "data": ARMS,
                "study": words("s"),
                "treatment": words("t"),
                "events": words("e"),
                "total": words("n"),
                **dict.fromkeys(("person_time", "mean", "sd", "n", "treat1", "treat2", "y", "se"), NONE),
                "measure": Kind(lambda value: value in ("logor", "logrr", "rd", "asd") if _is_text(value) else False),
                "reference": optional(words(*TREATMENTS)),
                "psi": words("equal", "unstr", "id", "diag", "cs", "hcs"),
                **dict.fromkeys(("levels", "covariates"), NONE),
                "slopes": words("treatment", "common"),
                "add": optional(real(0, closed=True)),
                "drop_double_zero": optional(BOOLEAN),
                "better": BETTER,
                "tolerance": real(0, closed=True),
            },
        ),
        "network.league": (tree, {**READ, **TESTED}),
        "network.league_table": (
            tree,
            {**READ, "upper": words("network", "direct", "prediction"), "order": ORDER, "decimals": whole(0, 12)},
        ),
        "network.ranking": (
            {**tree, "better": "'larger'"},
            {"tree": TREE, "better": words("smaller", "larger"), "at": AT},
        ),
        "network.designs": (
            {"source": "NET"},
            {"source": SOURCE, "method": optional(words("reml", "ml", "fixed"))},
        ),
        "network.net_heat": (
            {"source": "NET"},
            {"source": SOURCE, "random": BOOLEAN, "method": optional(words("reml", "ml", "fixed"))},
        ),
        "network.design_by_treatment": ({"source": "NETS"}, {"source": SOURCE}),
        "network.node_split": (
            {"source": "NETS", "treatment": "'A'", "versus": "'B'"},
            {"source": SOURCE, "treatment": words("A", "C"), "versus": words("B", "C")},
        ),
        "network.components": (
            {"source": "NETC"},
            {
                "source": Kind(lambda value: False),
                "separator": Kind(lambda value: _is_text(value) and value.strip() == "+", ("'-'", "''", "3")),
                "inactive": Kind(lambda value: value is None or value is False or (_is_text(value) and value in "AB")),
            },
        ),
        "network.split": (
            tree,
            {"tree": TREE, "method": optional(words("back-calculation", "refit")), "prob": PROBABILITY},
        ),
        "network.contributions": (tree, {"tree": TREE, "method": words("shortest-path", "random-walk")}),
        "plots.network_graph": (
            {"source": "NET"},
            {
                "source": SOURCE,
                "ax": AXES,
                "size": optional(words("people", "trials")),
                "order": ORDER,
                "numbers": optional(BOOLEAN),
            },
        ),
        "plots.network_forest": (
            tree,
            {
                "tree": TREE,
                "ax": AXES,
                "versus": VERSUS,
                "prob": PROBABILITY,
                "scale": SCALE,
                **dict.fromkeys(("sort", "prediction"), BOOLEAN),
                **TESTED,
            },
        ),
        "plots.network_ranking": (
            {**tree, "better": "'larger'"},
            {
                "tree": TREE,
                "better": words("smaller", "larger"),
                "axes": AXES,
                "kind": optional(words("p_score")),
                "at": AT,
            },
        ),
        "plots.network_heat": (
            {"source": "NET"},
            {"source": SOURCE, "ax": AXES, "random": BOOLEAN, "order": Kind(is_none, ORDER.own)},
        ),
        "plots.network_split": (
            {**tree, "show": "'all'"},
            {
                "tree": TREE,
                "ax": AXES,
                "show": words("both", "direct", "all"),
                "method": optional(words("back-calculation", "refit")),
                "prob": PROBABILITY,
                "scale": SCALE,
            },
        ),
        "plots.network_league": (tree, {**READ, "ax": AXES, "order": ORDER, **TESTED}),
        "plots.network_funnel": (
            {**tree, "order": "['A', 'B', 'C']"},
            {
                "tree": TREE,
                "ax": AXES,
                "order": Kind(lambda value: value is not None and is_order(value), ORDER.own),
                "around": words("direct", "network"),
                "prob": PROBABILITY,
            },
        ),
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
