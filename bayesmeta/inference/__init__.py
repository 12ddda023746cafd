"""Tests and intervals from results trees."""
