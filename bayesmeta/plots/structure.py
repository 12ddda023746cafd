"""The hierarchy of a specification as a diagram: groups, units, outcomes, random effects and sampling errors."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesmeta import schema
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_of
from bayesmeta.model.respecify import homogeneous
from bayesmeta.model.spec import Spec
from bayesmeta.plots import style
from bayesmeta.plots.panels import only_axes, plain
from bayesmeta.plots.structure_groups import Unit, coupled_pairs, groups_of
from bayesmeta.plots.structure_layout import CELL, GAP, LETTERS, Bracket, Place, brackets, flowing, placed, text_width
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INSIDE = 8  # groups or, twice as many, units drawn in a group, where there is room
_SMALLEST = 0.85  # by which a diagram may be reduced to fit axes that were given
_KEY, _LINE = 0.32, 0.17  # inches: of the column of signs, and from one line of the key to the next
_FILLS = ("#efefef", "#ffffff", "#e3e3e3")  # of the boxes of levels, outer to inner


def structure(spec: Spec | xr.DataTree, ax: "Axes | None" = None, *, most: int = 12) -> "Axes":
    """What is nested in what: groups of every level as boxes, units in them, and which outcomes are observed.

    Parameters
    ----------
    spec : from `bm.specify`, or a results tree.
    ax : matplotlib axes to draw into, at least 3 inches wide; by default new ones, as wide as a page.
    most : number of outer groups that are drawn; how many more there are is said.

    Returns
    -------
    Axes
        Each column of squares is a unit, a row of the data; a square is an outcome, filled where it is observed. A
        bracket joins observations whose sampling errors S couples. The key names levels, random effects and outcomes.

    Raises
    ------
    SpecError
        For something else, for `most` below 1, and for axes that are too small.

    Notes
    -----
    As Figure 1 of Sera et al. (2019), Statistics in Medicine 38:5429-5444.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> ax = bm.plots.structure(spec, most=3)
    >>> [text.get_text() for text in ax.texts if "more" in text.get_text()]
    ['... and 8 more groups of district']
    """
    if isinstance(spec, xr.DataTree):
        found = spec_from_tree(spec)  # a common effect has none of the variation that its specification could have
        spec = homogeneous(found) if method_of(spec).zero_psi else found
    if not isinstance(spec, Spec):
        raise SpecError(f"structure takes a specification or a results tree, not {type(spec).__name__}")
    if isinstance(most, bool) or not most >= 1:
        raise SpecError(f"most is {most!r}; give a positive number of groups")
    key = key_lines(spec)
    if ax is None:
        boxes, rest, high = _arranged(spec, int(most), style.PAGE)
        ax = only_axes(None, high + _key_height(key, style.PAGE), style.PAGE)
        _no_margins(ax)
        width, height, scale = style.PAGE, high + _key_height(key, style.PAGE), 1.0
    else:
        boxes, rest, high, width, height, scale = _reduced(spec, only_axes(ax), int(most), key)
    ax.set(xlim=(-0.02, width), ylim=(height, -0.02))
    ax.axis("off")
    for box in boxes:
        _draw(ax, box, scale)
    _text(ax, 0, high - 0.1, rest, LETTERS * scale, style.INK)
    _draw_key(ax, key, high + 0.12, width, scale)
    return ax


def _no_margins(ax: "Axes") -> None:
    """The axes fill a new figure, so that inches in it are inches on paper."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.set_layout_engine("none")
    ax.set_position((0.0, 0.0, 1.0, 1.0))


def _arranged(spec: Spec, most: int, width: float) -> tuple[list[Place], str, float]:
    """Boxes of the first outer groups within a width, the words for the others, and the height of all."""
    for inside in range(_INSIDE, 0, -1):
        boxes = [placed(group) for group in groups_of(spec, most, inside)]
        if max(box.width for box in boxes) <= width:
            break
    outer = spec.levels[0]
    left = outer.n_groups - len(boxes)
    rest = f"... and {left} more group{'s' * (left > 1)} of {outer.name}" if left else ""
    return boxes, plain(rest), flowing(boxes, width) + (0.2 if rest else 0.0)


