"""How much the search looks at before it climbs: as little as does no harm."""

import warnings

import numpy as np
import pandas as pd

import bayesmeta as bm
from tests.benchmarks.many_groups import LOW, models


def test_many_groups_need_few_climbs() -> None:
    """No fit ends below that of a thorough search, which takes more evaluations."""
    few = thorough = 0
    for one in models(0, 20):
        fit, best = one.fit(), one.thorough()
        assert fit.optimizer is not None
        assert best.optimizer is not None
        assert fit.loglik >= best.loglik - LOW
        few += fit.optimizer.all_evaluations + fit.optimizer.scan_evaluations
        thorough += best.optimizer.all_evaluations + best.optimizer.scan_evaluations
    assert few < 0.7 * thorough


def scanned(psi: str, n_groups: int, random: str = "1 | g") -> int:
    """Points of the scan of one fit of two outcomes."""
    rng = np.random.default_rng(n_groups)
    n = max(n_groups, 20)
    data = pd.DataFrame(rng.normal(size=(n, 2)), columns=["y", "z"]).assign(
        v=0.1, g=np.arange(n) % n_groups, h="one", r=range(n)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        spec = bm.specify("y + z ~ 1", data, S=["v", "v"], random=random, psi=psi)
        return int(bm.fit(spec)["optimizer"]["scan_evaluations"])


def test_few_groups_are_scanned_and_many_are_not() -> None:
    assert scanned("unstr", 6) >= 128
    assert 0 < scanned("unstr", 20) <= 32
    assert scanned("unstr", 60) == 0


def test_a_level_that_the_data_cannot_identify_asks_for_no_scan() -> None:
    """One outer group is held at zero, however few groups that is for its parameters."""
    assert scanned("unstr", 60, "1 | h/g") == 0
