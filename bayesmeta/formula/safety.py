"""What a formula may contain: columns, listed functions, arithmetic and literals.

Formulas also come from other people's files. Every factor is therefore checked on its Python syntax tree before
anything else looks at it, and nothing but the checked text is ever evaluated.
"""

import ast
import math
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from bayesmeta._validation import check_name, did_you_mean, shown
from bayesmeta._validation.other_software import formula_advice
from bayesmeta.errors import SpecError


def identity(x: Any) -> Any:
    return x


ELEMENTWISE: Mapping[str, Callable[[Any], Any]] = {
    "I": identity,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "abs": np.abs,
}
FUNCTIONS = (*ELEMENTWISE, "C", "Treatment", "center", "scale", "poly", "ns", "bs", "cr", "rcs", "fp")

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
_OPERATORS = {"+", "-", "*", "/", ":", "**", "^"}
CONSTANTS = ("0", "1")  # formulas of nothing, and of an intercept alone
LONGEST = 10_000  # characters of a formula
MOST_TERMS = 1000  # of a formula, products written out
_MOST_FACTORS = 5  # of an interaction written as a power: the number of terms grows exponentially
_BACKTICKED = re.compile("`([^`]*)`")


@dataclass
class Part:
    """A checked formula or expression.

    text : as it will be evaluated, columns in backticks replaced by identifiers.
    names : the columns used, by their name in `text`.
    numeric : the names that stand in arithmetic or in a function of numbers.
    functions : the functions called.
    bare : the names that stand as a factor by themselves, outside every function.
    """

    text: str
    names: dict[str, str] = field(default_factory=dict)
    numeric: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    bare: set[str] = field(default_factory=set)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.names.values()))

    def readable(self, label: str) -> str:
        """A label with the columns' own names."""
        for name, column in self.names.items():
            if name != column:
                label = label.replace(name, column)
        return label


def check_formula(text: str, columns: Sequence[str]) -> Part:
    """Check the right-hand side of a formula; SpecError for anything but formula operators and allowed factors."""
    return _checked_formula(text, tuple(columns))


@lru_cache(maxsize=128)
def _checked_formula(text: str, columns: tuple[str, ...]) -> Part:
    """Kept, because parsing costs as much as a step of the search, and one model often has the same formula thrice."""
    if text.strip() in CONSTANTS:  # by far the most common formulas, for which no parser need be loaded
        return Part(text.strip())
    from formulaic import Formula
    from formulaic.parser.algos.tokenize import tokenize

    if len(text) > LONGEST:
        raise SpecError(f"a formula of {len(text):,} characters; at most {LONGEST:,} are allowed")
    checker = _Checker(text, columns, FUNCTIONS)
    before = [""] * 4
    try:
        _check_doubles(text, checker.part.text)
        for token in tokenize(checker.part.text):
            checker.token(token.token, token.kind.value, before)
            before = [*before[1:], token.token]
        if (terms := number_of_terms([str(token.token) for token in tokenize(checker.part.text)])) > MOST_TERMS:
            raise SpecError(f"formula {shown(text)} has {terms:,} terms; at most {MOST_TERMS:,} are allowed")
        Formula(checker.part.text)
    except SpecError:
        raise
    except Exception as error:  # formulaic's parser has more ways to fail than its own errors
        raise SpecError(f"formula {shown(text, 200)} cannot be read: {_unread(checker.part.text, error)}") from None
    return checker.finished()


def _unread(text: str, error: Exception) -> str:
    """Why formulaic's parser cannot read a formula, in words of what was written."""
    words = (str(error) or type(error).__name__).splitlines()[0]
    if lone := re.match(r"Operator `(.+?)` has insuf", words):
        side = "after" if text.endswith(lone[1]) else "beside"
        return f"nothing stands {side} '{lone[1]}'; a term is missing, or '{lone[1]}' is too much"
    if unclosed := re.search(r"Expected: (\S)", words):
        what = "bracket" if unclosed[1] in ")]}" else "quotation mark"
        return f"a {what} is not closed: '{unclosed[1]}' is missing"
    if "context marker" in words:
        more = "(" if text.count("(") > text.count(")") else ")"
        return f"a bracket has no partner: there is a '{more}' too many"
    if between := re.match(r"Missing operator between `(.*)` and `(.*)`", words):
        return f"'+' or another operator is missing between {between[1]} and {between[2]}"
    return words


