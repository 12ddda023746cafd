"""Timings of `bm.specify` and `bm.fit`, printed as a table: `python -m tests.benchmarks`."""
