"""Forest plots: their numbers, lines, texts, spacing and marks."""

from bayesmeta.plots.forest.figure import forest as forest
