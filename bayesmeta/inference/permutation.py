"""Permutation tests of coefficients: predictors exchanged between studies, or signs of effects, and all refitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_boolean, check_choice, check_count, check_seed, check_size, listing
from bayesmeta.errors import AssumptionWarning, ConvergenceWarning, SpecError, warn
from bayesmeta.estimation.fit_many import BLOCK
from bayesmeta.estimation.many_designs import ManyFits, fit_designs
from bayesmeta.estimation.methods import Method, method_of
from bayesmeta.estimation.parallel import check_jobs, in_order
from bayesmeta.estimation.units import one_effect_a_row
from bayesmeta.inference.arrangements import Arrangements, exchanges, signs
from bayesmeta.inference.contrasts import of_terms
from bayesmeta.inference.moderators import omnibus_contrasts
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group, reading_once, spec_from_tree

MOST_EXACT = 5000
STATISTICS = ("wald", "knapp-hartung")
_EQUAL = 1e-6  # relative difference of statistics that are the same: refits are known to some eight digits


def permutation_test(
    tree: xr.DataTree,
    terms: str | list[str] | None = None,
    *,
    draws: int | None = None,
    statistic: Literal["wald", "knapp-hartung"] = "wald",
    random_seed: int | Sequence[int] | None = None,
    n_jobs: int = 1,
    progress: bool = False,
) -> xr.Dataset:
    """Test coefficients by fitting the model again to all arrangements of the predictors, or to many of them.

    If predictors make no difference, their values could as well belong to other studies: the p value is the share of
    arrangements whose statistic is no smaller than the observed one. In a model without predictors the signs of the
    effects are exchanged instead, which supposes that effects are symmetric about zero.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`, by any method.
    terms : str or list of str, optional
        Terms or coefficients of the fixed part that are tested, together and one by one; only their values are
        exchanged, and the other predictors stay. By default all predictors, whose values move together.
    draws : int, optional
        Most arrangements, 5,000 by default. Where there are no more, all are used and the test is exact; otherwise so
        many are drawn.
    statistic : {"wald", "knapp-hartung"}, default "wald"
        Of the coefficients: estimate over standard error, or over that of Knapp and Hartung, for one random effect a
        row.
    random_seed : int or sequence of int, optional
        Whatever `numpy.random.SeedSequence` takes.
    n_jobs : int, default 1
        Number of processes, -1 for one on every processor. The results do not depend on it.
    progress : bool, default False
        Whether a progress bar is shown.

    Returns
    -------
    Dataset
        Of all tested coefficients together `statistic` (chi-squared, or F) and `pvalue`; over `coef`, of each,
        `coef_statistic` (z, or t) and `coef_pvalue`. Attributes: `exact`; `draws`, the arrangements that were used;
        `arrangements`, how many there are (inf beyond 1e15); `exchanged`, what was.

    Raises
    ------
    SpecError
        When the tree is a posterior, a term is unknown or constant, predictors of several kinds would have to be
        exchanged in different ways, or a term has random slopes.

    Warns
    -----
    AssumptionWarning
        When there are fewer arrangements than `draws` asks for, or so few that no p value could be below 0.05.
    ConvergenceWarning
        When refits fail, which are left out.

    Notes
    -----
    Groups stay together. The signs of a group of the outer level change together. A predictor that is constant within
    the groups of a level is exchanged between its groups, and one that varies within all levels between the rows of a
    group, so that dependent effects are never torn apart. In a model with predictors the p value of the intercept is
    that of the same arrangements.

    Effects that are exchanged have their own sampling variances. A predictor that is tied to these, as standard errors
    are, is no exchangeable one, and its test is conservative; see docs/small_study.md.

    With the observed arrangement among those that are drawn, no p value is zero (Phipson and Smyth 2010, Stat. Appl.
    Genet. Mol. Biol. 9:39).

    References
    ----------
    Higgins and Thompson (2004), Stat. Med. 23:1663-1682; Follmann and Proschan (1999), Biometrics 55:732-737, for the
    signs.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg").head(6)
    >>> fit = bm.fit(bm.specify("logor ~ ablat", bcg, S="logorvar"))
    >>> test = bm.permutation_test(fit)
    >>> test["pvalue"].round(4).item(), test.attrs["exact"], test.attrs["draws"]
    (0.0389, 1, 360)
    """
    check_choice(statistic, STATISTICS, "statistic")
    check_seed(random_seed)
    check_boolean(progress, "progress")
    check_jobs(n_jobs)
    most = MOST_EXACT if draws is None else check_count(draws, "draws")
    if is_posterior(tree):
        raise SpecError("permutation_test is for fits by bm.fit; of a posterior ask for intervals: bm.estimates(tree)")
    with reading_once():
        model = _model(tree, terms, statistic)
    check_size(8.0 * most * model.X.size, f"{most:,} designs of {model.X.shape[0]:,} observations")
    exact = model.arrangements.count <= most
    if exact and draws is not None and draws > model.arrangements.count:
        warn(
            f"permutation_test: draws={draws}, but there are {model.arrangements.count} distinct arrangements, all of "
            "which are used",
            AssumptionWarning,
        )
    chosen = model.arrangements.all() if exact else model.arrangements.drawn(most, np.random.default_rng(random_seed))
    least = model.arrangements.alike / len(chosen) if exact else 1 / (len(chosen) + 1)
    if least >= 0.05:
        warn(f"permutation_test: {len(chosen)} arrangements have no p value below {least:.2g}", AssumptionWarning)
    return model.tested(chosen, exact, n_jobs, progress)


@dataclass(frozen=True, eq=False)
class _Permuted:
    """A model whose predictors or signs are exchanged.

    y (n_obs,) less the offset; X (n_obs, P).  contrasts : (q, P) that are tested together.  coef : positions of the
    coefficients that are tested one by one.
    """

    spec: Spec
    method: Method
    psi: tuple[FloatArray, ...]
    y: FloatArray
    X: FloatArray
    contrasts: FloatArray
    coef: IntArray
    arrangements: Arrangements
    statistic: str

    def tested(self, chosen: IntArray, exact: bool, n_jobs: int, progress: bool) -> xr.Dataset:
        """The result from arrangements (B, items)."""
        together, each, _ = self._statistics(*self._data(self.arrangements.observed[None]))
        size = max(1, BLOCK // max(1, len(self.y)))
        pieces = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        parts = list(in_order(self._of_piece, pieces, n_jobs, progress, "arrangements"))
        joint, single, usable = (np.concatenate(part) for part in zip(*parts, strict=True))
        if failed := int((~usable).sum()):
            warn(f"{failed} of {len(chosen)} arrangements could not be fitted and are left out", ConvergenceWarning)
        more = np.abs(single[usable]) >= np.abs(each) * (1 - _EQUAL)
        shares = [_share(joint[usable] >= together * (1 - _EQUAL), exact), _share(more, exact)]
        count = self.arrangements.count
        return xr.Dataset(
            {
                "statistic": float(together[0]),
                "pvalue": float(shares[0]),
                "coef_statistic": (schema.COEF, each[0]),
                "coef_pvalue": (schema.COEF, shares[1]),
            },
            {schema.COEF: pd.Index([self.spec.coef[c] for c in self.coef], dtype=object)},
            {
                "exact": int(exact),
                "draws": len(chosen),
                "arrangements": float(count),
                "exchanged": self.arrangements.words,
                "reference": self.statistic,
            },
        )

    def _of_piece(self, chosen: IntArray) -> tuple[FloatArray, FloatArray, Any]:
        return self._statistics(*self._data(chosen))

    def _data(self, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        """Effects (B, n_obs) and designs (B, n_obs, P) of arrangements."""
        return self.arrangements.data(self.y, self.X, chosen)

    def _statistics(self, y: FloatArray, X: FloatArray) -> tuple[FloatArray, FloatArray, Any]:
        """Statistics of all contrasts together (B,) and of every coefficient (B, p), and which fits are usable (B,)."""
        fits = fit_designs(self.spec, y, X, self.method, self.psi)
        factor, q = self._factor(fits), len(self.contrasts)
        beta = fits.beta @ self.contrasts.T
        cov = self.contrasts @ fits.cov @ self.contrasts.T
        wald = (beta * np.linalg.solve(cov, beta[..., None])[..., 0]).sum(1)
        se = np.sqrt(np.diagonal(fits.cov, axis1=1, axis2=2) * factor[:, None])
        joint = wald if self.statistic == STATISTICS[0] else wald / (q * factor)
        return joint, (fits.beta / se)[:, self.coef], fits.usable

    def _factor(self, fits: ManyFits) -> FloatArray:
        """Knapp and Hartung's factor (B,) of the covariance, or one."""
        if self.statistic == STATISTICS[0]:
            return np.ones(len(fits.rss))
        return np.asarray(fits.rss / (self.X.shape[0] - self.X.shape[1]))


def _share(more: Any, exact: bool) -> Any:
    """The share of arrangements; the observed one is among all, and one more beside those that are drawn."""
    return more.mean(0) if exact else (more.sum(0) + 1) / (len(more) + 1)


def _model(tree: xr.DataTree, terms: str | list[str] | None, statistic: str) -> _Permuted:
    spec = spec_from_tree(tree)
    if statistic != STATISTICS[0] and (not one_effect_a_row(spec) or len(spec.y) <= len(spec.coef)):
        raise SpecError(
            f'permutation_test: statistic="{statistic}" is for one random effect for each row of one outcome, and more '
            'rows than coefficients\n  take statistic="wald"'
        )
    estimate = group(tree, schema.ESTIMATE)
    psi = tuple(estimate[schema.psi(level.name)].to_numpy() for level in spec.levels)
    contrasts = omnibus_contrasts(tree) if terms is None else of_terms(spec, terms).matrix
    tested = np.arange(len(spec.coef)) if terms is None else np.flatnonzero(contrasts.any(axis=0))
    values = _values_of_rows(spec)
    moving = np.flatnonzero(np.nanmax(np.ptp(values, axis=0), axis=0) > 0)
    arrangements: Arrangements
    if not len(moving):
        arrangements = signs(spec)
        tested = np.arange(len(spec.coef)) if terms is None else tested
    else:
        moved = moving if terms is None else np.intersect1d(tested, moving)
        _check_moved(spec, tested if terms is not None else moved, moving)
        arrangements = exchanges(spec, values, moved)
    return _Permuted(
        spec, method_of(tree), psi, spec.y - spec.offset, spec.X, contrasts, tested, arrangements, statistic
    )


def _values_of_rows(spec: Spec) -> FloatArray:
    """(rows, k, P) the design of every outcome in every row of the model, whether it is observed there or not."""
    values = spec.design.fixed(spec.data.loc[spec.kept])
    unit = (np.cumsum(spec.kept) - 1)[spec.row]
    if not np.allclose(values[unit, spec.outcome_index], spec.X, rtol=1e-9, atol=1e-12):
        raise SpecError(
            "permutation_test: the design of this model is not a function of the columns of single rows"
            "\n  leave out terms that depend on other rows, or take bm.wald_test"
        )
    return values


def _check_moved(spec: Spec, tested: IntArray, moving: IntArray) -> None:
    """That every tested coefficient has values to exchange, and no random slopes go with them."""
    if len(still := np.setdiff1d(tested, moving)):
        raise SpecError(
            f"terms: {listing(spec.coef[c] for c in still)} is the same in all rows, so nothing can be exchanged\n"
            "  leave terms out for all predictors, or test the mean in a model without predictors"
        )
    for level in spec.levels:
        for j in range(len(spec.outcomes)):
            Z = level.Z[spec.outcome_index == j]
            if Z.size and np.ptp(Z, axis=0).max() > 0:
                raise SpecError(
                    f"permutation_test: level '{level.name}' has random slopes, which do not move with the predictors\n"
                    '  bm.wald_test(tree, vcov="CR2", bootstrap="wild") tests their coefficients'
                )
