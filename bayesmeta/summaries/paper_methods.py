"""The methods section of a paper in sentences: data, model, estimation or priors, intervals, and software."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bayesmeta import tree_schema as schema
from bayesmeta._validation import listing
from bayesmeta.display import remarks
from bayesmeta.display.posterior_remarks import priors
from bayesmeta.display.prose import among, counted, several, together
from bayesmeta.display.tables import percent
from bayesmeta.inference.reference import Reference
from bayesmeta.model.spec import Level
from bayesmeta.priors import empirical
from bayesmeta.priors.in_words import in_words
from bayesmeta.priors.prior import Prior
from bayesmeta.summaries import references as ref
from bayesmeta.summaries.paper_numbers import Numbers
from bayesmeta.summaries.references import Bibliography
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.specification import group

_MOST = 6  # names that a sentence lists


def methods_paragraphs(
    about: Numbers, cite: Bibliography, further: Callable[[Bibliography], str] | None = None
) -> list[str]:
    """The paragraphs, which cite in their order.

    further : makes a sentence about what else was done.
    """
    model = [_model(about, cite), *_random_part(about), _sampling(about), *_left_out(about)]
    how = [*(_posterior(about, cite) if about.bayes else _intervals(about, cite)), *_heterogeneity(about, cite)]
    how += [*_prediction(about, cite), *_scale(about), *([] if further is None else [further(cite)])]
    return [" ".join(model), " ".join([*how, _software(about)])]


def _model(about: Numbers, cite: Bibliography) -> str:
    """What was analysed, by what kind of model, and how it was fitted."""
    tree, several_outcomes = about.tree, len(about.spec.outcomes) > 1
    variation = remarks.variation(tree) if about.varies else "fixed-effects"
    kind = " ".join(word for word in ("multivariate" * several_outcomes, variation) if word)
    what = f"meta-regression (formula {remarks.formula(tree)})" if about.regression else "meta-analysis"
    what = about.spec.analysis.get("what", what)
    verb = "modelled" if about.regression else "pooled"
    return f"We {verb} {_data(about)} in a {kind} {what}{cite.cite(ref.FRAMEWORK)}{_fitted(about, cite)}."


def _data(about: Numbers) -> str:
    """As in "the log odds ratios of 13 studies", or "66 log odds ratios from 17 studies"."""
    spec, inner = about.spec, about.spec.levels[-1]
    generic = about.measure.name == "generic"
    effects = "effect estimates" if generic else about.measure.label_of_several
    n, outcomes = len(spec.y), list(spec.outcomes)
    if n == 1:
        effects = "effect estimate" if generic else about.measure.label
    named = f" of {counted(len(outcomes), 'outcome')} ({listing(outcomes, _MOST)})" if len(outcomes) > 1 else ""
    named = named or f" ({outcomes[0]})" * generic
    arms = f" ({spec.arms[0]} versus {spec.arms[1]})" if spec.arms else ""
    groups = " in ".join(counted(level.n_groups, about.kind(level.name)) for level in reversed(spec.levels))
    if n == inner.n_groups and len(outcomes) == 1:
        return f"the {effects}{named}{arms} of {groups}"
    return f"{n:,} {effects}{arms}{named} from {groups}"


def _fitted(about: Numbers, cite: Bibliography) -> str:
    """By what, and what is assumed where nothing varies between groups."""
    method, inner = about.method, about.kind(about.spec.levels[-1].name)
    source = cite.cite(method.reference)
    assumed = ""
    if not about.varies:
        same = f"all {several(inner)} share one true effect"
        assumed = f", which assumes that {'true effects differ by the predictors alone' if about.regression else same}"
    if about.bayes:
        return f", fitted by full Bayes{assumed}"
    if method.zero_psi:
        how = "by generalised least squares" if _correlated(about) else "with inverse-variance weights"
        return f", fitted {how}{assumed}{source}"
    if method.likelihood is not None or not about.varies:
        return f", fitted by {method.label}{source}{assumed}"
    many = any(level.dim > 1 for level in about.varying)
    covariance = among(inner, "covariance matrix" if many else "variance")
    return f", with the {covariance} estimated by {method.label}{source}"


def _random_part(about: Numbers) -> Iterator[str]:
    """How true effects differ between the groups of every level that varies."""
    if not about.varies:
        return
    if all(level.effects == (schema.INTERCEPT,) for level in about.varying):
        places = together([about.between(level.name) for level in about.varying])
        beyond = "Beyond what the predictors explain, true" if about.regression else "True"
        normal = "with normal distributions" if len(about.varying) > 1 else "with a normal distribution"
        yield f"{beyond} effects were assumed to vary {places} {normal}."
    else:
        yield from (_level(about, level) for level in about.varying)
    for level in about.spec.levels:
        if level.dim and not level.varies and not about.method.zero_psi:
            yield f"No variation {about.between(level.name)} was allowed for."


def _level(about: Numbers, level: Level) -> str:
    groups = several(about.kind(level.name))
    groups = groups[:1].upper() + groups[1:]
    effects = _named(level.effects)
    structure = level.structure.in_a_sentence(level.dim)
    if level.effects == about.spec.outcomes:
        place = about.between(level.name)
        return f"True effects on the {level.dim} outcomes were assumed to vary {place} normally, with {structure}."
    if level.structure.time is not None:
        return f"{groups} had a random effect at every time ({level.structure.time}), normal with {structure}."
    if level.dim == 1:
        return f"{groups} had a normally distributed random effect ({effects})."
    return f"{groups} had {level.dim} normally distributed random effects ({effects}) with {structure}."


def _named(labels: Sequence[str]) -> str:
    return together(labels) if len(labels) <= _MOST else listing(labels, _MOST)


def _correlated(about: Numbers) -> bool:
    return bool(np.any(about.spec.S.row != about.spec.S.col))


def _sampling(about: Numbers) -> str:
    known = "variances and covariances" if _correlated(about) else "variances"
    offset = f"; the offset {about.tree.attrs['offset']} was subtracted" if about.tree.attrs["offset"] else ""
    if about.spec.S_assumed:
        words = str(about.spec.S_assumed["words"])
        return f"The sampling variances were taken as known{offset}; {words}."
    return f"The sampling {known} were taken as known{offset}."


def _left_out(about: Numbers) -> Iterator[str]:
    yield from (f"{note}." for note in remarks.corrections(about.tree))
    n = len(about.spec.row_labels)
    for reason, rows in remarks.dropped_rows(about.tree).items():
        was = "was" if len(rows) == 1 else "were"
        yield f"Of {counted(n, 'row')} of data, {len(rows):,} {was} left out: {reason} ({listing(rows)})."
    possible, lacking = remarks.missing_outcomes(about.tree)
    if lacking:
        each = listing([f"{outcome} {count}" for outcome, count in lacking.items()], 12)
        missing = sum(lacking.values())
        was = "was" if missing == 1 else "were"
        yield f"Of {possible:,} outcomes, {missing:,} {was} missing ({each}) and taken as {about.method.missing}."


def _inference(used: Reference, cite: Bibliography) -> str:
    """How coefficients are tested, in words."""
    text, *sources = _INFERENCE[used.df]
    if not used.cluster:
        return f"{text}{cite.cite(*sources)}"
    own = f"are based on a covariance that is robust to correlation within {used.n_clusters} clusters ({used.cluster})"
    kind = f"{used.vcov}{cite.cite(ref.BELL_MCCAFFREY, ref.PUSTEJOVSKY_TIPTON)}"
    return f"{own}, of kind {kind}, and {_CLUSTERED[used.df]}"


_INFERENCE = {
    "z": ("are based on the normal distribution (Wald)",),
    "residual": ("are based on t distributions with observations less coefficients as degrees of freedom",),
    "containment": ("are based on t distributions with containment degrees of freedom",),
    "satterthwaite": ("are based on t distributions with Satterthwaite's degrees of freedom", ref.FAI_CORNELIUS),
    "satterthwaite-scaled": (
        "are based on t distributions with Satterthwaite's degrees of freedom and scaled standard errors",
        ref.FAI_CORNELIUS,
        ref.JACKSON_RILEY,
    ),
    "kenward-roger": ("use the covariance and degrees of freedom of Kenward and Roger", ref.KENWARD_ROGER),
    "kenward-roger-second-order": (
        "use the covariance and degrees of freedom of Kenward and Roger, with second derivatives",
        ref.KENWARD_ROGER,
    ),
    "knapp-hartung": ("use the adjustment of Knapp and Hartung", ref.KNAPP_HARTUNG),
    "knapp-hartung-adhoc": (
        "use the adjustment of Knapp and Hartung, never with smaller standard errors than without",
        ref.KNAPP_HARTUNG,
    ),
}
_CLUSTERED = {
    "z": "normal distributions",
    "residual": "t distributions with clusters less coefficients as degrees of freedom",
    "satterthwaite": "t distributions with Satterthwaite's degrees of freedom",
}


def _intervals(about: Numbers, cite: Bibliography) -> Iterator[str]:
    """Where the intervals and tests of a fit come from."""
    assert about.used is not None
    yield f"{percent(about.prob)} confidence intervals (CI) and tests of coefficients {_inference(about.used, cite)}."
    if not about.varies or not about.with_bounds:
        return
    if about.by_q_profile:
        sources = [ref.Q_PROFILE, ref.RESIDUAL_Q_PROFILE * about.regression]
        variance = among(about.kind(about.spec.levels[0].name), "variance")
        yield f"Those of the {variance} and of I² were obtained by the Q-profile method{cite.cite(*sources)}."
    else:
        yield (
            "Intervals of standard deviations between groups are symmetric on the logarithmic scale"
            f"{cite.cite(ref.PINHEIRO_BATES)}; those of variances are their squares."
        )


def _heterogeneity(about: Numbers, cite: Bibliography) -> Iterator[str]:
    """What I2, Q and R2 are, where the results have them."""
    if about.I2:
        variance = "estimated variance of true effects" if not about.bayes else "variance of true effects"
        yield (
            "I² is the percentage of variation that is not due to sampling error, from the "
            f"{variance} and the typical sampling variance{cite.cite(ref.I_SQUARED)}."
        )
    elif about.heterogeneity is not None:
        yield (
            "I² is the percentage of variation that is not due to sampling error, from Cochran's Q"
            f"{cite.cite(ref.I_SQUARED)}."
        )
    if about.heterogeneity is not None:
        what = "Residual heterogeneity" if about.regression else "Heterogeneity"
        yield f"{what} was tested by Cochran's Q{cite.cite(ref.COCHRAN)}."
    if about.explained is not None:
        yield (
            "R² is the percentage by which the predictors reduce the variance of true effects"
            f"{cite.cite(ref.R_SQUARED)}."
        )


def _prediction(about: Numbers, cite: Bibliography) -> Iterator[str]:
    if about.new_effects:
        kinds = [about.kind(level.name) for level in reversed(about.spec.levels)]
        new = " in ".join(f"a new {counted(1, kind).removeprefix('1 ')}" for kind in kinds)
        same = ", with the same degrees of freedom," if about.used is not None and about.used.df != "z" else ""
        source = cite.cite(ref.PREDICTION, ref.INTERPRETATION)
        yield f"Prediction intervals{same} are for the true effect in {new}{source}."


def _scale(about: Numbers) -> Iterator[str]:
    record = about.measure
    if not about.response:
        return
    labels = list(dict.fromkeys(about.coefficients["what"]))
    read = together([_plural(label) for label in labels])
    yield f"Effects were analysed as {record.label_of_several} and are reported as {read}."


def _plural(label: str) -> str:
    head, of, tail = label.partition(" of ")
    return f"{head}s{of}{tail}"


_ENGINES = {
    "quadrature": ("numerical quadrature", ref.TRAPEZOID),
    "importance": ("importance sampling from a mixture of t distributions", ref.MIXTURES),
}


def _posterior(about: Numbers, cite: Bibliography) -> Iterator[str]:
    """Priors, sampling, and what is reported of the draws."""
    yield _priors(about, cite)
    sizes, attrs = group(about.tree, schema.POSTERIOR).sizes, about.tree.attrs
    chains, draws = sizes[schema.CHAIN], sizes[schema.DRAW]
    if exact_marginals.is_exact(about.tree):
        how, source = _ENGINES[attrs["sampler"]]
        yield (
            f"The posterior was computed without Markov chains: random effects and coefficients were integrated out "
            f"analytically, the SDs and correlations between groups by {how}{cite.cite(source)}."
        )
        yield f"We report posterior means with equal-tailed {percent(about.prob)} credible intervals (CrI)."
        return
    tuned = f" after {int(attrs['tune']):,} for tuning" if str(attrs.get("tune", "")).isdecimal() else ""
    yield (
        f"We drew from the posterior by Hamiltonian Monte Carlo (No-U-Turn sampler{cite.cite(ref.NUTS)}, "
        f"{attrs['sampler']}), {counted(chains, 'chain')} of {counted(draws, 'draw')}{tuned}, with the random effects "
        "integrated out."
    )
    if schema.DIAGNOSTICS in about.tree.children:
        yield f"Convergence was judged by R-hat and effective sample sizes{cite.cite(ref.CHAINS)}."
    yield f"We report posterior means with equal-tailed {percent(about.prob)} credible intervals (CrI)."


def _priors(about: Numbers, cite: Bibliography) -> str:
    """Every prior once, with the parameters that have it, defaults marked, published ones cited."""
    known = priors(about.tree)
    rows: dict[tuple[str, bool], list[str]] = {}
    moved = (known.centring != np.eye(len(known.beta))).any(1)
    for label, prior, default, at in zip(known.beta_labels, known.beta, known.beta_default, moved, strict=True):
        where = " at the mean of the predictors" * bool(at)
        rows.setdefault((in_words(prior), default), []).append(f"beta[{label}]{where}")
    for level in known.levels:
        for label, prior, default in zip(level.tau_labels, level.tau, level.tau_default, strict=True):
            rows.setdefault((in_words(prior) + _published(prior, cite), default), []).append(label)
        if level.rho is not None:
            rows.setdefault((in_words(level.rho), level.rho_default), []).append(level.rho_label)
    by_default = [default for _, default in rows]
    parts = [
        f"{words} for {_named(labels)}{' (default)' * (default and not all(by_default))}"
        for (words, default), labels in rows.items()
    ]
    names = {level.rho.name for level in known.levels if level.rho is not None}
    published = about.measure.unit_information_sd is not None  # else defaults are scaled by the data
    sources = [ref.WEAK_PRIORS * (published and any(by_default)), ref.LKJ * ("LKJ" in names)]
    scaled = "" if published else ", scaled by the data"
    defaults = f"Priors were the weakly informative defaults of the package{scaled}:"
    return f"{defaults if all(by_default) else 'Priors were'} {'; '.join(parts)}{cite.cite(*sources)}."


def _published(prior: Prior, cite: Bibliography) -> str:
    """Where a prior of an SD was published, and for what; empty for priors that were not."""
    publication, setting = empirical.origin(prior.name, prior.params)
    if not publication:
        return ""
    reference = {"turner": ref.TURNER, "rhodes": ref.RHODES}[publication]
    return f" (published{f' for {setting}' * bool(setting)}{cite.cite(reference)})"


def _software(about: Numbers) -> str:
    attrs = about.tree.attrs
    others = f", {attrs['software']}" if attrs.get("software") else ""
    return f"The analysis was done in Python with bayesmeta {attrs['bayesmeta_version']}{others}."