def _check_doubles(text: str, checked: str) -> None:
    """SpecError for x + x and x:x, which formulas take as x alone."""
    terms = ["".join(term.split()) for term in split(checked, "+")]
    for i, term in enumerate(terms):
        if term and term in terms[:i]:
            raise SpecError(f"formula {shown(text, 200)}: the term {shown(term, 120)} stands twice\n  leave one out")
        for operator in ("*", ":"):
            factors = split(term.replace("**", "^"), operator)
            if twice := next((f for j, f in enumerate(factors) if f in factors[:j] and f not in ("", "1")), None):
                raise SpecError(
                    f"formula {shown(text, 200)}: {twice}{operator}{twice} stands for {twice} alone\n"
                    f"  a square is I({twice}**2)"
                )


def number_of_terms(tokens: Sequence[str]) -> int:
    """How many terms a formula has once its products are written out, without doing so.

    >>> number_of_terms(["a", "*", "b", "*", "c"]), number_of_terms(["(", "a", "+", "b", ")", "**", "2"])
    (7, 3)
    """
    strength = {"+": 1, "-": 1, "*": 2, "/": 2, ":": 3, "**": 4, "^": 4}
    values: list[int] = []
    waiting: list[str] = []

    def apply() -> None:
        operator, b = waiting.pop(), values.pop()
        a = values.pop() if values else 0
        values.append(_combined(operator, a, b))

    for token in tokens:
        if token == "(":
            waiting.append(token)
        elif token == ")":
            while waiting and waiting[-1] != "(":
                apply()
            waiting[-1:] = []
        elif token in strength:
            while waiting and strength.get(waiting[-1], 0) >= strength[token] and values:
                apply()
            waiting.append(token)
        else:
            values.append(int(token) if waiting and waiting[-1] in ("**", "^") and token.isdigit() else 1)
    while waiting and values:
        apply()
    return sum(values)


def _combined(operator: str, a: int, b: int) -> int:
    match operator:
        case "*":
            return a * b + a + b
        case "/":
            return a + a * b
        case ":":
            return a * b
        case "**" | "^":
            return sum(math.comb(a, size) for size in range(1, min(a, b) + 1))
        case "-":
            return a
        case _:
            return a + b


def check_expression(text: str, columns: Sequence[str]) -> Part:
    """Check an expression of single values (an outcome, an offset): elementwise functions only."""
    checker = _Checker(text, columns, ELEMENTWISE)
    if checker.part.text in columns:
        checker.column(checker.part.text)
    else:
        checker.expression(checker.part.text)
    checker.part.numeric.update(checker.part.names)
    return checker.finished()


def quoted(name: str) -> str:
    """A column as formulas write it, whatever its name.

    >>> quoted("10 mg/d")
    '`10 mg/d`'
    """
    return f"`{name}`"


def quoted_if_needed(name: str) -> str:
    """The same, without backticks where the name reads as one word.

    >>> quoted_if_needed("dose"), quoted_if_needed("log RR")
    ('dose', '`log RR`')
    """
    return name if name.isidentifier() else quoted(name)


def split(text: str, separator: str) -> list[str]:
    """Pieces between separators that stand outside brackets and quotes.

    >>> split("log(a + b) + c", "+")
    ['log(a + b)', 'c']
    """
    pieces, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character == separator and depth == 0:
            pieces.append("")
            continue
        else:
            depth += (character in "([{") - (character in ")]}")
        pieces[-1] += character
    return [piece.strip() for piece in pieces]


