"""What users of metafor, meta, bambi, brms and lme4 type, and what it is here.

Advice ends in a line to type. `{value}` in it is what the user wrote.
"""

import re
from collections.abc import Collection, Mapping

_SPECIFY: Mapping[str, str] = {  # what belongs to the data and the model: arguments of bm.specify
    **dict.fromkeys(("vi", "v", "V", "var", "variance", "variances"), "sampling variances are S={value}"),
    **dict.fromkeys(("sei", "seTE", "stderr", "sigma", "std_err"), "standard errors are se={value}"),
    **dict.fromkeys(("yi", "y", "TE", "outcome", "outcomes", "response"), 'outcomes stand in the formula: "y ~ 1"'),
    **dict.fromkeys(
        ("mods", "mod", "moderators", "covariates", "X", "predictors", "fixed"),
        'moderators stand in the formula: "y ~ x"',
    ),
    **dict.fromkeys(("slab", "studlab", "names", "study_labels", "label"), "names of the rows are labels={value}"),
    **dict.fromkeys(("struct", "structure", "cov_struct", "bscov"), "the structure between groups is psi={value}"),
    **dict.fromkeys(("sm", "effect", "effect_measure"), "the measure is measure={value}"),
    **dict.fromkeys(("study", "cluster", "group", "studyid"), 'groups with random effects are random="1 | study"'),
    **dict.fromkeys(("re", "random_effects_formula"), 'random effects are random="1 | study"'),
    **dict.fromkeys(("intercept", "intrcpt"), 'the formula says it: "y ~ 0 + x" has no intercept'),
    "exclude": "rows that are used are chosen by subset=data.year > 1950",
    **dict.fromkeys(("byvar", "subgroup"), 'subgroups stand in the formula: "y ~ 0 + C(x)"'),
    "R": "a known correlation of the groups is psi=bm.structures.KnownCorrelation(matrix)",
    "rho": "correlations within rows are S_correlation={value}, those between groups come from psi",
    "weights": "weights follow from S and the variance between studies",
    "family": "outcomes are effect estimates with known errors: S= or se=",
    "dropna": "rows that lack a value are always dropped, and the summary says which",
}
_COUNTS = 'from counts: bm.effects.odds_ratio(data, ("ai", "ci"), total=("n1i", "n2i")), then S="v"'
_MEANS = 'from means: bm.effects.mean_difference(data, ("m1i", "m2i"), ("sd1i", "sd2i"), ("n1i", "n2i")), then S="v"'
_EFFECTS: Mapping[str, str] = {
    **dict.fromkeys(("ai", "bi", "ci", "di", "n1i", "n2i", "event_e", "event_c"), _COUNTS),
    **dict.fromkeys(("m1i", "m2i", "sd1i", "sd2i", "mean_e", "mean_c"), _MEANS),
}
_ESTIMATION: Mapping[str, str] = {  # arguments of bm.fit
    **dict.fromkeys(
        ("method_tau", "estimator", "tau2_method"), "the estimator is said to bm.fit(spec, method={value})"
    ),
    **dict.fromkeys(
        ("test", "knha", "hakn", "small_sample"),
        'tests are asked of the fit: bm.summary(bm.fit(spec), df="knapp-hartung")',
    ),
    **dict.fromkeys(("control", "verbose", "maxiter", "optimizer"), "the search takes max_iterations= and tolerance="),
    **dict.fromkeys(("tau2", "sigma2", "tau_preset"), "a known value is psi=bm.structures.Fixed([[0.1]])"),
}
_SAMPLING: Mapping[str, str] = {  # arguments of bm.sample
    **dict.fromkeys(("prior",), "priors are said to bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)))"),
    **dict.fromkeys(("iter", "n_samples", "samples", "num_samples"), "draws that are kept are draws={value}"),
    **dict.fromkeys(("warmup", "burnin", "n_tune"), "draws that are not kept are tune={value}"),
    **dict.fromkeys(("cores", "n_jobs"), "chains run at the same time, as many as chains={value}"),
    **dict.fromkeys(("inference_method", "nuts_sampler", "engine"), 'the sampler is sampler="nutpie"'),
}
_ANSWERS: Mapping[str, str] = {  # what other software asks of every function
    **dict.fromkeys(("level", "conf_level", "ci", "hdi_prob", "alpha", "conf"), "intervals have prob=0.95"),
    **dict.fromkeys(
        ("transf", "atransf", "backtransf", "exp", "exponentiate"), 'the natural scale is scale="response"'
    ),
    **dict.fromkeys(("test", "ddf", "dfs"), 'tests are df="knapp-hartung" or df="kenward-roger"'),
    **dict.fromkeys(
        ("cluster", "clusters", "robust"), 'robust covariances are vcov={{"kind": "CR2", "cluster": {value}}}'
    ),
    **dict.fromkeys(("digits", "decimals"), "round what it returns, such as bm.predict(fit).round(2)"),
    **dict.fromkeys(("seed", "random_state", "rng"), "the seed is random_seed={value}"),
    **dict.fromkeys(("newmods", "newdata", "new"), 'values of the predictors are newdata={{"x": [0, 1]}}'),
    **dict.fromkeys(("filename", "file", "output", "out"), "the file is path={value}"),
}
_AXES: Mapping[str, str] = {  # arguments of the plots of other software
    **dict.fromkeys(("xlab", "xlabel"), "label the axes that it returns: ax.set_xlabel({value})"),
    **dict.fromkeys(("ylab", "ylabel"), "label the axes that it returns: ax.set_ylabel({value})"),
    **dict.fromkeys(("main", "title", "header"), "entitle the axes that it returns: ax.set_title({value})"),
    **dict.fromkeys(("xlim", "alim"), "limit the axes that it returns: ax.set_xlim({value})"),
    **dict.fromkeys(("ylim",), "limit the axes that it returns: ax.set_ylim({value})"),
    **dict.fromkeys(("at",), "put the ticks on the axes that it returns: ax.set_xticks({value})"),
    **dict.fromkeys(
        ("figsize", "size"), "the size is that of the axes: ax=matplotlib.pyplot.subplots(figsize={value})[1]"
    ),
}
_PLOT_WORDS: Mapping[str, tuple[str, ...]] = {  # parameters of plots, and what they are called elsewhere
    "labels": ("slab", "studlab", "names", "study_labels"),
    "columns": ("ilab", "leftcols", "rightcols"),
    "subgroup": ("by", "byvar", "group", "subgroups", "groups"),
    "by": ("subgroup", "mod", "group", "groups"),
    "sort": ("order", "sortvar", "sort_by"),
    "prediction": ("addpred", "predict", "pi"),
    "weights": ("showweights", "weight"),
    "limits": ("xlim", "alim"),
    "x": ("mod", "predictor", "moderator"),
    "outcome": ("outcomes",),
    "blup": ("shrinkage", "show_blup"),
}
_OWN: Mapping[str, Mapping[str, str]] = {  # of one function alone
    "bm.r_squared": {"simpler": "the fit without the moderators comes second: bm.r_squared(fit, plain)"},
    "bm.within.vcalc": {
        "sparse": "S is stored by its entries in any case: leave it out",
        "retdat": "the variables that were read are columns of your data; of the result, ask for what it assumes",
    },
    "bm.within.correlated": {"subgroup": "bm.within.imputed takes it, and rho: subgroup={value}"},
    "bm.lr_test": {"big": "the larger model comes second: bm.lr_test(small, big)"},
    "bm.specify": {
        "data": 'the data frame comes second: bm.specify("y ~ 1", data, S="v")',
        "formula": 'the formula comes first: bm.specify("y ~ 1", data, S="v")',
    },
    "bm.Priors": {
        **dict.fromkeys(("mu", "Intercept", "intercept", "fixed"), 'of the coefficients: beta=bm.Prior("Normal", ...)'),
        **dict.fromkeys(("sd", "sigma", "heterogeneity"), "of the SDs between groups: tau=bm.priors.half_normal(0.5)"),
    },
}
_NAMES: Mapping[str, str] = {  # functions of other software
    **dict.fromkeys(
        ("rma", "rma_uni", "rma_mv", "rma.mv", "metagen", "mixmeta", "meta", "lmer", "brm"),
        'bm.fit(bm.specify("y ~ x", data, S="v"))',
    ),
    **dict.fromkeys(("Model", "model"), 'bm.specify("y ~ x", data, S="v"), then bm.fit or bm.sample'),
    **dict.fromkeys(
        ("escalc", "metabin", "metacont"), 'bm.effects.escalc("OR", data, ai="ai", n1i="n1i", ci="ci", n2i="n2i")'
    ),
    **dict.fromkeys(("forest", "funnel", "caterpillar", "orchard"), "bm.plots.{name}(fit)"),
    **dict.fromkeys(("regplot", "bubble"), 'bm.plots.bubble(fit, "x")'),
    **dict.fromkeys(("anova", "lrtest"), "bm.lr_test(small, big)"),
    **dict.fromkeys(("robust", "vcovCR", "coef_test"), 'bm.summary(fit, vcov="CR2")'),
    **dict.fromkeys(("Wald_test", "waldtest", "linearHypothesis"), 'bm.wald_test(fit, contrast="x = 0")'),
    **dict.fromkeys(("emmeans", "emmprep", "contrasts"), 'bm.contrast(fit, {{"x": [0, 1]}})'),
    **dict.fromkeys(("coef", "fixef", "print", "summarize"), "bm.summary(fit)"),
    "I2": "bm.heterogeneity(fit)",
    **dict.fromkeys(("regtest", "metabias", "egger"), "bm.small_study.egger(fit)"),
    **dict.fromkeys(("ranktest", "begg"), "bm.small_study.rank(fit)"),
    **dict.fromkeys(("trimfill", "trim_and_fill"), "bm.small_study.trim_fill(fit)"),
    **dict.fromkeys(("fsn", "fail_safe_n"), 'bm.small_study.fail_safe(fit, "rosenthal")'),
    **dict.fromkeys(("reitsma", "metandi", "midas"), 'bm.fit(bm.diagnostic.specify(data, study="study"))'),
    **dict.fromkeys(("madad",), "bm.diagnostic.studies(spec)"),
    **dict.fromkeys(("madauni",), "bm.fit(bm.diagnostic.univariate(spec))"),
    **dict.fromkeys(("SummaryPts",), 'bm.diagnostic.likelihood_ratios(fit, method="distribution")'),
    **dict.fromkeys(("AUC", "auc"), "bm.diagnostic.auc(fit)"),
    **dict.fromkeys(("sroc", "mslSROC", "rsSROC"), "bm.diagnostic.sroc(fit)"),
    **dict.fromkeys(("predv_r", "predv_d"), "bm.diagnostic.predictive_values(fit, 0.1)"),
    **dict.fromkeys(("ROCellipse",), "bm.diagnostic.regions(fit)"),
    **dict.fromkeys(("hc",), "bm.small_study.henmi_copas(fit)"),
    **dict.fromkeys(("limitmeta",), "bm.small_study.limit_meta(fit)"),
    **dict.fromkeys(("permutest", "permute"), "bm.permutation_test(fit)"),
}

