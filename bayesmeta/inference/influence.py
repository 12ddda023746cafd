"""Influence: how estimates, variances and each effect's own residual change without a row, or a group of rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import chdtri

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import check_boolean, listing
from bayesmeta.errors import AssumptionWarning, ConvergenceWarning, SpecError, warn
from bayesmeta.estimation.parallel import ALONE, Backend, Jobs
from bayesmeta.estimation.parts import PartFits, covariance_terms, fit_parts
from bayesmeta.inference.adjusted import weighting_of
from bayesmeta.inference.data_groups import Groups, finest, groups_by
from bayesmeta.inference.part_estimates import GROUP, variances_of, whole_of
from bayesmeta.inference.posterior_parts import GOOD_K
from bayesmeta.inference.reweighted import whole_posterior, without_groups
from bayesmeta.inference.weights import by_row
from bayesmeta.kernel import likelihood
from bayesmeta.kernel.affected import affected_blocks, changes
from bayesmeta.kernel.pointwise import block_designs, block_S
from bayesmeta.model.identification import check_rank
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.row_labels import ByRow, row_labels
from bayesmeta.tree.specification import group, spec_from_tree

FEWEST = 3  # groups, of which two remain
_COOKS, _DFBETAS, _FACTOR = 0.5, 1.0, 3.0  # of the rule for what is influential
_ROUNDING = 1e-10  # of a sampling variance: what is left of an effect's own error once the fixed part fits it exactly


def influence(
    tree: xr.DataTree,
    by: ByRow | None = None,
    exact: bool = True,
    *,
    n_jobs: int = 1,
    backend: Backend | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Which rows, or groups of rows, the results hang on: each is left out in turn, and the model fitted again.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`, also read back from a file.
    by : str or sequence, optional
        What is left out at a time: the groups of a level, by its name; rows with the same value of a column of the
        data, by its name or as one value for each row. By default single rows, with all their outcomes; where sampling
        errors of different rows are correlated, the groups of the innermost level that keeps these together.
    exact : bool, default True
        Whether the variances are estimated again without each group. False takes one Newton step from the estimates of
        all rows, which is enough to find the groups that matter. For a posterior, whether it is sampled again without
        the groups whose draws cannot be weighted anew.
    n_jobs : int, default 1
        Number of processes for the fits without a group, -1 for one on every processor. Results do not depend on it.
    backend : {"loky", "dask", "threading"}, optional
        Of joblib: processes of this machine (the default), the workers of the Dask client in scope, or threads.
    progress : bool, default False
        Whether a progress bar is shown.

    Returns
    -------
    Dataset
        Over `row`, and over `outcome` where there are several: `hat`, the share of its own mean that an effect
        determines; `weight` in percent; `rstandard`, the standardised residual; `rstudent`, the same from the fit
        without its group; `dffits`, by how many standard errors its fitted mean moves without its group. `of` names the
        group of a row.

        Over `group`: `cooks_distance`; `cov_ratio`, the ratio of the generalised variances of the coefficients without
        and with the group; `dfbetas` (group, coef), by how many standard errors each coefficient moves;
        `tau2_deleted` (of several variances over `variance`) and `Q_deleted`, what they are without it; `chi2`, the
        squared length of its studentised residuals, with `k`, the number of its observations, as degrees of freedom;
        `influential`, and of fits `converged`. Where single rows are left out, they take the place of the groups. What
        the other rows do not identify is NaN, and `reason` says so.

        Attributes: `by`; `exact`; the values `dffits_cutoff`, `hat_cutoff`, `cooks_cutoff` and `dfbetas_cutoff`
        that make a row influential; `method`. For a posterior also `pareto_k`, of the weights of its draws without the
        group, and `refitted`, whether it was sampled again, which happens above the attribute `good_k`.

    Raises
    ------
    SpecError
        When `by` is neither a level nor a column, splits rows with correlated sampling errors, or makes fewer than
        three groups.
    DataError
        When the column has missing values in rows of the model.

    Warns
    -----
    AssumptionWarning
        When a group is left out without which a coefficient is not identified.
    ConvergenceWarning
        When a search without a group does not converge.

    See Also
    --------
    bayesmeta.leave_one_out : The estimates themselves without each group.
    bayesmeta.gosh : Estimates from all subsets of the data.
    bayesmeta.plots.influence : The same as pictures.

    Notes
    -----
    Definitions and cut-offs are those of metafor. With p coefficients, n observations and b, V the estimates and their
    covariance, (g) those without group g: Cook's distance is (b - b(g))' V^-1 (b - b(g)); DFBETAS divide by the
    standard errors that all rows would have at the variances without the group; a row is influential if its `|DFFITS|`
    is above 3 sqrt(p / (n - p)), Cook's distance beyond the median of chi-squared with p degrees of freedom, its hat
    value above 3 p / n, or one of its `|DFBETAS|` above 1. Groups of several rows are judged by Cook's distance and
    DFBETAS alone. Weights are row sums of the inverse marginal covariance. V is the model's covariance.

    Of a posterior b and the variances are means, V is the covariance of the coefficients. Those without a group are
    integrated anew where the posterior was computed without Markov chains, with missing Pareto k. Of chains they are of
    the same draws with Pareto-smoothed importance weights, the inverse density of its observations given all others
    (Vehtari, Gelman and Gabry 2017, Stat. Comput. 27:1413-1432).

    References
    ----------
    Viechtbauer and Cheung (2010), Res. Synth. Methods 1:112-125.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> table = bm.influence(fit)
    >>> table["cooks_distance"].idxmax("row").item()
    'TPT Madras (1980)'
    >>> table[["rstudent", "cooks_distance", "tau2_deleted"]].to_dataframe().head(3).round(3)
                             rstudent  cooks_distance  tau2_deleted
    row
    Aronson (1948)             -0.232           0.002         0.362
    Ferguson & Simes (1949)    -1.319           0.117         0.314
    Rosenthal et al (1960)     -0.742           0.025         0.346
    """
    check_boolean(exact, "exact")
    jobs = Jobs(n_jobs, backend, progress)
    groups = _groups(spec_from_tree(tree), by)
    attrs = {"exact": int(exact), "method": str(tree.attrs["method"])}
    if not is_posterior(tree):
        return _table(deletions(tree, by, exact, jobs), attrs)
    again = without_groups(tree, groups, refit=exact)
    table = _table(Deletions(Fitted.of(tree), groups, again.fits), attrs | {"good_k": GOOD_K}).drop_vars("converged")
    dim = table["k"].dims
    return table.assign(pareto_k=(dim, again.pareto_k), refitted=(dim, again.refitted))


