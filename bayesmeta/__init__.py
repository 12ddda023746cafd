"""Meta-analysis of any shape, specified once and fitted twice: by ML/REML and by full Bayes.

    import bayesmeta as bm

    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    fit = bm.fit(spec)
    print(bm.summary(fit))

Every name is loaded at its first use, so that importing the package costs next to nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bayesmeta._version import __version__ as __version__

if TYPE_CHECKING:
    from bayesmeta import datasets as datasets
    from bayesmeta import diagnostic as diagnostic
    from bayesmeta import dose_response as dose_response
    from bayesmeta import effects as effects
    from bayesmeta import estimation as estimation
    from bayesmeta import measures as measures
    from bayesmeta import network as network
    from bayesmeta import plots as plots
    from bayesmeta import priors as priors
    from bayesmeta import structures as structures
    from bayesmeta import within as within
    from bayesmeta.bayes.pymc_model import to_pymc as to_pymc
    from bayesmeta.bayes.sample import sample as sample
    from bayesmeta.errors import AssumptionWarning as AssumptionWarning
    from bayesmeta.errors import BayesmetaError as BayesmetaError
    from bayesmeta.errors import BayesmetaWarning as BayesmetaWarning
    from bayesmeta.errors import BoundaryWarning as BoundaryWarning
    from bayesmeta.errors import ConvergenceError as ConvergenceError
    from bayesmeta.errors import ConvergenceWarning as ConvergenceWarning
    from bayesmeta.errors import DataError as DataError
    from bayesmeta.errors import SpecError as SpecError
    from bayesmeta.estimation.fit import fit as fit
    from bayesmeta.estimation.fit_many import fit_many as fit_many
    from bayesmeta.formula.bases import basis as basis
    from bayesmeta.inference import small_study as small_study
    from bayesmeta.inference.assumed_correlation import rho_sensitivity as rho_sensitivity
    from bayesmeta.inference.averaging import average as average
    from bayesmeta.inference.averaging import model_set as model_set
    from bayesmeta.inference.bayes_factors import bayes_factor as bayes_factor
    from bayesmeta.inference.bootstrap import bootstrap as bootstrap
    from bayesmeta.inference.confint import confint as confint
    from bayesmeta.inference.drop_add import add1 as add1
    from bayesmeta.inference.drop_add import drop1 as drop1
    from bayesmeta.inference.estimates import estimates as estimates
    from bayesmeta.inference.exceedance import exceedance as exceedance
    from bayesmeta.inference.gosh import gosh as gosh
    from bayesmeta.inference.influence import influence as influence
    from bayesmeta.inference.left_out import cumulative as cumulative
    from bayesmeta.inference.left_out import leave_one_out as leave_one_out
    from bayesmeta.inference.likelihood_ratio import lr_test as lr_test
    from bayesmeta.inference.loo import loo as loo
    from bayesmeta.inference.map_priors import map_prior as map_prior
    from bayesmeta.inference.marginal_model import to_marginaleffects as to_marginaleffects
    from bayesmeta.inference.means import contrast as contrast
    from bayesmeta.inference.partition import r_squared as r_squared
    from bayesmeta.inference.partition import variance_partition as variance_partition
    from bayesmeta.inference.partition_blups import write_blup as write_blup
    from bayesmeta.inference.permutation import permutation_test as permutation_test
    from bayesmeta.inference.planning import assurance as assurance
    from bayesmeta.inference.power_scaling import power_scaling as power_scaling
    from bayesmeta.inference.predict import blup as blup
    from bayesmeta.inference.predict import predict as predict
    from bayesmeta.inference.predict import ranef as ranef
    from bayesmeta.inference.prior_check import prior_check as prior_check
    from bayesmeta.inference.profile import profile as profile
    from bayesmeta.inference.rare_events import mantel_haenszel as mantel_haenszel
    from bayesmeta.inference.rare_events import peto as peto
    from bayesmeta.inference.reduced_curves import attributable as attributable
    from bayesmeta.inference.reduced_curves import curve as curve
    from bayesmeta.inference.robustness import robustness as robustness
    from bayesmeta.inference.sensitivity import sensitivity as sensitivity
    from bayesmeta.inference.simulate import simulate as simulate
    from bayesmeta.inference.vif import vif as vif
    from bayesmeta.inference.wald import wald_test as wald_test
    from bayesmeta.model.first_stage import from_first_stage as from_first_stage
    from bayesmeta.model.specify import specify as specify
    from bayesmeta.model_files.model_file import load_analysis as load_analysis
    from bayesmeta.priors import Prior as Prior
    from bayesmeta.priors import Priors as Priors
    from bayesmeta.report.report import report as report
    from bayesmeta.simulation.declaration import load_study as load_study
    from bayesmeta.simulation.run import run_study as run_study
    from bayesmeta.simulation.run import study_table as study_table
    from bayesmeta.summaries.compare import compare as compare
    from bayesmeta.summaries.methods_text import methods_text as methods_text
    from bayesmeta.summaries.paper_table import table as table
    from bayesmeta.summaries.summary import summary as summary
    from bayesmeta.tree import Spec as Spec
    from bayesmeta.tree.files import load as load
    from bayesmeta.tree.files import save as save
    from bayesmeta.tree.heterogeneity import heterogeneity as heterogeneity

_MODULES = (
    "datasets",
    "diagnostic",
    "dose_response",
    "effects",
    "estimation",
    "measures",
    "network",
    "plots",
    "priors",
    "small_study",
    "structures",
    "within",
)
_INSIDE = {"small_study": "inference.small_study"}  # public modules that lie in a ring
_NAMES = {
    "model_files.model_file": ("load_analysis",),
    "summaries.compare": ("compare",),
    "errors": (
        *("SpecError", "DataError", "ConvergenceError", "BayesmetaError"),
        *("AssumptionWarning", "BoundaryWarning", "ConvergenceWarning", "BayesmetaWarning"),
    ),
    "estimation.fit": ("fit",),
    "tree.heterogeneity": ("heterogeneity",),
    "inference.assumed_correlation": ("rho_sensitivity",),
    "inference.averaging": ("average", "model_set"),
    "inference.bayes_factors": ("bayes_factor",),
    "inference.bootstrap": ("bootstrap",),
    "inference.confint": ("confint",),
    "inference.drop_add": ("drop1", "add1"),
    "inference.estimates": ("estimates",),
    "inference.exceedance": ("exceedance",),
    "inference.gosh": ("gosh",),
    "inference.influence": ("influence",),
    "inference.left_out": ("leave_one_out", "cumulative"),
    "inference.loo": ("loo",),
    "inference.map_priors": ("map_prior",),
    "inference.planning": ("assurance",),
    "inference.prior_check": ("prior_check",),
    "inference.likelihood_ratio": ("lr_test",),
    "inference.profile": ("profile",),
    "estimation.fit_many": ("fit_many",),
    "inference.means": ("contrast",),
    "inference.partition": ("variance_partition", "r_squared"),
    "inference.marginal_model": ("to_marginaleffects",),
    "inference.partition_blups": ("write_blup",),
    "inference.permutation": ("permutation_test",),
    "inference.power_scaling": ("power_scaling",),
    "inference.predict": ("predict", "blup", "ranef"),
    "priors": ("Prior", "Priors"),
    "bayes.pymc_model": ("to_pymc",),
    "report.report": ("report",),
    "bayes.sample": ("sample",),
    "inference.rare_events": ("mantel_haenszel", "peto"),
    "inference.reduced_curves": ("curve", "attributable"),
    "inference.robustness": ("robustness",),
    "inference.sensitivity": ("sensitivity",),
    "inference.simulate": ("simulate",),
    "inference.vif": ("vif",),
    "inference.wald": ("wald_test",),
    "tree": ("Spec",),
    "tree.files": ("load", "save"),
    "formula.bases": ("basis",),
    "model.first_stage": ("from_first_stage",),
    "model.specify": ("specify",),
    "simulation.declaration": ("load_study",),
    "simulation.run": ("run_study", "study_table"),
    "summaries.methods_text": ("methods_text",),
    "summaries.summary": ("summary",),
    "summaries.paper_table": ("table",),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted((*_MODULES, *_HOME))


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{_INSIDE.get(name, name)}")
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'{_advice(name)}")
    try:
        globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        import_module(f"{__name__}._validation").check_extra_with(f"bm.{name}", error.name)
        raise
    import_module(f"{__name__}._validation.calls").explain(globals(), [name], "bm.")
    return globals()[name]


def _advice(name: str) -> str:
    """What a function of other software is here, or which of ours comes close."""
    if name.startswith("_"):
        return ""
    line = import_module(f"{__name__}._validation.other_software").function_advice(name)
    return f"; write {line}" if line else import_module(f"{__name__}._validation").did_you_mean(name, __all__)


def __dir__() -> list[str]:
    return ["__version__", *__all__]


class _Package(ModuleType):
    # importing a submodule binds it in its package; where a function has its name, as specify, the function stays
    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    # a function that uses the package goes to other processes, as joblib sends it, with the package by name
    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package

if "IPython" in sys.modules:
    import_module(f"{__name__}.summaries.notebook").register()
