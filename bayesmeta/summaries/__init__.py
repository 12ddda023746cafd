"""Summaries and comparisons of results trees."""
