"""The specification in words and symbols, from the tree alone."""

import json

import numpy as np
import xarray as xr
from markupsafe import Markup

from bayesmeta import tree_schema as schema
from bayesmeta.display import remarks
from bayesmeta.display.tables import Facts, Table, fixed
from bayesmeta.estimation.methods import method_of
from bayesmeta.measures import measure
from bayesmeta.model.respecify import homogeneous
from bayesmeta.model.spec import Level, Spec
from bayesmeta.report import mathml as m
from bayesmeta.report.blocks import Equations
from bayesmeta.tree.specification import spec_from_tree

_MOST_TERMS = 6  # of an equation that is spelt out; longer ones are written with matrices


def of_tree(tree: xr.DataTree) -> Spec:
    """The specification of a tree, without variation between groups if the method allows none."""
    spec = spec_from_tree(tree)
    return homogeneous(spec) if method_of(tree).zero_psi else spec


def varying(spec: Spec) -> list[Level]:
    """The levels whose groups can differ."""
    return [level for level in spec.levels if level.dim and level.varies]


def facts(tree: xr.DataTree, sampling: str = "") -> Facts:
    """The model in words; sampling : how S was made, where a model file says it."""
    spec = of_tree(tree)
    pairs = [
        ("Formula", remarks.formula(tree)),
        ("Random part", remarks.random(tree)),
        ("Outcomes", ", ".join(spec.outcomes)),
        ("Measure", measure(spec.measure).label if spec.measure else "not stated"),
        ("Coefficients", f"{len(spec.coef)}: {', '.join(spec.coef)}"),
        ("Data", remarks.counts(tree)),
        ("Sampling errors", errors(spec)),
        *([("S as given", sampling)] if sampling else []),
    ]
    return Facts(tuple(pairs), "What was specified")


def levels(tree: xr.DataTree) -> Table:
    """Every level, outer to inner: its groups, random effects, structure and free parameters."""
    header = ("groups", "random effects", "structure of Ψ", "free parameters")
    rows = tuple(
        (level.name, str(level.n_groups), ", ".join(level.effects) or "none", structure(level), str(level.n_free))
        for level in of_tree(tree).levels
    )
    return Table("Levels, outer to inner", header, rows)


def structure(level: Level) -> str:
    if not level.dim:
        return "none: the level only defines which observations are independent"
    if not level.varies:
        return "zero: no variation between groups"
    return f"{level.structure.name}: {level.structure.describe(level.dim)}"


def errors(spec: Spec) -> str:
    """The known sampling covariance in words."""
    S, off = spec.S, spec.S.row != spec.S.col
    sd = np.sqrt(S.variances)
    size = f"standard errors from {fixed(float(sd.min()), 3)} to {fixed(float(sd.max()), 3)}"
    if not off.any():
        return f"known, independent; {size}"
    scale = sd[S.row[off]] * sd[S.col[off]]
    rho = np.divide(S.value[off], scale, out=np.zeros_like(scale), where=scale > 0)
    between = f"correlations from {fixed(float(rho.min()), 2)} to {fixed(float(rho.max()), 2)}"
    return f"known, {int(off.sum())} pairs of observations correlated ({between}); {size}"


def equations(tree: xr.DataTree) -> Equations:
    """The model: the outcome, the random effects of every level, the sampling errors."""
    spec = of_tree(tree)
    active = varying(spec)
    spelt = len(spec.outcomes) == 1 and len(spec.coef) + sum(level.dim for level in active) <= _MOST_TERMS
    lines = [_spelt(spec, active) if spelt else _matrices(spec, active)]
    lines += [_random(level) for level in active]
    lines.append(_errors(spec))
    return Equations(tuple(lines), _in_words(spec, active))


