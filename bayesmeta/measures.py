"""Effect measures: one record for each, with everything that others ask about it.

A measure is entered by `register`, also from a user's own code; default priors, axes, tables and the report then know
it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_type
from bayesmeta._validation.calls import explain
from bayesmeta.errors import SpecError

__all__ = ["MEASURES", "Measure", "Response", "measure", "register"]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True)
class Response:
    """The scale on which people read a measure, where it is not that of the model.

    Parameters
    ----------
    label : str
        In words, such as "proportion".
    function : callable
        From the scale of the model to this one; it grows with its argument, so that it takes intervals to intervals.
    difference_label : str, default ""
        What the exponential of a difference is, such as "odds ratio" for logits; empty where differences are read on
        the scale of the model, as those of Fisher's z.
    inverse : callable or None, default None
        From this scale to that of the model, for estimates that papers print on it.

    Examples
    --------
    >>> proportion = Response("proportion", lambda logit: 1 / (1 + np.exp(-logit)), "odds ratio")
    >>> Measure("mylogit", "logit", null=None, response=proportion).to_response(0.0).item()
    0.5
    """

    label: str
    function: Callable[[FloatArray], FloatArray]
    difference_label: str = ""
    inverse: Callable[[FloatArray], FloatArray] | None = None


@dataclass(frozen=True)
class Measure:
    """What an effect estimate measures, on the scale on which it is modelled (ratios as logs).

    Parameters
    ----------
    name : str
        As users write it: `specify(..., measure="logor")`.
    label : str
        In words, on the scale of the model, such as "log odds ratio".
    short_label : str, default ""
        For the heading of a column, such as "log OR"; empty where no abbreviation is in use.
    is_ratio : bool, default False
        Whether the effect is the logarithm of a ratio, which people read as its exponential.
    null : float or None, default 0.0
        The value that means no effect, on the scale of the model; None where no value does, as for a mean of one group.
    unit_information_sd : float or None, default None
        SD of the effect estimate of a single participant, from which default priors take their scale; None where the
        measure has no scale of its own, so that priors take theirs from the data.
    published_prior : str, default ""
        Function of `bayesmeta.priors` with a published distribution of the SD between studies; empty where none exists.
    response : Response or None, default None
        The scale on which people read it; of a ratio its exponential, which need not be given.
    synonyms : tuple of str, default ()
        Other words for it, of other software or of the literature, that `specify` takes as well, in any case; the
        labels are understood without being listed.
    plural : str, default ""
        The label of several, where it is not the label with an s.
    asymmetry_test : str, default ""
        Function of `bayesmeta.small_study` to test for small-study effects with, where the standard error contains the
        effect itself, so that Egger's test finds the two correlated without any bias.

    References
    ----------
    Röver, Bender, Dias, Schmid, Schmidli, Sturtz, Weber and Friede (2021), Res. Synth. Methods 12:448-474, for the
    unit-information SD.

    Examples
    --------
    >>> odds_ratio = measure("logor")
    >>> odds_ratio.label, odds_ratio.label_of(ratio=True), odds_ratio.short_label_of(ratio=True)
    ('log odds ratio', 'odds ratio', 'OR')
    >>> odds_ratio.response_label, odds_ratio.difference_label, odds_ratio.to_response([-0.7452]).round(4).tolist()
    ('Odds ratio', 'ratio of odds ratios', [0.4746])
    """

    name: str
    label: str
    short_label: str = ""
    is_ratio: bool = False
    null: float | None = 0.0
    unit_information_sd: float | None = None
    published_prior: str = ""
    response: Response | None = None
    synonyms: tuple[str, ...] = ()
    plural: str = ""
    asymmetry_test: str = ""

    @property
    def label_of_several(self) -> str:
        """Several of them, on the scale of the model, as in "log odds ratios"."""
        return self.plural or f"{self.label}s"

    @property
    def has_response(self) -> bool:
        """Whether the measure is read on another scale than that of the model."""
        return self._response is not None

    @property
    def response_label(self) -> str:
        """What an effect is on the scale on which people read it, to begin a heading with: "Odds ratio"."""
        label = self.label if self._response is None else self._response.label
        return label[:1].upper() + label[1:]

    def to_response(self, values: ArrayLike) -> FloatArray:
        """Effects on the scale on which people read them, the same shape; as they are, where the model's is that scale.

        Bounds of intervals are taken there one by one; standard errors have no counterpart.
        """
        effects = np.asarray(values, dtype=float)
        return effects if self._response is None else _without_noise(self._response.function, effects)

    def to_model(self, values: ArrayLike) -> FloatArray:
        """Effects as people read them on the scale of the model, the same shape; NaN where they are none there.

        SpecError where the measure's record has no way back.
        """
        printed = np.asarray(values, dtype=float)
        if self._response is None:
            return printed
        if self._response.inverse is None:
            raise SpecError(
                f"measure '{self.name}' has no function from {self._response.label} to {self.label}"
                "\n  register the measure with a response that has an inverse="
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self._response.inverse(printed), dtype=float)

    @property
    def has_difference_response(self) -> bool:
        """Whether the difference of two effects, such as a slope, is read as its exponential."""
        return self._response is not None and bool(self._response.difference_label)

    @property
    def difference_label(self) -> str:
        """What the difference of two effects is on the scale on which people read it: "ratio of odds ratios"."""
        if self._response is None or not self._response.difference_label:
            return f"difference in {self.label}"
        return self._response.difference_label

    def difference_to_response(self, values: ArrayLike) -> FloatArray:
        """Differences of effects as ratios, where such a ratio has a meaning; else as they are."""
        differences = np.asarray(values, dtype=float)
        return _without_noise(np.exp, differences) if self.has_difference_response else differences

    @property
    def _response(self) -> Response | None:
        """The record's own, or the exponential of a log ratio."""
        if self.response is not None or not self.is_ratio:
            return self.response
        label = self.label_of(ratio=True)
        several = label.replace("ratio", "ratios", 1) if "ratio" in label else f"{label}s"
        return Response(label, np.exp, f"ratio of {several}", np.log)

    def label_of(self, ratio: bool) -> str:
        """The label on the scale of the model, or that of the exponential."""
        if not ratio:
            return self.label
        return self.label.removeprefix("log ") if self.is_ratio else f"exp({self.label})"

    def short_label_of(self, ratio: bool) -> str:
        """The short label likewise, "Estimate" where there is none."""
        if not ratio:
            return self.short_label or "Estimate"
        return self.short_label.removeprefix("log ") if self.is_ratio else f"exp({self.short_label or 'estimate'})"

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that it may be called beside its name: labels, those of the ratio too, and synonyms."""
        ratios = (self.label_of(True), self.short_label_of(True)) if self.is_ratio else ()
        return self.label, self.short_label, *ratios, *self.synonyms


def _without_noise(function: Callable[[FloatArray], FloatArray], values: FloatArray) -> FloatArray:
    """The function's values; a bound that overflows is infinite, which is no reason to warn."""
    with np.errstate(over="ignore"):
        return np.asarray(function(values), dtype=float)


