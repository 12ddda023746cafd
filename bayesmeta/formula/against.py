"""Bases of dose: every column b(x) less b(x0) at the reference dose x0 of its study, written as a formula.

A basis as users write it, "dose + I(dose**2)" or "ns(dose, knots=[10, 25])", becomes one of effects against a
reference: "I(dose - dose_reference) + ...", "ns(dose, knots=[10, 25], ..., against=dose_reference)". Knots that follow
from the data are found once, over all doses, those of references included, and written into it as numbers.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing, shown
from bayesmeta._validation.calls import mismatch
from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.design import Design
from bayesmeta.formula.fractional import fp
from bayesmeta.formula.parse import Terms, parse
from bayesmeta.formula.safety import ELEMENTWISE, check_formula, split
from bayesmeta.formula.splines import bs, cr, ns, rcs

SPLINES: dict[str, Callable[..., pd.DataFrame]] = {"ns": ns, "bs": bs, "cr": cr, "rcs": rcs}
CURVES = (*SPLINES, "fp")
NO_INTERCEPT = ("0", "-1")


class Basis:
    """A basis as written, with the references that it is taken against.

    Parameters
    ----------
    text : right-hand side of a formula in the doses and other columns.
    doses : columns, by name, with all values of each, those of references included.
    references : of every dose its reference, a number where all studies have the same, else the column that holds it;
        None where columns are taken as they are.
    """

    def __init__(
        self, text: str, doses: Mapping[str, FloatArray], references: Mapping[str, float | str] | None, argument: str
    ) -> None:
        self.text, self.doses, self.references, self.argument = text, doses, references, argument

    def written(self, columns: Sequence[str]) -> dict[str, str]:
        """Of every term, as users write it, the term of the formula; together they have no intercept."""
        if not isinstance(self.text, str) or not self.text.strip():
            raise SpecError(f"{self.argument} is {shown(self.text)}; it must be text such as 'dose + I(dose**2)'")
        text = self.text.strip().removeprefix("~").strip()
        if len(split(text, "~")) > 1:
            raise SpecError(
                f"{self.argument} is {shown(self.text)}; it must be the right-hand side alone, such as 'dose'\n"
                "  the effects are named apart: y="
            )
        check_formula(text, columns)
        terms = [term for term in split(text, "+") if term not in NO_INTERCEPT]
        if "" in terms:
            raise SpecError(f"{self.argument}: nothing stands before a '+' of {shown(self.text)}; leave it out")
        if not terms:
            raise SpecError(f"{self.argument} is {shown(self.text)}, which has no dose")
        for dose, values in self.doses.items():
            if (values == values[0]).all():
                raise DataError(f"column '{dose}' is {values[0]:g} in every row; a curve needs two doses or more")
        return {term: self._term(term) for term in terms}

    def _term(self, term: str) -> str:
        if term == "1":
            raise SpecError(
                f"{self.argument} has an intercept: at its reference dose every study has effect 0\n  leave '1' out"
            )
        if len(split(term, "-")) > 1:
            raise SpecError(f"{self.argument}: '-' in {shown(term)}; write the terms that are wanted, with '+'")
        for operator in ("*", "/", "^", "%"):
            if len(split(term.replace("**", "^"), operator)) > 1:
                raise SpecError(
                    f"{self.argument}: {shown(term)} stands for several terms; write them out, without those that have "
                    f"no dose: 'dose + dose:region'"
                )
        if term.startswith("("):
            raise SpecError(f"{self.argument}: brackets around terms, {shown(term)}; write the terms out")
        factors = split(term, ":")
        with_dose = [factor for factor in factors if self._doses_of(factor)]
        if not with_dose:
            raise SpecError(
                f"{self.argument}: the term {shown(term)} has no dose ({listing(self.doses)}), and would be an "
                "intercept\n  what changes the curve is written with the dose: 'dose + dose:region'"
            )
        if len(with_dose) > 1:
            raise SpecError(
                f"{self.argument}: {shown(term)} multiplies two functions of dose; write one, as in I(alcohol * tea)"
            )
        return ":".join(self._factor(factor) if factor in with_dose else factor for factor in factors)

    def _doses_of(self, factor: str) -> list[str]:
        try:
            nodes = ast.walk(ast.parse(factor, mode="eval"))
        except SyntaxError:  # a name in backticks, which no dose is
            return []
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        return [dose for dose in self.doses if dose in names]

    def _factor(self, factor: str) -> str:
        tree = ast.parse(factor, mode="eval").body
        called = tree.func.id if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) else ""
        if called in CURVES:
            return self._curve(tree, called)  # type: ignore[arg-type]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in ELEMENTWISE:
                remedy = {"poly": "dose + I(dose**2)", "center": "dose", "scale": "dose"}.get(node.func.id, "dose")
                raise SpecError(f"{self.argument}: {node.func.id}() of a dose is no basis here\n  write {remedy}")
        if self.references is None:
            return factor
        inner = tree.args[0] if called == "I" and isinstance(tree, ast.Call) else tree
        here = ast.unparse(inner)
        there = ast.unparse(_Renamed({dose: self.references[dose] for dose in self._doses_of(factor)}).visit(inner))
        if all(not isinstance(self.references[dose], str) for dose in self._doses_of(factor)):
            value = _value(there)
            if value == 0:
                return factor
            return f"I({here} - {_number(value)})"
        return f"I({here} - ({there}))" if isinstance(inner, ast.BinOp) else f"I({here} - {there})"

    def _curve(self, call: ast.Call, name: str) -> str:
        """A spline or fractional polynomial with its knots written out, against the reference."""
        if not call.args or not isinstance(call.args[0], ast.Name):
            raise SpecError(f"{self.argument}: {ast.unparse(call)}; write {name}(dose, ...), of a dose as it is")
        dose = call.args[0].id
        if any(keyword.arg == "against" for keyword in call.keywords):
            raise SpecError(f"{self.argument}: leave against out of {ast.unparse(call)}; the reference doses are known")
        try:
            options = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
            positional = [ast.literal_eval(argument) for argument in call.args[1:]]
        except ValueError:
            raise SpecError(f"{self.argument}: the arguments of {ast.unparse(call)} must be numbers") from None
        if options.get("intercept") or len(positional) > {"ns": 3, "bs": 4, "cr": 2}.get(name, len(positional)):
            raise SpecError(
                f"{self.argument}: {ast.unparse(call)} contains the constant: at its reference dose the effect "
                "of every study is 0\n  leave intercept out"
            )
        function = fp if name == "fp" else SPLINES[name]
        known = {key: value for key, value in options.items() if key != "intercept"}
        if problem := mismatch(function, f"{self.argument}: {name}()", (dose, *positional), known):
            raise SpecError(problem)
        if self.references is None:
            return ast.unparse(call)
        if name == "fp":
            fp(pd.Series(self.doses[dose]), *positional, **options)
            written = [*map(_number, positional), *(f"{key}={_number(value)}" for key, value in options.items())]
        else:
            written = self._fixed(name, pd.Series(self.doses[dose]), positional, options)
        against = self.references[dose]
        whole = f"{name}({', '.join([dose, *written])})"
        if not isinstance(against, str):
            if not columns_of(whole, pd.DataFrame({dose: [against]}))[0].any():
                return whole
            against = _number(against)
        return f"{whole[:-1]}, against={against})"

    def _fixed(self, name: str, values: "pd.Series[float]", positional: Any, options: Mapping[str, Any]) -> list[str]:
        """The arguments of a spline with everything in them that would follow from the doses."""
        state: dict[str, Any] = {}
        SPLINES[name](values, *positional, **options, _state=state)
        self._check_knots(name, state["knots"], values)
        written = [f"knots=[{', '.join(map(_knot, state['knots']))}]"] if len(state["knots"]) else []
        if "boundary" in state:
            written.append(f"boundary_knots=[{', '.join(map(_knot, state['boundary']))}]")
        degree = dict(zip(("df", "knots", "degree"), positional, strict=False)).get("degree", options.get("degree"))
        return [*written, f"degree={degree}"] if name == "bs" and degree is not None else written

    def _check_knots(self, name: str, knots: FloatArray, values: "pd.Series[float]") -> None:
        low, high = values.min(), values.max()
        if len(knots) and not (low <= min(knots) and max(knots) <= high):
            raise DataError(
                f"{self.argument}: {name}() has knots {listing(map(_knot, knots))}, not all within the doses, "
                f"{_knot(low)} to {_knot(high)}"
                "\n  place the knots between the smallest and the largest dose"
            )


def _number(value: float) -> str:
    """As people write it, to full precision."""
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


def _knot(value: float) -> str:
    """To seven digits, which is where curves stop to differ, and labels of coefficients begin to be read."""
    return f"{value:.7g}"


class _Renamed(ast.NodeTransformer):
    """Doses replaced by their references, columns or numbers; the tree that is visited stays as it is."""

    def __init__(self, references: Mapping[str, float | str]) -> None:
        self.references = references

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Name) and node.id in self.references:
            to = self.references[node.id]
            return ast.Name(to) if isinstance(to, str) else ast.Constant(float(to))
        copied = type(node)(**{name: self._of(value) for name, value in ast.iter_fields(node)})
        return ast.copy_location(copied, node) if hasattr(node, "lineno") else copied

    def _of(self, value: object) -> object:
        if isinstance(value, list):
            return [self._of(each) for each in value]
        return self.visit(value) if isinstance(value, ast.AST) else value


def _value(expression: str) -> float:
    """Of an expression of numbers and listed functions, which check_formula let pass."""
    try:
        with np.errstate(all="ignore"):
            value = float(eval(compile(expression, "basis", "eval"), {"__builtins__": {}}, dict(ELEMENTWISE)))
    except ArithmeticError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(
            f"the basis has no value at the reference dose: {expression} is {value:g}\n"
            "  move the doses, as in log(dose + 1) or fp(dose, 0, shift=1)"
        )
    return value


def columns_of(text: str, frame: pd.DataFrame) -> tuple[FloatArray, tuple[str, ...]]:
    """(n, q) columns of a basis that has everything written out, and their labels."""
    made = frame.assign(y=0.0) if "y" not in frame.columns else frame
    design = Design(parse(Terms(f"y ~ 0 + {text}"), list(made.columns)), made)
    return design.fixed(made)[:, 0], design.coef


def values_at(
    of: Callable[[pd.DataFrame], FloatArray], frame: pd.DataFrame, doses: Sequence[str], what: str
) -> FloatArray:
    """What a function makes of doses; SpecError names the first at which it has no value, as a logarithm below zero."""
    try:
        return np.asarray(of(frame))
    except DataError:
        for row in range(len(frame)):
            try:
                of(frame.iloc[[row]])
            except DataError as error:
                dose = listing(f"{name} = {frame[name].iloc[row]:g}" for name in doses)
                reason = str(error).partition(" in row")[0]
                raise SpecError(f"{what}: the basis has no value at {dose}: {reason}") from None
        raise


SAME = 1e-8  # of singular values: what is smaller is zero


def bending(B: FloatArray, x: FloatArray, reference: float | None) -> FloatArray:
    """(q, P) independent combinations of coefficients that are zero just where the curve B beta is straight in x.

    With P the projection on straight lines, (I - P) B beta = 0. B (n, P) at x (n,); reference: where curves are zero.
    """
    size = np.linalg.norm(B, axis=0)
    line = np.column_stack([np.ones(len(x)), x]) if reference is None else (x - reference)[:, None]
    bent = B / size - line @ np.linalg.lstsq(line, B / size)[0]
    _, singular, right = np.linalg.svd(bent, full_matrices=False)
    return np.asarray(right[: int((singular > SAME).sum())] * size)
