"""Effects that share an arm: from the arms themselves, by simulation, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import within

TRIAL: dict[str, Any] = {
    "trial": [1, 1, 2],
    "arm": ["A", "B", "A"],
    "ref": ["C", "C", "B"],
    "v": [0.2, 0.3, 0.4],
    "v0": [0.1, 0.1, 0.5],
}


def test_contrasts_are_those_of_independent_arms() -> None:
    S = within.shared_arms(TRIAL, "trial", "arm", "ref", "v", "v0")
    np.testing.assert_allclose(S[1], [[0.3, 0.1], [0.1, 0.4]])
    np.testing.assert_allclose(S[2], [[0.9]])
    chain = {"t": ["a", "a"], "x": ["A", "B"], "y": ["B", "C"], "vx": [0.2, 0.3], "vy": [0.3, 0.1]}
    np.testing.assert_allclose(within.shared_arms(chain, "t", "x", "y", "vx", "vy")["a"], [[0.5, -0.3], [-0.3, 0.4]])


def test_equal_arms_are_those_of_vcalc() -> None:
    """With variances in proportion to 1 / n, arms give the correlations that vcalc makes of the sizes."""
    data = pd.DataFrame({"t": ["a"] * 3, "x": ["A", "B", "D"], "y": ["C"] * 3, "n": [20, 40, 10], "m": [50] * 3})
    data = data.assign(v=1 / data.n, v0=1 / data.m, total=1 / data.n + 1 / data.m)
    arms = within.shared_arms(data, "t", "x", "y", "v", "v0")["a"]
    sizes = within.vcalc(data, "total", "t", grp1="x", grp2="y", w1="n", w2="m")["a"]
    np.testing.assert_allclose(arms, sizes, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v0": [0.1, 0.2, 0.5]}, "arm 'C' of trial 1 has the variances 0.1 and 0.2"),
        ({"ref": ["A", "C", "B"]}, "are the same arm in row 0"),
        ({"v": [0.2, -1, 0.4]}, r"'v' \(variance_first\) is not positive in row 1"),
        ({"arm": ["A", None, "A"]}, r"'arm' \(first\) is missing in row 1"),
        (
            {"trial": [1, 1, 1], "arm": ["A", "B", "A"], "v": [0.2, 0.3, 0.2], "v0": [0.1, 0.1, 0.3]},
            "trial 1 has 3 contrasts of 3 arms, of which one follows",
        ),
    ],
)
def test_arms_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(bm.DataError, match=message):
        within.shared_arms(TRIAL | changes, "trial", "arm", "ref", "v", "v0")


def test_treatments_against_one_control_by_simulation() -> None:
    rng, n, n0, truth = np.random.default_rng(2), np.array([40, 60]), 80, np.array([0.5, 0.9])
    B = 40_000
    means = rng.normal(truth, 1 / np.sqrt(n), (B, 2)) - rng.normal(0, 1 / np.sqrt(n0), (B, 1))
    df = n.sum() + n0 - 3
    d = means / np.sqrt(rng.chisquare(df, (B, 1)) / df)
    S = within.gleser_olkin({"s": [1, 1], "d": truth, "n": n, "n0": [n0] * 2}, "d", "s", "n", "n0")[1]
    np.testing.assert_allclose(S, np.cov(d.T), rtol=0.06)


def test_outcomes_of_the_same_people() -> None:
    data = {"s": ["x"] * 2, "d": [0.4, 0.6], "n": [25] * 2, "n0": [30] * 2}
    S = within.gleser_olkin(data, "d", "s", "n", "n0", rho=0.5)["x"]
    base = 1 / 25 + 1 / 30
    np.testing.assert_allclose(np.diag(S), [base + d**2 / 110 for d in (0.4, 0.6)], rtol=1e-12)
    assert S[0, 1] == pytest.approx(0.5 * base + 0.25 * 0.24 / 110)
    for changes, error, message in (
        ({"n0": [30, 31]}, bm.DataError, r"s x has one group with 30, 31 \('n0'\)"),
        ({"n": [1, 25]}, bm.DataError, "'n' is less than 2 in row 0"),
    ):
        with pytest.raises(error, match=message):
            within.gleser_olkin(data | changes, "d", "s", "n", "n0")
    three = {name: [values[0]] * 3 for name, values in data.items()}
    with pytest.raises(bm.DataError, match=r"s x .* the nearest valid rho is -0.5"):
        within.gleser_olkin(three, "d", "s", "n", "n0", rho=-0.6)


def test_categories_of_one_count_by_simulation() -> None:
    rng, p = np.random.default_rng(4), np.array([0.5, 0.3, 0.2])
    x = rng.multinomial(2000, p, 20_000)
    names = ["none", "some", "all"]
    one = pd.DataFrame([2000 * p], columns=names).round()
    odds = within.multinomial(one, names, reference="none")
    np.testing.assert_allclose(odds.S[0], np.cov(np.log(x[:, 1:] / x[:, :1]).T), rtol=0.06)
    shares = within.multinomial(one, names)
    np.testing.assert_allclose(shares.S[0], np.cov((x[:, :2] / 2000).T), rtol=0.06)
    assert list(shares.y) == names[:2]
    spec = bm.specify("none + some ~ 1", pd.concat([shares.y] * 3, ignore_index=True), S=np.repeat(shares.S, 3, axis=0))
    assert spec.S.value.size == 9


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"counts": ["a"]}, bm.SpecError, "at least two different columns"),
        ({"counts": ["a", "b"], "reference": "c"}, bm.SpecError, "none of counts"),
        (
            {"data": {"a": [1, 0], "b": [2, 3]}, "counts": ["a", "b"]},
            bm.DataError,
            r"'a' \(counts\) is not positive in row 1",
        ),
        ({"data": {"a": [1.5], "b": [2]}, "counts": ["a", "b"]}, bm.DataError, "not whole numbers in row 0"),
    ],
)
def test_counts_that_cannot_be(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        within.multinomial(**({"data": {"a": [5], "b": [6]}} | arguments))
