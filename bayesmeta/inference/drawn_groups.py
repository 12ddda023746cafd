"""Fits to outer groups drawn with replacement, all at once.

Every group is there as often as a replicate has one at most, and replicates leave out the copies that they have not:
parts of one design, which are data sets whose searches advance together.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IndexArray, IntArray
from bayesmeta.errors import BayesmetaWarning
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.methods import Method
from bayesmeta.estimation.ml_many import DataSets, fit_statistics
from bayesmeta.estimation.one_effect import alike, fit_rows, suits
from bayesmeta.estimation.parts import BLOCK, covariance_terms, identifies
from bayesmeta.inference.regroup import with_groups
from bayesmeta.kernel import likelihood, part_statistics
from bayesmeta.model.spec import Spec


@dataclass(frozen=True)
class Drawn:
    """Estimates of B replicates: beta (B, P), psi per level (B, a, a), converged (B,); NaN where not identified."""

    beta: FloatArray
    psi: tuple[FloatArray, ...]
    converged: BoolArray


@dataclass(frozen=True, eq=False)
class Copies:
    """What fits replicates of the outer groups of a specification.

    start : (F,) free parameters at which climbs begin, beside those of a scan; None for methods without.
    """

    spec: Spec
    method: Method
    start: FloatArray | None

    @cached_property
    def rows_alone(self) -> bool:
        """Whether compiled code fits every replicate by itself."""
        one = DataSets(self.spec, self.spec.y[None], self.spec.S.value, self.spec.S.row, self.spec.S.col)
        return suits(self.spec, self.method) and alike(one)

    def together(self, counts: IntArray) -> bool:
        """Whether replicates are fitted at once: methods by moments are mostly solved one after the other."""
        together = self.method.zero_psi or (self.method.searches and self.method.together is not None)
        return (together or self.rows_alone) and len(self.spec.y) * int(counts.max()) <= BLOCK

    def blocks(self, counts: IntArray) -> list[IndexArray]:
        """Places of replicates that are fitted together: those that have a group equally often at most."""
        most, made = counts.max(axis=1), []
        for top in np.unique(most):
            which = np.flatnonzero(most == top)
            size = max(1, BLOCK // (len(self.spec.y) * int(top)))
            made += [which[i : i + size] for i in range(0, len(which), size)]
        return made

    def __call__(self, counts: IntArray) -> Drawn:
        """Fit replicates that have each group so often (B, m)."""
        m = counts.shape[1]
        whole = with_groups(self.spec, np.tile(np.arange(m), int(counts.max())))
        copy, group = np.divmod(whole.levels[0].index, m)
        keep = copy < counts[:, group]
        identified = identifies(whole, keep)
        beta = np.full((len(keep), len(self.spec.coef)), np.nan)
        psi = tuple(np.full((len(keep), level.dim, level.dim), np.nan) for level in self.spec.levels)
        converged = np.zeros(len(keep), bool)
        if identified.any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BayesmetaWarning)
                fit = self._rows if self.rows_alone else self._parts
                made = fit(whole, keep[identified])
            beta[identified], converged[identified] = made.beta, made.converged
            for all_, own in zip(psi, made.psi, strict=True):
                all_[identified] = own
        return Drawn(beta, psi, converged)

    def _rows(self, whole: Spec, keep: BoolArray) -> Drawn:
        data = DataSets(whole, np.where(keep, whole.y, np.nan), whole.S.value, whole.S.row, whole.S.col)
        made = fit_rows(data, self.method)
        return Drawn(made.beta, made.psi, made.converged)

    def _parts(self, whole: Spec, keep: BoolArray) -> Drawn:
        """Constants of the log-likelihoods and sizes of the scan are those of the data, not of all copies."""
        spec = self.spec
        stats = part_statistics(whole.y - whole.offset, whole.X, *covariance_terms(whole), keep)
        stats = replace(stats, n_obs=len(spec.y), n_groups=tuple(level.n_groups for level in spec.levels))
        if self.method.zero_psi:
            psi = tuple(np.zeros((len(keep), level.dim, level.dim)) for level in spec.levels)
            value = likelihood(stats, psi, restricted=False)
            return Drawn(np.atleast_2d(value.beta), psi, np.ones(len(keep), bool))
        free = Free(spec, spec.statistics.typical)
        start = None if self.start is None else np.broadcast_to(self.start, (len(keep), free.size))
        made = fit_statistics(stats, free, self.method.likelihood == "restricted", start)
        return Drawn(made.beta, made.psi, made.converged)


def counted(drawn: Sequence[IntArray], n_groups: int) -> IntArray:
    """(B, m) how often each group is drawn."""
    return np.array([np.bincount(own, minlength=n_groups) for own in drawn])


def joined(parts: Iterable[Drawn], places: Sequence[IndexArray]) -> Drawn:
    """The estimates of all blocks, every replicate in its place."""
    made, order = list(parts), np.argsort(np.concatenate(places))
    psi = tuple(np.concatenate(level)[order] for level in zip(*(part.psi for part in made), strict=True))
    beta, converged = (
        np.concatenate(arrays)[order] for arrays in zip(*((p.beta, p.converged) for p in made), strict=True)
    )
    return Drawn(beta, psi, converged)
