"""Whether a tree is a results tree: one pass over its attributes, groups, dimensions, labels and values.

The first thing that is not as the schema has it is an error that names group and variable.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesmeta import structures
from bayesmeta import tree_schema as schema
from bayesmeta._validation import listing
from bayesmeta._version import __version__
from bayesmeta.errors import BayesmetaError, SpecError
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.structures.base import NotRegisteredError, Structure
from bayesmeta.tree.fingerprint import HASHES, check_attribute_hash
from bayesmeta.tree.unread import unread

FREE_TEXT = ("formula", "random", "common", "offset", "groups", "measure", "method")
_REMEDY = "the tree was edited or damaged, or bayesmeta did not write it"
GROUPS = {  # that every reader may ask for, by what wrote the tree
    "fit": (schema.ESTIMATE, schema.CRITERIA),
    "sample": (schema.POSTERIOR, schema.DERIVED),
}
_NOT_MISSED = (  # by a summary
    *(schema.CRITERIA, schema.HETEROGENEITY, schema.OPTIMIZER, schema.DIAGNOSTICS, schema.MARGINALS),
    schema.INTEGRATION,
)
_OF_PRIOR = (schema.PRIOR, schema.PRIOR_PREDICTIVE)
_SAMPLE = (schema.CHAIN, schema.DRAW)


class Rule(NamedTuple):
    """What a variable must be: its dimensions, "number", "integer", "flag" or "text", and the range of its values.

    several : further dimensions that it may have instead.  missing : whether values may be NaN.
    variances : "positive", or "any" where they may be zero, if the diagonal of the last two dimensions holds some.
    """

    dims: tuple[str, ...]
    kind: str = "number"
    least: float = -np.inf
    most: float = np.inf
    missing: bool = False
    optional: bool = False
    several: tuple[tuple[str, ...], ...] = ()
    variances: str = ""


def missing_group(tree: xr.DataTree, name: str) -> SpecError:
    known = listing(tree.children, 20) or "none"
    return SpecError(f"no group /{name} in this tree; its groups: {known}\n  bm.fit writes other groups than bm.sample")


class About(NamedTuple):
    """What the attributes of the root say: outcomes, and the structure of every level, outer to inner."""

    outcomes: tuple[str, ...]
    levels: Mapping[str, Structure]
    posterior: bool = False


def check_attributes(tree: xr.DataTree) -> About:
    """The attributes that readers need; SpecError for the first that is missing or wrong."""
    attrs = tree.attrs
    _check_version(_text(attrs, "bayesmeta_version"))
    if (backend := _text(attrs, "backend")) not in GROUPS:
        raise problem("attribute backend", f"is {backend!r}; it must be one of {listing(GROUPS)}")
    for name in FREE_TEXT:
        _text(attrs, name)
    for name, pattern in (("data_hash", r"[0-9a-f]{64}"), ("created_at", r"\d{4}-\d\d-\d\dT.+")):
        if not re.fullmatch(pattern, _text(attrs, name)):
            raise problem(f"attribute {name}", f"is {attrs[name][:80]!r}")
    if not attrs["method"]:
        raise problem("attribute method", "is empty")
    for name in FREE_TEXT:
        kinds = dict if name == "formula" else dict | list
        if attrs[name].startswith(("{", "[")) and not _are_texts(_json(attrs, name), kinds):
            raise problem(f"attribute {name}", "is neither a formula nor a table of formulas")
    outcomes, notes, psi = (_json(attrs, name) for name in ("outcomes", "notes", "psi"))
    for name, texts in (("outcomes", outcomes), ("notes", notes)):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise problem(f"attribute {name}", "is not a list of texts")
    if not outcomes or len(set(outcomes)) < len(outcomes):
        raise problem("attribute outcomes", "names none, or one twice")
    if attrs.get("arms", "") and not _is_pair(_json(attrs, "arms")):
        raise problem("attribute arms", "is not a list of two names")
    if attrs.get("S_assumed", "") and not _is_assumption(_json(attrs, "S_assumed")):
        raise problem("attribute S_assumed", "does not say in words what was assumed")
    if attrs.get("analysis", "") and not _is_analysis(_json(attrs, "analysis")):
        raise problem("attribute analysis", "is not a table with a kind")
    if attrs.get("arm_columns", "") and not _are_columns(_json(attrs, "arm_columns")):
        raise problem("attribute arm_columns", "is not a table of pairs of columns by outcome")
    if not re.fullmatch(r"\d{1,9}", str(attrs.get(schema.FILLED, 0))):
        raise problem(f"attribute {schema.FILLED}", "is not a number of rows")
    if not isinstance(psi, dict) or not psi:
        raise problem("attribute psi", "is not a table of structures by level")
    if backend == "sample":
        _check_sampled(attrs)
    check_attribute_hash(attrs, written_hashes(tree))
    levels = {level: _structure(level, written) for level, written in psi.items()}
    return About(tuple(outcomes), levels, backend == "sample")


def _are_texts(value: Any, kinds: Any) -> bool:
    texts = value.values() if isinstance(value, dict) else value
    return isinstance(value, kinds) and all(isinstance(text, str) for text in texts)


def _is_pair(arms: object) -> bool:
    return isinstance(arms, list) and len(arms) == 2 and all(isinstance(name, str) for name in arms)


def _is_analysis(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("kind"), str)


def _are_columns(behind: object) -> bool:
    tables = behind.values() if isinstance(behind, dict) else [None]
    return all(isinstance(table, dict) and all(map(_is_pair, table.values())) for table in tables)


def _check_sampled(attrs: Mapping[Any, Any]) -> None:
    """The attributes of posteriors."""
    try:
        ModelPriors.from_json(_text(attrs, "priors"))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:  # BayesmetaError is a ValueError
        raise problem("attribute priors", f"cannot be read as priors: {error!r}"[:300]) from None
    _text(attrs, "sampler")
    if not re.fullmatch(r"\d{1,20}", _text(attrs, "seed")):
        raise problem("attribute seed", f"is {attrs['seed'][:80]!r}")


def written_hashes(tree: xr.DataTree) -> dict[str, Any]:
    """The hashes that a tree holds of itself; those before version 0.2 hold none."""
    if HASHES not in tree.attrs:
        return {}
    hashes = _json(tree.attrs, HASHES)
    if not isinstance(hashes, dict) or not all(
        isinstance(each, dict if name else str) for name, each in hashes.items()
    ):
        raise problem(f"attribute {HASHES}", "is not a table of hashes by group")
    for name in _NOT_MISSED:
        if name in hashes and name not in tree.children:
            raise missing_group(tree, name)
    return hashes


def _check_version(text: str) -> None:
    ours, theirs = (re.match(r"(\d+)\.(\d+)", version) for version in (__version__, text))
    if theirs is None:
        raise problem("attribute bayesmeta_version", f"is {text[:80]!r}, not a version")
    if ours is not None and tuple(map(int, theirs.groups())) > tuple(map(int, ours.groups())):
        raise SpecError(f"this tree was written by bayesmeta {text[:80]}, later than {__version__}\n  update bayesmeta")


def _text(attrs: Mapping[Any, Any], name: str) -> str:
    if name not in attrs:
        raise problem(f"attribute {name}", "is missing")
    if not isinstance(attrs[name], str):
        raise problem(f"attribute {name}", f"is of type {type(attrs[name]).__name__}, not text")
    return str(attrs[name])


def _json(attrs: Mapping[Any, Any], name: str) -> Any:
    text = _text(attrs, name)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise problem(f"attribute {name}", f"is not JSON: {text[:80]!r}") from None


def _structure(level: str, written: Any) -> Structure:
    if not isinstance(written, str) and not (isinstance(written, dict) and isinstance(written.get("name"), str)):
        raise problem("attribute psi", f"has no structure for level '{level}'")
    try:
        return structures.from_json(written)
    except NotRegisteredError as error:
        raise SpecError(f"psi of level '{level}': {error}") from None
    except BayesmetaError as error:
        raise problem("attribute psi", f"level '{level}': {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise problem("attribute psi", f"level '{level}' has other arguments than its structure: {error}") from None


def check_group(tree: xr.DataTree, name: str, about: About) -> None:
    """SpecError for the first variable of a group that is missing or not as its rule has it."""
    table, sizes = tree[name].to_dataset(), _sizes(tree, about)
    rules = _RULES[name](about, sizes) if name in _RULES else {}
    for variable, rule in rules.items():
        if variable in table.variables:
            _check_variable(table.variables[variable], rule, f"/{name} {variable}")
        elif not rule.optional:
            raise problem(f"/{name} {variable}", "is missing")
    for other in table.variables:
        if other not in rules and table.variables[other].dtype.kind not in "biufOUT":
            raise problem(f"/{name} {other}", f"holds {table.variables[other].dtype}, not numbers or texts")
    own = _SAMPLE if name in _OF_PRIOR else ()  # the prior has chains and draws of its own
    for dim, size in table.sizes.items():
        if (other := schema.bis(str(dim))) in table.sizes and table.sizes[other] != size:
            raise problem(f"/{name} {other}", f"has length {table.sizes[other]}, {dim} has {size}")
        if dim not in own and sizes.get(str(dim), size) != size:
            raise problem(f"/{name} {dim}", f"has length {size}, elsewhere {sizes[str(dim)]}")


def _check_variable(variable: xr.Variable, rule: Rule, where: str) -> None:
    allowed = [set(dims) for dims in (rule.dims, *rule.several)]
    if set(variable.dims) not in allowed or len(set(variable.dims)) < len(variable.dims):
        raise problem(where, f"has dimensions ({', '.join(map(str, variable.dims))}), not ({', '.join(rule.dims)})")
    kinds = {"number": "iuf", "integer": "iu", "flag": "biu", "text": "OUT"}[rule.kind]
    if variable.size and variable.dtype.kind not in kinds:  # files keep no type of texts where there are none
        raise problem(where, f"holds {variable.dtype}, not {rule.kind}s")
    if unread(variable) is not None:  # nobody can have edited what is yet to be computed
        return
    values = variable.values
    if rule.kind == "text":
        if not all(isinstance(value, str) for value in values.ravel().tolist()):
            raise problem(where, "holds something else than texts")
        return
    lacking = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if lacking.any() and not rule.missing:
        raise problem(where, f"is NaN{_position(lacking)}")
    bad = ~lacking & ~((values >= rule.least) & (values <= rule.most) & (np.abs(values) < np.inf))
    if bad.any() and not (rule.missing and rule.least == -np.inf and np.isinf(values[bad]).all()):
        low, high = (f"{edge:g}" for edge in (rule.least, rule.most))
        span = "finite" if (low, high) == ("-inf", "inf") else f"from {low} to {high}"
        raise problem(where, f"is {values[bad][0]:g}{_position(bad)}; it must be {span}")
    if rule.variances:
        diagonal = np.diagonal(variable.transpose(*rule.dims).values, axis1=-2, axis2=-1)
        wrong = (diagonal < 0) | ((diagonal == 0) & (rule.variances == "positive"))
        if wrong.any():
            raise problem(where, f"has a variance of {diagonal[wrong][0]:g} on its diagonal{_position(wrong)}")


def _position(where: np.ndarray) -> str:
    return "".join(f" at position {', '.join(map(str, at))}" for at in np.argwhere(where)[:1].tolist() if at)


def _sizes(tree: xr.DataTree, about: About) -> dict[str, int]:
    """Lengths of the dimensions that several groups share."""
    sizes = {schema.OUTCOME: len(about.outcomes)}
    for name, dims in ((schema.CONSTANT, (schema.OBS, schema.COEF)), (schema.RAW, (schema.ROW,))):
        if name not in tree.children:
            raise missing_group(tree, name)
        own = tree[name].sizes
        for dim in dims:
            if dim not in own:
                raise problem(f"/{name} {dim}", "is missing")
        sizes |= {str(dim): size for dim, size in own.items()}
        sizes |= {schema.bis(str(dim)): size for dim, size in own.items()}
    for level, structure in about.levels.items():
        for dim in (schema.effect(level), schema.group(level)):
            if dim not in sizes:
                raise problem(f"/{schema.CONSTANT} {dim}", f"is missing, which level '{level}' of psi asks for")
        d = sizes[schema.effect(level)]
        sizes[schema.pair(level)] = d * (d - 1) // 2
        structure.check(d)
    if schema.POSTERIOR in tree.children:
        sizes |= {dim: tree[schema.POSTERIOR].sizes[dim] for dim in _SAMPLE if dim in tree[schema.POSTERIOR].sizes}
    sizes.pop(schema.OUTCOME)
    return sizes


def _is_assumption(value: Any) -> bool:
    """Whether these are the words of an assumption, with the builder and its arguments where there are any."""
    if not isinstance(value, dict) or not {"words"} <= set(value) <= {"words", "builder", "arguments"}:
        return False
    known = all(isinstance(value.get(name, ""), str) for name in ("words", "builder"))
    return known and isinstance(value.get("arguments"), dict | None)


def _labels(dim: str, optional: bool = False) -> dict[str, Rule]:
    return {dim: Rule((dim,), "text", optional=optional)}


def _observed(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    return {
        "y": Rule((schema.OBS,)),
        schema.OBS: Rule((schema.OBS,), "integer", 0, sizes[schema.OBS] - 1),
        **dict.fromkeys((schema.ROW, schema.OUTCOME), Rule((schema.OBS,), "text")),
    }


def _constant(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    n, obs = sizes[schema.OBS], (schema.OBS,)
    rules = {
        schema.OBS: Rule(obs, "integer", 0, n - 1),
        **dict.fromkeys((schema.ROW, schema.OUTCOME), Rule(obs, "text")),
        **_labels(schema.COEF),
        "X": Rule((schema.OBS, schema.COEF)),
        "offset": Rule(obs),
        "row_index": Rule(obs, "integer", 0, sizes[schema.ROW] - 1),
        "outcome_index": Rule(obs, "integer", 0, len(about.outcomes) - 1),
        "S_value": Rule(("nonzero",)),
        **dict.fromkeys(("S_row", "S_col"), Rule(("nonzero",), "integer", 0, n - 1)),
    }
    for level in about.levels:
        effect, group = schema.effect(level), schema.group(level)
        rules |= _labels(effect) | _labels(group)
        rules[schema.Z(level)] = Rule((schema.OBS, effect))
        rules[schema.index(level)] = Rule(obs, "integer", 0, sizes[group] - 1)
    return rules


def _raw(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    row = (schema.ROW,)
    return {
        schema.ROW: Rule(row, "text"),
        "kept": Rule(row, "flag", 0, 1),
        "dropped": Rule(row, "text"),
        "row_name": Rule(row, "text", optional=True),
    }


def _estimate(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    coef, free = (schema.COEF, schema.bis(schema.COEF)), (schema.FREE, schema.bis(schema.FREE))
    rules = {
        **_labels(schema.COEF, optional=True),
        "beta": Rule(coef[:1]),
        "beta_se": Rule(coef[:1], least=0, missing=True),
        "beta_cov": Rule(coef, missing=True, variances="positive"),
        "xi": Rule(free[:1]),
        "xi_cov": Rule(free, missing=True),
    }
    for level in about.levels:
        effect, group = schema.effect(level), schema.group(level)
        rules |= _labels(effect, optional=True) | _labels(schema.pair(level), optional=True)
        rules[schema.psi(level)] = Rule((effect, schema.bis(effect)), variances="any")
        single, several = ((), ((effect,),)) if sizes[effect] == 1 else ((effect,), ())  # until 0.1 over it
        rules[schema.tau(level)] = Rule(single, least=0, several=several)
        rules[schema.tau2_se(level)] = Rule(single, least=0, missing=True, optional=True, several=several)
        rules[schema.rho(level)] = Rule((schema.pair(level),), least=-1 - 1e-9, most=1 + 1e-9, missing=True)
        if about.levels[level].own_parameters:
            rules[schema.rho(level)] = Rule((), least=0, most=1 + 1e-9, missing=True)
            if about.levels[level].n_tau(sizes[effect]) == 1:
                rules[schema.tau(level)] = Rule((), least=0)
                rules[schema.tau2_se(level)] = Rule((), least=0, missing=True, optional=True)
        rules[schema.b(level)] = Rule((group, effect), missing=about.levels[level].time is not None, optional=True)
        rules[schema.b_se(level)] = Rule((group, effect), least=0, missing=True, optional=True)
    return rules


def _criteria(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    if about.posterior:
        return {schema.LOG_ML: Rule(()), schema.LOG_ML_SE: Rule((), least=0)}
    counted = dict.fromkeys(("df", "df_fixed", "df_random", "nobs", "rank"), Rule((), "integer"))
    return {**dict.fromkeys(("loglik", "aic", "aicc", "bic"), Rule((), missing=True)), **counted}


def _heterogeneity(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    rules = {
        schema.OUTCOME: Rule((), "text"),
        "Q": Rule((), least=0),
        "df": Rule((), "integer"),
        "pvalue": Rule((), least=0, most=1, missing=True),
        "I2": Rule((), least=0, most=100, missing=True),
        "H2": Rule((), least=0, missing=True),
        "I2_tau2": Rule((), least=0, most=100, missing=True, optional=True),
        "H2_tau2": Rule((), least=1, missing=True, optional=True),
    }
    dim = (schema.OUTCOME,)  # until 0.1 of one outcome too
    one = len(about.outcomes) == 1
    return {name: rule._replace(several=(dim,)) if one else rule._replace(dims=dim) for name, rule in rules.items()}


def _optimizer(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    return {
        "converged": Rule((), "flag", 0, 1),
        "at_boundary": Rule((schema.FREE,), "flag", 0, 1),
        "gradient": Rule((schema.FREE,), missing=True),
        "gradient_norm": Rule((), missing=True),
        schema.MODE_LOGLIK: Rule((schema.MODE,), optional=True),
    }


def _parameters(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    rules = {**_labels(schema.COEF, optional=True), "beta": Rule((*_SAMPLE, schema.COEF))}
    for level in about.levels:
        effect, pair = schema.effect(level), schema.pair(level)
        rules[schema.tau(level)] = Rule((*_SAMPLE, effect), least=0, optional=True, several=(_SAMPLE,))
        rules[schema.rho(level)] = Rule((*_SAMPLE, pair), least=-1, most=1, optional=True, several=(_SAMPLE,))
    return rules


def _derived(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    effects = {level: schema.effect(level) for level in about.levels}
    return {
        schema.psi(level): Rule((*_SAMPLE, effect, schema.bis(effect)), variances="any")
        for level, effect in effects.items()
        if sizes[effect]
    }


def _marginals(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    """Statistics of every parameter; an SD may be infinite, and a mean not exist, where tails are heavy."""
    rules = {
        **_labels(schema.COEF),
        schema.QUANTILE: Rule((schema.QUANTILE,), least=0, most=1),
        **_statistics("beta", (schema.COEF,), optional=False, density=True),
    }
    for level in about.levels:
        effect, pair, group = schema.effect(level), schema.pair(level), schema.group(level)
        rules |= _statistics(schema.tau(level), (effect,), least=0, single=True, density=True)
        rules |= _statistics(schema.rho(level), (pair,), least=-1, most=1, single=True, density=True)
        rules |= _statistics(schema.psi(level), (effect, schema.bis(effect)))
        rules |= _statistics(schema.b(level), (group, effect))
    return rules


def _integration(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    return {
        **_labels(schema.COORDINATE),
        schema.U: Rule((schema.NODE, schema.COORDINATE)),
        schema.LOG_WEIGHT: Rule((schema.NODE,), most=0.0),
        schema.STEP: Rule((schema.COORDINATE,), least=1e-12, optional=True),
    }


def _statistics(
    name: str,
    dims: tuple[str, ...],
    least: float = -np.inf,
    most: float = np.inf,
    optional: bool = True,
    single: bool = False,
    density: bool = False,
) -> dict[str, Rule]:
    """Rules of mean, SD, quantiles and density of a variable; single : whether it may be one number."""

    def rule(before: tuple[str, ...], least: float, most: float, missing: bool = False) -> Rule:
        return Rule((*before, *dims), "number", least, most, missing, optional, ((before,) if single else ()))

    quantile, point = (schema.QUANTILE,), (schema.POINT,)
    rules = {
        f"{name}_mean": rule((), -np.inf, np.inf, missing=True),
        f"{name}_sd": rule((), -np.inf, np.inf, missing=True),
        f"{name}_quantile": rule(quantile, least, most),
    }
    densities = {
        f"{name}_grid": rule(point, least, most)._replace(optional=True),
        f"{name}_density": rule(point, 0, np.inf, missing=True)._replace(optional=True),
    }
    return {**rules, **densities} if density else rules


def _random_effects(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    return {
        schema.b(level): Rule(
            (*_SAMPLE, schema.group(level), schema.effect(level)), missing=structure.time is not None, optional=True
        )
        for level, structure in about.levels.items()
    }


def _diagnostics(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    dim = ("parameter",)
    return {
        "parameter": Rule(dim, "text"),
        **dict.fromkeys(("r_hat", "ess_bulk", "ess_tail"), Rule(dim, least=0, missing=True)),
        **dict.fromkeys(("divergences", "max_treedepth_hits"), Rule((), "integer", 0)),
    }


def _of_groups(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    return {"y": Rule((*_SAMPLE, schema.group(next(iter(about.levels)))))}


def _of_observations(about: About, sizes: Mapping[str, int]) -> dict[str, Rule]:
    return {"y": Rule((*_SAMPLE, schema.OBS))}


_RULES: Mapping[str, Callable[[About, Mapping[str, int]], dict[str, Rule]]] = {
    schema.OBSERVED: _observed,
    schema.CONSTANT: _constant,
    schema.RAW: _raw,
    schema.ESTIMATE: _estimate,
    schema.CRITERIA: _criteria,
    schema.HETEROGENEITY: _heterogeneity,
    schema.OPTIMIZER: _optimizer,
    schema.POSTERIOR: _parameters,
    schema.PRIOR: _parameters,
    schema.DERIVED: _derived,
    schema.RANDOM_EFFECTS: _random_effects,
    schema.MARGINALS: _marginals,
    schema.INTEGRATION: _integration,
    schema.DIAGNOSTICS: _diagnostics,
    schema.LOG_LIKELIHOOD: _of_groups,
    **dict.fromkeys((schema.POINTWISE, schema.POSTERIOR_PREDICTIVE, schema.NEW_GROUPS), _of_observations),
}


def problem(where: str, what: str) -> SpecError:
    return SpecError(f"{where} {what}\n  {_REMEDY}")
