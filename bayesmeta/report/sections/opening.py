"""The summary at the top of the page: the result, how much studies differ, and whether the numbers can be trusted."""

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta.bayes.chains import count, worst
from bayesmeta.display import posterior_remarks, remarks
from bayesmeta.display.prior_effect import prior_effect
from bayesmeta.display.tables import fixed, number, percent, pvalue
from bayesmeta.errors import DataError
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.predict import predict
from bayesmeta.plots.style import back_transformed, effect_label, is_ratio
from bayesmeta.report.blocks import Finding
from bayesmeta.report.sections.model import of_tree, varying
from bayesmeta.report.sections.results import Trees, cell_means, pooled
from bayesmeta.tree.parameters import BETA, TAU, effects, level_structures, parameters
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import EFFECT, PER_UNIT, roles
from bayesmeta.tree.specification import group

_MOST = 3  # coefficients that a sentence names
_EQUAL = 1e-9  # relative differences of numbers that are the same


def findings(trees: Trees, prob: float) -> tuple[Finding, ...]:
    """Sentences from the numbers of one model's trees."""
    names = titles(trees)
    sentences = [
        Finding(f"{names[name]}: {effects_in_words(tree, prob)}{new_group(tree, prob)}") for name, tree in trees.items()
    ]
    for name, tree in trees.items():
        if is_posterior(tree) and (moved := prior_effect(tree, posterior_remarks.priors(tree))):
            sentences.append(Finding(f"{names[name]}: the priors {moved}."))
    sentences.append(Finding(differences(trees, prob)))
    for name, tree in trees.items():
        alarms = remarks.alarms(tree)
        sentences += [Finding(f"{names[name]}: {alarm}", False) for alarm in alarms]
        if not alarms and (success := _success(tree)):
            sentences.append(Finding(f"{names[name]}: {success}", True))
    return tuple(sentences)


def titles(trees: Trees) -> dict[str, str]:
    """The name of every tree in a sentence: its method, with its own name where several trees have the same method."""
    methods = {name: _method(tree) for name, tree in trees.items()}
    all_ = list(methods.values())
    return {name: method if all_.count(method) == 1 else f"{method}, {name}" for name, method in methods.items()}


def _method(tree: xr.DataTree) -> str:
    words = "full Bayes" if is_posterior(tree) else remarks.method(tree)
    return words[:1].upper() + words[1:]


def effects_in_words(tree: xr.DataTree, prob: float) -> str:
    """The pooled effect of every outcome, the mean effect of every category, or the coefficients of the predictors."""
    as_ratio, table = is_ratio(tree), estimates(tree, prob)
    rows, spec = table[table["kind"] == BETA], of_tree(tree)
    if as_ratio:
        rows = _as_ratios(rows, estimates(tree, prob, scale="response"))
    means = cell_means(spec)
    if not means and len(rows) > 1:
        rows = rows[[not _constant(str(term)) for term in rows["term"]]]
    interval = f"{percent(prob)} {'credible' if is_posterior(tree) else 'confidence'} interval"
    alone = means and len(rows) == 1
    effects = [
        _effect(row, "" if alone else str(row["term"]), "" if i else f"{interval} ")
        for i, (_, row) in enumerate(rows.iloc[:_MOST].iterrows())
    ]
    more = f" and {len(rows) - _MOST} more in the table of estimates" if len(rows) > _MOST else ""
    label = _small(effect_label(tree, as_ratio))
    start = f"{'pooled' if pooled(spec) else 'mean'} {label}" if means else _coefficients(tree, label, as_ratio)
    return f"{start}{' ' if alone else ': '}{'; '.join(effects)}{more}."


def _constant(term: str) -> bool:
    return term == schema.INTERCEPT or term.endswith(f".{schema.INTERCEPT}")


def _small(label: str) -> str:
    return label if label.startswith("Fisher") else label[:1].lower() + label[1:]


def _coefficients(tree: xr.DataTree, label: str, as_ratio: bool) -> str:
    if against := of_tree(tree).analysis.get("reference") if EFFECT in roles(tree).values() else None:
        return f"{label} against {against}"
    if all(role == PER_UNIT for role in roles(tree).values()):
        return f"{label} per unit of a predictor"
    change = f"factor by which the {label} changes" if as_ratio else f"change in the {label}"
    return f"{change} per unit of a predictor"


def _as_ratios(rows: pd.DataFrame, there: pd.DataFrame) -> pd.DataFrame:
    """Coefficients as ratios, of a posterior its means; where one is not read as such its exponential.

    there : all parameters on the response scale, without standard errors of what is read there.
    """
    parts = ["estimate", "lower", "upper"]
    read, bare = there.loc[rows.index], rows[parts].astype(float).apply(np.exp)
    ratios = bare.where(read["se"].notna(), read[parts])
    return rows.assign(**{part: ratios[part] for part in parts}, se=rows["se"] * bare["estimate"])


