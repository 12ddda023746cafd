"""What a posterior without Markov chains adds to a page: Bayes factors, what they owe to the prior, and averages."""

import warnings
from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayesmeta import plots
from bayesmeta.bayes.engines import ENGINES
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.display.tables import Table, fixed, number, percent
from bayesmeta.errors import BayesmetaError, BayesmetaWarning
from bayesmeta.inference.averaging import average, distinct_models
from bayesmeta.inference.bayes_factors import bayes_factor
from bayesmeta.inference.robustness import robustness
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Priors
from bayesmeta.report.blocks import Block, Section, blocks, notes, paragraphs
from bayesmeta.report.pictures import Drawing, pictures
from bayesmeta.report.sections.model import of_tree
from bayesmeta.report.sections.results import Trees

MOST_TESTED = 6  # coefficients
LARGEST = np.log(1e6)  # Bayes factor that is printed as a number
_BAYES_FACTORS = (
    "A Bayes factor says how many times better the model predicted the data than the same model without the parameter;"
    " it depends on the prior of what is tested."
)
_AVERAGED = (
    "Weights are the posterior probabilities of the models, all equally probable before. A parameter is zero in a model"
    " without it; the inclusion Bayes factor compares the models that have it with those that do not."
)


def exact_ones(trees: Trees) -> dict[str, xr.DataTree]:
    """The posteriors whose marginal likelihood is known."""
    return {name: tree for name, tree in trees.items() if exact_posterior(tree) is not None}


def evidence_section(trees: Trees) -> tuple[Section, ...]:
    """Bayes factors of heterogeneity and of the coefficients, and how far they and the estimates hang on the prior."""
    made: list[Block] = []
    for name, tree in exact_ones(trees).items():
        rows, reasons = _tested(tree)
        title = "Bayes factors of the model against one without" + (f": {name}" if len(trees) > 1 else "")
        header = ("Bayes factor", "log Bayes factor", "probability of the parameter")
        drawn, left_out = pictures(_drawings(tree))
        made += [
            *(blocks(paragraphs(_BAYES_FACTORS), Table(title, header, tuple(rows))) if rows else ()),
            *drawn,
            *blocks(notes("Not computed", [*reasons, *left_out])),
        ]
    return (Section("Evidence, and what it owes to the prior", tuple(made), folded=True),) if made else ()


def _tested(tree: xr.DataTree) -> tuple[list[tuple[str, ...]], list[str]]:
    """Rows of the table, and why some tests are missing."""
    spec = of_tree(tree)
    levels = [f"tau[{level.name}]" for level in spec.levels if level.structure.n_tau(level.dim)]
    rows, reasons = list[tuple[str, ...]](), list[str]()
    for parameter in (*(f"beta[{label}]" for label in spec.coef[:MOST_TESTED]), *levels):
        try:
            found = bayes_factor(tree, f"{parameter} = 0")
        except BayesmetaError as error:
            reasons.append(f"Bayes factor of {parameter}: {str(error).splitlines()[0]}")
            continue
        log = float(found["log_bayes_factor"])
        words = f"{np.exp(log):.3g}" if abs(log) < LARGEST else ("over 1,000,000" if log > 0 else "below 0.000001")
        rows.append((parameter, words, fixed(log, 2), fixed(float(found["probability"]), 3)))
    return rows, reasons


def _drawings(tree: xr.DataTree) -> list[Drawing]:
    """Curves and a heat map over families and scales of the prior of the SDs, where they take a moment."""
    points, spec = exact_posterior(tree), of_tree(tree)
    some = any(level.structure.n_tau(level.dim) for level in spec.levels)
    if points is None or not some or points.evaluator.dim >= ENGINES["quadrature"].most:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)  # what the posterior itself has said
        try:
            found = robustness(spec, priors=_given(tree))
        except BayesmetaError:
            return []
    coefficient = f"beta[{spec.coef[0]}]"
    return [
        Drawing(
            "Estimates over priors of the standard deviations",
            f"Posterior means and intervals of {coefficient} and of the standard deviations against the scale of four"
            " families of priors.",
            "Flat curves say that the conclusion does not hang on the prior of the SDs.",
            lambda: plots.robustness(found, parameters=[coefficient, "tau"]),
        ),
        Drawing(
            "Bayes factor of heterogeneity over priors",
            "Logarithm of the Bayes factor for heterogeneity, a cell for every family and scale of the prior.",
            "Above zero the data speak for heterogeneity, below zero against it.",
            lambda: plots.robustness(found, "log_bayes_factor_heterogeneity", kind="heatmap"),
        ),
    ]


def _given(tree: xr.DataTree) -> Priors:
    """The priors that were given, as users write them; defaults are found again."""
    known = ModelPriors.from_json(tree.attrs["priors"])
    beta = {
        label: prior
        for label, prior, free in zip(known.beta_labels, known.beta, known.beta_default, strict=True)
        if not free
    }
    rho = {
        level.name: own.rho
        for level, own in zip(of_tree(tree).levels, known.levels, strict=True)
        if own.rho is not None and not own.rho_default
    }
    return Priors(beta=beta or None, rho=rho or None)


def average_section(trees: Mapping[str, xr.DataTree], prob: float) -> list[Section]:
    """Several models of the same observations averaged; nothing where they cannot be."""
    exact = distinct_models(exact_ones(trees))
    try:
        found = average(exact, prob=prob) if len(exact) > 1 else None
    except BayesmetaError:  # other observations, or improper priors of what differs
        found = None
    if found is None:
        return []
    models = Table(
        "Models",
        ("log p(y)", "weight"),
        tuple(
            (str(name), fixed(float(one["log_marginal_likelihood"]), 2), f"{100 * float(one['weight']):.1f}%")
            for name in found["model"].values
            for one in [found.sel(model=name)]
        ),
    )
    header = ("estimate", "SD", "lower", "upper", "in the model", "inclusion Bayes factor")
    return [
        Section(
            "Average over models",
            blocks(
                paragraphs(_AVERAGED),
                models,
                Table(f"Averaged estimates and {percent(prob)} intervals", header, tuple(_averaged(found))),
            ),
        )
    ]


def _averaged(found: xr.Dataset) -> list[tuple[str, ...]]:
    rows = []
    for label in found["parameter"].values:
        one = found.sel(parameter=label)
        se, factor = float(one["se"]), float(one["inclusion_bayes_factor"])
        values = [number(float(one[name]), se) for name in ("estimate", "se", "lower", "upper")]
        share = f"{100 * float(one['inclusion_probability']):.1f}%"
        rows.append((str(label), *values, share, f"{factor:.3g}" if np.isfinite(factor) else ""))
    return rows
