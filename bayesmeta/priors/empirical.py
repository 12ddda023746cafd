"""Published distributions of heterogeneity in past meta-analyses: tables of the logarithm of tau^2."""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from bayesmeta._validation import did_you_mean, listing, shown
from bayesmeta.errors import SpecError

CITATIONS = {"turner": "Turner et al. (2015)", "rhodes": "Rhodes et al. (2015)"}
FIELDS = ("other", "respiratory", "cancer")
FAMILIES = {"turner": "LogNormal", "rhodes": "LogStudentT"}
DF = 5.0  # of Rhodes et al.


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


def origin(name: str, params: Mapping[str, float]) -> tuple[str, str]:
    """Publication and setting of a prior of an SD by its family and parameters; empty where no table has it.

    The setting is empty for marginal distributions, and where several have the same figures.

    >>> origin("LogNormal", {"mu": -1.975, "sigma": 0.67})
    ('turner', 'all-cause mortality, pharma vs control')
    >>> origin("LogNormal", {"mu": 0.0, "sigma": 1.0})
    ('', '')
    """
    if params.get("nu", DF) != DF:
        return "", ""
    settings = _settings().get((name, params.get("mu", np.nan), params.get("sigma", np.nan)), [])
    publications = {publication for publication, _ in settings}
    return (publications.pop(), settings[0][1] * (len(settings) == 1)) if len(publications) == 1 else ("", "")


@cache
def _settings() -> dict[tuple[str, float, float], list[tuple[str, str]]]:
    """By family and parameters the entries of the tables, as publication and setting."""
    known: dict[tuple[str, float, float], list[tuple[str, str]]] = {}
    for publication, family in FAMILIES.items():
        table = tables()[publication]
        entries = [("", table["marginal"])]
        for field in ("outcomes",) if publication == "turner" else FIELDS:
            entries += [
                (", ".join([outcome, comparison] + [f"{field} field"] * (field in FIELDS)), pair)
                for outcome, row in table[field].items()
                for comparison, pair in zip(table["comparisons"], row, strict=True)
                if pair
            ]
        for setting, (location, scale) in entries:
            known.setdefault((family, location / 2, scale / 2), []).append((publication, setting))
    return known


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
