"""Pieces of work on several processes, each with one thread, their results in order; and a progress bar."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any

from bayesmeta.errors import SpecError


def in_order[Piece, Result](
    work: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    n_jobs: Any = 1,
    progress: bool = False,
    what: str = "data sets",
) -> Iterator[Result]:
    """Results of `work` in the order of the pieces; -1 jobs are as many as there are processors."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral) or (n_jobs < 1 and n_jobs != -1):
        raise SpecError(f"n_jobs is {n_jobs!r}; give a number of processes, or -1 for one on every processor")
    results = _results(work, pieces, int(n_jobs))
    return iter(_with_bar(results, len(pieces), what)) if progress else results


def _results[Piece, Result](work: Callable[[Piece], Result], pieces: Sequence[Piece], n_jobs: int) -> Iterator[Result]:
    from joblib import Parallel, delayed

    if n_jobs == 1 or len(pieces) == 1:
        for piece in pieces:
            yield one_thread(work, piece)
        return
    yield from Parallel(n_jobs=n_jobs, return_as="generator")(delayed(one_thread)(work, piece) for piece in pieces)


def one_thread[Piece, Result](work: Callable[[Piece], Result], piece: Piece) -> Result:
    """The result of one piece, without the threads of linear algebra, which only get in each other's way here."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return work(piece)


def _with_bar[Result](results: Iterable[Result], total: int, what: str) -> Iterable[Result]:
    from rich.progress import track

    return track(results, description=what, total=total)