class _Checker:
    """Walks one formula and gathers its Part."""

    def __init__(self, formula: str, columns: Sequence[str], functions: Collection[str]) -> None:
        self.formula, self.shown, self.columns, self.functions = formula, shown(formula, 200), columns, functions
        self.quoted: dict[str, str] = {}
        if "\\" in formula:
            self.refuse("a backslash")
        self.part = Part(_BACKTICKED.sub(self._unquote, formula).strip())
        for character, what in (("`", "an unpaired backtick"), ("{", "a brace"), ("}", "a brace")):
            if character in self.part.text:
                self.refuse(what)

    def refuse(self, what: str, remedy: str = "") -> NoReturn:
        remedy = (remedy or formula_advice(self.formula))[:200]
        raise SpecError(
            f"formula {self.shown}: {what if len(what) <= 200 else what[:200] + '...'} is not allowed"
            f"{'; ' * bool(remedy)}{remedy}\n"
            "  a formula has column names, + - * / : ** and brackets, numbers, text and lists as arguments,\n"
            f"  and the functions {', '.join(self.functions)}"
        )

    def finished(self) -> Part:
        hidden = self.part.functions & set(self.part.names)
        if hidden:
            name = min(hidden)
            raise SpecError(f"formula {self.shown}: '{name}' is both a column and a function\n  rename the column")
        return self.part

    def token(self, token: str, kind: str, before: list[str]) -> None:
        """One token of formulaic's; `before` are the four in front of it."""
        raised = before[-1] in ("**", "^")
        if kind == "name":
            self.column(token)
            self.part.bare.add(token)
        elif kind == "python":
            self.expression(token)
        elif kind == "value" and raised:
            self._power(token, before)
        elif kind == "value" and token not in ("0", "1"):
            self.refuse(f"{token} as a term")
        elif kind == "operator" and token not in _OPERATORS and not set(token) <= {"+", "-"}:
            self.refuse(f"the operator {token}")
        elif kind == "context" and token not in ("(", ")"):
            self.refuse(f"'{token}'")

    def column(self, name: str) -> None:
        column = self.quoted.get(name, name)
        if name.startswith("__"):
            self.refuse(f"the name '{column}'")
        if column in self.functions and column not in self.columns:
            raise SpecError(
                f"formula {self.shown}: no column '{column}'; the function is written {column}(...)"
                f"\n  write its argument in the brackets, as in {column}(x)"
            )
        check_name(column, self.columns, f"formula {self.shown}: no column", "columns", most=30)
        self.part.names[name] = column

    def expression(self, code: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(code, mode="eval").body
            self._walk(tree, numeric=True)
            if not any(isinstance(node, ast.Name) and node.id in self.part.names for node in ast.walk(tree)):
                self.refuse(f"{shown(code, 120)}, which uses no column,")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, SpecError):
                raise
            remedy = formula_advice(self.formula)
            raise SpecError(
                f"formula {self.shown}: {shown(code, 120)} is not an expression{'; ' * bool(remedy)}{remedy}"
            ) from None

    def _walk(self, node: ast.expr, numeric: bool) -> None:
        match node:
            case ast.Name(id=name):
                self.column(name)
                if numeric:
                    self.part.numeric.add(name)
            case ast.Constant(value=bool() | int() | float() | str() | None):
                pass
            case ast.List(elts=items) | ast.Tuple(elts=items):
                for item in items:
                    self._walk(item, numeric)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._operands(operand)
            case ast.BinOp(op=ast.BitXor()):
                self.refuse(ast.unparse(node), f"a power is {ast.unparse(node).replace(' ^ ', '**')}")
            case ast.BinOp(left=left, op=operator, right=right) if isinstance(operator, _ARITHMETIC):
                if isinstance(operator, ast.Pow) and not any(isinstance(n, ast.Name) for n in ast.walk(node)):
                    self.refuse(f"the power of numbers {ast.unparse(node)}")
                self._operands(left, right)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords) if name in self.functions:
                if name in ELEMENTWISE and (len(arguments) != 1 or keywords):
                    self.refuse(f"{ast.unparse(node)}: {name}() with a number of arguments other than one")
                self.part.functions.add(name)
                for position, argument in enumerate(arguments):
                    self._walk(argument, numeric=name != "C" or position > 0)
                for keyword in keywords:
                    if keyword.arg is None or keyword.arg.startswith("_"):
                        self.refuse(f"'{ast.unparse(keyword)}'")
                    self._walk(keyword.value, numeric=True)
            case ast.Call(func=ast.Name(id="offset")):
                self.refuse("offset() here (it is a term of its own, as in 'y ~ x + offset(z)', for all outcomes)")
            case ast.Call(func=ast.Name(id=name)):
                if formula_advice(self.formula):
                    self.refuse(f"the function {name}()")
                self.refuse(f"the function {name}(){did_you_mean(name, self.functions)}")
            case _:
                self.refuse(f"'{ast.unparse(node)}' ({type(node).__name__.lower()})")

    def _operands(self, *nodes: ast.expr) -> None:
        for node in nodes:
            if isinstance(node, ast.List | ast.Tuple) or (
                isinstance(node, ast.Constant) and type(node.value) not in (int, float)
            ):
                self.refuse(f"arithmetic with {ast.unparse(node)}")
            self._walk(node, numeric=True)

    def _power(self, exponent: str, before: list[str]) -> None:
        """(a + b)**2 is an operator of formulas; x**2 would mean x, which is never what its author meant."""
        base = before[-2]
        if base != ")" or before[0] == "(":  # (x)**2 is x**2
            raise SpecError(
                f"formula {self.shown}: {base}**{exponent} outside I() stands for interactions, not for a power\n"
                f"  write I({'x' if base == ')' else base}**{exponent})"
            )
        if not exponent.isdigit() or not 2 <= int(exponent) <= _MOST_FACTORS:
            self.refuse(f"the exponent {exponent} of brackets (2 to {_MOST_FACTORS} are)")

    def _unquote(self, quoted: re.Match[str]) -> str:
        column = quoted[1]
        check_name(column, self.columns, f"formula {self.shown}: no column", "columns", most=30)
        alias = f"_column{list(self.columns).index(column)}_"
        if alias in self.columns:
            raise SpecError(f"column '{alias}' has a name that is reserved for formulas\n  rename the column")
        self.quoted[alias] = column
        return alias
