"""Checks of a posterior: each observation against its prediction by all others, and estimates under several priors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr, softmax

from bayesmeta import tree_schema as schema
from bayesmeta._typing import ObjectArray
from bayesmeta._validation import check_bayes, check_probability
from bayesmeta.errors import SpecError, keeps_old_names
from bayesmeta.inference.loo import single_observations
from bayesmeta.inference.posterior_parts import GOOD_K
from bayesmeta.kernel.pointwise import pointwise_moments
from bayesmeta.plots.compare import compare
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.style import AxesArray
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws
from bayesmeta.tree.specification import group, spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike, DrawnAxes

_BAND_SIMULATIONS = 1000


def loo_pit(tree: xr.DataTree, ax: "Axes | None" = None, *, prob: float = 0.95) -> "DrawnAxes":
    """Whether each observation looks like a draw from its prediction by all the others.

    The line is the empirical distribution function of the values of `loo_pit_values` minus that of the uniform
    distribution, which they follow if the model is right. A hump left of the middle with a trough right of it means
    that observations lie further out than predicted; the mirror image, that predictions are too wide.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.sample`, with at least two observations.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    prob : float, default 0.95
        Probability with which the whole line of independent uniform values lies in the band; 1 minus this is the size
        of the test whose p-value is printed.

    Returns
    -------
    matplotlib Axes
        The label of the x axis gives the number of observations whose importance weights are not reliable.

    Raises
    ------
    SpecError
        If the tree is that of a fit, or of Markov chains without `/log_likelihood_conditional`, or has only one
        observation, or `prob` is not between 0 and 1.

    See Also
    --------
    bayesmeta.plots.loo_pit_values : The numbers that are drawn.

    Notes
    -----
    Drawn by ArviZ with its preferred test, which also holds for dependent values; the points that speak most strongly
    against uniformity are marked where the test rejects it. Values of one group depend on each other, and the band does
    not allow for that.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, random_seed=1, progress=False)
    >>> ax = bm.plots.loo_pit(post)
    >>> ax.get_xlabel()
    'LOO-PIT of 13 observations'
    """
    check_bayes("plots.loo_pit")
    import arviz
    from arviz_stats.ecdf_utils import ecdf_pit

    check_probability(prob)
    values = loo_pit_values(tree)
    n = values.sizes[schema.OBS]
    if n < 2:
        raise SpecError("this tree has a single observation, but a distribution needs at least two")
    panel = only_axes(ax, width=4.5, height=3.2)
    pit = values[["pit"]].drop_vars([schema.ROW, schema.OUTCOME])
    arviz.plot_ecdf_pit(
        xr.DataTree.from_dict({"pit": pit}),
        group="pit",
        sample_dims=[schema.OBS],
        envelope_prob=prob,
        plot_collection=_collection(pit, panel),
        visuals={"title": False, "xlabel": False, "ylabel": False},
    )
    x, _, lower, upper = ecdf_pit(pit["pit"].to_numpy(), prob, _BAND_SIMULATIONS)
    panel.fill_between(x, lower - x, upper - x, color="0.5", alpha=0.15, linewidth=0)
    least, most = panel.get_ylim()
    panel.set_ylim(min(least, 1.1 * (lower - x).min()), max(most, 1.1 * (upper - x).max()))
    bad = int((values["pareto_k"] > values.attrs["good_k"]).sum())
    unreliable = f"; {bad} with Pareto k > {values.attrs['good_k']:.2f}" if bad else ""
    panel.set_xlabel(f"LOO-PIT of {n} observations{unreliable}")
    panel.set_ylabel("ECDF minus uniform")
    return panel


@keeps_old_names
def sensitivity(
    dataset: xr.Dataset, parameters: str | Sequence[str] | None = None, axes: "AxesLike | None" = None
) -> AxesArray:
    """Estimates and intervals of every parameter under several priors, one panel for each parameter.

    Parameters
    ----------
    dataset : Dataset
        The result of `bm.sensitivity`.
    parameters : str or sequence of str, optional
        Labels to draw, such as "tau[unit, Intercept]"; by default all that vary.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are parameters; by default new ones, up to three side by side.

    Returns
    -------
    array of Axes
        Points are posterior means, lines the intervals; the priors follow one another in their order in the dataset.

    Raises
    ------
    SpecError
        If `dataset` is anything else, a parameter is unknown, or the number of axes is wrong.

    See Also
    --------
    bayesmeta.sensitivity : The numbers that are drawn.
    bayesmeta.plots.compare : The same for several methods or models.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> priors = {"default": None, "Turner": bm.Priors(tau=bm.priors.turner())}
    >>> estimates = bm.sensitivity(spec, priors, random_seed=1, progress=False)
    >>> [ax.get_title() for ax in bm.plots.sensitivity(estimates)]
    ['beta[Intercept]', 'tau[unit, Intercept]']
    """
    if not isinstance(dataset, xr.Dataset) or not {"prior", "parameter"} <= set(dataset.dims):
        raise SpecError("plots.sensitivity takes the dataset returned by bm.sensitivity")
    return compare(dataset, parameters, axes)


def loo_pit_values(tree: xr.DataTree) -> xr.Dataset:
    """Probability that an observation is as small as it is or smaller, given all others, including those of its group.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.sample`.

    Returns
    -------
    Dataset
        Over `obs`: `pit`, between 0 and 1, and `pareto_k` of importance weights, NaN where there are none; attribute
        `good_k`, above which they are not reliable.

    Raises
    ------
    SpecError
        If the tree has no `/log_likelihood_conditional` and is of Markov chains, or of a fit.

    See Also
    --------
    bayesmeta.plots.loo_pit : The same as a picture.
    bayesmeta.loo : Without whole groups.

    Notes
    -----
    Posteriors without Markov chains: exact. Random effects and coefficients are integrated out without y_j, and the
    points u of the integral weighted by `1 / p(y_j | y_-j, u)`. On a lattice that has no error to speak of, and
    `pareto_k` is NaN; where the points do not reach, the posterior without y_j is integrated anew.

    Markov chains: `sum_s w_s P(Y_j <= y_j | y_-j, theta_s)` over draws theta_s of beta and Psi. Random effects are
    integrated out, so that Y_j given the others is normal, and its distribution function exact; w_s is the
    Pareto-smoothed `1 / p(y_j | y_-j, theta_s)` from `/log_likelihood_conditional` (Vehtari, Gelman and Gabry 2017,
    Stat. Comput. 27:1413-1432).

    `arviz.loo_pit` counts draws of Y_j. The two agree to Monte Carlo error where each observation is a group of its
    own and the draws are of new groups, `/posterior_predictive_new`. Draws of the same groups, in
    `/posterior_predictive`, depend on random effects that have seen y_j, so with these it answers a different question;
    and for groups of several observations it has no weights of single ones.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, random_seed=1, progress=False)
    >>> values = bm.plots.loo_pit_values(post)
    >>> round(float(values["pit"].min()), 1)
    0.1
    """
    spec = spec_from_tree(tree)
    if (exact := single_observations(tree)) is not None:
        labels = {schema.ROW: np.array(spec.row_labels, dtype=object)[spec.row]}
        labels |= {schema.OUTCOME: np.array(spec.outcomes, dtype=object)[spec.outcome_index]}
        pit, k = ((schema.OBS, values) for values in exact)
        coords = {schema.OBS: pd.RangeIndex(len(spec.y))} | {name: (schema.OBS, of) for name, of in labels.items()}
        return xr.Dataset({"pit": pit, "pareto_k": k}, coords, {"good_k": GOOD_K})
    density = group(tree, schema.POINTWISE)
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    psi = [psi_draws(tree, level.name) for level in spec.levels]
    S = spec.S.value, spec.S.row, spec.S.col
    y = spec.y - spec.offset
    mean, sd = pointwise_moments(y, spec.X, Z, index, S, psi, beta_draws(tree))
    loo = _loo(tree, density)
    weights = loo.log_weights.transpose(schema.CHAIN, schema.DRAW, schema.OBS).to_numpy().reshape(mean.shape)
    pit = (softmax(weights, axis=0) * ndtr((y - mean) / sd)).sum(0)
    variables = {"pit": (schema.OBS, pit), "pareto_k": (schema.OBS, loo.pareto_k.to_numpy())}
    of_rows: dict[Any, Any] = {name: density[name] for name in (schema.OBS, schema.ROW, schema.OUTCOME)}
    return xr.Dataset(variables, of_rows, {"good_k": float(loo.good_k)})


def _loo(tree: xr.DataTree, density: xr.Dataset) -> Any:
    """ArviZ's leave-one-out criterion of single observations, for its weights."""
    import warnings

    import arviz

    slim = xr.DataTree.from_dict({schema.POSTERIOR: group(tree, schema.POSTERIOR), schema.LOG_LIKELIHOOD: density})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto", UserWarning)  # pareto_k reports it
        return arviz.loo(slim, pointwise=True)


def _collection(data: xr.Dataset, ax: "Axes") -> Any:
    """An ArviZ plot collection whose single panel is these axes."""
    import arviz

    def scalar(artist: object) -> ObjectArray:
        array = np.empty((), dtype=object)
        array[()] = artist
        return array

    name = next(iter(data))
    panels = {"/": xr.Dataset({"figure": scalar(ax.figure)}), "plot": xr.Dataset({name: scalar(ax)})}
    places = {place: xr.Dataset({name: 0}) for place in ("row_index", "col_index")}
    return arviz.PlotCollection(data, xr.DataTree.from_dict(panels | places), backend="matplotlib")
