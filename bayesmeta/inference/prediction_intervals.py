"""Prediction intervals of their own kind: t with fewer degrees of freedom than the mean has, and a bootstrap.

Higgins, Thompson and Spiegelhalter (2009), J. R. Stat. Soc. A 172:137-159, section 3.2; Partlett and Riley (2017),
Stat. Med. 36:301-317; Nagashima, Noma and Furukawa (2019), Stat. Methods Med. Res. 28:1689-1702.
"""

from collections.abc import Sequence

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_size
from bayesmeta.errors import SpecError
from bayesmeta.estimation.tau2 import Study, study_of
from bayesmeta.kernel.likelihood import pieces
from bayesmeta.model.spec import Spec

RILEY, RILEY_KNAPP_HARTUNG, NAGASHIMA = "riley", "riley-knapp-hartung", "nagashima"
# what the variance of the mean is that of
OF_THE_MEAN = {RILEY: "z", RILEY_KNAPP_HARTUNG: "knapp-hartung", NAGASHIMA: "z"}
DRAWS = 25_000  # of tau2
_FOR_OTHERS = 'df="riley", or df="satterthwaite"'


def check_predictive(df: str, interval: str | None, vcov: object) -> None:
    """That one of these kinds is asked of a prediction interval with the covariance of the model."""
    if interval != "prediction" or vcov is not None:
        raise SpecError(
            f'df="{df}" is for prediction intervals with the covariance of the model\n'
            '  add interval="prediction" and leave vcov out, or take df="residual"'
        )


def riley_df(spec: Spec, df: str) -> float:
    """Observations less coefficients and parameters of Psi: k - 2 for one mean."""
    free = sum(level.n_free for level in spec.levels)
    if (left := len(spec.y) - len(spec.coef) - free) < 1:
        raise SpecError(
            f'df="{df}": {len(spec.y)} observations leave no degrees of freedom for {len(spec.coef)} coefficients '
            f'and {free} parameters of Psi\n  take df="z"'
        )
    return float(left)


def nagashima(
    spec: Spec, X: FloatArray, prob: float, draws: int, seed: int | Sequence[int] | None
) -> tuple[FloatArray, FloatArray]:
    """Bounds (rows,) of the true effects of new studies with designs X (rows, P), offset left out.

    tau2 is drawn from its confidence distribution, then the mean as by Knapp and Hartung about the estimate at this
    tau2, then the effect of a new study about the mean.
    """
    study = study_of(spec, f'df="{NAGASHIMA}"', _FOR_OTHERS, f"take {_FOR_OTHERS}")
    n, P = study.X.shape
    check_size(8.0 * draws * (n + P + len(X)), f"{draws:,} draws of {n} studies and {len(X)} predictions")
    rng = np.random.default_rng(seed)
    tau2 = confident_tau2(study, draws, rng)
    z, t = rng.normal(size=draws), rng.standard_t(study.df, draws)
    start = np.linalg.lstsq(study.X, study.y, rcond=None)[0]  # estimates are changes from here, which keeps digits
    away, crossed = study.y - study.X @ start, (study.X[:, :, None] * study.X[:, None, :]).reshape(n, P * P)
    new = np.empty((draws, len(X)))
    for part in pieces(draws, n + P * P + len(X)):
        w = 1 / (study.v + tau2[part, None])
        Phi = np.linalg.inv((w @ crossed).reshape(-1, P, P))
        change = np.einsum("bpq,bq->bp", Phi, (w * away) @ study.X)
        factor = (w * (away - change @ study.X.T) ** 2).sum(1) / study.df
        se = np.sqrt(factor[:, None] * np.einsum("rp,bpq,rq->br", X, Phi, X))
        new[part] = change @ X.T + (z[part] * np.sqrt(tau2[part]))[:, None] - t[part, None] * se
    lower, upper = np.quantile(new, [0.5 - prob / 2, 0.5 + prob / 2], axis=0)
    return X @ start + lower, X @ start + upper


def confident_tau2(study: Study, draws: int, rng: np.random.Generator) -> FloatArray:
    """Draws (draws,) from the confidence distribution P(Q > q) over tau2, for Cochran's Q with the observed value q.

    Q = y'Ay is distributed as sum_j (1 + a_j tau2) chi2_j with the n - P eigenvalues a_j of A that are not zero, since
    AVA = A for the sampling variances V. It rises with tau2 whatever the chi2_j, so that the tau2 at which it equals q
    has that distribution; zero where it exceeds q already there.
    """
    at_zero = study.rows.at_zero
    A = np.diag(at_zero.w[:, 0])
    for one in at_zero.basis:
        A -= one.weighted @ one.weighted.T / one.size
    a = np.linalg.eigvalsh(A)[study.X.shape[1] :]
    tau2 = np.empty(draws)
    for part in pieces(draws, len(a)):
        chi2 = rng.chisquare(1.0, (len(tau2[part]), len(a)))
        tau2[part] = np.maximum(at_zero.rss[0] - chi2.sum(1), 0.0) / (chi2 @ a)
    return tau2
