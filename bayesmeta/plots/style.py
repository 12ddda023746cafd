"""What all plots share: axes and their types, colours, and the axis of an effect, logarithmic for ratios."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import xarray as xr

from bayesmeta import measures
from bayesmeta._typing import FloatArray
from bayesmeta.errors import SpecError
from bayesmeta.inference.predict import predict
from bayesmeta.inference.reference import asked
from bayesmeta.tree.response import EFFECT, Reading, Scale, is_read_elsewhere
from bayesmeta.tree.response import reading as reading_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    class DrawnAxes(Axes):
        """The matplotlib axes of a plot, for type checkers: `figure` is one that can be saved.

        matplotlib's own annotation allows a `SubFigure` too, which has no `savefig`.
        """

        @property
        def figure(self) -> Figure: ...

    type AxesLike = Axes | Sequence[Axes] | NDArray[Any]

COLUMN, PAGE = 3.5, 7.2  # widths in inches: of a journal's column, and of its page
SMALL, TEXT = 7.0, 8.0  # font sizes in points

# Okabe and Ito (2008), Color Universal Design: distinct with every kind of colour blindness; in the order in which
# luminance differs most, so that neighbours are distinct in grey too
ORANGE, GREEN, PURPLE = "#E69F00", "#009E73", "#CC79A7"
_LIGHT = {"INK": "#1a1a1a", "MUTED": "#5f5f5f", "FAINT": "#b0b0b0", "PAPER": "white", "BLUE": "#0072B2"}
_LIGHT |= {"BLACK": "#000000", "SKY": "#56B4E9"}
_DARK = {"INK": "#ededed", "MUTED": "#b4b4b4", "FAINT": "#707070", "BLUE": "#56B4E9"}  # PAPER is the background
_DARK |= {"BLACK": "#ffffff", "SKY": "#0072B2"}
_ON_GREY = {"MUTED": "#474747", "BLUE": "#004C7A"}
_ORDER = ("BLUE", "ORANGE", "BLACK", "SKY", "GREEN", "PURPLE")
_DIM, _BRIGHT = 0.35, 0.7  # luminance of backgrounds: below, they are dark, and above, as good as white
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))  # one for each colour, for black and white print
MARKERS = ("o", "s", "^", "D", "v", "P")

_NICE = (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
_FEWEST, _MOST = 3, 7  # ticks of an axis


if TYPE_CHECKING:  # as they are in the style of matplotlib in use, see `__getattr__`
    INK: str
    MUTED: str
    FAINT: str
    PAPER: str
    BLUE: str
    BLACK: str
    SKY: str
    COLOURS: tuple[str, ...]


def __getattr__(name: str) -> Any:
    """The colours of texts and marks, which depend on whether matplotlib's style has a dark background."""
    if name == "COLOURS":
        return tuple(globals().get(each) or __getattr__(each) for each in _ORDER)
    if name not in _LIGHT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not is_dark():
        return (_LIGHT | (_ON_GREY if is_grey() else {}))[name]
    return _background() if name == "PAPER" else _DARK[name]


def is_dark() -> bool:
    """Whether the style of matplotlib in use draws on a dark background."""
    from matplotlib.colors import to_rgb

    return luminance(to_rgb(_background())) < _DIM


def is_grey() -> bool:
    """Whether it draws on a grey one, in the axes or beside them, on which pale texts could not be read."""
    from matplotlib.colors import to_rgb

    return min(luminance(to_rgb(each)) for each in _backgrounds()) < _BRIGHT


def _background() -> Any:
    return _backgrounds()[0]


def _backgrounds() -> list[Any]:
    """Those of axes and figure, of what is not transparent."""
    from matplotlib import rcParams

    shown = [rcParams[name] for name in ("axes.facecolor", "figure.facecolor") if rcParams[name] != "none"]
    return shown or ["white"]


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour, 0 for black and 1 for white (WCAG 2.1).

    >>> luminance((1.0, 1.0, 1.0))
    1.0
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb[:3]]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def grey(lightness: float) -> str:
    """A grey between ink (0) and white paper (1), and between the same on a dark background."""
    from matplotlib.colors import to_hex, to_rgb

    paper, ink = ((1.0,) * 3, (0.0,) * 3) if not is_dark() else (to_rgb(_background()), (1.0,) * 3)
    r, g, b = (lightness * p + (1 - lightness) * i for p, i in zip(paper, ink, strict=True))
    return to_hex((r, g, b))


class AxesArray(np.ndarray[Any, np.dtype[Any]]):
    """Matplotlib axes, one for each panel of a plot: an array of objects that also knows its figure.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    >>> axes = bm.plots.compare({"REML": bm.fit(spec), "ML": bm.fit(spec, "ml")})
    >>> len(axes), axes.figure is axes[0].figure
    (2, True)
    """

    @classmethod
    def of(cls, axes: "Sequence[Axes] | NDArray[Any]") -> "AxesArray":
        array = np.empty(len(axes), dtype=object)
        array[:] = list(axes)
        return array.view(cls)

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __getitem__(self, index: int) -> DrawnAxes: ...
        @overload
        def __getitem__(self, index: slice) -> "AxesArray": ...
        def __getitem__(self, index: int | slice) -> "DrawnAxes | AxesArray": ...
        def __iter__(self) -> Iterator[DrawnAxes]: ...  # type: ignore[override]

    @property
    def figure(self) -> "Figure":
        """The figure that the panels belong to; of several figures, that of the first panel."""
        return root_figure(self.ravel()[0])


