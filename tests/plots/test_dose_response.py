"""Curves against a dose: Figure 2 of the paper, contrasts to a reference, and what is refused."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.interpolate import BSpline

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.plots.dose_response import dose_curve
from tests.support.drawn import LONG, assert_tidy, fitted, legend, line, lines, notes, study_data
from tests.support.posteriors import make_posterior, stacked

MODELS = Path(__file__).parents[2] / "models"
Z = 1.959963984540054


@pytest.fixture(scope="module")
def alcohol() -> dict[str, xr.DataTree]:
    models = bm.load_analysis(MODELS / "alcohol.toml").models
    return {name: bm.fit(models[name].spec, models[name].method) for name in ("L2", "NL1")}


@pytest.fixture(scope="module")
def doses() -> np.ndarray:
    return bm.load_analysis(MODELS / "alcohol.toml").models["L2"].spec.data["dose"].to_numpy()


def r_ns(x: np.ndarray, data: np.ndarray, inner: tuple[float, ...] = (10, 25)) -> np.ndarray:
    """The natural cubic splines of R's ns(), from its definition: B-splines without the first, with second derivatives
    that vanish at the boundary, straight beyond it."""
    low, high = data.min(), data.max()
    knots = np.r_[[low] * 4, inner, [high] * 4]
    basis = BSpline(knots, np.eye(len(knots) - 4), 3)
    curvature = basis.derivative(2)(np.array([low, high]))[:, 1:]
    Q = np.linalg.qr(curvature.T, mode="complete")[0][:, 2:]
    inside = np.clip(x, low, high)
    values = basis(inside) + (x - inside)[:, None] * basis.derivative()(inside)
    return values[:, 1:] @ Q


def assert_curve(ax: Any, name: str, mean: np.ndarray, se: np.ndarray) -> None:
    lower, upper = (each.get_ydata() for each in lines(ax, f"_{name} edge"))
    np.testing.assert_allclose(line(ax, name).get_ydata(), np.exp(mean), atol=1e-4)
    np.testing.assert_allclose(lower, np.exp(mean - Z * se), atol=1e-4)
    np.testing.assert_allclose(upper, np.exp(mean + Z * se), atol=1e-4)


def test_figure_2_goes_through_the_reference_predictions(alcohol: Any, reference: Callable[[str], Any]) -> None:
    ax = bm.plots.dose_response(alcohol, "dose", upto=60)
    for name in alcohol:
        expected = reference(f"mixmeta/alcohol_{name}")["expected"]
        at = [row["dose"] for row in expected["predict_newdata"]]
        fit, se, _, _ = np.array(expected["predict"]).T
        drawn = [line(ax, name), *lines(ax, f"_{name} edge")]
        places = [int(np.flatnonzero(np.isclose(drawn[0].get_xdata(), dose)).item()) for dose in at]
        for found, sign in zip(drawn, (0, -1, 1), strict=True):
            np.testing.assert_allclose(found.get_ydata()[places], np.exp(fit + sign * Z * se), atol=1e-4)


def test_figure_2_is_the_reference_curve_everywhere(
    alcohol: Any, doses: np.ndarray, reference: Callable[[str], Any]
) -> None:
    ax = bm.plots.dose_response(alcohol, "dose")
    for name, basis in (("L2", lambda x: x[:, None]), ("NL1", lambda x: r_ns(x, doses))):
        expected = reference(f"mixmeta/alcohol_{name}")["expected"]
        x = line(ax, name).get_xdata()
        assert (x[0], x[-1]) == (0, doses.max())
        at = np.array([row["dose"] for row in expected["predict_newdata"]], dtype=float)
        beta, V = np.array(expected["coef"]), np.array(expected["vcov"])
        fit = np.array(expected["predict"])[:, 0]
        # an orthogonal basis is R's but for signs of its columns; the right ones give R's own predictions
        signs = [s for s in product([1, -1], repeat=len(beta)) if np.allclose(basis(at) * s @ beta, fit, atol=1e-9)]
        X = basis(x) * signs[0]
        assert_curve(ax, name, X @ beta, np.sqrt(np.einsum("np,pq,nq->n", X, V, X)))


def test_figure_2_looks_right(alcohol: Any) -> None:
    ax = bm.plots.dose_response(alcohol, "dose")
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "Risk ratio against reference dose"
    assert (ax.get_xlabel(), notes(ax)) == ("dose", "bands: 95% confidence intervals circles grow with precision")
    assert legend(ax) == ["L2", "NL1", "studies"]
    (circles,) = (each for each in ax.collections if each.get_label() == "_studies")
    assert len(circles.get_offsets()) == 40
    assert_tidy(ax)


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80})
def test_figure_2(alcohol: Any) -> Any:
    return bm.plots.dose_response({f"Model {name}": tree for name, tree in alcohol.items()}, "dose").figure


def test_a_reference_is_where_a_band_has_no_width(alcohol: Any, doses: np.ndarray) -> None:
    ax = bm.plots.dose_response(alcohol, "dose", reference=12.0, upto=72)
    x = line(ax, "NL1").get_xdata()
    X = r_ns(x, doses) - r_ns(np.array([12.0]), doses)
    fit = alcohol["NL1"]
    mine = r_ns(doses, doses)
    spec = bm.Spec.from_tree(fit)
    change = np.linalg.lstsq(mine, spec.X)[0]  # from this basis to that of the model
    beta, V = change @ fit["estimate"]["beta"].values, change @ fit["estimate"]["beta_cov"].values @ change.T
    assert_curve(ax, "NL1", X @ beta, np.sqrt(np.einsum("np,pq,nq->n", X, V, X)))
    at = np.interp(12, x, lines(ax, "_NL1 edge")[1].get_ydata())
    assert at == pytest.approx(1, abs=0.002)
    assert ax.get_ylabel() == "Risk ratio against dose\u00a0=\u00a012"
    assert "no data above dose = 60.6" in notes(ax)
    assert legend(ax)[-1] == "studies"
    assert "moved by the curve" in notes(ax)  # their effects are not against 12
    np.testing.assert_array_equal(line(ax, "_doses").get_xdata(), np.union1d(doses, 0))


def test_studies_are_comparable_where_the_design_is_zero_at_the_reference(alcohol: Any) -> None:
    assert dose_curve(alcohol["L2"], "dose", reference=0).comparable
    assert not dose_curve(alcohol["NL1"], "dose", reference=0).comparable
    assert dose_curve(alcohol["NL1"], "dose").comparable
    assert not dose_curve(fitted("y ~ x", study_data(4)), "x").comparable


def test_a_posterior(alcohol: Any) -> None:
    tree = make_posterior(bm.Spec.from_tree(alcohol["L2"]))
    ax = bm.plots.dose_response(tree, "dose", prob=0.8)
    draws = np.multiply.outer(stacked(tree, "posterior", "beta")[:, 0], line(ax, "estimate").get_xdata())
    np.testing.assert_allclose(line(ax, "estimate").get_ydata(), np.exp(draws.mean(0)), rtol=1e-9)
    for found, q in zip(lines(ax, "_estimate edge"), (0.1, 0.9), strict=True):
        np.testing.assert_allclose(found.get_ydata(), np.exp(np.quantile(draws, q, axis=0)), rtol=1e-9)
    assert "80% credible intervals" in notes(ax)
    with_reference = dose_curve(tree, "dose", reference=20, prob=0.8).effects
    draws = np.multiply.outer(stacked(tree, "posterior", "beta")[:, 0], with_reference.x - 20)
    np.testing.assert_allclose(with_reference.upper, np.quantile(draws, 0.9, axis=0), rtol=1e-9, atol=1e-12)


def test_of_a_model_with_an_intercept_the_reference_is_zero() -> None:
    tree = fitted("y ~ x + age", study_data(5))
    ax = bm.plots.dose_response(tree, "x", at={"age": 30})
    x = line(ax, "estimate").get_xdata()
    slope = tree["estimate"]["beta"].sel(coef="x").item()
    np.testing.assert_allclose(line(ax, "estimate").get_ydata(), slope * x, atol=1e-12)
    assert x[0] == 0
    assert ax.get_ylabel().replace("\n", " ") == "Standardised mean difference against x = 0"
    assert "age = 30" in notes(ax)


def test_curves_begin_where_the_data_do_unless_that_is_near_zero() -> None:
    data = study_data(5).assign(bmi=lambda d: 20 + d["x"] / 4)
    assert dose_curve(fitted("y ~ 0 + bmi", data), "bmi").effects.x[0] == data["bmi"].min()
    data = data.assign(x=data["x"] - data["x"].min() + 0.5)
    assert dose_curve(fitted("y ~ 0 + x", data), "x").effects.x[0] == 0
    assert dose_curve(fitted("y ~ 0 + log(x)", data), "x").effects.x[0] == 0.5  # no logarithm of 0


@pytest.mark.parametrize("n", [3, 60])
@pytest.mark.parametrize("posterior", [False, True])
def test_few_and_many_studies_with_long_names(n: int, posterior: bool) -> None:
    tree = fitted("y ~ 0 + x + x:age", study_data(n), random="0 + x | study", measure="logrr")
    second = make_posterior(bm.Spec.from_tree(tree), draws=40) if posterior else tree
    ax = bm.plots.dose_response({LONG.format("A"): tree, LONG.format("B"): second}, "x")
    assert_tidy(ax)
    assert_tidy(bm.plots.dose_response(second, "x", reference=5, scale="model", studies=False))


def test_axes_that_are_given_are_used(tmp_path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3), layout="constrained")
    tree = fitted("y ~ 0 + x", study_data(3))
    assert bm.plots.dose_response(tree, "x", axes[1]) is axes[1]
    assert not axes[0].lines
    assert tuple(figure.get_size_inches()) == (7.2, 3)
    for suffix in ("svg", "pdf", "png"):
        figure.savefig(tmp_path / f"figure.{suffix}")


def bad(call: str) -> None:
    tree = fitted(*{"log": ("y ~ log(x)",), "cat": ("y ~ C(time)",)}.get(call, ("y ~ x + age",)), study_data(4))
    arguments: dict[str, dict[str, Any]] = {
        "log": {"dose": "x"},
        "cat": {"dose": "time"},
        "name": {"dose": "z"},
        "upto": {"dose": "x", "upto": -3},
        "endless": {"dose": "x", "upto": np.inf},
        "reference": {"dose": "x", "reference": np.nan},
        "prob": {"dose": "x", "prob": 95},
        "at": {"dose": "x", "at": {"agee": 4}},
        "outcome": {"dose": "x", "outcome": "z"},
    }
    bm.plots.dose_response(tree, **arguments[call])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("log", "reference: the model has no value at x = 0: y ~ log"),
        ("cat", "dose: the model treats 'time' as categories, which have no curve\n  bm.plots.longitudinal"),
        ("name", "dose: y has no predictor 'z'"),
        ("upto", "upto is -3; the curves begin at x = 0 and must end above"),
        ("endless", "upto is inf"),
        ("reference", "reference is nan; it must be a finite number"),
        ("prob", "prob is 95"),
        ("at", "at: no other predictor 'agee'; did you mean 'age'"),
        ("outcome", "no outcome 'z'"),
    ],
)
def test_bad_input(call: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        bad(call)


def test_something_else_than_a_tree() -> None:
    with pytest.raises(SpecError, match=r"plots\.dose_response: trees is a DataFrame, not a results tree"):
        bm.plots.dose_response(pd.DataFrame(), "x")
    with pytest.raises(SpecError, match="no group"):
        bm.plots.dose_response(xr.DataTree(), "x")


def test_a_category_that_is_not_known_is_named() -> None:
    tree = fitted("y ~ x * arm", study_data(4))
    with pytest.raises(SpecError, match="at: 'arm' is never 'placebos' in the data; did you mean 'placebo'"):
        bm.plots.dose_response(tree, "x", at={"arm": "placebos"})
