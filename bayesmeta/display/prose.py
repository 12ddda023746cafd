"""Words and numbers as journals print them: counts of groups, lists, and estimates with their intervals."""

import math
import re
from collections.abc import Sequence

import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta.display.tables import fixed, number, pvalue

_MOST_DECIMALS = 7
MINUS = "\N{MINUS SIGN}"
STUDY = "study"  # what a row is where nothing else groups it


def together(items: Sequence[str]) -> str:
    """
    >>> together(["a", "b", "c"]), together(["a", "b"]), together(["a"])
    ('a, b and c', 'a and b', 'a')
    """
    return " and ".join([*([", ".join(items[:-1])] if len(items) > 1 else []), *items[-1:]])


def kind_of_group(tree: xr.DataTree, level: str) -> str:
    """What the groups of a level are called: by its name, and "study" where each row is its own group."""
    alone = not tree.attrs["random"] and not tree.attrs["groups"]
    return STUDY if level == schema.UNIT and alone else level


def counted(n: int, kind: str) -> str:
    """
    >>> counted(1, "study"), counted(13, "study"), counted(8, "id"), counted(1, "id"), counted(2, "Trials")
    ('1 study', '13 studies', '8 groups of id', '1 group of id', '2 trials')
    """
    return f"{n:,} {_noun(kind)[0] if n == 1 else _noun(kind)[1]}"


def several(kind: str) -> str:
    """
    >>> several("district"), several("study_id"), several("research_group"), several("RCT"), several("branch")
    ('districts', 'studies', 'research groups', 'RCTs', 'branches')
    """
    return _noun(kind)[1]


def among(kind: str, what: str) -> str:
    """
    >>> among("district", "variance"), among("id", "variance")
    ('between-district variance', 'variance between groups of id')
    """
    one, many = _noun(kind)
    return f"{what} between {many}" if " " in one else f"between-{one} {what}"


def _noun(kind: str) -> tuple[str, str]:
    """The name of a column as a noun, one and several; a name that is no word stands for itself."""
    word = re.sub(r"(?<=[a-z])[_. ](id|ID|no|nr|code)$", "", kind)
    pronounceable = re.search(r"[aeiouy]", word.lower()) or word.isupper()
    if not (pronounceable and re.fullmatch(r"[A-Za-z][A-Za-z_ ]{2,}", word)):
        return f"group of {kind}", f"groups of {kind}"
    word = word.replace("_", " ")
    if not word.isupper():
        word = word[0].lower() + word[1:]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):  # the column is named by the plural
        one = f"{word[:-3]}y" if word.endswith("ies") else word[:-1]
        return one, word
    return word, _plural(word)


def _plural(word: str) -> str:
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    if word.endswith("is"):
        return f"{word[:-2]}es"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def degrees(df: float) -> str:
    """
    >>> degrees(1), degrees(12.0)
    ('1 degree of freedom', '12 degrees of freedom')
    """
    return f"{df:.0f} degree{'s' * (round(df) != 1)} of freedom"


def p_equals(p: float) -> str:
    """
    >>> p_equals(0.0221), p_equals(1e-9)
    ('p = 0.0221', 'p < 0.0001')
    """
    words = pvalue(p)
    return f"p < {words[1:]}" if words.startswith("<") else f"p = {words}"


def decimal(x: float, places: int) -> str:
    """A number with its decimals and the minus sign of print.

    >>> decimal(-0.745, 2)
    '−0.74'
    """
    return fixed(x, places).replace("-", MINUS)


def figures(
    values: Sequence[float], positive: bool = False, least: int = 0, se: float = math.nan
) -> tuple[str, str, str]:
    """An estimate and its bounds with the same decimals: two digits of the width of the interval.

    positive : whether they are ratios or sizes, of which the estimate shows two digits whatever the width, and none is
    rounded to zero. least : decimals that are always shown. se : the standard error, for an estimate without bounds.

    >>> figures([0.4746, 0.3296, 0.6835]), figures([123.4, 98.2, 150.1])
    (('0.47', '0.33', '0.68'), ('123.4', '98.2', '150.1'))
    >>> figures([0.0577, 0.0203, 0.1639], positive=True), figures([0.12, 0.0026, 5.2], positive=True, least=2)
    (('0.058', '0.020', '0.164'), ('0.12', '0.003', '5.20'))
    """
    estimate, lower, upper = map(float, values)
    bounded = math.isfinite(lower) and math.isfinite(upper)
    width = upper - lower if bounded else 4 * se
    wanted = [_decimals(x) for x in (width, abs(estimate) if positive else math.nan) if math.isfinite(x) and x > 0]
    places = max([*wanted, least])

    def written(x: float) -> str:
        digits = f"{x:.2g}" if places > _MOST_DECIMALS else decimal(x, places)
        return f"{x:.1g}" if positive and x > 0 and not float(digits.replace(MINUS, "-")) else digits

    if estimate == 0 and positive and not bounded:
        return "0", "", ""
    if not wanted and not least:
        return number(estimate, se).replace("-", MINUS), "", ""
    return written(estimate), written(lower) * bounded, written(upper) * bounded


def _decimals(x: float) -> int:
    exponent = math.floor(math.log10(x))
    return max(1 - exponent if exponent < 0 else 2 - exponent, 0)


def with_interval(shown: Sequence[str], kind: str, more: Sequence[str] = (), unit: str = "") -> str:
    """An estimate with what stands in parentheses after it.

    >>> with_interval(("0.47", "0.33", "0.68"), "95% CI", ["z = 2", "p < 0.1"]), with_interval(("0", "", ""), "95% CI")
    ('0.47 (95% CI 0.33 to 0.68; z = 2, p < 0.1)', '0')
    """
    estimate, lower, upper = shown
    interval = [f"{kind} {lower}{unit} to {upper}{unit}".strip()] if lower and upper else []
    inside = "; ".join([*interval, *([", ".join(more)] if more else [])])
    return f"{estimate}{unit} ({inside})" if inside else f"{estimate}{unit}"
