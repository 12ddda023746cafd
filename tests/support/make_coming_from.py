"""Runs a page of `notebooks`: its Python blocks, and the rows of its tables whose first cell names a reference file.

`python -m tests.support.make_coming_from` writes the measured cells of coming_from.md; the rest of the page is by hand.
A row's last cells are what is measured, the cell before the first of them is the call that is run.
"""

import doctest
import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tests.support.reference import read_reference

PAGES = Path(__file__).resolve().parents[2] / "notebooks"
MOST = 8  # digits; what agrees further depends on the machine
NONE = "–"
MARGIN = 0.05  # of a digit, so that another machine's rounding does not change the page
PARTS = re.compile(r"^```python\n(?P<code>.*?)^```\n|^(?P<row>\| `(?:mixmeta|metafor)/[^\n]*)\n", re.M | re.S)

Read = Callable[[str], Any]


@dataclass
class Digits:
    """How many digits two sets of numbers have in common; `None` where there is nothing to compare."""

    apart: float | None

    @property
    def exponent(self) -> float:
        return math.inf if not self.apart else -math.log10(self.apart)

    def __str__(self) -> str:
        if self.apart is None:
            return NONE
        return str(whole(self.exponent))

    def holds(self, cell: str) -> bool:
        if self.apart is None or cell == NONE:
            return str(self) == cell
        return whole(self.exponent - MARGIN) <= int(cell) <= whole(self.exponent + MARGIN)


def whole(exponent: float) -> int:
    return max(0, math.floor(min(exponent, MOST)))


@dataclass
class Figure:
    """One number, to four decimals."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:.4f}"

    def holds(self, cell: str) -> bool:
        return str(self) == cell


@dataclass
class Row:
    """A row of a table: where the reference is, the R call, ours, and what was measured."""

    cells: list[str]
    reference: Any
    found: Any

    @property
    def file(self) -> str:
        return self.cells[0].partition(":")[0]

    @property
    def written(self) -> list[str]:
        return self.cells[3:]

    @cached_property
    def measured(self) -> list[Digits] | list[Figure]:
        if len(self.written) == 4:
            return [Digits(each) for each in fit_apart(self.found, self.reference)]
        ours, theirs = values(self.found), np.ravel(np.asarray(self.reference, dtype=float))
        if len(self.written) == 1:
            return [Digits(relative(ours, theirs))]
        return [Figure(theirs.item()), Figure(ours.item())]

    @property
    def holds(self) -> bool:
        cells: Any = zip(self.measured, self.written, strict=True)
        return all(each.holds(cell) for each, cell in cells)

    @property
    def line(self) -> str:
        return " | ".join(["", *map(code, self.cells[:3]), *map(str, self.measured), ""]).strip()


def code(cell: str) -> str:
    return "`" + cell.replace("|", r"\|") + "`"


def cells(line: str) -> list[str]:
    """The cells of a table row, without the marks of code."""
    return [cell.strip().strip("`").replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def entry(read: Read, place: str) -> Any:
    """What a reference file holds at a place such as "metafor/tau2_ci_bcg: q_profile/0"."""
    file, _, path = place.partition(": ")
    found = read(file)
    for step in filter(None, path.split("/")):
        found = found[int(step) if step.isdigit() else step]
    return found


def values(found: Any) -> np.ndarray:
    if isinstance(found, xr.Dataset):
        return np.concatenate([np.ravel(found[name]) for name in found.data_vars])
    return np.ravel(np.asarray(found, dtype=float))


def relative(ours: Any, theirs: Any) -> float:
    """Largest difference relative to the number itself."""
    ours, theirs = np.broadcast_arrays(np.ravel(ours), np.ravel(theirs))
    return float(np.max(np.abs(ours - theirs) / np.where(theirs == 0, 1, np.abs(theirs))))


def fit_apart(fit: xr.DataTree, reference: Any) -> Iterator[float | None]:
    """Differences of the coefficients, their standard errors, Psi and the log-likelihood."""
    expected = reference.get("expected", reference)
    estimate = fit["estimate"]
    order = their_order(next(iter(estimate["beta"].indexes.values())), expected.get("coef_names", []))
    yield relative(values(estimate["beta"])[order], expected["coef" if "coef" in expected else "beta"])
    variances = np.diag(estimate["beta_cov"])[order]
    theirs = np.square(expected["se"]) if "se" in expected else np.diag(np.atleast_2d(expected["vcov"]))
    yield relative(np.sqrt(variances), np.sqrt(theirs))
    psi = [np.atleast_2d(each) for each in expected.get("psi") or expected.get("sigma2") or [expected.get("tau2")]]
    yield None if psi[0].item(0) is None else psi_apart(estimate, psi, variances.max())
    loglik = expected.get("loglik")
    yield None if loglik is None else abs(float(fit["criteria"]["loglik"]) - loglik)


def their_order(ours: Any, theirs: list[str]) -> Any:
    """Places of their coefficients among ours, by the words in the labels where these say it: yD.acd is acd:yD."""
    words = [frozenset(name.split(".")) - {"Intercept"} for name in ours]
    wanted = [frozenset(name.split(":")) for name in theirs]
    return [words.index(each) for each in wanted] if set(words) == set(wanted) else slice(None)


def psi_apart(estimate: Any, theirs: list[np.ndarray], least: float) -> float:
    """Largest difference of an entry, relative to the largest entry, or to `least` where they are about zero."""
    names = [name for name in estimate.data_vars if re.fullmatch(r"psi_\w+", name) and not name.endswith("_se")]
    ours = [estimate[name].to_numpy() for name in names]
    largest = max(least, *(np.abs(psi).max() for psi in theirs))
    return float(max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)) / largest)


@dataclass
class Page:
    """A page that was run: its text, its rows, and what its examples printed that they should not have."""

    text: str
    rows: dict[str, Row]
    failures: str

    @property
    def made(self) -> str:
        text = self.text
        for line, row in self.rows.items():
            text = text.replace(line + "\n", row.line + "\n")
        return text


def run(text: str, read: Read) -> Page:
    """Runs the blocks and rows of a page from top to bottom in one namespace."""
    space: dict[str, Any] = {"__name__": "page"}
    rows, said = {}, io.StringIO()
    for part in PARTS.finditer(text):
        block, line = part["code"], part["row"]
        if line:
            written = cells(line)
            rows[line] = Row(written, entry(read, written[0]), eval(written[2], space))
        elif ">>>" in block:
            examples(block, space, said)
        else:
            exec(block, space)
    return Page(text, rows, said.getvalue())


def examples(block: str, space: dict[str, Any], said: io.StringIO) -> None:
    test = doctest.DocTestParser().get_doctest(block, space, "page", None, 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(test, out=said.write, clear_globs=False)
    space.update(test.globs)


if __name__ == "__main__":
    page = PAGES / "coming_from.md"
    done = run(page.read_text(), read_reference)
    print(done.failures, end="")
    page.write_text(done.made)
