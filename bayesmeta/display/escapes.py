"""Texts that are read as themselves in Markdown and LaTeX."""

import re
from collections.abc import Callable, Iterable

from bayesmeta.display.tables import NOTHING

# what Markdown would read as markup; brackets only where they could begin a link, a footnote or a citation
_MARKDOWN = re.compile(r"[\\`*_<>|~$&]|\](?=[(\[{:])|\[(?=[\^@])")
_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "`": r"\textasciigrave{}",
        "|": r"\textbar{}",
        "<": "$<$",
        ">": "$>$",
        **{sign: f"${name}$" for sign, name in {"−": "-", "≥": r"\ge", "≤": r"\le", "×": r"\times"}.items()},
        **{
            letter: rf"$\{name}$"
            for letter, name in zip("βτρψχμσ", ["beta", "tau", "rho", "psi", "chi", "mu", "sigma"], strict=True)
        },
        "–": "--",
        "²": r"\textsuperscript{2}",
    }
)
_MINUS = re.compile(r"(?<![\w)\].])-(?=\d|inf)")
_LIGATURE = re.compile(r"-(?=-)")


def for_markdown(text: str) -> str:
    r"""
    >>> print(for_markdown("a_b [1](c)"))
    a\_b [1\](c)
    """
    return _MARKDOWN.sub(lambda match: "\\" + match[0], " ".join(text.split()))


def for_latex(text: str) -> str:
    if text == NOTHING:
        return "--"
    escaped = _LIGATURE.sub("-{}", " ".join(text.split()).translate(_LATEX))
    return _MINUS.sub("$-$", escaped)


def latex_row(cells: Iterable[str], escape: Callable[[str], str] = for_latex) -> str:
    line = " & ".join(map(escape, cells)) + r" \\"
    # after the end of a row, a bracket or a star would be an argument of that end
    return "{}" + line if line.startswith(("[", "*")) else line
