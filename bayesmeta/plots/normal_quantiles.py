"""Normal quantile plots of the residuals, with an envelope of what the model expects."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from scipy.special import ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_count, check_probability, check_seed, check_size
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.inference.adjusted import weighting_of
from bayesmeta.inference.influence import Fitted, deletions
from bayesmeta.inference.weights import Covariances, marginal_variances
from bayesmeta.kernel import fresh_effects, linear_predictor, sampling_errors
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.texts import row_labels
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.point_labels import Labelled, name_points, short, which
from bayesmeta.plots.predictor import chosen_outcome
from bayesmeta.tree.row_labels import ByRow
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_FEWEST = 3  # observations
_MOST_NAMED = 5  # outliers, the farthest from the envelope


def qqnorm(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    outcome: str | None = None,
    residuals: Literal["rstudent", "rstandard"] = "rstandard",
    prob: float = 0.95,
    simulations: int = 1000,
    label: Labelled = "outliers",
    labels: ByRow | None = None,
    random_seed: int | None = 1,
) -> "DrawnAxes":
    """Residuals against normal quantiles, with an envelope: whether they look as the model says.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    outcome : str, optional
        The outcome to draw; required for a model with several.
    residuals : {"rstandard", "rstudent"}, default "rstandard"
        Residuals standardised, or studentised: from the fit without their row, see `bm.influence`.
    prob : float, default 0.95
        Probability with which a residual of a given rank lies within the envelope, between 0 and 1.
    simulations : int, default 1000
        Number of data sets that are drawn from the model for the envelope.
    label : {"outliers", "all"}, default "outliers"
        Which studies are named: those farther out than the envelope, the five farthest of many, or all; None for none.
    labels : str or sequence, optional
        Names of the rows, as for `bm.plots.forest`.
    random_seed : int, default 1
        Seed of the simulations.

    Returns
    -------
    matplotlib Axes
        Residuals in increasing order; the dashed line is where normal ones would lie.

    Raises
    ------
    SpecError
        When there are fewer than three observations, the model has several outcomes and none is chosen, or an argument
        has another value.

    See Also
    --------
    bayesmeta.influence : The residuals.

    Notes
    -----
    The envelope is made of standardised residuals of data sets that are drawn with the estimated variances, correlated
    as those of the data are. It holds for each rank by itself: some residual is outside more often.

    References
    ----------
    Wang and Bushman (1998), Psychol. Methods 3:46-54; Cook and Weisberg (1982), Residuals and Influence in Regression.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> ax = bm.plots.qqnorm(fit)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('Normal quantile', 'Standardised residual')
    """
    check_choice(residuals, ("rstudent", "rstandard"), "residuals")
    check_probability(prob)
    check_count(simulations, "simulations", 20)
    check_seed(random_seed)
    which(label, np.zeros(0, bool))
    spec = spec_from_tree(tree)
    own = np.flatnonzero(spec.outcome_index == chosen_outcome(spec, outcome))
    fitted = Fitted.of(tree)
    of_all = fitted.of_all_rows() if residuals == "rstandard" else deletions(tree, None).by_observation()
    values = of_all[residuals][own]
    own, values = own[np.isfinite(values)], values[np.isfinite(values)]
    if len(own) < _FEWEST:
        raise SpecError(f"qqnorm: {len(own)} residuals are known; it takes {_FEWEST} at least")
    check_size(32.0 * simulations * len(spec.y), f"{simulations:,} simulations of {len(spec.y):,} residuals")
    order = np.argsort(values)
    expected, x = _envelope(fitted, own, prob, simulations, random_seed), ndtri(_shares(len(own)))
    panel = only_axes(ax, height=2.9)
    panel.fill_between(x, *expected, color=style.grey(0.88), linewidth=0, label="_envelope", zorder=0)
    ends = x[[0, -1]]
    panel.plot(ends, ends, color=style.MUTED, linewidth=0.8, linestyle="--", label="_normal", zorder=1)
    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": style.PAPER, "markeredgewidth": 0.5}
    panel.plot(x, values[order], color=style.BLUE, markersize=4.5, label="_residuals", zorder=4, **look)
    note = f"envelope: {percent(prob)} of residuals of this rank under the model"
    lines = words.label_below(panel, "Normal quantile", [note])
    panel.set_ylabel({"rstudent": "Studentised residual"}.get(residuals, "Standardised residual"), fontsize=style.TEXT)
    if ax is None:
        words.make_room(panel, lines)
    beyond = np.where(x < 0, expected[0] - values[order], values[order] - expected[1])
    outside = beyond > max(0.0, float(np.sort(beyond)[-_MOST_NAMED - 1 :][0]) if len(x) > _MOST_NAMED else 0.0)
    texts = row_labels(spec, labels).texts
    name_points(panel, x, values[order], short(texts[spec.row[i]] for i in own[order]), which(label, outside))
    return panel


def _shares(n: int) -> FloatArray:
    """Plotting positions as R's `ppoints` has them."""
    a = 3 / 8 if n <= 10 else 1 / 2
    return np.asarray((np.arange(1, n + 1) - a) / (n + 1 - 2 * a), dtype=float)


def _envelope(made: Fitted, own: np.ndarray, prob: float, n: int, seed: int | None) -> tuple[FloatArray, FloatArray]:
    """Quantiles of standardised residuals by rank, of data sets drawn from the model."""
    spec, weighted = made.spec, weighting_of(made.spec, made.psi)
    rng, S = np.random.default_rng(seed), (spec.S.value, spec.S.row, spec.S.col)
    psi = [np.broadcast_to(each, (n, *each.shape)) for each in made.psi]
    b, none = fresh_effects(psi, [level.n_groups for level in spec.levels], rng), np.zeros((len(spec.y), 0))
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    errors = (sampling_errors(S, len(spec.y), n, rng) + linear_predictor(none, Z, index, np.zeros((n, 0)), b)).T
    U = weighted(spec.X)
    Phi = np.linalg.inv(spec.X.T @ U)
    left = errors - spec.X @ (Phi @ (U.T @ errors))
    variance = marginal_variances(spec, Covariances([p[None] for p in made.psi], np.ones(1))) - (
        (spec.X @ Phi) * spec.X
    ).sum(1)
    ranked = np.sort(left[own] / np.sqrt(variance[own])[:, None], axis=0)
    lower, upper = np.quantile(ranked, [(1 - prob) / 2, (1 + prob) / 2], axis=1)
    return lower, upper
