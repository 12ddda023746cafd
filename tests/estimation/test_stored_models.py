"""No fit of a stored random model ends below the best log-likelihood known of it."""

import warnings
from pathlib import Path

import pytest

import bayesmeta as bm
from bayesmeta.estimation import scan
from bayesmeta.estimation.ml import fit_likelihood
from tests.benchmarks.search import LOW, Problem
from tests.support.stored_models import DRAWN, HARD, stored

SHARE = 5  # one in so many is fitted in every run


def fits(problem: Problem, best: float | None) -> bool:
    """Whether the search arrives at the best known maximum, or higher."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        estimate = fit_likelihood(problem.spec(), problem.method == "reml")
    assert estimate.optimizer is not None
    return estimate.optimizer.converged and (best is None or estimate.loglik >= best - LOW)


def missed(path: Path, part: int) -> list[str]:
    """Names of the models of a part of a file whose fit is low or did not converge."""
    models = list(stored(path))[part::SHARE]
    return [problem.name for problem, best in models if not fits(problem, best)]


@pytest.mark.parametrize("part", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, SHARE))])
@pytest.mark.parametrize("path", [HARD, DRAWN], ids=["hard", "drawn"])
def test_stored_models(path: Path, part: int) -> None:
    assert not missed(path, part)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(11, 16))
def test_hard_models_from_other_points_of_the_scan(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "SEED", seed)
    names = [name for part in range(SHARE) for name in missed(HARD, part)]
    assert len(names) <= 2, names
