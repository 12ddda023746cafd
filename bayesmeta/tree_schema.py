"""Every group, dimension and variable name of the results tree, once, and what each of them is."""

from collections.abc import Mapping
from typing import NamedTuple

ESTIMATE, CRITERIA, HETEROGENEITY, OPTIMIZER = "estimate", "criteria", "heterogeneity", "optimizer"
OBSERVED, CONSTANT, RAW = "observed_data", "constant_data", "data"
POSTERIOR, DERIVED, DIAGNOSTICS, SAMPLE_STATS = "posterior", "derived", "diagnostics", "sample_stats"
RANDOM_EFFECTS = "random_effects"  # apart from the posterior, each variable of which ArviZ draws in panels of its own
LOG_LIKELIHOOD = "log_likelihood"  # of the outer groups; a group with several variables would be summed by ArviZ
POINTWISE = "log_likelihood_conditional"  # of every observation given all others
PRIOR, LOG_PRIOR = "prior", "log_prior"
PRIOR_PREDICTIVE, POSTERIOR_PREDICTIVE = "prior_predictive", "posterior_predictive"
NEW_GROUPS = "posterior_predictive_new"
MARGINALS = "marginals"  # exact, where the posterior was computed without Markov chains
QUANTILE, POINT = "quantile", "point"
INTEGRATION = "integration"  # what else is exact there follows from it
NODE, COORDINATE = "node", "coordinate"
U, LOG_WEIGHT, STEP = "u", "log_weight", "step"
LOG_ML, LOG_ML_SE = "log_marginal_likelihood", "log_marginal_likelihood_se"
EFFECTIVE_SIZE, PARETO_K = "effective_size", "pareto_k"

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


class Entry(NamedTuple):
    """A variable of the tree: its dimensions, what it is, and where it lacks the last of the dimensions ("": never)."""

    dims: tuple[str, ...]
    meaning: str
    single: str = ""


class Group(NamedTuple):
    """A group of the tree: what writes it ("fit", "sample", "both"), what it is, and its variables by name.

    open : what other variables are, whose names are not known before.
    """

    by: str
    meaning: str
    entries: Mapping[str, Entry]
    open: str = ""


L = "L"  # stands for the name of a level
_SAMPLE = (CHAIN, DRAW)
_ONE_OUTCOME = "one outcome"
_ONE_SD, _ONE_CORRELATION = "one random effect, or one SD for all", "one correlation for all pairs"
_OF_TIMES = "one correlation over a unit of time (car1, hcar1)"
_ONE_OF_TIMES = "one random effect, or one SD for all times (car1)"
_PARAMETERS = {
    "beta": Entry((*_SAMPLE, COEF), "coefficients"),
    tau(L): Entry((*_SAMPLE, effect(L)), "standard deviations of the random effects between groups", _ONE_SD),
    rho(L): Entry((*_SAMPLE, pair(L)), "their correlations, where these are free", _ONE_CORRELATION),
}

INFERENCE = "inference"
FILLED = "filled"  # how many of the last rows trim and fill has made up

ATTRIBUTES: Mapping[str, str] = {
    "bayesmeta_version": "version that wrote the tree",
    "backend": '"fit" or "sample"',
    "method": 'the method of estimation, such as "reml"; "bayes"',
    "formula": "formula of the fixed part as written, of several outcomes perhaps JSON by outcome",
    "common": 'formula of predictors with one coefficient for all outcomes, or ""',
    "random": 'formula of the random part as written, or JSON by level, or ""',
    "groups": 'column of independent groups without a random part, or ""',
    "offset": 'column of the offset, or ""',
    "outcomes": "names of the outcomes (JSON)",
    "psi": "covariance structure of every level, outer to inner (JSON)",
    "measure": 'the effect measure, such as "logor", or ""',
    "arms": 'names of the two arms that effects compare (JSON), or ""',
    "arm_columns": 'of every outcome of `bm.effects` the columns that it was made from (JSON), or ""',
    "partitions": "only of data in partitions: what is known of all rows together (JSON); `/observed_data`, "
    "`/constant_data` and `/data` then hold examples of rows, with made-up sampling variances of 1",
    "S_assumed": 'what was assumed to make S: `words`, and the `builder` of `bm.within` with `arguments` (JSON), or ""',
    "analysis": 'of a network, dose-response or diagnostic analysis: `kind` and what its questions need (JSON), or ""',
    "notes": "what was assumed when the model was specified (JSON)",
    INFERENCE: "of a fit by a model file that says so: `vcov` and `df` of its coefficients (JSON)",
    FILLED: "of `bm.small_study.filled`: how many of the last rows are not data but filled in",
    "created_at": "when it was computed, UTC",
    "data_hash": "SHA-256 of y, offset, X, S, Z and groups",
    "group_hashes": "hashes (JSON) of attributes and of every variable, which readers compare; of unread draws marks",
    "priors": "of a posterior: the priors of all parameters (JSON)",
    "sampler": 'of a posterior: the sampler, or "quadrature" or "importance"',
    "sampler_reason": "of a posterior: why it was taken, where that was left open",
    "software": "of a posterior: the packages that drew it, with versions",
    "seed": "of a posterior: the seed of everything random",
    "tune": "of a posterior: draws that were discarded while the sampler tuned",
    "target_accept": "of a posterior: the target acceptance probability",
}

