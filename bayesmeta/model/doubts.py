"""Data that look like a mistake: each is fitted as it stands, with a sentence that asks.

Every rule asks rarely of data that are what they are said to be: rules on numbers are likelihood ratios, whose chance
of a false alarm their thresholds bound, and rules on names look for what has no other meaning.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.formula.parse import Parsed
from bayesmeta.measures import MEASURES
from bayesmeta.model.observations import Groups
from bayesmeta.model.spec import Spec

_ERRORS = re.compile(
    r"(?i:(?:^|[._ ])(?:sei?|stderr|std[._ ]?err(?:or)?s?|standard[._ ]errors?)(?:$|[._ ]))|^[A-Za-z]*SE$|^se[A-Z]"
)
_VARIANCES = re.compile(r"(?i)(?:^|[._ ])(?:vi?|var|variances?)(?:$|[._ ])")
_BETTER = 2.0  # log-likelihood by which another reading of the numbers fits better
_TOO_ALIKE = 0.01  # probability of so little scatter
_FEW = 10  # estimates below which the likelihoods of two scales are too close to tell
_NO_LOG = 10.0  # as the logarithm of a ratio this is a ratio of 22,000
_SCARCE = 0.25  # share of groups with several rows, below which most labels identify their row


def of_sampling(S: Any, se: Any, y: FloatArray, X: FloatArray, variances: FloatArray | None) -> list[str]:
    """Sentences about variances that may be standard errors, and the other way round.

    S, se : as the user wrote them.  variances : (n_obs,) where S is diagonal and of one outcome, else None.
    """
    if se is not None:
        names = _named_like(se, _VARIANCES)
        return (
            [f"se={_words(se)}: {_usually(names, 'sampling variances')}; if so, write S={_words(se)}"] if names else []
        )
    if names := _named_like(S, _ERRORS):
        what = _usually(names, "standard errors")
        return [f"S={_words(S)}: {what}, and S takes variances; if so, write se={_words(S)}"]
    neutral = isinstance(S, str) and not _VARIANCES.search(S)
    scatter = _too_alike(y, X, variances) if neutral and variances is not None else ""
    if not scatter:
        return []
    sentence = f"the estimates scatter less than these variances allow ({scatter})"
    return [f"S='{S}': {sentence}; if these are standard errors, write se='{S}'"]


def _words(columns: Any) -> str:
    return repr(columns) if isinstance(columns, str) else repr(list(columns))


def _usually(names: Sequence[str], what: str) -> str:
    return f"{'columns' if len(names) > 1 else 'a column'} named so usually hold{'' if len(names) > 1 else 's'} {what}"


def _named_like(columns: Any, pattern: re.Pattern[str]) -> list[str]:
    """The columns, where all that the user names are called so."""
    names = [columns] if isinstance(columns, str) else columns
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        return []
    return [*names] if all(pattern.search(name) for name in names) else []


def _too_alike(y: FloatArray, X: FloatArray, variances: FloatArray) -> str:
    """Cochran's Q in words, where it is improbably small and squares of the variances fit better; else empty."""
    df = len(y) - X.shape[1]
    if df < 2:
        return ""
    root = np.sqrt(variances)
    residual = y / root - (X / root[:, None]) @ np.linalg.lstsq(X / root[:, None], y / root, rcond=None)[0]
    Q = float(residual @ residual)
    if chdtr(df, Q) > _TOO_ALIKE or _loglik(y, variances**2) - _loglik(y, variances) < _BETTER:
        return ""
    return f"Q = {Q:.2g} on {df} degrees of freedom"


def _loglik(y: FloatArray, variances: FloatArray) -> float:
    """The log-likelihood of a random-effects model without predictors, but for a constant, at the best of some tau2."""
    tau2 = np.concatenate([[0.0], np.geomspace(1e-3, 4, 25)])[:, None] * np.var(y)
    weights = 1 / (variances + tau2)
    mean = (weights @ y) / weights.sum(axis=1)
    return float(np.max(0.5 * np.sum(np.log(weights) - weights * (y - mean[:, None]) ** 2, axis=1)))


def of_scale(measure: str | None, outcome: str, y: FloatArray, variances: FloatArray) -> list[str]:
    """A sentence about ratios that may not be logs: all are positive, and their logs fit better, or they are huge."""
    if measure is None or not MEASURES[measure].is_ratio or not (y > 0).all():
        return []
    gain = _loglik(np.log(y), variances) - np.log(y).sum() - _loglik(y, variances) if len(y) >= _FEW else 0.0
    if gain < _BETTER and y.max() < _NO_LOG:
        return []
    values = f"all {len(y)} values of '{outcome}' are positive ({y.min():.3g} to {y.max():.3g})"
    return [f"measure='{measure}' takes logarithms, but {values}; if they are ratios, write \"log({outcome}) ~ ...\""]


def of_groups(parsed: Parsed, groups: Sequence[Groups], frame: pd.DataFrame, kept: np.ndarray) -> list[str]:
    """A sentence where a few labels of texts occur more than once among rows that all others identify.

    Two papers by one author are one group then. Years that differ confirm it, years that agree speak against it.
    """
    if len(parsed.group_columns) != 1:
        return []
    name, codes = parsed.group_columns[0], groups[0].codes[kept]
    counts = np.bincount(codes[codes >= 0])
    several = np.flatnonzero(counts > 1)
    used = int(np.count_nonzero(counts))
    if not len(several) or len(several) > _SCARCE * used or not _are_texts(frame[name]):
        return []
    years = [c for label, c in frame[kept].items() if "year" in str(label).casefold() and label != name]
    if years and all(years[0][codes == code].nunique() <= 1 for code in several):
        return []
    labels = listing([repr(groups[0].labels[code][-1]) for code in several], 3)
    occur = f"{len(several)} labels occur" if len(several) > 1 else "1 label occurs"
    rows = f"{used} groups of '{name}' for {len(codes)} rows: {occur} more than once ({labels})"
    return [f"{rows} and share a random effect; if they are different studies, name a column that tells them apart"]


def of_few(spec: Spec, observations: str, groups: str) -> list[str]:
    """A sentence where a model has more parameters than the data can say anything about."""
    free = sum(level.n_free for level in spec.levels)
    if not free or len(spec.y) > len(spec.coef) + free:
        return []
    few = (
        f"{len(spec.y)} observed {observations} and {len(spec.coef) + free} parameters: the variances between {groups} "
        'are not to be estimated\n  take psi="diag", bm.fit(spec, method="fixed"), or bm.sample with priors that know '
        "something"
    )
    return [few]


def _are_texts(column: pd.Series) -> bool:
    return all(isinstance(cell, str) and any(c.isalpha() for c in cell) for cell in column.dropna())
