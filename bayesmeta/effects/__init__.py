"""Effect estimates and their sampling variances from what studies report."""

from bayesmeta._validation.calls import explain
from bayesmeta.effects.two_arms import hedges_g as hedges_g
from bayesmeta.effects.two_arms import mean_difference as mean_difference
from bayesmeta.effects.two_arms import odds_ratio as odds_ratio
from bayesmeta.effects.two_arms import risk_difference as risk_difference
from bayesmeta.effects.two_arms import risk_ratio as risk_ratio

__all__ = ["hedges_g", "mean_difference", "odds_ratio", "risk_difference", "risk_ratio"]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.effects.")
