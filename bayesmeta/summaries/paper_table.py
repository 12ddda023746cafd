"""Results and data as tables that a paper takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_choice, check_probability, shown
from bayesmeta.display import remarks
from bayesmeta.display.export import Page
from bayesmeta.display.paper import ALARM, DASH, PaperTable, Section, heading, interval_text, symbols, typeset
from bayesmeta.display.tables import NOTHING, Block, Facts, Table, fixed, number, percent, pvalue
from bayesmeta.errors import SpecError
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.io.columns import as_frame
from bayesmeta.summaries.studies import Columns, studies_table
from bayesmeta.summaries.summary import summary
from bayesmeta.summaries.variation import heterogeneity_tables
from bayesmeta.tree.response import Scale
from bayesmeta.tree.specification import group, reading_once

Of = Literal["studies", "summary", "heterogeneity"]
_OF = ("studies", "summary", "heterogeneity")
_BOUNDS = ("lower", "upper")
_TWO_DECIMALS = ("Q", "I2", "H2", "I2_tau2", "H2_tau2", "share", "statistic")
_FROM_TAU2 = {"I2_tau2": "I² (%, from τ²)", "H2_tau2": "H² (from τ²)"}
_FROM_Q = {"I2": "I² (%, from Q)", "H2": "H² (from Q)"}  # beside those from tau2; alone they need no such words
_ABOUT = {"interval": "Interval", "method": "Method", "kind": "Kind", "label": "Effects", "scale": "Scale", "se": "SE"}
_SCALED = ("estimate", "mean", "median", "se", "sd", *_BOUNDS)  # have the digits that their errors deserve
_FEW, _ROUNDING = 4, 1e-9


@asks_in_one_way
def table(
    source: xr.DataTree | xr.Dataset | pd.DataFrame | Page | Any,
    of: Of | None = None,
    *,
    columns: Columns | None = None,
    prob: float | None = None,
    scale: Scale | None = None,
    caption: str | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "TablePage":
    """Data with their effects, or any result, as a table that a paper takes.

    Parameters
    ----------
    source : DataTree, Dataset, DataFrame or Page
        A results tree of `bm.fit` or `bm.sample`; what `bm.predict`, `bm.blup`, `bm.ranef`, `bm.heterogeneity`,
        `bm.confint` and their kind return; a data frame of any library, such as that of `bm.estimates`; or what prints
        itself: summaries, comparisons, tests.
    of : {"studies", "summary", "heterogeneity"}, optional
        What of a results tree: "studies", each study with its counts or means where `bm.effects` made the estimates
        from them, its estimate, interval and weight, and the pooled estimate; "summary", as `bm.summary` has it;
        "heterogeneity", Q, I2 and H2. By default "studies".
    columns : str, sequence of str or mapping, optional
        Of studies: columns of the data to show instead of counts or means; `{"Vaccinated": ("ill", "vaccinated")}` puts
        two under one heading, as "4/123".
    prob : float, optional
        Of a results tree: probability of the intervals, between 0 and 1; by default 0.95.
    scale : {"model", "response"}, optional
        Of a results tree: scale of the effects. By default that on which people read the measure; of "summary" both.
    caption : str, optional
        Text above the first table; by default what it holds.
    vcov, df : optional
        Of a fit: covariance and reference distribution of the coefficients, see `bm.estimates`.

    Returns
    -------
    TablePage
        It prints, shows in a notebook, and has `save("table.docx")`, `to_word()`, `to_html()`, `to_great_tables()`,
        `to_latex()` and `to_markdown()`.

    Raises
    ------
    SpecError
        For a source that is none of these, for `of`, `columns`, `prob` or `scale` that are not as above or do not
        belong to the source.
    DataError
        For a column that cannot become a data frame's.

    Notes
    -----
    The weight of a study is its share in the pooled estimate by generalised least squares, averaged over the draws of a
    posterior. Numbers of data sets and frames have the digits that their standard errors or intervals deserve.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = bm.datasets.load("bcg").head(3)
    >>> trials = bm.effects.odds_ratio(trials, ("tpos", "cpos"), no_events=("tneg", "cneg"), arms=("BCG", "control"))
    >>> bm.table(bm.fit(bm.specify("y ~ 1", trials, S="v"), "fixed")).to_frame()
                     BCG, n/N control, n/N          OR (95% CI) Weight (%)
    Study
    Aronson             4/123       11/139  0.39 (0.12 to 1.26)       28.2
    Ferguson & Simes    6/306       29/303  0.19 (0.08 to 0.46)       48.5
    Rosenthal et al     3/231       11/220  0.25 (0.07 to 0.91)       23.3
    Mean                                    0.25 (0.13 to 0.46)      100.0
    """
    asked = {"of": of, "columns": columns, "prob": prob, "scale": scale, "vcov": vcov, "df": df}
    if isinstance(source, Page):
        _refuse(asked, "what prints itself has these already")
        tables = source.paper()
    elif isinstance(source, xr.DataTree) and "bayesmeta_version" in source.attrs and schema.CONSTANT in source.children:
        if isinstance(of, str) and of == "heterogeneity":
            _refuse({"vcov": vcov, "df": df}, "heterogeneity is tested by Cochran's Q")
        tables = _of_tree(source, of, columns, prob, scale)
    else:
        _refuse(asked, "they belong to results trees")
        tables = [_of_frame(frame, title, attrs) for title, frame, attrs in _frames(source)]
    if caption is not None:
        if not isinstance(caption, str):
            raise SpecError(f"caption is {shown(caption)}; it must be text")
        tables[0] = replace(tables[0], caption=caption)
    return TablePage(tuple(tables))


@dataclass(frozen=True, repr=False, eq=False)
class TablePage(Page):
    """Tables that a paper takes: print them, save them, or go on with their frame."""

    tables: tuple[PaperTable, ...]

    def paper(self) -> list[PaperTable]:
        """The tables as journals print them."""
        return list(self.tables)

    def blocks(self) -> list[Block]:
        """The parts of the page, in order."""
        return [block for each in self.tables for block in _blocks(each)]

    def to_frame(self) -> pd.DataFrame:
        """The texts of the first table, by label."""
        first = self.tables[0]
        labels = pd.Index([row[0] for row in first.rows], name=first.stub or None, dtype=object)
        return pd.DataFrame([row[1:] for row in first.rows], labels, list(first.header), dtype=object)


def _blocks(own: PaperTable) -> Iterator[Block]:
    """What is printed of a table; its notes below it."""
    yield Table(own.caption, own.header, tuple(own.rows))
    if own.foot:
        yield Facts(tuple(("note", line) for line in own.foot))


def _refuse(asked: Mapping[str, object], why: str) -> None:
    for name, value in asked.items():
        if value is not None:
            raise SpecError(f"{name}={shown(value)} has no meaning for this source: {why}\n  leave {name} out")


def _of_tree(
    tree: xr.DataTree, of: Of | None, columns: Columns | None, prob: float | None, scale: Scale | None
) -> list[PaperTable]:
    of = "studies" if of is None else of
    check_choice(of, _OF, "of")
    prob = check_probability(0.95 if prob is None else prob)
    if columns is not None and of != "studies":
        raise SpecError(f'columns={shown(columns)} belongs to of="studies", not to of={of!r}\n  leave columns out')
    if of == "summary":
        return summary(tree, prob, scale=scale).paper()
    with reading_once():
        if of == "studies":
            return [studies_table(tree, prob, scale, columns)]
        if scale is not None:
            raise SpecError(f'scale={scale!r} belongs to of="studies" and of="summary"\n  leave scale out')
        return [_heterogeneity(tree)]


def _heterogeneity(tree: xr.DataTree) -> PaperTable:
    group(tree, schema.HETEROGENEITY)
    (own,) = heterogeneity_tables(tree)
    rows = tuple((row[0], *map(typeset, row[1:])) for row in own.rows)
    notes = (
        f"{remarks.model_name(tree)}; method: {remarks.method(tree)}.",
        "Q, weighted sum of squared residuals without random effects, with its degrees of freedom (df) and p-value.",
        "I², share of the variation between effect estimates that is not sampling error; H² = 1/(1 − I²).",
    )
    alarms = tuple(f"{ALARM}: {alarm}." for alarm in remarks.alarms(tree))
    return PaperTable(own.title, tuple(map(heading, own.header)), (Section("", rows),), notes, "Outcome", alarms)


def _frames(source: Any) -> Iterator[tuple[str, pd.DataFrame, Mapping[Any, Any]]]:
    """The data frames of a source, with titles and attributes."""
    if isinstance(source, xr.DataTree):
        if not source.children:
            raise SpecError("source is an empty DataTree\n  give a results tree, or what bm.ranef returns")
        for name, child in source.children.items():
            yield str(name), child.to_dataset().to_dataframe(), {**source.attrs, **child.attrs}
    elif isinstance(source, xr.Dataset):
        yield "", _rows(source) if source.sizes else _one_row(source), source.attrs
    elif isinstance(source, xr.DataArray):
        yield "", source.to_dataframe(name=str(source.name or "value")), source.attrs
    elif source is None or isinstance(source, str | bytes | int | float):
        raise SpecError(
            f"source is {shown(source)}; it must be a results tree, a result of bayesmeta, or a data frame\n"
            "  bm.table(bm.fit(spec))"
        )
    else:
        frame = as_frame(source, "source")
        yield "", frame, getattr(source, "attrs", {})


def _rows(source: xr.Dataset) -> pd.DataFrame:
    """What the rows are at, such as doses, before what is there; rows that only have numbers go without them."""
    frame = source.to_dataframe()
    about = [name for name, values in source.coords.items() if name not in source.dims and values.ndim]
    frame = frame[[*about, *(name for name in frame.columns if name not in about)]]
    counted = len(source.dims) == 1 and np.array_equal(frame.index, np.arange(len(frame)))
    return frame.reset_index(drop=True) if about and counted else frame


def _one_row(source: xr.Dataset) -> pd.DataFrame:
    """Numbers without dimensions, labelled by what they belong to."""
    values = {str(name): [value.item()] for name, value in source.data_vars.items()}
    label = next((str(value.item()) for value in source.coords.values()), "")
    return pd.DataFrame(values, pd.Index([label], name=next(map(str, source.coords), None), dtype=object))


def _labelled(frame: pd.DataFrame) -> tuple[str, list[str], pd.DataFrame]:
    """Heading and texts of the labels of all rows, and the other columns.

    The labels are the names of rows where a result has them, else the index without what is the same in all rows; those
    of a plain frame without one are its first column.
    """
    if "name" in frame and frame["name"].is_unique and frame["name"].notna().all() and len(frame.columns) > 1:
        return "", list(map(str, frame["name"])), frame.drop(columns="name")
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None and len(frame.columns) > 1:
        return frame.columns[0], [typeset(_cell(value)) for value in frame.iloc[:, 0]], frame.iloc[:, 1:]
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        same = [level for level in range(index.nlevels) if index.get_level_values(level).nunique() == 1]
        index = index.droplevel(same[: index.nlevels - 1]) if same else index
    stub = ", ".join(str(name) for name in index.names if name is not None)
    return stub, [", ".join(map(str, key)) if isinstance(key, tuple) else str(key) for key in index], frame


def _of_frame(frame: pd.DataFrame, title: str, attrs: Mapping[Any, Any]) -> PaperTable:
    """Any data frame, intervals in one column; the index becomes the labels of the rows."""
    if not len(frame) or not len(frame.columns):
        raise SpecError(
            f"source has {len(frame)} rows and {len(frame.columns)} columns; there is nothing to show"
            "\n  pass a table with rows"
        )
    frame = frame.copy()
    frame.columns = [str(name) for name in frame.columns]
    stub, labels, body = _labelled(frame)
    columns = list(_columns(body, attrs.get("prob")))
    header = tuple(name for name, _ in columns)
    rows = tuple((label, *(texts[i] for _, texts in columns)) for i, label in enumerate(labels))
    notes = tuple(_frame_notes(attrs))
    return PaperTable(symbols(title), header, (Section("", rows),), notes, stub)


def _frame_notes(attrs: Mapping[Any, Any]) -> Iterator[str]:
    """What the attributes of a result say about its numbers."""
    for name, word in _ABOUT.items():
        if isinstance(value := attrs.get(name), str) and value:
            of_posterior = (name, value) == ("interval", "confidence") and "vcov" not in attrs
            yield typeset(f"{word}: {'credible' if of_posterior else value}.")


def _columns(frame: pd.DataFrame, prob: Any) -> Iterator[tuple[str, list[str]]]:
    """Headings and texts of all columns."""
    scale, names = _scales(frame), list(frame.columns)
    headings = _FROM_TAU2 | (_FROM_Q if "I2_tau2" in names else {})
    both = all(name in names for name in _BOUNDS)
    for name in names:
        if both and name == "upper":
            continue
        if both and name == "lower":
            bounds = [_numbers(frame, bound, scale) for bound in _BOUNDS]
            title = f"{percent(prob)} interval" if isinstance(prob, float) else "Interval"
            yield title, [interval_text(*pair) for pair in zip(*bounds, strict=True)]
        else:
            yield headings.get(name, heading(name)), [typeset(text) for text in _numbers(frame, name, scale)]


def _scales(frame: pd.DataFrame) -> pd.Series:
    """For every row what its digits follow from: a standard error, or that of an interval."""
    for name in ("se", "sd"):
        if name in frame and pd.api.types.is_numeric_dtype(frame[name]) and frame[name].notna().any():
            own = frame[name].astype(float)
            break
    else:
        own = pd.Series(np.nan, frame.index)
    if all(name in frame and pd.api.types.is_numeric_dtype(frame[name]) for name in _BOUNDS):
        own = own.where(own.notna(), (frame["upper"].astype(float) - frame["lower"].astype(float)) / 4)
    return own


def _numbers(frame: pd.DataFrame, name: str, scale: pd.Series) -> list[str]:
    """The texts of one column, each number with the digits that it deserves."""
    values = frame[name]
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return [_cell(value) for value in values]
    floats: list[float] = values.astype(float).to_numpy(na_value=np.nan).tolist()
    if name == "pvalue":
        return [pvalue(x) if np.isfinite(x) else NOTHING for x in floats]
    if name in _TWO_DECIMALS:
        return [fixed(x, 2) for x in floats]
    scaled = name in _SCALED and scale.notna().any()
    if not scaled and (places := _decimals(floats)) is not None:
        return [fixed(x, places) for x in floats]
    own = scale if scaled else scale * np.nan
    return [number(x, s) for x, s in zip(floats, own.to_list(), strict=True)]


def _decimals(values: Sequence[float]) -> int | None:
    """The few decimals with which all values are written whole; None where they have more."""
    finite = [x for x in values if np.isfinite(x)]
    return next((d for d in range(_FEW) if all(abs(x - round(x, d)) < _ROUNDING for x in finite)), None)


def _cell(value: Any) -> str:
    """A cell that is no number of a result."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return NOTHING
    if isinstance(value, float | np.floating):
        return "∞" if value == np.inf else f"{value:.6g}"
    return DASH if value == "" else str(value)
