"""Random models with the best log-likelihoods known: stored whole, as a generator may change."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.search import Problem
from tests.support.reference import DATA, REFERENCE

DRAWN = DATA / "search_models.json.gz"
HARD = REFERENCE / "search" / "models.json"


def packed(problem: Problem, best: float | None) -> dict[str, Any]:
    """A model and its best log-likelihood as JSON; of S the lower triangle, row by row, without what is zero."""
    S = np.array(problem.S)
    row, col = np.nonzero(np.tril(S))
    return {
        "name": problem.name,
        "method": problem.method,
        "formula": problem.formula,
        "random": problem.random,
        "psi": problem.psi,
        "offset": problem.offset,
        "columns": problem.columns,
        "S": {"size": len(S), "row": row.tolist(), "col": col.tolist(), "value": S[row, col].tolist()},
        "best": best,
    }


def unpacked(model: dict[str, Any]) -> tuple[Problem, float | None]:
    row, col, value = (model["S"][key] for key in ("row", "col", "value"))
    S = np.zeros((model["S"]["size"],) * 2)
    S[row, col] = S[col, row] = value
    rest = {key: model[key] for key in ("name", "columns", "formula", "random", "offset", "method")}
    return Problem(S=S.tolist(), psi={g: tuple(q) for g, q in model["psi"].items()}, **rest), model["best"]


def stored(path: Path) -> Iterator[tuple[Problem, float | None]]:
    """Models of a file with the best log-likelihoods known; None where the model has no maximum to compare with."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for model in json.loads(text)["models"]:
        yield unpacked(model)
