"""The hierarchy of a specification as a diagram: groups, units, outcomes, random effects and sampling errors.

It is built in three steps: nested records of groups and units, their boxes with sizes and places in inches (the origin
at the upper left), and the drawing.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import IntArray
from bayesmeta._validation import check_count, listing
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.prediction_rows import group_of_kept
from bayesmeta.model.respecify import homogeneous
from bayesmeta.model.spec import Spec
from bayesmeta.plots import style
from bayesmeta.plots.panels import only_axes, plain, shortened
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

CELL, GAP = 0.11, 0.015  # inches: side of the square of an observation, and gap between those of one unit
BETWEEN, PAD = 0.07, 0.05  # between neighbours in a box, and from them to its border
HEADER = 0.16  # height of a label
STRIP = 0.075  # height of a bracket below the units
LETTERS, SMALL_LETTERS = 7.0, 6.0  # points, of labels of outer groups and of those inside
LONGEST, LONGEST_INSIDE = 22, 12  # letters of a label
_HINTING = 1.12
_INSIDE = 8  # groups drawn in a group where there is room, and half the number of units
_SMALLEST = 0.85  # factor by which a diagram may be reduced to fit the user's own axes
_KEY, _LINE = 0.32, 0.17  # inches: width of the column of symbols, and height of a line of the key
_SLACK = 1.25  # of the number of groups asked for: not worth a line about one more
_NARROWEST = 2.5  # inches
_FILLS = (0.937, 1.0, 0.89)  # lightness of the boxes of levels, outer to inner


def structure(spec: Spec | xr.DataTree, ax: "Axes | None" = None, *, most: int = 12) -> "DrawnAxes":
    """What is nested in what: groups of every level as boxes, the units in them, and which outcomes are observed.

    Parameters
    ----------
    spec : Spec or DataTree
        A specification from `bm.specify`, or the results of `bm.fit` or `bm.sample`.
    ax : matplotlib Axes, optional
        Axes to draw into, at least 3 inches wide; by default new ones, as wide as a page.
    most : int, default 12
        Number of outer groups to draw; a line says how many more there are. A quarter more are drawn where these are
        all.

    Returns
    -------
    matplotlib Axes
        Each column of squares is a unit, that is a row of the data; a square is an outcome, filled if it is observed. A
        bracket joins observations with correlated sampling errors. The key names levels, random effects and outcomes.

    Raises
    ------
    SpecError
        If `spec` is anything else, `most` is below 1, or the axes are too small.

    See Also
    --------
    bayesmeta.specify : Makes the specification.

    References
    ----------
    Sera, Armstrong, Blangiardo and Gasparrini (2019), Statistics in Medicine 38:5429-5444, Figure 1.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> ax = bm.plots.structure(spec, most=3)
    >>> [text.get_text() for text in ax.texts if "more" in text.get_text()]
    ['... and 8 more groups of district']
    """
    spec = _specification(spec)
    check_count(most, "most")
    key = key_lines(spec)
    if ax is None:
        boxes, rest, high = _arranged(spec, most, style.PAGE)
        width = _width(boxes, rest, key)
        height, scale = high + _key_height(key, width), 1.0
        panel = only_axes(None, height, width)
        _no_margins(panel)
    else:
        panel = only_axes(ax)
        boxes, rest, high, width, height, scale = _reduced(spec, panel, most, key)
    panel.set(xlim=(-0.02, width), ylim=(height, -0.02))
    panel.axis("off")
    for box in boxes:
        _draw(panel, box, scale)
    _text(panel, 0, high - 0.1, rest, LETTERS * scale, style.INK)
    _draw_key(panel, key, high + 0.12, width, scale)
    return panel


def _width(boxes: "Sequence[Place]", rest: str, key: Sequence[tuple[str, str]]) -> float:
    """Inches of a new figure: as wide as its boxes and the lines of its key, at most a page."""
    texts = max(text_width(text, LETTERS) for text in (rest, *(text for _, text in key)) if text)
    return float(
        np.clip(max(max(box.x + box.width for box in boxes), 1.06 * texts + _KEY) + 0.1, _NARROWEST, style.PAGE)
    )


def _specification(spec: Spec | xr.DataTree) -> Spec:
    """The specification, also that of a results tree; a common effect allows no variation between groups."""
    if isinstance(spec, xr.DataTree):
        whole = spec_from_tree(spec)
        return homogeneous(whole) if method_of(spec).zero_psi else whole
    if not isinstance(spec, Spec):
        raise SpecError(f"structure takes a specification or a results tree, not {type(spec).__name__}")
    return spec


def _no_margins(ax: "Axes") -> None:
    """The axes fill a new figure, so that inches in it are inches on paper."""
    style.root_figure(ax).set_layout_engine("none")
    ax.set_position((0.0, 0.0, 1.0, 1.0))


@dataclass(frozen=True)
class Unit:
    """A row of the data.

    observed : (k,) of every outcome. coupled : whether S couples sampling errors of its outcomes.
    block : number of the block of units whose sampling errors S couples, -1 where it is on its own.
    """

    observed: tuple[bool, ...]
    coupled: bool
    block: int


@dataclass(frozen=True)
class Group:
    """A group with its contents: `inside` are groups of the next level, or units.

    depth : 0 for the outer level. more : number of those inside that are left out.
    """

    label: str
    depth: int
    inside: tuple["Group | Unit", ...]
    more: int

    @property
    def units(self) -> Iterator[Unit]:
        for each in self.inside:
            yield from [each] if isinstance(each, Unit) else each.units


def groups_of(spec: Spec, most: int, most_inside: int) -> list[Group]:
    """The first outer groups, at most `most`, with the first `most_inside` of everything inside them."""
    units = _units(spec)
    of_row = [group_of_kept(spec, level) for level in spec.levels]

    def build(depth: int, rows: IntArray) -> Iterator[Group]:
        level = spec.levels[depth]
        order = dict.fromkeys(of_row[depth][rows].tolist())
        for number in list(order)[: most if depth == 0 else most_inside]:
            own = rows[of_row[depth][rows] == number]
            inside: Sequence[Group | Unit]
            if depth + 1 < len(spec.levels):
                inside, n = list(build(depth + 1, own)), len(set(of_row[depth + 1][own].tolist()))
            else:
                inside, n = [units[row] for row in own[: 2 * most_inside]], len(own)
            yield Group(level.labels[number][-1], depth, tuple(inside), n - len(inside))

    return list(build(0, np.arange(int(spec.kept.sum()))))


def _units(spec: Spec) -> list[Unit]:
    """One for every kept row."""
    position = np.cumsum(spec.kept) - 1
    row = position[spec.row]
    observed = np.zeros((int(spec.kept.sum()), len(spec.outcomes)), dtype=bool)
    observed[row, spec.outcome_index] = True
    first, second = coupled_pairs(spec)
    first, second = row[first], row[second]
    within = np.isin(np.arange(len(observed)), first[first == second])
    blocks = _blocks(first, second, len(observed))
    return [Unit(tuple(map(bool, o)), bool(w), int(b)) for o, w, b in zip(observed, within, blocks, strict=True)]


def coupled_pairs(spec: Spec) -> tuple[IntArray, IntArray]:
    """Pairs of observations whose sampling errors are correlated."""
    coupled = (spec.S.row != spec.S.col) & (spec.S.value != 0)
    return spec.S.row[coupled], spec.S.col[coupled]


def _blocks(first: IntArray, second: IntArray, n: int) -> IntArray:
    """Number of the block of every unit, -1 for units that are not coupled with any other."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    linked = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    block = connected_components(linked, directed=False)[1]
    return np.where(np.bincount(block)[block] > 1, block, -1).astype(np.int64)


