"""Small-study effects: tests for asymmetry of funnel plots, and what estimates would be without it.

Every function takes the results tree of `bm.fit` and returns a Dataset of single numbers.
"""

from bayesmeta._validation.calls import explain
from bayesmeta.inference.small_study.asymmetry import egger as egger
from bayesmeta.inference.small_study.asymmetry import egger_joint as egger_joint
from bayesmeta.inference.small_study.asymmetry import pustejovsky_rodgers as pustejovsky_rodgers
from bayesmeta.inference.small_study.copas_interval import henmi_copas as henmi_copas
from bayesmeta.inference.small_study.count_tests import arcsine as arcsine
from bayesmeta.inference.small_study.count_tests import deeks as deeks
from bayesmeta.inference.small_study.count_tests import harbord as harbord
from bayesmeta.inference.small_study.count_tests import macaskill as macaskill
from bayesmeta.inference.small_study.count_tests import peters as peters
from bayesmeta.inference.small_study.extrapolation import peese as peese
from bayesmeta.inference.small_study.extrapolation import pet as pet
from bayesmeta.inference.small_study.extrapolation import pet_peese as pet_peese
from bayesmeta.inference.small_study.filling import filled as filled
from bayesmeta.inference.small_study.filling import trim_fill as trim_fill
from bayesmeta.inference.small_study.limit_analysis import limit_meta as limit_meta
from bayesmeta.inference.small_study.unpublished import fail_safe as fail_safe
from bayesmeta.inference.small_study.unpublished import rank as rank

__all__ = [
    *(
        "arcsine",
        "deeks",
        "egger",
        "egger_joint",
        "fail_safe",
        "filled",
        "harbord",
        "henmi_copas",
        "limit_meta",
        "macaskill",
    ),
    *("peese", "pet", "pet_peese", "peters", "pustejovsky_rodgers", "rank", "trim_fill"),
]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.small_study.")
