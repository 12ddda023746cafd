"""The specification of some of the outer groups of another, each as often as wanted."""

from dataclasses import replace

import numpy as np

from bayesmeta.model.spec import Level, SamplingCovariance, Spec


def with_groups(spec: Spec, drawn: np.ndarray) -> Spec:
    """The specification of some outer groups, in the order drawn; one drawn twice is two groups."""
    outer = spec.levels[0].index
    order = np.argsort(outer, kind="stable")
    start = np.searchsorted(outer[order], np.arange(spec.levels[0].n_groups + 1))
    rows = [order[start[g] : start[g + 1]] for g in drawn]
    which, copy = np.concatenate(rows), np.repeat(np.arange(len(drawn)), [len(r) for r in rows])
    by_row = np.argsort(spec.S.row, kind="stable")
    first = np.searchsorted(spec.S.row[by_row], np.arange(len(outer) + 1))
    value, row, col, at = [], [], [], 0
    for members in rows:
        entries = np.concatenate([by_row[first[i] : first[i + 1]] for i in members])
        place = np.full(len(outer), -1)
        place[members] = at + np.arange(len(members))
        value.append(spec.S.value[entries])
        row.append(place[spec.S.row[entries]])
        col.append(place[spec.S.col[entries]])
        at += len(members)
    S = SamplingCovariance(*(np.concatenate(part) for part in (value, row, col)))
    levels = tuple(_level(level, which, copy) for level in spec.levels)
    arrays = {name: getattr(spec, name)[which] for name in ("y", "X", "offset", "row", "outcome_index")}
    return replace(spec, S=S, levels=levels, **arrays)


def _level(level: Level, which: np.ndarray, copy: np.ndarray) -> Level:
    pairs = np.column_stack([copy, level.index[which]])
    groups, index = np.unique(pairs, axis=0, return_inverse=True)
    labels = tuple((f"{copy}", *level.labels[code][1:]) for copy, code in groups)
    return replace(level, labels=labels, index=index.ravel(), Z=level.Z[which])