def _expit(logit: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-logit)), dtype=float)


def _squared_sine(angle: FloatArray) -> FloatArray:
    """The proportion of an angle; beyond the angles of 0 and 1, which normal intervals may leave, 0 and 1."""
    return np.asarray(np.sin(np.clip(angle, 0, np.pi / 2)) ** 2, dtype=float)


def _normal(z: FloatArray) -> FloatArray:
    """The proportion of a probit."""
    return np.vectorize(lambda x: erfc(-x / sqrt(2)) / 2, otypes=[float])(z)


def _probit(proportion: FloatArray) -> FloatArray:
    """The probit of a proportion, NaN outside of 0 and 1."""
    quantile = NormalDist().inv_cdf
    return np.vectorize(lambda p: quantile(p) if 0 < p < 1 else np.nan, otypes=[float])(proportion)


def _square(root: FloatArray) -> FloatArray:
    """The square; of a root below zero, which normal intervals may reach, 0."""
    return np.asarray(np.clip(root, 0, None) ** 2, dtype=float)


MEASURES: dict[str, Measure] = {}


def register(measure: Measure) -> Measure:
    """Enter an effect measure, so that `specify` accepts its name.

    Parameters
    ----------
    measure : Measure
        The record; its name must not belong to another one.

    Returns
    -------
    Measure
        The same record.

    Raises
    ------
    SpecError
        If another measure has this name.

    Examples
    --------
    >>> name, label = "logdor", "log diagnostic odds ratio"
    >>> register(Measure(name, label, "log DOR", is_ratio=True)).label_of(ratio=True)
    'diagnostic odds ratio'
    >>> del MEASURES["logdor"]
    """
    if MEASURES.get(measure.name, measure) != measure:
        raise SpecError(f"there already is another measure named '{measure.name}'\n  choose another name")
    MEASURES[measure.name] = measure
    return measure