DIMENSIONS: Mapping[str, str] = {
    OBS: "observed pairs of row and outcome in the order of the data, outcomes fastest; `row` and `outcome` name them",
    ROW: "rows of the input",
    OUTCOME: f'outcomes; in /{HETEROGENEITY} "{OVERALL}" first',
    COEF: "coefficients, such as `Intercept`, `ablat`, `PD.Intercept`",
    group(L): "groups of level L, with those they lie in: `11/3`",
    effect(L): "random effects of level L; of car1 and hcar1 the distinct times",
    pair(L): "pairs of random effects of level L, such as `PD~AL`",
    FREE: "free parameters of the search",
    CHAIN: "Markov chains",
    DRAW: "draws of every chain",
    "nonzero": "entries of the lower triangle of S that are not zero",
    QUANTILE: "probabilities",
    POINT: "points of a density",
    NODE: "weighted points of the covariance parameters",
    COORDINATE: "parameters that were integrated numerically, by their names",
    "parameter": "parameters by the names that every function knows them by, such as `tau[district, Intercept]`",
    "start": "starting points of the search",
    "iteration": "steps from the best start",
    MODE: "local maxima, the highest first",
    bis("NAME"): "the second axis of a square matrix over NAME",
}

_STATISTICS = {
    "mean": ((), "mean"),
    "sd": ((), "SD; infinite where it does not exist"),
    "quantile": ((QUANTILE,), "quantiles"),
    "grid": ((POINT,), "points at which the density is"),
    "density": ((POINT,), "density there"),
}


def _exact(name: str, dims: tuple[str, ...], what: str, single: str = "", density: bool = True) -> dict[str, Entry]:
    """The statistics of a parameter; without a density where it follows from that of another."""
    return {
        f"{name}_{statistic}": Entry((*before, *dims), f"{meaning} of {what}", single)
        for statistic, (before, meaning) in _STATISTICS.items()
        if density or POINT not in before
    }


