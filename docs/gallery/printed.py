"""Printed numbers beside ours: the last cell of every page of the gallery."""

from decimal import Decimal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

SLACK = 1e-9  # of a unit in the last printed place, for what is rounded in binary


def beside(page: str, rows: dict[str, tuple[str, ArrayLike]], rounded: dict[str, float] | None = None) -> pd.DataFrame:
    """A table of `rows`: what it is -> (the number as it is printed, our number).

    Whatever does not round to the printed digits is an error, unless `rounded` allows some units in the last place,
    which the page explains.
    """
    table = pd.DataFrame(columns=["printed", "bayesmeta", "units of the last place"], dtype=object)
    wrong = []
    for name, (printed, ours) in rows.items():
        value = float(np.asarray(ours).item())
        place = 10.0 ** int(Decimal(printed).as_tuple().exponent)
        most = 0.5 if rounded is None else rounded.get(name, 0.5)
        apart = abs(value - float(printed)) / place
        digits = max(-int(Decimal(printed).as_tuple().exponent), 0)
        table.loc[name] = [printed, f"{value:.{digits + 2}f}", f"{apart:.2f}"]
        if not apart <= most + SLACK:
            wrong.append(f"{page}, {name}: printed {printed}, now {value:.{digits + 4}g} (at most {most} units apart)")
    if wrong:
        raise AssertionError("\n".join(wrong))
    return table
