"""The page of what is where in a tree: made from the schema, which knows every entry of real trees."""

import json
import re
from collections.abc import Iterator

import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import tree_schema as schema
from bayesmeta.inference.reference import Asked, declare
from bayesmeta.io.toml_files import bundled
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.tree import schema_check
from tests.support.make_results_tree import PAGE, page
from tests.support.posteriors import make_posterior

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
ANALYSES = [name for name, path in bundled().items() if "[model." in path.read_text()]
FUNCTIONS = (
    *(schema.group, schema.effect, schema.pair, schema.psi, schema.tau, schema.tau2_se, schema.rho),
    *(schema.b, schema.b_se, schema.Z, schema.index),
)

STATISTICS = ("mean", "sd", "quantile", "grid", "density")  # of exact marginal distributions


def levels_of(tree: xr.DataTree) -> list[str]:
    return list(json.loads(tree.attrs["psi"]))


def in_general(tree: xr.DataTree) -> dict[str, str]:
    """The names of this tree that a level is part of, with L in its place."""
    names = {function(level): function(schema.L) for level in levels_of(tree) for function in FUNCTIONS}
    exact = {f"{name}_{of}": f"{general}_{of}" for name, general in names.items() for of in STATISTICS}
    return names | exact | {schema.bis(name): schema.bis(general) for name, general in names.items()}


def problems(tree: xr.DataTree) -> Iterator[str]:
    """Whatever the schema does not describe, or with other dimensions."""
    general = in_general(tree)
    yield from (f"attribute {name}" for name in set(map(str, tree.attrs)) - set(schema.ATTRIBUTES))
    for name, node in tree.children.items():
        if name not in schema.TREE:
            yield f"/{name}"
            continue
        known, table = schema.TREE[name], node.to_dataset()
        assert known.by in ("both", tree.attrs["backend"])
        yield from (f"/{name} {dim}" for dim in map(str, table.dims) if not is_dimension(general.get(dim, dim)))
        for variable, values in table.data_vars.items():
            entry = known.entries.get(general.get(str(variable), str(variable)))
            dims = tuple(general.get(str(dim), str(dim)) for dim in values.dims)
            if entry is None and known.open:
                entry = schema.Entry((schema.ROW,), known.open)
            if entry is None:
                yield f"/{name} {variable}"
            elif dims != entry.dims and not (entry.single and dims == entry.dims[:-1]):
                yield f"/{name} {variable} {dims}"


def is_dimension(dim: str) -> bool:
    return dim.removesuffix("_bis") in schema.DIMENSIONS


def test_the_page_is_made_from_the_schema() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("file", ANALYSES)
def test_every_entry_of_fits_and_posteriors_is_described(file: str) -> None:
    for model in load_analysis(bundled()[file]).models.values():
        for tree in (bm.fit(model.spec, model.method), make_posterior(model.spec, draws=5)):
            assert not list(problems(tree))


def test_every_entry_of_a_sampled_tree_is_described_and_every_group_is_in_some_tree() -> None:
    spec = load_analysis(bundled()["smoking"]).models["unstr"].spec
    sampled = bm.sample(spec, draws=10, tune=20, chains=2, random_seed=1, sampler="nutpie", progress=False)
    weighted = bm.sample(spec, draws=10, random_seed=1)
    known = ["var_PD", "cov_PD_AL", "var_AL"]
    exact = bm.sample(bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=known), draws=10, random_seed=1)
    fitted = bm.fit(spec)
    declare(fitted, Asked(df="z"))
    assert not [*problems(sampled), *problems(weighted), *problems(exact)]
    assert {*sampled.children, *fitted.children, *exact.children} == set(schema.TREE)
    mirrored = bm.small_study.filled(bm.fit(bm.specify("y ~ 1", {"y": [0.1, 0.3, 0.9], "v": [0.1, 0.2, 0.3]}, S="v")))
    school = bm.datasets.load("school")
    divided = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district", partitions=2))
    trees = (sampled, fitted, exact, mirrored, divided)
    assert {name for tree in trees for name in tree.attrs} == set(schema.ATTRIBUTES)
    for tree in (sampled, exact, fitted):
        general = in_general(tree)
        for name, node in tree.children.items():
            there = {general.get(str(variable), str(variable)) for variable in node.data_vars}
            optional = {"row_name", schema.tau2_se(schema.L), schema.MODE_LOGLIK, schema.MODE_XI, schema.MODE_START}
            if name != schema.CRITERIA and (tree is not exact or name in (schema.MARGINALS, schema.POSTERIOR)):
                assert set(schema.TREE[name].entries) - there <= optional
    criteria = {name for tree in (fitted, exact, weighted) for name in tree[schema.CRITERIA].data_vars}
    assert criteria == set(schema.TREE[schema.CRITERIA].entries)


def test_what_is_not_described_is_seen() -> None:
    tree = bm.fit(load_analysis(bundled()["bcg"]).models["ml"].spec)
    tree.attrs["mood"] = "good"
    tree["estimate"] = tree["estimate"].to_dataset().assign(gamma=("coef", [1.0]), beta_se=0.1)
    tree["more"] = xr.DataTree(xr.Dataset())
    assert sorted(problems(tree)) == ["/estimate beta_se ()", "/estimate gamma", "/more", "attribute mood"]


def test_what_is_checked_when_a_tree_is_read_is_described() -> None:
    """Names and dimensions of the rules of readers are those of the page."""
    about = schema_check.About(("y",), {schema.L: bm.structures.Unstructured()})
    sizes = {schema.effect(schema.L): 2, schema.group(schema.L): 3, schema.OBS: 4, schema.ROW: 4}
    for name, rules in schema_check._RULES.items():
        entries = schema.TREE[name].entries
        for variable, rule in rules(about, sizes).items():
            if variable in (*schema.DIMENSIONS, schema.OUTCOME):
                continue
            entry, allowed = entries[variable], {rule.dims, *rule.several}
            assert entry.dims in allowed or (entry.single and entry.dims[:-1] in allowed)


def test_the_page_is_linked_and_its_example_runs() -> None:
    readme = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    contributing = (PAGE.parents[1] / ".github/CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "](docs/results_tree.md)" in readme
    assert "](../docs/results_tree.md)" in contributing
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    exec(code[1], {})


@pytest.mark.parametrize("family", [bm.structures.CAR1, bm.structures.HetCAR1])
def test_trees_with_an_effect_for_each_time_are_described(family: type) -> None:
    data = {"g": [1, 1, 2, 2, 3, 3], "t": [0, 1, 0, 2, 1, 2], "y": [0.1, 0.4, -0.3, 0.2, 0.5, 0.1], "v": [0.1] * 6}
    spec = bm.specify("y ~ 1", data, S="v", random="1 | g", psi=family(time="t"), measure="smd")
    assert not [*problems(bm.fit(spec)), *problems(make_posterior(spec, draws=10))]
