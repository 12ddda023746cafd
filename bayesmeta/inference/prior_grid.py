"""A grid of priors: families of the SDs by their scale, priors of coefficients, and LKJ's eta."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from bayesmeta._validation import check_keys, check_name, check_number, is_number, listing, shown
from bayesmeta.errors import BayesmetaWarning, SpecError, warn
from bayesmeta.model.spec import Spec
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Prior, Priors, half_cauchy, half_normal, half_t
from bayesmeta.priors.scales import default_taus

Family = Callable[[float], Prior]
FAMILIES: Mapping[str, Family] = {
    "half-normal": half_normal,
    "half-t": half_t,
    "half-Cauchy": half_cauchy,
    "exponential": lambda scale: Prior("Exponential", scale=scale),
    "log-normal": lambda scale: Prior("LogNormal", mu=float(np.log(scale)), sigma=1.0),
    "uniform": lambda scale: Prior("Uniform", lower=0, upper=scale),
}
USUAL = ("half-normal", "half-t", "half-Cauchy", "exponential")
SCALES = np.geomspace(0.1, 4.0, 25)  # of the default grid, in units of the default prior's scale
KEYS = ("tau", "scale", "beta", "eta", "level")
MOST = 5000  # priors
EXAMPLE = '{"tau": ["half-normal", "half-Cauchy"], "scale": [0.1, 0.2, 0.5, 1]}'


@dataclass(frozen=True, eq=False)
class PriorGrid:
    """dims : name of every axis -> its labels. cells : the priors, in the order of the axes."""

    dims: Mapping[str, Sequence[Any]]
    cells: tuple[ModelPriors, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(labels) for labels in self.dims.values())


def prior_grid(spec: Spec, grid: Any, priors: Priors | None) -> PriorGrid:
    """The grid as users write it: axes, or priors by name. priors : what it leaves alone.

    Raises
    ------
    SpecError
        For axes that are unknown or empty, and for priors that do not fit the model.
    """
    if grid is not None and not isinstance(grid, Mapping):
        raise SpecError(f"grid is {shown(grid)}; it must be a dict such as {EXAMPLE}, or of names and bm.Priors")
    if grid is not None and (not grid or not any(key in KEYS for key in grid)):
        return _named(spec, grid)
    chosen: dict[str, Any] = {} if grid is None else dict(grid)
    check_keys(chosen, KEYS, "grid")
    levels, dims, parts = _levels(spec, chosen.get("level")), dict[str, list[Any]](), list[list[Any]]()
    if levels:
        families, scales = _families(chosen.get("tau", USUAL)), _numbers(chosen, "scale", _usual_scales(spec))
        dims |= {"family": list(families), "scale": scales}
        parts += [list(families.values()), scales]
    elif {"tau", "scale"} & set(chosen):
        raise SpecError("grid has priors of SDs, but the model has no SD that is free\n  vary beta instead")
    if "beta" in chosen:
        named = _betas(chosen["beta"])
        dims["beta"] = list(named)
        parts.append(list(named.values()))
    if "eta" in chosen:
        dims["eta"] = _numbers(chosen, "eta", [])
        parts.append(dims["eta"])
    if not dims:
        raise SpecError("grid varies nothing: the model has no SD that is free\n  vary coefficients by beta={...}")
    _check_size([len(labels) for labels in dims.values()])
    base = priors or Priors()
    made = [_of(base, dict(zip(dims, values, strict=True)), levels, spec) for values in product(*parts)]
    return PriorGrid(dims, _resolved(spec, made))


def _named(spec: Spec, grid: Mapping[Any, Any]) -> PriorGrid:
    if not grid:
        raise SpecError(f"grid is empty; give axes, such as {EXAMPLE}, or names and bm.Priors")
    for name, each in grid.items():
        if each is not None and not isinstance(each, Priors):
            raise SpecError(
                f"grid[{shown(name)}] is {shown(each)}; a grid has the axes {listing(KEYS)}, or names and bm.Priors\n"
                f"  for instance {EXAMPLE}"
            )
    _check_size([len(grid)])
    return PriorGrid({"prior": [str(name) for name in grid]}, _resolved(spec, list(grid.values())))


def _check_size(sizes: Sequence[int]) -> None:
    n = int(np.prod(sizes))
    if n > MOST:
        raise SpecError(f"grid has {n:,} priors, more than {MOST:,}\n  take fewer values of an axis")


def _levels(spec: Spec, level: Any) -> list[str]:
    """The levels whose SDs vary."""
    free = [each.name for each in spec.levels if each.structure.n_tau(each.dim)]
    if level is None:
        return free
    names = [level] if isinstance(level, str) else level
    if not isinstance(names, list | tuple) or not names:
        raise SpecError(f"grid: level is {shown(level)}; it must be the name of a level, or a list of them")
    for name in names:
        check_name(name, free, "grid: no level with free SDs", "levels")
    return list(names)


def _families(value: Any) -> dict[str, Family]:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping):
        for name, each in value.items():
            if not callable(each):
                raise SpecError(
                    f"grid: tau[{shown(name)}] is {shown(each)}; it must be a function of the scale that makes a prior,"
                    " such as bm.priors.half_normal"
                )
        made = {str(name): each for name, each in value.items()}
    elif isinstance(value, list | tuple):
        for name in value:
            check_name(name, FAMILIES, "grid: tau has no family", "families")
        made = {name: FAMILIES[name] for name in value}
        if len(made) < len(value):
            raise SpecError(f"grid: tau has a family twice: {listing(value)}\n  name each once")
    else:
        raise SpecError(
            f"grid: tau is {shown(value)}; it must be a list of {listing(FAMILIES)}, or a dict of functions"
        )
    if not made:
        raise SpecError(f"grid: tau is empty; give one or more of {listing(FAMILIES)}")
    return made


def _numbers(grid: Mapping[str, Any], name: str, usual: Sequence[float]) -> list[float]:
    """Distinct positive numbers, ascending."""
    value = grid.get(name, usual)
    value = value.tolist() if hasattr(value, "tolist") else [value] if is_number(value) else value
    if not isinstance(value, list | tuple) or not value:
        raise SpecError(f"grid: {name} is {shown(value)}; it must be a list of positive numbers")
    numbers = [check_number(each, f"grid: {name}", above=0) for each in value]
    if len(set(numbers)) < len(numbers):
        raise SpecError(f"grid: {name} has a number twice: {listing(numbers)}\n  name each once")
    return sorted(numbers)


def _usual_scales(spec: Spec) -> list[float]:
    """Scales about that of the default prior."""
    level = next(each for each in spec.levels if each.structure.n_tau(each.dim))
    usual = default_taus(spec, level)[0].params["sigma"]
    return [float(f"{scale:.3g}") for scale in usual * SCALES]


def _betas(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise SpecError(
            f"grid: beta is {shown(value)}; it must be a dict of names and priors, such as"
            ' {"wide": bm.Prior("Normal", mu=0, sigma=10)}'
        )
    return {str(name): each for name, each in value.items()}


def _of(base: Priors, values: Mapping[str, Any], levels: Sequence[str], spec: Spec) -> Priors:
    """The base with what a cell varies."""
    made = base
    if "family" in values:
        prior = values["family"](values["scale"])
        if not isinstance(prior, Prior):
            raise SpecError(f"grid: tau made {shown(prior)} of scale {values['scale']:g}; it must make a bm.Prior")
        free = [each.name for each in spec.levels if each.structure.n_tau(each.dim)]
        old = base.tau if isinstance(base.tau, Mapping) else dict.fromkeys(free, base.tau)
        kept = {name: each for name, each in old.items() if each is not None and name not in levels}
        made = replace(made, tau={**kept, **dict.fromkeys(levels, prior)})
    if "beta" in values:
        own = values["beta"]
        both = isinstance(own, Mapping) and isinstance(base.beta, Mapping)
        made = replace(made, beta={**base.beta, **own} if both else own)  # type: ignore[dict-item]
    return made if "eta" not in values else replace(made, rho=Prior("LKJ", eta=values["eta"]))


def _resolved(spec: Spec, cells: Sequence[Priors | None]) -> tuple[ModelPriors, ...]:
    """Priors of every parameter; each warning once."""
    made, remarks = [], dict[tuple[str, type[Warning]], None]()
    for each in cells:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made.append(resolve(spec, each))
        remarks |= dict.fromkeys((str(w.message), w.category) for w in caught)
    for text, category in remarks:
        if issubclass(category, BayesmetaWarning):
            warn(text, category)
    return tuple(made)