def _z_of(name: str, correlation: str) -> Measure:
    """Fisher's z of a correlation that has a name of its own."""
    plural = f"values of Fisher's z of {correlation}s"
    return Measure(
        name,
        f"Fisher's z of the {correlation}",
        response=Response(correlation, np.tanh, inverse=np.arctanh),
        plural=plural,
    )


for _measure in (
    Measure("logor", "log odds ratio", "log OR", True, unit_information_sd=2.0, published_prior="turner"),
    Measure("logrr", "log risk ratio", "log RR", True, unit_information_sd=2.0, synonyms=("relative risk",)),
    Measure("loghr", "log hazard ratio", "log HR", True, unit_information_sd=2.0),
    Measure("logirr", "log incidence rate ratio", "log IRR", True, unit_information_sd=2.0, synonyms=("rate ratio",)),
    Measure("logrom", "log ratio of means", "log RoM", True, plural="log ratios of means"),
    Measure("rd", "risk difference", "RD"),
    Measure("md", "mean difference", "MD", synonyms=("raw mean difference", "weighted mean difference", "wmd")),
    Measure(
        "smd",
        "standardised mean difference",
        "SMD",
        unit_information_sd=2**0.5,
        published_prior="rhodes",
        synonyms=("standardized mean difference", "hedges g", "cohens d"),
        asymmetry_test="pustejovsky_rodgers",
    ),
    Measure("cor", "correlation"),
    Measure(
        *("zcor", "Fisher's z"),
        unit_information_sd=1.0,
        response=Response("correlation", np.tanh, inverse=np.arctanh),
        synonyms=("z transformed correlation",),
        plural="values of Fisher's z",
    ),
    Measure(
        *("logit", "logit of a proportion"),
        null=None,
        response=Response("proportion", _expit, "odds ratio", lambda p: np.log(p) - np.log1p(-p)),
        synonyms=("plo", "logit proportion"),
        plural="logits of proportions",
    ),
    Measure(
        *("arcsine", "arcsine of the root of a proportion"),
        null=None,
        response=Response("proportion", _squared_sine, inverse=lambda p: np.arcsin(np.sqrt(p))),
        synonyms=("pas", "arcsine proportion"),
        plural="arcsines of the roots of proportions",
    ),
    Measure("lograte", "log incidence rate", "log IR", True, null=None, synonyms=("irln",)),
    Measure("mean", "mean", null=None, synonyms=("mn",)),
    Measure("asd", "arcsine difference", "ASD", synonyms=("as",)),
    Measure("phi", "phi coefficient", plural="phi coefficients"),
    Measure(
        "zphi",
        "Fisher's z of phi",
        response=Response("phi coefficient", np.tanh, inverse=np.arctanh),
        plural="values of Fisher's z",
    ),
    Measure("yuq", "Yule's Q", plural="values of Yule's Q"),
    Measure("yuy", "Yule's Y", plural="values of Yule's Y"),
    Measure("rtet", "tetrachoric correlation"),
    _z_of("ztet", "tetrachoric correlation"),
    Measure("rpb", "point-biserial correlation"),
    _z_of("zpb", "point-biserial correlation"),
    Measure("rbis", "biserial correlation"),
    _z_of("zbis", "biserial correlation"),
    Measure("pcor", "partial correlation"),
    _z_of("zpcor", "partial correlation"),
    Measure("spcor", "semi-partial correlation"),
    _z_of("zspcor", "semi-partial correlation"),
    Measure("r2", "R squared", null=None, plural="values of R squared"),
    Measure(
        *("zr2", "Fisher's z of R"),
        null=None,
        response=Response("R squared", lambda z: _square(np.tanh(z)), inverse=lambda r2: np.arctanh(np.sqrt(r2))),
        plural="values of Fisher's z",
    ),
    Measure("ird", "incidence rate difference", "IRD", synonyms=("rate difference",)),
    Measure("irsd", "difference of the roots of rates", plural="differences of the roots of rates"),
    Measure("hd", "hazard difference", "HD"),
    Measure("proportion", "proportion", null=None, synonyms=("pr", "prevalence")),
    Measure(
        *("logproportion", "logarithm of a proportion"),
        null=None,
        response=Response("proportion", np.exp, "ratio of proportions", np.log),
        synonyms=("pln", "log proportion"),
        plural="logarithms of proportions",
    ),
    Measure(
        "probit",
        "probit of a proportion",
        null=None,
        response=Response("proportion", _normal, inverse=_probit),
        synonyms=("prz",),
    ),
    Measure("doublearcsine", "double arcsine of a proportion", null=None, synonyms=("pft", "freeman-tukey")),
    Measure("rate", "raw incidence rate", null=None),
    Measure(
        *("rootrate", "root of an incidence rate"),
        null=None,
        response=Response("incidence rate", _square, inverse=np.sqrt),
        synonyms=("irs",),
        plural="roots of incidence rates",
    ),
    Measure("irft", "double root of an incidence rate", null=None, plural="double roots of incidence rates"),
    Measure("smn", "standardised mean", null=None, synonyms=("standardized mean",)),
    Measure(
        *("logmean", "logarithm of a mean"),
        null=None,
        response=Response("mean", np.exp, "ratio of means", np.log),
        synonyms=("mnln", "log mean"),
        plural="logarithms of means",
    ),
    Measure("logsd", "log standard deviation", "log SD", True, null=None, synonyms=("sdln",)),
    Measure(
        *("logcv", "log coefficient of variation", "log CV", True),
        null=None,
        synonyms=("cvln",),
        plural="log coefficients of variation",
    ),
    Measure("logvr", "log variability ratio", "log VR", True, synonyms=("vr",)),
    Measure("logcvr", "log ratio of coefficients of variation", "log CVR", True, plural="log ratios of CVs"),
    Measure("cles", "probability of superiority", null=0.5, plural="probabilities of superiority", synonyms=("auc",)),
    Measure("mc", "mean change", "MC"),
    Measure("smc", "standardised mean change", "SMC", synonyms=("smcc", "standardized mean change")),
    Measure("smcr", "standardised mean change, in SDs of persons", "SMCR", plural="standardised mean changes"),
    Measure("alpha", "coefficient alpha", null=None, plural="coefficients alpha", synonyms=("araw", "cronbachs alpha")),
    Measure(
        *("alphahw", "cube root of 1 - alpha, reversed"),
        null=None,
        response=Response("coefficient alpha", lambda x: 1 - (1 - x) ** 3, inverse=lambda a: 1 - np.cbrt(1 - a)),
        synonyms=("ahw",),
        plural="cube roots of 1 - alpha",
    ),
    Measure(
        *("alphalog", "minus log of 1 - alpha"),
        null=None,
        response=Response("coefficient alpha", lambda x: -np.expm1(-x), inverse=lambda a: -np.log1p(-a)),
        synonyms=("abt",),
        plural="logs of 1 - alpha",
    ),
    Measure("logreh", "log relative excess heterozygosity", "log REH", True, synonyms=("reh",)),
    Measure("generic", "effect", synonyms=("gen",)),
):
    register(_measure)


def measure(name: str | None) -> Measure:
    """The record of a measure; that of "generic" where none is named, or where this process does not know it.

    Parameters
    ----------
    name : str or None
        Name of the measure, as in the attribute `measure` of a results tree.

    Returns
    -------
    Measure
        The record.

    Raises
    ------
    SpecError
        When the name is neither text nor None.

    Examples
    --------
    >>> measure("smd").label, measure(None).label
    ('standardised mean difference', 'effect')
    """
    if name is not None:
        check_type(name, str, "measure")
    return MEASURES.get(name or "", MEASURES["generic"])


def check_measure(name: Any, where: str = "measure") -> str | None:
    """The name of the measure that is meant, by a synonym in any case too; SpecError where there is none."""
    if name is None:
        return None
    return check_choice(name, MEASURES, where, _words)


def _words(name: str) -> tuple[str, ...]:
    """A measure's other names; the logarithm of a ratio may be written with ln as well."""
    words = MEASURES[name].words
    return *words, *(f"ln{word[3:]}" for word in (*words, name) if word.startswith("log"))


explain(globals(), __all__, "bm.measures.")
