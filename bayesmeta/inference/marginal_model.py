"""`to_marginaleffects`: a fit as the model that marginaleffects asks for predictions and their covariance."""

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import xarray as xr
from marginaleffects.classes import ModelAbstract, ModelVault
from marginaleffects.utils import upcast

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_name, listing
from bayesmeta.errors import BayesmetaWarning, SpecError, warn
from bayesmeta.inference.reference import reference_of_fit
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group, spec_from_tree

_RESERVED = {  # names of columns that the package keeps for its own
    *("rowid", "type", "group", "estimate", "std_error", "p_value", "s_value", "conf_low", "conf_high"),
    *("term", "contrast", "statistic"),
}
_LEAST_STEP = 1e-6  # standard errors: a finite difference by less is rounding, by a fifth for a year as the predictor


def to_marginaleffects(tree: xr.DataTree, outcome: str | None = None) -> "MarginalModel":
    """The model of a fit for the functions of marginaleffects: `predictions`, `comparisons`, `slopes`, `avg_*`.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit`, also one read back from a file.
    outcome : str, optional
        Which of several outcomes is predicted; needed where there are several.

    Returns
    -------
    MarginalModel
        A `marginaleffects` model, to be given to its functions in place of a fit of statsmodels.

    Raises
    ------
    SpecError
        Without the extra `bayesmeta[marginaleffects]`; for something that is not the results tree of a fit; for a
        model with an offset, which the package would take for zero; for an outcome that is not there, or several and
        none chosen; for a predictor with a name that the package keeps for its own columns, such as "group".

    Warns
    -----
    BayesmetaWarning
        Where the versions of marginaleffects and polars that are installed cannot compare categories, and the model has
        some.

    Notes
    -----
    Everything is on the scale of the model and about the fixed part: standard errors by the delta method from the
    covariance of the coefficients, intervals and tests normal, random effects zero. `transform=numpy.exp` takes
    estimates and bounds to ratios. Texts and what stands in `C(...)` are categories there. Standard errors of
    predictions and of differences are exact; those of slopes come from finite differences with steps that the package
    chooses so small that they may be wrong by a fifth, and are refused unless `eps_vcov=1.0` is given: means are linear
    in the coefficients, so that large steps are exact. A posterior has draws rather than a covariance, and the package
    takes none: `bm.predict`, with `newdata`, answers for those.

    References
    ----------
    Arel-Bundock, Greifer and Heiss (2024), J. Stat. Softw. 111(9), for the package.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> import marginaleffects as me
    >>> fit = bm.fit(bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> slope = me.avg_slopes(bm.to_marginaleffects(fit), variables="ablat", eps_vcov=1.0)
    >>> slope["estimate"].round(4).item(), slope["std_error"].round(4).item()
    (-0.0315, 0.0063)
    """
    if is_posterior(tree):
        raise SpecError(
            "marginaleffects works with estimates and their covariance, and a posterior has draws\n"
            "  bm.predict(tree, newdata) has means and intervals of the draws"
        )
    group(tree, schema.ESTIMATE)
    spec = spec_from_tree(tree)
    if spec.design.parsed.offsets:
        raise SpecError(
            "this model has an offset, which marginaleffects would take for zero\n"
            "  bm.predict(tree, newdata) includes it"
        )
    if outcome is None and len(spec.outcomes) > 1:
        raise SpecError(
            f"this model has several outcomes: {listing(spec.outcomes)}\n"
            f"  choose one: bm.to_marginaleffects(fit, outcome={spec.outcomes[0]!r})"
        )
    if outcome is not None:
        check_name(outcome, spec.outcomes, "no outcome", "outcomes")
    model = MarginalModel(tree, spec, 0 if outcome is None else spec.outcomes.index(outcome))
    if model.categories and not _compares_categories():
        warn(
            "marginaleffects and polars, in the versions that are installed, cannot compare categories: "
            f"{listing(model.categories)}\n"
            "  predictions and slopes work; for comparisons: pip install 'polars>=1.44,<2'",
            BayesmetaWarning,
        )
    return model