def deletions(tree: xr.DataTree, by: ByRow | None, exact: bool = True, jobs: Jobs = ALONE) -> "Deletions":
    """The fits without each group, as of `influence`; of a posterior from weighted draws."""
    spec = spec_from_tree(tree)
    groups = _groups(spec, by)
    if is_posterior(tree):
        return Deletions(Fitted.of(tree), groups, without_groups(tree, groups, refit=False).fits)
    fits = fit_parts(whole_of(tree), groups.without(spec), exact, jobs)
    _say(groups, fits)
    return Deletions(Fitted.of(tree), groups, fits)


def _groups(spec: Spec, by: ByRow | None) -> Groups:
    groups = finest(spec) if by is None else groups_by(spec, by, "influence")
    if groups.n < FEWEST:
        raise SpecError(
            f"influence: there are {groups.n} groups ({groups.kind or 'row'}); it takes {FEWEST} at least, as two have "
            "to remain"
        )
    return groups


def _say(groups: Groups, fits: PartFits) -> None:
    kind = groups.kind or "row"
    if failed := [name for name, good in zip(groups.names, fits.identified, strict=True) if not good]:
        warn(f"the data without {kind} {listing(failed)} do not identify the model: NaN", AssumptionWarning)
    if unsure := [n for n, good in zip(groups.names, fits.converged | ~fits.identified, strict=True) if not good]:
        warn(f"fits without {kind} {listing(unsure)} did not converge", ConvergenceWarning)


