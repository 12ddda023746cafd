"""A number as a paper prints it, and when a value of ours is that number."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from bayesmeta._validation import check_choice, check_keys, check_number, check_type, listing
from bayesmeta.errors import SpecError

# what a file may state, and how many labels each takes in `of`: (fewest, most)
QUANTITIES: dict[str, tuple[int, int | None]] = {
    **dict.fromkeys(("beta", "se", "pvalue", "lower", "upper", "exp_beta", "exp_lower", "exp_upper"), (1, 1)),
    **dict.fromkeys(("tau", "tau2"), (1, 2)),
    **dict.fromkeys(("aic", "df", "I2", "Q_pvalue"), (0, 0)),
    **dict.fromkeys(("exp_predict", "exp_predict_lower", "exp_predict_upper"), (0, 0)),
    "wald_pvalue": (1, None),
}
_KEYS = ("quantity", "of", "at", "printed", "where", "reason", "ours", "apart")
_EXCEPTION = ("ours", "apart", "reason")


@dataclass(frozen=True)
class Printed:
    """One printed number.

    quantity : a key of QUANTITIES. of : a coefficient, several, or a level and an effect of it.
    at : predictor values, for a prediction.
    printed : the text as printed, "<0.01" for a bound. where : table or section.
    ours, apart, reason : for a number that is known to differ, our value, ours minus the printed one (or the printed
        bound), and why.
    """

    quantity: str
    of: tuple[str, ...]
    at: Mapping[str, float]
    printed: str
    where: str
    ours: str = ""
    apart: str = ""
    reason: str = ""

    @property
    def label(self) -> str:
        at = [f"{name}={value:g}" for name, value in self.at.items()]
        inside = ", ".join([*self.of, *at])
        return f"{self.quantity}[{inside}]" if inside else self.quantity

    def holds(self, value: float) -> bool:
        """Whether the value is the printed number; for a known exception, whether it is ours, as far off as stated."""
        if not self.ours:
            return holds(self.printed, value)
        printed = Decimal(self.printed.removeprefix("<"))
        as_stated = well_formed(self.printed) and Decimal(self.ours) - printed == Decimal(self.apart)
        return as_stated and holds(self.ours, value) and not holds(self.printed, value)


def holds(printed: str, value: float) -> bool:
    """Whether a value, rounded to the printed digits, is what is printed.

    A bound holds where the value is below it, and only if it is one unit of its last digit, as such bounds are printed.

    >>> holds("1.24", 1.2361), holds("1.23", 1.2361), holds("<0.01", 0.004), holds("<0.02", 0.004)
    (True, False, True, False)
    """
    if printed.startswith("<"):
        return well_formed(printed) and value < float(printed[1:])
    return rounded(value, printed) == printed


def rounded(value: float, printed: str) -> str:
    """The value with the decimals that the printed text has, half to even, without a negative zero.

    >>> rounded(-1.2004, "-1.200"), rounded(-1e-9, "0.000"), rounded(7.0, "7")
    ('-1.200', '0.000', '7')
    """
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    unit = _unit(printed.removeprefix("<"))
    return f"{Decimal(repr(float(value))).quantize(unit, ROUND_HALF_EVEN):zf}"


def well_formed(printed: str) -> bool:
    """Whether a text is a number, or a bound of one unit of its last digit."""
    if not printed.startswith("<"):
        return _is_number(printed)
    return _is_number(printed[1:]) and Decimal(printed[1:]) == _unit(printed[1:])


def read_printed(entry: Any, where: str) -> Printed:
    """Read one entry of a model's `paper` list; SpecError for anything that does not belong there."""
    if not isinstance(entry, Mapping):
        raise SpecError(
            f"{where}: {entry!r} is not a table with quantity, printed and where"
            f'\n  write {{quantity = "beta", of = ["Intercept"], printed = "0.18", where = "Table 2"}}'
        )
    check_keys(entry, _KEYS, where, required=("quantity", "printed", "where"))
    quantity, of = entry["quantity"], entry.get("of", [])
    for value in of if isinstance(of, list) else [of]:
        check_type(value, str, f"{where}: of")
    check_type(entry["where"], str, f"{where}: where")
    at = entry.get("at", {})
    check_type(at, dict, f"{where}: at")
    for name, value in at.items():
        check_number(value, f"{where}: at: {name}")
    check_choice(quantity, QUANTITIES, f"{where}: quantity")
    labels = (of,) if isinstance(of, str) else tuple(of)
    fewest, most = QUANTITIES[quantity]
    if len(labels) < fewest or (most is not None and len(labels) > most):
        number = f"{fewest}" if fewest == most else f"{fewest} to {most}" if most else f"{fewest} or more"
        raise SpecError(f"{where}: {quantity} takes {number} labels in 'of', not {len(labels)}")
    if ("at" in entry) != quantity.startswith("exp_predict"):
        raise SpecError(f"{where}: 'at' must be given for exp_predict and for no other quantity ({quantity})")
    exception = [key for key in _EXCEPTION if entry.get(key)]
    if exception and len(exception) < len(_EXCEPTION):
        raise SpecError(
            f"{where}: {quantity}: an exception must state ours, apart and reason, not only {listing(exception)}"
        )
    for key in ("printed", *(("ours", "apart") if exception else ())):
        if not isinstance(entry[key], str) or not _is_number(entry[key].removeprefix("<")):
            raise SpecError(
                f"{where}: {quantity}: {key} = {entry[key]!r} is not a number in quotes"
                f'\n  write it as it is printed, as in {key} = "0.180"'
            )
    texts = {key: str(entry[key]) for key in ("printed", "where", *_EXCEPTION) if key in entry}
    return Printed(quantity, labels, dict(entry.get("at", {})), **texts)


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and not text.startswith("+")
    except InvalidOperation:
        return False


def _unit(text: str) -> Decimal:
    """One unit of the last printed digit."""
    return Decimal(1).scaleb(int(Decimal(text).as_tuple().exponent))
