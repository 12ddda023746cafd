"""What a table of a paper says below it: which intervals and scales its numbers have, and what I2 is."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import xarray as xr

from bayesmeta.display.paper import PaperTable, parameter_label
from bayesmeta.display.remarks import varies
from bayesmeta.display.tables import percent
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Scale, has_predictors, measure_of, roles


def interval_name(prob: float, trees: Sequence[xr.DataTree]) -> str:
    """The heading of a column of intervals: confidence intervals of fits, credible intervals of posteriors."""
    kinds = {is_posterior(tree) for tree in trees}
    return f"{percent(prob)} {'CrI' if kinds == {True} else 'CI' if kinds == {False} else 'CI or CrI'}"


def measured(tree: xr.DataTree) -> str:
    """What a caption adds: the measure, as it is read."""
    record = measure_of(tree)
    return f": {record.response_label.lower()}" if record.name != "generic" else ""


def reading_notes(tree: xr.DataTree, scale: Scale | None, letter: str) -> list[str]:
    """Which numbers are on which scale, and what I2 and the prediction interval are; letter : of test statistics."""
    record, notes = measure_of(tree), []
    if record.has_response and scale != "response":
        estimate, test = ("Mean, SD", "") if is_posterior(tree) else ("Estimate, SE", f", {letter} and p")
        notes.append(f"{estimate}{test}: on the scale of the model, the {record.label}.")
    if varies(tree) and not has_predictors(tree):
        notes.append("Prediction interval: holds the true effect of a new study with this probability.")
    return [*notes, *heterogeneity_notes([tree])]


def heterogeneity_notes(trees: Sequence[xr.DataTree]) -> list[str]:
    """What the sizes of heterogeneity are, where there is any in the model."""
    if not any(map(varies, trees)):
        return []
    words = (
        "τ², variance of the true effects; τ, its square root; I², share of the variation between effect estimates "
        "that is not sampling error, and H² = 1/(1 − I²), from τ² and the typical sampling variance."
    )
    return [words]


def row_label(tree: xr.DataTree) -> Callable[[str], str]:
    """What the rows of a summary are called: without predictors the coefficients are pooled estimates."""
    pooled = not has_predictors(tree)

    def label(name: str) -> str:
        own = parameter_label(name)
        if not pooled or not name.startswith("beta["):
            return own
        return "Pooled estimate" if own == "Intercept" else own.removesuffix(".Intercept")

    return label


def as_rows_are_called(tree: xr.DataTree, table: PaperTable) -> PaperTable:
    """A table whose notes call the coefficients what its rows do, and whose headings begin with capitals."""
    names = {f"beta[{coef}]": coef for coef in roles(tree)}
    notes = list(table.notes)
    for long, short in sorted(names.items(), key=lambda each: -len(each[0])):
        notes = [note.replace(long, short) for note in notes]
    header = tuple(name[:1].upper() + name[1:] if " " in name else name for name in table.header)
    return replace(table, notes=tuple(notes), header=header)
