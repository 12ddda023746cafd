"""Reference distributions of the fixed part that rest on the model: t with some degrees of freedom, and corrections."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import xarray as xr
from scipy.special import chdtri

from bayesmeta import kernel
from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_of
from bayesmeta.estimation.tau2 import study_of
from bayesmeta.kernel.small_sample import SmallSample
from bayesmeta.kernel.weighting import Weighting
from bayesmeta.model.spec import Spec
from bayesmeta.tree.parameters import free_of_levels
from bayesmeta.tree.specification import group, spec_from_tree


class NoTestError(Exception):
    """There is no test of these contrasts, for the reason in the message."""


class Calibration(ABC):
    """Reference distribution of contrasts of the coefficients."""

    @abstractmethod
    def single(self, contrast: FloatArray) -> float:
        """Degrees of freedom of t for one contrast (P,), infinite for the normal distribution."""

    def each(self, contrasts: FloatArray) -> FloatArray:
        """Degrees of freedom (q,) of contrasts (q, P) one by one, NaN where there is no test."""
        return np.array([self._or_none(c) for c in contrasts], dtype=float)

    def _or_none(self, contrast: FloatArray) -> float:
        try:
            return self.single(contrast) if np.isfinite(contrast).all() else np.nan
        except NoTestError:
            return np.nan

    @abstractmethod
    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        """Denominator degrees of freedom of F for contrasts (P, q), and the factor of the Wald statistic over q."""


class Constant(Calibration):
    """The same degrees of freedom for all contrasts; infinite for the normal distribution, and chi-squared ones."""

    def __init__(self, df: float) -> None:
        self.df = df

    def single(self, contrast: FloatArray) -> float:
        return self.df

    def each(self, contrasts: FloatArray) -> FloatArray:
        return np.where(np.isfinite(contrasts).all(1), self.df, np.nan)

    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        return self.df, 1.0


Adjusted = tuple[FloatArray, Calibration]  # covariance of the coefficients, and their distribution
SECOND_ORDER, SCALED = "kenward-roger-second-order", "satterthwaite-scaled"
_LEAST_AGREEMENT = 0.25
_NEARLY = 1e-12
_ZERO = 1e-6  # differences of numbers of the size of one, which the search for Psi gives some eight digits


def residual_df(spec: Spec) -> int:
    """Observations less coefficients.

    Raises
    ------
    SpecError
        When none are left.
    """
    n, P = spec.X.shape
    if n <= P:
        raise SpecError(
            f'{n} observations and {P} coefficients leave no degrees of freedom for a t distribution\n  take df="z"'
        )
    return n - P


def _residual(tree: xr.DataTree) -> Adjusted:
    spec = spec_from_tree(tree)
    return _model_cov(tree), Constant(residual_df(spec))


def _containment(tree: xr.DataTree) -> Adjusted:
    return _model_cov(tree), Containment(spec_from_tree(tree))


class Containment(Calibration):
    """For each coefficient the fewest groups of a level within which its column of X is constant, less P.

    n - P where it is constant within the groups of none; the least of its coefficients for a contrast, as in metafor.
    """

    def __init__(self, spec: Spec) -> None:
        own = np.full(len(spec.coef), float(residual_df(spec)))
        for level in spec.levels:
            if level.dim:
                low, high = (np.full((level.n_groups, len(own)), end) for end in (np.inf, -np.inf))
                np.minimum.at(low, level.index, spec.X)
                np.maximum.at(high, level.index, spec.X)
                constant = (high - low <= _NEARLY * np.abs(spec.X).max(0)).all(0)
                own = np.where(constant, np.minimum(own, level.n_groups - len(own)), own)
        self.df, self.coef = own, spec.coef

    def single(self, contrast: FloatArray) -> float:
        least = int(np.argmin(np.where(contrast != 0, self.df, np.inf)))
        if self.df[least] <= 0:
            raise NoTestError(f"coefficient '{self.coef[least]}' has no more groups than the model has coefficients")
        return float(self.df[least])

    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        return self.single(np.abs(contrasts).sum(1)), 1.0


def _knapp_hartung(shrinks: bool) -> Callable[[xr.DataTree], Adjusted]:
    """Knapp and Hartung (2003), Stat. Med. 22:2693-2710: the mean square of the weighted residuals as a factor.

    shrinks : whether a factor below one is used, or taken as one.
    """

    def adjust(tree: xr.DataTree) -> Adjusted:
        spec = spec_from_tree(tree)
        name = "knapp-hartung" if shrinks else "knapp-hartung-adhoc"
        several = 'df="satterthwaite" or df="kenward-roger"'
        study = study_of(spec, f'df="{name}"', several, f"take {several}")
        estimate = group(tree, schema.ESTIMATE)
        psi = estimate[schema.psi(spec.levels[0].name)].to_numpy()
        factor = study.Q(float(psi.item())) / study.df
        return _model_cov(tree) * (factor if shrinks else max(1.0, factor)), Constant(study.df)

    return adjust


def _satterthwaite(tree: xr.DataTree) -> Adjusted:
    terms = _terms(tree, "satterthwaite")
    return terms.cov, Satterthwaite(terms)


def _satterthwaite_scaled(tree: xr.DataTree) -> Adjusted:
    """Knapp and Hartung's factor for any model (Jackson and Riley 2014, Stat. Med. 33:541-554), bounded below.

    Satterthwaite's intervals are too wide where variances are estimated at zero, which shows in the factor. Effects
    that agree by chance would make it absurdly small, so it stays above its lower quartile where effects do not vary.
    """
    spec, at_psi = spec_from_tree(tree), _weighting(tree)
    terms, df = _terms(tree, SCALED, at_psi), residual_df(spec)
    residual = (spec.y - spec.offset - spec.X @ group(tree, schema.ESTIMATE)["beta"].to_numpy())[:, None]
    mean_square = float((residual * at_psi(residual)).sum()) / df
    least = float(chdtri(df, 1 - _LEAST_AGREEMENT)) / df
    return terms.cov * max(least, mean_square), Satterthwaite(terms)


def _kenward_roger(tree: xr.DataTree) -> Adjusted:
    terms = _terms(tree, "kenward-roger")
    return terms.adjusted, KenwardRoger(terms)


def _second_order(tree: xr.DataTree) -> Adjusted:
    terms = _terms(tree, SECOND_ORDER, second_order=True)
    if np.linalg.eigvalsh(terms.adjusted)[0] <= 0:
        raise SpecError(
            f'df="{SECOND_ORDER}": the corrected covariance of the coefficients is not positive definite\n'
            '  take df="kenward-roger", which leaves second derivatives of Psi out'
        )
    return terms.adjusted, KenwardRoger(terms)


def _terms(tree: xr.DataTree, df: str, at_psi: Weighting | None = None, second_order: bool = False) -> SmallSample:
    method = method_of(tree)
    if method.likelihood != "restricted":
        raise SpecError(
            f'df="{df}" is for fits by REML, this one is by {method.short}\n'
            '  fit with method="reml", or take df="residual" or vcov="CR2"'
        )
    spec, estimate = spec_from_tree(tree), group(tree, schema.ESTIMATE)
    xi, place = estimate["xi"].to_numpy(), free_of_levels(tree)
    levels = [(level.structure, xi[place[level.name]], level.dim) for level in spec.levels]
    slopes = [structure.variance_slopes(own, dim) if dim else np.zeros((0, 0, 0)) for structure, own, dim in levels]
    bends = [structure.variance_bends(own, dim) if dim else np.zeros((0, 0, 0, 0)) for structure, own, dim in levels]
    at_psi, cov = at_psi or _weighting(tree), _model_cov(tree)
    return kernel.small_sample(spec.X, spec.statistics, at_psi, cov, slopes, bends if second_order else None)


def _weighting(tree: xr.DataTree) -> Weighting:
    spec, estimate = spec_from_tree(tree), group(tree, schema.ESTIMATE)
    return weighting_of(spec, [estimate[schema.psi(level.name)].to_numpy() for level in spec.levels])


def weighting_of(spec: Spec, psi: list[FloatArray]) -> Weighting:
    """The inverse marginal covariance of a specification at one Psi of every level."""
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    return kernel.weighting(Z, index, (spec.S.value, spec.S.row, spec.S.col), psi)


def _model_cov(tree: xr.DataTree) -> FloatArray:
    return group(tree, schema.ESTIMATE)["beta_cov"].to_numpy()


class Satterthwaite(Calibration):
    """Degrees of freedom that give the estimated variance of a contrast the right variance.

    Several contrasts: Fai and Cornelius (1996), J. Stat. Comput. Simul. 54:363-378.
    """

    def __init__(self, terms: SmallSample) -> None:
        self.terms = terms

    def single(self, contrast: FloatArray) -> float:
        (df,) = self.each(contrast[None])
        if np.isnan(df):
            raise NoTestError(_NOT_IDENTIFIED)
        return float(df)

    def each(self, contrasts: FloatArray) -> FloatArray:
        variance, moved, known = self.terms.variances(contrasts)
        spread = np.einsum("rq,rs,sq->q", moved, self.terms.theta_cov, moved)
        uncertain = spread > _NEARLY * variance**2
        df = np.where(uncertain, 2 * variance**2 / np.where(uncertain, spread, 1.0), np.inf)
        return np.where(known, df, np.nan)

    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        q = contrasts.shape[1]
        if q == 1:
            return self.single(contrasts[:, 0]), 1.0
        axes = np.linalg.eigh(contrasts.T @ self.terms.cov @ contrasts)[1]
        nu = np.array([self.single(c) for c in (contrasts @ axes).T])
        if np.isinf(nu).all():
            return np.inf, 1.0
        large = nu[nu > 2]
        E = float(np.where(np.isinf(large), 1.0, large / (np.where(np.isinf(large), 3.0, large) - 2)).sum())
        if q >= E:
            raise NoTestError(f"the {q} contrasts have too few degrees of freedom: {', '.join(f'{v:.2g}' for v in nu)}")
        return 2 * E / (E - q), 1.0


class KenwardRoger(Satterthwaite):
    """The corrected covariance, and the scaled F distribution whose first two moments are right.

    m and lambda are written without the divisions by zero of the original at m = 2 and m = 4.
    """

    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        q, terms = contrasts.shape[1], self.terms
        if q == 1:
            return self.single(contrasts[:, 0]), 1.0
        if not terms.identified(contrasts):
            raise NoTestError(_NOT_IDENTIFIED)
        moved = np.linalg.solve(contrasts.T @ terms.cov @ contrasts, terms.changes(contrasts))
        traces = np.trace(moved, axis1=1, axis2=2)
        A1 = float(traces @ terms.theta_cov @ traces)
        A2 = float(np.einsum("rs,rij,sji->", terms.theta_cov, moved, moved))
        if A2 <= _NEARLY:
            return np.inf, 1.0
        m, scale = moments_of_f(q, A1, A2)
        if not (m > 0 and scale > 0):
            raise NoTestError(f"no F distribution fits the {q} contrasts: df {m:.2g}, factor {scale:.2g}")
        return m, scale


def moments_of_f(q: int, A1: float, A2: float) -> tuple[float, float]:
    """m and lambda with lambda F ~ F(q, m), from the sums of Kenward and Roger (1997), section 3."""
    B = (A1 + 6 * A2) / (2 * q)
    g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    h = 3 * q + 2 * (1 - g)
    c1, c2, c3 = g / h, (q - g) / h, (q + 2 - g) / h
    over, under = 1 - A2 / q, 1 - c2 * B
    r = 1.0 if max(abs(over), abs(under)) < _ZERO else over / under
    a, d = r**2 * (1 + c1 * B), 1 - c3 * B
    m = (4 * a + (q - 2) * d) / (a - d)
    below = 2 * a + q * d
    if max(abs(over), abs(below)) < _ZERO:  # m = 2, where both vanish together
        return m, 1 - B * (q - 2 - g) / h
    return m, over * (4 * a + (q - 2) * d) / below


_NOT_IDENTIFIED = "its variance rests on a variance between groups that the data cannot tell from the fixed part"


KINDS: dict[str, Callable[[xr.DataTree], Adjusted]] = {
    "residual": _residual,
    "containment": _containment,
    "satterthwaite": _satterthwaite,
    SCALED: _satterthwaite_scaled,
    "kenward-roger": _kenward_roger,
    SECOND_ORDER: _second_order,
    "knapp-hartung": _knapp_hartung(shrinks=True),
    "knapp-hartung-adhoc": _knapp_hartung(shrinks=False),
}
