"""Speed and mixing of `sample`: `python -m tests.benchmarks.posterior` prints that table of docs/timings.md.

Seconds depend on the machine and its load, processor seconds less than others; effective sample sizes (ESS) and
gradients do not.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

import bayesmeta as bm
from tests.benchmarks.__main__ import machine
from tests.benchmarks.evaluation import WAYS, call_overhead, evaluation

SEEDS = range(1, 6)
DRAWS = 1000
SCHOOL = Path(__file__).resolve().parents[2] / "models" / "school.toml"
HALF_NORMAL = bm.Priors(tau=bm.priors.half_normal(0.5))


def school() -> bm.Spec:
    data = bm.datasets.load("school")
    return bm.specify("effect ~ 1", data, S="var", random="1 | district/study", measure="smd")


def three_outcomes(studies: int = 24, scale: float = 1.0) -> bm.Spec:
    """SDs of 0.5, 0.7 and 0.6 between studies, sampling SDs from U(0.1, 0.4); y multiplied by `scale`."""
    rng = np.random.default_rng(24)
    sd, tau = rng.uniform(0.1, 0.4, (studies, 3)), np.array([0.5, 0.7, 0.6])
    S = sd[:, :, None] * (0.5 + 0.5 * np.eye(3)) * sd[:, None, :]
    psi = tau[:, None] * np.array([[1, 0.6, 0.3], [0.6, 1, 0.2], [0.3, 0.2, 1]]) * tau
    root = np.linalg.cholesky(S + psi)
    y = np.array([0.2, -0.1, 0.3]) + np.einsum("nij,nj->ni", root, rng.standard_normal((studies, 3)))
    names = ["y1", "y2", "y3"]
    return bm.specify("y1 + y2 + y3 ~ 1", pd.DataFrame(scale * y, columns=names), S=S, psi="unstr", measure="logor")


class Chains(NamedTuple):
    """One run: worst over the parameters."""

    seconds: float
    ess: float
    r_hat: float
    divergences: int
    per_1000: float  # ESS for a thousand gradients of the kept draws


class Fresh(NamedTuple):
    """A run in a process of its own."""

    imports: float
    sample: float


def fresh() -> Fresh:
    """Seconds to import what is needed, and of `sample` from a specification to the tree."""
    begun = perf_counter()
    import nutpie  # noqa: F401
    import pymc  # noqa: F401

    imported, spec = perf_counter(), school()
    start = perf_counter()
    from bayesmeta.bayes.sample import sample

    sample(spec, HALF_NORMAL, draws=DRAWS, tune=1000, random_seed=1, progress=False)
    return Fresh(imported - begun, perf_counter() - start)


def in_fresh_process(cold: bool) -> Fresh:
    """`fresh` in a new process, with caches of compiled code as they are or empty."""
    with tempfile.TemporaryDirectory() as empty:
        given = {"NUMBA_CACHE_DIR": empty, "PYTENSOR_FLAGS": f"base_compiledir={empty}"} if cold else {}
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        try:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                return pool.submit(fresh).result()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


class Marginal:
    """`sample` on a model that is compiled once."""

    def __init__(self, spec: bm.Spec, priors: bm.Priors | None = None) -> None:
        from bayesmeta.bayes.pymc_model import build
        from bayesmeta.bayes.samplers import Nutpie, start
        from bayesmeta.bayes.vicinity import vicinity
        from bayesmeta.priors.defaults import resolve

        begun = perf_counter()
        self.spec, self.priors, near = spec, resolve(spec, priors), vicinity(spec)
        self.compiled = Nutpie(build(spec, [self.priors], near), spec, start(spec, self.priors, near))
        self.seconds = perf_counter() - begun

    def run(self, seed: int, target_accept: float = 0.9) -> Chains:
        """Four chains, and the whole tree."""
        from bayesmeta.bayes.posterior import Draws, posterior_tree
        from bayesmeta.bayes.samplers import Settings, statistics

        begun = perf_counter()
        raw = self.compiled.run(Settings(DRAWS, 1000, 4, seed, target_accept, progress=False))
        draws = Draws.of(self.spec, raw["posterior"].to_dataset())
        tree = posterior_tree(self.spec, self.priors, draws, statistics(raw), {"seed": str(seed)}, (seed, seed, seed))
        seconds, found = perf_counter() - begun, tree["diagnostics"]
        ess, steps = float(found["ess_bulk"].min()), float(tree["sample_stats"]["n_steps"].sum())
        return Chains(seconds, ess, float(found["r_hat"].max()), int(found["divergences"]), 1000 * ess / steps)


class Explicit:
    """The model with explicit, non-centred random effects."""

    def __init__(self, spec: bm.Spec, priors: bm.Priors | None = None) -> None:
        import nutpie

        from bayesmeta.bayes.pymc_model import posterior_names, to_pymc

        begun = perf_counter()
        model = to_pymc(spec, priors, parameterization="noncentered")
        self.compiled = nutpie.compile_pymc_model(model, var_names=posterior_names(spec))
        self.seconds = perf_counter() - begun

    def run(self, seed: int, target_accept: float = 0.9) -> Chains:
        import nutpie
        from arviz_stats.base import array_stats

        begun = perf_counter()
        raw = nutpie.sample(
            self.compiled, draws=DRAWS, tune=1000, chains=4, seed=seed, target_accept=target_accept, progress_bar=False
        )
        seconds, stats = perf_counter() - begun, raw["sample_stats"]
        chains = [found.to_numpy().reshape(4, DRAWS, -1) for found in raw["posterior"].values()]
        columns = np.moveaxis(np.concatenate(chains, axis=-1), -1, 0)
        ess = min(float(array_stats.ess(values, method="bulk")) for values in columns)
        r_hat = max(float(array_stats.rhat(values)) for values in columns)
        per_1000 = 1000 * ess / float(stats["n_steps"].sum())
        return Chains(seconds, ess, r_hat, int(stats["diverging"].sum()), per_1000)


HEADER = """\
| model | compile | second run, with the tree | ESS | R-hat | divergences | ESS per 1,000 gradients |
|---|---:|---:|---:|---:|---:|---:|"""


def row(title: str, model: Marginal | Explicit, target_accept: float = 0.9) -> str:
    """Medians over the seeds after a first run; divergences are the sum, R-hat and the ESS in brackets the worst."""
    model.run(seed=0)
    runs = [model.run(seed, target_accept) for seed in SEEDS]
    ess = [run.ess for run in runs]
    cells = (
        title,
        f"{model.seconds:.1f} s",
        f"{median(run.seconds for run in runs):.2f} s",
        f"{median(ess):,.0f} ({min(ess):,.0f})",
        f"{max(run.r_hat for run in runs):.4f}",
        f"{sum(run.divergences for run in runs)}",
        f"{median(run.per_1000 for run in runs):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def versions() -> str:
    names = ("pymc", "pytensor", "nutpie", "numba", "arviz")
    return f"{machine()[:-1]}, {', '.join(f'{name} {version(name)}' for name in names)}."


def compilation() -> None:
    for cold in (False, True):
        runs = [in_fresh_process(cold) for _ in range(1 if cold else 3)]
        caches = "no compiled code on disk" if cold else "compiled code of earlier processes on disk"
        imports, sample = (median(column) for column in zip(*runs, strict=True))
        print(f"School in a new process, {caches}: {sample:.1f} s, after {imports:.1f} s of imports.", flush=True)


def mixing() -> None:
    print(HEADER, flush=True)
    print(row("school, two levels, half-normal(0.5)", Marginal(school(), HALF_NORMAL)), flush=True)
    spec, near_zero = three_outcomes(), three_outcomes(scale=0.1)
    print(row("three outcomes, 24 studies, unstr", Marginal(spec)), flush=True)
    print(row("the same with explicit effects, non-centred", Explicit(spec)), flush=True)
    print(row("three outcomes, y times 0.1", Marginal(near_zero)), flush=True)


def evaluations() -> None:
    print("| groups | way | compile | one evaluation with gradient |\n|---:|---|---:|---:|", flush=True)
    for studies in (24, 1000):
        spec, values = three_outcomes(studies), []
        for way in WAYS:
            seconds, micro, value = evaluation(spec, way)
            values.append(value)
            print(f"| {studies:,} | {way} | {seconds:.1f} s | {micro:.1f} us |", flush=True)
        assert np.allclose(values, values[0], rtol=1e-10), values
    print(f"\nA call that computes nothing takes {call_overhead():.1f} us, which is in every row.", flush=True)


LOWER = [f"V_{i}_{j}" for i in range(2, 6) for j in range(i, 6)]


def exact_models() -> dict[str, tuple[bm.Spec, bm.Priors | None]]:
    """Models of one, two, three and ten parameters that are integrated numerically."""
    load = bm.datasets.load
    return {
        "bcg (1)": (bm.specify("logor ~ 1", load("bcg"), S="logorvar", measure="logor"), HALF_NORMAL),
        "school, two levels (2)": (school(), HALF_NORMAL),
        "berkey98, two outcomes (3)": (
            bm.specify("PD + AL ~ 1", load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"], measure="smd"),
            HALF_NORMAL,
        ),
        "fibrinogen, four outcomes (10)": (
            bm.specify("b2 + b3 + b4 + b5 ~ 1", load("fibrinogen"), S=LOWER, measure="smd"),
            None,
        ),
    }


def exact() -> None:
    """Processor seconds of posteriors without Markov chains: to the distributions of the parameters, to all of
    `/marginals`, to the tree, to draws that are read, and of its file."""
    from bayesmeta.bayes.engines import choose
    from bayesmeta.bayes.evaluator import Evaluator
    from bayesmeta.bayes.marginals import PROBABILITIES, marginal_groups
    from bayesmeta.priors.defaults import resolve

    print(f"machine: {machine()}\n")
    print("| model (parameters) | parameters, exact | random effects too | whole tree | all draws read | save | load |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, (spec, chosen) in exact_models().items():
        own, seconds = resolve(spec, chosen), []
        engine = choose(spec, own, "auto").engine
        assert engine is not None
        for seed in [0, *SEEDS]:
            times = [process_time()]
            posterior = engine.run(Evaluator(spec, own), seed)
            known = [j for j, c in enumerate(posterior.evaluator.chart.coordinates) if c.prior is not None]
            for marginal in (posterior.beta, *(posterior.coordinate(j) for j in known)):
                marginal.quantile(PROBABILITIES)
            times.append(process_time())
            marginal_groups(posterior)
            times.append(process_time())
            tree = bm.sample(spec, chosen, random_seed=seed)
            times.append(process_time())
            tree.load()
            times.append(process_time())
            seconds.append((times[1] - times[0], times[2] - times[0], *np.diff(times[2:]), *of_file(tree)))
        cells = " | ".join(f"{1000 * median(each):.0f} ms" for each in zip(*seconds[1:], strict=True))
        print(f"| {name} | {cells} |", flush=True)
    print(f"\n{averaging()}\n{command()}", flush=True)


def of_file(tree: xr.DataTree) -> tuple[float, float]:
    """Processor seconds to save a tree and to open it again."""
    with tempfile.TemporaryDirectory() as folder:
        start = process_time()
        path = bm.save(tree, f"{folder}/post.nc")
        saved = process_time()
        bm.load(path)
        return saved - start, process_time() - saved


def averaging() -> str:
    """Of twelve models of the BCG trials."""
    spec = bm.specify("logor ~ ablat + year + alloc", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    one, two = ("ablat", "year", "alloc"), ("ablat + year", "ablat + alloc", "year + alloc")
    terms = ["1", *one, *two, *(pair.replace("+", "*") for pair in two), " + ".join(one), "ablat * year + alloc"]
    trees = {
        name: bm.sample(each, HALF_NORMAL, random_seed=1) for name, each in bm.model_set(spec, terms=terms).items()
    }
    seconds = []
    for _ in range(4):
        start = process_time()
        bm.average(trees)
        seconds.append(process_time() - start)
    return f"Averaging over {len(trees)} models: {median(seconds[1:]):.2f} s."


def command() -> str:
    """Of `bayesmeta compare`, in a new process, with compiled code of earlier processes on disk."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            before = os.times()
            call = [sys.executable, "-m", "bayesmeta", "compare", str(SCHOOL), "--out", f"{folder}/compare.nc"]
            subprocess.run(call, check=True, capture_output=True)
            after = os.times()
            seconds.append(sum(after[2:4]) - sum(before[2:4]))
    return f"`bayesmeta compare models/school.toml`, four models, the whole command: {min(seconds[1:]):.1f} s."


def priors() -> None:
    """Processor seconds of 200 priors of one model from evaluations that they share."""
    print("| 200 priors of | seconds | evaluations for |")
    print("|---|---:|---:|")
    for name, (spec, _) in list(exact_models().items())[1:]:
        spec.statistics  # noqa: B018 (cached)
        seconds = []
        for _ in range(3):
            start = process_time()
            table = bm.robustness(spec, {"scale": np.geomspace(0.05, 2, 50)})
            seconds.append(process_time() - start)
        kinds = np.unique(table["anchor"].values.astype(str))
        print(f"| {name} | {median(seconds):.2f} | {len(kinds)} |", flush=True)


PARTS = {"priors": priors, "compilation": compilation, "mixing": mixing, "evaluations": evaluations, "exact": exact}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=list(PARTS), action="append")
    print(versions(), flush=True)
    warnings.simplefilter("ignore", bm.BayesmetaWarning)  # of chains that do not mix, which is what the table shows
    for part in parser.parse_args().part or PARTS:
        print()
        PARTS[part]()


if __name__ == "__main__":
    main()
