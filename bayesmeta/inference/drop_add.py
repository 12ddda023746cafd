"""One fixed term less, or one more: refits, criteria and likelihood-ratio tests in a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_names, shown
from bayesmeta.display.export import Page
from bayesmeta.display.tables import Block, Table, fixed, pvalue
from bayesmeta.errors import SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import method_of
from bayesmeta.formula.parse import Terms
from bayesmeta.formula.update import FixedPart
from bayesmeta.inference.likelihood_ratio import CRITERIA, CRITERIA_HEADER, criteria_cells, lr_test
from bayesmeta.io.columns import as_frame
from bayesmeta.model.respecify import with_fixed
from bayesmeta.model.spec import Spec
from bayesmeta.tree.specification import group, spec_from_tree

NONE = "<none>"


def drop1(tree: xr.DataTree) -> "Steps":
    """Refit without each fixed term in turn, and test what is lost.

    Parameters
    ----------
    tree : DataTree
        Results tree of `fit` by "ml" or "fixed".

    Returns
    -------
    Steps
        Prints as a table, `to_dataframe()`. Only terms that no other term contains are dropped, x:z before x; never an
        intercept. With formulas that differ by outcome every outcome's terms are dropped on their own.

    Raises
    ------
    SpecError
        When the fit is by another method, or has no term that can be dropped.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ ablat + year", bm.datasets.load("bcg"), S="logorvar")
    >>> bm.drop1(bm.fit(spec, method="ml")).to_dataframe()["pvalue"].round(4)
    term
    <none>       NaN
    ablat     0.0033
    year      0.8520
    Name: pvalue, dtype: float64
    """
    spec = _spec(tree, "drop1")
    models = list(FixedPart.of(spec.terms, list(spec.data.columns)).fewer())
    if not models:
        raise SpecError(f"drop1: nothing to drop, the fixed part of '{spec.terms.fixed}' has intercepts only")
    return Steps(_table(tree, spec, models, None), "Fixed part with one term less")


def add1(
    tree: xr.DataTree, terms: str | Sequence[str], data: pd.DataFrame | Mapping[str, Any] | None = None
) -> "Steps":
    """Refit with each of some fixed terms in turn added, for all outcomes, and test what is gained.

    Parameters
    ----------
    tree : DataTree
        Results tree of `fit` by "ml" or "fixed".
    terms : str or sequence of str
        A formula of predictors, as "year + ablat:year", or a list of them; each of its terms is added alone.
    data : DataFrame or mapping, optional
        The data frame that the model was specified with, where a term needs a column that the model did not.

    Returns
    -------
    Steps
        Prints as a table, `to_dataframe()`.

    Raises
    ------
    SpecError
        When the fit is by another method, a term is in the model already, or contains one that is not.
    DataError
        When a term has missing values in rows of the model, or `data` is not that of the model.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> null = bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar"), method="ml")
    >>> bm.add1(null, "ablat + year", data=bcg).to_dataframe()["aic"].round(3)
    term
    <none>    30.146
    ablat     19.927
    year      28.546
    Name: aic, dtype: float64
    """
    spec = _spec(tree, "add1")
    columns = list(spec.data.columns) if data is None else list(as_frame(data, "data").columns.map(str))
    terms = check_names(terms, "terms")
    columns = list(dict.fromkeys([*spec.data.columns, *columns]))
    try:
        models = list(FixedPart.of(spec.terms, columns).more(terms))
    except SpecError as error:
        hint = "\n  a column that the tree does not hold comes with data=" if "no column" in str(error) else ""
        raise SpecError(f"add1: {error}{hint if data is None else ''}") from None
    if not models:
        raise SpecError(f"add1: nothing to add in {shown(terms)}")
    return Steps(_table(tree, spec, models, data), "Fixed part with one term more")


@dataclass(frozen=True, repr=False, eq=False)
class Steps(Page):
    """Models one term apart from a fit: print them, or take `to_dataframe()`."""

    frame: pd.DataFrame
    title: str

    def to_dataframe(self) -> pd.DataFrame:
        """Over `term`, "<none>" the fit itself: df, loglik, aic, aicc, and of the test statistic, lr_df, pvalue."""
        return self.frame.copy()

    def blocks(self) -> list[Block]:
        """The parts of the page, in order."""
        rows = tuple((str(term), *criteria_cells(row), *_test_cells(row)) for term, row in self.frame.iterrows())
        return [Table(self.title, (*CRITERIA_HEADER, "LR", "LR df", "p-value"), rows)]


def _spec(tree: xr.DataTree, what: str) -> Spec:
    group(tree, schema.CRITERIA)
    if method_of(tree).likelihood != "full":
        raise SpecError(
            f"{what} compares models with different fixed parts, which a fit by {tree.attrs['method']} does not allow\n"
            '  fit with method="ml"'
        )
    return spec_from_tree(tree)


def _table(tree: xr.DataTree, spec: Spec, models: Iterable[tuple[str, Terms]], data: Any) -> pd.DataFrame:
    rows = {NONE: _criteria(tree)}
    for label, terms in models:
        other = fit(with_fixed(spec, terms, data), tree.attrs["method"], random_effects=False)
        size = group(other, schema.CRITERIA)["df"] - group(tree, schema.CRITERIA)["df"]
        test = lr_test(tree, other) if size > 0 else lr_test(other, tree)
        rows[label] = _criteria(other) | {"statistic": test.statistic, "lr_df": test.df, "pvalue": test.pvalue}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("term")


def _criteria(tree: xr.DataTree) -> dict[str, float]:
    return {name: group(tree, schema.CRITERIA)[name].item() for name in CRITERIA}


def _test_cells(row: pd.Series) -> tuple[str, ...]:
    if pd.isna(row["statistic"]):
        return ("", "", "")
    return (fixed(row["statistic"], 3), fixed(row["lr_df"], 0), pvalue(row["pvalue"]))
