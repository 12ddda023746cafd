"""Pictures of results trees. Every function draws into the axes it is given, or into new ones, and returns them.

Frequentist and posterior trees are drawn alike, and every number comes from the tree. Ratios (log odds, risk, hazard,
incidence rate ratios, ratios of means) are drawn back-transformed, on logarithmic axes.
"""

from bayesmeta.plots.bubble import bubble as bubble
from bayesmeta.plots.checks import loo_pit as loo_pit
from bayesmeta.plots.checks import loo_pit_values as loo_pit_values
from bayesmeta.plots.checks import sensitivity as sensitivity
from bayesmeta.plots.dose_response import dose_response as dose_response
from bayesmeta.plots.funnel import funnel as funnel
from bayesmeta.plots.longitudinal import longitudinal as longitudinal

__all__ = ["bubble", "dose_response", "funnel", "longitudinal", "loo_pit", "loo_pit_values", "sensitivity"]