@dataclass
class Place:
    """A box, a unit or a text with its upper left corner and size; `content` is None for a text alone."""

    content: Group | Unit | None
    width: float
    height: float
    text: str = ""
    letters: float = LETTERS
    x: float = 0.0
    y: float = 0.0
    inside: list["Place"] = field(default_factory=list)

    def moved(self, dx: float, dy: float) -> None:
        self.x, self.y = self.x + dx, self.y + dy
        for each in self.inside:
            each.moved(dx, dy)

    def all(self) -> Iterator["Place"]:
        yield self
        for each in self.inside:
            yield from each.all()


@dataclass(frozen=True)
class Bracket:
    """Joins the units of a block: x of each, the height of the line, and whether it extends to units left out."""

    x: tuple[float, ...]
    top: float
    bottom: float
    open_to: float | None


@cache
def text_width(text: str, letters: float) -> float:
    """Width of a text in inches, and a little more, because letters are moved to whole pixels when they are drawn."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text or " ", size=letters, prop=FontProperties()).get_extents().x1) * _HINTING / 72


def placed(group: Group) -> Place:
    """A group at the origin."""
    letters, longest = (LETTERS, LONGEST) if group.depth == 0 else (SMALL_LETTERS, LONGEST_INSIDE)
    label = shortened(group.label, longest)
    inside = [placed(each) if isinstance(each, Group) else _unit(each) for each in group.inside]
    if group.more:
        text = f"+{group.more} more"
        inside.append(Place(None, text_width(text, SMALL_LETTERS) + 0.04, CELL, text, SMALL_LETTERS))
    gap = BETWEEN if group.inside and isinstance(group.inside[0], Group) else BETWEEN / 2
    x = PAD
    for each in inside:
        each.moved(x, HEADER)
        x += each.width + gap
    width = max(x - gap + PAD, text_width(label, letters) + 2 * PAD + 0.02)
    high = max((each.height for each in inside), default=0.0)
    height = HEADER + high + PAD + STRIP * bool(own_blocks(group))
    return Place(group, width, height, label, letters, inside=inside)


def _unit(unit: Unit) -> Place:
    k = len(unit.observed)
    return Place(unit, CELL + (0.05 if unit.coupled else 0.0), k * CELL + (k - 1) * GAP)


def own_blocks(group: Group) -> list[int]:
    """Blocks of units that extend over several members of this group."""
    spread: dict[int, int] = {}
    for each in group.inside:
        for block in {unit.block for unit in ([each] if isinstance(each, Unit) else each.units)} - {-1}:
            spread[block] = spread.get(block, 0) + 1
    return [block for block, n in spread.items() if n > 1]


def brackets(box: Place) -> Iterator[Bracket]:
    """The brackets of a placed group itself, without those of groups inside it."""
    assert isinstance(box.content, Group)
    bottom = box.y + box.height - PAD
    for block in own_blocks(box.content):
        members = [p for p in box.all() if isinstance(p.content, Unit) and p.content.block == block]
        rest = next((p for p in box.inside if p.content is None), None)
        open_to = None if rest is None else rest.x + rest.width / 2
        yield Bracket(tuple(p.x + CELL / 2 for p in members), bottom - STRIP + 0.03, bottom, open_to)


def flowing(boxes: Sequence[Place], width: float) -> float:
    """Put boxes side by side, on as many lines as they need; returns their total height."""
    x = y = line = 0.0
    for box in boxes:
        if x and x + box.width > width:
            x, y, line = 0.0, y + line + 0.1, 0.0
        box.moved(x - box.x, y - box.y)
        x, line = x + box.width + 0.1, max(line, box.height)
    return y + line


def _arranged(spec: Spec, most: int, width: float) -> tuple[list[Place], str, float]:
    """Boxes of the first outer groups within a width, the text about the others, and the height of all."""
    outer = spec.levels[0]
    most = outer.n_groups if outer.n_groups <= _SLACK * most else most
    for inside in range(_INSIDE, 0, -1):
        boxes = [placed(group) for group in groups_of(spec, most, inside)]
        if max(box.width for box in boxes) <= width:
            break
    left = outer.n_groups - len(boxes)
    rest = f"... and {left} more group{'s' * (left > 1)} of {outer.name}" if left else ""
    return boxes, plain(rest), flowing(boxes, width) + (0.2 if rest else 0.0)


def _reduced(
    spec: Spec, ax: "Axes", most: int, key: list[tuple[str, str]]
) -> tuple[list[Place], str, float, float, float, float]:
    """The same for the user's own axes: smaller, then with fewer groups, until it fits."""
    w, h = ax.get_position().size * style.root_figure(ax).get_size_inches()
    for number in range(most, 0, -1):
        for scale in (1.0, _SMALLEST):
            boxes, rest, high = _arranged(spec, number, w / scale)
            fits = max(box.width for box in boxes) <= w / scale
            if fits and high + _key_height(key, w / scale) <= h / scale:
                return boxes, rest, high, w / scale, h / scale, scale
    raise SpecError(f"axes of {w:.1f} x {h:.1f} inches are too small for this diagram; give larger axes, or none")


