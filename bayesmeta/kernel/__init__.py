"""The likelihood of the extended mixed-effects model: arrays in, arrays out.

Every array of the kernel has its matrix axes first and its batch axes last: (rows, columns, data sets, groups). The
long axis, over groups, is contiguous, so that small-matrix algebra becomes a few operations on long vectors.
"""

from bayesmeta.kernel.centring import part_statistics, statistics
from bayesmeta.kernel.draws import conditional_draws, fresh_effects, linear_predictor, sampling_errors
from bayesmeta.kernel.likelihood import Likelihood, likelihood, loglik_per_group
from bayesmeta.kernel.pointwise import pointwise_loglik
from bayesmeta.kernel.prediction import Prediction, RandomEffects, combinations_given, effects_given, random_effects
from bayesmeta.kernel.sandwich import Clusters, sandwich
from bayesmeta.kernel.small_sample import small_sample
from bayesmeta.kernel.statistics import Statistics
from bayesmeta.kernel.weighting import weighting

__all__ = [
    "Clusters",
    "Likelihood",
    "Prediction",
    "RandomEffects",
    "Statistics",
    "combinations_given",
    "conditional_draws",
    "effects_given",
    "fresh_effects",
    "likelihood",
    "linear_predictor",
    "loglik_per_group",
    "part_statistics",
    "pointwise_loglik",
    "random_effects",
    "sampling_errors",
    "sandwich",
    "small_sample",
    "statistics",
    "weighting",
]
