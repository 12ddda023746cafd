"""The samplers behind `sample`: nutpie, PyMC's own NUTS, NumPyro. A model and a start in, chains out."""

import os
import signal
import sys
import threading
import warnings
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, listing, shown
from bayesmeta.bayes.marginal_op import register_jax
from bayesmeta.bayes.posterior import rho_dim, tau_dim
from bayesmeta.bayes.pymc_model import chol_name, posterior_names
from bayesmeta.bayes.vicinity import Vicinity
from bayesmeta.bayes.waiting import chain_bar
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import Spec
from bayesmeta.priors.correlations import rho_logp
from bayesmeta.priors.distributions import draws, logp
from bayesmeta.priors.model_priors import BETA, ModelPriors

AGAIN = 3.0  # seconds after which an interruption comes again that has not arrived
STATISTICS = {  # of a chain: ArviZ's name, and those that the samplers use
    "diverging": ("diverging",),
    "energy": ("energy",),
    "lp": ("lp", "logp"),
    "n_steps": ("n_steps",),
    "tree_depth": ("tree_depth", "depth"),
    "reached_max_treedepth": ("reached_max_treedepth", "maxdepth_reached"),
    "step_size": ("step_size",),
    "acceptance_rate": ("acceptance_rate", "mean_tree_accept"),
}


@dataclass(frozen=True)
class Settings:
    """How long and how carefully to sample."""

    draws: int
    tune: int
    chains: int
    seed: int
    target_accept: float
    progress: bool


@dataclass(frozen=True)
class Sampler:
    """A sampler, and what it can do.

    needs : packages that must be installed. backends : those that it can compile a model with.
    several_priors : whether one compiled model serves several sets of priors.
    """

    name: str
    needs: tuple[str, ...]
    backends: tuple[str, ...] = ()
    several_priors: bool = False


SAMPLERS = {
    sampler.name: sampler
    for sampler in (
        Sampler("nutpie", ("nutpie",), ("numba", "jax"), several_priors=True),
        Sampler("pymc", ("pymc",)),
        Sampler("numpyro", ("numpyro", "jax")),
    )
}
DEFAULT = "nutpie"


def sampler_named(name: str, backend: str | None) -> Sampler:
    """The sampler of this name; SpecError for one that is unknown or not installed, and for a backend without BLAS."""
    check_choice(name, ("auto", *SAMPLERS), "sampler")
    backends = {each for sampler in SAMPLERS.values() for each in sampler.backends}
    if backend is not None and backend not in backends:
        why = "; it takes minutes for what the others do in seconds" if backend == "c" else ""
        raise SpecError(f"backend {shown(backend)} is not offered{why}\n  leave it out, or give 'numba' or 'jax'")
    sampler = SAMPLERS[DEFAULT if name == "auto" else name]
    needed = [*sampler.needs, *(["jax"] if backend == "jax" and "jax" not in sampler.needs else [])]
    if missing := [package for package in needed if find_spec(package) is None]:
        raise SpecError(
            f"sampler '{sampler.name}' needs {listing(missing)}, which is not installed\n"
            f'  pip install {" ".join(missing)}, or sampler="pymc"'
        )
    if backend is not None and backend not in sampler.backends:
        raise SpecError(
            f"sampler '{sampler.name}' has no choice of backend; leave backend= out, or use sampler=\"{DEFAULT}\""
        )
    return sampler


def start(spec: Spec, priors: ModelPriors, near: Vicinity) -> dict[str, FloatArray]:
    """Values of the model's free variables near the REML estimate, inside the support of the priors."""
    point: dict[str, FloatArray] = {BETA: _supported_beta(priors, near.beta)}
    for level, own_priors, tau, rho in zip(spec.levels, priors.levels, near.tau, near.rho, strict=True):
        if len(tau):
            inside = [_supported(prior, value) for prior, value in zip(own_priors.tau, tau, strict=True)]
            point[schema.tau(level.name)] = np.array(inside if tau_dim(level) else inside[0])
        if own_priors.rho is None:
            continue
        if len(rho) > 1:
            R = level.structure.compose(np.ones(level.dim), rho, level.dim)
            point[chol_name(level)] = np.linalg.cholesky(R)
        else:
            if not np.isfinite(rho_logp(level.structure, level.dim, own_priors.rho, rho)):
                rho = np.array([_supported(own_priors.rho, float(rho[0]))])
            point[schema.rho(level.name)] = rho if rho_dim(level) else rho[0]
    return point


def _supported_beta(priors: ModelPriors, beta: FloatArray) -> FloatArray:
    theta = priors.centring @ beta
    inside = np.array([_supported(prior, value) for prior, value in zip(priors.beta, theta, strict=True)])
    return beta if np.array_equal(inside, theta) else np.linalg.solve(priors.centring, inside)


def _supported(prior: Any, value: float) -> float:
    """The value, or the median of the prior where it has no density."""
    if np.isfinite(logp(prior, value)):
        return value
    return float(np.median(draws(prior, 201, np.random.default_rng(0))))


