"""What a specification is, in a few lines, for whoever prints one.

The record calls this to print itself, so nothing here can import it: `spec` is a `Spec` everywhere.
"""

from collections.abc import Iterable
from html import escape
from textwrap import shorten, wrap
from typing import Any

import numpy as np

from bayesmeta._validation import listing
from bayesmeta.formula.parse import Terms
from bayesmeta.measures import MEASURES

MOST_LINES = 25
_WIDTH, _MOST_WIDE, _MOST_LEVELS, _MOST_NOTES = 100, 270, 5, 4
_LABEL = "text-align:left;vertical-align:top;padding:0.1em 0.8em 0.1em 0"


def text(spec: Any) -> str:
    """The card as text, at most 25 lines."""
    pairs = facts(spec)
    indent = max(len(label) for label, _ in pairs) + 2
    lines = ["Specification of a meta-analysis"]
    for label, value in pairs:
        first, *more = wrap(shorten(value, _MOST_WIDE, placeholder=" ..."), _WIDTH - indent) or [""]
        lines += [label.ljust(indent) + first, *(" " * indent + line for line in more)]
    return "\n".join(lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "..."])


def html(spec: Any) -> str:
    """The card as a table."""
    rows = "".join(
        f'<tr><th style="{_LABEL}">{escape(label)}</th><td style="{_LABEL}">{escape(value)}</td></tr>'
        for label, value in facts(spec)
    )
    return f"<table><caption>Specification of a meta-analysis</caption>{rows}</table>"


def facts(spec: Any) -> list[tuple[str, str]]:
    """Labels and sentences: formulas, data, levels, sampling covariance, measure, and what was assumed."""
    pairs = [("Formula", _formula(spec.terms)), ("Data", _data(spec))]
    for level in spec.levels[:_MOST_LEVELS]:
        effects = f"{level.structure.name}, {listing(level.effects, 4)}" if level.dim else "no random effects"
        pairs.append(("Level", f"{level.name}: {level.n_groups} group{'s' * (level.n_groups != 1)}; {effects}"))
    if rest := len(spec.levels) - _MOST_LEVELS:
        pairs += [("", f"and {rest} more")] if rest > 0 else []
    pairs.append(("S", _sampling(spec)))
    if spec.measure is not None:
        known = MEASURES.get(spec.measure)
        pairs.append(("Measure", f"{spec.measure}, {known.label}" if known else spec.measure))
    if spec.arms is not None:
        pairs.append(("Arms", " and ".join(spec.arms)))
    pairs += [("Assumed", note) for note in spec.notes[:_MOST_NOTES]]
    if len(spec.notes) > _MOST_NOTES:
        pairs.append(("", f"and {len(spec.notes) - _MOST_NOTES} more in spec.notes"))
    return pairs


def _formula(terms: Terms) -> str:
    random = "each row its own group" if terms.random is None else f"random {_written(terms.random, ' | ')}"
    if terms.groups is not None:
        random = f"groups {terms.groups}"
    others = [f"{name} {value}" for name, value in (("common", terms.common), ("offset", terms.offset)) if value]
    return "; ".join([_written(terms.fixed, " ~ "), *others, random])


def _written(formulas: Any, between: str) -> str:
    if isinstance(formulas, str):
        return formulas
    if isinstance(formulas, dict):
        pairs: Iterable[tuple[str, str]] = formulas.items()
        return ", ".join(f"{a}{between}{b}" if between == " ~ " else f"{b}{between}{a}" for a, b in pairs)
    return ", ".join(map(str, formulas))


def _data(spec: Any) -> str:
    used = "all used" if spec.kept.all() else f"{int(spec.kept.sum())} used"
    several = f" of {len(spec.outcomes)} outcomes" if len(spec.outcomes) > 1 else ""
    rows, observations = (
        f"{n} {what}{'s' * (n != 1)}" for n, what in ((len(spec.kept), "row"), (len(spec.y), "observation"))
    )
    return f"{rows}, {used}; {observations}{several}"


def _sampling(spec: Any) -> str:
    variances = spec.S.variances
    coupled = int(np.sum((spec.S.row != spec.S.col) & (spec.S.value != 0)))
    span = f"variances from {variances.min():.3g} to {variances.max():.3g}"
    if spec.S_assumed:
        return f"{span}; {spec.S_assumed['words']}"
    return f"{span}; {coupled} covariances other than zero" if coupled else f"{span}; errors independent"