def flat_axes(axes: Any, what: str = "axes") -> list[Any]:
    """The user's own axes as a list; SpecError for anything else."""
    listed = [axes]
    if isinstance(axes, list | tuple | np.ndarray):
        listed = np.ravel(np.asarray(axes, dtype=object)).tolist()
    for one in listed:
        if not hasattr(one, "get_xlim"):
            raise SpecError(f"{what} is a {type(one).__name__}; give matplotlib axes, such as those of plt.subplots()")
    return listed


def root_figure(ax: "Axes") -> "Figure":
    """The whole figure that axes belong to, also where they lie in a part of it."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def new_axes(
    rows: int = 1,
    columns: int = 1,
    width: float = COLUMN,
    height: float = 2.6,
    *,
    sharey: bool = False,
    width_ratios: Sequence[float] | None = None,
    height_ratios: Sequence[float] | None = None,
) -> tuple["Figure", "NDArray[Any]"]:
    """A figure of width x height inches with (rows, columns) axes, also where no window can be opened.

    Notebooks show the figure, because pyplot knows it; where pyplot's backend needs a display and there is none, the
    figure can only be saved.
    """
    import matplotlib
    from matplotlib.figure import Figure

    layout = {"figsize": (width, height), "layout": "constrained"}
    try:  # outside the context below: the first figure starts the backend, whose settings would end with it
        import matplotlib.pyplot as plt

        figure: Figure = plt.figure(**layout)  # type: ignore[arg-type]
    except ImportError:  # what matplotlib raises for an interactive backend without a display
        figure = Figure(**layout)  # type: ignore[arg-type]
    with matplotlib.rc_context({"font.size": TEXT}):
        axes = figure.subplots(
            rows, columns, squeeze=False, sharey=sharey, width_ratios=width_ratios, height_ratios=height_ratios
        )
    for ax in axes.flat:
        tidy(ax)
    return figure, axes


def tidy(ax: "Axes") -> "Axes":
    """Keep only the two axis lines of the frame, and set small fonts."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SMALL)
    for label in (ax.xaxis.label, ax.yaxis.label, ax.title):
        label.set_fontsize(TEXT)
    return ax


def measure_of(tree: xr.DataTree) -> measures.Measure:
    """The record of the effect measure of a results tree."""
    return measures.measure(tree.attrs.get("measure"))


def is_ratio(tree: xr.DataTree) -> bool:
    """Whether effects are read as ratios, according to the measure of the specification."""
    return measure_of(tree).is_ratio


def reading(tree: xr.DataTree, scale: Scale | None = None, role: str = EFFECT) -> Reading:
    """How effects are drawn: on the scale asked for, else on that on which people read the measure.

    Raises
    ------
    SpecError
        When the scale is unknown, or "response" is asked for where there is none.
    """
    if scale is None:
        record = measure_of(tree)
        return Reading(record, role, is_read_elsewhere(record, role))
    return reading_of(tree, scale, role)


def effect_label(tree: xr.DataTree, ratio: bool) -> str:
    """What effects are, such as "Odds ratio" or "Standardised mean difference", for sentences."""
    label = measure_of(tree).label_of(ratio)
    return label[:1].upper() + label[1:]


def back_transformed(effects: Any, ratio: bool) -> FloatArray:
    """Effects, exponentials where they are shown as ratios."""
    values = np.asarray(effects, dtype=float)
    return np.exp(values) if ratio else values


def effect_axis(ax: "Axes", reading: Reading, which: Literal["x", "y"] = "x") -> None:
    """Label the x (or y) axis of an effect; for ratios make it logarithmic, with round numbers as ticks.

    To be called after everything is drawn, because the ticks depend on the limits.
    """
    (ax.xaxis if which == "x" else ax.yaxis).set_label_text(reading.label, fontsize=TEXT)
    if not reading.log:
        return
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    tick_ratios(ax, ratio_ticks(min(low, high), max(low, high)), which)


def tick_ratios(ax: "Axes", ticks: Sequence[float], which: Literal["x", "y"] = "x") -> None:
    """Ticks of a logarithmic axis, with their values as people write them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def ratio_ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers between low and high, 0 < low < high: by decades, or evenly spaced in a short range.

    >>> ratio_ticks(0.08, 6)
    [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    >>> ratio_ticks(0.93, 1.18)
    [0.95, 1.0, 1.05, 1.1, 1.15]
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    every = max(1, -(-len(decades) // _MOST))
    sets = [[10.0**d for d in decades if d % every == 0]]
    sets += [[float(f"{m * 10.0**d:.6g}") for d in decades for m in nice] for nice in _NICE]
    size = 10.0 ** np.floor(np.log10(high - low))
    steps = [m * size for m in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)]
    sets += [[float(f"{k * s:.6g}") for k in range(int(low / s), int(high / s) + 2)] for s in steps]
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in sets]
    fitting = [ticks for ticks in inside if _FEWEST <= len(ticks) <= _MOST]
    # of the sets that fit, the one with the most even spacing on the logarithmic axis; more ticks count in its favour
    return min(fitting, key=_unevenness, default=max(inside, key=lambda ticks: len(ticks) if len(ticks) < 9 else 0))


def _unevenness(ticks: Sequence[float]) -> float:
    gaps = np.diff(np.log(ticks))
    return float(gaps.std() / gaps.mean()) - 0.05 * len(ticks)


def require(condition: bool, problem: str, call: str) -> None:
    """Raise SpecError unless the tree holds what a plot draws; `call` is the function that makes it."""
    if not condition:
        raise SpecError(f"{problem}\n  {call} makes it")


def fitted_means(tree: xr.DataTree) -> FloatArray:
    """(n_rows, k) the fixed part of the model, offset included; NaN where a predictor is missing."""
    with asked(df="z"):  # whatever the errors are, nobody asks for them
        return predict(tree, interval=None)["mean"].to_numpy()