def _compares_categories() -> bool:
    """Whether the package turns texts into categories, which it does by a method that polars 2 does not have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            upcast(pl.DataFrame({"x": ["a"]}), pl.DataFrame({"x": pl.Series(["a"], dtype=pl.Enum(["a"]))}))
        except (AttributeError, pl.exceptions.PolarsError):
            return False
    return True


class MarginalModel(ModelAbstract):
    """A fit as marginaleffects asks for one; made by `bm.to_marginaleffects`."""

    def __init__(self, tree: xr.DataTree, spec: Spec, outcome: int) -> None:
        self.spec, self.outcome = spec, outcome
        estimate, parsed = group(tree, schema.ESTIMATE), spec.design.parsed
        self.predictors = _predictors(self.spec)
        self.categories, data = _model_data(self.spec, self.predictors)
        vault = ModelVault(
            coef=estimate["beta"].to_numpy(),
            coefnames=np.array(self.spec.coef),
            vcov=estimate["beta_cov"].to_numpy(),
            # which serves to find the predictors: the designs are made by the specification
            formula=f"outcome ~ {' + '.join(f'`{name}`' for name in self.predictors) or '1'}",
            modeldata=data,
            package="bayesmeta",
            variable_names=[parsed.responses[outcome].columns[0], *self.predictors],
        )
        super().__init__(tree, vault)

    def find_predictors(self) -> list[str] | None:
        """Names of the predictors; None where there are none, which the package otherwise takes for missing rows."""
        return self.predictors or None

    def get_autodiff_args(self) -> dict[str, Any]:
        """That means are linear in the coefficients, so that derivatives are exact."""
        return {"model_type": "linear", "family": None, "link": None}

    def get_vcov(self, vcov: Any = True) -> FloatArray | None:
        """The covariance of the coefficients: the model's for True, that of a kind such as "CR2"; None for False."""
        if vcov is False or vcov is None:
            return None
        used = reference_of_fit(self.model, None if vcov is True else vcov, "z", "to_marginaleffects")
        return used.cov

    def get_exog(self, newdata: pl.DataFrame) -> FloatArray:
        """(n, coefficients) design of the outcome."""
        columns = {name: self._values(newdata, name) for name in self.predictors}
        frame = pd.DataFrame(columns, index=range(newdata.height))
        return np.asarray(self.spec.design.fixed(frame)[:, self.outcome])

    def _values(self, newdata: pl.DataFrame, name: str) -> Any:
        """A column as the data had it: categories as what they stand for."""
        values = newdata[name].to_list()
        known = self.categories.get(name)
        return values if known is None else [known[str(value)] for value in values]

    def get_predict(self, params: FloatArray, newdata: FloatArray) -> pl.DataFrame:
        """Means of all rows; `newdata` : as `get_exog` makes it.

        Raises
        ------
        SpecError
            When `params` differ from the estimates by a step so small that rounding is what its effect consists of.
        """
        params, se = np.asarray(params), np.sqrt(np.diag(self.vault.vcov))
        step = np.abs(params - self.vault.coef)
        if step.any() and (step <= _LEAST_STEP * se).all():
            raise SpecError(
                "marginaleffects has no exact derivative for this and takes finite differences, by steps too small for "
                "standard errors that are right\n"
                "  slopes and linear hypotheses: give eps_vcov=1.0, which is exact, since means are linear too;\n"
                f"  elasticities and functions of your own: eps_vcov={10 * _LEAST_STEP * se.max():.0e}"
            )
        means = newdata @ params
        return pl.DataFrame({"rowid": np.arange(len(means), dtype=np.int32), "estimate": means})


def _predictors(spec: Spec) -> list[str]:
    """Raw columns of the fixed part, of all outcomes: designs are made for all at once."""
    names = list(spec.design.parsed.fixed_predictors)
    if reserved := [name for name in names if name in _RESERVED]:
        raise SpecError(
            f"the predictor '{reserved[0]}' has a name that marginaleffects keeps for its own columns\n"
            "  rename the column and specify again"
        )
    return names


def _model_data(spec: Spec, predictors: list[str]) -> tuple[dict[str, dict[str, Any]], pl.DataFrame]:
    """What categories stand for, by predictor, and the rows of the model: its columns and others that are complete."""
    rows = spec.data.loc[spec.kept]
    written = str(spec.terms.to_json())
    categories: dict[str, dict[str, Any]] = {}
    columns: dict[str, pl.Series] = {}
    for name in map(str, rows.columns):
        values = rows[name]
        plain = pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)
        if name in predictors and (not plain or re.search(rf"\bC\(\s*`?{re.escape(name)}\b", written)):
            known = _categories(values)
            categories[name] = known
            columns[name] = pl.Series(name, [str(value) for value in values], dtype=pl.Enum(list(known)))
        elif name in predictors or (name not in _RESERVED and values.notna().all()):
            columns[name] = pl.Series(name, values.to_list() if plain else [str(value) for value in values])
            if not plain:
                columns[name] = columns[name].cast(pl.Enum(sorted(set(columns[name]))))
    return categories, pl.DataFrame(list(columns.values()))


def _categories(values: pd.Series) -> dict[str, Any]:
    """Categories in their order, by their texts."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        levels = [level for level in values.cat.categories if (values == level).any()]
    else:
        levels = sorted(values.unique())
    return {str(level): level for level in levels}
