"""Dose-response curves of exact posteriors beside long chains: `python -m tests.benchmarks.dose_chains`.

The model of alcohol and colorectal cancer with a restricted cubic spline, in one stage and in two, by quadrature or
importance sampling and by Hamiltonian Monte Carlo: means and interval bounds of the curve, in Monte Carlo errors.
"""

import warnings
from time import perf_counter

import arviz as az
import numpy as np
import xarray as xr

import bayesmeta as bm
from bayesmeta.dose_response.dose_curve import designs, dose_spec, reference_doses

DOSES = (5.0, 12.0, 24.0, 48.0, 60.0)
COLUMNS = {"study": "id", "cases": "cases", "person_years": "peryears", "y": "logrr", "se": "se"}


def deviations(stages: int, draws: int = 10_000, seed: int = 2) -> dict[str, float]:
    """Largest differences of curves and of tau, in Monte Carlo errors of the chains.

    Of a bound, the share of draws below it is compared with the probability that it should have.
    """
    spec = bm.dose_response.specify(bm.datasets.load("alcohol"), basis="rcs(dose, 3)", stages=stages, **COLUMNS)
    exact = bm.sample(spec, random_seed=seed)
    chains = bm.sample(spec, random_seed=seed, draws=draws, sampler="nutpie", progress=False)
    ours = bm.dose_response.curve(exact, DOSES, 0.0, scale="model")
    beta = chains["posterior"]["beta"].transpose("chain", "draw", "coef").to_numpy()
    worst = {"mean": 0.0, "bounds": 0.0}
    L = _designs(exact)
    for drawn, at in zip(np.moveaxis(beta @ L.T, -1, 0), range(len(DOSES)), strict=True):
        gap = abs(drawn.mean() - float(ours["mean"][at])) / float(az.mcse(drawn, method="mean"))
        worst["mean"] = max(worst["mean"], gap)
        for name, probability in (("lower", 0.025), ("upper", 0.975)):
            below = (drawn < float(ours[name][at])).astype(float)
            error = np.sqrt(probability * (1 - probability) / float(az.ess(below)))
            worst["bounds"] = max(worst["bounds"], abs(below.mean() - probability) / error)
    level = spec.levels[0].name
    tau = chains["posterior"][f"tau_{level}"].transpose("chain", "draw", ...).to_numpy()
    known = bm.estimates(exact).query("kind == 'tau'")["estimate"].to_numpy()
    errors = [float(az.mcse(tau[..., j], method="mean")) for j in range(tau.shape[-1])]
    return worst | {"tau": float(np.max(np.abs(tau.mean((0, 1)) - known) / errors))}


def _designs(tree: xr.DataTree) -> np.ndarray:
    """(doses, coefficients): columns of the basis at the doses less those at 0."""
    spec = dose_spec(tree, "curve")
    against = reference_doses(spec, 0.0)
    return designs(spec, {name: np.array(DOSES) for name in against}, against, None, False, True)[0]


def main() -> None:
    warnings.simplefilter("ignore")
    for stages in (1, 2):
        start = perf_counter()
        worst = ", ".join(f"{name} {value:.1f}" for name, value in deviations(stages).items())
        print(f"{stages} stage(s): at most {worst} Monte Carlo errors ({perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
