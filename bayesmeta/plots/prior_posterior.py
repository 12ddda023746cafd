"""What the data add: prior densities of coefficients and between-group SDs beside their posterior densities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_names, check_probability, listing
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes, plain, wrapped
from bayesmeta.priors.distributions import IMPROPER, logp
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Prior
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.parameters import BETA, TAU, check_parameter, level_structures
from bayesmeta.tree.parameters import parameters as parameters_of
from bayesmeta.tree.posterior_draws import SAMPLE, beta_draws, is_posterior
from bayesmeta.tree.response import Reading, Scale, is_read_elsewhere, roles
from bayesmeta.tree.specification import group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

_POINTS = 512
_HEIGHT = 2.3  # inches of a panel
_BEYOND = 0.01  # prior probability beyond the axis that is worth mentioning
_ROOM, _SHOWN = 1.15, 0.998  # the axis ends a little beyond this quantile of the draws
_ROOF = 1.55  # of the axis, to the height of the curves
_BAR = 0.04  # of the height of the curves: how far below 0 the interval lies
_STEEP = 2.5  # times the height of the posterior: a higher prior is cut off at the top of the picture


@dataclass(frozen=True)
class Densities:
    """Densities of one parameter over its grid x, that of an SD from 0 on.

    law : the prior distribution. beyond : its probability beyond the ends of the grid. mean, lower, upper : of the
    draws. where : what the parameter is a value of, for coefficients whose prior is that of another combination.
    combination : of the coefficients, None for an SD. reading : how it is drawn.
    """

    label: str
    law: Prior
    x: FloatArray
    prior: FloatArray
    posterior: FloatArray
    beyond: float
    mean: float
    lower: float
    upper: float
    reading: Reading
    where: str = ""
    combination: FloatArray | None = None


def prior_posterior(
    tree: xr.DataTree,
    parameters: str | Sequence[str] | None = None,
    axes: "AxesLike | None" = None,
    *,
    fit: xr.DataTree | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
) -> style.AxesArray:
    """Prior and posterior densities of the coefficients and of the between-group SDs tau: what the data have added.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.sample`.
    parameters : str or sequence of str, optional
        Labels such as "beta[Intercept]" and "tau[district, Intercept]", as `bm.summary` lists the priors; by default
        all coefficients and SDs.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are parameters; by default new ones, up to three side by side.
    fit : DataTree, optional
        A fit of the same model, `bm.fit(spec)`, whose estimates are marked.
    prob : float, default 0.95
        Probability of the interval below the curves, between 0 and 1.
    scale : {"model", "response"}, optional
        "response", the default for log ratios, labels the axes of coefficients with ratios, of whose logs these are
        the densities; of correlations and proportions it draws the densities themselves. "model" leaves all as it is
        modelled.

    Returns
    -------
    array of Axes
        One for each parameter, with the prior as its title. Where more than 1% of the prior lies beyond the axis, a
        line says so. The bar below the curves is the equal-tailed posterior interval, the point on it the posterior
        mean, on the response scale the median.

    Raises
    ------
    SpecError
        If the tree has no posterior, a parameter is unknown, the number of axes is wrong, the model has nothing to
        estimate, or the fit lacks a parameter.

    See Also
    --------
    bayesmeta.sensitivity : What changes under other priors.

    Notes
    -----
    The prior's density is exact, and so is the posterior's where there are no chains; of chains it is a kernel estimate
    from the draws, reflected at 0 and where the prior ends, so that it puts no probability outside. A default prior of
    an intercept is that of the effect at the mean of the predictors, whose densities are then drawn, as its label says.

    References
    ----------
    Silverman (1986), Density Estimation, sections 2.10 and 3.4.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, random_seed=1, progress=False)
    >>> [ax.get_xlabel() for ax in bm.plots.prior_posterior(post)]
    ['beta[Intercept], odds ratio', 'tau[unit, Intercept]']
    """
    style.require(is_posterior(tree), "this tree has no posterior, and a fit has no priors", "bm.sample(spec)")
    pairs = densities(tree, parameters, prob, scale)
    marks = {} if fit is None else {each.label: estimate_of(fit, each) for each in pairs}
    panels = panel_axes(axes, [each.label for each in pairs], _HEIGHT + 0.3)
    for ax, each in zip(panels, pairs, strict=True):
        _draw(ax, each, prob)
        if each.label in marks:
            _mark(ax, each, marks[each.label], str(fit.attrs["method"]).upper() if fit is not None else "")
        ax.legend(fontsize=style.SMALL, frameon=False, handlelength=1.8, loc="upper right")
    return panels


def densities(
    tree: xr.DataTree,
    parameters: str | Sequence[str] | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
) -> list[Densities]:
    """What `prior_posterior` draws, one for each parameter; its arguments."""
    check_probability(prob)
    style.reading(tree, scale)  # raises where there is no such scale
    known = {each.label: each for each in (*_coefficients(tree, scale), *_sds(tree))}
    if not known:
        raise SpecError("this model has neither coefficients nor SDs of random effects to estimate")
    chosen = list(known) if parameters is None else check_names(parameters, "parameters")
    for label in chosen:
        check_parameter(label, known)
    return [_densities(known[label], prob) for label in chosen]


class _Posterior(Protocol):
    """What is known of a parameter. grid : points at which its density is known, as the picture is as wide at least."""

    @property
    def mean(self) -> float: ...
    @property
    def grid(self) -> FloatArray: ...
    def quantile(self, prob: Sequence[float]) -> FloatArray: ...
    def density(self, x: FloatArray, low: float, high: float) -> FloatArray: ...


@dataclass(frozen=True)
class _Drawn:
    """By draws, with a kernel estimate between the ends of the prior."""

    draws: FloatArray
    grid: FloatArray = field(default_factory=lambda: np.zeros(0))

    @property
    def mean(self) -> float:
        return float(self.draws.mean())

    def quantile(self, prob: Sequence[float]) -> FloatArray:
        return np.asarray(np.quantile(self.draws, prob))

    def density(self, x: FloatArray, low: float, high: float) -> FloatArray:
        return density(self.draws, x, low, high)


class _Marginal:
    """By the exact marginal distribution in the tree of entry `at` of a variable."""

    def __init__(self, tree: xr.DataTree, name: str, at: int) -> None:
        self.table, self.name, self.at = group(tree, schema.MARGINALS), name, at
        self.mean = float(np.ravel(self.table[f"{name}_mean"].to_numpy())[at])
        self.grid, self.values = (
            self.table[f"{name}_{part}"].transpose(schema.POINT, ...).to_numpy().reshape(_size(self.table), -1)[:, at]
            for part in ("grid", "density")
        )

    def quantile(self, prob: Sequence[float]) -> FloatArray:
        known = exact_marginals.quantiles(self.table, self.name, np.array(prob))
        return np.asarray(known.reshape(len(prob), -1)[:, self.at])

    def density(self, x: FloatArray, low: float, high: float) -> FloatArray:
        return _continued(x, self.grid, self.values)


def _size(table: xr.Dataset) -> int:
    return table.sizes[schema.POINT]


class _Mixture:
    """By the exact mixture of normals of a combination of coefficients."""

    def __init__(self, points: WeightedPoints, weights: FloatArray) -> None:
        self.made, self.grid = points.combination(weights[None]), np.zeros(0)
        self.mean = float(self.made.mean[0])

    def quantile(self, prob: Sequence[float]) -> FloatArray:
        return np.asarray(self.made.quantile(np.array(prob))[:, 0])

    def density(self, x: FloatArray, low: float, high: float) -> FloatArray:
        return np.asarray(self.made.density(x[:, None])[:, 0])


@dataclass(frozen=True)
class _Parameter:
    """A parameter with its prior and posterior; `where` and `combination` as in `Densities`."""

    label: str
    law: Prior
    posterior: _Posterior
    reading: Reading
    where: str = ""
    combination: FloatArray | None = None


def _coefficients(tree: xr.DataTree, scale: Scale | None) -> Iterator[_Parameter]:
    """Coefficients, or the combinations of them that have the priors."""
    priors, of_coef = ModelPriors.from_json(tree.attrs["priors"]), roles(tree)
    record = style.measure_of(tree)
    for j, (coef, prior) in enumerate(zip(priors.beta_labels, priors.beta, strict=True)):
        role, weights = of_coef.get(coef, ""), priors.centring[j]
        own = record.is_ratio if scale is None else scale == "response"
        reading = Reading(record, role, own and is_read_elsewhere(record, role))
        centred = np.count_nonzero(weights) > 1
        where = "at the mean of the predictors" if centred else ""
        posterior = _of_combination(tree, weights) if centred else _of(tree, BETA, j)
        yield _Parameter(f"beta[{coef}]", prior, posterior, reading, where, weights)


def _of_combination(tree: xr.DataTree, weights: FloatArray) -> _Posterior:
    points = exact_posterior(tree)
    return _Drawn(beta_draws(tree) @ weights) if points is None else _Mixture(points, weights)


def _sds(tree: xr.DataTree) -> Iterator[_Parameter]:
    plain = Reading(style.measure_of(tree), "", False)
    levels = zip(level_structures(tree), ModelPriors.from_json(tree.attrs["priors"]).levels, strict=True)
    for level, own in levels:
        for at, (label, prior) in enumerate(zip(own.tau_labels, own.tau, strict=True)):
            yield _Parameter(label, prior, _of(tree, schema.tau(level), at), plain)


def _of(tree: xr.DataTree, name: str, at: int) -> _Posterior:
    """The posterior of entry `at` of a variable."""
    if exact_marginals.is_exact(tree) and f"{name}_density" in group(tree, schema.MARGINALS):
        return _Marginal(tree, name, at)
    values = group(tree, schema.POSTERIOR)[name].transpose(*SAMPLE, ...).to_numpy().astype(float)
    return _Drawn(values.reshape(values.shape[0] * values.shape[1], -1)[:, at])


def _densities(each: _Parameter, prob: float) -> Densities:
    own, sd = each.posterior, each.combination is None
    ends = own.quantile([1 - _SHOWN, _SHOWN])
    margin = (_ROOM - 1) * (ends[1] if sd else ends[1] - ends[0])
    start = 0.0 if sd else float(ends[0] - margin)
    if smooth := not isinstance(own, _Drawn):
        start = min([start, *own.grid[:1]])
    x = np.linspace(start, ends[1] + margin, (4 if smooth else 1) * _POINTS)
    values = np.zeros(len(x)) if each.law.name in IMPROPER else np.exp(logp(each.law, x))
    positive = np.flatnonzero(values > 0)
    low = x[positive[0]] if positive.size and positive[0] > 1 else 0.0 if sd else -np.inf
    high = x[positive[-1]] if positive.size and positive[-1] < len(x) - 1 else np.inf
    fine = np.geomspace(1e-9 * x[-1], x[-1], 20 * _POINTS) if sd else x  # densities of SDs may be steep at 0
    inside = 1.0 if each.law.name in IMPROPER else float(np.trapezoid(np.exp(logp(each.law, fine)), fine))
    lower, middle, upper = own.quantile([(1 - prob) / 2, 0.5, (1 + prob) / 2])
    return Densities(
        label=each.label,
        law=each.law,
        x=x,
        prior=values,
        posterior=own.density(x, low, high),
        beyond=max(0.0, 1 - inside),
        mean=float(middle if each.reading.response else own.mean),
        lower=float(lower),
        upper=float(upper),
        reading=each.reading,
        where=each.where,
        combination=each.combination,
    )


def _continued(x: FloatArray, grid: FloatArray, values: FloatArray) -> FloatArray:
    """A density at x, beyond the ends of its grid falling as it falls there, and level where it does not."""
    inside = np.interp(x, grid, values)
    for end, inner, beyond in ((0, 1, grid[0] - x), (-1, -2, x - grid[-1])):
        if values[end] > 0:
            step = np.log(values[inner] / values[end]) / abs(grid[inner] - grid[end]) if values[inner] > 0 else 0.0
            inside = inside * np.exp(-max(step, 0.0) * np.maximum(beyond, 0.0))
    return np.asarray(inside)


def density(draws: FloatArray, x: FloatArray, low: float = 0.0, high: float = np.inf) -> FloatArray:
    """Kernel estimate of a density between low and high, reflected there so that no probability lies outside.

    low may be -inf, as high may be inf.

    draws : (n,). x : (m,). The bandwidth is Silverman's (1986, eq. 3.31).
    """
    spread = min(draws.std(ddof=1), float(np.subtract(*np.quantile(draws, [0.75, 0.25]))) / 1.34)
    width = 0.9 * (spread or draws.std(ddof=1)) * len(draws) ** -0.2
    kernels = np.zeros(len(x))
    for image in (draws, *(2 * end - draws for end in (low, high) if np.isfinite(end))):
        kernels += np.exp(-0.5 * ((x[:, None] - image) / width) ** 2).sum(1)
    return np.where((x >= low) & (x <= high), kernels / (len(draws) * width * np.sqrt(2 * np.pi)), 0.0)


def estimate_of(fit: xr.DataTree, each: Densities) -> float:
    """The estimate of a parameter in a fit; an SD shared by several effects has one estimate for all of them."""
    if is_posterior(fit):
        raise SpecError("fit is a posterior; give a fit of the same model, from bm.fit(spec)")
    table, label = parameters_of(fit), each.label
    if each.combination is not None:
        betas = table[table["kind"] == BETA]
        if label not in betas.index or len(betas) != len(each.combination):
            raise SpecError(f"the fit lacks {label}\n  its coefficients: {listing(betas.index)}")
        return float(betas["estimate"].to_numpy(float) @ each.combination)
    taus = table[table["kind"] == TAU]
    own = taus[(taus.index == label) | ("tau[" + taus["level"] + "]" == label)]["estimate"].to_numpy(float)
    if not own.size or np.ptp(own) > 1e-6 * own.max():
        problem = "has several SDs for" if own.size else "lacks"
        raise SpecError(f"the fit {problem} {label}\n  its SDs: {listing(taus.index)}")
    return float(own[0])


def _draw(ax: "Axes", each: Densities, prob: float) -> None:
    x, reading = each.reading.values(each.x), each.reading
    # on a logarithmic axis areas are those of the logs, elsewhere densities change with the units
    stretch = np.gradient(x, each.x) if reading.response and not reading.log else np.ones(len(x))
    posterior, prior = (np.divide(y, stretch, where=stretch > 0, out=0 * x) for y in (each.posterior, each.prior))
    ax.fill_between(x, posterior, color=style.BLUE, alpha=0.25, linewidth=0)
    ax.plot(x, posterior, color=style.BLUE, linewidth=1.5, label="posterior")
    if prior.any():
        ax.plot(x, prior, color=style.INK, linewidth=1.2, linestyle="--", label="prior")
    most = posterior.max()
    highest = min(prior[np.isfinite(prior)].max(), _STEEP * most)
    bar = _BAR * max(most, highest)
    if reading.log:
        ax.set_xscale("log")
    ax.set(xlim=(x[0], x[-1]), ylim=(-2 * bar, _ROOF * max(most, highest)))  # room for the interval and the legend
    mean, *ends = reading.values([each.mean, each.lower, each.upper])
    look: dict[str, Any] = {"color": style.BLUE, "linewidth": 2.2, "solid_capstyle": "butt"}
    ax.plot(ends, [-bar, -bar], label=f"{percent(prob)} interval", **look)
    ax.plot([mean], [-bar], "o", color=style.BLUE, markersize=3.5, label="_centre")
    title = [f"Prior: {wrapped(each.law, 40)}"]
    if each.beyond > _BEYOND:
        title.append(f"{100 * each.beyond:.0f}% of the prior lies beyond the axis")
    ax.set_title("\n".join(title), fontsize=style.SMALL - 0.5, color=style.MUTED)
    if reading.log:
        style.effect_axis(ax, reading)
    if reading.null is not None and each.combination is not None:
        _no_effect(ax, float(reading.values(reading.null)))
    what = f", {reading.label[:1].lower()}{reading.label[1:]}" if reading.response else ""
    ax.set_xlabel(plain("\n".join(filter(None, (each.label + what, each.where)))), fontsize=style.TEXT)
    ax.set_ylabel("Density", fontsize=style.TEXT)


def _no_effect(ax: "Axes", at: float) -> None:
    low, high = ax.get_xlim()
    if low <= at <= high:
        ax.axvline(at, color=style.MUTED, linewidth=0.7, zorder=0, ymax=1 / _ROOF, label="_no effect")


def _mark(ax: "Axes", each: Densities, estimate: float, method: str) -> None:
    at = float(each.reading.values(estimate))
    low, high = ax.get_xlim()
    if at > high:
        ax.set_xlim(right=1.05 * at)
    elif at < low:
        ax.set_xlim(left=at - 0.05 * abs(at))
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
