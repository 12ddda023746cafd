"""What a dose-response model says: its curve at a few doses, whether it is straight, and how well it fits."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from bayesmeta import plots
from bayesmeta._typing import FloatArray
from bayesmeta.display.prose import p_equals
from bayesmeta.display.tables import Table, percent
from bayesmeta.dose_response.dose_curve import curve, nonlinearity, reading_of
from bayesmeta.dose_response.dose_fit import goodness_of_fit
from bayesmeta.dose_response.dose_models import KIND
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import Spec
from bayesmeta.report.blocks import Block, Section, blocks, paragraphs
from bayesmeta.report.pictures import Drawing
from bayesmeta.report.sections.model import of_tree
from bayesmeta.report.sections.results import Trees, with_interval
from bayesmeta.tree.posterior_draws import is_posterior

_PLACES = 7  # doses of the table, at most


def is_dose_response(spec: Spec) -> bool:
    return spec.analysis.get("kind") == KIND


def dose_section(trees: Trees, prob: float) -> tuple[Section, ...]:
    """The section of the trees of one model; none of other models, and of curves that need more than a dose."""
    spec = of_tree(next(iter(trees.values())))
    if not is_dose_response(spec):
        return ()
    try:
        table = _table(trees, spec, prob)
    except SpecError as reason:  # the curve depends on other columns, for which readers must choose values
        return (Section("Dose-response", blocks(paragraphs(f"{str(reason).splitlines()[0]}."))),)
    return (Section("Dose-response", (table, *blocks(paragraphs(*_sentences(trees))))),)


def _table(trees: Trees, spec: Spec, prob: float) -> Block:
    """Effects at a few doses, those of every tree in a column."""
    dose = spec.analysis["doses"][0]
    low, high = spec.analysis["range"][dose]
    at = round_doses(low, high)
    made = {name: curve(tree, at, prob=prob) for name, tree in trees.items()}
    first = next(iter(made.values()))
    rows = [(f"{x:.4g}", *(_cell(own, i) for own in made.values())) for i, x in enumerate(at)]
    what = reading_of(spec, None).label
    against = first.attrs["reference"]
    dose_of_one = f"{dose} = {against:g}" if isinstance(against, float) else "the reference"
    title = f"{what} against {dose_of_one} by {dose}, with {percent(prob)} intervals"
    return Table(title, tuple(made), tuple(rows))


def _cell(own: xr.Dataset, i: int) -> str:
    """An effect with its interval, in the digits that the interval deserves."""
    mean, lower, upper = (float(own[name][i]) for name in ("mean", "lower", "upper"))
    return with_interval(mean, lower, upper, max((upper - lower) / 4, 0.01))


def round_doses(low: float, high: float) -> FloatArray:
    """About seven doses that people would choose.

    >>> round_doses(0.3, 9.8)
    array([2., 4., 6., 8.])
    """
    step = (high - low) / _PLACES
    unit = 10.0 ** np.floor(np.log10(step))
    step = unit * next(each for each in (1, 2, 5, 10) if each * unit >= step)
    return np.asarray(np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step)


def _sentences(trees: Trees) -> Iterator[str]:
    for name, tree in trees.items():
        if is_posterior(tree):
            continue
        try:
            test = nonlinearity(tree)
        except SpecError:  # a straight line, or a basis without one
            continue
        if np.isfinite(test["pvalue"].item()):
            yield f"{name}: that the curve is a straight line, {p_equals(test['pvalue'].item())}."
    fit = goodness_of_fit(next(iter(trees.values())))
    yield (
        f"One curve of this basis for all studies leaves a deviance of {fit['deviance'].item():.2f} on "
        f"{fit['df'].item():.0f} degrees of freedom ({p_equals(fit['pvalue'].item())}), and describes "
        f"{100 * fit['r_squared'].item():.0f}% of the weighted variation of the effects (R2)."
    )


def dose_drawings(trees: Trees, spec: Spec) -> Iterator[Drawing]:
    """The curve by every exposure, and the residuals."""
    for dose in spec.analysis["doses"]:
        low, high = spec.analysis["range"][dose]
        yield Drawing(
            f"Effect by {dose}",
            f"Effects against {dose} from {low:.4g} to {high:.4g}, with the curve of the model.",
            "The curve with its band; circles are effects of studies, larger where they are more precise, ticks doses.",
            lambda dose=dose: plots.dose_response(dict(trees), dose),  # type: ignore[misc]
        )
    yield Drawing(
        "Decorrelated residuals",
        f"Residuals of one curve for all studies against {spec.analysis['doses'][0]}, each with variance 1.",
        "Where the curve describes the studies, residuals scatter about 0 at every dose.",
        lambda: plots.dose_residuals(next(iter(trees.values()))),
    )
