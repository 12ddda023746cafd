"""Importance draws of one posterior for many priors: each is reweighted from the draws of an anchor near it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.bayes import importance
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.importance import SCRAMBLES, Importance, NotIntegratedError, tail_shape
from bayesmeta.bayes.shared_points import SharedPoints
from bayesmeta.model.spec import Spec
from bayesmeta.priors.model_priors import ModelPriors

MOST_K = 0.7  # Pareto k of reweighted draws, whose weights nothing bounds
APART = 4.0  # standard errors between two anchors that contradict each other
SLIGHT = 0.01  # difference of log marginal likelihoods that contradicts nothing


@dataclass(frozen=True, eq=False)
class Reweighted:
    """What the draws of an anchor say under many priors; all arrays are (cells,) but the weights (cells, n)."""

    shared: SharedPoints
    log: FloatArray
    error: FloatArray
    effective: FloatArray
    largest: FloatArray
    shape: FloatArray
    weight: FloatArray

    @property
    def served(self) -> BoolArray:
        good = (self.effective >= importance.EFFECTIVE) & (self.largest <= importance.LARGEST)
        return np.asarray(good & (self.error <= importance.ERROR) & (self.shape <= MOST_K))


@dataclass(frozen=True, eq=False)
class Anchored:
    """Every prior with the draws that serve it best.

    anchors : in the order they were made; anchor (cells,) : which one, -1 where none serves, with the `reasons`.
    """

    anchors: tuple[Reweighted, ...]
    owners: tuple[int, ...]
    anchor: np.ndarray
    reasons: dict[int, str]


def integrate(spec: Spec, cells: Sequence[ModelPriors], seed: int) -> Anchored:
    """All posteriors from the draws of as few anchors as serve them: those of the first prior, then of the worst."""
    anchors: list[Reweighted] = []
    owners: list[int] = []
    reasons: dict[int, str] = {}
    best, score = np.full(len(cells), -1), np.zeros(len(cells))
    pending = [0]
    while pending:
        owner = pending.pop(0)
        try:
            own = importance.integrate(Evaluator(spec, cells[owner]), seed)
        except NotIntegratedError as reason:
            reasons[owner] = str(reason)
        else:
            made = reweighted(own, cells, owner)
            better = made.served & (made.effective > score)
            contradicted = _contradicted(anchors, made) if anchors else np.zeros(len(cells), bool)
            best[better], score[better] = len(anchors), made.effective[better]
            best[owner], score[owner] = len(anchors), np.inf
            anchors.append(made)
            owners.append(owner)
            contradicted[[*owners, *reasons]] = False
            best[contradicted], score[contradicted] = -1, np.inf  # nothing but draws of their own serves these
        left = np.setdiff1d(np.flatnonzero(best < 0), [*owners, *reasons])
        if not pending and len(left):
            reach = np.max([a.effective[left] for a in anchors], axis=0) if anchors else np.zeros(len(left))
            pending.append(int(left[reach.argmin()]))
    return Anchored(tuple(anchors), tuple(owners), best, reasons)


def _contradicted(anchors: Sequence[Reweighted], new: Reweighted) -> BoolArray:
    """Priors under which two anchors, of which either is thought to serve, say different things."""
    disagree = np.zeros(len(new.log), bool)
    for old in anchors:
        apart = np.abs(old.log - new.log) > APART * np.hypot(old.error, new.error) + SLIGHT
        disagree |= old.served & new.served & apart
    return disagree


def reweighted(own: Importance, cells: Sequence[ModelPriors], owner: int) -> Reweighted:
    """The draws of one posterior under all priors."""
    evaluator, n = own.evaluator, len(own.points)
    bare = SharedPoints(evaluator, own.points, np.zeros(n))
    with np.errstate(invalid="ignore"):
        volume = own.log_weight - np.log(n) - own.points.loglik - bare.log_prior(cells[owner])
    shared = replace(bare, log_volume=np.where(np.isfinite(volume), volume, -np.inf))
    log = shared.log_weights(cells)
    highest = log.max(1, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    weight = np.exp(log - highest)
    total = weight.sum(1, keepdims=True)
    with np.errstate(all="ignore"):
        weight = weight / total
        effective, largest = 1 / (weight**2).sum(1), weight.max(1)
        each = weight.reshape(len(cells), SCRAMBLES, -1).sum(2) * SCRAMBLES
        between = each.std(1, ddof=1) / np.sqrt(SCRAMBLES)
        error = np.maximum(between, np.sqrt(np.maximum(1 / effective - 1 / n, 0)) / 4)
        logs = (highest + np.log(total))[:, 0]
    shape = np.array([tail_shape(row) if np.isfinite(row.max()) else np.inf for row in log])
    nothing = ~np.isfinite(logs)
    effective, error = np.where(nothing, 0.0, effective), np.where(nothing, np.inf, error)
    return Reweighted(shared, logs, error, effective, largest, shape, np.nan_to_num(weight))
