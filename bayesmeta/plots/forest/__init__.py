"""Forest plots: numbers, lines, texts, layout and marks."""

from bayesmeta.plots.forest.figure import forest as forest
