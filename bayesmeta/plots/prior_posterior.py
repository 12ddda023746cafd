"""What the data add about the between-group SDs: their prior densities beside their posterior densities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_names, listing
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes, plain, wrapped
from bayesmeta.priors.distributions import logp
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Prior
from bayesmeta.tree.parameters import TAU, check_parameter, level_structures
from bayesmeta.tree.parameters import parameters as parameters_of
from bayesmeta.tree.posterior_draws import SAMPLE, is_posterior
from bayesmeta.tree.specification import group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

_POINTS = 512
_HEIGHT = 2.3  # inches of a panel
_BEYOND = 0.01  # prior probability beyond the axis that is worth mentioning
_ROOM, _SHOWN = 1.15, 0.998  # the axis ends a little beyond this quantile of the draws
_STEEP = 2.5  # times the height of the posterior: a higher prior is cut off at the top of the picture


@dataclass(frozen=True)
class Densities:
    """Densities of one SD over its grid x, which begins at 0.

    law : the prior distribution. beyond : its probability beyond the end of the grid.
    """

    label: str
    law: Prior
    x: FloatArray
    prior: FloatArray
    posterior: FloatArray
    beyond: float


def prior_posterior(
    tree: xr.DataTree,
    parameters: str | Sequence[str] | None = None,
    axes: "AxesLike | None" = None,
    *,
    fit: xr.DataTree | None = None,
) -> style.AxesArray:
    """Prior and posterior densities of the between-group SDs tau: what the data have added.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.sample`.
    parameters : str or sequence of str, optional
        Labels such as "tau[district, Intercept]", as `bm.summary` lists the priors; by default all SDs.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are SDs; by default new ones, up to three side by side.
    fit : DataTree, optional
        A fit of the same model, `bm.fit(spec)`, whose estimates are marked.

    Returns
    -------
    array of Axes
        One for each SD, with the prior as its title. Where more than 1% of the prior lies beyond the axis, a line says
        so.

    Raises
    ------
    SpecError
        If the tree has no posterior, a parameter is unknown, the number of axes is wrong, the model has no SDs to
        estimate, or the fit lacks the SD.

    See Also
    --------
    bayesmeta.sensitivity : What changes under other priors.

    Notes
    -----
    The prior's density is exact; the posterior's is a kernel estimate from the draws, reflected at 0 and where the
    prior ends, so that it puts no probability outside.

    References
    ----------
    Silverman (1986), Density Estimation, sections 2.10 and 3.4.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, random_seed=1, progress=False)
    >>> bm.plots.prior_posterior(post)[0].get_xlabel()
    'tau[unit, Intercept]'
    """
    style.require(is_posterior(tree), "this tree has no posterior, and a fit has no priors", "bm.sample(spec)")
    pairs = densities(tree, parameters)
    marks = {} if fit is None else {each.label: estimate_of(fit, each.label) for each in pairs}
    panels = panel_axes(axes, [each.label for each in pairs], _HEIGHT + 0.3)
    for ax, each in zip(panels, pairs, strict=True):
        _draw(ax, each)
        if each.label in marks:
            _mark(ax, marks[each.label], str(fit.attrs["method"]).upper() if fit is not None else "")
        ax.legend(fontsize=style.SMALL, frameon=False, handlelength=1.8, loc="upper right")
    return panels


def densities(tree: xr.DataTree, parameters: str | Sequence[str] | None = None) -> list[Densities]:
    """What `prior_posterior` draws, one for each SD; its arguments."""
    priors = ModelPriors.from_json(tree.attrs["priors"])
    posterior = group(tree, schema.POSTERIOR)
    sds = {
        label: (prior, level, at)
        for level, own in zip(level_structures(tree), priors.levels, strict=True)
        for at, (label, prior) in enumerate(zip(own.tau_labels, own.tau, strict=True))
    }
    if not sds:
        raise SpecError("this model has no SD of random effects to estimate")
    chosen = list(sds) if parameters is None else check_names(parameters, "parameters")
    for label in chosen:
        check_parameter(label, sds)
    return [_densities(label, sds[label][0], _draws(posterior, *sds[label][1:])) for label in chosen]


def _draws(posterior: xr.Dataset, level: str, at: int) -> FloatArray:
    values = posterior[schema.tau(level)].transpose(*SAMPLE, ...).to_numpy().astype(float)
    return np.asarray(values.reshape(values.shape[0] * values.shape[1], -1)[:, at])


def _densities(label: str, prior: Prior, draws: FloatArray) -> Densities:
    x = np.linspace(0, _ROOM * float(np.quantile(draws, _SHOWN)), _POINTS)
    values = np.exp(logp(prior, x))
    positive = np.flatnonzero(values > 0)
    low = x[positive[0]] if positive.size and positive[0] > 1 else 0.0  # densities such as the log-normal's are 0 at 0
    high = x[positive[-1]] if positive.size and positive[-1] < _POINTS - 1 else np.inf
    fine = np.geomspace(1e-9 * x[-1], x[-1], 20 * _POINTS)
    inside = float(np.trapezoid(np.exp(logp(prior, fine)), fine))
    return Densities(label, prior, x, values, density(draws, x, low, high), max(0.0, 1 - inside))


def density(draws: FloatArray, x: FloatArray, low: float = 0.0, high: float = np.inf) -> FloatArray:
    """Kernel estimate of a density between low and high, reflected there so that no probability lies outside.

    draws : (n,). x : (m,). The bandwidth is Silverman's (1986, eq. 3.31).
    """
    spread = min(draws.std(ddof=1), float(np.subtract(*np.quantile(draws, [0.75, 0.25]))) / 1.34)
    width = 0.9 * (spread or draws.std(ddof=1)) * len(draws) ** -0.2
    kernels = np.zeros(len(x))
    for image in (draws, 2 * low - draws, *([2 * high - draws] if np.isfinite(high) else [])):
        kernels += np.exp(-0.5 * ((x[:, None] - image) / width) ** 2).sum(1)
    return np.where((x >= low) & (x <= high), kernels / (len(draws) * width * np.sqrt(2 * np.pi)), 0.0)


def estimate_of(fit: xr.DataTree, label: str) -> float:
    """The estimate of an SD in a fit; an SD shared by several effects has one estimate for all of them."""
    if is_posterior(fit):
        raise SpecError("fit is a posterior; give a fit of the same model, from bm.fit(spec)")
    table = parameters_of(fit)
    taus = table[table["kind"] == TAU]
    own = taus[(taus.index == label) | ("tau[" + taus["level"] + "]" == label)]["estimate"].to_numpy(float)
    if not own.size or np.ptp(own) > 1e-6 * own.max():
        problem = "has several SDs for" if own.size else "lacks"
        raise SpecError(f"the fit {problem} {label}\n  its SDs: {listing(taus.index)}")
    return float(own[0])


def _draw(ax: "Axes", each: Densities) -> None:
    ax.fill_between(each.x, each.posterior, color=style.BLUE, alpha=0.25, linewidth=0)
    ax.plot(each.x, each.posterior, color=style.BLUE, linewidth=1.5, label="posterior")
    ax.plot(each.x, each.prior, color=style.INK, linewidth=1.2, linestyle="--", label="prior")
    most = each.posterior.max()
    highest = min(each.prior[np.isfinite(each.prior)].max(), _STEEP * most)
    ax.set(xlim=(0, each.x[-1]), ylim=(0, 1.45 * max(most, highest)))  # room for the legend
    title = [f"Prior: {wrapped(each.law, 40)}"]
    if each.beyond > _BEYOND:
        title.append(f"{100 * each.beyond:.0f}% of the prior lies beyond the axis")
    ax.set_title("\n".join(title), fontsize=style.SMALL - 0.5, color=style.MUTED)
    ax.set_xlabel(plain(each.label), fontsize=style.TEXT)
    ax.set_ylabel("Density", fontsize=style.TEXT)


def _mark(ax: "Axes", at: float, method: str) -> None:
    if at > ax.get_xlim()[1]:
        ax.set_xlim(right=1.05 * at)
    ax.plot(
        [at],
        [0],
        "^",
        color=style.ORANGE,
        markeredgecolor=style.INK,
        markersize=6,
        clip_on=False,
        zorder=4,
        label=f"estimate, {method}",
        linestyle="",
    )
