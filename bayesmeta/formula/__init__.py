"""Formulas: parsed, checked against an allow-list, and turned into designs."""
