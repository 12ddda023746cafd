"""Declared analyses: model files, the numbers printed in publications, and figures."""
