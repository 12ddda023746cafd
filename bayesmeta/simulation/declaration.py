"""A declared simulation study, read from a TOML file: design, true values, estimators and statistics."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_integer, check_keys, check_name, listing, shown
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import REGISTER
from bayesmeta.inference.simulate import draw, psi_root, true_covariances
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import specify
from bayesmeta.toml_files import locate, read_toml

SCENARIO = "scenario"
_KEYS = ("title", "citation", "datasets", "seed", "estimators", "design", "truth", "sampling", "statistics", SCENARIO)
_PARTS = {
    "design": ("outcomes", "levels", "psi"),
    "truth": ("beta", "variance", "correlation"),
    "sampling": ("correlation", "sds"),
}
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
    path = locate(path)
    content = read_toml(path)
    if SCENARIO not in content:
        raise SpecError(f"{path.name} does not declare a simulation study: it has no table [[{SCENARIO}]]")
    check_keys(content, _KEYS, path.name, _KEYS)
    for part, keys in _PARTS.items():
        check_keys(content[part], keys, f"{path.name}: {part}", keys)
    for method in content["estimators"]:
        check_choice(method, REGISTER, f"{path.name}: an estimator")
    simulation = Simulation(
        title=content["title"],
        citation=content["citation"],
        datasets=check_integer(content["datasets"], f"{path.name}: datasets", 1),
        seed=content["seed"],
        estimators=tuple(content["estimators"]),
        declared=content,
        draws=content["sampling"]["sds"],
        statistics=tuple(_statistic(name, table, content) for name, table in content["statistics"].items()),
        scenarios=tuple(content[SCENARIO]),
    )
    for name, sds in simulation.draws.items():
        _check_draw(sds, f"{path.name}: sampling: sds: {name}")
    for number in range(len(simulation.scenarios)):
        scenario_of(simulation, number, next(iter(simulation.draws)))
    return simulation


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


def _statistic(name: str, table: Mapping[str, str], content: Mapping[str, Any]) -> Statistic:
    where, levels = f"statistics: {name}", content["design"]["levels"]
    kind, of, level = table.get("kind", ""), table.get("of", ""), table.get("level", "")
    if kind not in KINDS or of not in TARGETS or (kind == "coverage" and of != "beta"):
        raise SpecError(
            f"{where} is the {shown(kind)} of {shown(of)}; known: {listing(KINDS)} of {listing(TARGETS)}, "
            "coverage of beta"
        )
    if of != "beta":
        check_name(level, levels, f"{where}: no level", "levels")
    return Statistic(name, kind, of, level)


def _check_draw(sds: Mapping[str, list[float]], where: str) -> None:
    if len(sds) != 1 or not set(sds) <= {"sd", "variance"}:
        raise SpecError(f"{where} is {dict(sds)}; it must be sd = [low, high] or variance = [low, high]")
    (bounds,) = sds.values()
    if len(bounds) != 2 or not 0 < bounds[0] < bounds[1]:
        raise SpecError(f"{where} has the bounds {bounds}; they must be two positive numbers, the lower one first")
