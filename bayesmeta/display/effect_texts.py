"""Effects as pictures and tables of studies write them: as many digits as the errors deserve, none more."""

import numpy as np

from bayesmeta._typing import FloatArray

MINUS = "−"
_LARGE = 1e5  # larger ratios are written as ">100,000"


def decimals(se: FloatArray) -> int:
    """Number of decimals that show two significant digits of the typical standard error."""
    typical = float(np.median(se)) if len(se) else 0.1
    return int(np.clip(1 - np.floor(np.log10(typical)), 0, 6))


def signed(value: float, places: int) -> str:
    if np.isinf(value):
        return f"{MINUS if value < 0 else ''}∞"
    text = f"{value:.{places}f}" if abs(value) < 1e6 else f"{value:.2e}"
    return text.replace("-", "" if not float(text) else MINUS)


def ratio_text(log: float, places: int) -> str:
    """A ratio with as many significant digits as one near 1 has; bounds near 0 or in the thousands are abbreviated."""
    if np.isinf(log):
        return "∞" if log > 0 else "0"
    if log >= np.log(_LARGE):
        return f">{_LARGE:,.0f}"
    value, digits = float(np.exp(log)), max(0, int(np.floor(log / np.log(10))))
    if value < 0.5 * 10.0**-places:
        return f"<{10.0**-places:.{places}f}"
    return f"{value:.{max(0, places - digits)}f}"
