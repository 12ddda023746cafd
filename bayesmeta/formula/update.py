"""The terms of a model's fixed part, and the formulas of models with one term removed or added."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations

from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.formula.parse import Terms, parse
from bayesmeta.formula.safety import Part, check_formula, split

ALL, COMMON = "", "(common)"  # the side of a formula for all outcomes, and that of predictors with one coefficient
INTERCEPT = "1"
_OFFSET = re.compile(r"offset\s*\(")


@dataclass(frozen=True)
class FixedPart:
    """The right-hand sides of a model.

    terms : the formulas as written.  columns : those that formulas may use.
    sides : the terms of every right-hand side, intercept included, under the name of its outcome in a dict of formulas;
        ALL for a formula as text, COMMON for the predictors that have one coefficient for all outcomes.
    """

    terms: Terms
    columns: tuple[str, ...]
    sides: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, terms: Terms, columns: Sequence[str]) -> "FixedPart":
        """
        >>> FixedPart.of(Terms("y ~ x * z + offset(w)"), ["y", "x", "z", "w"]).sides
        {'': ('1', 'x', 'z', 'x:z')}
        """
        parsed = parse(terms, columns)
        keys = list(terms.fixed) if isinstance(terms.fixed, dict) else [ALL]
        sides = {key: _texts(part) for key, part in zip(keys, parsed.fixed, strict=False)}
        if parsed.common is not None:
            sides[COMMON] = _texts(parsed.common)
        return cls(terms, tuple(columns), sides)

    def fewer(self) -> Iterator[tuple[str, Terms]]:
        """Every term that no other one contains, such as x:z but not x, with the formulas that lack it."""
        for key, side in self.sides.items():
            for term in side:
                if term != INTERCEPT and not any(_factors(term) < _factors(other) for other in side):
                    label = term if key == ALL else f"{key.strip('()')}: {term}"
                    yield label, self._with(key, [other for other in side if other != term])

    def more(self, terms: str | Sequence[str]) -> Iterator[tuple[str, Terms]]:
        """Every new term with the formulas that have it too, for all outcomes.

        Raises
        ------
        SpecError
            When a term is in the model already, or contains one that is not, as x:z without z.
        """
        texts = [terms] if isinstance(terms, str) else terms
        parts = [check_formula(text.strip().removeprefix("~"), self.columns) for text in texts]
        for term in dict.fromkeys(term for part in parts for term in _texts(part) if term != INTERCEPT):
            yield term, self._plus(term)

    def only(self, right: str) -> Terms:
        """The formulas with one right-hand side for all outcomes, in place of their own, and offsets as they are.

        >>> FixedPart.of(Terms("y ~ x * z + offset(w)"), ["y", "x", "z", "w"]).only("x").fixed
        'y ~ 1 + x + offset(w)'
        """
        side, changed = _texts(check_formula(right.strip().removeprefix("~"), self.columns)), self
        for key in self.sides:
            changed = replace(changed, terms=changed._with(key, [] if key == COMMON else side))
        return replace(changed.terms, common=None)

    def _plus(self, term: str) -> Terms:
        extended = self
        for key, side in self.sides.items():
            known = [_factors(other) for other in side]
            if key == COMMON and _factors(term) in known:
                raise SpecError(
                    f"the term '{term}' is in the model already, in common\n  name a term that is not in the model"
                )
            if key == COMMON or _factors(term) in known:
                continue
            if lacking := [":".join(part) for part in _parts(term) if frozenset(part) not in known]:
                raise SpecError(
                    f"the term '{term}' cannot be added before {listing(lacking)}, which it contains\n  add these first"
                )
            extended = replace(extended, terms=extended._with(key, [*side, term]))
        if extended is self:
            raise SpecError(f"the term '{term}' is in the model already\n  formula: {self.terms.fixed}")
        return extended.terms

    def _with(self, key: str, side: Sequence[str]) -> Terms:
        """The formulas with another right-hand side."""
        fixed, text = self.terms.fixed, _joined(side)
        if key == COMMON:
            return replace(self.terms, common=self._common(side))
        if isinstance(fixed, dict):
            return replace(self.terms, fixed=fixed | {key: text})
        left, right = split(fixed, "~")
        offsets = [part for part in split(right.removeprefix("~"), "+") if _OFFSET.match(part)]
        return replace(self.terms, fixed=f"{left} ~ {' + '.join([text, *offsets])}")

    def _common(self, side: Sequence[str]) -> str | None:
        """An intercept is a coefficient only where it is written; otherwise it decides the coding of categories."""
        written = INTERCEPT in split(self.terms.common or "", "+")
        others = [term for term in side if term != INTERCEPT]
        if written or INTERCEPT not in side:
            return _joined(side) if others or written else None
        return " + ".join(others) or None


def _texts(part: Part) -> tuple[str, ...]:
    """The terms of a formula, columns by their own names."""
    from formulaic import Formula

    texts = [str(term) for term in Formula(part.text)]
    for name, column in part.names.items():
        if name != column:
            texts = [text.replace(name, f"`{column}`") for text in texts]
    return tuple(texts)


def _joined(side: Sequence[str]) -> str:
    return " + ".join([INTERCEPT if INTERCEPT in side else "0", *(term for term in side if term != INTERCEPT)])


def _factors(term: str) -> frozenset[str]:
    return frozenset(split(term, ":"))


def _parts(term: str) -> Iterator[tuple[str, ...]]:
    """The factors of every term that a term contains, itself excluded."""
    factors = split(term, ":")
    return chain.from_iterable(combinations(factors, size) for size in range(1, len(factors)))
