"""Every printed number of the model files against the fits of this package."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import chdtrc

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_name
from bayesmeta.errors import SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.predict import predict
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.model_files.model_file import Analysis, load_analysis
from bayesmeta.model_files.published import Printed, rounded
from bayesmeta.tree.parameters import BETA
from bayesmeta.tree.specification import group


@dataclass(frozen=True)
class Row:
    """One printed number beside ours.

    value : ours at full precision. ours : the same with the printed digits. ok : whether the number is held.
    """

    analysis: str
    model: str
    printed: Printed
    value: float

    @property
    def ours(self) -> str:
        return rounded(self.value, self.printed.ours or self.printed.printed)

    @property
    def ok(self) -> bool:
        return self.printed.holds(self.value)


def reproduce(paths: Iterable[str | Path]) -> list[Row]:
    """Fit the models of some files that have printed numbers, each once, and set ours beside them.

    Parameters
    ----------
    paths : iterable of str or Path
        Model files or names of bundled ones, see `bayesmeta.load_analysis`.

    Returns
    -------
    list of Row
        In the order of the files; `row.ok` says whether ours, rounded to the printed digits, is what is printed
        ("<0.01" is a bound); for a stated exception, whether ours is the value stated instead.

    Raises
    ------
    SpecError, DataError
        From the files, or for a printed number of a coefficient, level or effect that the model does not have.

    Examples
    --------
    >>> rows = reproduce(["school"])
    >>> rows[0].model, rows[0].printed.label, rows[0].ok
    ('study', 'beta[Intercept]', True)
    """
    analyses = map(load_analysis, paths)
    return [row for analysis in analyses for name in analysis.models for row in rows_of(analysis, name)]


def rows_of(analysis: Analysis, name: str) -> list[Row]:
    """The printed numbers of one model beside ours; a model without any is not fitted."""
    model = analysis.models[name]
    if not model.paper:
        return []
    tree = fit(model.spec, method=model.method)
    vcov, df = model.inference
    return [Row(analysis.path.stem, name, entry, quantity(tree, entry, vcov=vcov, df=df)) for entry in model.paper]


@asks_in_one_way
def quantity(tree: xr.DataTree, entry: Printed, *, vcov: Vcov | None = None, df: str | None = None) -> float:
    """The value of a printed quantity in a results tree; vcov, df : of its coefficients, as in `bm.estimates`."""
    name = entry.quantity
    if name.startswith("exp_predict"):
        return float(np.exp(_predicted(tree, entry)))
    if name.startswith("exp_"):
        return float(np.exp(_READERS[name.removeprefix("exp_")](tree, *entry.of)))
    return float(_READERS[name](tree, *entry.of))


def _coefficient(column: str) -> Callable[..., float]:
    def read(tree: xr.DataTree, label: str) -> float:
        frame = estimates(tree)
        values = frame[frame["kind"] == BETA].set_index("term")[column]
        check_name(label, values.index, "paper: no coefficient", "coefficients")
        return float(values[label])

    return read


def _tau(tree: xr.DataTree, level: str, effect: str | None = None) -> float:
    estimate = group(tree, schema.ESTIMATE)
    if schema.tau(level) not in estimate:
        levels = [str(v).removeprefix("tau_") for v in estimate.data_vars if str(v).startswith("tau_")]
        check_name(level, levels, "paper: no level", "levels")
    tau = estimate[schema.tau(level)]
    if effect is None and not tau.ndim:  # one SD for all times
        return float(tau)
    effects = [str(label) for label in tau[schema.effect(level)].to_numpy()]
    chosen = effects[0] if effect is None and len(effects) == 1 else effect
    if chosen not in effects:
        raise SpecError(f"paper: level '{level}' has the effects {', '.join(effects)}; name one of them in 'of'")
    return float(tau[effects.index(chosen)])


def _predicted(tree: xr.DataTree, entry: Printed) -> float:
    which = entry.quantity.removeprefix("exp_predict").removeprefix("_") or "mean"
    prediction = predict(tree, pd.DataFrame([dict(entry.at)]), interval="confidence")
    return float(prediction[which].to_numpy().item())


def _wald_pvalue(tree: xr.DataTree, *labels: str) -> float:
    """Joint test that some coefficients are zero: beta' Var(beta)^-1 beta is chi-squared."""
    estimate = group(tree, schema.ESTIMATE)
    coef = [str(c) for c in estimate[schema.COEF].to_numpy()]
    for label in labels:
        check_name(label, coef, "paper: no coefficient", "coefficients")
    at = [coef.index(label) for label in labels]
    beta = estimate["beta"].to_numpy()[at]
    cov = estimate["beta_cov"].to_numpy()[np.ix_(at, at)]
    return float(chdtrc(len(at), beta @ np.linalg.solve(cov, beta)))


def _scalar(group: str, variable: str) -> Callable[[xr.DataTree], float]:
    def read(tree: xr.DataTree) -> float:
        value = tree[group].dataset[variable]
        return float(value.sel({schema.OUTCOME: schema.OVERALL}) if schema.OUTCOME in value.dims else value)

    return read


_READERS: dict[str, Callable[..., float]] = {
    **{name: _coefficient(name) for name in ("se", "pvalue", "lower", "upper")},
    "beta": _coefficient("estimate"),
    "tau": _tau,
    "tau2": lambda tree, *of: _tau(tree, *of) ** 2,
    **{name: _scalar(schema.CRITERIA, name) for name in ("aic", "df")},
    "I2": _scalar(schema.HETEROGENEITY, "I2"),
    "Q_pvalue": _scalar(schema.HETEROGENEITY, "pvalue"),
    "wald_pvalue": _wald_pvalue,
}
