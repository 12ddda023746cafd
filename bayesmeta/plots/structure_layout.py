"""Where the boxes of a hierarchy lie on a page: sizes and places in inches, the origin at the upper left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from bayesmeta.plots.panels import fitted
from bayesmeta.plots.structure_groups import Group, Unit

CELL, GAP = 0.11, 0.015  # the square of an observation, and between those of one unit
BETWEEN, PAD = 0.07, 0.05  # between neighbours in a box, and to its border
HEADER = 0.16  # the line of a label
STRIP = 0.075  # below the units, for one bracket
LETTERS, SMALL_LETTERS = 7.0, 6.0  # points, of labels of outer groups and of those inside
LONGEST, LONGEST_INSIDE = 22, 12  # letters of a label
_HINTING = 1.12


@dataclass
class Place:
    """A box, a unit or a text with its upper left corner and size; `what` is None for a text alone."""

    what: Group | Unit | None
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
    """Joins the units of a block: x of each, the height of the line, and whether it goes on to units left out."""

    x: tuple[float, ...]
    top: float
    bottom: float
    open_to: float | None


@cache
def text_width(text: str, letters: float) -> float:
    """Inches that a text takes, and a little more, as letters are moved to whole pixels when they are drawn."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text or " ", size=letters, prop=FontProperties()).get_extents().x1) * _HINTING / 72


def placed(group: Group) -> Place:
    """A group at the origin."""
    letters, longest = (LETTERS, LONGEST) if group.depth == 0 else (SMALL_LETTERS, LONGEST_INSIDE)
    label = fitted(group.label, longest)
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
    """Blocks of units that reach over several of those inside this group, or to some left out."""
    spread: dict[int, int] = {}
    for each in group.inside:
        for block in {unit.block for unit in ([each] if isinstance(each, Unit) else each.units)} - {-1}:
            spread[block] = spread.get(block, 0) + 1
    return [block for block, n in spread.items() if n > 1]


def brackets(box: Place) -> Iterator[Bracket]:
    """Of the blocks of a placed group, not of those inside it."""
    assert isinstance(box.what, Group)
    bottom = box.y + box.height - PAD
    for block in own_blocks(box.what):
        members = [p for p in box.all() if isinstance(p.what, Unit) and p.what.block == block]
        rest = next((p for p in box.inside if p.what is None), None)
        open_to = None if rest is None else rest.x + rest.width / 2
        yield Bracket(tuple(p.x + CELL / 2 for p in members), bottom - STRIP + 0.03, bottom, open_to)


def flowing(boxes: Sequence[Place], width: float) -> float:
    """Put boxes beside one another, on as many lines as they need; the height that they take."""
    x = y = line = 0.0
    for box in boxes:
        if x and x + box.width > width:
            x, y, line = 0.0, y + line + 0.1, 0.0
        box.moved(x - box.x, y - box.y)
        x, line = x + box.width + 0.1, max(line, box.height)
    return y + line
