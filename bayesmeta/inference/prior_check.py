"""Whether data and prior contradict each other: what the prior predicts, beside what was observed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp, ndtr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_count, check_seed, check_size
from bayesmeta.bayes.chart import FLAT, Chart, obstacles
from bayesmeta.bayes.posterior import Draws, observations
from bayesmeta.errors import SpecError
from bayesmeta.kernel.draws import fresh_effects
from bayesmeta.kernel.likelihood import LOG_2PI
from bayesmeta.kernel.pointwise import block_designs, block_S, marginal
from bayesmeta.model.spec import Spec
from bayesmeta.priors.model_priors import ModelPriors, prior_draws
from bayesmeta.tree.exact_marginals import psi_means
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import reading_once, spec_from_tree

NODES = {0: (1, 0.0), 1: (401, 6.0), 2: (57, 5.0), 3: (25, 4.8)}  # of a lattice over the prior, and how far it reaches
PIECE = 4_000_000  # numbers held at a time


def prior_check(tree: xr.DataTree, draws: int = 1000, random_seed: int | Sequence[int] | None = None) -> xr.Dataset:
    """Prior-data conflict: how surprising the data are where the prior and the model are right.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.sample`, also read back from a file, under proper priors.
    draws : int, default 1000
        Number of data sets that are drawn from the prior, at least 1.
    random_seed : int or sequence of int, optional
        Seed of these, whatever `numpy.random.SeedSequence` takes; by default another one at every call.

    Returns
    -------
    Dataset
        0-d: `box_pvalue`, Box's p: the share of data sets from the prior that are less probable than the one observed;
        it goes down with anything that is unlike the prior or the model. Cochran's `Q`, its mean `Q_prior_mean` under
        the prior, and `Q_pvalue`, twice the smaller share of data sets with a smaller or larger Q: heterogeneity that
        the prior of the SDs did not expect. Over `coef`: `estimate` (generalised least squares at the posterior mean of
        the covariances, without the prior), with its mean `prior_mean` and SD `prior_sd` before data, and `pvalue`,
        twice the smaller tail of that distribution: exact, a mixture of normals. Attribute `draws`.

    Raises
    ------
    SpecError
        When the tree is no posterior, a prior is improper or has no quantiles in closed form, or more than three
        parameters are left to integrate.

    See Also
    --------
    bayesmeta.loo : Checks of the model, rather than the prior, by what is left out.

    Notes
    -----
    p(y) of a data set is integrated over its coefficients and random effects analytically, over the SDs and
    correlations on a lattice of their prior. P-values of data sets that are drawn are (c + 1) / (draws + 1), c of them
    being at least as extreme.

    References
    ----------
    Box (1980), J. R. Stat. Soc. A 143:383-430; Evans and Moshonov (2006), Bayesian Anal. 1:893-914.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> prior = bm.Prior("Normal", mu=2, sigma=0.5)
    >>> post = bm.sample(spec, bm.Priors(beta=prior, tau=bm.priors.half_normal(0.5)), random_seed=1)
    >>> bm.prior_check(post, random_seed=1)["pvalue"].round(6).values
    array([1.e-06])
    """
    check_count(draws, "draws", 1)
    seed = check_seed(random_seed)
    with reading_once():
        model = _Model.of(tree)
    check_size(8.0 * draws * len(model.spec.y), f"{draws:,} data sets")
    y = model.drawn(draws, np.random.default_rng(seed))
    both = np.concatenate([model.spec.y[None], y])
    log, Q = model.log_densities(both), model.homogeneity(both)
    estimate, mean, sd, pvalue = model.coefficients()
    least = min(np.sum(Q[1:] <= Q[0]), np.sum(Q[1:] >= Q[0]))
    variables: dict[str, Any] = {
        "box_pvalue": ((), (np.sum(log[1:] <= log[0]) + 1) / (draws + 1)),
        "Q": ((), Q[0]),
        "Q_prior_mean": ((), Q[1:].mean()),
        "Q_pvalue": ((), min(1.0, 2 * (least + 1) / (draws + 1))),
        "estimate": (schema.COEF, estimate),
        "prior_mean": (schema.COEF, mean),
        "prior_sd": (schema.COEF, sd),
        "pvalue": (schema.COEF, pvalue),
    }
    coords = {schema.COEF: pd.Index(list(model.spec.coef), dtype=object)}
    return xr.Dataset(variables, coords, {"draws": draws})


@dataclass(frozen=True, eq=False)
class _Model:
    """A model with proper priors, and the posterior mean of Psi (a, a) of every level."""

    spec: Spec
    priors: ModelPriors
    psi: list[FloatArray]

    @classmethod
    def of(cls, tree: xr.DataTree) -> "_Model":
        if not is_posterior(tree):
            spec_from_tree(tree)  # what is no results tree at all says so
            raise SpecError("prior_check is of a posterior, and this tree holds a fit, which has no prior")
        spec, priors = spec_from_tree(tree), ModelPriors.from_json(tree.attrs["priors"])
        if reasons := obstacles(spec, priors):
            raise SpecError(f"prior_check needs priors with quantiles in closed form: {reasons[0]}")
        for label, prior in zip(priors.beta_labels, priors.beta, strict=True):
            if prior.name == FLAT:
                raise SpecError(f"prior_check: the prior of beta[{label}] is improper and predicts nothing")
        k = Chart.of(spec, priors).dim
        if k > max(NODES):
            raise SpecError(f"prior_check integrates over at most {max(NODES)} parameters, and this model has {k}")
        return cls(spec, priors, [psi_means(tree, v.name) for v in spec.levels])

    @cached_property
    def chart(self) -> Chart:
        return Chart.of(self.spec, self.priors)

    @cached_property
    def nodes(self) -> tuple[FloatArray, FloatArray]:
        """A lattice u (n, k) over the prior, and its weights."""
        n, far = NODES[self.chart.dim]
        axes = [np.linspace(-far, far, n)] * self.chart.dim
        u = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], 1) if axes else np.zeros((1, 0))
        weight = np.exp(-(u**2).sum(1) / 2)
        return weight / weight.sum(), u

    @cached_property
    def prior_of_beta(self) -> tuple[FloatArray, FloatArray]:
        """Means (n, P) and roots (n, P, P) of the prior of the coefficients at the nodes."""
        u, beta = self.nodes[1], self.chart.beta
        T = np.linalg.inv(self.priors.centring)
        mean, sd = np.repeat(beta.mean[None], len(u), axis=0), beta.sds(u)
        mean[:, beta.moved], sd[:, beta.moved] = beta.values(u), 0.0
        return mean @ T.T, T * sd[:, None, :]

    def drawn(self, n: int, rng: np.random.Generator) -> FloatArray:
        """(n, n_obs) data sets from the prior."""
        beta, taus, rhos = prior_draws(self.priors, self.spec, n, rng)
        psi = Draws(beta[None], tuple(t.T[None] for t in taus), tuple(r.T[None] for r in rhos)).psi(self.spec)
        b = fresh_effects(psi, [level.n_groups for level in self.spec.levels], rng)
        return observations(self.spec, beta, b, rng)

    def log_densities(self, y: FloatArray) -> FloatArray:
        """(m,) log p(y) of data sets y (m, n_obs)."""
        weight, u = self.nodes
        step = max(1, PIECE // (len(y) * (len(self.spec.coef) + 2)))
        psi = self.chart.psi(u)
        parts = [
            self._given(y, [p[..., at : at + step] for p in psi], slice(at, at + step)) for at in range(0, len(u), step)
        ]
        with np.errstate(divide="ignore"):
            return np.asarray(logsumexp(np.concatenate(parts) + np.log(weight)[:, None], axis=0))

    def _given(self, y: FloatArray, psi: list[FloatArray], at: slice) -> FloatArray:
        """(n, m) log p(y | u) of data sets y (m, n_obs) at some nodes: normal, with the prior's variance of X beta."""
        mean, root = (each[at] for each in self.prior_of_beta)
        F, h, c, logdet = self._forms(y, psi, mean)
        inner = np.eye(root.shape[2]) + root.mT @ F @ root
        g = root.mT @ h
        form = c - (g * np.linalg.solve(inner, g)).sum(1)
        return -(form + (logdet + np.linalg.slogdet(inner)[1])[:, None] + y.shape[1] * LOG_2PI) / 2

    def _forms(
        self, y: FloatArray, psi: list[FloatArray], mean: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """X'QX (n, P, P), X'Qr (n, P, m), r'Qr (n, m) and log|Sigma| (n,), Q = Sigma^-1, r = y - X mean - offset."""
        n, P = len(mean), self.spec.X.shape[1]
        F, h, c, logdet = np.zeros((n, P, P)), np.zeros((n, P, len(y))), np.zeros((n, len(y))), np.zeros(n)
        for rows, Sigma in self._blocks(psi):
            L = np.linalg.cholesky(Sigma)
            X = self.spec.X[rows]
            r = (y[:, rows] - self.spec.offset[rows]).T - (mean @ X.T)[..., None]
            white = np.linalg.solve(L, np.concatenate([np.broadcast_to(X, (n, *X.shape)), r], axis=2))
            A, e = white[..., :P], white[..., P:]
            F, h, c = F + A.mT @ A, h + A.mT @ e, c + (e * e).sum(1)
            logdet = logdet + 2 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum(1)
        return F, h, c, logdet

    def _blocks(self, psi: list[FloatArray]) -> Iterator[tuple[IntArray, FloatArray]]:
        """The observations of every outer group, and their Sigma (n, m, m)."""
        spec, outer = self.spec, self.spec.levels[0].index
        S, n = (spec.S.value, spec.S.row, spec.S.col), max(p.shape[2] for p in psi)
        order = np.argsort(outer, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(outer[order])) + 1):
            between = block_designs([v.Z for v in spec.levels], [v.index for v in spec.levels], rows[:, None])
            Sigma = marginal(block_S(S, rows[:, None], len(spec.y)), between, psi)[:, :, 0]
            yield rows, np.moveaxis(np.broadcast_to(Sigma, (*Sigma.shape[:2], n)), -1, 0)

    def homogeneity(self, y: FloatArray) -> FloatArray:
        """(m,) Cochran's Q of data sets y (m, n_obs)."""
        zero = [np.zeros((v.dim, v.dim, 1)) for v in self.spec.levels]
        F, h, c, _ = self._forms(y, zero, np.zeros((1, len(self.spec.coef))))
        return np.asarray((c - (h * np.linalg.solve(F, h)).sum(1))[0])

    def coefficients(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Estimates (P,), their means and SDs before data, and two-sided p-values."""
        spec, weight = self.spec, self.nodes[0]
        A = self._estimator()
        mean, root = self.prior_of_beta
        estimate = A @ (spec.y - spec.offset)
        variance = (root**2).sum(2)
        psi = self.chart.psi(self.nodes[1])
        for rows, Sigma in self._blocks(psi):
            variance = variance + np.einsum("pi,nij,pj->np", A[:, rows], Sigma, A[:, rows])
        below = weight @ ndtr((estimate - mean) / np.sqrt(variance))
        centre = weight @ mean
        sd = np.sqrt(weight @ (variance + (mean - centre) ** 2))
        return estimate, centre, sd, 2 * np.minimum(below, weight @ ndtr((mean - estimate) / np.sqrt(variance)))

    def _estimator(self) -> FloatArray:
        """(P, n_obs) that makes generalised least-squares estimates at the posterior mean of Psi from data."""
        spec = self.spec
        weighted = np.zeros(spec.X.T.shape)
        for rows, Sigma in self._blocks([p[..., None] for p in self.psi]):
            weighted[:, rows] = np.linalg.solve(Sigma[0], spec.X[rows]).T
        return np.asarray(np.linalg.solve(weighted @ spec.X, weighted))
