"""Results trees with one thing edited: an attribute, a group, a dimension, a label, a type, a number."""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import xarray as xr

import bayesmeta as bm
from tests.support.posteriors import make_posterior

Tables = dict[str, xr.Dataset]
Edit = Callable[[random.Random, dict[str, Any], Tables], str]
ODD_TEXTS = ["", "zz", "{", "3", "[]", '["zz"]', '[["a"]]', '{"zz": 1}', "9.9.9", "null", "x" * 3000, "y ~ x +"]
ODD_VALUES: list[Any] = [3, 2.5, [1, 2], True, *ODD_TEXTS]
VALUES = [float("nan"), float("inf"), -1.0, 0.0, 99.0, 1e300, -1e-3]


@cache
def trees() -> dict[str, xr.DataTree]:
    """A fit with a predictor, one of nested levels, and a posterior."""
    bcg, school = bm.datasets.load("bcg"), bm.datasets.load("school")
    one = bm.specify("logor ~ ablat", bcg, S="logorvar", measure="logor")
    nested = bm.specify("effect ~ 1", school, S="var", random="1 | district/study")
    return {"fit": bm.fit(one), "nested": bm.fit(nested), "posterior": make_posterior(one, draws=30)}


def answers(tree: xr.DataTree, new: bool) -> dict[str, Any]:
    """What users ask of a tree, by label; `new` predicts for new data too."""
    asked: dict[str, Any] = {
        "summary": str(bm.summary(tree)),
        "blup": bm.blup(tree),
        "heterogeneity": bm.heterogeneity(tree),
        "compare": str(bm.compare(a=tree, b=tree)),
        "predict": bm.predict(tree),
    }
    asked |= {f"ranef {level}": node.to_dataset() for level, node in bm.ranef(tree).children.items()}
    return asked | ({"new": bm.predict(tree, {"ablat": [20.0, 40.0]}, interval="prediction")} if new else {})


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether answers are equal, whatever the order of their labels."""
    return ours.keys() == theirs.keys() and all(_equal(ours[name], theirs[name]) for name in ours)


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, str):
        return bool(one == two)
    try:
        xr.testing.assert_allclose(*(each.sortby(list(each.indexes)) for each in (one, two)), rtol=1e-12)
    except AssertionError:
        return False
    return True


def edited(rng: random.Random, tree: xr.DataTree, edits: list[Edit] | None = None) -> tuple[xr.DataTree, str]:
    """A copy with one edit, and what was edited."""
    while True:
        attrs = dict(tree.attrs)
        tables = {name: node.to_dataset().copy(deep=True) for name, node in tree.children.items()}
        try:
            what = rng.choice(edits or EDITS)(rng, attrs, tables)
            copy = xr.DataTree(xr.Dataset(attrs=attrs))
            for name, table in tables.items():
                copy[name] = xr.DataTree(table)
        except (
            IndexError,
            ValueError,
            KeyError,
            TypeError,
            OverflowError,
        ):  # there is no such thing to edit in this tree
            continue
        return copy, what


def _variable(rng: random.Random, tables: Tables, kinds: str = "biuf") -> tuple[str, str]:
    group = rng.choice(sorted(tables))
    names = sorted(
        str(name)
        for name, v in tables[group].variables.items()
        if v.dtype.kind in kinds and v.size and name not in v.dims
    )
    return group, rng.choice(names)


def an_attribute_goes(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    name = rng.choice(sorted(attrs))
    del attrs[name]
    return f"attribute {name} removed"


def an_attribute_is_odd(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    name = rng.choice(sorted(attrs))
    attrs[name] = rng.choice(ODD_VALUES)
    return f"attribute {name} = {str(attrs[name])[:40]!r}"


def the_method_is_another(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    attrs["method"] = rng.choice(["zz", "ml", "REML", "fixed", "bayes"])
    return f"method {attrs['method']}"


def a_prior_is_another(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    plain = json.loads(attrs["priors"])
    prior = rng.choice([*plain["beta"], *plain["levels"][0]["tau"]])
    way = rng.randrange(4)
    if way == 0:
        prior["name"] = rng.choice(["HalfNormall", "zz", "", "LKJ", 3])
    elif way == 1:
        prior["params"] = {"zz": 1.0}
    elif way == 2:
        prior["params"] = {**prior["params"], "sigma": rng.choice([-1.0, "a", None, float("inf")])}
    else:
        del prior[rng.choice(sorted(prior))]
    attrs["priors"] = json.dumps(plain)
    return f"prior {prior}"


def a_group_goes(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    name = rng.choice(sorted({*tables} - {"random_effects", "log_likelihood"}))  # which readers do without
    del tables[name]
    return f"group {name} removed"


def a_group_is_another(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    one, two = rng.sample(sorted(tables), 2)
    tables[one] = tables[two].copy()
    return f"group {one} is {two}"


def a_variable_goes(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group, name = _variable(rng, tables, "biufOUT")
    tables[group] = tables[group].drop_vars(name)
    return f"{group}/{name} removed"


def a_variable_has_another_name(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group, name = _variable(rng, tables)
    tables[group] = tables[group].rename({name: f"{name}x"})
    return f"{group}/{name} renamed"


def a_dimension_has_another_name(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group = rng.choice(sorted(tables))
    dim = rng.choice(sorted(map(str, tables[group].dims)))
    tables[group] = tables[group].rename({dim: f"{dim}x"})
    return f"{group} {dim} renamed"


def a_dimension_is_shorter(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group = rng.choice(sorted(tables))
    dim = rng.choice(sorted(map(str, tables[group].dims)))
    tables[group] = tables[group].isel({dim: slice(0, tables[group].sizes[dim] - 1)})
    return f"{group} {dim} shorter"


def a_dimension_is_turned(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group = rng.choice(sorted(tables))
    dim = rng.choice(sorted(map(str, tables[group].dims)))
    order = rng.sample(range(tables[group].sizes[dim]), tables[group].sizes[dim])
    tables[group] = tables[group].isel({dim: order})
    return f"{group} {dim} in order {order[:5]}"


def a_dimension_is_turned_everywhere(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group = rng.choice(sorted(tables))
    dim = rng.choice(sorted(map(str, tables[group].dims)))
    order = rng.sample(range(tables[group].sizes[dim]), tables[group].sizes[dim])
    for name, table in tables.items():
        if table.sizes.get(dim) == len(order):
            tables[name] = table.isel({dim: order})
    return f"{dim} everywhere in order {order[:5]}"


def labels_are_others(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group = rng.choice(sorted(tables))
    dim = rng.choice(sorted(map(str, tables[group].indexes)))
    labels = [*tables[group].indexes[dim]]
    changed = rng.choice(
        [labels[::-1], [f"{label}x" for label in labels], [labels[0]] * len(labels), [*range(3, 3 + len(labels))]]
    )
    everywhere = rng.random() < 0.5
    for name in [*tables] if everywhere else [group]:
        if tables[name].sizes.get(dim) == len(labels):
            tables[name] = tables[name].assign_coords({dim: changed})
    return f"{group} {dim} labelled {changed[:4]}{' everywhere' if everywhere else ''}"


def axes_are_exchanged(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group, name = _variable(rng, tables)
    dims = tables[group][name].dims
    order = rng.sample(dims, len(dims))
    values = tables[group][name].values if rng.random() < 0.5 else tables[group][name].transpose(*order).values
    tables[group][name] = (order, values)
    return f"{group}/{name} over {order}"


def a_type_is_another(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group, name = _variable(rng, tables)
    kind = rng.choice(["f4", "i2", "U", "O", "?"])
    values = tables[group][name].values
    tables[group][name] = (
        tables[group][name].dims,
        values.astype(str).astype(object) if kind == "O" else values.astype(kind),
    )
    return f"{group}/{name} as {kind}"


def a_number_is_another(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group, name = _variable(rng, tables)
    values = tables[group][name].values.copy()
    position = tuple(rng.randrange(n) for n in values.shape)
    before = values[position]
    values[position] = rng.choice([*VALUES, before * 10, -before, before + 1])
    tables[group][name] = (tables[group][name].dims, values)
    return f"{group}/{name}{list(position)} {before} is {values[position]}"


def numbers_are_scaled(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group, name = _variable(rng, tables)
    factor = rng.choice([10, -1, 0, 1 + 1e-9])
    tables[group][name] = (tables[group][name].dims, tables[group][name].values * factor)
    return f"{group}/{name} times {factor}"


def a_text_is_another(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group, name = _variable(rng, tables, "OUT")
    values = tables[group][name].values.astype(object)
    values.flat[rng.randrange(values.size)] = rng.choice(["zz", "", "a/b"])
    tables[group][name] = (tables[group][name].dims, values)
    return f"{group}/{name} has another text"


def a_chain_goes(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    everywhere = rng.random() < 0.5
    for name in [*tables] if everywhere else ["posterior"]:
        if "chain" in tables[name].sizes:
            tables[name] = tables[name].isel(chain=[0])
    tables["posterior"].sizes["chain"]
    return f"chain removed{' everywhere' if everywhere else ''}"


def an_attribute_of_a_group_is_odd(rng: random.Random, attrs: dict[str, Any], tables: Tables) -> str:
    group = rng.choice([name for name, table in tables.items() if table.attrs or any(v.attrs for v in table.values())])
    holders = [tables[group], *tables[group].variables.values()]
    holder = rng.choice([each for each in holders if each.attrs])
    name = rng.choice(sorted(map(str, holder.attrs)))
    holder.attrs[name] = rng.choice(ODD_VALUES)
    return f"{group} attribute {name} = {str(holder.attrs[name])[:40]!r}"


# what changes no number that a reader could not check against something else in the tree
STRUCTURAL: list[Edit] = [
    an_attribute_goes,
    an_attribute_is_odd,
    a_prior_is_another,
    a_group_goes,
    a_group_is_another,
    a_variable_goes,
    a_variable_has_another_name,
    a_dimension_has_another_name,
    a_dimension_is_shorter,
    an_attribute_of_a_group_is_odd,
]
EDITS: list[Edit] = [
    *STRUCTURAL,
    the_method_is_another,
    a_dimension_is_turned,
    a_dimension_is_turned_everywhere,
    labels_are_others,
    axes_are_exchanged,
    a_type_is_another,
    *[a_number_is_another] * 3,
    numbers_are_scaled,
    a_text_is_another,
    a_chain_goes,
]