@contextmanager
def _without_remarks_of_libraries() -> Iterator[None]:
    """Silence warnings that a user can do nothing about.

    PyTensor warns where its C backend finds no BLAS (nothing here is compiled to C), older versions of Numba of the
    memory layout of what PyTensor wrote, ArviZ of more chains than draws.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PyTensor could not link to a BLAS", UserWarning)
        warnings.filterwarnings("ignore", ".*faster on contiguous arrays", Warning)
        warnings.filterwarnings("ignore", "Found chain dimension to be longer than draw dimension", UserWarning)
        yield


class Nutpie:
    """A model compiled once, to be sampled with several priors and data of the same design."""

    name = "nutpie"

    def __init__(self, model: Any, spec: Spec, point: dict[str, FloatArray], backend: str | None = None) -> None:
        import nutpie
        import pytensor

        options: dict[str, Any] = {"backend": backend or "numba"}
        if backend == "jax":
            register_jax()
        # results must not depend on what a compiler thinks it may reorder
        fastmath = pytensor.config.change_flags(numba__fastmath=False)
        with _without_remarks_of_libraries(), _interruptible(), fastmath:
            self.compiled = nutpie.compile_pymc_model(
                model, initial_points=point, var_names=posterior_names(spec), **options
            )

    def run(self, settings: Settings, **shared: Any) -> xr.DataTree:
        """Chains; shared : new values of the model's shared variables."""
        import nutpie

        notebook = "ipykernel" in sys.modules  # where nutpie shows a table
        with chain_bar(settings.draws + settings.tune, settings.chains, settings.progress and not notebook) as move:
            # nutpie itself would take an interruption for the end, and return what there is
            sampler = nutpie.sample(
                self.compiled.with_data(**shared) if shared else self.compiled,
                draws=settings.draws,
                tune=settings.tune,
                chains=settings.chains,
                seed=settings.seed,
                target_accept=settings.target_accept,
                progress_bar=settings.progress and notebook,
                progress_callback=move,
                save_warmup=False,
                blocking=False,
            )
            try:
                with _without_remarks_of_libraries():
                    return whole(sampler.wait(), settings)
            except BaseException as error:
                sampler.cancel()
                if "initialization points failed" in str(error):
                    raise SpecError(
                        "no chain finds a point to begin at: the priors rule out what lies near the estimates\n"
                        "  give wider ones"
                    ) from None
                raise


class _Stopped(BaseException):
    """An interruption that PyMC does not take for the end of one chain, to go on with the next."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """That Ctrl-C ends all chains, and is not lost in a compiler's callback, which cannot pass it on.

    It then comes again until it arrives: where PyMC compiles and samples in one call, that goes on for hours. Where
    signals are as Python sets them, in the main thread.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    here, pressed, leaving = os.getpid(), list[threading.Timer](), threading.Event()

    def stop(*about: object) -> None:
        if os.getpid() != here:
            raise KeyboardInterrupt  # which PyMC's own processes know
        if leaving.is_set():
            late.append(True)
            return
        pressed.append(threading.Timer(AGAIN, _interrupt_main))
        pressed[-1].daemon = True
        pressed[-1].start()
        raise _Stopped

    def swallowed(about: "sys.UnraisableHookArgs") -> None:
        if not isinstance(about.exc_value, _Stopped):  # which comes again, instead of a traceback now
            before(about)

    late: list[bool] = []
    before, sys.unraisablehook = sys.unraisablehook, swallowed
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    except BaseException:
        if pressed:  # also where compiled code makes another error of it
            raise KeyboardInterrupt from None
        raise
    finally:
        leaving.set()  # from here on an interruption waits for the end, lest it leave the handler behind
        for repeated in pressed:
            repeated.cancel()
            repeated.join()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = before
    if pressed or late:
        raise KeyboardInterrupt


def _interrupt_main() -> None:
    """Ctrl-C for the main thread, also where it waits for something."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        interrupt_main()


def by_pymc(sampler: Sampler, model: Any, point: dict[str, FloatArray], settings: Settings) -> xr.DataTree:
    """Chains of PyMC's own NUTS or of NumPyro."""
    import pymc as pm

    options: dict[str, Any] = {"target_accept": settings.target_accept}
    if "jax" in sampler.needs:
        register_jax()
        options = {"nuts": {**options, "chain_method": "vectorized"}}
    with _without_remarks_of_libraries(), _interruptible(), model:
        raw = pm.sample(
            settings.draws,
            tune=settings.tune,
            chains=settings.chains,
            random_seed=settings.seed,
            initvals=point,
            nuts_sampler=sampler.name,
            progressbar=settings.progress,
            quiet=not settings.progress,
            compute_convergence_checks=False,
            **options,
        )
    return whole(raw, settings)


def whole(raw: xr.DataTree, settings: Settings) -> xr.DataTree:
    """The chains, all as long as was asked; samplers take an interruption for the end, and return shorter ones."""
    sizes = raw[schema.POSTERIOR].sizes
    if (sizes[schema.CHAIN], sizes[schema.DRAW]) != (settings.chains, settings.draws):
        raise KeyboardInterrupt
    return raw


def statistics(raw: xr.DataTree) -> dict[str, xr.DataArray]:
    """What the sampler says of its steps, under ArviZ's names."""
    variables = raw["sample_stats"].to_dataset()
    steps = {
        name: next((variables[theirs] for theirs in words if theirs in variables), None)
        for name, words in STATISTICS.items()
    }
    return {name: values for name, values in steps.items() if values is not None}
