"""Data frames and arrays with cells of every kind: refused, or the same answer as their plain numbers give."""

import os
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from tests.hostile.cells import LABELS, NO_LABELS, NO_NUMBERS, column, with_cell
from tests.hostile.world import world

CASES = int(os.environ.get("HOSTILE_CASES", "400"))
FIRST = int(os.environ.get("HOSTILE_SEED", os.environ["HOSTILE_FRESH"]))


def answer(call: Callable[[], Any]) -> Any:
    """What a call gives, or our own error; anything else is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        try:
            return call()
        except bm.BayesmetaError as error:
            return error


def estimates(frame: pd.DataFrame, **options: Any) -> np.ndarray:
    spec = bm.specify("y ~ x", frame, **{"S": "v", "random": "1 | g", **options})
    tree = bm.fit(spec)["estimate"]
    return np.append(tree["beta"].values, tree["psi_g"].values)


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Exception) or isinstance(two, Exception):
        return isinstance(one, Exception) and isinstance(two, Exception)
    return np.shape(one) == np.shape(two) and bool(np.allclose(one, two, rtol=1e-9, atol=1e-12, equal_nan=True))


@pytest.mark.hostile
@pytest.mark.parametrize("seed", sorted({0, FIRST}))
def test_columns_of_data(seed: int):
    data, rng, wrong = world()["D"], random.Random(seed), []
    for _ in range(CASES // 2):
        name = rng.choice(["y", "v", "x"])
        changed = column(data[name], rng)
        if (name, changed.what) == ("x", "category"):  # which is what it says
            continue
        got = answer(lambda name=name, changed=changed: estimates(data.assign(**{name: changed.values})))
        plain: Any = bm.DataError("refused")
        if changed.numbers is not None:
            plain = answer(lambda name=name, changed=changed: estimates(data.assign(**{name: changed.numbers})))
        if not same(got, plain):
            wrong.append(f"{name}, {changed.what}: {got!r} for {plain!r}"[:300])
    assert not wrong, f"HOSTILE_SEED={seed}\n" + "\n".join(wrong[:20])


FORMS: dict[str, Callable[[pd.Series], Any]] = {
    "list": lambda values: values.tolist(),
    "tuple": lambda values: tuple(values),
    "array": lambda values: values.to_numpy(),
    "series": lambda values: values,
    "frame": lambda values: values.to_frame(),
}


@pytest.mark.hostile
@pytest.mark.parametrize("seed", sorted({0, FIRST}))
def test_arrays_for_S_and_offset(seed: int):
    data, rng, wrong = world()["D"], random.Random(seed), []
    for _ in range(CASES // 2):
        argument, form = rng.choice(["S", "offset"]), rng.choice(list(FORMS))
        changed = column(data["v"], rng)
        values = FORMS[form](changed.values)
        got = answer(lambda values=values, argument=argument: estimates(data, **{argument: values}))
        plain: Any = bm.DataError("refused")
        if changed.numbers is not None and (form != "frame" or argument == "S"):
            plain = answer(lambda changed=changed, argument=argument: estimates(data, **{argument: changed.numbers}))
        if not same(got, plain):
            wrong.append(f"{argument} as {form}, {changed.what}: {got!r} for {plain!r}"[:300])
    assert not wrong, f"HOSTILE_SEED={seed}\n" + "\n".join(wrong[:20])


@pytest.mark.hostile
@pytest.mark.parametrize("seed", sorted({0, FIRST}))
def test_labels_of_groups(seed: int):
    data, rng, wrong = world()["D"], random.Random(seed), []
    for _ in range(CASES // 4):
        labels = data["g"].tolist()
        first, second = rng.choice(LABELS), rng.choice([*LABELS, *NO_LABELS])
        labels[:2], labels[2:4] = [first] * 2, [second] * 2
        cells = np.empty(len(labels), dtype=object)
        cells[:] = labels
        got = answer(lambda cells=cells: estimates(data.assign(g=cells)))
        refused = any(second is each for each in NO_LABELS)
        missing = [
            isinstance(each, list | dict | np.ndarray) or bool(pd.isna(each))
            if np.isscalar(each) or each is None or each is pd.NA
            else False
            for each in labels
        ]
        texts = [
            None if gone else str(int(each)) if isinstance(each, float) and each.is_integer() else str(each)
            for each, gone in zip(labels, missing, strict=True)
        ]
        plain = bm.DataError("refused") if refused else answer(lambda texts=texts: estimates(data.assign(g=texts)))
        if not same(got, plain):
            wrong.append(f"{first!r} and {second!r}: {got!r} for {plain!r}"[:300])
    assert not wrong, f"HOSTILE_SEED={seed}\n" + "\n".join(wrong[:20])


ENTRIES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "Y of fit_many": (lambda Y: bm.fit_many(world()["ONE"], Y)["beta"].values, (3, 10, 1)),
    "S of fit_many": (lambda S: bm.fit_many(world()["ONE"], world()["Y"], S)["beta"].values, (3, 10, 1, 1)),
    "beta of simulate": (lambda beta: bm.simulate(world()["SPEC"], 2, 1, beta=beta, psi=0.1), (2,)),
    "psi of simulate": (lambda psi: bm.simulate(world()["SPEC"], 2, 1, beta=[0.1, 0.2], psi=psi), (1, 1)),
    "start of fit": (lambda start: bm.fit(world()["SPEC"], start=start)["estimate"]["beta"].values, (1,)),
    "Fixed": (lambda matrix: bm.structures.Fixed(matrix).known, (1, 1)),
    "nearest": (lambda matrix: bm.within.nearest(matrix), (1, 1)),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("cell", NO_NUMBERS, ids=lambda cell: repr(cell).partition(" at 0x")[0])
def test_one_cell_of_an_array_that_is_no_number(entry: str, cell: Any):
    call, shape = ENTRIES[entry]
    for array in (np.full(shape, 0.5, dtype=object), np.full(shape, 0.5, dtype=object).tolist()):
        flat: Any = array
        for _ in shape[:-1]:
            flat = flat[0]
        flat[0] = cell
        assert isinstance(answer(lambda array=array: call(array)), bm.BayesmetaError)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", ["int64", "float32", "object", "list", "masked"])
def test_arrays_of_numbers_of_another_type(entry: str, kind: str):
    call, shape = ENTRIES[entry]
    ones = np.ones(shape)
    made = (
        ones.tolist() if kind == "list" else np.ma.masked_array(ones, False) if kind == "masked" else ones.astype(kind)
    )
    np.testing.assert_array_equal(call(made), call(ones))
    if kind == "masked":  # a masked entry is a missing one, which none of these may have
        assert isinstance(answer(lambda: call(np.ma.masked_array(ones, True))), bm.BayesmetaError)


LABELLED: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "S": (lambda S: estimates(world()["D"], S=S), list(range(10))),
    "offset": (lambda offset: estimates(world()["D"], offset=offset), list(range(10))),
    "beta": (lambda beta: bm.simulate(world()["SPEC"], 2, 1, beta=beta, psi=0.1), ["Intercept", "x"]),
    "labels": (lambda labels: bm.plots.forest(world()["T"], labels=labels), list(range(10))),
    "subgroup": (lambda subgroup: bm.plots.forest(world()["T"], subgroup=subgroup), list(range(10))),
    "columns": (lambda column: bm.plots.forest(world()["T"], columns={"n": column}), list(range(10))),
}
BY_LABEL = {"labels", "subgroup", "columns"}  # put in order; the others are refused in another one


@pytest.mark.parametrize("entry", LABELLED)
def test_labels_of_series_bind(entry: str):
    call, labels = LABELLED[entry]
    series = pd.Series(np.linspace(0.1, 1, len(labels)), index=labels)
    call(series)
    other = series.set_axis([f"q{label}" for label in labels])
    assert isinstance(answer(lambda: call(other)), bm.BayesmetaError)
    turned = answer(lambda: call(series.iloc[::-1]))
    assert isinstance(turned, bm.BayesmetaError) != (entry in BY_LABEL)


def test_labels_of_many_data_sets_bind():
    spec = world()["ONE"]
    Y = pd.DataFrame([spec.y, spec.y + 1], columns=spec.row_labels)
    bm.fit_many(spec, Y)
    for wrong in (Y.iloc[:, ::-1], Y.set_axis(list("abcdefghij"), axis=1)):
        assert isinstance(answer(lambda wrong=wrong: bm.fit_many(spec, wrong)), bm.DataError)


def test_labels_of_matrices_bind():
    data, rows = world()["D"], list(range(10))
    S = pd.DataFrame(np.diag(np.linspace(0.1, 1, 10)))
    np.testing.assert_array_equal(estimates(data, S=S), estimates(data, S=S.to_numpy()))
    for wrong in (
        S.set_axis(rows[::-1], axis=1),
        S.iloc[::-1],
        S.iloc[:, ::-1],
        S.set_axis(list("abcdefghij"), axis=1),
    ):
        assert isinstance(answer(lambda wrong=wrong: estimates(data, S=wrong)), bm.BayesmetaError)
    right = {g: pd.DataFrame(np.eye(2), index=own.index, columns=own.index) for g, own in data.groupby("g")}
    plain = {g: np.eye(2) for g in right}
    np.testing.assert_array_equal(estimates(data, S=right), estimates(data, S=plain))
    for turned in (lambda M: M.iloc[::-1], lambda M: M.iloc[:, ::-1], lambda M: M.iloc[::-1, ::-1]):
        moved = {g: turned(M) for g, M in right.items()}
        assert isinstance(answer(lambda moved=moved: estimates(data, S=moved)), bm.BayesmetaError)


def test_the_first_bad_cell_is_named_with_its_row():
    data = world()["D"]
    text = with_cell(data["y"].astype(str), 5, "abc").astype("str")
    with pytest.raises(bm.DataError, match=r"^column 'y' is not numeric: row 5 holds 'abc'"):
        bm.specify("y ~ 1", data.assign(y=text), S="v")
    with pytest.raises(bm.DataError, match=r"^column 'x' is not numeric: row 5 holds '5%'"):
        bm.specify("y ~ x", data.assign(x=with_cell(data["x"].astype(str), 5, "5%")), S="v")
