"""Trim and fill: effects that a symmetric funnel plot would have and this one lacks."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_probability
from bayesmeta.errors import ConvergenceError, DataError
from bayesmeta.estimation.fit import fit
from bayesmeta.inference.reference import declare, declared, reference_of_fit
from bayesmeta.inference.small_study.evidence import Evidence, of_one_outcome, refitted, result, with_column
from bayesmeta.model.spec import Level, SamplingCovariance, Spec
from bayesmeta.model.subset import of_rows
from bayesmeta.tree.row_labels import row_labels
from bayesmeta.tree.specification import group, spec_from_tree

type Side = Literal["left", "right"]
type Estimator = Literal["L0", "R0", "Q0"]
SIDES, ESTIMATORS = ("left", "right"), ("L0", "R0", "Q0")
MOST_ROUNDS = 100
_DEPENDENT = (
    "effects of one group are not exchangeable, and mirrored ones would belong to none\n"
    '  egger(tree, vcov="CR2") tests for asymmetry, pet_peese(tree, vcov="CR2") extrapolates; or fit one effect a study'
)


def trim_fill(
    tree: xr.DataTree,
    side: Side | None = None,
    estimator: Estimator = "L0",
    *,
    df: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """Trim and fill: how many effects are missing on one side of the funnel plot, and the estimate with them.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` of a model without predictors, of one outcome with one effect a study.
    side : {"left", "right"}, optional
        On which side effects are missing; by default opposite to where small studies lie, by a regression on standard
        errors in the model of the tree.
    estimator : {"L0", "R0", "Q0"}, default "L0"
        Of the number of missing effects: L0 and Q0 by the ranks of all effects, R0 by the run of the outermost.
    df : str, optional
        Reference distribution of the estimate, see `bm.estimates`.
    prob : float, default 0.95
        Probability of the interval, between 0 and 1.

    Returns
    -------
    Dataset
        Scalars: `k0`, the number of missing effects, its standard error `k0_se` and, for R0, the `k0_pvalue` of the
        test that none is missing (else NaN); `side`; `estimate`, `se`, `lower`, `upper`, `pvalue` and `tau2` with the
        filled effects; `k`, the number of observed ones.

    Raises
    ------
    SpecError
        When an argument is wrong, or the model has predictors, several outcomes or levels, whose groups it would tear
        apart.
    DataError
        When there are fewer than three effects, or Q0 has no value for them.

    See Also
    --------
    bayesmeta.small_study.filled : The fit with the filled effects, for `bm.plots.funnel`.

    Notes
    -----
    At least three effects. Filled effects are no data: the estimate shows how far it depends on the asymmetry, if that
    comes from suppressed extreme results and nothing else. With heterogeneity it fills where nothing is missing
    (Terrin et al. 2003, Stat. Med. 22:2113-2126).

    References
    ----------
    Duval and Tweedie (2000), Biometrics 56:455-463; (2000), J. Am. Stat. Assoc. 95:89-98.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("yi ~ 1", bm.datasets.load("raudenbush1985"), S="vi"))
    >>> out = bm.small_study.trim_fill(fit)
    >>> out["k0"].item(), out["side"].item(), out["estimate"].round(4).item()
    (3, 'left', 0.0282)
    """
    check_probability(prob)
    trimmed = _trimmed(tree, side, estimator, "trim_fill")
    own = trimmed.fill(tree)
    used = reference_of_fit(own, None, df, "trim_fill")
    each = used.each(np.eye(1))
    lower, upper = each.bounds(prob)
    level = trimmed.of.spec.levels[0]
    numbers = {
        "k0": trimmed.k0,
        "k0_se": trimmed.k0_se,
        "k0_pvalue": trimmed.k0_pvalue,
        "side": trimmed.side,
        "estimate": float(each.estimate[0]),
        "se": float(each.se[0]),
        "lower": float(lower[0]),
        "upper": float(upper[0]),
        "pvalue": float(each.pvalue[0]),
        "tau2": float(group(own, schema.ESTIMATE)[schema.psi(level.name)].to_numpy().item()),
        "k": trimmed.of.n,
    }
    return result(numbers, trimmed.of.attrs(estimator=estimator, prob=prob, **used.attrs))


def filled(tree: xr.DataTree, side: Side | None = None, estimator: Estimator = "L0") -> xr.DataTree:
    """The model of a tree fitted to its effects and those that trim and fill puts beside them.

    Parameters
    ----------
    tree : DataTree
        As for `trim_fill`.
    side, estimator : optional
        As for `trim_fill`.

    Returns
    -------
    DataTree
        A results tree whose last rows are the filled effects, named "Filled 1" and so on; attribute `filled` is their
        number. `bm.plots.funnel` draws them hollow.

    Raises
    ------
    SpecError, DataError
        As `trim_fill`.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("yi ~ 1", bm.datasets.load("raudenbush1985"), S="vi"))
    >>> more = bm.small_study.filled(fit)
    >>> more.attrs["filled"], more["observed_data"].sizes["obs"]
    (3, 22)
    """
    return _trimmed(tree, side, estimator, "filled").fill(tree)


def observed(tree: xr.DataTree) -> xr.DataTree:
    """The fit without filled effects: the tree itself where there are none."""
    k0 = int(tree.attrs.get(schema.FILLED, 0))
    if not k0:
        return tree
    spec = spec_from_tree(tree)
    own = fit(of_rows(spec, np.arange(len(spec.kept)) < len(spec.kept) - k0), str(tree.attrs["method"]))
    declare(own, declared(tree))
    return own


@dataclass(frozen=True, eq=False)
class _Trimmed:
    """What trim and fill has come to.

    y, v : (k0,) the filled effects and their sampling variances.
    """

    of: Evidence
    side: str
    k0: int
    k0_se: float
    k0_pvalue: float
    y: FloatArray
    v: FloatArray

    def fill(self, tree: xr.DataTree) -> xr.DataTree:
        own = refitted(self.of, _with_effects(self.of.spec, self.y, self.v) if self.k0 else self.of.spec)
        own.attrs[schema.FILLED] = self.k0
        return own


def _trimmed(tree: xr.DataTree, side: str | None, estimator: str, what: str) -> _Trimmed:
    check_choice(estimator, ESTIMATORS, "estimator")
    if side is not None:
        check_choice(side, SIDES, "side")
    of = of_one_outcome(tree, what)
    of.check_one_level(_DEPENDENT)
    of.check_intercept_alone()
    side = side or _side(of)
    sign = -1.0 if side == "right" else 1.0
    order = np.argsort(sign * of.y, kind="stable")
    k0, k0_se, before = 0, 0.0, -1
    for _ in range(MOST_ROUNDS):
        if k0 == before:
            break
        before = k0
        centre = _centre(of, order[: of.n - k0])
        k0, k0_se = _missing(sign * (of.y[order] - centre), estimator)
    else:
        raise ConvergenceError(f"{what}: the number of missing effects goes round in a circle; take another estimator")
    outermost = order[of.n - k0 :]
    pvalue = 2.0 ** -(k0 + 1) if estimator == "R0" else np.nan
    return _Trimmed(of, side, k0, k0_se, pvalue, 2 * centre - of.y[outermost], of.v[outermost])


def _side(of: Evidence) -> str:
    """Opposite to the side on which the effects of small studies lie."""
    se = np.sqrt(of.v)
    if np.ptp(se) <= 1e-9 * se.max():
        return "left"
    own = refitted(of, with_column(of, "se", se))
    return "right" if float(group(own, schema.ESTIMATE)["beta"][-1]) < 0 else "left"


def _centre(of: Evidence, which: Any) -> float:
    """The estimate of the model from some of the effects."""
    rows = np.zeros(len(of.spec.kept), bool)
    rows[of.row[which]] = True
    return float(group(refitted(of, of_rows(of.spec, rows)), schema.ESTIMATE)["beta"][0]) * float(of.X[0, 0])


def _missing(centred: FloatArray, estimator: str) -> tuple[int, float]:
    """The number of missing effects, and its standard error, from distances to the centre in ascending order."""
    n = len(centred)
    rank = np.empty(n)
    rank[np.argsort(np.abs(centred), kind="stable")] = np.arange(1, n + 1)
    if estimator == "R0":
        k0 = n - rank[centred < 0].max(initial=0) - 1
        return max(0, int(np.round(k0))), float(np.sqrt(2 * max(0.0, k0) + 2))
    wilcoxon = rank[centred > 0].sum()
    if estimator == "L0":
        k0 = (4 * wilcoxon - n * (n + 1)) / (2 * n - 1)
        slope = 4 / (2 * n - 1)
    else:
        square = 2 * n**2 - 4 * wilcoxon + 0.25
        if square < 0:
            raise DataError('estimator="Q0" has no value for these effects: their ranks are too one-sided; take "L0"')
        k0 = n - 0.5 - np.sqrt(square)
        slope = 2 / np.sqrt(max((n - 0.5) ** 2 - k0 * (2 * n - k0 - 1), 1e-12))
    variance = n * (n + 1) * (2 * n + 1) + 10 * k0**3 + 27 * k0**2 + 17 * k0 - 18 * n * k0**2 - 18 * n * k0
    variance = (variance + 6 * n**2 * k0) / 24
    return max(0, int(np.round(k0))), float(slope * np.sqrt(max(0.0, variance)))


def _with_effects(spec: Spec, y: FloatArray, v: FloatArray) -> Spec:
    """The specification with further rows of one effect each."""
    k, n, rows = len(y), len(spec.y), len(spec.kept)
    names = tuple(f"Filled {i + 1}" for i in range(k))
    every = np.concatenate([spec.S.row, n + np.arange(k)])
    level = spec.levels[0]
    index = np.concatenate([level.index, level.n_groups + np.arange(k)])
    more = Level(
        level.name,
        (*level.labels, *((name,) for name in names)),
        index,
        np.concatenate([level.Z, np.ones((k, 1))]),
        level.effects,
        level.structure,
    )
    frame = pd.DataFrame({spec.outcomes[0]: y}, index=list(names))
    if spec.outcomes[0] not in spec.data:
        frame = frame[[]]
    return replace(
        spec,
        y=np.concatenate([spec.y, y]),
        X=np.concatenate([spec.X, np.broadcast_to(spec.X[:1], (k, spec.X.shape[1]))]),
        offset=np.concatenate([spec.offset, np.zeros(k)]),
        S=SamplingCovariance(np.concatenate([spec.S.value, v]), every, every),
        levels=(more,),
        row=np.concatenate([spec.row, rows + np.arange(k)]),
        outcome_index=np.concatenate([spec.outcome_index, np.zeros(k, np.int64)]),
        row_labels=(*spec.row_labels, *names),
        kept=np.concatenate([spec.kept, np.ones(k, bool)]),
        dropped=(*spec.dropped, *("" for _ in names)),
        data=pd.concat([spec.data.set_axis(list(spec.row_labels)), frame]),
        labels=(*row_labels(spec), *names),
        notes=(*spec.notes, f"{k} effects were filled in by trim and fill; they are no data"),
    )
