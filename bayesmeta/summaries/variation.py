"""How much true effects differ, as a summary says it: variances, I2 and H2 with intervals, and Cochran's Q."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.display.remarks import varies
from bayesmeta.display.tables import Facts, Table, fixed, number, percent, pvalue
from bayesmeta.errors import BayesmetaError, BoundaryWarning
from bayesmeta.inference import exact_predict
from bayesmeta.inference.confint import confint
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.partition import excess_error, level_shares
from bayesmeta.tree.parameters import PSI, TAU, effects, level_structures
from bayesmeta.tree.posterior_draws import is_posterior, psi_draws, summarised
from bayesmeta.tree.response import has_predictors
from bayesmeta.tree.specification import group, spec_from_tree
from bayesmeta.tree.variance_shares import excess

I2, H2 = "I2 (%, from tau2)", "H2 (from tau2)"
Q_PROFILE = "by Q-profile"  # the intervals, else Wald
_MOST_ROWS = 2_000  # beyond, the Q-profile takes longer than a page may
_NUMBERS = ["estimate", "se", "lower", "upper"]


def title(tree: xr.DataTree) -> str:
    """Between what the predictors leave, where there are any."""
    return "Residual heterogeneity" if has_predictors(tree) else "Heterogeneity"


def variances_table(tree: xr.DataTree, prob: float) -> Table:
    """tau2 and tau of every level, and I2 and H2 for one outcome; for levels with one random effect each."""
    rows, interval = variances(tree, prob)
    cells = [(str(label), *_numbers(str(label), row)) for label, row in rows.iterrows()]
    of_draws = is_posterior(tree)
    kind = "" if of_draws else f", {interval}"
    header = ("mean", "sd", "lower", "upper") if of_draws else ("estimate", "se", "lower", "upper")
    return Table(f"{title(tree)} ({percent(prob)} intervals{kind})", header, tuple(cells))


def _numbers(label: str, row: pd.Series) -> tuple[str, ...]:
    """Variances with the digits that their errors deserve, percentages and ratios with two."""
    share = label.startswith((I2, H2))
    if share:
        return tuple(fixed(value, 2) if np.isfinite(value) else "" for value in row[_NUMBERS])
    return tuple(number(value, row["se"]) for value in row[_NUMBERS])


def variances(tree: xr.DataTree, prob: float) -> tuple[pd.DataFrame, str]:
    """tau2 and tau of every level, one after the other, then I2 and H2; and how their intervals came about."""
    if not is_posterior(tree) and (exact := _q_profile(tree, prob)) is not None:
        return exact, Q_PROFILE
    frame = estimates(tree, prob)
    squares, sds = frame[frame["kind"] == PSI], frame[frame["kind"] == TAU]
    pairs = [label for square, sd in zip(squares.index, sds.index, strict=True) for label in (square, sd)]
    rows = frame.loc[pairs, _NUMBERS]
    return pd.concat([rows, pd.DataFrame(dict(shares(tree, prob)), _NUMBERS).T]), "Wald"


def _q_profile(tree: xr.DataTree, prob: float) -> pd.DataFrame | None:
    """Exact intervals, where the model has them and they are quick."""
    if group(tree, schema.CONSTANT).sizes[schema.OBS] > _MOST_ROWS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BoundaryWarning)
            exact = confint(tree, "qprofile", prob=prob).to_dataframe()
    except BayesmetaError:  # several outcomes or levels, or no degrees of freedom
        return None
    return exact.rename(index={"I2": I2, "H2": H2})[_NUMBERS]


def shares(tree: xr.DataTree, prob: float) -> Iterator[tuple[str, list[float]]]:
    """I2 and H2, of a fit the estimates of one outcome, of a posterior what its draws say of each outcome."""
    if not is_posterior(tree):
        table = group(tree, schema.HETEROGENEITY) if schema.HETEROGENEITY in tree.children else xr.Dataset()
        if "H2_tau2" in table:
            yield from _wald_shares(tree, float(table["H2_tau2"].values[0]) - 1, prob)
        return
    spec = spec_from_tree(tree)
    names = [""] if len(spec.outcomes) == 1 else [f", {name}" for name in (schema.OVERALL, *spec.outcomes)]

    def values(psi: Sequence[FloatArray]) -> FloatArray:
        relative = excess(spec, psi)
        return np.concatenate([100 * relative / (1 + relative), 1 + relative], axis=1)

    if (points := exact_posterior(tree)) is not None:
        own = exact_predict.of_psi(points, values, prob)
    else:
        own = summarised(values([psi_draws(tree, level.name) for level in spec.levels]), prob)
    for j, name in enumerate(names):
        for label, at in ((I2, j), (H2, len(names) + j)):
            if np.isfinite(own["lower"][at]):
                yield f"{label}{name}", [float(each[at]) for each in own.values()]


def _wald_shares(tree: xr.DataTree, relative: float, prob: float) -> Iterator[tuple[str, list[float]]]:
    """I2 and H2 of one outcome, with intervals that are symmetric in the log of tau2 / s2, as those of SDs are."""
    se = excess_error(tree)
    factor = np.exp(float(ndtri(0.5 + prob / 2)) * se / relative) if se < 2 * relative else np.nan  # as for SDs
    lower, upper = relative / factor, relative * factor
    yield (
        I2,
        [100 * relative / (1 + relative), 100 * se / (1 + relative) ** 2, *(100 * x / (1 + x) for x in (lower, upper))],
    )
    yield H2, [1 + relative, se, 1 + lower, 1 + upper]


def tests(tree: xr.DataTree, prob: float) -> list[Table | Facts]:
    """Cochran's Q, in a line for one outcome; of a posterior I2 and H2, where they are not among the variances."""
    together = one_effect_each(tree)
    if is_posterior(tree):
        rows = tuple((label, *(fixed(value, 2) for value in values)) for label, values in shares(tree, prob))
        shown = bool(rows) and not together
        return [Table(f"{title(tree)} ({percent(prob)} intervals)", ("mean", "sd", "lower", "upper"), rows)] * shown
    if schema.HETEROGENEITY not in tree.children:
        return []
    table = group(tree, schema.HETEROGENEITY)
    if table.sizes[schema.OUTCOME] > 1:
        return list(heterogeneity_tables(tree))
    row = {str(name): float(values.values[0]) for name, values in table.items()}
    words = f"Q = {fixed(row['Q'], 2)}, df {fixed(row['df'], 0)}, p {_p(row['pvalue'])}"
    if not varies(tree):
        words += f"; I2 (from Q) {fixed(row['I2'], 2)}%, H2 (from Q) {fixed(row['H2'], 2)}"
    elif not together and "I2_tau2" in row:
        words += f"; I2 (from tau2) {fixed(row['I2_tau2'], 2)}%, H2 (from tau2) {fixed(row['H2_tau2'], 2)}"
    by_level = ", ".join(f"{level} {fixed(share, 2)}%" for level, share in level_shares(tree).items())
    return [Facts(((f"Test of {title(tree).lower()}", words), *((("I2 by level", by_level),) if by_level else ())))]