TREE: Mapping[str, Group] = {
    ESTIMATE: Group(
        "fit",
        "estimates and their standard errors",
        {
            "beta": Entry((COEF,), "coefficients"),
            "beta_se": Entry((COEF,), "their standard errors"),
            "beta_cov": Entry((COEF, bis(COEF)), "their covariance matrix"),
            psi(L): Entry((effect(L), bis(effect(L))), "covariance matrix of the random effects between groups"),
            tau(L): Entry((effect(L),), "their standard deviations", _ONE_OF_TIMES),
            tau2_se(L): Entry((effect(L),), "standard errors of their variances, at zero too", _ONE_OF_TIMES),
            rho(L): Entry((pair(L),), "their correlations, NaN where a variance is zero", _OF_TIMES),
            b(L): Entry(
                (group(L), effect(L)),
                "predicted random effects (BLUPs), NaN at times that a group lacks; left out above a million values",
            ),
            b_se(L): Entry((group(L), effect(L)), "standard deviations of their prediction errors"),
            "xi": Entry((FREE,), "free parameters that the search moves"),
            "xi_cov": Entry((FREE, bis(FREE)), "their covariance matrix, NaN at a boundary"),
        },
    ),
    CRITERIA: Group(
        "both",
        "the likelihood and what follows from it; NaN for moments; of a posterior without chains the last ones alone",
        {
            "loglik": Entry((), "log-likelihood, by REML the restricted one"),
            "aic": Entry((), "Akaike's information criterion"),
            "aicc": Entry((), "the same, corrected for few observations"),
            "bic": Entry((), "Bayesian information criterion"),
            "df": Entry((), "coefficients and free parameters"),
            "df_fixed": Entry((), "coefficients"),
            "df_random": Entry((), "free parameters"),
            "nobs": Entry((), "observations, by REML less the coefficients"),
            "rank": Entry((), "rank of X"),
            LOG_ML: Entry((), "of a posterior: log density of the data, all parameters integrated out"),
            LOG_ML_SE: Entry((), "bound of its numerical error, by importance sampling its standard error"),
            EFFECTIVE_SIZE: Entry((), "by importance sampling: independent draws that the weighted ones are worth"),
            PARETO_K: Entry((), "by importance sampling: shape of the tail of the weights"),
        },
    ),
    HETEROGENEITY: Group(
        "both",
        "differences between effects beyond sampling error, see `bm.heterogeneity`",
        {
            "Q": Entry((OUTCOME,), "Cochran's Q", _ONE_OUTCOME),
            "df": Entry((OUTCOME,), "its degrees of freedom", _ONE_OUTCOME),
            "pvalue": Entry((OUTCOME,), "its p-value", _ONE_OUTCOME),
            "I2": Entry((OUTCOME,), "I2 from Q, in percent", _ONE_OUTCOME),
            "H2": Entry((OUTCOME,), "H2 from Q", _ONE_OUTCOME),
            "I2_tau2": Entry((OUTCOME,), "I2 from the fitted variance, in percent; summaries show it", _ONE_OUTCOME),
            "H2_tau2": Entry((OUTCOME,), "H2 from the fitted variance", _ONE_OUTCOME),
        },
    ),
    OPTIMIZER: Group(
        "fit",
        "what the search did; its attribute `message` says how it ended",
        {
            "converged": Entry((), "whether it did"),
            "at_boundary": Entry((FREE,), "whether a parameter lies at the edge of its range"),
            "gradient": Entry((FREE,), "slope of the log-likelihood at the end"),
            "gradient_norm": Entry((), "its largest entry for relative steps"),
            "decrement": Entry((), "twice the log-likelihood that is still to be gained"),
            "starts": Entry(("start", FREE), "points at which climbs began"),
            "path": Entry(("iteration",), "log-likelihood after every step of the best climb"),
            EVALUATIONS: Entry((), "evaluations with derivatives by the best climb"),
            ALL_EVALUATIONS: Entry((), "the same by all climbs"),
            SCAN_EVALUATIONS: Entry((), "evaluations of the log-likelihood alone"),
            MODE_LOGLIK: Entry((MODE,), "log-likelihood of every local maximum"),
            MODE_XI: Entry((MODE, FREE), "free parameters there"),
            MODE_START: Entry((MODE, FREE), "where the climb to it began"),
        },
    ),
    POSTERIOR: Group("sample", "draws of the parameters; nothing constant", _PARAMETERS),
    RANDOM_EFFECTS: Group(
        "sample",
        "draws of the random effects, apart from the posterior, of whose entries ArviZ draws panels",
        {
            b(L): Entry(
                (*_SAMPLE, group(L), effect(L)), "random effects of every group; left out above a million values"
            )
        },
    ),
    DERIVED: Group(
        "sample",
        "draws of what follows from the parameters",
        {psi(L): Entry((*_SAMPLE, effect(L), bis(effect(L))), "covariance matrix between groups")},
    ),
    MARGINALS: Group(
        "sample",
        "exact marginal distributions, where the posterior was computed without Markov chains; summaries show them",
        {
            **_exact("beta", (COEF,), "the coefficients"),
            **_exact(tau(L), (effect(L),), "the SDs between groups", _ONE_SD),
            **_exact(rho(L), (pair(L),), "their correlations", _ONE_CORRELATION),
            **_exact(psi(L), (effect(L), bis(effect(L))), "the covariance matrix between groups", density=False),
            **_exact(b(L), (group(L), effect(L)), "the random effects", density=False),
        },
    ),
    INTEGRATION: Group(
        "sample",
        "weighted points of the parameters that were integrated numerically, from which predictions are exact",
        {
            U: Entry((NODE, COORDINATE), "the points, in coordinates in which the prior is N(0, I)"),
            LOG_WEIGHT: Entry((NODE,), "logarithm of their weights, zero at the largest"),
            STEP: Entry((COORDINATE,), "distance between neighbours of the lattice; absent by importance sampling"),
        },
    ),
    DIAGNOSTICS: Group(
        "sample",
        "whether the chains can be trusted",
        {
            "r_hat": Entry(("parameter",), "R-hat"),
            "ess_bulk": Entry(("parameter",), "effective sample size in the bulk"),
            "ess_tail": Entry(("parameter",), "effective sample size in the tails"),
            "divergences": Entry((), "transitions that diverged"),
            "max_treedepth_hits": Entry((), "draws at the largest tree depth"),
        },
    ),
    SAMPLE_STATS: Group(
        "sample",
        "what the sampler says of its steps, as far as it does",
        {
            "acceptance_rate": Entry(_SAMPLE, "mean acceptance probability"),
            "diverging": Entry(_SAMPLE, "whether the transition diverged"),
            "energy": Entry(_SAMPLE, "energy"),
            "lp": Entry(_SAMPLE, "log density of the posterior, up to a constant"),
            "n_steps": Entry(_SAMPLE, "leapfrog steps"),
            "tree_depth": Entry(_SAMPLE, "depth of the tree"),
            "reached_max_treedepth": Entry(_SAMPLE, "whether it was cut there"),
            "step_size": Entry(_SAMPLE, "step size"),
        },
    ),
    LOG_LIKELIHOOD: Group(
        "sample",
        "of the groups of the outer level, random effects integrated out",
        {"y": Entry((*_SAMPLE, group(L)), "log-likelihood; L is the outer level")},
    ),
    POINTWISE: Group(
        "sample",
        "of every observation given all others",
        {"y": Entry((*_SAMPLE, OBS), "log density")},
    ),
    LOG_PRIOR: Group(
        "sample",
        "log density of the prior, by block of parameters",
        {
            name: Entry(_SAMPLE, f"of {words}")
            for name, words in (
                ("beta", "the coefficients"),
                (tau(L), "the SDs of the level"),
                (rho(L), "the correlations of the level"),
            )
        },
    ),
    PRIOR: Group("sample", "draws of the parameters from the prior; absent where it is improper", _PARAMETERS),
    PRIOR_PREDICTIVE: Group("sample", "y drawn from the prior", {"y": Entry((*_SAMPLE, OBS), "effect estimates")}),
    POSTERIOR_PREDICTIVE: Group(
        "sample",
        "y again, of the same groups given their random effects",
        {"y": Entry((*_SAMPLE, OBS), "effect estimates")},
    ),
    NEW_GROUPS: Group("sample", "y again, of new groups", {"y": Entry((*_SAMPLE, OBS), "effect estimates")}),
    OBSERVED: Group("both", "what was observed", {"y": Entry((OBS,), "effect estimates")}),
    CONSTANT: Group(
        "both",
        "the specification: with it, a tree answers every question alone",
        {
            "X": Entry((OBS, COEF), "design of the fixed part"),
            Z(L): Entry((OBS, effect(L)), "design of the random effects"),
            index(L): Entry((OBS,), "position of the observation's group"),
            "offset": Entry((OBS,), "the offset"),
            "row_index": Entry((OBS,), "position of the observation's row in the input"),
            "outcome_index": Entry((OBS,), "position of its outcome"),
            "S_value": Entry(("nonzero",), "sampling (co)variances, the lower triangle of S"),
            "S_row": Entry(("nonzero",), "their rows, positions in `obs`"),
            "S_col": Entry(("nonzero",), "their columns, positions in `obs`"),
        },
    ),
    RAW: Group(
        "both",
        "the input as it was given",
        {
            "kept": Entry((ROW,), "whether the row is in the model"),
            "dropped": Entry((ROW,), 'why it is not, or ""'),
            "row_name": Entry((ROW,), "names of the rows in tables and plots, where they have any"),
        },
        "the columns of the input, by name (above a million cells those used and those named by `keep=`), and "
        "`_NAME_missing` where a column has missing values of several kinds",
    ),
}
