"""A declared simulation study, read from a TOML file: design, true values, estimators and statistics."""

import hashlib
import json
import keyword
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import (
    check_integer,
    check_name,
    check_number,
    is_finite,
    is_number,
    listing,
    shown,
)
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.simulate import draw, psi_root, true_covariances
from bayesmeta.io.toml_files import (
    Place,
    check_table,
    check_value,
    locate,
    read_toml,
    read_with_places,
    shortened,
)
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import specify
from bayesmeta.tree.files import check_name_of_model

SCENARIO = "scenario"
_KEYS = ("title", "citation", "datasets", "seed", "estimators", "design", "truth", "sampling", "statistics", SCENARIO)
_PARTS = {
    "design": ("outcomes", "levels", "psi"),
    "truth": ("beta", "variance", "correlation"),
    "sampling": ("correlation", "sds"),
}
_MOST = 1_000_000  # groups of a level
_RANGES = {"beta": (-1e6, 1e6), "variance": (0.0, 1e6), "correlation": (-1.0, 1.0)}
KINDS, TARGETS = ("bias", "rmse", "coverage"), ("beta", "tau2", "rho")


@dataclass(frozen=True)
class Statistic:
    """What is made of the estimates of one parameter, of the first outcome or of the first pair of outcomes.

    kind : "bias", "rmse" or "coverage" of the 95% normal interval.  of : "beta", or "tau2" or "rho" of `level`.
    """

    name: str
    kind: str
    of: str
    level: str


