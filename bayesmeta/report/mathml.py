"""MathML of a few symbols; every text is escaped, so that a label cannot become markup."""

from markupsafe import Markup, escape

SUM = Markup("<mo>+</mo>")
COMMA = Markup("<mo>,</mo>")


def row(*parts: Markup) -> Markup:
    return Markup("<mrow>{}</mrow>").format(Markup("").join(parts))


def symbol(name: str, bold: bool = False) -> Markup:
    """A letter for a quantity; bold for vectors and matrices."""
    # MathML Core has no mathvariant="bold"
    return Markup('<mi class="{}">{}</mi>').format("bold" if bold else "", name)


def number(value: str) -> Markup:
    return Markup("<mn>{}</mn>").format(value)


def text(words: str) -> Markup:
    return Markup("<mtext>{}</mtext>").format(words)


def operator(sign: str) -> Markup:
    return Markup('<mo stretchy="false">{}</mo>').format(sign)


def sub(base: Markup, below: Markup) -> Markup:
    return Markup("<msub>{}{}</msub>").format(base, below)


def squared(base: Markup, below: Markup) -> Markup:
    return Markup("<msubsup>{}{}<mn>2</mn></msubsup>").format(base, below)


def normal(mean: Markup, variance: Markup) -> Markup:
    """N(mean, variance)."""
    return row(symbol("N"), operator("("), mean, COMMA, variance, operator(")"))


def total(terms: list[Markup]) -> Markup:
    """Terms with plus signs between them."""
    parts = [part for term in terms for part in (SUM, term)]
    return row(*parts[1:])


def formula(*parts: Markup, label: str) -> Markup:
    return Markup('<math displaystyle="true" aria-label="{}">{}</math>').format(escape(label), row(*parts))