def _reduced(
    spec: Spec, ax: "Axes", most: int, key: list[tuple[str, str]]
) -> tuple[list[Place], str, float, float, float, float]:
    """The same for given axes: smaller, then with fewer groups, until it fits."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    w, h = ax.get_position().size * figure.get_size_inches()
    for number in range(most, 0, -1):
        for scale in (1.0, _SMALLEST):
            boxes, rest, high = _arranged(spec, number, w / scale)
            fits = max(box.width for box in boxes) <= w / scale
            if fits and high + _key_height(key, w / scale) <= h / scale:
                return boxes, rest, high, w / scale, h / scale, scale
    raise SpecError(f"axes of {w:.1f} x {h:.1f} inches are too small for this diagram; give larger ones, or none")


def key_lines(spec: Spec) -> list[tuple[str, str]]:
    """Signs and words of the key."""
    lines = []
    for depth, level in enumerate(spec.levels):
        groups = f"{level.n_groups} group{'s' * (level.n_groups > 1)}{' inside these' if depth else ''}"
        if level.name == schema.UNIT and spec.design.parsed.group_columns == ():
            groups = f"{level.n_groups} groups, each row of the data its own"
        effects = f"random effects (Z) {listing(level.effects, 6)}; Psi {level.structure.name}"
        lines.append((f"level {depth}", f"{level.name}: {groups}; {effects if level.dim else 'no random effects'}"))
    k, n = len(spec.outcomes), int(spec.kept.sum())
    outcomes = f"outcome {spec.outcomes[0]}" if k == 1 else f"outcomes, from the top: {listing(spec.outcomes, 8)}"
    dropped = len(spec.kept) - n
    lines.append(("unit", f"unit, a row of the data: {n}{f' ({dropped} more dropped)' if dropped else ''}; {outcomes}"))
    missing = n * k - len(spec.y)
    lines.append(("observed", f"observed: {len(spec.y)}"))
    if missing:
        lines.append(("missing", f"missing: {missing}"))
    first, second = (spec.row[pair] for pair in coupled_pairs(spec))
    if (first == second).any():
        lines.append(("within", "S couples the sampling errors of the outcomes of a unit"))
    if (first != second).any():
        lines.append(("across", "S couples the sampling errors of these units"))
    if not len(first):
        lines.append(("", "S: sampling errors are independent"))
    return lines


def _wrapped(words: str, width: float) -> list[str]:
    letters = int((width - _KEY) / text_width("n" * 50, LETTERS) * 55)
    return [plain(line) for line in textwrap.wrap(words, letters)]


def _key_height(key: list[tuple[str, str]], width: float) -> float:
    return 0.25 + _LINE * sum(len(_wrapped(words, width)) for _, words in key)


def _draw(ax: "Axes", place: Place, scale: float) -> None:
    if isinstance(place.what, Unit):
        _cells(ax, place, place.what)
    elif place.what is None:
        _text(ax, place.x, place.y + place.height / 2, place.text, place.letters * scale, style.MUTED)
    else:
        _box(ax, place.x, place.y, place.width, place.height, place.what.depth)
        _text(ax, place.x + 0.06, place.y + 0.09, place.text, place.letters * scale, style.INK)
        for bracket in brackets(place):
            _bracket(ax, bracket)
    for each in place.inside:
        _draw(ax, each, scale)


def _text(ax: "Axes", x: float, y: float, text: str, letters: float, colour: str) -> None:
    if text:
        ax.text(x, y, text, fontsize=letters, color=colour, ha="left", va="center")


def _box(ax: "Axes", x: float, y: float, width: float, height: float, depth: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.03")
    box.set(facecolor=_FILLS[depth % len(_FILLS)], edgecolor=style.MUTED if depth else style.INK)
    box.set_linewidth(0.5 if depth else 0.8)
    ax.add_patch(box)


def _cells(ax: "Axes", place: Place, unit: Unit) -> None:
    for at, observed in enumerate(unit.observed):
        _cell(ax, place.x, place.y + at * (CELL + GAP), observed)
    if unit.coupled:
        ends = np.flatnonzero(unit.observed)[[0, -1]] * (CELL + GAP) + place.y + CELL / 2
        _side(ax, place.x + CELL + 0.03, *ends)


def _side(ax: "Axes", x: float, top: float, bottom: float) -> None:
    """A bracket on the right of the outcomes of a unit."""
    ax.plot([x - 0.025, x, x, x - 0.025], [top, top, bottom, bottom], color=style.INK, linewidth=0.8)


def _cell(ax: "Axes", x: float, y: float, observed: bool) -> None:
    from matplotlib.patches import Rectangle

    colour = style.BLUE if observed else "white"
    ax.add_patch(Rectangle((x, y), CELL, CELL, facecolor=colour, edgecolor=style.INK, linewidth=0.5))


def _bracket(ax: "Axes", bracket: Bracket) -> None:
    for x in bracket.x:
        ax.plot([x, x], [bracket.top, bracket.bottom], color=style.INK, linewidth=0.8)
    ax.plot([min(bracket.x), max(bracket.x)], [bracket.bottom] * 2, color=style.INK, linewidth=0.8)
    if bracket.open_to is not None:
        ax.plot([max(bracket.x), bracket.open_to], [bracket.bottom] * 2, color=style.INK, linewidth=0.8, linestyle=":")


def _draw_key(ax: "Axes", key: list[tuple[str, str]], y: float, width: float, scale: float) -> None:
    for sign, words in key:
        _sign(ax, sign, y)
        for line in _wrapped(words, width):
            _text(ax, _KEY, y, line, LETTERS * scale, style.INK)
            y += _LINE


def _sign(ax: "Axes", sign: str, y: float) -> None:
    if sign.startswith("level"):
        _box(ax, 0.0, y - 0.065, 0.22, 0.13, int(sign.split()[1]))
    elif sign in ("unit", "observed", "missing"):
        _cell(ax, 0.055, y - CELL / 2, sign != "missing")
    elif sign == "within":
        _side(ax, 0.12, y - 0.05, y + 0.05)
    elif sign == "across":
        _bracket(ax, Bracket((0.03, 0.11, 0.19), y - 0.03, y + 0.02, None))
