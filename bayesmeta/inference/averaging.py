"""Averages over models by their posterior probabilities or by stacking, and sets of models to average over."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import ndtr, softmax

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_choice, check_keys, check_probability, listing, shown
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.formula.update import FixedPart
from bayesmeta.inference.bayes_factors import check_comparable, evidence, model_of
from bayesmeta.inference.loo import left_out
from bayesmeta.io.arrays import as_numbers
from bayesmeta.model.respecify import with_fixed
from bayesmeta.model.spec import Spec, check_spec
from bayesmeta.structures import resolve
from bayesmeta.tree.parameters import posterior_rows
from bayesmeta.tree.specification import reading_once

KINDS = ("posterior", "stacking")
SCORES = np.linspace(0.0, 4.2, 15)[
    1:
]  # normal scores of the ends of a model's intervals that its distribution is read from


def average(
    models: Mapping[str, xr.DataTree],
    weights: Literal["posterior", "stacking"] | Mapping[str, float] | Sequence[float] = "posterior",
    prob: float = 0.95,
) -> xr.Dataset:
    """Estimates averaged over models, with the probability that each parameter belongs to the model.

    Parameters
    ----------
    models : mapping of str to DataTree
        Posteriors of `bm.sample` of the same observations under their names, at least two.
    weights : "posterior", "stacking", mapping or sequence of float, default "posterior"
        "posterior", the posterior probabilities of the models, all equally probable before; numbers, their prior
        probabilities, of which only the proportions matter; "stacking", the weights with which their predictions of
        left-out groups are best, which are no probabilities.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.

    Returns
    -------
    Dataset
        Over `model`: `weight`, `prior_probability`, `log_marginal_likelihood` and its `_se`, NaN with "stacking" where
        there is none. Over (model, parameter): `included`, and `model_estimate`. Over `parameter`: `estimate`, `se`,
        `lower`, `upper` of the mixture of all models, in which a parameter is zero in a model without it, and
        `conditional_estimate`, `_se`, `_lower`, `_upper` of the models that have it; `inclusion_probability`, the
        weight of these, `prior_inclusion` and `inclusion_bayes_factor`, the odds of the former over those of the latter
        (NaN where all or no models have it, and with "stacking").

    Raises
    ------
    SpecError
        When fewer than two models are given, one is no posterior, they are of different observations or have different
        improper priors, weights do not fit, or a model has no marginal likelihood.

    Notes
    -----
    Means and SDs of the mixture are exact given those of the models, its quantiles are roots of its distribution
    function, which is read from the intervals of every model.

    References
    ----------
    Hoeting, Madigan, Raftery and Volinsky (1999), Stat. Sci. 14:382-401; Gronau et al. (2021), Adv. Methods Pract.
    Psychol. Sci. 4(3); Yao, Vehtari, Simpson and Gelman (2018), Bayesian Anal. 13:917-1007, for stacking.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))
    >>> specs = bm.model_set(spec, terms=["1", "ablat"])
    >>> models = {name: bm.sample(each, priors, random_seed=1) for name, each in specs.items()}
    >>> averaged = bm.average(models)
    >>> averaged["weight"].round(2).values
    array([0.35, 0.65])
    >>> averaged["inclusion_probability"].sel(parameter="beta[ablat]").round(2).item()
    0.65
    """
    prob = check_probability(prob)
    with reading_once():
        trees = _checked(models)
        prior = _prior_probabilities(weights, list(trees))
        known = [evidence(tree, model_of(tree, name)) for name, tree in trees.items()] if prior is not None else None
        check_comparable(trees)
        if known is None:
            weight, prior = _stacked(trees), np.full(len(trees), np.nan)
        else:
            assert prior is not None
            with np.errstate(divide="ignore"):
                weight = softmax(np.array([each.log for each in known]) + np.log(prior))
        tables = {name: _Intervals(tree) for name, tree in trees.items()}
    labels = list(dict.fromkeys(label for table in tables.values() for label in table.labels))
    included = np.array([[label in table.labels for label in labels] for table in tables.values()])
    columns: dict[str, list[float]] = {}
    for label, inside in zip(labels, included.T, strict=True):
        for name, value in _averaged(label, inside, weight, list(tables.values()), prob).items():
            columns.setdefault(name, []).append(value)
    over_models: dict[str, Any] = {"weight": weight, "prior_probability": prior}
    over_models |= {schema.LOG_ML: [e.log for e in known] if known else np.full(len(trees), np.nan)}
    over_models |= {schema.LOG_ML_SE: [e.error for e in known] if known else np.full(len(trees), np.nan)}
    estimates = np.array([[table.mean(label) for label in labels] for table in tables.values()])
    result = xr.Dataset(
        {name: ("model", np.asarray(values, float)) for name, values in over_models.items()}
        | {"included": (("model", "parameter"), included), "model_estimate": (("model", "parameter"), estimates)}
        | {name: ("parameter", values) for name, values in (columns | _inclusion(included, weight, prior)).items()},
        {"model": list(trees), "parameter": labels},
    )
    result.attrs = {"prob": prob, "weights": "stacking" if known is None else "posterior probabilities"}
    return result


def distinct_models(trees: Mapping[str, xr.DataTree]) -> dict[str, xr.DataTree]:
    """The posteriors without those of a model that stands there already, as where an analysis has it by REML and ML.

    Models are the same whose data, designs, structures between groups and priors are.
    """
    first: dict[tuple[str, ...], str] = {}
    for name, tree in trees.items():
        first.setdefault(tuple(str(tree.attrs[each]) for each in ("data_hash", "psi", "priors")), name)
    return {name: trees[name] for name in first.values()}


def model_set(spec: Spec, psi: Sequence[Any] | None = None, terms: Sequence[str] | None = None) -> dict[str, Spec]:
    """Specifications of the same data under every combination of structures and fixed parts.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`, with the columns that the terms need.
    psi : sequence, optional
        Structures, each of all levels or a mapping by level, as `bm.specify` takes them: `["unstr", "diag"]`.
    terms : sequence of str, optional
        Right-hand sides of the formula: `["1", "ablat", "ablat + year"]`.

    Returns
    -------
    dict
        Name -> Spec; names are the terms and the structures, joined by ", ".

    Raises
    ------
    SpecError
        When there is nothing to combine, a name comes twice, or a structure or formula does not fit the data.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> data = bm.datasets.load("berkey98")
    >>> spec = bm.specify("PD + AL ~ pubyear", data, S=["var_PD", "cov_PD_AL", "var_AL"])
    >>> list(bm.model_set(spec, psi=["unstr", "diag"], terms=["1", "pubyear"]))
    ['1, unstr', '1, diag', 'pubyear, unstr', 'pubyear, diag']
    """
    check_spec(spec, "model_set")
    for name, values in (("psi", psi), ("terms", terms)):
        if values is not None and (isinstance(values, str | Mapping) or not isinstance(values, Sequence) or not values):
            raise SpecError(f"{name} is {shown(values)}; it must be a list of at least one, such as {_LISTS[name]}")
        if values is not None and any(each is None for each in values):
            raise SpecError(
                f"{name} is {shown(values)}; it may not hold None\n  leave {name}= out, or write {_LISTS[name]}"
            )
    if psi is None and terms is None:
        raise SpecError(f"model_set needs terms={_LISTS['terms']} or psi={_LISTS['psi']}")
    made: dict[str, Spec] = {}
    sides: list[str | None] = [None] if terms is None else [*terms]
    for right, structure in product(sides, psi or [None]):
        name = ", ".join(str(part) for part in (right, structure) if part is not None)
        if name in made:
            raise SpecError(f"model_set: {shown(name)} comes twice\n  list every formula and every structure once")
        own = spec if right is None else _with_terms(spec, right)
        made[name] = own if structure is None else _with_structure(own, structure)
    return made


_LISTS = {"psi": "['unstr', 'diag']", "terms": "['1', 'ablat']"}


def _with_terms(spec: Spec, right: str) -> Spec:
    if not isinstance(right, str):
        raise SpecError(
            f"terms holds {shown(right)}; each must be the right-hand side of a formula, as in {_LISTS['terms']}"
        )
    return with_fixed(spec, FixedPart.of(spec.terms, list(spec.data.columns)).only(right))


def _with_structure(spec: Spec, structure: Any) -> Spec:
    """A structure for the levels with several effects, since all are the same for one; or one by level."""
    several = {level.name: structure for level in spec.levels if level.dim > 1}
    chosen = dict(structure) if isinstance(structure, Mapping) else several
    if not chosen:
        raise SpecError(f"psi={shown(structure)} changes nothing: every level has one random effect")
    check_keys(chosen, [level.name for level in spec.levels if level.dim], "psi")
    levels = []
    for level in spec.levels:
        own = resolve(chosen[level.name]) if level.name in chosen else level.structure
        own.check(level.dim)
        levels.append(replace(level, structure=own))
    return replace(spec, levels=tuple(levels))


def _checked(models: object) -> dict[str, xr.DataTree]:
    tree = isinstance(models, xr.DataTree)
    if not isinstance(models, Mapping) or tree or len(models) < 2:
        raise SpecError(
            f"models is {'a tree' if tree else shown(models)}; it must be a dict of at least two posteriors under their"
            ' names, such as {"small": bm.sample(small), "large": bm.sample(large)}'
        )
    for name, tree in models.items():
        if not isinstance(name, str) or not name:
            raise SpecError(f"models has the name {shown(name)}; names must be non-empty strings")
        model_of(tree, f"models[{name!r}]")
    return dict(models)


def _prior_probabilities(weights: object, names: Sequence[str]) -> FloatArray | None:
    """Prior probabilities of the models; None for stacking."""
    if isinstance(weights, str):
        kind = check_choice(weights, KINDS, "weights")
        return None if kind == "stacking" else np.full(len(names), 1 / len(names))
    if isinstance(weights, Mapping):
        check_keys(weights, names, "weights", required=names)
        weights = [weights[name] for name in names]
    values = as_numbers(weights, "weights", SpecError)
    if values.shape != (len(names),) or not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
        raise SpecError(
            f"weights is {shown(weights)}; it must have a prior probability of at least 0 for each of the {len(names)}"
            f" models, not all zero\n  models: {listing(names)}"
        )
    return np.asarray(values / values.sum(), float)


def _stacked(trees: Mapping[str, xr.DataTree]) -> FloatArray:
    """Weights under which the mixture of predictions of left-out groups has the largest log score."""
    from scipy.optimize import minimize

    each = {name: left_out(tree) for name, tree in trees.items()}
    if doubtful := [name for name, own in each.items() if own.bad.any()]:
        most = min(own.good_k for own in each.values())
        warn(
            f"stacking: predictions of some left-out groups are uncertain (Pareto k above {most:.2g}) in"
            f" {listing(doubtful)}",
            AssumptionWarning,
        )
    scores = np.stack([own.elpd for own in each.values()], 1)
    scale = np.exp(scores - scores.max(1, keepdims=True))

    def loss(free: FloatArray) -> tuple[float, FloatArray]:
        share = softmax(np.append(free, 0.0))
        mixed = scale @ share
        slope = (scale / mixed[:, None]).sum(0) * share
        return -float(np.log(mixed).sum()), -(slope - share * slope.sum())[:-1]

    best = minimize(loss, np.zeros(len(trees) - 1), jac=True, method="L-BFGS-B")
    return np.asarray(softmax(np.append(best.x, 0.0)))


class _Intervals:
    """Every parameter of a posterior by its mean, SD and distribution function."""

    def __init__(self, tree: xr.DataTree) -> None:
        free = [row for row in posterior_rows(tree, 0.95) if np.isfinite(row.se)]
        self.labels = [row.label for row in free]
        self.moments = {row.label: (float(row.estimate), float(row.se)) for row in free}
        ends = []
        for z in SCORES:
            known = {row.label: (row.lower, row.upper) for row in posterior_rows(tree, float(2 * ndtr(z) - 1))}
            ends.append([known[label] for label in self.labels])
        lower, upper = np.array(ends, float).reshape(len(SCORES), -1, 2).transpose(2, 0, 1)
        self.at, self.quantiles = np.concatenate([-SCORES[::-1], SCORES]), np.concatenate([lower[::-1], upper])

    def mean(self, label: str) -> float:
        return self.moments[label][0] if label in self.moments else 0.0

    def below(self, label: str, x: float) -> float:
        """The distribution function; of a parameter that the model lacks, that of zero."""
        if label not in self.moments:
            return float(x >= 0)
        return float(ndtr(self._scores[label](x)))

    @cached_property
    def _scores(self) -> dict[str, "_Score"]:
        return {
            label: _Score.through(known, self.at) for label, known in zip(self.labels, self.quantiles.T, strict=True)
        }


class _Score(NamedTuple):
    """The normal score of a distribution function, which is nearly a straight line, as one beyond its ends.

    pieces : a cubic in the distance from each of `nodes`, but the last.
    """

    nodes: list[float]
    pieces: list[tuple[float, float, float, float]]
    slopes: tuple[float, float]

    @classmethod
    def through(cls, known: FloatArray, score: FloatArray) -> "_Score":
        """By monotone interpolation of quantiles whose scores are known."""
        from scipy.interpolate import PchipInterpolator  # heavy, and model files have no use of it

        kept = np.append(True, np.diff(np.maximum.accumulate(known)) > 0)
        cubics = PchipInterpolator(known[kept], score[kept])
        first, last = (max(float(cubics(end, 1)), 0.0) for end in cubics.x[[0, -1]])
        return cls(cubics.x.tolist(), list(map(tuple, cubics.c.T.tolist())), (first, last))

    def __call__(self, x: float) -> float:
        inside = min(max(x, self.nodes[0]), self.nodes[-1])
        i = min(bisect_right(self.nodes, inside), len(self.pieces)) - 1
        a, b, c, d = self.pieces[i]
        t = inside - self.nodes[i]
        return d + c * t + b * (t * t) + a * (t * t * t) + (x - inside) * self.slopes[x > inside]


def _averaged(
    label: str, inside: BoolArray, weight: FloatArray, tables: Sequence[_Intervals], prob: float
) -> dict[str, float]:
    """Of one parameter, over all models and over those that have it."""
    result: dict[str, float] = {}
    for name, share in (("", weight), ("conditional_", np.where(inside, weight, 0.0))):
        some = share.sum() > 0
        values = _mixture(label, share / share.sum(), tables, prob) if some else (np.nan,) * 4
        result |= {
            f"{name}{each}": value for each, value in zip(("estimate", "se", "lower", "upper"), values, strict=True)
        }
    return result


def _mixture(
    label: str, share: FloatArray, tables: Sequence[_Intervals], prob: float
) -> tuple[float, float, float, float]:
    moments = np.array([table.moments.get(label, (0.0, 0.0)) for table in tables])
    mean = float(share @ moments[:, 0])
    sd = float(np.sqrt(share @ (moments[:, 1] ** 2 + (moments[:, 0] - mean) ** 2)))
    used = [(s, table) for s, table in zip(share, tables, strict=True) if s > 0]

    def quantile(p: float) -> float:
        """Where the distribution function passes p: at zero where it jumps over it there."""
        low, high = (mean + side * 40 * sd for side in (-1, 1))
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if sum(s * t.below(label, middle) for s, t in used) >= p else (middle, high)
        return high if abs(high) > 1e-9 * sd else 0.0

    return mean, sd, quantile((1 - prob) / 2), quantile((1 + prob) / 2)


def _inclusion(included: BoolArray, weight: FloatArray, prior: FloatArray) -> dict[str, FloatArray]:
    posterior, before = weight @ included, prior @ included
    # sums over the other models, since one minus a probability near one has no digits
    without, without_before = weight @ ~included, prior @ ~included
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (posterior / without) / (before / without_before)
    some = included.any(0) & ~included.all(0)
    return {
        "inclusion_probability": posterior,
        "prior_inclusion": before,
        "inclusion_bayes_factor": np.where(some, factor, np.nan),
    }