def _spelt(spec: Spec, active: list[Level]) -> Markup:
    i = m.symbol("i")
    terms = [_times(m.sub(m.symbol("β"), m.text(label)), label, i) for label in spec.coef]
    for level in active:
        for effect in level.effects:
            which = m.row(m.text(level.name), m.operator("["), i, m.operator("]"))
            below = which if effect == schema.INTERCEPT else m.row(m.text(effect), m.COMMA, which)
            terms.append(_times(m.sub(m.symbol("b"), below), effect, i))
    terms += [m.sub(m.text("offset"), i)] if spec.offset.any() else []
    terms.append(m.sub(m.symbol("ε"), i))
    outcome = m.sub(m.text(spec.outcomes[0]), i)
    return m.formula(outcome, m.operator("="), m.total(terms), label=f"Equation of {spec.outcomes[0]}")


def _times(coefficient: Markup, predictor: str, i: Markup) -> Markup:
    if predictor == schema.INTERCEPT:
        return coefficient
    return m.row(coefficient, m.operator("·"), m.sub(m.text(predictor), i))


def _matrices(spec: Spec, active: list[Level]) -> Markup:
    terms = [m.row(m.symbol("X", True), m.symbol("β", True))]
    for level in active:
        at = m.text(level.name)
        terms.append(m.row(m.sub(m.symbol("Z", True), at), m.sub(m.symbol("b", True), at)))
    terms += [m.text("offset")] if spec.offset.any() else []
    terms.append(m.symbol("ε", True))
    outcome = m.symbol("y", True)
    return m.formula(outcome, m.operator("="), m.total(terms), label="Equation of the outcomes, in matrices")


def _random(level: Level) -> Markup:
    at, many = m.text(level.name), level.dim > 1
    psi = m.sub(m.symbol("Ψ", True), at) if many else m.squared(m.symbol("τ"), at)
    effects = m.sub(m.symbol("b", many), m.row(at, m.operator("["), m.symbol("g"), m.operator("]")))
    mean = m.symbol("0", True) if many else m.number("0")
    every = m.row(
        m.COMMA, m.symbol("g"), m.operator("="), m.number("1"), m.operator("…"), m.number(str(level.n_groups))
    )
    label = f"Random effects of {level.name} are normal about zero"
    return m.formula(effects, m.operator("∼"), m.normal(mean, psi), every, label=label)


def _errors(spec: Spec) -> Markup:
    coupled = bool((spec.S.row != spec.S.col).any())
    i = m.symbol("i")
    error, mean = (m.symbol("ε", True), m.symbol("0", True)) if coupled else (m.sub(m.symbol("ε"), i), m.number("0"))
    known = m.symbol("S", True) if coupled else m.squared(m.symbol("s"), i)
    words = "Sampling errors are normal about zero with known covariance"
    return m.formula(error, m.operator("∼"), m.normal(mean, known), label=words)


def _in_words(spec: Spec, active: list[Level]) -> str:
    error = "covariance" if (spec.S.row != spec.S.col).any() else "variance"
    start = "Each observed effect is the fixed part"
    if not active:
        return f"{start} plus a sampling error of known {error}; true effects do not vary between groups."
    effects = ", plus ".join(f"a random effect of its {level.name}" for level in active)
    return (
        f"{start}, plus {effects}, plus a sampling error of known {error}. The effects of a level's groups are "
        f"independent draws from a normal distribution around zero, whose {_spread(active)} is estimated."
    )


def _spread(active: list[Level]) -> str:
    letters = {level.structure.symbol(level.dim) for level in active}
    return " or ".join(f"{'variance' if letter == 'τ²' else 'covariance'} {letter}" for letter in sorted(letters))


def same_model(tree: xr.DataTree) -> tuple[str, ...]:
    """What trees have in common if they are estimates of the same model: formulas, structures and data."""
    spec = of_tree(tree)
    structures = json.dumps([level.structure.to_json() for level in spec.levels])
    parts = ("formula", "common", "offset", "random", "groups", "data_hash")
    return (*(str(tree.attrs[part]) for part in parts), structures)
