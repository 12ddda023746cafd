"""Tables that the command line prints: published numbers beside ours, and the statistics of a simulation study."""

from collections.abc import Sequence

import typer
from pandas import DataFrame
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bayesmeta.model_files.reproduce import Row

_HELD, _EXCEPTION, _MISSED = "✓", "≠", "✗"
_PAGE = 100  # characters, as wide as a summary


def print_files(rows: Sequence[tuple[str, str, str]]) -> None:
    """Bundled files, one a line: name, what they declare, title."""
    first, second = (max(len(row[j]) for row in rows) for j in (0, 1))
    for name, content, title in rows:
        typer.echo(f"{name:<{first}}  {content:<{second}}  {title}")


def print_rows(rows: list[Row]) -> None:
    """Every printed number, whether it is reproduced, and the reasons of those that are known to differ."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "analysis", "model", "quantity", "printed", "ours", "where"):
        table.add_column(heading, no_wrap=heading != "quantity", overflow="fold")
    for row in rows:
        entry = row.printed
        mark = _MISSED if not row.ok else _EXCEPTION if entry.ours else _HELD
        cells = (mark, row.analysis, row.model, entry.label, entry.printed, row.ours, entry.where)
        table.add_row(*map(Text, cells))
    console = Console()
    console.width = max(console.width, _PAGE)
    console.print(table)
    exceptions = [row for row in rows if row.ok and row.printed.ours]
    for row in exceptions:
        label = f"{row.analysis} {row.model}, {row.printed.label}"
        console.print(
            Text(f"{_EXCEPTION} {label}: printed {row.printed.printed}, ours {row.ours}: {row.printed.reason}")
        )
    held = sum(row.ok for row in rows) - len(exceptions)
    missed = len(rows) - held - len(exceptions)
    console.print(f"{held} reproduced, {len(exceptions)} known to differ, {missed} not reproduced")


def print_study(rows: DataFrame) -> None:
    """Every statistic with its Monte Carlo error, and beside it the published one."""
    keys = [column for column in rows if column not in ("statistic", "kind", "value", "mcse", "paper")]
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in (*keys, *rows["statistic"].unique()):
        shown.add_column(str(heading), no_wrap=True, justify="right")
    for key, own in rows.groupby(keys, sort=False):
        ours = [f"{value:.3f} ({error:.3f})" for value, error in zip(own["value"], own["mcse"], strict=True)]
        shown.add_row(*(f"{part:g}" if isinstance(part, float) else str(part) for part in key), *ours)
        if own["paper"].notna().any():
            shown.add_row(*("" for _ in keys[1:]), "paper", *(f"{value:.3f}" for value in own["paper"]))
    console = Console()
    console.width = max(console.width, 18 * len(shown.columns))
    console.print(shown)
