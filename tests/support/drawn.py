"""What a plot has drawn, read back from its axes; and two data sets of any size."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

import bayesmeta as bm
from tests.support.pictures import crowded

LONG = "A study with a long name that goes on, St Elsewhere's {}"


def line(ax: Axes, label: str) -> Line2D:
    """The only line with this label."""
    (found,) = lines(ax, label)
    return found


def lines(ax: Axes, label: str) -> list[Line2D]:
    return [each for each in ax.lines if each.get_label() == label]


def bars(ax: Axes, label: str) -> np.ndarray:
    """(n, 3) x, lower and upper end of the upright bars with this label."""
    (found,) = (each for each in ax.collections if isinstance(each, LineCollection) and each.get_label() == label)
    return np.array([[segment[0, 0], segment[0, 1], segment[1, 1]] for segment in found.get_segments()])


def legend(ax: Axes) -> list[str]:
    return [] if ax.get_legend() is None else [text.get_text() for text in ax.get_legend().get_texts()]


def notes(ax: Axes) -> str:
    """The notes below the label of the x axis, on one line."""
    return " ".join(text.get_text() for text in ax.texts if text.get_gid() == "notes").replace("\n", " ")


def assert_tidy(ax: Axes) -> None:
    """No text on another or cut off, and room for the data, beside the legend too."""
    figure = ax.figure
    assert crowded(figure) == []
    box = ax.get_window_extent()
    assert box.height > 0.4 * figure.bbox.height
    named = ax.get_legend()
    beside = 0.0 if named is None or named.get_window_extent().x0 < box.x1 else named.get_window_extent().width
    assert box.width > 0.6 * (figure.bbox.width - beside)
    assert box.width > 0.45 * figure.bbox.width


def study_data(n: int, seed: int = 1) -> pd.DataFrame:
    """n studies with long names, in groups of three, each at three times: rows of columns y, var, x, arm, time, ..."""
    rng = np.random.default_rng(seed)
    study, time = np.repeat(np.arange(n), 3), np.tile([6, 12, 24], n)
    data = pd.DataFrame({"study": [LONG.format(s) for s in study], "time": time, "row": np.arange(3 * n)})
    data["var"] = rng.uniform(0.01, 0.2, 3 * n)
    data["x"] = rng.uniform(1, 60, 3 * n)
    data["arm"] = np.array(["placebo", "a drug with a rather long name", "usual care with visits"])[
        (study + np.tile([0, 1, 2], n)) % 3
    ]
    data["age"] = rng.uniform(20, 70, 3 * n)
    data["y"] = 0.2 + 0.01 * data["x"] + rng.normal(0, np.sqrt(data["var"] + 0.02))
    return data


def fitted(formula: str, data: pd.DataFrame, method: str = "ml", **options):
    return bm.fit(bm.specify(formula, data, **{"S": "var", "random": "1 | study", "measure": "smd"} | options), method)
