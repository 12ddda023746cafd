"""The table of timings can be made, and says what it is asked to say."""

from dataclasses import replace
from math import isclose

from tests.benchmarks.__main__ import HEADER, growth, machine, row
from tests.benchmarks.cases import LIMITS, Case
from tests.benchmarks.timing import Result, Times, repeated


def case(**given) -> Case:
    return Case(title="a case", draw=dict, rows=100, **given)


def test_smallest_case_is_timed():
    result = repeated(replace(min(LIMITS, key=lambda limit: limit.rows), runs=1))
    times = result.times
    assert min(times) > 0
    assert isclose(times.fit, times.search + times.tree)
    assert 0 < result.memory < 64


def test_row_has_a_cell_for_each_heading():
    result = Result(Times(1.0, 5.0, 2.0, 7.0), memory=0.25)
    for cells in (row(case(), result), row(case(search=8, fit=15, mixmeta=0.7), result)):
        assert cells.count("|") == HEADER.splitlines()[0].count("|")
    assert cells.endswith("| search 8 ms, fit 15 ms | 0.7 s | 100 | 0.25 GB |")


def test_growth_of_a_linear_time_is_one():
    small, big = (Result(Times(n, n, n, n**2), memory=0) for n in (10.0, 1000.0))
    text = growth([case(), replace(case(), rows=10_000)], [small, big])
    assert text == "growth exponent from 100 to 10,000 rows: specify 1.00, fit 2.00."


def test_machine_names_the_versions():
    assert "numpy" in machine()
