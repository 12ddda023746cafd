"""Effect estimates and their sampling variances from what studies report."""

from bayesmeta._validation.calls import explain
from bayesmeta.effects import functions as _functions
from bayesmeta.effects.dependent import aggregate as aggregate
from bayesmeta.effects.dependent import delta_method as delta_method
from bayesmeta.effects.escalc import escalc as escalc
from bayesmeta.effects.five_numbers import mean_from_quantiles as mean_from_quantiles
from bayesmeta.effects.functions import *  # noqa: F403
from bayesmeta.effects.printed import from_interval as from_interval
from bayesmeta.effects.printed import from_pvalue as from_pvalue
from bayesmeta.effects.printed import from_se as from_se
from bayesmeta.effects.rebuilt_tables import cells_from as cells_from
from bayesmeta.effects.rebuilt_tables import cells_from_accuracy as cells_from_accuracy
from bayesmeta.effects.spreads import impute_sd as impute_sd
from bayesmeta.effects.spreads import sd_from as sd_from
from bayesmeta.effects.spreads import sd_from_test as sd_from_test

_OTHERS = (
    *(
        "aggregate",
        "cells_from",
        "cells_from_accuracy",
        "delta_method",
        "escalc",
        "from_interval",
        "from_pvalue",
        "from_se",
        "impute_sd",
    ),
    *("mean_from_quantiles", "sd_from", "sd_from_test"),
)
__all__ = [*_OTHERS, *_functions.__all__]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.effects.")
