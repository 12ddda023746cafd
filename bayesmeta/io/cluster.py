"""Work on partitions where they are: on the workers of a Dask cluster, or one after the other in this process.

Results of partitions are kept where they were made. Where a worker dies Dask makes what it held again from the data.
"""

import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta.errors import BayesmetaError, DataError
from bayesmeta.io.partitions import Partitions, Share, current_client, frame_of, need_dask

FAN = 8  # results that are added up at a time
POLL = 5.0  # seconds after which somebody looks whether there are still workers
PATIENCE = 300.0  # seconds that a cluster may be without any: busy machines take minutes to start them again
Arrays = tuple[np.ndarray, ...]


class KeptHere:
    """One result of every partition, in this process."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def each(self, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        return [work(item, *arguments) for item in self.items]

    def totals(self, work: Callable[..., Arrays], *arguments: Any) -> Arrays:
        """Sums over the partitions of the arrays that work(result, *arguments) returns."""
        return _added(self.each(work, *arguments))


class KeptOnWorkers:
    """The same on the workers of a cluster."""

    def __init__(self, cluster: "Cluster", futures: Sequence[Any]) -> None:
        self.cluster, self.futures = cluster, list(futures)

    def __len__(self) -> int:
        return len(self.futures)

    def each(self, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        with _reachable(self.cluster):
            return self.cluster.gathered(self._sent(work, arguments))

    def totals(self, work: Callable[..., Arrays], *arguments: Any) -> Arrays:
        """The sums, by a tree whose shape depends on the number of partitions alone."""
        with _reachable(self.cluster):
            parts = self._sent(work, arguments)
            while len(parts) > FAN:
                client, groups = self.cluster.client, range(0, len(parts), FAN)
                parts = [client.submit(_added, parts[i : i + FAN], pure=False) for i in groups]
            return _added(self.cluster.gathered(parts))

    def _sent(self, work: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        return [self.cluster.client.submit(work, future, *arguments, pure=False) for future in self.futures]


Kept = KeptHere | KeptOnWorkers


def _added(parts: Sequence[Arrays]) -> Arrays:
    return tuple(sum(of_parts[1:], start=of_parts[0]) for of_parts in zip(*parts, strict=True))


class Cluster:
    """Where partitions are worked on; by default the Dask client in scope.

    n_jobs : processes of a local cluster that is started where there is no client; None for this process alone.
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        need_dask()
        self.client = current_client()
        if self.client is None and n_jobs is not None:
            self.client = _local_client(n_jobs)
            weakref.finalize(self, _closed, self.client)

    def run(self, data: Partitions, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        """work(frame, *arguments) of every partition, in this process; errors name the partition."""
        if self.client is None:
            return self._one_by_one(data, work, arguments)
        with _reachable(self):
            return self.gathered(self._begun(data, work, arguments))

    def keep(self, data: Partitions, work: Callable[..., Any], *arguments: Any) -> Kept:
        """The same, with results that stay where they are made."""
        if self.client is None:
            return KeptHere(self._one_by_one(data, work, arguments))
        with _reachable(self):
            futures = self._begun(data, work, arguments)
            self._finished(futures)
            return KeptOnWorkers(self, futures)

    def stream(self, data: Partitions, kept: Kept, work: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        """work(frame, result kept, *arguments) of every partition, in order, few at a time."""
        import dask

        if isinstance(kept, KeptHere):
            for i, item in enumerate(kept.items):
                shares, origins = data.reading(i)
                frame = dask.compute(dask.delayed(frame_of)(shares, list(origins)), scheduler="synchronous")[0]
                yield _on_frame(work, data.name(i), frame, item, *arguments)
            return
        call = dask.delayed(_on_partition, pure=False, traverse=False)
        for first in range(0, len(kept), FAN):
            places = range(first, min(first + FAN, len(kept)))
            tasks = [
                call(work, data.name(i), data.reading(i)[0], list(data.reading(i)[1]), kept.futures[i], *arguments)
                for i in places
            ]
            with _reachable(self):
                results = self.gathered(self.client.compute(tasks))
            yield from results

    def gathered(self, futures: Sequence[Any]) -> list[Any]:
        """The results of futures, once they are there."""
        self._finished(futures)
        results: list[Any] = self.client.gather(list(futures))
        return results

    def _one_by_one(self, data: Partitions, work: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        import dask

        tasks = self._tasks(data, work, arguments)
        return [dask.compute(task, scheduler="synchronous")[0] for task in tasks]

    def _begun(self, data: Partitions, work: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        with warnings.catch_warnings():
            # rows of a data frame in memory travel with the tasks, so that they outlive the workers
            warnings.filterwarnings("ignore", "Sending large graph")
            futures: list[Any] = self.client.compute(self._tasks(data, work, arguments))
        return futures

    def _tasks(self, data: Partitions, work: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        import dask

        call = dask.delayed(_on_partition, pure=False, traverse=False)
        return [
            call(work, data.name(i), shares, list(origins), *arguments)
            for i, (shares, origins) in ((i, data.reading(i)) for i in range(len(data)))
        ]

    def _finished(self, futures: Sequence[Any]) -> None:
        """Wait; a cluster without workers is not waited for for ever."""
        from distributed import wait

        waited = 0.0
        with self.client.as_current():
            while True:
                try:
                    wait(list(futures), timeout=POLL)
                except TimeoutError:
                    waited = 0.0 if self.client.scheduler_info()["workers"] else waited + POLL
                    if waited >= PATIENCE:
                        raise DataError(
                            _lost(f"has had no workers for {waited:.0f} s, perhaps of too little memory")
                        ) from None
                else:
                    return


def _on_partition(
    work: Callable[..., Any], name: str, shares: Sequence[Share], origins: Sequence[Any], *arguments: Any
) -> Any:
    return _on_frame(work, name, frame_of(shares, origins), *arguments)


def _on_frame(work: Callable[..., Any], name: str, frame: pd.DataFrame, *arguments: Any) -> Any:
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is worth saying is said once, of all
            return work(frame, *arguments)
    except BayesmetaError as error:
        raise type(error)(f"{name}: {error}") from None


def _local_client(n_jobs: int) -> Any:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=n_jobs, threads_per_worker=1, processes=True, dashboard_address=None)
    return Client(cluster, set_as_default=False)


def _closed(client: Any) -> None:
    cluster = client.cluster
    client.close()
    cluster.close()


def _lost(what: str) -> str:
    return (
        f"the Dask cluster {what}: the partitions' statistics are lost with it, and nothing was written\n"
        "  specify again with a client of a cluster that runs"
    )


@contextmanager
def _reachable(cluster: Cluster) -> Iterator[None]:
    """Errors of a cluster in our own words."""
    from asyncio import CancelledError
    from concurrent.futures import CancelledError as Cancelled

    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise DataError(
            f"the workers that made '{str(error.task)[:80]}' died again and again, most likely of too little memory\n"
            "  use smaller partitions, or workers with more memory; nothing was written"
        ) from None
    except (CancelledError, Cancelled, CommClosedError) as error:
        raise DataError(_lost(f"cannot be reached ({type(error).__name__})")) from None
    except BayesmetaError:
        raise
    except Exception as error:  # of any kind, by the version of Dask, where the client has lost its scheduler
        if cluster.client.status == "running":
            raise
        raise DataError(_lost(f"cannot be reached ({error})")) from None
