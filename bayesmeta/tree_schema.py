"""Every group, dimension and variable name of the results tree, once."""

ESTIMATE, CRITERIA, HETEROGENEITY, OPTIMIZER = "estimate", "criteria", "heterogeneity", "optimizer"
OBSERVED, CONSTANT, RAW = "observed_data", "constant_data", "data"
POSTERIOR, DERIVED, DIAGNOSTICS, SAMPLE_STATS = "posterior", "derived", "diagnostics", "sample_stats"
RANDOM_EFFECTS = "random_effects"  # apart from the posterior, each variable of which ArviZ draws in panels of its own
LOG_LIKELIHOOD = "log_likelihood"  # of the outer groups; a group with several variables would be summed by ArviZ
POINTWISE = "log_likelihood_conditional"  # of every observation given all others
PRIOR, LOG_PRIOR = "prior", "log_prior"
PRIOR_PREDICTIVE, POSTERIOR_PREDICTIVE = "prior_predictive", "posterior_predictive"
NEW_GROUPS = "posterior_predictive_new"

OBS, ROW, OUTCOME, COEF, FREE = "obs", "row", "outcome", "coef", "free"
NAME = "name"  # of every row in tables of predictions
MODE = "mode"  # local maxima that the search arrived at, the highest first
MODE_LOGLIK, MODE_XI, MODE_START = "mode_loglik", "mode_xi", "mode_start"
EVALUATIONS, ALL_EVALUATIONS, SCAN_EVALUATIONS = "evaluations", "all_evaluations", "scan_evaluations"
CHAIN, DRAW = "chain", "draw"
OVERALL = "overall"
UNIT = "unit"  # the level of a specification without a random part: each row its own group
INTERCEPT = "Intercept"


def bis(dim: str) -> str:
    """Second axis of a square matrix over `dim`."""
    return f"{dim}_bis"


def group(level: str) -> str:
    """Dimension over the groups of a level."""
    return f"group_{level}"


def effect(level: str) -> str:
    """Dimension over the random effects of a level."""
    return f"effect_{level}"


def pair(level: str) -> str:
    """Dimension over the pairs of random effects of a level, labelled `PD~AL`."""
    return f"pair_{level}"


def psi(level: str) -> str:
    return f"psi_{level}"


def tau2_se(level: str) -> str:
    """Standard errors of the variances, the diagonal of Psi, which exist at zero too."""
    return f"tau2_{level}_se"


def tau(level: str) -> str:
    return f"tau_{level}"


def rho(level: str) -> str:
    return f"rho_{level}"


def b(level: str) -> str:
    return f"b_{level}"


def b_se(level: str) -> str:
    return f"b_{level}_se"


def Z(level: str) -> str:
    return f"Z_{level}"


def index(level: str) -> str:
    """For each observation, the position of its group in the level."""
    return f"group_{level}_index"


def join_label(path: tuple[str, ...]) -> str:
    r"""Group label in one string, outer to inner; a separator inside a label is escaped.

    >>> join_label(("11", "a/b"))
    '11/a\\/b'
    """
    return "/".join(part.replace("\\", "\\\\").replace("/", "\\/") for part in path)
