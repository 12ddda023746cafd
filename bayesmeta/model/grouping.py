"""Nested groups: every level's groups as paths of labels from the outer level down."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesmeta.columns import IntArray
from bayesmeta.formula.parse import label


class Groups(NamedTuple):
    """codes : (n,) group of every row, -1 where a label is missing.  labels : one path of labels per group.

    Groups are numbered by first appearance.
    """

    codes: IntArray
    labels: tuple[tuple[str, ...], ...]


def nested(columns: Sequence[pd.Series]) -> list[Groups]:
    """Groups of every level, from the grouping columns outer to inner: an inner label counts within its outer group.

    >>> study = pd.Series(["1", "1", "2"])
    >>> nested([pd.Series([7, 8, 7]), study])[1]
    Groups(codes=array([0, 1, 2]), labels=(('7', '1'), ('8', '1'), ('7', '2')))
    """
    levels: list[Groups] = []
    for column in columns:
        codes, texts = _codes(column)
        if not levels:
            paths: tuple[tuple[str, ...], ...] = tuple((text,) for text in texts)
        else:
            above = levels[-1]
            there = (codes >= 0) & (above.codes >= 0)
            found, pairs = pd.factorize((above.codes * len(texts) + codes)[there])
            codes = np.full(len(column), -1)
            codes[there] = found
            paths = tuple((*above.labels[pair // len(texts)], texts[pair % len(texts)]) for pair in pairs.tolist())
        levels.append(Groups(codes, paths))
    return levels


def _codes(column: pd.Series) -> tuple[IntArray, list[str]]:
    """Codes and texts of the labels of one column; labels with one text, such as 1 and "1", are one label."""
    codes, values = pd.factorize(column)
    texts = np.array([label(value) for value in values], dtype=object)
    merged, names = pd.factorize(texts)
    return np.append(merged, -1)[codes], names.tolist()