def key_lines(spec: Spec) -> list[tuple[str, str]]:
    """Symbols and texts of the key."""
    lines = []
    for depth, level in enumerate(spec.levels):
        groups = f"{level.n_groups} group{'s' * (level.n_groups > 1)}{' inside these' if depth else ''}"
        if level.name == schema.UNIT and spec.design.parsed.group_columns == ():
            groups = f"{level.n_groups} group{'s' * (level.n_groups != 1)}, each row of the data its own"
        effects = f"random effects {listing(level.effects, 6)}"
        if level.dim > 1 or not level.n_free:  # a single free variance has no structure
            effects += f", covariance {level.structure.name}"
        lines.append((f"level {depth}", f"{level.name}: {groups}; {effects if level.dim else 'no random effects'}"))
    k, n = len(spec.outcomes), int(spec.kept.sum())
    outcomes = f"outcome {spec.outcomes[0]}" if k == 1 else f"outcomes, from the top: {listing(spec.outcomes, 8)}"
    dropped = len(spec.kept) - n
    lines.append(("unit", f"unit, a row of the data: {n}{f' ({dropped} more dropped)' if dropped else ''}; {outcomes}"))
    if missing := n * k - len(spec.y):
        lines += [("observed", f"observed: {len(spec.y)}"), ("missing", f"missing: {missing}")]
    first, second = (spec.row[pair] for pair in coupled_pairs(spec))
    if (first == second).any():
        lines.append(("within", "S couples the sampling errors of the outcomes of a unit"))
    if (first != second).any():
        lines.append(("across", "S couples the sampling errors of these units"))
    if not len(first):
        lines.append(("", "S: sampling errors are independent"))
    return lines


