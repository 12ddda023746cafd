"""Plots of results trees. Every function draws into the user's axes, or into new ones, and returns them.

Frequentist and posterior trees are drawn alike, and every number comes from the tree. Log ratios (odds ratios, risk
ratios, hazard ratios, incidence rate ratios, ratios of means) are drawn as ratios on logarithmic axes. Plots with one
panel return matplotlib axes, those with several an array of them; either has the attribute `figure`.
"""

from bayesmeta._validation.calls import explain
from bayesmeta.plots.accuracy_forest import accuracy_forest as accuracy_forest
from bayesmeta.plots.after_test import fagan as fagan
from bayesmeta.plots.after_test import likelihood_ratios as likelihood_ratios
from bayesmeta.plots.after_test import predictive_values as predictive_values
from bayesmeta.plots.assumed_correlation_curves import rho_sensitivity as rho_sensitivity
from bayesmeta.plots.baujat import baujat as baujat
from bayesmeta.plots.bubble import bubble as bubble
from bayesmeta.plots.caterpillar import caterpillar as caterpillar
from bayesmeta.plots.compare import compare as compare
from bayesmeta.plots.curve_panels import curves as curves
from bayesmeta.plots.dose_curves import dose_residuals as dose_residuals
from bayesmeta.plots.dose_response import dose_response as dose_response
from bayesmeta.plots.forest.figure import forest as forest
from bayesmeta.plots.funnel import funnel as funnel
from bayesmeta.plots.gosh_plot import gosh as gosh
from bayesmeta.plots.influence_panel import influence as influence
from bayesmeta.plots.labbe import labbe as labbe
from bayesmeta.plots.longitudinal import longitudinal as longitudinal
from bayesmeta.plots.model_checks import loo_pit as loo_pit
from bayesmeta.plots.model_checks import loo_pit_values as loo_pit_values
from bayesmeta.plots.model_checks import sensitivity as sensitivity
from bayesmeta.plots.network_evidence import network_split as network_split
from bayesmeta.plots.network_forest import network_forest as network_forest
from bayesmeta.plots.network_funnel import network_funnel as network_funnel
from bayesmeta.plots.network_graph import network_graph as network_graph
from bayesmeta.plots.network_heat import network_heat as network_heat
from bayesmeta.plots.network_league import network_league as network_league
from bayesmeta.plots.network_ranking import network_ranking as network_ranking
from bayesmeta.plots.normal_quantiles import qqnorm as qqnorm
from bayesmeta.plots.orchard import orchard as orchard
from bayesmeta.plots.prior_maps import robustness as robustness
from bayesmeta.plots.prior_posterior import prior_posterior as prior_posterior
from bayesmeta.plots.profile import profile as profile
from bayesmeta.plots.radial import radial as radial
from bayesmeta.plots.refits import cumulative as cumulative
from bayesmeta.plots.refits import leave_one_out as leave_one_out
from bayesmeta.plots.roc_plane import sroc as sroc
from bayesmeta.plots.simulation import simulation as simulation
from bayesmeta.plots.structure import structure as structure

__all__ = [
    "accuracy_forest",
    "baujat",
    "bubble",
    "caterpillar",
    "compare",
    "cumulative",
    "curves",
    "dose_residuals",
    "dose_response",
    "fagan",
    "forest",
    "funnel",
    "gosh",
    "influence",
    "labbe",
    "leave_one_out",
    "likelihood_ratios",
    "longitudinal",
    "loo_pit",
    "loo_pit_values",
    "network_forest",
    "network_funnel",
    "network_graph",
    "network_heat",
    "network_league",
    "network_ranking",
    "network_split",
    "orchard",
    "predictive_values",
    "prior_posterior",
    "profile",
    "qqnorm",
    "radial",
    "rho_sensitivity",
    "robustness",
    "sensitivity",
    "simulation",
    "sroc",
    "structure",
]


def __dir__() -> list[str]:
    return list(__all__)


explain(globals(), __all__, "bm.plots.")
