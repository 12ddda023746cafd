"""Published tables: the data sets of the worked analyses, each with its citation and a description of its columns."""

from bayesmeta._validation.calls import explain
from bayesmeta.datasets.bundled import describe, fetch, load, names

__all__ = ["describe", "fetch", "load", "names"]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.datasets.")
