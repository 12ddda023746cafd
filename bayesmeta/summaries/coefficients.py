"""The table of coefficients of a summary: on the scale of the model and, where it has another, of the measure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.display.remarks import varies
from bayesmeta.display.tables import Facts, Table, df_text, fixed, number, percent, pvalue
from bayesmeta.errors import DataError
from bayesmeta.inference.estimates import on_scale
from bayesmeta.inference.posterior_predict import below as share_below
from bayesmeta.inference.predict import predict
from bayesmeta.inference.reference import Reference
from bayesmeta.tree.parameters import BETA, level_structures
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import EFFECT, PER_UNIT, Scale, has_predictors, label_of, measure_of, roles
from bayesmeta.tree.specification import group

_BOUNDS, _MIXED = ("lower", "upper"), "response"
_Block = tuple[tuple[str, ...], list[list[str]]]  # headings, and cells of every row below them


@dataclass(frozen=True)
class Coefficients:
    """The table of one tree.

    parameters : as `estimates.calibrated` has them, on the scale of the model. scale : that of the model, that of the
    measure, or None for both side by side. used, asked : the reference of a fit, and the arguments that asked for it.
    """

    tree: xr.DataTree
    parameters: pd.DataFrame
    prob: float
    scale: Scale | None
    used: Reference | None
    asked: Mapping[str, Any]

    def table(self) -> Table:
        """Coefficients, and the prediction interval where there is one."""
        tree, record = self.tree, measure_of(self.tree)
        both = self.scale is None and record.has_response
        model = self.parameters[self.parameters["kind"] == BETA]
        blocks, rows = [], [str(label) for label in model.index]
        new = new_effects(tree, self.prob, self.asked)
        rows += [f"prediction, {outcome}" if len(new) > 1 else "prediction interval" for outcome in new]
        if self.scale != "response":
            blocks.append(self._on_model(model, list(new.values())))
        if both or self.scale == "response":
            response = on_scale(model, tree, self.prob, "response")
            blocks.append(self._on_response(response, [record.to_response(new[outcome]) for outcome in new]))
        if is_posterior(tree) and any(probabilities := self.probabilities()):  # means of proportions have no side
            blocks.append((("probability",), [*([cell] for cell in probabilities), *[[""]] * len(new)]))
        header = tuple(name for names, _ in blocks for name in names)
        cells = [tuple(cell for _, block in blocks for cell in block[i]) for i in range(len(rows))]
        title = f"Fixed effects ({percent(self.prob)} intervals)"
        return Table(title, header, tuple((row, *own) for row, own in zip(rows, cells, strict=True)))

    def _on_model(self, model: pd.DataFrame, new: list[FloatArray]) -> _Block:
        """Estimates with their tests; of a posterior mean and SD."""
        used = self.used
        with_df = used is not None and self.same_df is None
        tests = () if used is None else (used.letter, *(("df",) if with_df else ()), "p-value")
        names = ("mean", "sd", *_BOUNDS) if used is None else ("estimate", "se", *tests, *_BOUNDS)
        cells = []
        for _, row in model.iterrows():
            estimate, se, *bounds = (number(row[name], row["se"]) for name in ("estimate", "se", *_BOUNDS))
            df = [df_text(row["df"])] if with_df else []
            test = [] if used is None else [fixed(row["statistic"], 2), *df, pvalue(row["pvalue"])]
            cells.append([estimate, se, *test, *bounds])
        largest, empty = float(model["se"].max()), [""] * (len(names) - 2)
        return names, [*cells, *([*empty, *(number(float(bound), largest) for bound in bounds)] for bounds in new)]

    @property
    def same_df(self) -> str | None:
        """The degrees of freedom of all coefficients, "" for the normal distribution; None where they differ."""
        shown = {
            "" if np.isinf(df) else df_text(df) for df in self.parameters.loc[self.parameters["kind"] == BETA, "df"]
        }
        return shown.pop() if len(shown) == 1 else None

    def _on_response(self, response: pd.DataFrame, new: list[FloatArray]) -> _Block:
        """The same estimates as people read them."""
        labels = list(self._labels().values())
        cells = []
        for (_, row), label in zip(response.iterrows(), labels, strict=True):
            digits = _digits(row)
            cells.append([number(row[name], digits) if label else "" for name in ("estimate", *_BOUNDS)])
        for bounds in new:
            spread = float(bounds[1] - bounds[0]) / 8
            cells.append(["", *(number(float(bound), spread) for bound in bounds)])
        return (labels[0] if len(set(labels)) == 1 else _MIXED, *_BOUNDS), cells

    def note(self) -> list[Facts]:
        """What the coefficients are on the scale of the measure, where they are not all the same."""
        if self.scale == "model" or not measure_of(self.tree).has_response or len(set(self._labels().values())) == 1:
            return []
        own: dict[str, list[str]] = {}
        for coef, label in self._labels().items():
            own.setdefault(label, []).append(f"beta[{coef}]")
        words = [f"{label} for {listing(coefs)}" for label, coefs in own.items() if label]
        return [Facts(((_MIXED, "; ".join(words)),))]

    def _labels(self) -> dict[str, str]:
        record = measure_of(self.tree)
        return {coef: label_of(record, role) for coef, role in roles(self.tree).items()}

    def probabilities(self) -> list[str]:
        """On which side of no effect a posterior lies, in words such as P(OR < 1)."""
        record, of_coef = measure_of(self.tree), roles(self.tree)
        words = []
        for j, role in enumerate(of_coef.values()):
            null = record.null if role == EFFECT else 0.0
            if null is None:
                words.append("")
                continue
            below = float(share_below(self.tree, np.eye(len(of_coef))[j : j + 1], null)[0])
            share, side = max((below, "<"), (1 - below, ">"))
            at_one = record.is_ratio and role in (EFFECT, PER_UNIT)
            name, value = (f"{record.short_label_of(True)} ", "1") if at_one else ("", f"{null:g}")
            words.append(f"P({name}{side} {value}) {fixed(share, 4)}")
        return words


def _digits(row: pd.Series) -> float:
    """What a standard error would be, for the number of decimals."""
    return float(row["upper"] - row["lower"]) / 8


def new_effects(tree: xr.DataTree, prob: float, asked: Mapping[str, Any] | None = None) -> dict[str, FloatArray]:
    """Of every outcome the bounds for the true effect of a new study; none where there is no one interval.

    asked : the arguments `vcov` and `df` of `bm.predict`.
    """
    if not varies(tree) or has_predictors(tree) or tree.attrs["offset"] or not _same_designs(tree):
        return {}
    try:
        predicted = predict(tree, {}, "prediction", prob, **(asked or {}))
    except DataError:  # the random part asks for predictors, though they are the same in all rows
        return {}
    bounds = np.stack([predicted[bound].to_numpy()[0] for bound in _BOUNDS], axis=-1)
    return dict(zip(map(str, predicted[schema.OUTCOME].values), bounds, strict=True))


def _same_designs(tree: xr.DataTree) -> bool:
    """Whether random effects enter all observations of an outcome in the same way."""
    constant = group(tree, schema.CONSTANT)
    outcome = constant["outcome_index"].to_numpy()
    designs = [constant[schema.Z(level)].to_numpy() for level in level_structures(tree)]
    return all((Z[outcome == k] == Z[outcome == k][0]).all() for Z in designs for k in np.unique(outcome))
