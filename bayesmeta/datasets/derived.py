"""Effect estimates and sampling covariances that `load` computes from the published counts."""

from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

CORRECTION = 0.5  # added to every cell of a table that has an empty one
PSEUDO_ARM = (0.001, 0.01)  # events and persons of the arm A given to studies without one (White 2011)


def bcg(counts: pd.DataFrame) -> pd.DataFrame:
    treated, control = counts.tpos + counts.tneg, counts.cpos + counts.cneg
    return counts.assign(
        logrr=np.log(counts.tpos / treated) - np.log(counts.cpos / control),
        logrrvar=1 / counts.tpos - 1 / treated + 1 / counts.cpos - 1 / control,
        logor=np.log(counts.tpos / counts.tneg) - np.log(counts.cpos / counts.cneg),
        logorvar=1 / counts.tpos + 1 / counts.tneg + 1 / counts.cpos + 1 / counts.cneg,
    )


def gliomas(counts: pd.DataFrame) -> pd.DataFrame:
    cells = np.stack(
        [counts.streat, counts.ntreat - counts.streat, counts.scontr, counts.ncontr - counts.scontr]
    ).astype(float)
    cells += CORRECTION * (cells == 0).any(axis=0)
    alive, dead, alive_control, dead_control = cells
    return counts.assign(
        logOR=np.log(alive / dead) - np.log(alive_control / dead_control), logORvar=(1 / cells).sum(axis=0)
    )


def smoking(counts: pd.DataFrame) -> pd.DataFrame:
    """Log odds ratios against arm A; those of one study share arm A, whose cells make their covariance."""
    events = counts[["dA", "dB", "dC", "dD"]].to_numpy(float)
    persons = counts[["nA", "nB", "nC", "nD"]].to_numpy(float)
    empty = (events == 0).any(axis=1, keepdims=True)
    events, persons = events + CORRECTION * empty, persons + 2 * CORRECTION * empty
    without_a = np.isnan(persons[:, 0])
    events[without_a, 0], persons[without_a, 0] = PSEUDO_ARM

    frame = counts.drop(columns=[f"{x}{arm}" for arm in "ABCD" for x in "dn"])
    for j, arm in enumerate("ABCD"):
        frame[f"d{arm}"], frame[f"n{arm}"] = events[:, j], persons[:, j]
    logit = np.log(events / (persons - events))
    share = 1 / events + 1 / (persons - events)
    for j, arm in enumerate("BCD", start=1):
        frame[f"y{arm}"] = logit[:, j] - logit[:, 0]
    for i, j in combinations_with_replacement((1, 2, 3), 2):
        both_present = np.where(np.isnan(share[:, i] + share[:, j]), np.nan, share[:, 0])
        frame[f"S{'ABCD'[i]}{'ABCD'[j]}"] = both_present + (share[:, i] if i == j else 0)
    return frame
