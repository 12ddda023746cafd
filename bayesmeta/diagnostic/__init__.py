"""Diagnostic accuracy: from two-by-two tables of tests to a specification, summary points, regions and curves."""
