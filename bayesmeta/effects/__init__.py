"""Effect estimates and their sampling variances from what studies report."""

from bayesmeta._validation.calls import explain
from bayesmeta.effects import functions as _functions
from bayesmeta.effects.escalc import escalc as escalc
from bayesmeta.effects.functions import *  # noqa: F403

__all__ = ["escalc", *_functions.__all__]  # noqa: PLE0604


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.effects.")
