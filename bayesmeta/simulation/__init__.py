"""Declared simulation studies: read, run piece by piece, and put in tables."""