@dataclass(frozen=True, eq=False)
class Fitted:
    """The fit to all rows.

    estimate : the group of the tree; of a posterior its means in the same form.
    """

    spec: Spec
    estimate: xr.Dataset

    @classmethod
    def of(cls, tree: xr.DataTree) -> "Fitted":
        return cls(spec_from_tree(tree), whole_posterior(tree) if is_posterior(tree) else group(tree, schema.ESTIMATE))

    @property
    def beta(self) -> FloatArray:
        return self.estimate["beta"].to_numpy()

    @property
    def cov(self) -> FloatArray:
        return self.estimate["beta_cov"].to_numpy()

    @property
    def psi(self) -> list[FloatArray]:
        return [self.estimate[schema.psi(level.name)].to_numpy() for level in self.spec.levels]

    @property
    def variances(self) -> FloatArray:
        """(n_obs,) diagonal of Sigma."""
        return _variances(self.spec, [p[None] for p in self.psi])

    def residual(self, beta: FloatArray) -> FloatArray:
        """(n_obs,) y less the fixed part at one beta (P,), or at one for each observation."""
        return self.spec.y - self.spec.offset - (self.spec.X * beta).sum(-1)

    def of_all_rows(self) -> dict[str, FloatArray]:
        """Diagnostics of every observation (n_obs,) that need no other fit."""
        X, weighted, Sigma = self.spec.X, weighting_of(self.spec, self.psi), self.variances
        U, totals = weighted(X), weighted(np.ones((len(X), 1)))[:, 0]
        error = Sigma - _forms(X, self.cov)
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = np.where(error > _ROUNDING * Sigma, self.residual(self.beta) / np.sqrt(error), np.nan)
        hat = (X * np.linalg.solve(X.T @ U, U.T).T).sum(1)
        return {"hat": hat, "weight": 100 * totals / totals.sum(), "rstandard": residual}


