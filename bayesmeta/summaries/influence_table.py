"""Influence diagnostics as a page: every row or group that was left out, the influential ones marked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing, shown
from bayesmeta.display.export import Page
from bayesmeta.display.tables import Block, Facts, Table, fixed
from bayesmeta.errors import SpecError
from bayesmeta.inference.part_estimates import VARIANCE
from bayesmeta.summaries.references import VIECHTBAUER_CHEUNG, Bibliography

_MARK = " *"
_DIGITS = 3
_COLUMNS = {
    "rstudent": "studentised residual",
    "dffits": "DFFITS",
    "chi2": "χ²",
    "k": "k",
    "cooks_distance": "Cook's distance",
    "cov_ratio": "covariance ratio",
    "tau2_deleted": "τ² without",
    "Q_deleted": "Q without",
    "hat": "hat value",
    "weight": "weight (%)",
    "dfbetas": "DFBETAS",
    "pareto_k": "Pareto k",
}
_ONE_ROW = ("chi2", "k")  # say nothing more of a single row than its residual does


@dataclass(frozen=True, eq=False, repr=False)
class InfluencePage(Page):
    """Diagnostics of `bm.influence` for people to read.

    most : rows that are shown, those with the largest Cook's distances; None for all, in the order of the data.
    """

    diagnostics: xr.Dataset
    most: int | None = None

    def blocks(self) -> list[Block]:
        """The parts of the page, in order."""
        table = self.diagnostics
        dim = str(table["k"].dims[0])
        chosen = self._chosen(table["cooks_distance"].to_numpy())
        columns = [(heading, values[chosen]) for heading, values in _columns(table, dim)]
        names = [str(name) for name in table[dim].to_numpy()[chosen]]
        marks = table["influential"].to_numpy()[chosen]
        rows = [
            (name + _MARK * bool(mark), *(fixed(float(values[i]), _places(heading)) for heading, values in columns))
            for i, (name, mark) in enumerate(zip(names, marks, strict=True))
        ]
        kind = str(table.attrs["by"])
        what = "each row" if dim == schema.ROW else f"each {kind}"
        title = f"Influence: without {what}" if self.most is None else f"The {len(rows)} largest Cook's distances"
        return [Table(title, tuple(heading for heading, _ in columns), tuple(rows)), Facts(tuple(facts(table)))]

    def _chosen(self, distance: FloatArray) -> np.ndarray:
        if self.most is None or len(distance) <= self.most:
            return np.arange(len(distance))
        return np.argsort(-np.nan_to_num(distance), kind="stable")[: self.most]


def _places(heading: str) -> int:
    return 0 if heading == _COLUMNS["k"] else 2 if heading in (_COLUMNS["weight"], _COLUMNS["Q_deleted"]) else _DIGITS


def _columns(table: xr.Dataset, dim: str) -> Iterator[tuple[str, FloatArray]]:
    """Headings and values over the rows or groups; of several outcomes, variances or coefficients one for each."""
    single = dim == schema.ROW and schema.OUTCOME not in table.dims
    for name, heading in _COLUMNS.items():
        if name not in table or dim not in table[name].dims or (single and name in _ONE_ROW):
            continue
        others = [other for other in (schema.OUTCOME, VARIANCE, schema.COEF) if other in table[name].dims]
        if not others:
            yield heading, table[name].to_numpy().astype(float)
            continue
        for label in table[others[0]].to_numpy():
            several = table.sizes[others[0]] > 1
            yield f"{heading}, {label}" if several else heading, table[name].sel({others[0]: label}).to_numpy()


def facts(table: xr.Dataset) -> Iterator[tuple[str, str]]:
    """What the marks mean, how it was made, and what is not known."""
    cut = {name: float(table.attrs[f"{name}_cutoff"]) for name in ("dffits", "cooks", "hat", "dfbetas")}
    rule = f"Cook's distance > {cut['cooks']:.3g} or |DFBETAS| > {cut['dfbetas']:g}"
    if table["k"].dims[0] == schema.ROW:
        rule += f" or |DFFITS| > {cut['dffits']:.3g} or hat value > {cut['hat']:.3g}"
    marked = influential_names(table)
    yield "* influential", f"{rule}: {listing(marked) if marked else 'none'}"
    if "pareto_k" in table:
        again = int(table["refitted"].sum())
        yield "made by", f"importance weights of the draws; {again} posteriors were sampled again"
        bad = (table["pareto_k"] > table.attrs["good_k"]).to_numpy() & ~table["refitted"].to_numpy()
        if bad.any():
            far = listing(table[table["k"].dims[0]].to_numpy()[bad])
            yield f"Pareto k > {table.attrs['good_k']}", f"{far}: what is said of these may be far off"
    elif not table.attrs["exact"]:
        yield "made by", "one step from the estimates of all rows, not by refits"
    names, reasons = table[table["k"].dims[0]].to_numpy(), table["reason"].to_numpy()
    if "converged" in table and len(unsure := names[~table["converged"].to_numpy() & (reasons == "")]):
        yield "not converged", f"the fits without {listing(unsure)}"
    for name, reason in zip(names, reasons, strict=True):
        if reason:
            yield f"without {name}", str(reason)


def influential_names(table: xr.Dataset) -> Sequence[str]:
    """Names of the influential rows or groups."""
    dim = str(table["k"].dims[0])
    return [str(name) for name in table[dim].to_numpy()[table["influential"].to_numpy()]]


def check_diagnostics(value: object) -> xr.Dataset:
    """What `bm.influence` returned; SpecError for anything else."""
    if isinstance(value, xr.Dataset) and {"cooks_distance", "influential", "k"} <= set(map(str, value.data_vars)):
        return value
    raise SpecError(f"influence is {shown(value)}, not what bm.influence returns\n  write influence=bm.influence(tree)")


def _kind(table: xr.Dataset) -> tuple[str, str]:
    """What is left out at a time, and several of them, in words."""
    by = str(table.attrs["by"])
    return ("study", "studies") if table["k"].dims[0] == schema.ROW else (by, f"groups ({by})")


def influence_examined(table: xr.Dataset, cite: Bibliography) -> str:
    """How influence was looked for, for the methods section of a paper."""
    rule = f"Cook's distance exceeded {float(table.attrs['cooks_cutoff']):.2g} or an absolute DFBETAS 1"
    if table["k"].dims[0] == schema.ROW:
        rule += f", an absolute DFFITS {float(table.attrs['dffits_cutoff']):.2g}"
        rule += f" or a hat value {float(table.attrs['hat_cutoff']):.2g}"
    way = "leaving it out and fitting the model again"
    if "pareto_k" in table:
        way = "weighting the draws as if it had been left out"
    elif not table.attrs["exact"]:
        way = "leaving it out, with one step of the estimation from the fit to all"
    source = cite.cite(VIECHTBAUER_CHEUNG)
    return (
        f"We examined the influence of each {_kind(table)[0]} by {way}; it was called influential where {rule}{source}."
    )


def influence_found(table: xr.Dataset) -> str:
    """What came of it, for the results."""
    (one, many), names = _kind(table), influential_names(table)
    if not names:
        return f"No {one} was influential."
    were, largest = "was" if len(names) == 1 else "were", float(table["cooks_distance"].max())
    counted = f"{len(names)} of {table.sizes[str(table['k'].dims[0])]} {many} {were} influential"
    return f"{counted}: {listing(names, 6)}; the largest Cook's distance was {fixed(largest, 2)}."
