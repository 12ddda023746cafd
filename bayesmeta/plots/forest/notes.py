"""The sentences below a forest plot: heterogeneity, the test of the overall effect, moderators and subgroups."""

import warnings
from collections.abc import Iterator

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.display.tables import df_text, pvalue
from bayesmeta.errors import BayesmetaError
from bayesmeta.inference import exact_predict
from bayesmeta.inference.confint import confint
from bayesmeta.inference.posterior_predict import below as share_below
from bayesmeta.inference.reference import JointTest, reference_of_fit
from bayesmeta.inference.weights import covariances
from bayesmeta.model.spec import Spec
from bayesmeta.plots import style
from bayesmeta.plots.forest import texts
from bayesmeta.plots.forest.numbers import has_random_effects
from bayesmeta.summaries.fit_remarks import joint_in_words
from bayesmeta.tree.exact_marginals import is_exact, of_sds
from bayesmeta.tree.heterogeneity import heterogeneity
from bayesmeta.tree.posterior_draws import beta_draws, is_posterior, psi_draws, summarised
from bayesmeta.tree.response import Reading

_KEPT_TOGETHER = "\N{NO-BREAK SPACE}"


def outcome_notes(
    tree: xr.DataTree, spec: Spec, outcome: int, pooled: bool, reading: Reading, prob: float
) -> tuple[str, ...]:
    """Sentences about one outcome; parts that belong on one line are held together by no-break spaces.

    pooled : whether there is a pooled estimate.
    """
    kind = "Heterogeneity: " if pooled else "Residual heterogeneity: "
    spread = heterogeneity_note(tree, spec, outcome, prob)
    sentences = [kind + spread if spread else "", _overall(tree, spec, outcome, reading) if pooled else ""]
    return tuple(sentence for sentence in sentences if sentence)


def moderators_notes(tree: xr.DataTree, spec: Spec) -> tuple[str, ...]:
    """The test of the predictors, if there is one."""
    test = "" if is_posterior(tree) else _moderators(tree, spec)
    return (test,) if test else ()


def heterogeneity_note(tree: xr.DataTree, spec: Spec, outcome: int, prob: float, *, bounds: bool = True) -> str:
    """Q with its test, I2 and tau2 of a fit; tau of a posterior.  bounds : whether tau2 has its interval."""
    parts = list(_taus(tree, spec, outcome, prob, bounds))
    if not is_posterior(tree):
        name = spec.outcomes[outcome] if len(spec.outcomes) > 1 else schema.OVERALL
        table = heterogeneity(tree)
        Q, df, p, I2 = (_of_outcome(table[each], name) for each in ("Q", "df", "pvalue", _i2(table)))
        tested = f"Q = {Q:.2f}, df = {df:.0f}" + ("" if np.isnan(p) else f", p {p_text(p)}")
        parts = [tested, *([] if np.isnan(I2) else [f"I² = {I2:.1f}%"]), *parts]
    return together("; ".join(parts))


def together(text: str) -> str:
    """A text that may only be broken after commas, colons and semicolons."""
    pieces = text.replace(", ", ",\n").replace("; ", ";\n").replace(": ", ":\n").split("\n")
    return " ".join(piece.replace(" ", _KEPT_TOGETHER) for piece in pieces)


def test_text(name: str, test: JointTest) -> str:
    """A joint test as the line about heterogeneity has its own: "F = 0.82, df = 2 and 10, p = 0.4667"."""
    return joint_in_words(name, test).replace(", df ", ", df = ")


def between_note(test: JointTest, how: str) -> str:
    """The test of differences between the means of subgroups."""
    return together(f"Subgroup differences ({how}): {test_text('Q', test)}")


def _taus(tree: xr.DataTree, spec: Spec, outcome: int, prob: float, bounds: bool) -> Iterator[str]:
    """The variance of true effects by level, of a posterior their SD, where it is the same in all rows."""
    if not has_random_effects(tree, spec):
        return
    own = spec.outcome_index == outcome
    several = sum(level.dim > 0 for level in spec.levels) > 1
    for i, level in enumerate(spec.levels):
        if not level.dim or np.ptp(level.Z[own], axis=0).max() > 0:
            continue
        z = level.Z[own][0]
        name = f"{'τ' if is_posterior(tree) else 'τ²'}{f' ({level.name})' if several else ''}"
        if is_posterior(tree):
            between = _sd(tree, spec, i, z, prob)
            numbers = (small(between[part]) for part in ("mean", "lower", "upper"))
        else:
            profiled = _q_profile(tree, prob) if bounds and not several else ()
            numbers = (small(x) for x in (z @ covariances(tree, spec).mean[i] @ z, *profiled))
        estimate, *ends = numbers
        yield f"{name} = {estimate}" + (f" [{together(', '.join(ends)).replace(' ', _KEPT_TOGETHER)}]" if ends else "")