def one_effect_each(tree: xr.DataTree) -> bool:
    """Whether no level has several random effects, so that variances stand for all there is."""
    return max((len(effects(tree, level)) for level in level_structures(tree)), default=0) <= 1


def heterogeneity_tables(tree: xr.DataTree) -> list[Table]:
    """Cochran's Q, I2 and H2, overall and of every outcome; none for a tree without them."""
    if schema.HETEROGENEITY not in tree.children:
        return []
    frame = group(tree, schema.HETEROGENEITY).to_dataframe()
    frame = frame.iloc[:1] if len(frame) == 2 else frame  # of one outcome, the overall row says it all
    by = "tau2" if varies(tree) and "I2_tau2" in frame else "Q"
    names = ("I2_tau2", "H2_tau2") if by == "tau2" else ("I2", "H2")
    cells = tuple(
        (str(o), fixed(r["Q"], 2), fixed(r["df"], 0), pvalue(r["pvalue"]), *(fixed(r[name], 2) for name in names))
        for o, r in frame.iterrows()
    )
    header = ("Q", "df", "p-value", f"I2 (%, from {by})", f"H2 (from {by})")
    return [Table(f"{title(tree)} (Cochran's Q)", header, cells)]


def _p(p: float) -> str:
    words = pvalue(p)
    return f"< {words.removeprefix('<')}" if words.startswith("<") else f"= {words}"