def _effect(row: pd.Series, term: str, kind: str) -> str:
    estimate, lower, upper, se = (float(row[part]) for part in ("estimate", "lower", "upper", "se"))
    interval = f" ({kind}{number(lower, se)} to {number(upper, se)})" if np.isfinite(lower) else ""
    return f"{term} " * bool(term) + number(estimate, se) + interval


def differences(trees: Trees, prob: float) -> str:
    """How much true effects differ, in one sentence."""
    first = next(iter(trees.values()))
    overall = (
        group(first, schema.HETEROGENEITY).isel({schema.OUTCOME: 0}, missing_dims="ignore")
        if schema.HETEROGENEITY in first.children
        else None
    )
    words = []
    if overall is not None and np.isfinite(float(overall["I2"])):
        p = pvalue(float(overall["pvalue"]))
        by_tau2 = "I2_tau2" in overall and np.isfinite(float(overall["I2_tau2"])) and varying(of_tree(first))
        share = "I2_tau2" if by_tau2 else "I2"
        words.append(
            f"I² {fixed(float(overall[share]), 1)}%, Q {fixed(float(overall['Q']), 1)} on {int(overall['df'])} "
            f"degrees of freedom (p {p.replace('<', '< ') if p.startswith('<') else f'= {p}'})"
        )
    for name, tree in trees.items():
        taus = _taus(tree, prob)
        if len(taus) and varying(of_tree(tree)):
            sds = [f"{_level(row)} {number(row['estimate'], row['se'])}" for _, row in taus.iloc[:_MOST].iterrows()]
            words.append(f"τ by {name}: {', '.join(sds)}{' and more' * (len(taus) > _MOST)}")
    if not varying(of_tree(first)):
        words.append("the model assumes that true effects are the same")
    return "Differences between studies: " + "; ".join(words or ["not estimated"]) + "."


def new_group(tree: xr.DataTree, prob: float) -> str:
    """A sentence with the interval of the true effect in a new group, where it is one for all; "" elsewhere."""
    spec = of_tree(tree)
    if not pooled(spec) or len(spec.outcomes) > 1 or not varying(spec):
        return ""
    try:
        row = predict(tree, pd.DataFrame(index=[0]), "prediction", prob).isel({schema.ROW: 0, schema.OUTCOME: 0})
    except DataError:
        return ""
    lower, upper = (float(back_transformed(row[part], is_ratio(tree))) for part in ("lower", "upper"))
    se = float(row["se"]) * (float(np.exp(row["mean"])) if is_ratio(tree) else 1)
    if not np.isfinite(lower):
        return ""
    return f" Effect in a new group: {number(lower, se)} to {number(upper, se)} ({percent(prob)} prediction interval)."


def _taus(tree: xr.DataTree, prob: float) -> pd.DataFrame:
    """The SDs of all levels; of effects that share one, as all comparisons of a network do, that one alone."""
    table = parameters(tree, prob)
    taus = table[table["kind"] == TAU]
    one = [level for level, own in level_structures(tree).items() if own.n_tau(len(effects(tree, level))) == 1]
    spread = taus.groupby("level")["estimate"].transform(np.ptp)
    shared = taus["level"].isin(one) & (spread <= _EQUAL * taus["estimate"])
    return taus.assign(term=taus["term"].mask(shared, "")).drop_duplicates(["level", "term"])


def _level(row: pd.Series) -> str:
    return str(row["level"]) if row["term"] in ("", schema.INTERCEPT) else f"{row['level']} ({row['term']})"


def _success(tree: xr.DataTree) -> str:
    if is_posterior(tree):
        return _chains(tree)
    if schema.OPTIMIZER not in tree.children or not group(tree, schema.OPTIMIZER).sizes[schema.FREE]:
        return ""
    at_boundary = bool(group(tree, schema.OPTIMIZER)["at_boundary"].any())
    return "the search converged" + (", at a boundary (see the notes)." if at_boundary else ".")


def _chains(tree: xr.DataTree) -> str:
    if schema.DIAGNOSTICS not in tree.children:
        return ""
    diagnosed = group(tree, schema.DIAGNOSTICS)
    ess = np.fmin(worst(diagnosed["ess_bulk"])[1], worst(diagnosed["ess_tail"])[1])
    r_hat = worst(diagnosed["r_hat"])[1]
    if np.isnan(r_hat):
        return ""
    divergences = count(int(diagnosed["divergences"]), "divergence")
    return (
        f"the chains agree (largest R-hat {fixed(r_hat, 3)}, smallest effective sample size {fixed(ess, 0)}, "
        f"{divergences})."
    )
