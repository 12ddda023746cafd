"""From two-by-two tables to the bivariate model of sensitivity and specificity, and back from its results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_names, listing
from bayesmeta.diagnostic.cell_counts import (
    CELLS,
    Correction,
    Tables,
    correct,
    mention_missing,
    read_cells,
)
from bayesmeta.effects.links import Link, LinkName, links_of
from bayesmeta.errors import AssumptionWarning, BoundaryWarning, DataError, SpecError, warn
from bayesmeta.formula.parse import sides_of
from bayesmeta.formula.safety import quoted_if_needed
from bayesmeta.inference.quantities import NewData, Points
from bayesmeta.io.columns import as_frame, find_column, group_labels
from bayesmeta.io.long_tables import named_rows
from bayesmeta.model.doubts import of_few
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import StructureName
from bayesmeta.model.specify import specify as specify_model
from bayesmeta.structures.base import Structure
from bayesmeta.tree.row_labels import row_labels
from bayesmeta.tree.specification import spec_from_tree

SENSITIVITY, SPECIFICITY = OUTCOMES = ("sensitivity", "specificity")
KIND = "diagnostic"
_MOST_CELLS = 1_000_000  # of the data, beyond which `specify` keeps the columns alone that it is told to keep


def specify(
    data: Any,
    tp: Any = "tp",
    fp: Any = "fp",
    fn: Any = "fn",
    tn: Any = "tn",
    study: str | None = None,
    formula: str | Mapping[str, str] = "1",
    correction: Correction | None = None,
    add: float = 0.5,
    link: LinkName | tuple[float, float] = "logit",
    random: str | dict[str, str] | Sequence[str] | None = None,
    psi: StructureName | str | Structure | dict[str, str | Structure] = "unstr",
    labels: str | Sequence[Any] | None = None,
    keep: str | Sequence[str] | None = None,
) -> Spec:
    """The bivariate model of logit sensitivity and logit specificity of a test, from its two-by-two tables.

    (logit sensitivity, logit specificity) of a study is normal about (mu_A, mu_B) with an unstructured Psi, and what a
    study reports is normal about that, with the variances of observed logits. `bm.fit`, `bm.sample` and everything
    else take what is returned. The model is the normal approximation of one with binomial counts: poor where cells are
    small, see docs/diagnostic.md.

    Parameters
    ----------
    data : DataFrame
        One row for each two-by-two table of a test against the truth.
    tp, fp, fn, tn : str or array
        True positives, false positives, false negatives and true negatives: names of columns, or (n,) numbers of
        persons. Where tp and fn are missing, or fp and tn, the row counts for the other outcome alone.
    study : str, optional
        Column of the studies. By default every row is a study of its own.
    formula : str or dict of str to str, default "1"
        Predictors of both outcomes, as "test + year"; or of each, {"sensitivity": "1 + test", "specificity": "1"}.
        An outcome that is not named has none.
        With a column of tests, or of populations, each has a summary point of its own.
    correction : {"single", "all", "none"}, optional
        What is done about empty cells: "single" adds `add` to all four cells of the tables that have one, "all" to
        those of all tables if any has one, "none" refuses. By default "single", with a warning that counts the cells.
    add : float, default 0.5
        What is added.
    link : {"logit", "probit", "cloglog"} or pair of float, default "logit"
        Scale on which the outcomes are normal. Two numbers are the alpha, from 0 to 2, of the transformations
        alpha log p - (2 - alpha) log(1 - p) of sensitivity and of specificity; 1 is the logit.
    random : str, dict or list of str, optional
        As for `bm.specify`. By default "1 | study"; "1 | study/table" where studies have several tables, with a
        warning: those of a study are alike, and each differs from them.
    psi, labels, keep : optional
        As for `bm.specify`; the columns of the cells are always kept.

    Returns
    -------
    Spec
        Outcomes "sensitivity" and "specificity"; its `analysis` says how it was made.

    Raises
    ------
    SpecError
        When an argument is not as above.
    DataError
        When cells are negative, not whole or no numbers, a table has no diseased or no healthy persons, or cells are
        empty where correction is "none".

    Warns
    -----
    AssumptionWarning
        When something was added to cells, cells are missing, or studies have several tables.
    BoundaryWarning
        When there are so few tables that Psi cannot be estimated.

    References
    ----------
    Reitsma, Glas, Rutjes, Scholten, Bossuyt and Zwinderman (2005), J. Clin. Epidemiol. 58:982-990; Chu and Cole (2006),
    J. Clin. Epidemiol. 59:1331-1332; Doebler, Holling and Boehning (2012), Psychol. Methods 17:418-436, of t_alpha.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.diagnostic.specify(bm.datasets.load("auditc"), study="study", correction="all")
    >>> spec.outcomes, len(spec.y)
    (('sensitivity', 'specificity'), 28)
    >>> bm.diagnostic.summary_point(bm.fit(spec), df="z").round(3)
                 estimate  lower  upper
    quantity
    sensitivity     0.891  0.808  0.941
    specificity     0.780  0.715  0.833
    fpr             0.220  0.167  0.285
    """
    frame = _frame(data)
    if study is not None:
        group_labels(find_column(frame, study, "study"))
    links, sides = links_of(link), sides_of(formula, OUTCOMES, "the counts")
    written = dict(zip(CELLS, (tp, fp, fn, tn), strict=True))
    tables = read_cells(frame, written, named_rows(frame, study))
    mention_missing(tables)
    used, added = correct(tables, correction, add)
    frame, columns = _with_cells(frame, written, tables)
    y, S = _transformed(used, links)
    frame, random = _levels(frame.assign(**dict(zip(OUTCOMES, y.T, strict=True))), study, random)
    is_name = study is not None and frame[study].is_unique and not frame[study].isna().any()
    made = specify_model(
        sides,
        frame,
        S,
        random,
        psi,
        measure=links[0].measure if links[0] is links[1] else None,
        labels=study if labels is None and is_name else labels,
        keep=_kept(frame, keep, list(columns.values())),
    )
    for note in of_few(made, "proportions", "studies"):
        warn(note, BoundaryWarning)
    analysis = {"kind": KIND, "cells": columns, "study": study, "correction": correction or "single", "add": float(add)}
    scale: Any = link if isinstance(link, str) else [float(alpha) for alpha in link]
    return replace(made, analysis=analysis | {"link": scale}, notes=(*filter(None, [added]), *made.notes))


def _frame(data: Any) -> pd.DataFrame:
    """The data, without columns that have the name of an outcome."""
    frame = as_frame(data, "data").rename(columns=str)
    if not len(frame):
        raise DataError("the data have no rows")
    taken = [name for name in OUTCOMES if name in frame.columns]
    if taken:
        warn(
            f"columns of the data that the model computes from the counts are left out: {listing(taken)}",
            AssumptionWarning,
        )
    return frame.drop(columns=taken)


def _with_cells(frame: pd.DataFrame, written: Mapping[str, Any], tables: Tables) -> tuple[pd.DataFrame, dict[str, str]]:
    """The data with the cells that are not columns as columns, and the name of the column of each."""
    columns = {cell: values if isinstance(values, str) else f"({cell})" for cell, values in written.items()}
    new = {columns[cell]: tables.cells[i] for i, cell in enumerate(CELLS) if not isinstance(written[cell], str)}
    return frame.assign(**new), columns


def _transformed(tables: Tables, links: tuple[Link, Link]) -> tuple[FloatArray, FloatArray]:
    """(n, 2) outcomes and (n, 2, 2) sampling covariances, diagonal: the two proportions are of different persons."""
    proportions = tables.sensitivity, tables.specificity
    y = np.stack([link.forward(p) for link, p in zip(links, proportions, strict=True)], axis=1)
    sizes = tables.diseased, tables.healthy
    variances = [link.variance(p, n) for link, p, n in zip(links, proportions, sizes, strict=True)]
    S = np.zeros((len(y), 2, 2))
    S[:, 0, 0], S[:, 1, 1] = variances
    return y, S


def _levels(frame: pd.DataFrame, study: str | None, random: Any) -> tuple[pd.DataFrame, Any]:
    """The data and the random part: by default the studies, and the tables in them where some have several."""
    if random is not None or study is None:
        return frame, random
    if not (several := frame[study].duplicated(keep=False) & frame[study].notna()).any():
        return frame, f"1 | {quoted_if_needed(study)}"
    inner = next(name for name in ("table", "table_of_study", "table_of_study_") if name not in frame.columns)
    names = listing(pd.unique(frame.loc[several, study]))
    warn(
        f"studies with several tables: {names}; their tables are taken as alike, and as different beyond that\n"
        f'  random="1 | {study}/{inner}" is what this is; random="1 | {study}" gives tables of a study one accuracy',
        AssumptionWarning,
    )
    count = frame.groupby(study, sort=False, observed=True).cumcount() + 1
    return frame.assign(**{inner: count}), f"1 | {quoted_if_needed(study)}/{inner}"


def _kept(frame: pd.DataFrame, keep: Any, cells: list[str]) -> Any:
    """Columns that the results hold; those of the cells among them."""
    if keep is None:
        return None if frame.size <= _MOST_CELLS else cells
    return list(dict.fromkeys([*check_names(keep, "keep", empty=True), *cells]))


@dataclass(frozen=True, eq=False)
class Accuracy:
    """A diagnostic analysis: the specification with the tables behind it.

    links : of sensitivity and specificity.  tables : observed, of all rows.  used : corrected, as the model has them.
    """

    spec: Spec
    links: tuple[Link, Link]
    tables: Tables
    used: Tables

    @classmethod
    def of(cls, source: Spec | xr.DataTree, what: str) -> "Accuracy":
        """Of a specification or a results tree; SpecError for one that no function of `bm.diagnostic` has made.

        what : the function that asks.
        """
        spec = source if isinstance(source, Spec) else spec_from_tree(source)
        if spec.analysis.get("kind") != KIND:
            is_other = f"a {spec.analysis['kind']} analysis" if spec.analysis else "of no diagnostic analysis"
            raise SpecError(
                f"{what} is for analyses of diagnostic accuracy; this one is {is_other}\n"
                '  bm.diagnostic.specify(data, tp="tp", fp="fp", fn="fn", tn="tn", study="study") makes such'
            )
        about = spec.analysis
        cells = np.stack([spec.data[about["cells"][cell]].to_numpy(dtype=float) for cell in CELLS])
        tables = Tables(cells, row_labels(spec))
        used, _ = correct(tables, about["correction"], about["add"])
        return cls(spec, links_of(about["link"]), tables, used)


@dataclass(frozen=True, eq=False)
class Asked(Points):
    """The rows that are asked about, with the analysis behind them; see `inference.quantities.Points`."""

    accuracy: Accuracy = field(kw_only=True)

    @classmethod
    def of(cls, tree: xr.DataTree, newdata: NewData, what: str) -> "Asked":
        accuracy = Accuracy.of(tree, what)
        points = Points.at(tree, newdata, what, accuracy.spec, accuracy.links)
        return cls(**vars(points), accuracy=accuracy)
