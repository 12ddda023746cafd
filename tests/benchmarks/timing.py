"""One case timed in a process of its own, so that its peak memory is its own."""

import gc
import multiprocessing
import resource
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from time import process_time
from typing import NamedTuple

import numpy as np

import bayesmeta as bm
from bayesmeta.estimation import fit_likelihood
from bayesmeta.estimation.result_tree import from_estimate
from tests.benchmarks.cases import Case


class Times(NamedTuple):
    """Milliseconds; `fit` is search and tree together."""

    specify: float
    search: float
    tree: float
    fit: float


class Result(NamedTuple):
    times: Times  # medians over the data sets
    memory: float  # peak of the process, gigabytes


def timed(case: Case, seed: int) -> Times:
    """One data set, specified and fitted by REML in the two steps of `bm.fit`."""
    given = case.draw(np.random.default_rng(seed))
    gc.collect()
    start = process_time()
    spec = bm.specify(**given)
    specified = process_time()
    estimate = fit_likelihood(spec, restricted=True)
    found = process_time()
    from_estimate(spec, estimate)
    end = process_time()
    seconds = specified - start, found - specified, end - found, end - specified
    return Times(*(1e3 * s for s in seconds))


def repeated(case: Case) -> Result:
    """Medians over the data sets of a case, after one that is not counted."""
    warnings.simplefilter("ignore", bm.BayesmetaWarning)  # one outer group cannot identify a variance between them
    timed(case, seed=0)
    runs = [timed(case, seed) for seed in range(1, case.runs + 1)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Result(Times(*map(median, zip(*runs, strict=True))), peak / (2**30 if sys.platform == "darwin" else 2**20))


def alone(case: Case) -> Result:
    """The case in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(repeated, case).result()
