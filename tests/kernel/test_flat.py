"""Flat statistics: every number of the likelihood in its place."""

import numpy as np
import pytest
from hypothesis import given

from bayesmeta import kernel
from bayesmeta.kernel.flat import flatten
from tests.support.dense import Model, triplet
from tests.support.flat_calls import flat_of
from tests.support.kernel_calls import statistics
from tests.support.random_models import models, random_model


@given(models())
def test_tables_point_where_they_should(model: Model) -> None:
    flat = flat_of(model)
    P, m, n_node = model.X.shape[1], len(flat.base), len(flat.node)
    effects = np.cumsum([0, *flat.dims])
    assert sorted(flat.outer_group) == list(range(m))
    assert (flat.leaf[:, 1] < n_node + m).all()
    assert (flat.node[:, 1] > np.arange(n_node)).all()  # inner levels first
    assert (np.diff(flat.node[:, 0]) <= 0).all()
    for table in (flat.leaf, flat.node):
        inner = table[:, 1] < n_node
        parents = flat.node[table[inner, 1]]
        assert np.array_equal(parents[:, 2], table[inner, 2])  # parent and child share the outer group
        assert np.array_equal(table[~inner, 1] - n_node, table[~inner, 2])
    shape = flat.shape[flat.leaf[:, 0]]
    sizes = [
        shape[:, 0] * (shape[:, 1] + effects[shape[:, 2] + 1] + P + 1),
        (effects[flat.node[:, 0] + 1] + P + 1) ** 2,
    ]
    starts = [flat.leaf[:, 3], flat.node[:, 3], flat.top]
    sizes.append(np.full(m, (P + 1) ** 2))
    taken = np.zeros(len(flat.values), int)
    taken[: P * P + P] += 1
    for start, size in zip(np.concatenate(starts), np.concatenate(sizes), strict=True):
        taken[start : start + size] += 1
    assert (taken == 1).all()


@given(models())
def test_blocks_of_a_leaf_cover_its_own_effects(model: Model) -> None:
    flat = flat_of(model)
    for shape, after in zip(flat.shape, flat.shape[1:], strict=False):
        blocks = flat.block[shape[3] : after[3]]
        covered = [at + e for level, at in blocks for e in range(flat.dims[level])]
        assert covered == list(range(shape[1]))
        assert (blocks[:, 0] > shape[2]).all()


@given(models())
def test_base_is_what_does_not_depend_on_parameters(model: Model) -> None:
    flat, outer = flat_of(model), model.groups[0]
    for g, base in zip(flat.outer_group, flat.base, strict=True):
        own = np.flatnonzero(outer == g)
        logdet = np.linalg.slogdet(model.S[np.ix_(own, own)])[1]
        assert base == pytest.approx(-(len(own) * np.log(2 * np.pi) + logdet) / 2, rel=1e-12, abs=1e-12)


@given(models())
def test_only_values_depend_on_y(model: Model) -> None:
    one, other = flat_of(model), flat_of(model.at(y=model.y[::-1] * 2.0))
    assert np.array_equal(one.base, other.base)
    for table, same in zip(one.tables, other.tables, strict=True):
        assert np.array_equal(table, same)
    assert len(one.values) == len(other.values)


def test_one_data_set_at_a_time() -> None:
    model = random_model(1)
    both = np.stack([model.y, model.y + 1.0])
    stats = kernel.statistics(both, model.X, model.Z, model.groups, triplet(model.S))
    with pytest.raises(ValueError, match="one data set at a time"):
        flatten(stats)


def test_size_grows_with_leaves_and_not_with_rows() -> None:
    rng = np.random.default_rng(0)

    def size(per_group: int) -> int:
        n, group = 8 * per_group, np.repeat(np.arange(8), per_group)
        X, Z = np.column_stack([np.ones(n), rng.normal(size=n)]), np.column_stack([np.ones(n), rng.normal(size=n)])
        model = Model(rng.normal(size=n), X, [Z], [group], np.diag(rng.uniform(0.1, 1, n)), [np.eye(2)])
        return len(flatten(statistics(model)).values)

    assert size(5) == size(50)
