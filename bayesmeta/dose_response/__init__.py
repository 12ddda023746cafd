"""Dose-response meta-analysis: from cases by dose to a specification, a curve, and how well it describes studies."""
