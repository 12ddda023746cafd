"""What a user adds from outside the package is used everywhere as if it had always been there."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.structures.base import Law


class PositiveCorrelation(bm.structures.Structure):
    """One variance and one correlation above zero.

    xi are the SD and the logit of rho.
    """

    name = "pos"
    meaning = "one variance and one correlation above zero"
    any_order = True
    members = (bm.structures.Identity,)

    def n_tau(self, dim: int) -> int:
        return 1

    def n_rho(self, dim: int) -> int:
        return 1

    def compose(self, tau: Any, rho: Any, dim: int) -> Any:
        same = np.eye(dim).reshape((dim, dim) + (1,) * (tau.ndim - 1))
        return tau[0] * tau[0] * (same + rho[0] * (1 - same))

    def decompose(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tau = np.sqrt(np.diag(psi).mean())
        rho = psi[np.triu_indices(len(psi), 1)].mean() / tau**2 if tau else 0.5
        return np.array([tau]), np.clip([rho], 0.01, 0.99)

    def lkj(self, dim: int, eta: float) -> Law:
        return Law(0.0, 1.0, eta)

    def n_free(self, dim: int) -> int:
        return 2

    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        return ("sd", "logit_rho")

    def psi(self, xi: Any, dim: int) -> Any:
        return self.compose(abs(xi[:1]), (1 + np.tanh(xi[1:] / 2)) / 2, dim)

    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        rho, off = (1 + np.tanh(xi[1] / 2)) / 2, 1 - np.eye(dim).reshape((dim, dim) + (1,) * (xi.ndim - 1))
        by_sd = 2 * xi[0] * (psi_bar * (1 - off + rho * off)).sum((0, 1))
        by_logit = xi[0] ** 2 * rho * (1 - rho) * (psi_bar * off).sum((0, 1))
        return np.stack([by_sd, by_logit])

    def start(self, moment: np.ndarray) -> np.ndarray:
        tau, rho = self.decompose(moment)
        return np.array([tau[0], np.log(rho[0] / (1 - rho[0]))])

    def units(self, effect_units: np.ndarray) -> np.ndarray:
        return np.array([np.median(effect_units), 1.0])

    def zero_positions(self, dim: int) -> np.ndarray:
        return np.arange(1)

    def low(self, dim: int) -> float:
        return 0.0


@pytest.fixture
def structure() -> Iterator[bm.structures.Structure]:
    bm.structures.register(PositiveCorrelation)
    yield PositiveCorrelation()
    del bm.structures.REGISTER[PositiveCorrelation.name]


@pytest.fixture
def berkey() -> pd.DataFrame:
    return bm.datasets.load("berkey98")


def specify(data: pd.DataFrame, psi: Any) -> bm.Spec:
    return bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi, measure="smd")


def test_a_structure_is_fitted_as_the_family_that_it_equals_there(structure, berkey) -> None:
    """The maximum of compound symmetry has a positive correlation here, so both families have the same one."""
    fit, cs = bm.fit(specify(berkey, "pos")), bm.fit(specify(berkey, "cs"))
    assert cs["estimate"]["rho_unit"].item() > 0
    assert fit["criteria"]["loglik"].item() == pytest.approx(cs["criteria"]["loglik"].item(), abs=1e-8)
    np.testing.assert_allclose(fit["estimate"]["psi_unit"], cs["estimate"]["psi_unit"], atol=1e-6)
    assert "pos" in str(bm.summary(fit))
    assert f"{cs['estimate']['rho_unit'].item():.3f}" in str(bm.summary(fit))


def test_a_structure_goes_through_files_tests_and_reports(structure, berkey, tmp_path) -> None:
    fit = bm.fit(specify(berkey, "pos"), method="ml")
    fit.to_netcdf(tmp_path / "fit.nc")
    import xarray as xr

    with xr.open_datatree(tmp_path / "fit.nc") as read:
        assert bm.Spec.from_tree(read).levels[0].structure == structure
    identity = bm.fit(specify(berkey, "id"), method="ml")
    assert bm.lr_test(identity, fit).df == 1
    page = bm.report(fit).html
    assert "pos: one variance and one correlation above zero" in page
    assert len(bm.confint(fit, method="profile")) > 0
    assert bm.fit_many(specify(berkey, "pos"), bm.simulate(fit, n=3, random_seed=1))["psi_unit"].shape == (3, 2, 2)


def test_both_backends_read_a_structure(structure, berkey) -> None:
    spec = specify(berkey, "pos")
    model = bm.to_pymc(spec)
    point = model.initial_point()
    assert np.isfinite(model.compile_logp()(point))
    assert {"tau_unit", "rho_unit"} <= {variable.name for variable in model.unobserved_value_vars}


def test_a_model_with_priors_of_several_families_has_a_point_to_start_at(berkey) -> None:
    tau = {"PD": bm.Prior("HalfNormal", sigma=1.0), "AL": bm.Prior("HalfCauchy", beta=0.5)}
    model = bm.to_pymc(specify(berkey, "hcs"), bm.Priors(tau={"unit": tau}))
    assert np.isfinite(model.compile_logp()(model.initial_point()))


def unweighted(spec: bm.Spec) -> bm.estimation.Estimate:
    """Ordinary least squares, every Psi zero, with the covariance that S gives it."""
    bread = np.linalg.inv(spec.X.T @ spec.X) @ spec.X.T
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    return bm.estimation.Estimate(
        method="ols",
        beta=bread @ (spec.y - spec.offset),
        beta_cov=bread @ S @ bread.T,
        psi=tuple(np.zeros((level.dim, level.dim)) for level in spec.levels),
        xi=np.zeros(0),
        xi_cov=np.zeros((0, 0)),
        free=(),
        loglik=np.nan,
        df_fixed=len(spec.coef),
        df_random=0,
        nobs=len(spec.y),
        optimizer=None,
    )


@pytest.fixture
def estimator() -> Iterator[bm.estimation.Method]:
    yield bm.estimation.register(
        bm.estimation.Method("ols", label="unweighted least squares", short="OLS", estimate=unweighted, zero_psi=True)
    )
    del bm.estimation.REGISTER["ols"]


@pytest.fixture
def measure() -> Iterator[bm.measures.Measure]:
    yield bm.measures.register(
        bm.measures.Measure("logdor", "log diagnostic odds ratio", "log DOR", is_ratio=True, unit_information_sd=2.0)
    )
    del bm.measures.MEASURES["logdor"]


def test_an_estimator_is_used_from_fit_to_the_report(estimator) -> None:
    data = bm.datasets.load("bcg")
    fit = bm.fit(bm.specify("logor ~ 1", data, S="logorvar"), method="ols")
    assert fit["estimate"]["beta"].item() == pytest.approx(data["logor"].mean())
    assert "nweighted least squares" in str(bm.summary(fit))
    assert "nweighted least squares" in bm.report(fit).html
    assert bm.predict(fit)["mean"].values == pytest.approx(data["logor"].mean())
    assert bm.compare(fit, bm.fit(bm.Spec.from_tree(fit))).to_dataframe().shape[0] > 0
    assert bm.plots.forest(fit).figure is not None
    with pytest.raises(bm.SpecError, match="method 'ols' has no option 'tolerance'"):
        bm.fit(bm.Spec.from_tree(fit), method="ols", tolerance=1e-8)


def test_a_measure_is_used_from_specify_to_the_report(measure) -> None:
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logdor"))
    assert "iagnostic odds ratio" in bm.report(fit).html
    axes = bm.plots.forest(fit)
    words = [text.get_text() for each in axes.figure.axes for text in each.findobj(match=type(each.title))]
    assert any("iagnostic odds ratio" in text or "DOR" in text for text in words)
    model = bm.to_pymc(bm.Spec.from_tree(fit))  # a scale of its own: no warning that the data had to give one
    assert "tau_unit" in model.named_vars
