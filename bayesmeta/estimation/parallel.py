"""Pieces of work on several processes, each with one thread, their results in order; and a progress bar."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

from bayesmeta._validation import check_boolean, check_choice, check_integer
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.partitions import current_client, need_dask

MOST_JOBS = 10_000
DEATHS = 3  # in a row without a result in between, after which pieces are given up
Backend = Literal["loky", "dask", "threading"]
BACKENDS = ("loky", "dask", "threading")


def in_order[Piece, Result](
    work: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    n_jobs: Any = 1,
    progress: bool = False,
    what: str = "data sets",
    backend: Any = None,
) -> Iterator[Result]:
    """Results of `work` in the order of the pieces; -1 jobs are as many as there are processors.

    backend : of joblib, "loky" for processes of this machine, "dask" for the workers of the Dask client in scope.
    """
    results = _results(work, pieces, check_jobs(n_jobs), check_backend(backend), what)
    return iter(_with_bar(results, len(pieces), what)) if progress else results


@dataclass(frozen=True)
class Jobs:
    """Where pieces are worked on, as a user asks for it, checked."""

    n_jobs: Any = 1
    backend: Any = None
    progress: Any = False

    def __post_init__(self) -> None:
        check_jobs(self.n_jobs)
        check_backend(self.backend)
        check_boolean(self.progress, "progress")

    @property
    def alone(self) -> bool:
        """Whether all is done in this process, one piece after the other."""
        return self.backend is None and self.n_jobs == 1

    @property
    def silent(self) -> "Jobs":
        return replace(self, progress=False)

    def in_order[Piece, Result](
        self, work: Callable[[Piece], Result], pieces: Sequence[Piece], what: str
    ) -> Iterator[Result]:
        return in_order(work, pieces, self.n_jobs, self.progress, what, self.backend)


def check_jobs(n_jobs: Any) -> int:
    """A number of processes, or -1 for one on every processor."""
    if isinstance(n_jobs, int) and n_jobs == -1:
        return -1
    return check_integer(n_jobs, "n_jobs", 1, MOST_JOBS, remedy=", or -1 for one process on every processor")


def check_backend(backend: Any) -> str | None:
    """One of joblib's backends, or None; "dask" where there is a client."""
    if backend is None:
        return None
    check_choice(backend, BACKENDS, "backend")
    if backend == "dask":
        need_dask("backend='dask'")
        if current_client() is None:
            raise SpecError(
                "backend='dask' without a Dask client in scope\n"
                "  client = dask.distributed.Client() starts a local cluster, Client(address) takes one that runs"
            )
    return str(backend)


ALONE = Jobs()


def _results[Piece, Result](
    work: Callable[[Piece], Result], pieces: Sequence[Piece], n_jobs: int, backend: str | None, what: str
) -> Iterator[Result]:
    if backend == "dask" and n_jobs == 1:
        n_jobs = -1  # the whole cluster
    if n_jobs == 1 or (len(pieces) == 1 and backend != "dask"):
        for piece in pieces:
            yield one_thread(work, piece)
        return
    done = deaths = 0
    while done < len(pieces):
        try:
            for result in _parallel(work, pieces[done:], n_jobs, backend):
                yield result
                done, deaths = done + 1, 0
        except _died() as error:
            deaths += 1
            if deaths == DEATHS:
                raise DataError(
                    f"processes died {DEATHS} times at piece {done + 1} of {len(pieces)} ({what}), most likely of too "
                    f"little memory ({type(error).__name__})\n"
                    f"  {done} pieces were done, {len(pieces) - done} are missing; use fewer processes, or n_jobs=1"
                ) from None
            warn(
                f"a process died at piece {done + 1} of {len(pieces)} ({what}); unfinished ones are begun again",
                AssumptionWarning,
            )


def _parallel[Piece, Result](
    work: Callable[[Piece], Result], pieces: Sequence[Piece], n_jobs: int, backend: str | None
) -> Iterator[Result]:
    from joblib import Parallel, delayed, parallel_config

    # joblib registers the backend of Dask where it is asked for in this way alone
    with parallel_config(backend=backend) if backend else nullcontext():
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    results: Iterator[Result] = parallel(delayed(one_thread)(work, piece) for piece in pieces)
    return results


def _died() -> tuple[type[BaseException], ...]:
    """What is raised where a process died; that of Dask where its library is loaded."""
    from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

    of_dask: tuple[type[BaseException], ...] = ()
    if current_client() is not None:
        from distributed import KilledWorker

        of_dask = (KilledWorker,)
    return (BrokenProcessPool, TerminatedWorkerError, *of_dask)


def one_thread[Piece, Result](work: Callable[[Piece], Result], piece: Piece) -> Result:
    """The result of one piece, without the threads of linear algebra, which only get in each other's way here."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return work(piece)


def _with_bar[Result](results: Iterable[Result], total: int, what: str) -> Iterable[Result]:
    from rich.progress import track

    return track(results, description=what, total=total)
