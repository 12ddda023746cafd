"""Posteriors by importance sampling against long Markov chains, and marginal likelihoods against bridge sampling.

    python -m tests.benchmarks.bridge --models smoking fibrinogen --draws 5000

Chains are of all parameters by nutpie. Means, SDs and quantiles of coefficients and SDs are compared in Monte Carlo
errors of the chains. The marginal likelihood is estimated again from the chains alone, by bridge sampling to a normal
distribution of (log tau, atanh rho) that is fitted to the first half of the draws: Meng and Wong (1996), Statistica
Sinica 6:831-860. Its error is what the chains, each by itself, show.
"""

import argparse
import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import bayesmeta as bm
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.evaluator import Evaluator, coefficients_out
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.kernel.elimination import upward
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.model_priors import ModelPriors, log_prior
from tests.benchmarks.importance import real

PROBABILITIES = np.array([0.025, 0.25, 0.5, 0.75, 0.975])


class Bridge(NamedTuple):
    """A log marginal likelihood and its standard error."""

    log: float
    error: float


class Target:
    """log p(y, tau, rho) in coordinates z = (log tau, atanh rho) of all levels, coefficients integrated out."""

    def __init__(self, spec: bm.Spec, priors: ModelPriors) -> None:
        self.model, self.spec, self.priors = Evaluator(spec, priors), spec, priors
        self.sizes = [(v.structure.n_tau(v.dim), v.structure.n_rho(v.dim)) for v in spec.levels]

    def z(self, tree: xr.DataTree) -> FloatArray:
        """(chains, draws, k) of the draws of a tree."""
        parts = []
        for level, (n_tau, n_rho) in zip(self.spec.levels, self.sizes, strict=True):
            for name, n, to in (("tau", n_tau, np.log), ("rho", n_rho, np.arctanh)):
                if n:
                    values = tree["posterior"][f"{name}_{level.name}"].to_numpy()
                    parts.append(to(values.reshape(*values.shape[:2], n)))
        return np.concatenate(parts, axis=2)

    def __call__(self, z: FloatArray) -> FloatArray:
        """(n,) log densities at z (n, k); -inf where the correlations are none of a covariance matrix."""
        at, taus, rhos, jacobian = 0, [], [], np.zeros(len(z))
        for n_tau, n_rho in self.sizes:
            tau, rho = z[:, at : at + n_tau].T, z[:, at + n_tau : at + n_tau + n_rho].T
            jacobian += tau.sum(0) + np.log1p(-(np.tanh(rho) ** 2)).sum(0)
            taus.append(np.exp(tau))
            rhos.append(np.tanh(rho))
            at += n_tau + n_rho
        psi = [
            np.array(np.broadcast_to(v.structure.compose(t, r, v.dim), (v.dim, v.dim, len(z))))
            for v, t, r in zip(self.spec.levels, taus, rhos, strict=True)
        ]
        real_ones = np.ones(len(z), bool)
        for matrix in psi:
            real_ones &= np.linalg.eigvalsh(np.moveaxis(matrix, -1, 0))[:, 0] > 0
        values = np.full(len(z), -np.inf)
        values[real_ones] = self._density(
            [p[..., real_ones] for p in psi], [t[:, real_ones] for t in taus], [r[:, real_ones] for r in rhos]
        )
        return values + jacobian

    def _density(self, psi: list[FloatArray], taus: list[FloatArray], rhos: list[FloatArray]) -> FloatArray:
        stats, n = self.model.stats, psi[0].shape[2]
        up = upward(stats, [np.ascontiguousarray(p)[..., None] for p in psi[: stats.depth]])
        C = np.moveaxis(np.broadcast_to(up.C, (*up.C.shape[:2], n)), -1, 0)
        chart, none = self.model.chart.beta, np.zeros((n, self.model.dim))
        loglik = coefficients_out(stats, self.priors.centring, chart, none, C, up.logdet)[0]
        blocks = log_prior(self.priors, self.spec, np.zeros((n, len(self.spec.coef))), taus, rhos)
        return loglik + sum(values for name, values in blocks.items() if name != "beta")


