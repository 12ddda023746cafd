"""What every tutorial does out of sight: a folder with the reader's files, and its prose held to what it printed."""

import re
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from decimal import Decimal
from os import chdir
from pathlib import Path
from typing import Any

import numpy as np
from IPython import get_ipython
from numpy.typing import ArrayLike

HERE = Path(__file__).resolve().parent
SLACK = 1e-9  # of a unit in the last printed place, for what is rounded in binary
# a number as prose has it; that intervals have 95% goes without saying
NUMBER = re.compile(r"(?<![\w.,])(?!95%)[-\u2212]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|\.\d)")
# of a page's source, what is not prose: front matter, cells and other fences, formulas, code in a line, where links
# lead, marks of quotations, and the number of the tutorial
NOT_PROSE = re.compile(
    r"\A---\n.*?\n---\n|^(`{3,}).*?^\1|^:{3,}.*?$|(\$+).*?\2|`[^`]*`|\[(?=[^\]]*\]\()|\]\([^)]*\)|^> |^# \d\.",
    re.MULTILINE | re.DOTALL,
)
errors: list[str] = []


def folder(*files: str) -> None:
    """Go to a new folder that holds copies of `files`, named from this one; show errors and warnings as one message."""
    place = tempfile.mkdtemp(prefix="tutorial-")
    for name in files:
        shutil.copy(HERE / name, place)
    chdir(place)
    shell = get_ipython()
    shell.run_line_magic("xmode", "Minimal")
    shell.events.register("post_run_cell", _count_error)
    warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}\n"


def _count_error(result: Any) -> None:
    if not result.success:
        errors.append(repr(result.error_in_exec))


def prose(source: str) -> str:
    """The sentences of a page, on one line."""
    return " ".join(NOT_PROSE.sub(" ", source).split())


def holds(page: str, claims: Mapping[str, ArrayLike], plain: Sequence[str] = ()) -> None:
    """An error unless every number in the prose of a page is what the page has computed.

    claims : words of the page, with the values of the numbers in them, in order.  plain : words whose numbers are
    no results, such as citations. Cells that are to raise an error must have raised one.
    """
    source = (HERE / f"{page}.md").read_text(encoding="utf-8")
    wrong = faults(prose(source), claims, plain)
    if len(errors) != source.count("[raises-exception]"):
        wrong.append(f"{source.count('[raises-exception]')} cells are to raise an error, these did: {errors}")
    if wrong:
        raise AssertionError("\n".join(f"{page}: {fault}" for fault in wrong))


def faults(text: str, claims: Mapping[str, ArrayLike], plain: Sequence[str] = ()) -> list[str]:
    """Sentences about claims that are not in the text or not true, and about numbers that nothing claims."""
    wrong = []
    for words, values in claims.items():
        written, computed = NUMBER.findall(words), np.atleast_1d(np.asarray(values, float))
        if len(written) != len(computed):
            wrong.append(f"'{words}' has {len(written)} numbers, for {len(computed)} values")
            continue
        if words not in text:
            wrong.append(f"'{words}' is not on the page")
        wrong += [
            f"'{words}': {number} on the page, now {value:.6g}"
            for number, value in zip(written, computed, strict=True)
            if not _agrees(number, float(value), f"< {number}" in words)
        ]
    for words in sorted([*claims, *plain], key=len, reverse=True):
        text = text.replace(words, " ")
    return wrong + [
        f"nothing computes {match[0]} in '{text[max(match.start() - 40, 0) : match.end() + 20]}'"
        for match in NUMBER.finditer(text)
    ]


def _agrees(number: str, value: float, bound: bool) -> bool:
    decimal = Decimal(number.replace(",", "").replace("\u2212", "-"))
    unit = 10.0 ** int(decimal.as_tuple().exponent)
    return value < float(decimal) if bound else abs(value - float(decimal)) / unit <= 0.5 + SLACK