_TABLES: Mapping[str, Mapping[str, str]] = {
    "bm.specify": {**_SPECIFY, **_EFFECTS},
    "bm.fit": _ESTIMATION,
    "bm.sample": _SAMPLING,
}
PARAMETERS: Mapping[str, tuple[str, ...]] = {  # that belong to one step of an analysis, and are tried in others
    "bm.specify": (
        *("formula", "data", "S", "se", "random", "psi", "common", "offset", "S_correlation", "groups", "measure"),
        *("labels", "arms"),
    ),
    "bm.fit": ("method", "start", "max_iterations", "tolerance", "vc_adjust"),
    "bm.sample": ("priors", "draws", "tune", "chains", "target_accept", "sampler", "random_seed"),
}


def advice(function: str, argument: str, value: str, parameters: Collection[str]) -> str:
    """What an argument of other software is here, with the line to type; empty where nobody knows.

    function : as users write it, "bm.fit".  value : of the argument, as text.  parameters : of the function.

    >>> advice("bm.specify", "vi", "'v'", ["formula", "data", "S"])
    "sampling variances are S='v'"
    """
    for text in _candidates(function, argument, parameters):
        return text.format(value=value or "...")
    return ""


def _candidates(function: str, argument: str, parameters: Collection[str]) -> list[str]:
    """Advice from the most special table to the most general."""
    texts = [_OWN[function][argument]] if argument in _OWN.get(function, {}) else []
    if function.startswith("bm.plots."):
        words = [ours for ours, theirs in _PLOT_WORDS.items() if ours in parameters and argument in theirs]
        texts += [f"here it is {ours}={{value}}" for ours in words]
        texts += [_AXES[argument]] if argument in _AXES else []
    texts += [_TABLES[function][argument]] if argument in _TABLES.get(function, {}) else []
    texts += [_ANSWERS[argument]] if argument in _ANSWERS and _applies(_ANSWERS[argument], parameters) else []
    for home, table in _TABLES.items():
        if home != function and argument in PARAMETERS[home]:
            texts.append(f"{home} takes it: {argument}={{value}}")
        elif home != function and argument in table:
            text = table[argument]
            texts.append(text if "bm." in text else f"{home} takes it: {text}")
    return texts


