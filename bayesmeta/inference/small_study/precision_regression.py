"""The regression of effects on a measure of their precision, which tests and extrapolations share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.errors import SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.inference.adjusted import Constant, residual_df
from bayesmeta.inference.reference import MODEL as MODEL_COVARIANCE
from bayesmeta.inference.reference import Reference, Tests, Vcov, reference_of_fit
from bayesmeta.inference.small_study.evidence import (
    Evidence,
    alone,
    refitted,
    result,
    total_size,
    with_column,
)
from bayesmeta.model.spec import Spec
from bayesmeta.tree.row_labels import ByRow

type Predictor = Literal["se", "variance", "n", "inverse_n"]
type Model = Literal["ols", "mixed"]
PREDICTORS = ("se", "variance", "n", "inverse_n")
MODELS = ("ols", "mixed")
LABELS = {
    "se": "standard error",
    "variance": "sampling variance",
    "n": "number of participants",
    "inverse_n": "1 / number of participants",
}
_BY_SE = 'vcov="CR2" keeps groups together, or model="mixed" takes the model of the tree'


@dataclass(frozen=True)
class Line:
    """A regression of effects on a measure of their precision.

    used : covariance and reference of its coefficients, the predictor's last.  at_limit : (P,) contrast of the
    coefficients that is the effect where the predictor is zero; None where that is no limit, or not one effect.
    """

    of: Evidence
    used: Reference
    at_limit: FloatArray | None
    model: str
    predictor: str

    @property
    def slope(self) -> Tests:
        contrast = np.zeros((1, len(self.used.beta)))
        contrast[0, -1] = 1.0
        return self.used.each(contrast)

    @property
    def limit(self) -> Tests:
        contrast = np.full((1, len(self.used.beta)), np.nan) if self.at_limit is None else self.at_limit[None]
        return self.used.each(contrast)

    def attrs(self, prob: float) -> dict[str, object]:
        return self.of.attrs(predictor=self.predictor, model=self.model, prob=prob, **self.used.attrs)


def line(
    of: Evidence,
    name: str,
    values: FloatArray,
    model: str | None,
    vcov: Vcov | None,
    df: str | None,
    is_limit: bool = True,
) -> Line:
    """The regression that arguments ask for, on values (n,) of a measure of precision.

    is_limit : whether the measure is zero for a study without error.
    """
    of.check_unequal(values, f"the predictor {name}")
    dependence = of.dependence
    chosen = ("mixed" if dependence else "ols") if model is None else check_choice(model, MODELS, "model")
    if chosen == "ols":
        if dependence and vcov is None:
            raise SpecError(f'{of.what}: model="ols" takes effects as independent, but {dependence}\n  {_BY_SE}')
        X = np.column_stack([of.X, values])
        used = least_squares(of, X, of.y, of.v, vcov, df)
        at = np.append(of.X[0], 0.0)
    else:
        spec = with_column(of, free_name(of.spec, name), values)
        used = reference_of_fit(refitted(of, spec), vcov, df, of.what)
        at = np.append(of.spec.X[of.obs[0]], 0.0)
    return Line(of, used, at if is_limit and of.intercept_alone else None, chosen, name)


def least_squares(
    of: Evidence, X: FloatArray, y: FloatArray, v: FloatArray, vcov: Vcov | None, df: str | None
) -> Reference:
    """Weighted least squares with weights 1 / v, their residual variance estimated, or with a sandwich."""
    if df is not None and vcov is None:
        raise SpecError(
            f'{of.what}: df="{df}" is for model="mixed" or a sandwich; the t of least squares has its own'
            '\n  leave df= out, or say model="mixed"'
        )
    spec = alone(of, X, [f"x{j}" for j in range(X.shape[1])], y, v)
    residual = residual_df(spec)
    if vcov is not None:
        return reference_of_fit(fit(spec, "fixed", random_effects=False), vcov, df, of.what)
    root = 1 / np.sqrt(v)
    basis, R = np.linalg.qr(root[:, None] * X)
    beta = np.linalg.solve(R, basis.T @ (root * y))
    inverse = np.linalg.inv(R)
    scale = float(((root * (y - X @ beta)) ** 2).sum()) / residual
    return Reference(MODEL_COVARIANCE, "residual", beta, scale * inverse @ inverse.T, Constant(residual))


def tested(made: Line, prob: float) -> xr.Dataset:
    """The result of a test for asymmetry."""
    slope, limit = made.slope, made.limit
    lower, upper = limit.bounds(prob)
    numbers = {
        **{name: float(getattr(slope, name)[0]) for name in ("estimate", "se", "statistic", "df", "pvalue")},
        "limit": float(limit.estimate[0]),
        "limit_lower": float(lower[0]),
        "limit_upper": float(upper[0]),
        "k": made.of.n,
    }
    return result(numbers, made.attrs(prob))


def precision_values(of: Evidence, predictor: str, n: ByRow | None) -> FloatArray:
    """A measure of precision."""
    if predictor in ("se", "variance"):
        if n is not None:
            raise SpecError(f'n is for predictor="n" and "inverse_n", not for "{predictor}"; leave it out')
        return np.sqrt(of.v) if predictor == "se" else of.v
    total = total_size(of, n)
    return total if predictor == "n" else 1 / total


def free_name(spec: Spec, name: str) -> str:
    """A name that no coefficient has."""
    taken: Sequence[str] = spec.coef
    while name in taken:
        name += "_"
    return name


def as_one_level(of: Evidence, y: FloatArray, v: FloatArray) -> Evidence:
    """The same studies with other effects, in the model of the tree."""
    every = np.arange(of.n)
    S = replace(of.spec.S, value=v, row=every, col=every)
    spec = replace(of.spec, y=y, offset=np.zeros(of.n), S=S)
    return replace(of, spec=spec, obs=every)
