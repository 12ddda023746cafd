"""Models with many groups for each parameter: whether few climbs end as high as all the effort of a small problem.

    python -m tests.benchmarks.many_groups [MODELS]

Structures with a correlation that effects share, whose likelihoods have several modes most often; one and two levels,
4 to 20 groups for each parameter, true variances of zero too, missing cells, REML and ML.
"""

import sys
import warnings
from collections.abc import Iterator
from time import process_time
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd

import bayesmeta as bm
from bayesmeta._typing import FloatArray
from bayesmeta.estimation import scan
from bayesmeta.estimation.ml import fit_likelihood
from bayesmeta.estimation.record import Estimate
from bayesmeta.structures import REGISTER

SHARED = ("cs", "hcs", "ar1", "har1")
LOW = 1e-4  # log-likelihood below the thorough search from which a fit counts as low


class Model(NamedTuple):
    """A specification, whether it is fitted by REML, and groups for each parameter."""

    spec: bm.Spec
    restricted: bool
    groups: int

    def fit(self) -> Estimate:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bm.BayesmetaWarning)
            return fit_likelihood(self.spec, self.restricted)

    def thorough(self) -> Estimate:
        """With the effort that a small problem gets."""
        with mock.patch.object(scan, "effort_of", return_value=scan.ALONE):
            return self.fit()


def models(first: int, last: int) -> Iterator[Model]:
    for number in range(first, last):
        yield model(np.random.default_rng([91, number]))


def model(rng: np.random.Generator) -> Model:
    k, n_levels, each = (
        int(rng.choice([2, 2, 3, 3, 4])),
        int(rng.choice([1, 1, 2])),
        int(rng.choice([4, 5, 6, 8, 12, 20])),
    )
    structures = [str(rng.choice([*SHARED, *SHARED, "unstr", "diag"])) for _ in range(n_levels)]
    least = [each * REGISTER[name]().n_free(k) for name in structures]
    n_groups, n_inner = least[0], 1 if n_levels == 1 else int(np.clip(-(-least[1] // least[0]), 2, 10))
    n, group = n_groups * n_inner, np.repeat(np.arange(n_groups), n_inner)
    sd = np.exp(rng.normal(-0.5, rng.choice([0.2, 0.6, 1.2]), (n, k)))
    S = sd[:, :, None] * (0.3 * np.ones((k, k)) + 0.7 * np.eye(k)) * sd[:, None, :]
    Y = rng.normal(size=k) + np.einsum("nij,nj->ni", np.linalg.cholesky(S), rng.normal(size=(n, k)))
    for index in (group, np.arange(n))[:n_levels]:
        Y += effects(rng, index.max() + 1, k)[index]
    if rng.random() < 0.3:
        missing = rng.random((n, k)) < 0.15
        missing[:, 0] &= ~missing.all(axis=1)
        Y[missing] = np.nan
    data = pd.DataFrame(Y, columns=[f"y{j}" for j in range(k)]).assign(g=group, r=range(n), x=rng.normal(size=n))
    formula = " + ".join(data.columns[:k]) + str(rng.choice([" ~ 1", " ~ x"]))
    psi = dict(zip("gr", structures, strict=False))
    spec = bm.specify(formula, data, S=S, random="1 | g/r" if n_levels == 2 else "1 | g", psi=psi)
    return Model(spec, bool(rng.random() < 0.5), each)


def effects(rng: np.random.Generator, n: int, k: int) -> FloatArray:
    """(n, k) effects of groups: SDs of any size, equal ones in half the models, and any correlations."""
    tau = np.broadcast_to(rng.choice([0.0, 0.1, 0.3, 1.0], k if rng.random() < 0.5 else 1), k)
    root = rng.normal(size=(k, int(rng.integers(1, k + 2))))
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    return np.asarray(rng.normal(size=(n, root.shape[1])) @ (tau[:, None] * root).T)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    low, seconds, evaluations = [], np.zeros(2), np.zeros(2, int)
    for number, one in enumerate(models(0, n)):
        ends = []
        for i, fit in enumerate((one.fit, one.thorough)):
            begun = process_time()
            ends.append(fit())
            seconds[i] += process_time() - begun
            evaluations[i] += ends[-1].optimizer.all_evaluations + ends[-1].optimizer.scan_evaluations
        if ends[0].loglik < ends[1].loglik - LOW:
            low.append(number)
            structures = " ".join(level.structure.name for level in one.spec.levels)
            print(f"LOW {number} {structures}, {one.groups} groups: {ends[0].loglik - ends[1].loglik:.1e}", flush=True)
    print(f"{n} models, {len(low)} low; CPU {seconds[0]:.0f} s, thorough {seconds[1]:.0f} s; ", end="")
    print(f"evaluations, those of scans included, {evaluations[0]:,} and {evaluations[1]:,}")


if __name__ == "__main__":
    main()
