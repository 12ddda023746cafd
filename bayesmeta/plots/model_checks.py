"""Plots of results trees. Each function draws into the axes it is given, or into new ones, and returns them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.special import ndtr, softmax

from bayesmeta import schema
from bayesmeta._typing import AnyArray
from bayesmeta.errors import SpecError
from bayesmeta.kernel.pointwise import pointwise_moments
from bayesmeta.plots.compare import compare
from bayesmeta.plots.style import new_axes
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws
from bayesmeta.tree.specification import group, spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAND_SIMULATIONS = 1000


def loo_pit(tree: xr.DataTree, ax: "Axes | None" = None, *, prob: float = 0.95) -> "Axes":
    """Whether each observation looks like a draw from its prediction by all the others.

    Drawn is the empirical distribution function of the values of `loo_pit_values` less that of the uniform
    distribution, which is what they follow when the model is right. A hump left of the middle and a trough right of it
    speak of observations that lie further out than predicted; the mirror image, of predictions that are too wide.

    Parameters
    ----------
    tree : from `bm.sample`, with at least two observations.
    ax : matplotlib axes to draw into; by default new ones.
    prob : of the band, in which the whole line of independent uniform values lies with this probability, and 1 less
        the size of the test whose p-value is printed.

    Returns
    -------
    Axes
        The axes. Their label says of how many observations the importance weights are not reliable.

    Raises
    ------
    SpecError
        For a tree without `/log_likelihood_conditional`, such as that of a fit, for a single observation, and for a
        prob that is not between 0 and 1.

    Notes
    -----
    ArviZ draws it, with the test that it prefers, which also holds for dependent values; points that speak most against
    uniformity are marked where the test rejects it. Values of one group depend on each other, and the band does not
    allow for that.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, seed=1, progress=False)
    >>> ax = bm.plots.loo_pit(post)
    >>> ax.get_xlabel()
    'LOO-PIT of 13 observations'
    """
    import arviz
    from arviz_stats.ecdf_utils import ecdf_pit

    if not 0 < prob < 1:
        raise SpecError(f"prob is {prob!r}; give a probability between 0 and 1, such as 0.95")
    values = loo_pit_values(tree)
    n = values.sizes[schema.OBS]
    if n < 2:
        raise SpecError("this tree has one observation, and a distribution takes two")
    if ax is None:
        ax = new_axes(width=4.5, height=3.2)[1][0, 0]
    pit = values[["pit"]].drop_vars([schema.ROW, schema.OUTCOME])
    arviz.plot_ecdf_pit(
        xr.DataTree.from_dict({"pit": pit}),
        group="pit",
        sample_dims=[schema.OBS],
        envelope_prob=prob,
        plot_collection=_collection(pit, ax),
        visuals={"title": False, "xlabel": False, "ylabel": False},
    )
    x, _, lower, upper = ecdf_pit(pit["pit"].to_numpy(), prob, _BAND_SIMULATIONS)
    ax.fill_between(x, lower - x, upper - x, color="0.5", alpha=0.15, linewidth=0)
    least, most = ax.get_ylim()
    ax.set_ylim(min(least, 1.1 * (lower - x).min()), max(most, 1.1 * (upper - x).max()))
    bad = int((values["pareto_k"] > values.attrs["good_k"]).sum())
    unreliable = f"; {bad} with Pareto k > {values.attrs['good_k']:.2f}" if bad else ""
    ax.set_xlabel(f"LOO-PIT of {n} observations{unreliable}")
    ax.set_ylabel("ECDF less uniform")
    return ax


def sensitivity(found: xr.Dataset, parameters: Sequence[str] | None = None, axes: Any = None) -> "AnyArray":
    """Estimates and intervals of every parameter under several priors, one panel for each parameter.

    Parameters
    ----------
    found : of `bm.sensitivity`.
    parameters : labels to draw, such as "tau[unit, Intercept]"; by default all that vary.
    axes : as many matplotlib axes; by default new ones, up to three side by side.

    Returns
    -------
    array of Axes
        Points are posterior means, lines the intervals; priors stand below one another in the order given.

    Raises
    ------
    SpecError
        For a dataset of something else, unknown parameters, and the wrong number of axes.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> priors = {"default": None, "Turner": bm.Priors(tau=bm.priors.turner())}
    >>> found = bm.sensitivity(spec, priors, seed=1, progress=False)
    >>> [ax.get_title() for ax in bm.plots.sensitivity(found)]
    ['beta[Intercept]', 'tau[unit, Intercept]']
    """
    if not isinstance(found, xr.Dataset) or not {"prior", "parameter"} <= set(found.dims):
        raise SpecError("plots.sensitivity takes the dataset that bm.sensitivity returned")
    return compare(found, parameters, axes)


def loo_pit_values(tree: xr.DataTree) -> xr.Dataset:
    """Probability that an observation is as small as it is or smaller, given all other observations, its group's too.

    Parameters
    ----------
    tree : from `bm.sample`.

    Returns
    -------
    xr.Dataset
        Over `obs`: `pit`, between 0 and 1, and `pareto_k` of the importance weights; attribute `good_k`, above which
        they are not reliable.

    Raises
    ------
    SpecError
        For a tree without `/log_likelihood_conditional`.

    Notes
    -----
    sum_s w_s P(Y_j <= y_j | y_-j, theta_s) over draws theta_s of beta and Psi. Random effects are integrated out, so
    that Y_j given the others is normal, and its distribution function exact; w_s is the Pareto-smoothed
    1 / p(y_j | y_-j, theta_s) from `/log_likelihood_conditional` (Vehtari, Gelman and Gabry 2017, Stat. Comput.
    27:1413-1432).

    `arviz.loo_pit` counts draws of Y_j. The two agree to Monte Carlo error where each observation is a group of its
    own and these draws are of new groups, `/posterior_predictive_new`. Draws of the same groups, in
    `/posterior_predictive`, follow random effects that have seen y_j, so with these it answers another question; and
    in groups of several observations it has no weights of single ones.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, seed=1, progress=False)
    >>> values = bm.plots.loo_pit_values(post)
    >>> round(float(values["pit"].min()), 1)
    0.1
    """
    density = group(tree, schema.POINTWISE)
    spec = spec_from_tree(tree)
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    psi = [psi_draws(tree, level.name) for level in spec.levels]
    S = spec.S.value, spec.S.row, spec.S.col
    y = spec.y - spec.offset
    mean, sd = pointwise_moments(y, spec.X, Z, index, S, psi, beta_draws(tree))
    loo = _loo(tree, density)
    weights = loo.log_weights.transpose(schema.CHAIN, schema.DRAW, schema.OBS).to_numpy().reshape(mean.shape)
    pit = (softmax(weights, axis=0) * ndtr((y - mean) / sd)).sum(0)
    found = {"pit": (schema.OBS, pit), "pareto_k": (schema.OBS, loo.pareto_k.to_numpy())}
    of_obs = {name: density[name] for name in (schema.OBS, schema.ROW, schema.OUTCOME)}
    return xr.Dataset(found, of_obs, {"good_k": float(loo.good_k)})


def _loo(tree: xr.DataTree, density: xr.Dataset) -> Any:
    """ArviZ's leave-one-out criterion of single observations, for its weights."""
    import warnings

    import arviz

    slim = xr.DataTree.from_dict({schema.POSTERIOR: group(tree, schema.POSTERIOR), schema.LOG_LIKELIHOOD: density})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto", UserWarning)  # pareto_k says it
        return arviz.loo(slim, pointwise=True)


def _collection(data: xr.Dataset, ax: "Axes") -> Any:
    """One panel of ArviZ that is the given axes."""
    import arviz

    def holder(found: object) -> np.ndarray:
        box = np.empty((), dtype=object)
        box[()] = found
        return box

    name = next(iter(data))
    panels = {"/": xr.Dataset({"figure": holder(ax.figure)}), "plot": xr.Dataset({name: holder(ax)})}
    places = {place: xr.Dataset({name: 0}) for place in ("row_index", "col_index")}
    return arviz.PlotCollection(data, xr.DataTree.from_dict(panels | places), backend="matplotlib")