def _applies(text: str, parameters: Collection[str]) -> bool:
    """Whether the function has the parameter that the advice names."""
    name = text.rpartition("=")[0].rpartition(" ")[2]
    return not name or name in parameters or "bm." in text


def function_advice(name: str) -> str:
    """What a function of other software is here, as the line to type; empty where nobody knows.

    >>> function_advice("rma")
    'bm.fit(bm.specify("y ~ x", data, S="v"))'
    """
    return _NAMES.get(name, "").format(name=name)


_LONGEST = 300  # characters of a formula that people typed
_IN_FORMULAS: tuple[tuple[str, str], ...] = (  # what formulas of other software hold, and what it is here
    (r"\b(?:as\.)?factor\(\s*([^()]+?)\s*\)", "categories are C({0})"),
    (r"\b(?:s|te|rcs|spline|splines)\(\s*([\w.]+)[^()]*\)", "a natural spline is ns({0}, df=3)"),
    (r"\|\s*(?:se|weights)\(\s*([\w.]+)[^()]*\)", 'standard errors stand beside the formula: se="{0}"'),
    (r"\(\s*([^()|]+?)\s*\|\|?\s*([^()|]+?)\s*\)", 'random effects stand beside the formula: random="{0} | {1}"'),
    (r"([^()|~+]+?)\s*\|\s*([\w./:]+)\s*$", 'random effects stand beside the formula: random="{0} | {1}"'),
    (r"\w+\$(\w+)", "a column has its name alone: {0}"),
)


def formula_advice(formula: str) -> str:
    """What a part of a formula of other software is here; empty where nobody knows.

    >>> formula_advice("y ~ 1 + (1|study)"), formula_advice("y ~ factor(x)")
    ('random effects stand beside the formula: random="1 | study"', 'categories are C(x)')
    """
    if len(formula) > _LONGEST:
        return ""
    for pattern, text in _IN_FORMULAS:
        if match := re.search(pattern, formula):
            return text.format(*(part.strip() for part in match.groups()))
    return ""
