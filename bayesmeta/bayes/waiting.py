"""What is said while a model is compiled and sampled: a line before, and one bar over all models and chains."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bayesmeta.kernel

LOGGER = logging.getLogger("bayesmeta")
_KERNEL = "compiled.marginal-*.nbi"  # what Numba keeps of the likelihood, for all models and processes to come
_FIRST, _LATER = "the likelihood, about half a minute, and the model; once", "the model, about 10 s"


@dataclass
class Pieces:
    """Several models that are sampled one after the other, and how many of them have been."""

    number: int
    finished: int = 0


_PIECES: ContextVar[Pieces | None] = ContextVar("pieces", default=None)


@contextmanager
def several(number: int) -> Iterator[Pieces]:
    """Within, one bar runs over so many models."""
    pieces = Pieces(number)
    token = _PIECES.set(pieces)
    try:
        yield pieces
    finally:
        _PIECES.reset(token)


def announce(progress: bool | None, why: str = "") -> None:
    """Say that something is compiled before the first model of a process is; progress : False for a log alone.

    why : Markov chains are run, where that was left open.
    """
    if why:
        LOGGER.info("Markov chains, because %s", why)
    if "pymc" in sys.modules and _is_kept():
        return
    text = f"Compiling {_LATER if _is_kept() else _FIRST} ..."
    if LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers():
        LOGGER.info(text)
    elif progress is not False:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _is_kept() -> bool:
    """Whether the likelihood has been compiled before, by this or another process."""
    beside = Path(bayesmeta.kernel.__file__).parent / "__pycache__"
    elsewhere = os.environ.get("NUMBA_CACHE_DIR")
    users = [Path(elsewhere)] if elsewhere else [Path.home() / ".cache/numba"]
    return any(beside.glob(_KERNEL)) or any(any(folder.rglob(_KERNEL)) for folder in users if folder.is_dir())


@contextmanager
def chain_bar(steps: int, chains: int, shown: bool) -> Iterator[Callable[[Sequence[Any]], None] | None]:
    """A bar in the terminal with the remaining time, and what moves it; none where it is not to be shown.

    steps : of each chain. What moves it takes the states of all chains, each with its `finished_draws`.
    """
    pieces = _PIECES.get() or Pieces(1)
    if not shown:
        yield None
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        which = f"model {pieces.finished + 1} of {pieces.number}, " if pieces.number > 1 else ""
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            each = steps * chains
            task = bar.add_task(f"{which}{chains} chains", total=each * pieces.number, completed=each * pieces.finished)

            def move(states: Sequence[Any]) -> None:
                done = sum(state.finished_draws for state in states)
                bar.update(task, completed=each * pieces.finished + min(done, each))

            yield move
    pieces.finished += 1