def _sd(tree: xr.DataTree, spec: Spec, i: int, z: FloatArray, prob: float) -> dict[str, float]:
    """Mean and interval of the SD of z b, b the effects of a group of level i."""
    level, points = spec.levels[i], exact_posterior(tree)
    own = of_sds(tree, level.name, level.structure, 1, prob) if level.dim == 1 else None
    if own is not None:
        own = {part: abs(z[0]) * values for part, values in own.items()}
    elif points is not None:
        own = exact_predict.of_psi(points, lambda psi: np.sqrt(z @ psi[i] @ z)[:, None], prob)
    else:
        own = summarised(np.sqrt(z @ psi_draws(tree, level.name) @ z)[:, None], prob)
    return {part: float(values[0]) for part, values in own.items()}


def _q_profile(tree: xr.DataTree, prob: float) -> tuple[float, ...]:
    """The Q-profile interval of tau2; nothing for models that have none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty interval, which is left out here
            table = confint(tree, "qprofile", ["tau2"], prob=prob)
    except BayesmetaError:
        return ()
    lower, upper = (table[name].item() for name in ("lower", "upper"))
    return () if np.isnan([lower, upper]).any() else (lower, upper)


def _overall(tree: xr.DataTree, spec: Spec, outcome: int, reading: Reading) -> str:
    """The test of the pooled estimate, or the posterior probability that it lies below no effect."""
    null = style.measure_of(tree).null
    if null is None:
        return ""
    if is_posterior(tree):
        own = np.flatnonzero(spec.outcome_index == outcome)[0]
        below = float(share_below(tree, spec.X[own][None], null - spec.offset[own])[0])
        side = f"P({reading.short_label} < {float(reading.values(null)):g})"
        return together(f"Overall effect: {side} {_probability(below, tree)}")
    used = reference_of_fit(tree, None, None, "the test of the pooled estimate")
    row = np.flatnonzero(spec.outcome_index == outcome)[0]
    test = used.each(spec.X[row][None], null - spec.offset[row])
    if not test.se[0] > 0 or np.isnan(test.pvalue[0]):
        return ""
    letter = "z" if np.isinf(test.df[0]) else f"t({df_text(test.df[0])})"
    return together(f"Overall effect: {letter} = {_signed(test.statistic[0])}, p {p_text(test.pvalue[0])}")


def _moderators(tree: xr.DataTree, spec: Spec) -> str:
    """The Wald test of all coefficients but the intercepts; of all where there is none."""
    constant = np.zeros(len(spec.coef), bool)
    for j in range(len(spec.outcomes)):
        own = spec.X[spec.outcome_index == j]
        constant |= (np.ptp(own, axis=0) == 0) & (own[0] != 0)
    tested = ~constant
    if not tested.any():
        return ""
    used = reference_of_fit(tree, None, None, "the test of predictors")
    return together(f"Moderators: {test_text('Q', used.joint(np.eye(len(tested))[tested]))}")


def _i2(table: xr.Dataset) -> str:
    """I2 from the variance between studies where the tree has it, else that from Q."""
    return "I2_tau2" if "I2_tau2" in table else "I2"


def _of_outcome(values: xr.DataArray, outcome: str) -> float:
    return float(values.sel({schema.OUTCOME: outcome}) if schema.OUTCOME in values.dims else values)


def p_text(p: float) -> str:
    """ "= 0.012", or "< 0.0001"."""
    text = pvalue(p)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def _probability(p: float, tree: xr.DataTree) -> str:
    """Not closer to one or zero than draws of Markov chains, or the decimals, can tell."""
    least = 1e-4 if is_exact(tree) else 1 / len(beta_draws(tree))
    if least <= p <= 1 - least:
        return f"= {p:.4f}"
    return f"> {1 - least:.4f}" if p > 0.5 else f"< {least:.4f}"


def _signed(value: float) -> str:
    return texts.signed(value, 2)


def small(value: float) -> str:
    """Two decimals, fewer above 10, and two significant digits below 0.1."""
    if not np.isfinite(value):
        return "∞"
    size = int(np.floor(np.log10(value))) if value > 0 else 0
    return f"{value:.{int(np.clip(1 - size, 0, 5)) if size < -1 or size > 0 else 2}f}"
