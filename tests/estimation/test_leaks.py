"""A process that fits again and again does not grow."""

import subprocess
import sys

import pytest

WARM = 50  # fits after which caches are full
GROWTH = 4.0  # megabytes
SCRIPT = f"""
import resource, sys
import bayesmeta as bm

bcg = bm.datasets.load("bcg")
unit = 2**20 if sys.platform == "darwin" else 2**10


def peak(first, last):
    for i in range(first, last):
        bm.summary(bm.fit(bm.specify("logor ~ ablat", bcg.assign(logor=bcg.logor + i / 1000), S="logorvar")))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


warm = peak(0, {WARM})
print(peak({WARM}, {WARM} + int(sys.argv[1])) - warm)
"""


@pytest.mark.parametrize("times", [200, pytest.param(1_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow(times: int) -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT, str(times)], capture_output=True, text=True, check=True)
    assert float(ran.stdout) < GROWTH
