"""Published distributions of heterogeneity in past meta-analyses: tables of the logarithm of tau^2."""

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from bayesmeta._validation import did_you_mean, listing, shown
from bayesmeta.errors import SpecError

CITATIONS = {"turner": "Turner et al. (2015)", "rhodes": "Rhodes et al. (2015)"}
FIELDS = ("other", "respiratory", "cancer")


@cache
def tables() -> dict[str, Any]:
    """The tables of both publications, by the name of the first author."""
    return tomllib.loads((files("bayesmeta.priors") / "empirical.toml").read_text(encoding="utf-8"))


def turner(outcome: str | None, comparison: str | None) -> tuple[float, float]:
    """Location and scale of log tau^2 (normal); of the marginal distribution when neither key is given.

    >>> turner("pain", "pharma vs control")
    (-1.83, 1.52)
    """
    table = tables()["turner"]
    if not _all_or_none("turner", outcome=outcome, comparison=comparison):
        return _pair(table["marginal"])
    row = table["outcomes"][_key("outcome", outcome, table["outcomes"])]
    return _pair(row[_position(comparison, table["comparisons"])])


def rhodes(outcome: str | None, comparison: str | None, field: str | None) -> tuple[float, float]:
    """Location and scale of log tau^2 (t with 5 df); of the marginal distribution when no key is given.

    >>> rhodes("obstetric", "pharma vs pharma", "cancer")
    (-1.85, 2.41)
    """
    table = tables()["rhodes"]
    if not _all_or_none("rhodes", outcome=outcome, comparison=comparison, field=field):
        return _pair(table["marginal"])
    rows = table[_key("field", field, FIELDS)]
    pair = rows[_key("outcome", outcome, rows)][_position(comparison, table["comparisons"])]
    if not pair:
        raise SpecError(
            f"rhodes has no prior for '{outcome}', '{comparison}', '{field}': the figure that circulates contradicts "
            "the additive model behind the table\n  look it up in Rhodes et al. (2015) and give "
            'bm.Prior("LogStudentT", nu=5, mu=location / 2, sigma=scale / 2), or use bm.priors.rhodes()'
        )
    return _pair(pair)


def settings(location: float, scale: float, nu: float | None = None) -> tuple[str, list[str]]:
    """Which publication has a distribution of log tau^2, normal or t with nu degrees of freedom, and for what settings.

    ("", []) where none has.

    >>> settings(-1.83, 1.52)
    ('turner', ['pain, pharma vs control'])
    """
    author = {None: "turner", 5: "rhodes"}.get(nu, "")
    if not author:
        return "", []
    table = tables()[author]
    places = {"all settings": table["marginal"]}
    for field in FIELDS if author == "rhodes" else (None,):
        rows = table["outcomes"] if field is None else table[field]
        for outcome, pairs in rows.items():
            for comparison, pair in zip(table["comparisons"], pairs, strict=True):
                places[", ".join(filter(None, (outcome, comparison, field)))] = pair
    named = [
        place for place, pair in places.items() if pair and np.allclose(pair, (location, scale), rtol=1e-12, atol=0)
    ]
    return (author, named) if named else ("", [])


def _pair(pair: list[float]) -> tuple[float, float]:
    location, scale = pair
    return location, scale


def _all_or_none(function: str, **keys: str | None) -> bool:
    missing = [name for name, key in keys.items() if key is None]
    if missing and len(missing) < len(keys):
        raise SpecError(f"{function} needs {listing(missing)} too, or no argument for the marginal distribution")
    return not missing


def _key(what: str, key: Any, known: Iterable[str]) -> str:
    """The known key that was meant, whatever its capitals; placebos are controls."""
    word, known = str(key).strip().lower().replace("placebo", "control"), list(known)
    if word not in known:
        raise SpecError(f"unknown {what} {shown(key)}{did_you_mean(word, known)}\n  known: {'; '.join(known)}")
    return word


def _position(comparison: Any, known: list[str]) -> int:
    return known.index(_key("comparison", comparison, known))
