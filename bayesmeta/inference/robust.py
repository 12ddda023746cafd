"""Covariances of the coefficients that do not rest on the model's, by independent clusters, and their distributions."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from bayesmeta import kernel
from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_name, listing, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.inference.adjusted import Calibration, NoTestError, weighting_of
from bayesmeta.io.columns import group_labels
from bayesmeta.kernel.sandwich import ABSORBED, UNEQUAL, Clusters, Sandwich
from bayesmeta.model.spec import Spec
from bayesmeta.tree.specification import group, spec_from_tree

DEFAULT = "satterthwaite"
_MOVED = 1e-6  # share of a contrast's variance along a direction that one cluster determines


def sandwich_of(tree: xr.DataTree, kind: str, cluster: str | None) -> tuple[Sandwich, str]:
    """A sandwich covariance of a fit, and what its clusters are called."""
    spec, estimate = spec_from_tree(tree), group(tree, schema.ESTIMATE)
    name, code = _clusters_of(spec, cluster)
    n, P = int(code.max()) + 1, len(spec.coef)
    if n < 2:
        raise SpecError(f"clusters '{name}': there is one; a sandwich covariance needs several, leave vcov out")
    if kind == "CR1p" and n <= P:
        raise SpecError(f'vcov="CR1p" needs more clusters than coefficients, there are {n} and {P}\n  take "CR2"')
    psi = [estimate[schema.psi(level.name)].to_numpy() for level in spec.levels]
    residual = spec.y - spec.offset - spec.X @ estimate["beta"].to_numpy()
    of = kernel.Clusters(spec.X, residual, code, weighting_of(spec, psi), estimate["beta_cov"].to_numpy())
    _check_roots(of, kind, spec, name)
    return kernel.sandwich(of, kind), name


def _clusters_of(spec: Spec, cluster: str | None) -> tuple[str, IntArray]:
    """Name and codes (n_obs,) of the clusters: of the outer groups, or of the column in whose values they nest."""
    outer = spec.levels[0]
    if cluster is None:
        return outer.name, np.unique(outer.index, return_inverse=True)[1]
    check_name(cluster, spec.data.columns, "vcov: no column", "columns")
    labels = group_labels(spec.data[cluster])[spec.kept]
    if labels.isna().any():
        row = spec.row_labels[int(np.flatnonzero(spec.kept)[int(np.flatnonzero(labels.isna())[0])])]
        raise DataError(f"vcov: column '{cluster}' has no cluster in row {row}; fill it in, or drop the row")
    of_row = np.zeros(len(spec.kept), np.int64)
    of_row[spec.kept] = np.unique(labels.astype(str).to_numpy(), return_inverse=True)[1]
    code = of_row[spec.row]
    low, high = np.full(outer.n_groups, code.max() + 1), np.full(outer.n_groups, -1)
    np.minimum.at(low, outer.index, code)
    np.maximum.at(high, outer.index, code)
    if (split := np.flatnonzero(low < high)).size:
        names = np.unique(labels.astype(str).to_numpy())
        where = f"{shown(names[low[split[0]]])} and {shown(names[high[split[0]]])}"
        raise SpecError(
            f"vcov: clusters '{cluster}' split group {shown('/'.join(outer.labels[split[0]]))} of level "
            f"'{outer.name}', which lies in {where}\n  effects that share a group are not independent: take a column "
            "in which the groups of the outer level nest, or leave cluster out"
        )
    return str(cluster), np.unique(code, return_inverse=True)[1]


def _check_roots(of: Clusters, kind: str, spec: Spec, name: str) -> None:
    """That the adjustment exists: of CR3 where no cluster determines a coefficient, of CR2 in double precision."""
    if kind == "CR3" and (of.shares() > 1 - ABSORBED).any():
        raise SpecError(
            f"vcov=\"CR3\": without one of the clusters '{name}' {_determined(of, spec)} cannot be estimated\n"
            '  take "CR2", which leaves such directions out'
        )
    if kind == "CR2":
        variances = spec.S.variances
        low, high = np.full(of.n, np.inf), np.zeros(of.n)
        np.minimum.at(low, of.code, variances)
        np.maximum.at(high, of.code, variances)
        if (high > UNEQUAL * low).any():
            raise DataError(
                f"vcov=\"CR2\": sampling variances within a cluster of '{name}' differ by a factor of "
                f'{float((high / low).max()):.1e}, more than {UNEQUAL:.0e}\n  take "CR1" or "CR3"'
            )


def _determined(of: Clusters, spec: Spec) -> str:
    size = np.abs(of.absorbed()).max(0) / np.sqrt(np.diag(of.cov))
    touched = [coef for coef, own in zip(spec.coef, size, strict=True) if own > _MOVED]
    return f"coefficient {listing(touched)}" if len(touched) == 1 else f"one of the coefficients {listing(touched)}"


class Bounded(Calibration):
    """A sandwich's calibration, which tests nothing that rests on one cluster: its variance is biased far down."""

    def __init__(self, made: Sandwich) -> None:
        self.made = made
        self.alone = made.clusters.absorbed()

    def tests(self, contrasts: FloatArray) -> bool:
        """Whether contrasts (P, q) rest on several clusters."""
        variance = np.einsum("pq,pr,rq->q", contrasts, self.made.clusters.cov, contrasts)
        return not (len(self.alone) and ((self.alone @ contrasts) ** 2 > _MOVED * variance).any())

    def check(self, contrasts: FloatArray) -> None:
        if not self.tests(contrasts):
            raise NoTestError("one cluster determines a coefficient alone, and its sandwich variance says nothing")


class Satterthwaite(Bounded):
    """Moments of the sandwich where the model is right; of several contrasts by Hotelling's T2 (HTZ)."""

    def single(self, contrast: FloatArray) -> float:
        self.check(contrast[:, None])
        return self.made.satterthwaite(contrast)

    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        q = contrasts.shape[1]
        if q == 1:
            return self.single(contrasts[:, 0]), 1.0
        self.check(contrasts)
        eta = self.made.hotelling(contrasts)
        if not eta > q - 1:
            raise NoTestError(f"{self.made.clusters.n} clusters are too few for {q} contrasts")
        return eta - q + 1, (eta - q + 1) / eta


class Residual(Bounded):
    """Clusters less coefficients, as in metafor."""

    @property
    def df(self) -> int:
        n, P = self.made.clusters.n, self.made.clusters.X.shape[1]
        if n <= P:
            raise NoTestError(f"{n} clusters are no more than the {P} coefficients")
        return n - P

    def single(self, contrast: FloatArray) -> float:
        self.check(contrast[:, None])
        return self.df

    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        self.check(contrasts)
        return self.df, 1.0


KINDS: dict[str, Callable[[Sandwich], Calibration]] = {"satterthwaite": Satterthwaite, "residual": Residual}
