"""One good call of every public function, as text, and the kind of every argument that is replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr

import bayesmeta as bm
from bayesmeta.tree.posterior_draws import is_posterior
from tests.hostile.effect_calls import COUNTS, OTHER_CALLS, effect_calls
from tests.hostile.effect_calls import TABLE as COUNT_TABLE
from tests.hostile.network_calls import network_calls
from tests.hostile.values import (
    AXES,
    BOOLEAN,
    FIT,
    PATH,
    PROBABILITY,
    RESULT,
    RESULTS,
    SEED,
    SPEC,
    TEXT,
    Kind,
    column,
    is_empty,
    is_fit,
    is_mapping_of,
    is_none,
    is_number,
    names,
    numbers,
    optional,
    pair,
    priors,
    real,
    spellings,
    texts,
    whole,
    words,
)


@dataclass(frozen=True)
class Call:
    """A good call.

    arguments : source of every argument.  kinds : of those that are replaced.
    slow : values that are admitted are not run, only those that must be refused.
    """

    arguments: Mapping[str, str]
    kinds: Mapping[str, Kind]
    positional: Sequence[str] = ()
    slow: bool = False
    others: Mapping[str, str] = field(default_factory=dict)

    def line(self, name: str, replaced: Mapping[str, str]) -> str:
        """The call with some arguments replaced; more than one of the same name cannot be."""
        arguments = {**self.arguments, **replaced}
        first = [arguments[each] for each in self.positional]
        rest = [f"{key}={value}" for key, value in arguments.items() if key not in self.positional]
        return f"bm.{name}({', '.join([*first, *rest])})"


COEF = ("beta[Intercept]", "beta[x]")
KNOWN = ("beta", "tau", *COEF, "tau[g, Intercept]")
MEASURES = optional(spellings(*bm.measures.MEASURES))
STRUCTURES = spellings("unstr", "diag", "id", "cs", "hcs", "ar1", "har1")
METHODS = spellings("reml", "ml", "fixed", "vc", "mm", "dl", "he", "hs", "hsk", "sj", "pm", "eb")
FORMULA = Kind(
    lambda value: isinstance(value, str) and value in ("y ~ x", "y ~ 1"), ("'y ~'", "'~ x'", "['y ~ x']", "{}")
)
EVERY_ROW = Kind(lambda value: False)  # what is admitted is the business of test_data
NOTHING = Kind(lambda value: value is None)  # of arguments that belong to another one
TABLE = Kind(lambda value: isinstance(value, pd.DataFrame) and {"y", "v", "x", "g"} <= set(value.columns))


def is_powers(value: object) -> bool:
    """Whether these are positive numbers."""
    listed = value.tolist() if isinstance(value, np.ndarray | pd.Series | pd.Index) else value
    plain = isinstance(listed, list | tuple) and bool(listed)
    return plain and all(is_number(each) and np.isfinite(each) and each > 0 for each in listed)


def is_a_posterior(value: object) -> bool:
    return isinstance(value, xr.DataTree) and is_posterior(value)


def is_a_dose_response(value: object) -> bool:
    """Whether this is a results tree of a model of `bm.dose_response`."""
    return isinstance(value, xr.DataTree) and '"dose_response"' in value.attrs.get("analysis", "")


def is_long(value: object) -> bool:
    """A path so long that its error is long, too."""
    return isinstance(value, str) and len(value) > 4096


def are_numbers(values: object) -> bool:
    """Of new data, a missing one included: its prediction is missing."""
    return all(each is None or is_number(each) for each in (values if isinstance(values, list) else [values]))


def are_finite(values: object) -> bool:
    """Of values to compare: at least one, and none missing."""
    listed = list(values) if isinstance(values, list | tuple | np.ndarray | pd.Series) else [values]
    return bool(listed) and all(is_number(each) for each in listed)


def are_doses(values: object) -> bool:
    """One number, or several in a row."""
    if isinstance(values, np.ndarray | pd.Series | xr.DataArray):
        values = np.asarray(values).tolist()
    listed = list(values) if isinstance(values, list | tuple | range) else [values]
    return bool(listed) and all(map(is_number, listed))


def in_its_order(values: object) -> str:
    """The same doses as a list, in the order of the answer, which labels of rows do not bind."""
    return repr(np.asarray(values).tolist()) if isinstance(values, np.ndarray | pd.Series) else ""


def are_shares_of_two(value: object) -> bool:
    """Prior probabilities of two models, of which only the proportions matter."""
    listed = value.tolist() if isinstance(value, np.ndarray | pd.Series) else value
    two = (
        isinstance(listed, list | tuple) and len(listed) == 2 and all(is_number(each) and each >= 0 for each in listed)
    )
    return two and sum(listed) > 0


def are_two_arms(value: object) -> bool:
    """None, or two columns of counts by their names."""
    return value is None or (isinstance(value, list | tuple | pd.Series) and list(value) == ["a", "b"])


def are_cells(values: object) -> bool:
    """Numbers in any arrangement."""
    arrays = np.ndarray | pd.Series | pd.DataFrame | xr.DataArray | list | tuple
    cells = np.asarray(values, dtype=object).ravel() if isinstance(values, arrays) else []
    return len(cells) > 0 and all(map(is_number, cells))


def are_columns(value: object) -> bool:
    """Beside the labels of a forest plot: names, under headings or not, or a data frame."""
    if isinstance(value, pd.DataFrame):
        return set(value.index) in (set(range(10)), set())
    if isinstance(value, Mapping):
        return all(isinstance(each, str | Mapping) and are_columns(each) for each in value.values())
    one = value in ("y", "v", "x", "g", "f") if isinstance(value, str) else False
    return one or (isinstance(value, list | tuple) and (not value or names("y", "v", "x", "g", "f").admits(value)))


def is_increasing(value: object) -> bool:
    """Whether these are times in order."""
    if isinstance(value, np.ndarray | pd.Series | xr.DataArray):
        value = np.asarray(value).tolist()
    listed = list(value) if isinstance(value, list | tuple | range) else []
    return bool(listed) and all(map(is_number, listed)) and all(a < b for a, b in pairwise(listed))


# two coefficients, as the outcomes of SPEC2 are
COVARIANCES = "bm.predict(T2, {'x': [0, 1]}, covariance='joint')"
PARABOLA = "lambda x: np.stack([x, x**2], 1)"
COVARIANCE_KIND = Kind(
    lambda value: isinstance(value, bool | np.bool_) or (isinstance(value, str) and value == "joint"),
    ("'yes'", "'JOINT'", "np.array(True)", "['joint']"),
)
PREDICTED = Kind(lambda value: False, ("bm.predict(T2, {'x': 0})", "T2", "T2['estimate'].to_dataset()", "bm.blup(T2)"))


def are_two_labels(value: object) -> bool:
    listed = isinstance(value, Sequence | np.ndarray | pd.Series | pd.Index) and not isinstance(value, str | bytes)
    if not listed or getattr(value, "ndim", 1) != 1 or len(value) != 2:
        return False
    return all(isinstance(each, str) or is_number(each) for each in value) and len(set(value)) == 2


def is_interval(value: object) -> bool:
    sequence = isinstance(value, list | tuple | np.ndarray | pd.Series) and getattr(value, "ndim", 1) == 1
    listed = list(value) if sequence else []
    return len(listed) == 2 and all(map(is_number, listed)) and listed[0] <= listed[1]


BACKEND = optional(words("loky", "threading"))
JOBS = Kind(lambda value: whole(1, 10**4).admits(value) or whole(-1, -1).admits(value), ("0", "-2", "1.0"))
BY_ROW = Kind(
    lambda value: (
        value is None
        or (isinstance(value, str) and value in ("y", "x", "g"))
        or (isinstance(value, pd.Series) and set(value.index) == set(range(10)))
    )
)
BY_GROUPS = Kind(  # of at least three groups, two of which remain
    lambda value: BY_ROW.admits(value) and not (isinstance(value, pd.Series) and value.nunique(dropna=False) < 3),
    BY_ROW.own,
)
LABELLED = optional(words("outliers", "all"))
AT = Kind(
    lambda value: (
        value is None or (isinstance(value, Mapping) and all(k == "x" and is_number(v) for k, v in value.items()))
    ),
    ("{'x': None}", "{'x': [1]}", "{'x': '1'}", "{'x': True}", "{'zz': 1}", "{1: 1}"),
)
SEVERAL_FITS = Kind(is_fit, ("T2", "NULL", "SPEC"))
UNUSED_COLUMNS = ("np", "D")
NONE = Kind(lambda value: value is None)  # of arguments that need others beside them
COLUMNS = (*"yvxgf", "y2", "v2")
TIME = column("x", "y", "v", "y2", "v2")
CORRELATION = Kind(real(-1, 1).admits, ("[0.5, 0.5]", "{'a': 0.5}", "'f'", "1", "-1", "np.eye(2)"))

SANDWICHES = ("model", "CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3")


def is_vcov(value: object) -> bool:
    """A kind, or a dict of a kind and a column of clusters."""
    if isinstance(value, Mapping):
        known = set(value) <= {"kind", "cluster"} and value.get("cluster") in (None, "g")
        return known and value.get("kind") in SANDWICHES[1:]
    return value is None or (isinstance(value, str) and value in SANDWICHES)


def has_predictors(value: object) -> bool:
    """A fit with several coefficients beside an intercept."""
    return is_fit(value) and value["estimate"].sizes["coef"] > 2  # type: ignore[index]


def is_beside_rows(value: object) -> bool:
    """Further columns of the ten rows; a named series is a column."""
    column = isinstance(value, pd.Series) and value.name is not None
    frame = isinstance(value, pd.DataFrame) and "x" in value
    return (column or frame) and len(value) == 10


def is_contrast(value: object) -> bool:
    """Two weights, in numbers, of coefficients by name, or in words; or a list of these."""
    if isinstance(value, list) and value and not any(map(is_number, value)):
        return all(each is not None and is_contrast(each) for each in value)
    if isinstance(value, Mapping):
        return bool(value) and set(value) <= {"x", "Intercept"} and all(map(is_number, value.values()))
    if isinstance(value, str):
        return value in ("x = 0", "x - Intercept", "Intercept", "x")
    return value is None or numbers((2,), (1, 2)).admits(value)


VCOV = Kind(
    is_vcov, ("'HC3'", "{'kind': 'CR2', 'cluster': 'zz'}", "{'kind': 'CR2', 'cluster': 3}", "{'cluster': 'g'}", "{}")
)
DF = optional(
    words(
        "z",
        "residual",
        "containment",
        "satterthwaite",
        "satterthwaite-scaled",
        "kenward-roger",
        "kenward-roger-second-order",
        "knapp-hartung",
    )
)
_TESTED = {"vcov": VCOV, "df": DF}
_TREE = {"tree": "T"}
POSTERIOR = Kind(
    lambda value: isinstance(value, xr.DataTree) and is_posterior(value), ("T", "SPEC", "[POST]", "{}", "None")
)
WHOLE = optional(whole(1))


def positive(value: object) -> bool:
    return is_number(value) and value > 0


def is_list(value: object) -> bool:
    return isinstance(value, list | tuple | range | np.ndarray | pd.Series) and getattr(value, "ndim", 1) == 1


_FIT = {"tree": FIT, "prob": PROBABILITY}
_PLOT = {"tree": RESULT, "ax": AXES, "scale": optional(words("model")), "prob": PROBABILITY}
_SAMPLER = {
    "draws": whole(1),
    "tune": optional(whole(1)),
    "chains": optional(whole(1)),
    "random_seed": Kind(lambda value: value is None or whole(0).admits(value), SEED.own),
    "sampler": words("auto", "quadrature", "nutpie", "pymc", "numpyro"),
    "target_accept": optional(PROBABILITY),
    "progress": optional(BOOLEAN),
}
_DOSES = {
    "data": Kind(lambda value: False),
    "y": column("logrr"),
    "cases": column("cases"),
    "n": column("peryears"),
    "type": words("type", "ir", "ci", "cc"),
    "group": column("id"),
    "se": Kind(lambda value: value in ("se",) if isinstance(value, str) else False, ("'s'", "['se']")),
}
_DOSE_CALL = Call(
    {
        "data": "AL",
        "y": "'logrr'",
        "cases": "'cases'",
        "n": "'peryears'",
        "type": "'type'",
        "group": "'id'",
        "se": "'se'",
    },
    _DOSES,
)
_OF_DOSES = Kind(is_a_dose_response, ("T", "POST", "SPEC", "AL"))
_CURVE_TREE = {"tree": "DR"}
_COHORTS = {
    "data": "AL",
    "study": "'id'",
    "cases": "'cases'",
    "person_years": "'peryears'",
    "y": "'logrr'",
    "se": "'se'",
}
_MATRIX = Call({"matrix": "[[1.0]]"}, {"matrix": numbers((1, 1), (2, 2), (0, 0), (0,))}, ("matrix",))
_ARMS = {"data": "E", "group": "'t'"}
_TIMES = Call(
    {"time": "'x'"},
    {
        "time": Kind(lambda value: value is None or (isinstance(value, str) and value.strip() != "")),
        "positions": Kind(
            lambda value: value is None or is_increasing(value),
            ("[1, 1]", "[2, 1]", "['a', 'b']", "[0, 1e9]", "[[1, 2]]", "[1, np.nan]"),
        ),
    },
    slow=True,
)
_SCALE = Call({"scale": "0.5"}, {"scale": real(0)})
_SAMPLES = {"spec": SPEC, **_SAMPLER}

_ALONE = {"tree": "ALONE"}  # independent effects without predictors
_FUNNEL = {
    "tree": Kind(
        lambda value: is_fit(value) and value.attrs["random"] == "" and value.attrs["formula"] == "y ~ 1",
        ("T", "T2", "POST", "SPEC", "ALONE['estimate']"),
    ),
    "prob": PROBABILITY,
}
_OF_ONE = {**_FUNNEL, "outcome": optional(words("y"))}
_LINE = {**_OF_ONE, "model": optional(words("mixed")), **_TESTED}
_MIXED = {**_ALONE, "model": "'mixed'"}
_FROM_COUNTS = Call(
    {**_ALONE, "events": "('e', 'c')", "total": "('n', 'm')"},
    {**_OF_ONE, "events": pair("e", "c"), "total": pair("n", "m")},
)


def is_accuracy(value: object) -> bool:
    return is_fit(value) and "diagnostic" in value.attrs["analysis"]  # type: ignore[attr-defined]


def is_range(value: object) -> bool:
    """Two proportions, the smaller one first."""
    listed = list(value) if isinstance(value, list | tuple | np.ndarray) and getattr(value, "ndim", 1) == 1 else []
    return len(listed) == 2 and all(map(is_number, listed)) and 0 < listed[0] < listed[1] < 1


def is_alpha(value: object) -> bool:
    """Two numbers from 0 to 2."""
    listed = (
        list(value)
        if isinstance(value, list | tuple | np.ndarray | pd.Series) and getattr(value, "ndim", 1) == 1
        else []
    )
    return len(listed) == 2 and all(is_number(each) and 0 <= each <= 2 for each in listed)


def are_proportions(value: object) -> bool:
    if isinstance(value, list | tuple | np.ndarray | pd.Series | xr.DataArray | range):
        listed = np.asarray(value, dtype=object).tolist()
        return isinstance(listed, list) and bool(listed) and all(is_number(each) and 0 < each < 1 for each in listed)
    return is_number(value) and 0 < value < 1  # type: ignore[operator]


_ACCURACY = Kind(is_accuracy, ("T", "POST", "ACC['estimate']", "[ACC]"))
_ASKED = {"tree": "ACC"}
_NEW = optional(Kind(is_empty, ("{}", "{'tp': 1}", "A")))
_ANSWERED = {"tree": _ACCURACY, "newdata": _NEW, "prob": PROBABILITY, **_TESTED}
_PICTURED = {
    "trees": Kind(
        lambda value: is_accuracy(value) or is_mapping_of(is_accuracy)(value), ("{'a': ACC}", "{'a': T}", "{}")
    ),
    "ax": AXES,
    "newdata": _NEW,
    "prob": PROBABILITY,
    **_TESTED,
}
_CURVE = Kind(
    lambda value: isinstance(value, str) and value in bm.diagnostic.curves.SLOPES, ("'eta-xi'", "'roc'", "['eta-xi']")
)
_CELL = column("tp", "fp", "fn", "tn")
_SINGLE = words("dor", "positive", "negative")

CALLS: dict[str, Call] = {
    "diagnostic.specify": Call(
        {"data": "A", "study": "'s'"},
        {
            "data": Kind(lambda value: isinstance(value, pd.DataFrame) and {"tp", "s"} <= set(value.columns)),
            **dict.fromkeys(("tp", "fp", "fn", "tn"), _CELL),
            "study": optional(column("s", "tp", "fp", "fn", "tn")),
            "formula": Kind(
                lambda value: (
                    (isinstance(value, str) and value in ("1", "~ 1"))
                    or is_empty(value)  # an outcome that is left out has no predictors
                    or (isinstance(value, Mapping) and dict(value) == {"sensitivity": "1"})
                ),
                ("'1'", "'~ 1'", "{'sensitivity': '1'}", "{'sensitivity': 1}", "'y ~ 1'", "'tp +'"),
            ),
            "correction": optional(words("single", "all", "none")),
            "add": real(0),
            "link": Kind(
                lambda value: (isinstance(value, str) and value in ("logit", "probit", "cloglog")) or is_alpha(value),
                ("(1, 1)", "[0.5, 1.5]", "(1, 3)", "('logit', 'logit')", "'LOGIT'"),
            ),
        },
    ),
    "diagnostic.summary_point": Call(_ASKED, _ANSWERED),
    "diagnostic.likelihood_ratios": Call(_ASKED, {**_ANSWERED, "method": words("delta", "distribution")}),
    "diagnostic.hsroc": Call(_ASKED, _ANSWERED),
    "diagnostic.predictive_values": Call(
        {**_ASKED, "prevalence": "0.2"},
        {**_ANSWERED, "prevalence": Kind(are_proportions), "prevalence_sd": optional(real(0, 0.4))},
    ),
    "diagnostic.sroc": Call(_ASKED, {**_ANSWERED, "kind": _CURVE, "fpr": optional(Kind(are_proportions))}),
    "diagnostic.auc": Call(
        _ASKED, {**_ANSWERED, "kind": _CURVE, "within": optional(Kind(is_range, ("(0.1, 0.3)", "(0.3, 0.1)")))}
    ),
    "diagnostic.regions": Call(
        _ASKED,
        {**_ANSWERED, "region": optional(words("confidence", "prediction")), "shape": optional(words("ellipse"))},
    ),
    "diagnostic.studies": Call({"source": "ACC"}, {"source": _ACCURACY, "prob": PROBABILITY, "corrected": BOOLEAN}),
    "diagnostic.univariate": Call({"source": "ACC"}, {"source": _ACCURACY, "measure": _SINGLE}),
    "plots.sroc": Call(
        {"trees": "ACC"},
        {
            **_PICTURED,
            "kind": optional(_CURVE),
            "studies": optional(words("circles", "crosshairs")),
            "region": optional(words("both", "confidence", "prediction")),
            "extrapolate": BOOLEAN,
            "label": optional(words("all", "outliers")),
        },
    ),
    "plots.likelihood_ratios": Call({"trees": "ACC"}, _PICTURED),
    "plots.predictive_values": Call(
        {"trees": "ACC"}, {**_PICTURED, "prevalence": Kind(is_range, ("(0.1, 0.3)", "(0.3, 0.1)", "(0, 1)"))}
    ),
    "plots.accuracy_forest": Call(
        _ASKED,
        {"tree": _ACCURACY, "axes": AXES, "sort": optional(words("sensitivity", "specificity")), "prob": PROBABILITY},
    ),
    "plots.fagan": Call(
        {**_ASKED, "prevalence": "0.2"},
        {"tree": _ACCURACY, "prevalence": PROBABILITY, "ax": AXES, "prob": PROBABILITY, "newdata": _NEW, **_TESTED},
    ),
    "small_study.egger": Call(
        {**_MIXED, "predictor": "'n'", "n": "'m'"},
        {**_LINE, "predictor": words("n", "inverse_n"), "n": column("n", "m")},
    ),
    "small_study.egger_joint": Call(
        {"tree": "T2"},
        {"tree": Kind(lambda value: is_fit(value) and len(value.attrs) > 0, ("T", "POST", "SPEC")), **_TESTED},
    ),
    "small_study.pustejovsky_rodgers": Call({**_MIXED, "n": "('n', 'm')"}, {**_LINE, "n": pair("n", "m")}),
    "small_study.peters": _FROM_COUNTS,
    "small_study.harbord": _FROM_COUNTS,
    "small_study.arcsine": Call(
        _FROM_COUNTS.arguments, {**_FROM_COUNTS.kinds, "model": words("mixed", "ols"), "df": DF}
    ),
    "small_study.macaskill": Call({**_ALONE, "n": "'m'"}, _OF_ONE),
    "small_study.deeks": Call({**_ALONE, "n": "('n', 'm')"}, {**_OF_ONE, "n": pair("n", "m")}),
    "small_study.rank": Call(_ALONE, {"tree": _FUNNEL["tree"], "outcome": optional(words("y"))}),
    "small_study.trim_fill": Call(
        _ALONE, {**_FUNNEL, "side": optional(words("left", "right")), "estimator": words("L0", "R0"), "df": DF}
    ),
    "small_study.filled": Call(_ALONE, {"tree": _FUNNEL["tree"], "side": optional(words("left", "right"))}),
    "small_study.fail_safe": Call(
        {**_ALONE, "kind": "'orwin'", "target": "0.1"},
        {
            "tree": _FUNNEL["tree"],
            "kind": words("orwin", "general"),
            "alpha": PROBABILITY,
            "target": optional(real()),
            "outcome": optional(words("y")),
        },
    ),
    "small_study.henmi_copas": Call(_ALONE, _OF_ONE),
    "small_study.limit_meta": Call(_ALONE, _FUNNEL),
    "small_study.pet": Call(_MIXED, _LINE),
    "small_study.peese": Call(_MIXED, _LINE),
    "small_study.pet_peese": Call(_MIXED, {**_LINE, "alpha": PROBABILITY}),
    "permutation_test": Call(
        {"tree": "T", "draws": "20"},
        {
            "tree": Kind(lambda value: is_fit(value) and value.attrs["formula"] == "y ~ x", ("POST", "SPEC")),
            "terms": optional(names("x")),
            "draws": whole(1),
            "statistic": words("wald"),
            "random_seed": SEED,
            "n_jobs": JOBS,
            "progress": BOOLEAN,
        },
        slow=True,
    ),
    "specify": Call(
        {"formula": "'y ~ x'", "data": "D", "S": "'v'", "random": "'1 | g'"},
        {
            "formula": FORMULA,
            "data": TABLE,
            "S": Kind(
                lambda value: value in ("v", "v2") if isinstance(value, str) else False, ("['v', 'v2']", "{'a': 1}")
            ),
            "random": Kind(
                lambda value: value is None or (isinstance(value, str) and value in ("1 | g", "1 | f")), ("'g'",)
            ),
            "psi": STRUCTURES,
            "common": Kind(is_none, ("'x + f'", "'1'", "['x']")),
            "offset": Kind(  # also that of a predictor, or of the variances: a number in every row
                lambda value: value is None or words("x", "v", "y").admits(value),
                ("'g'", "['x']", "D.g", "np.ones(9)", "['1'] * 10", "[True] * 10"),
            ),
            "S_correlation": Kind(is_none),
            "groups": Kind(is_none, ("'g'", "['g']", "D.g")),
            "measure": MEASURES,
            "partitions": optional(whole(1, 10**5)) if find_spec("distributed") else Kind(is_none),
            "subset": Kind(is_none, ("'x'", "'nothing'", "[True]", "np.zeros(10, bool)", "'y'", "D.x")),
        },
    ),
    "fit": Call(
        {"spec": "SPEC"},
        {
            "spec": SPEC,
            "method": METHODS,
            "start": optional(numbers((1,), positive=True)),
            "max_iterations": optional(whole(1)),
            "tolerance": optional(real(0, 1)),
            "verbose": optional(Kind(lambda value: isinstance(value, bool | np.bool_))),
            "vc_adjust": Kind(is_none, BOOLEAN.own),
            "random_effects": optional(BOOLEAN),
        },
    ),
    "fit_many": Call(
        {"spec": "ONE", "Y": "Y"},
        {
            "spec": Kind(lambda value: isinstance(value, bm.Spec)),
            "Y": numbers((3, 10, 1)),
            "S": Kind(
                lambda value: value is None or numbers((3, 10, 1, 1)).admits(value),
                ("S", "-S", "S > 0", "S + 1j", "S * np.nan"),
            ),
            "method": METHODS,
            "start": optional(numbers((1,), positive=True)),
            "df": optional(words("z", "residual", "knapp-hartung", "knapp-hartung-adhoc")),
            "prob": PROBABILITY,
            "n_jobs": JOBS,
            "backend": BACKEND,
            "progress": BOOLEAN,
        },
    ),
    "simulate": Call(
        {"spec_or_tree": "SPEC", "n": "2", "random_seed": "1", "beta": "[0.1, 0.2]", "psi": "0.3"},
        {
            "spec_or_tree": Kind(lambda value: isinstance(value, bm.Spec) or RESULT.admits(value)),
            "n": whole(1),
            "random_seed": SEED,
            "beta": numbers((2,)),
            "psi": Kind(
                lambda value: (
                    numbers((), (1, 1), positive=True).admits(value)
                    or (
                        isinstance(value, Mapping)
                        and list(value) == ["g"]
                        and numbers((), (1, 1), positive=True).admits(value["g"])
                    )
                ),
                ("{'g': 0.1}", "{'g': -1}", "{'zz': 1}", "[['1']]", "[[True]]", "True", "{'g': None}"),
            ),
            "n_jobs": JOBS,
            "backend": BACKEND,
            "progress": BOOLEAN,
        },
    ),
    "summary": Call(_TREE, {**_FIT, "tree": RESULT, "components": words("sd", "variance"), **_TESTED}),
    "methods_text": Call(
        _TREE,
        {
            **_FIT,
            "tree": RESULT,
            "scale": optional(words("model")),
            "small_study": Kind(lambda value: value is None, ("T", "3", "['egger']", "xr.Dataset()", "[None]")),
            **_TESTED,
        },
    ),
    "estimates": Call(_TREE, {**_FIT, "tree": RESULT, "scale": optional(words("model")), **_TESTED}),
    "bayes_factor": Call(
        {"a": "POST", "b": "'x = 0'"},
        {
            "a": Kind(
                lambda value: isinstance(value, xr.DataTree) and is_posterior(value), ("T", "SPEC", "[POST]", "{}")
            ),
            "b": Kind(
                lambda value: (
                    value in ("x = 0", "tau[g] = 0", "tau = 0", "beta[x] = 0")
                    if isinstance(value, str)
                    else is_a_posterior(value)
                ),
                ("'x'", "'tau[g]'", "'tau[g] = 1'", "'tau[zz] = 0'", "'x = y'", "[]", "['x = 0', 3]", "'rho = 0'", "T"),
            ),
        },
    ),
    "average": Call(
        {"models": "{'a': POST, 'b': POST}"},
        {
            "models": Kind(
                lambda value: False,
                ("POST", "[POST, POST]", "{'a': POST}", "{'a': POST, 'b': T}", "{'': POST, 1: POST}"),
            ),
            "weights": Kind(
                lambda value: (isinstance(value, str) and value == "posterior") or are_shares_of_two(value),
                ("[1]", "[1, -1]", "[0, 0]", "['a', 'b']", "{'a': 1}", "[1, np.nan]", "'best'", "[True, False]"),
            ),
            "prob": PROBABILITY,
        },
    ),
    "model_set": Call(
        {"spec": "SPEC", "terms": "['1', 'x']"},
        {
            "spec": SPEC,
            "terms": Kind(
                lambda value: is_list(value) and list(value) == ["x"],
                ("[]", "'x'", "[1]", "['zz']", "['1', '1']", "[None]", "{'x': 1}"),
            ),
            "psi": Kind(
                lambda value: value is None, ("'diag'", "['zz']", "[3]", "['unstr']", "[{'zz': 'diag'}]", "[]")
            ),
        },
    ),
    "wald_test": Call(
        _TREE,
        {
            **_FIT,
            "terms": optional(names("x", "Intercept", "1")),
            "contrast": Kind(
                is_contrast, ("'x = '", "'x * x'", "[1, 2, 3]", "{'zz': 1}", "{'x': '1'}", "[[1, 0], [2, 0]]")
            ),
            "bootstrap": optional(words("wild", "rademacher", "webb")),
            "draws": NOTHING,
            "random_seed": NOTHING,
            **_TESTED,
        },
    ),
    "contrast": Call(
        {"tree": "T", "at": "{'x': [0, 1]}"},
        {
            **_FIT,
            "at": Kind(
                lambda value: isinstance(value, Mapping) and list(value) == ["x"] and are_finite(value["x"]),
                ("{'x': None}", "{'x': []}", "{'x': ['a']}", "{'x': [True]}", "{'x': [1, np.inf]}", "{'zz': 1}", "{}"),
            ),
            "by": optional(words("x")),
            "scale": optional(words("model")),
            "adjust": words("none", "holm", "single-step"),
            **_TESTED,
        },
    ),
    "table": Call(
        {"source": "T"},
        {
            "of": optional(words("studies", "summary", "heterogeneity")),
            "columns": Kind(
                lambda value: (
                    value is None
                    or (isinstance(value, list | tuple | Mapping | pd.Series) and len(value) == 0)
                    or (isinstance(value, np.ndarray) and value.size == 0)
                    or names("y", "v", "x", "g", "f").admits(value)
                )
            ),
            "prob": optional(PROBABILITY),
            "scale": optional(words("model")),
            "caption": Kind(lambda value: value is None or isinstance(value, str)),
        },
    ),
    "exceedance": Call(
        {"tree": "T", "below": "0", "newdata": "{'x': 1}"},
        {"tree": RESULT, "below": real(), "prob": PROBABILITY, **_TESTED},
    ),
    "confint": Call(
        _TREE,
        {
            **_FIT,
            "tree": RESULT,
            "method": words("wald", "qprofile", "profile"),
            "parameters": optional(names(*KNOWN)),
            **_TESTED,
        },
    ),
    "profile": Call(
        {"tree": "T", "points": "3"},
        {
            **_FIT,
            "parameters": optional(names("tau", "tau2", "tau[g, Intercept]", "tau2[g, Intercept]")),
            "points": whole(2, 100),
            "backend": BACKEND,
            "progress": BOOLEAN,
        },
    ),
    "bootstrap": Call(
        {"tree": "T", "n": "5", "random_seed": "1"},
        {
            **_FIT,
            "n": whole(2, 100),
            "random_seed": SEED,
            "kind": words("parametric", "groups"),
            "intervals": names("percentile", "basic", "bca"),
            "n_jobs": JOBS,
            "backend": BACKEND,
            "progress": BOOLEAN,
        },
    ),
    "compare": Call(
        {"tree": "T"}, {"tree": RESULTS, "names": optional(texts(1)), "prob": PROBABILITY, **_TESTED}, ("tree",)
    ),
    "predict": Call(
        _TREE,
        {
            **_FIT,
            "tree": RESULT,
            "covariance": COVARIANCE_KIND,
            "newdata": Kind(
                lambda value: (
                    value is None
                    or (isinstance(value, pd.DataFrame) and "x" in value)
                    or (isinstance(value, Mapping) and list(value) == ["x"] and are_numbers(value["x"]))
                ),
                (
                    "{'x': '1'}",
                    "{'x': [1, None]}",
                    "{'x': [True, 'a']}",
                    "{'x': 1j}",
                    "{'y': 1}",
                    "{'x': [1, 2], 'z': [1]}",
                ),
            ),
            "interval": optional(words("confidence", "prediction")),
            "level": optional(words("g")),
            "draws": NOTHING,
            "random_seed": NOTHING,
            **_TESTED,
        },
    ),
    "blup": Call(
        _TREE,
        {
            **_FIT,
            "tree": RESULT,
            "covariance": COVARIANCE_KIND,
            "newdata": Kind(
                lambda value: value is None or (isinstance(value, Mapping | pd.DataFrame) and set(value) >= {"x", "g"}),
                ("{'x': 1}", "{'g': 'a'}", "{'g': 'nowhere', 'x': 1}", "{'g': [], 'x': []}", "{}", "3"),
            ),
            "level": optional(words("g")),
            "kind": words("outcome", "residual"),
            "se": words("exact", "paper"),
        },
    ),
    "ranef": Call(_TREE, {**_FIT, "tree": RESULT}),
    "heterogeneity": Call(_TREE, {"tree": RESULT}),
    "variance_partition": Call(_TREE, {"tree": RESULT}),
    "r_squared": Call({"tree": "T", "simpler": "NULL"}, {"tree": SEVERAL_FITS, "simpler": optional(SEVERAL_FITS)}),
    "lr_test": Call(
        {"small": "NULL", "big": "TML"},
        {
            "small": SEVERAL_FITS,
            "big": SEVERAL_FITS,
            "nested": BOOLEAN,
            "reference": words("auto", "bootstrap"),
            "bootstrap": whole(0, 10**7),
            "random_seed": SEED,
        },
    ),
    "basis": Call(
        {"formula": "'ns(x, df=2)'", "data": "D"},
        {
            "formula": Kind(
                lambda value: isinstance(value, str) and value in ("x", "v", "y", "1"),
                ("'ns(x, df=0)'", "'ns(zz)'", "'x + v'", "'y ~ x'", "'bs(x, degree=0)'", "'open(x)'", "['x']"),
            ),
            "data": Kind(
                lambda value: isinstance(value, pd.DataFrame) and "x" in value,
                ("{'x': []}", "{'x': ['a', 'b']}", "{'x': [None, None]}", "{'x': 1.0}", "{'z': [1, 2]}"),
            ),
        },
    ),
    "from_first_stage": Call(
        {"results": "[(1.0, 0.1), (2.0, 0.2)]"},
        {
            "results": Kind(
                lambda value: False,
                ("[(1.0, 0.1), (2.0,)]", "[(1.0, -0.1)]", "{'a': (1.0, True)}", "[T]", "[('1', 0.1)]", "{'coef': 1}"),
            ),
            "labels": optional(Kind(are_two_labels, ("['a', 'a']", "['a', ['b']]", "'ab'", "['a', None]"))),
            "data": optional(
                Kind(
                    # a row for each place, by its label, or in their order
                    lambda value: isinstance(value, pd.DataFrame) and (len(value) == 2 or {1, 2} <= set(value.index)),
                    ("D.head(2)", "D.head(1)"),
                )
            ),
            "names": optional(names("coef1", "*")),
        },
    ),
    "curve": Call(
        {"coefficients": COVARIANCES, "basis": PARABOLA, "at": "[0.0, 0.5, 2.0]", "random_seed": "1", "draws": "5"},
        {
            "coefficients": PREDICTED,
            "basis": numbers((3, 2)),
            "at": Kind(
                are_doses, ("[]", "[0, None]", "[0, np.inf]", "['0']", "[[0, 1]]", "[True, False]"), in_its_order
            ),
            "reference": Kind(
                lambda value: is_number(value) or (isinstance(value, str) and value == "min"), ("'max'", "[1.0]")
            ),
            "prob": PROBABILITY,
            "within": optional(Kind(is_interval, ("(1, 0)", "(0,)", "(5, 6)", "'01'", "(0, 'a')"))),
            "scale": words("model", "ratio"),
            "draws": whole(1),
            "random_seed": SEED,
            "weights": optional(
                Kind(
                    lambda value: False,
                    ("{'0': 1}", "{'0': -1, '1': 2}", "{'0': 0, '1': 0}", "[1, 2]", "{'0': 'a', '1': 1}"),
                )
            ),
        },
    ),
    "attributable": Call(
        {
            "coefficients": COVARIANCES,
            "basis": PARABOLA,
            "exposure": "{'0': [0.0, 1.0], '1': [2.0, 3.0]}",
            "cases": "{'0': [1, 2], '1': [3, 4]}",
            "reference": "0.5",
            "random_seed": "1",
            "draws": "5",
        },
        {
            "coefficients": PREDICTED,
            "basis": Kind(
                lambda value: False,
                (
                    PARABOLA.replace("2", "1"),
                    "lambda x: np.stack([x, x, x], 1)",
                    "np.ones((2, 2))",
                    "lambda x: x",
                    "{'0': lambda x: x}",
                    "{'0': 1, '1': 2}",
                ),
            ),
            "exposure": Kind(lambda value: False, ("{'0': [0.0]}", "{'0': [0.0], '1': [1.0]}", "[1.0, 2.0]")),
            "cases": Kind(
                lambda value: False, ("{'0': [-1, 2], '1': [3, 4]}", "{'0': [0, 0], '1': [3, 4]}", "{'0': 'a', '1': 1}")
            ),
            "reference": Kind(is_number, ("{'0': 1.0}", "{'0': None, '1': 1.0}", "'min'")),
            "between": optional(
                Kind(
                    lambda value: is_interval(value) or (isinstance(value, str) and value in ("below", "above")),
                    ("(1, 0)", "(0,)", "'01'", "{'0': (0, 1)}", "{'0': (1, 0), '1': (0, 1)}", "'between'"),
                )
            ),
            "prob": PROBABILITY,
            "draws": whole(1),
            "random_seed": SEED,
        },
    ),
    "influence": Call(
        {"tree": "T", "exact": "False"}, {"tree": RESULT, "by": BY_GROUPS, "exact": BOOLEAN, "backend": BACKEND}
    ),
    "gosh": Call(
        {**_TREE, "random_seed": "1"},
        {"tree": FIT, "by": BY_ROW, "subsets": optional(whole(1)), "random_seed": SEED, "progress": BOOLEAN},
    ),
    "vif": Call({"tree": "bm.fit(bm.specify('y ~ x * f', D, S='v'))"}, {"tree": Kind(has_predictors, ("T",))}),
    "loo": Call({"tree": "POST"}, {"tree": POSTERIOR, "by": BY_ROW}),
    "map_prior": Call(
        {"tree": "POST", "newdata": "{'x': 1}"},
        {"tree": POSTERIOR, "sigma": optional(real(above=0)), "outcome": optional(words("y")), "components": WHOLE},
    ),
    "prior_check": Call(
        {"tree": "POST", "draws": "20", "random_seed": "1"},
        {"tree": POSTERIOR, "draws": whole(1), "random_seed": SEED},
    ),
    "assurance": Call(
        {"tree": "POST", "se": "0.1", "below": "0", "newdata": "{'x': 1}"},
        {
            "tree": POSTERIOR,
            "se": Kind(
                lambda value: positive(value) or (is_list(value) and len(value) > 0 and all(map(positive, value))),
                ("0", "-0.1", "[0.1, 0]", "[]", "np.nan", "'0.1'", "[[0.1]]", "True", "np.array(0.1)"),
            ),
            "below": real(),
            "outcome": optional(words("y")),
            "probability": PROBABILITY,
            "prob": PROBABILITY,
        },
    ),
    "leave_one_out": Call(
        _TREE, {"tree": RESULT, "by": BY_ROW, "prob": PROBABILITY, "scale": optional(words("model"))}
    ),
    "rho_sensitivity": Call(
        {"spec": "SPEC", "rho": "[0.0, 0.5]"},
        {
            "spec": SPEC,
            "rho": Kind(lambda value: False, ("[1]", "[]", "0.5", "'0.5'", "[0.5, 0.5]", "[None]", "{0.5: 1}")),
            "S": NONE,
            "method": METHODS,
            "prob": PROBABILITY,
            "robust": words("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3", "model"),
            **_TESTED,
        },
        slow=True,
    ),
    "cumulative": Call(
        _TREE,
        {
            "tree": RESULT,
            **dict.fromkeys(("order", "by"), BY_ROW),
            "prob": PROBABILITY,
            "scale": optional(words("model")),
        },
    ),
    "drop1": Call({"tree": "TML"}, {"tree": FIT}),
    "add1": Call(
        {"tree": "NULL", "terms": "'x'", "data": "D"},
        {
            "tree": FIT,
            "terms": names("x", "f"),
            "data": optional(Kind(is_beside_rows)),  # None: the columns in the tree
        },
    ),
    "sample": Call(
        {"spec": "SPEC", "draws": "1", "tune": "1"},
        {**_SAMPLES, "priors": priors(), "random_effects": optional(BOOLEAN)},
        slow=True,
    ),
    "sensitivity": Call(
        {"spec": "SPEC", "priors": "{'a': None}", "draws": "1", "tune": "1"},
        {
            **_SAMPLES,
            "prob": PROBABILITY,
            "backend": BACKEND,
            "priors": Kind(lambda value: False, ("{'a': 3}", "{'a': bm.Prior('Flat')}", "[None]")),
        },
        slow=True,
    ),
    "robustness": Call(
        {"spec": "SPEC", "grid": "{'scale': [0.5]}"},
        {
            "spec": SPEC,
            "grid": Kind(
                lambda value: value is None,
                ("{}", "[0.5]", "{'scale': []}", "{'scale': [-1]}", "{'tau': 'half'}", "{'a': 3}", "{'eta': ['x']}"),
            ),
            "priors": priors(),
            "effect": optional(words("Intercept", "x", "beta[x]")),
            "null": real(),
            "prob": PROBABILITY,
            "random_seed": whole(0),
        },
    ),
    "power_scaling": Call(
        {"tree": "POST"},
        {
            "tree": Kind(
                lambda value: isinstance(value, xr.DataTree) and is_posterior(value), ("T", "SPEC", "[POST]", "{}")
            ),
            "alpha": Kind(is_powers, ("[]", "[0]", "[-1, 1]", "['a']", "0.5", "[np.nan]")),
            "blocks": BOOLEAN,
            "threshold": real(above=0),
        },
    ),
    "to_pymc": Call(
        {"spec": "SPEC"},
        {"spec": SPEC, "priors": priors(), "parameterization": words("marginal", "centered", "noncentered")},
        slow=True,
    ),
    "report": Call(
        {"tree": "T"},
        {
            "tree": RESULTS,
            "path": optional(PATH),
            "title": TEXT,
            "citation": TEXT,
            "names": optional(texts(1)),
            "sensitivity": Kind(is_none),
            "prob": PROBABILITY,
        },
        ("tree",),
        slow=True,
    ),
    "load_analysis": Call({"path": "'school'"}, {"path": words("school", "bcg")}),
    "load_study": Call({"path": "'table6'"}, {"path": words("table6")}),
    "run_study": Call(
        {"study": "STUDY", "directory": "OUT"},
        {
            "study": Kind(lambda value: False),
            "directory": PATH,
            "datasets": optional(whole(1)),
            "n_jobs": JOBS,
            "progress": BOOLEAN,
            "zarr": BOOLEAN,
            "backend": BACKEND,
        },
        slow=True,
    ),
    "write_blup": Call(
        {"spec": "SPEC", "tree": "T", "path": "OUT"},
        {"spec": Kind(lambda value: False), "tree": Kind(lambda value: False), "path": PATH, "prob": PROBABILITY},
        slow=True,
    ),
    "study_table": Call({"study": "STUDY", "results": "T"}, {"study": EVERY_ROW, "results": EVERY_ROW}, slow=True),
    "save": Call({"trees": "T", "path": "'a.nc'"}, {"trees": RESULTS}, slow=True),
    "load": Call({"path": "'none.nc'"}, {"path": Kind(is_long)}, slow=True),
    "datasets.load": Call({"name": "'bcg'"}, {"name": words(*bm.datasets.names())}),
    "datasets.describe": Call({"name": "'bcg'"}, {"name": words(*bm.datasets.names())}),
    "datasets.names": Call({}, {}),
    "measures.measure": Call({"name": "'smd'"}, {"name": optional(TEXT)}),
    **{
        name: Call(arguments, kinds)
        for name, (arguments, kinds) in {**effect_calls(), **OTHER_CALLS, **network_calls()}.items()
    },
    "within.from_se": Call({"se": "'v'"}, {}, ("se",)),
    "within.nearest": Call({"matrix": "np.eye(2)"}, {"matrix": numbers((2, 2), (1, 1), positive=True)}),
    "within.correlated": Call(
        {"data": "D", "variance": "'v'", "rho": "0.5", "group": "'g'"},
        {"data": TABLE, "variance": column("v", "v2"), "rho": real(-1, 1), "group": column(*"yvxgf", "y2", "v2")},
    ),
    "within.ar1": Call(
        {"data": "D", "variance": "'v'", "rho": "0.5", "group": "'g'"},
        {
            "data": TABLE,
            "variance": column("v", "v2"),
            "rho": real(-1, 1),
            "group": column(*"yvxgf", "y2", "v2"),
            "position": optional(column("x", "y", "v", "y2", "v2")),
        },
    ),
    "within.car1": Call(
        {"data": "D", "variance": "'v'", "rho": "0.5", "group": "'g'", "time": "'x'"},
        {
            "data": TABLE,
            "variance": column("v", "v2"),
            "rho": real(0, 1, closed=True),
            "group": column(*COLUMNS),
            "time": TIME,
        },
    ),
    "within.vcalc": Call(
        {"data": "D", "vi": "'v'", "cluster": "'g'", "obs": "'f'", "rho": "0.5"},
        {
            "data": TABLE,
            "vi": Kind(lambda value: column("v", "v2").admits(value) or real(0).admits(value), ("'g'", "'zz'", "-1")),
            "cluster": column(*"gyvx", "y2", "v2"),
            "obs": column("f", *"yvx", "y2", "v2"),
            "rho": CORRELATION,
            "subgroup": optional(column(*COLUMNS)),
            **dict.fromkeys(("phi", "rvars", "type", "time1", "time2", "grp2", "w1", "w2"), NONE),
            **dict.fromkeys(("checkpd", "nearpd"), BOOLEAN),
        },
    ),
    "within.imputed": Call(
        {"data": "D", "variance": "'v'", "group": "'g'", "rho": "0.5"},
        {
            "data": TABLE,
            "variance": column("v", "v2"),
            "group": column(*COLUMNS),
            "rho": CORRELATION,
            "subgroup": optional(column(*COLUMNS)),
            **dict.fromkeys(("ar1", "time", "pattern"), NONE),
            "smooth": BOOLEAN,
        },
    ),
    "within.shared_arms": Call(
        {**_ARMS, "first": "'e'", "second": "'n'", "variance_first": "'a'", "variance_second": "'b'"},
        {"data": COUNT_TABLE, **dict.fromkeys(("variance_first", "variance_second"), column(*COUNTS))},
        slow=True,
    ),
    "within.gleser_olkin": Call(
        {**_ARMS, "d": "'a'", "n_treatment": "'n'", "n_control": "'m'"},
        {"data": COUNT_TABLE, **dict.fromkeys(("d", "n_treatment", "n_control"), column(*COUNTS))},
        slow=True,
    ),
    "within.multinomial": Call(
        {"data": "E", "counts": "['e', 'c']"}, {"data": COUNT_TABLE, "reference": optional(words("e", "c"))}, slow=True
    ),
    "within.rcalc": Call(
        {"x": "np.eye(3)", "ni": "9"},
        {"ni": real(5, closed=True), "rtoz": BOOLEAN, "nfun": words("min", "harmonic", "mean"), "study": NONE},
    ),
    "within.partial_correlations": Call(
        {"matrices": f"pd.DataFrame(np.eye(3), {list('abc')}, {list('abc')})", "ni": "9"}
        | {"pairs": "[('a', 'b')]", "given": "'c'"},
        {"ni": real(5, closed=True), "rtoz": BOOLEAN},
    ),
    "within.greenland_longnecker": _DOSE_CALL,
    "within.hamling": _DOSE_CALL,
    "structures.resolve": Call({"structure": "'cs'"}, {"structure": STRUCTURES}),
    "structures.check": Call({"structure": "'id'", "dim": "2"}, {"structure": STRUCTURES, "dim": whole(1, 100)}),
    "structures.Law": Call({"low": "0.0", "alpha": "1.0", "beta": "2.0"}, {}),
    "structures.from_json": Call(
        {"value": "'cs'"},
        {
            "value": Kind(
                words("unstr", "diag", "id", "cs", "hcs", "ar1", "har1").admits,
                ("{'name': 'prop'}", "{'name': 'unstr', 'matrix': [[1]]}", "{'name': ['prop']}", "{'name': 'zz'}"),
            )
        },
    ),
    "structures.Fixed": _MATRIX,
    "structures.CAR1": _TIMES,
    "structures.HetCAR1": _TIMES,
    "structures.Proportional": _MATRIX,
    "structures.KnownCorrelation": _MATRIX,
    "Prior": Call(
        {"name": "'HalfNormal'", "sigma": "0.5"},
        {
            "name": Kind(lambda value: isinstance(value, str) and value.isidentifier(), ("'Half Normal'",)),
            "sigma": real(),
        },
        ("name",),
    ),
    "Priors": Call(
        {"tau": "bm.priors.half_normal(1)"},
        {
            each: Kind(lambda value: value is None or isinstance(value, bm.Prior) or is_empty(value))
            for each in ("beta", "tau", "rho")
        },
    ),
    "priors.half_normal": _SCALE,
    "priors.half_cauchy": _SCALE,
    "priors.half_t": Call({"scale": "0.5"}, {"scale": real(0), "df": real(0)}),
    "priors.turner": Call({}, {each: Kind(is_none) for each in ("outcome", "comparison")}),
    "priors.rhodes": Call({}, {each: Kind(is_none) for each in ("outcome", "comparison", "field")}),
    "plots.forest": Call(
        _TREE,
        {
            **_PLOT,
            **dict.fromkeys(("labels", "subgroup"), BY_ROW),
            "columns": Kind(
                lambda value: value is None or (not isinstance(value, str) and are_columns(value)),
                ("['x']", "['zz']", "{'A': 'x', 'B': 'g'}", "{'A': {'B': 'x'}}", "{'A': 3}"),
            ),
            "outcome": optional(names("y")),
            **dict.fromkeys(("blup", "prediction", "weights"), BOOLEAN),
            "order": Kind(lambda value: BY_ROW.admits(value) or words("estimate", "weight", "label").admits(value)),
            "limits": Kind(
                lambda value: value is None or (numbers((2,)).admits(value) and value[0] < value[1]),
                ("(1,)", "(2, 1)", "('a', 'b')", "(1, True)", "(-1, np.nan)", "'ab'", "(-1, 2)"),
            ),
        },
    ),
    **{
        f"plots.{name}": Call(
            {"tree": "T", "term": "'x'"},
            {
                **_PLOT,
                "tree": RESULT,
                **dict.fromkeys(rows, BY_ROW),
                "outcome": optional(names("y")),
                "term": words("Intercept", "x"),
                "statistics": BOOLEAN,
                "limits": Kind(
                    lambda value: value is None or (numbers((2,)).admits(value) and value[0] < value[1]),
                    ("(1,)", "(2, 1)", "('a', 'b')", "(1, True)"),
                ),
            },
        )
        for name, rows in (("leave_one_out", ("by",)), ("cumulative", ("by", "order")))
    },
    "plots.funnel": Call(
        _TREE,
        {
            **_PLOT,
            "outcome": optional(words("y")),
            "y": words("se", "precision", "variance", "weight", "n"),
            "contours": Kind(
                lambda value: (
                    numbers(*((k,) for k in range(9)), ()).admits(value) and all(0 < p < 1 for p in np.ravel(value))
                ),
                ("[1.5]", "['0.9']", "[[0.9, 0.5], [0.1]]"),
            ),
            "asymmetry": optional(words("trim", "pet")),
        },
    ),
    "plots.bubble": Call(
        {"tree": "T", "x": "'x'"},
        {
            **_PLOT,
            "x": words("x"),
            "at": Kind(lambda value: value is None or is_empty(value), AT.own),
            "outcome": optional(words("y")),
            "interval": Kind(
                lambda value: (
                    value is None
                    or (isinstance(value, list | tuple) and not value)
                    or (isinstance(value, np.ndarray | pd.Series | pd.Index) and value.shape == (0,))
                    or names("confidence", "prediction").admits(value)
                ),
                ("['confidence', 'zz']",),
            ),
        },
    ),
    "plots.orchard": Call(_TREE, {**_PLOT, "by": optional(words("x")), "at": AT, "outcome": optional(words("y"))}),
    "plots.influence": Call(
        {"tree": "T", "exact": "False"},
        {
            "tree": RESULT,
            "axes": Kind(is_none),
            "by": BY_GROUPS,
            "exact": BOOLEAN,
            "diagnostics": optional(names("hat", "rstudent")),
            "label": LABELLED,
        },
    ),
    "plots.baujat": Call(
        _TREE, {"tree": RESULT, "ax": AXES, "outcome": optional(words("y")), "by": BY_GROUPS, "label": LABELLED}
    ),
    "plots.radial": Call(
        _TREE, {**_PLOT, "outcome": optional(words("y")), "heterogeneity": BOOLEAN, "label": LABELLED}
    ),
    "plots.labbe": Call(
        {"tree": "bm.fit(bm.specify('y ~ 1', bm.effects.odds_ratio(E, ('e', 'c'), total=('n', 'm')), S='v'))"},
        {
            "ax": AXES,
            "outcome": optional(words("y")),
            "scale": optional(words("model", "response")),
            "label": LABELLED,
            **dict.fromkeys(
                ("events", "total", "no_events"), Kind(are_two_arms, ("['e']", "['e', 'zz']", "['g', 'g']"))
            ),
        },
    ),
    "plots.qqnorm": Call(
        _TREE,
        {
            "tree": RESULT,
            "ax": AXES,
            "outcome": optional(words("y")),
            "residuals": words("rstandard"),
            "prob": PROBABILITY,
            "simulations": whole(20),
            "label": LABELLED,
            "random_seed": SEED,
        },
    ),
    "plots.curves": Call(
        {"table": f"bm.curve({COVARIANCES}, {PARABOLA}, [0.0, 1.0], random_seed=1)"},
        {
            "table": Kind(lambda value: False, (COVARIANCES, "T")),
            "axes": AXES,
            "places": optional(names("0", "1")),
            "xlabel": TEXT,
            "exposure": optional(
                Kind(
                    lambda value: is_number(value) or are_cells(value),
                    ("[]", "['1']", "[np.inf]", "[[1.0, 2.0]]", "0.5"),
                )
            ),
        },
    ),
    "plots.gosh": Call(
        {"tree": "T", "term": "'x'", "subsets": "20"},
        {
            "tree": FIT,
            "ax": AXES,
            "term": words("Intercept", "x"),
            "outcome": optional(names("y")),
            "y": words("I2", "Q", "H2", "tau2"),
            "subsets": optional(whole(1)),
            "scale": optional(words("model")),
            "random_seed": SEED,
        },
    ),
    "plots.caterpillar": Call(
        _TREE,
        {
            "tree": RESULT,
            "scale": optional(words("model")),
            "prob": PROBABILITY,
            "level": optional(words("g")),
            "effect": optional(words("Intercept")),
            "kind": words("ranef", "outcome", "blup", "coef"),
            "axes": AXES,
        },
    ),
    "plots.dose_response": Call(
        {"trees": "T", "dose": "'x'"},
        {
            "trees": RESULTS,
            "dose": words("x"),
            "ax": AXES,
            "scale": optional(words("model")),
            "prob": PROBABILITY,
            "reference": optional(real()),
            "upto": optional(real()),
            "at": Kind(lambda value: value is None or is_empty(value), AT.own),
            "outcome": optional(words("y")),
            "studies": BOOLEAN,
        },
    ),
    "plots.dose_residuals": Call(_CURVE_TREE, {"tree": _OF_DOSES, "ax": AXES, "dose": optional(words("dose"))}),
    "dose_response.specify": Call(
        _COHORTS,
        {
            "data": Kind(
                lambda value: isinstance(value, pd.DataFrame) and "peryears" in value, ("D", "T", "AL.head(1)")
            ),
            "study": Kind(lambda value: False, ("'zz'", "['id']", "'dose'", "'logrr'")),
            "dose": Kind(lambda value: False, ("'zz'", "'type'", "['dose', 'dose']", "['zz']", "[]")),
            "cases": Kind(lambda value: False, ("'zz'", "['cases']", "'type'", "'logrr'")),
            "total": Kind(lambda value: value is None, ("'zz'", "['cases']", "'logrr'", "'type'")),
            "person_years": Kind(lambda value: False, ("'zz'", "'logrr'", "'type'")),
            "mean": Kind(lambda value: value is None, ("'logrr'", "['logrr']")),
            "y": Kind(lambda value: value is None, ("'zz'", "'se'", "'type'", "['logrr']")),
            "se": Kind(lambda value: False, ("'zz'", "'logrr'", "'type'", "['se']")),
            "interval": Kind(lambda value: value is None, ("('se', 'zz')", "'se'", "('se',)", "('se', 'se')")),
            "scale": words("model"),
            "type": optional(words("type", "ir")),
            "basis": Kind(optional(words("dose")).admits, ("'1'", "'dose * id'", "'zz'", "'~ dose'")),
            "random": Kind(
                lambda value: value is False or optional(words("dose")).admits(value), ("'1'", "'id'", "'1 + dose'")
            ),
            "stages": Kind(lambda value: is_number(value) and value in (1, 2), ("'two'", "[1]", "2.5")),
            "covariance": optional(words("greenland-longnecker", "hamling", "independent")),
            "S": Kind(lambda value: value is None, ("np.eye(5)", "{'atm': np.eye(5)}", "{'zz': 1}", "'se'")),
            "reference": Kind(lambda value: value is None, ("'zz'", "'dose'", "'type'", "['dose']")),
            "bounds": Kind(lambda value: value is None, ("('se', 'zz')", "'se'", "('se',)", "('cases', 'dose')")),
            "center": BOOLEAN,
            "psi": STRUCTURES,
            "measure": MEASURES,
        },
    ),
    "dose_response.curve": Call(
        {**_CURVE_TREE, "at": "[10.0, 20.0]"},
        {
            "tree": _OF_DOSES,
            "at": Kind(
                lambda value: value is None or are_doses(value),
                ("{'zz': [1]}", "['a']", "[[1]]", "'dose'"),
                in_its_order,
            ),
            "reference": optional(real()),
            "others": Kind(lambda value: value is None or is_empty(value), ("{'dose': 1}", "{'zz': 1}", "[1]")),
            "interval": words("confidence", "prediction"),
            "prob": PROBABILITY,
            "scale": optional(words("model", "response")),
            **_TESTED,
        },
    ),
    "dose_response.nonlinearity": Call(_CURVE_TREE, {"tree": _OF_DOSES, **_TESTED}),
    "dose_response.goodness_of_fit": Call(_CURVE_TREE, {"tree": _OF_DOSES}),
    "plots.longitudinal": Call(
        {"trees": "T", "time": "'x'"},
        {
            "trees": RESULTS,
            "time": words("x"),
            "ax": AXES,
            "scale": optional(words("model")),
            "prob": PROBABILITY,
            "at": Kind(lambda value: value is None or is_empty(value), AT.own),
            "outcome": optional(words("y")),
            "studies": BOOLEAN,
        },
    ),
    "plots.compare": Call(
        {"results": "{'a': T}"},
        {
            "results": Kind(lambda value: False),
            "parameters": optional(names(*COEF, "tau[g, Intercept]")),
            "axes": AXES,
            "prob": optional(PROBABILITY),
            "scale": optional(words("model")),
        },
    ),
    "plots.structure": Call(
        {"spec": "SPEC"},
        {
            "spec": Kind(lambda value: isinstance(value, bm.Spec) or is_fit(value) or RESULT.admits(value)),
            "ax": AXES,
            "most": whole(1),
        },
    ),
    "plots.profile": Call(
        {"dataset": "PROFILE"},
        {"dataset": Kind(lambda value: isinstance(value, xr.Dataset) and "loglik" in value), "axes": AXES},
    ),
    "plots.prior_posterior": Call(
        {"tree": "POST"},
        {
            "tree": Kind(lambda value: isinstance(value, xr.DataTree) and value.attrs.get("backend") == "sample"),
            "parameters": optional(names("tau[g, Intercept]")),
            "axes": AXES,
            "fit": optional(FIT),
        },
    ),
    "plots.loo_pit": Call(
        {"tree": "T"}, {"tree": Kind(lambda value: False), "ax": AXES, "prob": PROBABILITY}, slow=True
    ),
    "plots.loo_pit_values": Call({"tree": "T"}, {"tree": Kind(lambda value: False)}, slow=True),
    "plots.sensitivity": Call({"dataset": "PROFILE"}, {"dataset": EVERY_ROW, "parameters": EVERY_ROW}, slow=True),
    "plots.robustness": Call({"dataset": "PROFILE"}, {"dataset": EVERY_ROW}, slow=True),
    "plots.rho_sensitivity": Call({"table": "D"}, {"table": EVERY_ROW}, slow=True),
    "plots.simulation": Call({"table": "D"}, {"table": EVERY_ROW}, slow=True),
}

WITHOUT = {
    "to_marginaleffects": "hands the data to marginaleffects, which does not know the newest polars",
    "estimation.register": "takes an object of ours that its own class checks",
    "measures.register": "takes an object of ours that its own class checks",
    "structures.register": "takes a class, checked by the contract tests",
    "datasets.fetch": "deprecated, is datasets.load",
}