@dataclass(frozen=True, eq=False)
class Deletions:
    """The fit to all rows beside those without each group."""

    fitted: Fitted
    groups: Groups
    fits: PartFits

    @property
    def spec(self) -> Spec:
        return self.fitted.spec

    @property
    def code(self) -> IntArray:
        """(n_obs,) group of every observation."""
        return self.groups.of_obs(self.spec)

    @property
    def moved(self) -> FloatArray:
        """(groups, P) coefficients from all rows less those without the group."""
        return self.fitted.beta - self.fits.beta

    def by_observation(self) -> dict[str, FloatArray]:
        """Diagnostics of every observation (n_obs,)."""
        X, code, fits, fitted = self.spec.X, self.code, self.fits, self.fitted
        own = _variances(self.spec, [p[code] for p in fits.psi])
        with np.errstate(divide="ignore", invalid="ignore"):
            error = own + _forms(X, fits.beta_cov[code])
            change = (X * self.moved[code]).sum(1)
            return fitted.of_all_rows() | {
                "rstudent": fitted.residual(fits.beta[code]) / np.sqrt(error),
                "dffits": change / np.sqrt(_forms(X, fitted.cov) * own / fitted.variances),
            }

    def contributions(self) -> tuple[FloatArray, FloatArray]:
        """Of every observation (n_obs,) the squared Pearson residual, and the squared change of its mean without its
        group, in units of the variance of that mean."""
        X, code, fits, fitted = self.spec.X, self.code, self.fits, self.fitted
        change = (X * self.moved[code]).sum(1) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):  # a mean that is known, as at the reference of a dose
            shifted = change / _forms(X, fits.beta_cov[code])
        return fitted.residual(fitted.beta) ** 2 / fitted.variances, shifted

    def by_group(self) -> dict[str, FloatArray]:
        """Diagnostics of every group (groups,) or (groups, P)."""
        fits, moved = self.fits, self.moved
        errors = np.sqrt(np.diagonal(self._covariances_of_all(), axis1=1, axis2=2))
        with np.errstate(invalid="ignore"):
            _, size = np.linalg.slogdet(fits.beta_cov)
        return {
            "cooks_distance": np.einsum("gp,pq,gq->g", moved, np.linalg.inv(self.fitted.cov), moved),
            "cov_ratio": np.exp(size - np.linalg.slogdet(self.fitted.cov)[1]),
            "dfbetas": moved / errors,
            "Q_deleted": fits.Q,
            "chi2": self._chi2(),
            "k": np.bincount(self.code, minlength=self.groups.n),
            "converged": fits.converged,
        }

    def _covariances_of_all(self) -> FloatArray:
        """(groups, P, P) covariance of the coefficients from all rows, at Psi without each group."""
        cov = np.full(self.fits.beta_cov.shape, np.nan)
        known = np.flatnonzero(self.fits.identified)
        step = max(1, 1_000_000 // len(self.spec.y))
        for start in range(0, len(known), step):
            some = known[start : start + step]
            cov[some] = self._with_all_rows(some)
        return cov

    def _with_all_rows(self, some: IntArray) -> FloatArray:
        """The same of some groups: their information is that of the other rows and what these lack."""
        psi, terms = [p[some] for p in self.fits.psi], covariance_terms(self.spec)
        affected = affected_blocks(*terms, self.code != some[:, None])
        if affected is not None:
            lack = changes(affected, self.spec.X, *terms, psi)
            if lack.precise:
                return np.linalg.inv(np.linalg.inv(self.fits.beta_cov[some]) - lack.information)
        return likelihood(self.spec.statistics, psi, restricted=False).beta_cov

    def _chi2(self) -> FloatArray:
        """r'C^-1 r of the residuals r of every group from the fit without it, and their covariance C."""
        spec, fits, n = self.spec, self.fits, len(self.spec.y)
        inside = spec.S.value != 0  # nothing else couples observations of one group, and none of different ones
        S = (spec.S.value[inside], spec.S.row[inside], spec.S.col[inside])
        residual, chi2 = self.fitted.residual(fits.beta[self.code]), np.full(self.groups.n, np.nan)
        for rows in self._members():
            own = self.code[rows[0]]
            between = block_designs([v.Z for v in spec.levels], [v.index for v in spec.levels], rows)
            C = np.array(np.broadcast_to(block_S(S, rows, n), (*rows.shape[:1], *rows.shape, 1)))[..., 0]
            for (z, together), psi in zip(between, fits.psi, strict=True):
                C += np.einsum("ina,nab,jnb->ijn", z, psi[own], z) * together[..., 0]
            X, r = spec.X[rows], residual[rows].T
            C = np.moveaxis(C + np.einsum("inp,npq,jnq->ijn", X, fits.beta_cov[own], X), -1, 0)
            chi2[own] = (r * np.linalg.solve(C, r[..., None])[..., 0]).sum(1)
        return chi2

    def _members(self) -> Iterator[IntArray]:
        """Observations (s, groups) of the identified groups of one size, for every size."""
        code = self.code
        order, size = np.argsort(code, kind="stable"), np.bincount(code, minlength=self.groups.n)
        start = np.cumsum(size) - size
        for s in np.unique(size[self.fits.identified]).tolist():
            chosen = np.flatnonzero((size == s) & self.fits.identified)
            yield order[start[chosen] + np.arange(s)[:, None]]


def _forms(X: FloatArray, cov: FloatArray) -> FloatArray:
    """x'Cx of every row, for one C or one for each."""
    return np.asarray(((X[:, None] @ cov)[:, 0] * X).sum(1))


def _variances(spec: Spec, psi: list[FloatArray]) -> FloatArray:
    """(n_obs,) diagonal of Sigma, at one Psi or at one for each observation."""
    total = spec.S.variances.copy()
    for level, own in zip(spec.levels, psi, strict=True):
        total = total + ((level.Z[:, None] @ own)[:, 0] * level.Z).sum(1)
    return total


def _table(made: Deletions, attrs: Mapping[str, Any]) -> xr.Dataset:
    """The diagnostics over rows and groups; over rows alone where each is left out by itself."""
    spec, groups = made.spec, made.groups
    alone = groups.n == int(spec.kept.sum())
    dim = schema.ROW if alone and not groups.kind else GROUP
    rows, texts = np.flatnonzero(spec.kept), row_labels(spec)
    coords: dict[str, Any] = {schema.ROW: [texts[row] for row in rows], dim: list(groups.names)}
    variables: dict[str, Any] = {name: _over_rows(spec, values) for name, values in made.by_observation().items()}
    for name, values in made.by_group().items():
        variables[name] = ((dim, *[schema.COEF][: values.ndim - 1]), values)
    coords[schema.COEF] = list(spec.coef)
    if schema.OUTCOME in variables["hat"][0]:
        coords[schema.OUTCOME] = list(spec.outcomes)
    if dim == GROUP:
        variables["of"] = (schema.ROW, np.array(groups.names, dtype=object)[groups.codes[rows]])
    variables["reason"] = (dim, np.array(_reasons(made), dtype=object))
    tau2, labels = variances_of(spec, made.fits.psi, dim, "tau2_deleted")
    coords |= labels
    cutoffs = _cutoffs(spec)
    attrs = {"by": groups.kind or "row", **attrs}
    table = xr.Dataset(variables | tau2, coords, {**attrs, **{f"{name}_cutoff": cut for name, cut in cutoffs.items()}})
    return table.assign(influential=_influential(table, dim, cutoffs))


def _over_rows(spec: Spec, values: FloatArray) -> tuple[tuple[str, ...], FloatArray]:
    table = by_row(spec, values)[spec.kept]
    return ((schema.ROW,), table[:, 0]) if table.shape[1] == 1 else ((schema.ROW, schema.OUTCOME), table)


def _reasons(made: Deletions) -> list[str]:
    """Why nothing is known without a group, "" where it is."""
    spec, keep = made.spec, made.groups.without(made.spec)
    return ["" if known else _reason(spec, own) for known, own in zip(made.fits.identified, keep, strict=True)]


def _reason(spec: Spec, keep: BoolArray) -> str:
    try:
        check_rank(spec.X[keep], spec.coef)
    except SpecError as error:
        return str(error).splitlines()[0]
    return "the method cannot fit the other rows"


def _cutoffs(spec: Spec) -> dict[str, float]:
    """What is influential from which value on; Cook's distance by the median of its reference distribution."""
    n, P = spec.X.shape
    free = n - P
    return {
        "dffits": _FACTOR * np.sqrt(P / free) if free else np.nan,
        "hat": _FACTOR * P / n,
        "cooks": float(chdtri(P, 1 - _COOKS)),
        "dfbetas": _DFBETAS,
    }


def _influential(table: xr.Dataset, dim: str, cutoffs: Mapping[str, float]) -> xr.DataArray:
    far = table["cooks_distance"] > cutoffs["cooks"]
    far |= (abs(table["dfbetas"]) > cutoffs["dfbetas"]).any(schema.COEF)
    if dim == schema.ROW:
        own = (abs(table["dffits"]) > cutoffs["dffits"]) | (table["hat"] > cutoffs["hat"])
        far |= own.any(schema.OUTCOME) if schema.OUTCOME in own.dims else own
    return far