@dataclass(frozen=True)
class Simulation:
    """A declared simulation study; `declared` is the content of its file.

    draws : ways in which sampling SDs are drawn, by name: {"sd": [low, high]} or {"variance": [low, high]}.
    scenarios : numbers by name, and the published values under `paper`.
    """

    title: str
    citation: str
    datasets: int
    seed: int
    estimators: tuple[str, ...]
    declared: Mapping[str, Any]
    draws: Mapping[str, Mapping[str, list[float]]]
    statistics: tuple[Statistic, ...]
    scenarios: tuple[Mapping[str, Any], ...]

    @property
    def design_hash(self) -> str:
        """Of everything that the estimates of a data set depend on."""
        parts = [self.declared[key] for key in ("design", "truth", "sampling")]
        numbers = [{key: value for key, value in s.items() if key != "paper"} for s in self.scenarios]
        text = json.dumps([*parts, numbers, self.seed, self.estimators], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Scenario:
    """One scenario: specification, true values, and how sampling covariances are drawn anew for every data set."""

    spec: Spec
    beta: FloatArray
    psi: Mapping[str, FloatArray]
    correlation: FloatArray
    sds: Mapping[str, list[float]]

    def data_sets(self, seeds: list[np.random.SeedSequence]) -> tuple[FloatArray, FloatArray]:
        """Y (dataset, row, outcome) and S (dataset, row, outcome, outcome), one data set for each seed."""
        pairs = [seed.spawn(2) for seed in seeds]
        n, k = len(self.spec.row_labels), len(self.correlation)
        sd = np.array([self._sd(np.random.default_rng(seed), (n, k)) for seed, _ in pairs])
        S = sd[..., :, None] * self.correlation * sd[..., None, :]
        row, col = (part.ravel() for part in np.indices((n * k, k)))
        col = col + k * (row // k)
        value = (sd[..., :, None] * psi_root(self.correlation)).reshape(len(seeds), -1)
        psi = true_covariances(self.spec, self.psi)
        return draw(self.spec, [seed for _, seed in pairs], self.beta, psi, (value, row, col)), S

    def _sd(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
        ((what, (low, high)),) = self.sds.items()
        drawn = rng.uniform(low, high, shape)
        return np.sqrt(drawn) if what == "variance" else drawn

    def truth(self, statistic: Statistic) -> float:
        if statistic.of == "beta":
            return float(self.beta[0])
        psi = self.psi[statistic.level]
        return float(psi[0, 0] if statistic.of == "tau2" else psi[0, 1] / np.sqrt(psi[0, 0] * psi[1, 1]))


def declares_simulation(path: Path) -> bool:
    """Whether a TOML file declares a simulation study."""
    try:
        return SCENARIO in read_toml(path)
    except SpecError:
        return False


def load_study(path: str | Path) -> Simulation:
    """Read a declared simulation study.

    Parameters
    ----------
    path : str or Path
        A TOML file, or the name of a bundled one, such as "table6". It has `title`, `citation`, `datasets` per
        scenario, `seed`, `estimators` (methods of `bayesmeta.fit`), `[design]` (number of `outcomes`, `levels` with the
        number of groups inside each group of the level above, `psi` the structure of all levels), `[truth]` (`beta`,
        `variance` and `correlation` of the random effects), `[sampling]` (`correlation` within a row, `sds` the uniform
        distributions of sampling SDs or variances by name), `[statistics]`, and for each scenario a table
        `[[scenario]]` of numbers, which the other tables may name in place of a number, and of the published values
        under `paper`.

    Returns
    -------
    Simulation
        The study, for `bayesmeta.run_study`.

    Raises
    ------
    SpecError
        If the file is not TOML, has an unknown key, lacks one, or has a value that is not valid.
    DataError
        If there is no such file.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> study = bm.load_study("table6")
    >>> len(study.scenarios), list(study.draws)
    (8, ['script', 'text'])
    """
    if not isinstance(path, str | Path):
        raise SpecError(f"expected the path of a study, got {type(path).__name__}")
    path = locate(path)
    content, root = read_with_places(path)
    if SCENARIO not in content:
        raise SpecError(
            f"{path.name} does not declare a simulation study: it has no table [[{SCENARIO}]]"
            "\n  a model file is read by bm.load_analysis, `bayesmeta fit`"
        )
    _check(content, root)
    simulation = Simulation(
        title=content["title"],
        citation=content["citation"],
        datasets=content["datasets"],
        seed=content["seed"],
        estimators=tuple(method_named(name).name for name in content["estimators"]),
        declared=content,
        draws=content["sampling"]["sds"],
        statistics=tuple(
            _statistic(name, table, content, root.of("statistics", name))
            for name, table in content["statistics"].items()
        ),
        scenarios=tuple(content[SCENARIO]),
    )
    for number in range(len(simulation.scenarios)):
        scenario_of(simulation, number, next(iter(simulation.draws)))
    return simulation


def _check(content: Mapping[str, Any], root: Place) -> None:
    """That every entry of a study is of its kind and in its range."""
    check_table(content, _KEYS, root, _KEYS)
    for part, keys in _PARTS.items():
        check_table(content[part], keys, root / part, keys)
    for key in ("title", "citation"):
        check_value(content[key], str, root / key)
    check_integer(content["datasets"], str(root / "datasets"), 1)
    check_integer(content["seed"], str(root / "seed"), 0)
    if not check_value(content["estimators"], list, root / "estimators"):
        raise (root / "estimators").error("is an empty list; it must name at least one estimator")
    for position, method in enumerate(content["estimators"]):
        method_named(method, f"{root / 'estimators' / position}: an estimator")
    scenarios = check_value(content[SCENARIO], list, root / SCENARIO)
    if not scenarios:
        raise (root / SCENARIO).error("is an empty list; there must be at least one scenario")
    for number, scenario in enumerate(scenarios):
        _check_scenario(scenario, root / SCENARIO / number)
    design, truth, sampling = content["design"], content["truth"], content["sampling"]
    place = root / "design"
    check_integer(design["outcomes"], str(place / "outcomes"), 1, 50)
    check_value(design["psi"], str, place / "psi")
    if not check_value(design["levels"], dict, place / "levels"):
        raise (place / "levels").error("is empty; it must name at least one level")
    for level, size in design["levels"].items():
        if not level.isidentifier() or keyword.iskeyword(level):
            raise (place / "levels" / level).error("is no name of a column; use letters, digits and _")
        for of, value in _values(size, scenarios, place / "levels" / level):
            check_integer(value, f"{place / 'levels' / level}{of}", 1, _MOST)
    for key in truth:
        _check_number(truth[key], scenarios, root / "truth" / key, *_RANGES[key])
    _check_number(sampling["correlation"], scenarios, root / "sampling" / "correlation", *_RANGES["correlation"])
    if not check_value(sampling["sds"], dict, root / "sampling" / "sds"):
        raise (root / "sampling" / "sds").error("is empty; it must have at least one way to draw sampling SDs")
    for name, sds in sampling["sds"].items():
        check_name_of_model(name, str(root / "sampling" / "sds"))
        _check_draw(sds, root / "sampling" / "sds" / name)
    check_value(content["statistics"], dict, root / "statistics")


def _check_scenario(scenario: Any, place: Place) -> None:
    for name, value in check_value(scenario, dict, place).items():
        if name == "paper":
            for statistic, printed in check_value(value, dict, place / name).items():
                try:
                    number = float(printed)
                except (TypeError, ValueError, OverflowError):
                    number = np.nan
                if not np.isfinite(number) or isinstance(printed, bool):
                    where = place / name / statistic
                    raise where.error(f"is {shortened(repr(printed))}; it must be a number, in quotes or without")
        else:
            check_number(value, str(place / name))


def _values(entry: Any, scenarios: Sequence[Mapping[str, Any]], place: Place) -> Iterator[tuple[str, Any]]:
    """The numbers that an entry stands for: its own, or those of the scenarios where it names them."""
    if not isinstance(entry, str):
        yield "", entry
        return
    for number, scenario in enumerate(scenarios):
        check_name(
            entry,
            [key for key in scenario if key != "paper"],
            f"{place}: scenario {number + 1} has no number",
            "numbers",
        )
        yield f" ({entry} of scenario {number + 1})", scenario[entry]


def _check_number(entry: Any, scenarios: Sequence[Mapping[str, Any]], place: Place, least: float, most: float) -> None:
    for number, value in _values(entry, scenarios, place):
        if not least <= check_number(value, f"{place}{number}") <= most:
            raise SpecError(f"{place}{number} is {value}; it must be from {least:g} to {most:g}")


def scenario_of(simulation: Simulation, number: int, way: str) -> Scenario:
    """One scenario of a study, with sampling SDs drawn in one way."""
    named, declared = simulation.scenarios[number], simulation.declared
    design, truth = declared["design"], declared["truth"]

    def value(entry: Any) -> float:
        """A number as the file writes it, or that of the scenario with this name."""
        if isinstance(entry, str):
            check_name(entry, named, f"scenario {number + 1} has no number", "numbers")
        return float(named[entry] if isinstance(entry, str) else entry)

    k, levels = int(design["outcomes"]), {name: int(value(size)) for name, size in design["levels"].items()}
    n = int(np.prod(list(levels.values())))
    below = np.r_[np.cumprod(list(levels.values())[::-1])[-2::-1], 1]
    codes = {name: np.arange(n) // size for name, size in zip(levels, below, strict=True)}
    outcomes = [f"y{j + 1}" for j in range(k)]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(n, k)), columns=outcomes).assign(**codes)
    psi = value(truth["variance"]) * _exchangeable(k, value(truth["correlation"]))
    R = _exchangeable(k, value(declared["sampling"]["correlation"]))
    formula, random = f"{' + '.join(outcomes)} ~ 1", f"1 | {'/'.join(levels)}"
    spec = specify(formula, frame, S=np.broadcast_to(R, (n, k, k)), random=random, psi=design["psi"])
    covariances = true_covariances(spec, dict.fromkeys(levels, psi))
    beta = np.full(len(spec.coef), value(truth["beta"]))
    return Scenario(spec, beta, dict(zip(levels, covariances, strict=True)), R, simulation.draws[way])


def _exchangeable(k: int, rho: float) -> FloatArray:
    return np.full((k, k), rho) + (1 - rho) * np.eye(k)


def _statistic(name: str, table: Any, content: Mapping[str, Any], where: Place) -> Statistic:
    levels = content["design"]["levels"]
    check_table(table, ("kind", "of", "level"), where)
    kind, of, level = (check_value(table.get(key, ""), str, where / key) for key in ("kind", "of", "level"))
    if kind not in KINDS or of not in TARGETS or (kind == "coverage" and of != "beta"):
        raise SpecError(
            f"{where} is the {shown(kind)} of {shown(of)}; known: {listing(KINDS)} of {listing(TARGETS)}, "
            "coverage of beta"
        )
    if of != "beta":
        check_name(level, levels, f"{where}: no level", "levels")
    if of == "rho" and content["design"]["outcomes"] < 2:
        raise SpecError(
            f"{where} is about a correlation, which a design with one outcome does not have"
            "\n  leave it out, or declare more outcomes"
        )
    return Statistic(name, kind, of, level)


def _check_draw(sds: Any, where: Place) -> None:
    if not isinstance(sds, dict) or len(sds) != 1 or not set(sds) <= {"sd", "variance"}:
        raise SpecError(f"{where} is {shortened(str(sds))}; it must be sd = [low, high] or variance = [low, high]")
    (bounds,) = sds.values()
    numeric = isinstance(bounds, list) and all(is_number(bound) and is_finite(bound) for bound in bounds)
    if not numeric or len(bounds) != 2 or not 0 < bounds[0] < bounds[1]:
        raise SpecError(
            f"{where} has the bounds {shortened(str(bounds))}; they must be two positive numbers, the lower one first"
        )
