"""Pieces of work on several processes, each with one thread, their results in order; and a progress bar."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from bayesmeta._validation import check_integer

MOST_JOBS = 10_000


def in_order[Piece, Result](
    work: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    n_jobs: Any = 1,
    progress: bool = False,
    what: str = "data sets",
) -> Iterator[Result]:
    """Results of `work` in the order of the pieces; -1 jobs are as many as there are processors."""
    results = _results(work, pieces, check_jobs(n_jobs))
    return iter(_with_bar(results, len(pieces), what)) if progress else results


def check_jobs(n_jobs: Any) -> int:
    """A number of processes, or -1 for one on every processor."""
    if isinstance(n_jobs, int) and n_jobs == -1:
        return -1
    return check_integer(n_jobs, "n_jobs", 1, MOST_JOBS, remedy=", or -1 for one process on every processor")


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