def bridge(target: Target, z: FloatArray, rng: np.random.Generator) -> Bridge:
    """From draws z (chains, draws, k)."""
    half = z.shape[1] // 2
    fitted = z[:, :half].reshape(-1, z.shape[2])
    proposal = multivariate_normal(fitted.mean(0), np.cov(fitted.T))
    each = []
    for chain in [z[:, half:].reshape(-1, z.shape[2]), *z[:, half:]]:
        new = np.atleast_2d(proposal.rvs(len(chain), random_state=rng))
        # ratios of target to proposal at draws of the target, and of the proposal
        l1, l2 = (_in_pieces(target, x) - proposal.logpdf(x) for x in (chain, new))
        log = float(np.median(l1))
        for _ in range(200):  # equal numbers of both
            up = logsumexp(l2 - np.logaddexp(l2, log))
            down = logsumexp(-np.logaddexp(l1, log))
            before, log = log, float(up - down)
            if abs(log - before) < 1e-9:
                break
        each.append(log)
    return Bridge(each[0], float(np.std(each[1:], ddof=1) / np.sqrt(len(each) - 1)))


def _in_pieces(target: Target, z: FloatArray) -> FloatArray:
    return np.concatenate([target(z[i : i + 2000]) for i in range(0, len(z), 2000)])


def distances(exact: xr.DataTree, chains: xr.DataTree) -> FloatArray:
    """Of means and quantiles of coefficients and SDs, in Monte Carlo errors of the chains."""
    import arviz_stats as az

    spec, far = bm.Spec.from_tree(exact), []
    for name in ["beta", *(f"tau_{level.name}" for level in spec.levels if level.dim)]:
        values, known = chains["posterior"][name], exact["marginals"]
        dims = [d for d in values.dims if d not in ("chain", "draw")]
        table = known[f"{name}_quantile"].sel(quantile=PROBABILITIES, method="nearest").to_numpy().reshape(5, -1)
        means, sds = (np.ravel(known[f"{name}_{part}"].to_numpy()) for part in ("mean", "sd"))
        draws = values.transpose("chain", "draw", *dims).to_numpy().reshape(*values.shape[:2], -1)
        for j in range(draws.shape[2]):
            own = draws[:, :, j]
            far.append((own.mean() - means[j]) / (sds[j] / np.sqrt(float(az.ess(own, method="mean")))))
            for p, q in zip(PROBABILITIES, table[:, j], strict=True):
                below = (own < q).astype(float)
                n = float(az.ess(below, method="mean"))
                far.append((below.mean() - p) / np.sqrt(p * (1 - p) / n))
    return np.array(far)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["smoking", "fibrinogen"])
    parser.add_argument("--draws", type=int, default=5000)
    arguments = parser.parse_args()
    print("| model | numbers | largest distance | root mean square | log p(y), importance | bridge |", flush=True)
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    for name, spec in real():
        if name not in arguments.models:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exact = bm.sample(spec, draws=100, random_seed=1, sampler="importance", random_effects=False)
            chains = bm.sample(
                spec, draws=arguments.draws, random_seed=2, sampler="nutpie", progress=False, random_effects=False
            )
            far = distances(exact, chains)
            target = Target(spec, resolve(spec, None))
            again = bridge(target, target.z(chains), np.random.default_rng(3))
        points = exact_posterior(exact)
        own = f"{points.log_marginal_likelihood:.4f} ± {points.error:.4f}"
        sizes = f"{len(far)} | {np.abs(far).max():.2f} | {np.sqrt((far**2).mean()):.2f}"
        print(f"| {name} | {sizes} | {own} | {again.log:.4f} ± {again.error:.4f} |", flush=True)


if __name__ == "__main__":
    main()
