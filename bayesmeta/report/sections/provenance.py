"""How to make the same page again: commands, seeds, versions and the hash of the data."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec

import xarray as xr

from bayesmeta._version import __version__
from bayesmeta.display.tables import Facts, Table
from bayesmeta.report.blocks import Block, Code, blocks, paragraphs
from bayesmeta.summaries.references import FRAMEWORK
from bayesmeta.tree.posterior_draws import is_posterior

PACKAGES = ("numpy", "scipy", "pandas", "xarray", "formulaic", "pymc", "nutpie", "arviz", "matplotlib")


def provenance(trees: Mapping[str, xr.DataTree], codes: tuple[Code, ...], citation: str) -> tuple[Block, ...]:
    """Everything on the page that is not a result.

    trees : all those on the page, by name. codes : code that makes them again. citation : of the analysis, or "".
    """
    several = len({tree.attrs["bayesmeta_version"] for tree in trees.values()} - {__version__})
    return blocks(
        *codes,
        paragraphs("The results were saved by another version of bayesmeta than the one that wrote this page.")
        if several
        else None,
        Facts(_versions(), "Versions that wrote this page"),
        Facts(_citations(citation), "To cite"),
    )


def made(trees: Mapping[str, xr.DataTree]) -> tuple[Block, ...]:
    """The seeds, settings, times and hashes of all results on the page."""
    return (_trees(trees),)


def _versions() -> tuple[tuple[str, str], ...]:
    others = ", ".join(f"{name} {version(name)}" for name in PACKAGES if find_spec(name))
    return (("bayesmeta", __version__), ("Python", platform.python_version()), ("Packages", others))


def _trees(trees: Mapping[str, xr.DataTree]) -> Table:
    """The method, seed, settings, version, time and data hash of every tree."""
    header = (
        "method",
        "seed",
        "tuning draws",
        "target acceptance",
        "version",
        "made (UTC)",
        "SHA-256 of data and design",
    )
    rows = tuple((name, *_made(tree)) for name, tree in trees.items())
    return Table("How the results were made", header, rows)


def _made(tree: xr.DataTree) -> tuple[str, ...]:
    about = tree.attrs
    sampled = (about.get(key, "") for key in ("seed", "tune", "target_accept")) if is_posterior(tree) else ("", "", "")
    time = str(about["created_at"]).replace("T", " ").removesuffix("+00:00")
    return (str(about["method"]), *map(str, sampled), str(about["bayesmeta_version"]), time, str(about["data_hash"]))


def _citations(citation: str) -> tuple[tuple[str, str], ...]:
    sources = [("Analysis", citation)] if citation else []
    if "Sera F" not in citation:
        sources.append(("Method", FRAMEWORK))
    return (*sources, ("Software", f"bayesmeta, version {__version__}. Python package for meta-analysis."))
