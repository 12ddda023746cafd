"""Tables that the command line prints: published numbers beside ours, and the statistics of a simulation study."""

import sys
from collections.abc import Sequence
from io import StringIO

from pandas import DataFrame
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bayesmeta.cli.app import echo
from bayesmeta.model_files.reproduce import Row

_HELD, _EXCEPTION, _MISSED = "✓", "≠", "✗"
_PAGE = 100  # characters, as wide as a summary


def print_files(rows: Sequence[tuple[str, str, str]]) -> None:
    """Bundled files, one a line: name, what they declare, title."""
    first, second = (max(len(row[j]) for row in rows) for j in (0, 1))
    for name, content, title in rows:
        echo(f"{name:<{first}}  {content:<{second}}  {title}")


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
    console = _console(_PAGE)
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
    echo(console.export_text(styles=console.is_terminal).removesuffix("\n"))


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
    console = _console(18 * len(shown.columns))
    console.print(shown)
    echo(console.export_text(styles=console.is_terminal).removesuffix("\n"))


def _console(least: int) -> Console:
    """One at least so wide, which keeps what it prints: `echo` knows what to do when nobody reads it."""
    console = Console(record=True, file=StringIO(), force_terminal=sys.stdout.isatty())
    console.width = max(Console().width, least)
    return console