def _wrapped(text: str, width: float) -> list[str]:
    letters = int((width - _KEY) / text_width("n" * 50, LETTERS) * 55)
    return [plain(line) for line in textwrap.wrap(text, letters)]


def _key_height(key: list[tuple[str, str]], width: float) -> float:
    return 0.25 + _LINE * sum(len(_wrapped(text, width)) for _, text in key)


def _draw(ax: "Axes", place: Place, scale: float) -> None:
    if isinstance(place.content, Unit):
        _cells(ax, place, place.content)
    elif place.content is None:
        _text(ax, place.x, place.y + place.height / 2, place.text, place.letters * scale, style.MUTED)
    else:
        _box(ax, place.x, place.y, place.width, place.height, place.content.depth)
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
    box.set(facecolor=style.grey(_FILLS[depth % len(_FILLS)]), edgecolor=style.MUTED if depth else style.INK)
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

    colour = style.BLUE if observed else style.PAPER
    ax.add_patch(Rectangle((x, y), CELL, CELL, facecolor=colour, edgecolor=style.INK, linewidth=0.5))


def _bracket(ax: "Axes", bracket: Bracket) -> None:
    for x in bracket.x:
        ax.plot([x, x], [bracket.top, bracket.bottom], color=style.INK, linewidth=0.8)
    ax.plot([min(bracket.x), max(bracket.x)], [bracket.bottom] * 2, color=style.INK, linewidth=0.8)
    if bracket.open_to is not None:
        ax.plot([max(bracket.x), bracket.open_to], [bracket.bottom] * 2, color=style.INK, linewidth=0.8, linestyle=":")


def _draw_key(ax: "Axes", key: list[tuple[str, str]], y: float, width: float, scale: float) -> None:
    for symbol, text in key:
        _symbol(ax, symbol, y)
        for line in _wrapped(text, width):
            _text(ax, _KEY, y, line, LETTERS * scale, style.INK)
            y += _LINE


def _symbol(ax: "Axes", symbol: str, y: float) -> None:
    if symbol.startswith("level"):
        _box(ax, 0.0, y - 0.065, 0.22, 0.13, int(symbol.split()[1]))
    elif symbol in ("unit", "observed", "missing"):
        _cell(ax, 0.055, y - CELL / 2, symbol != "missing")
    elif symbol == "within":
        _side(ax, 0.12, y - 0.05, y + 0.05)
    elif symbol == "across":
        _bracket(ax, Bracket((0.03, 0.11, 0.19), y - 0.03, y + 0.02, None))
