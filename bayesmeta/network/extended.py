"""Models beyond consistency: inconsistency of designs, direct apart from indirect evidence, components that add up."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from bayesmeta._typing import FloatArray, ObjectArray
from bayesmeta._validation import check_name, check_names, listing, shown
from bayesmeta.errors import SpecError
from bayesmeta.model.identification import further
from bayesmeta.model.respecify import with_columns
from bayesmeta.model.spec import Spec
from bayesmeta.network.comparisons import consistency_of, contrast_rows, trials_of
from bayesmeta.tree.response import DIFFERENCE, EFFECT
from bayesmeta.within.trial_tables import incidence

JOINED = " : "  # between the treatments of a design
SPLIT = "direct - indirect"  # coefficient of a split comparison
COMPONENT = "component "  # before the name of one, as a coefficient


def designs_of(spec: Spec) -> ObjectArray:
    """(n_obs,) the set of treatments of the trial of every row, in words."""
    designs = np.empty(len(spec.y), dtype=object)
    for arms, at in trials_of(spec):
        designs[at] = JOINED.join(t for t in spec.analysis["treatments"] if t in arms)
    return designs


def interactions(spec: Spec, designs: ObjectArray, of: Iterable[str]) -> tuple[list[str], FloatArray]:
    """Labels and columns (n, q) by which the effects in these designs may differ from those of all others."""
    own = [t for t in spec.analysis["treatments"] if t != spec.analysis["reference"]]
    effects, of = incidence(contrast_rows(spec), own), list(of)
    names = [f"{t} in {design}" for design in of for t in own]
    columns = np.hstack([(designs == design)[:, None] * effects for design in of] or [effects[:, :0]])
    free = further(spec.X, columns)
    return [names[j] for j in free], columns[:, free]


def _extended(spec: Spec, columns: Mapping[str, FloatArray], coef: Sequence[str], role: str, **record: Any) -> Spec:
    """The network with further columns, whose coefficients have this role, and another fixed part."""
    made = with_columns(spec, columns, coef, "give the treatment another name")
    roles = {each: spec.analysis["roles"].get(each, role) for each in coef}
    return replace(made, analysis={**spec.analysis, **record, "roles": roles})


def design_by_treatment(source: Any) -> Spec:
    """The model of design-by-treatment interaction: every set of treatments that trials compare has its own effects.

    Parameters
    ----------
    source : Spec or DataTree
        A consistency model of `bm.network.specify`, or its results.

    Returns
    -------
    Spec
        With a coefficient "B in A : B : C" for each way in which a design may differ from the effects of the others,
        all zero under consistency: `bm.wald_test` of them tests it globally, as `bm.network.designs` does.

    Raises
    ------
    SpecError
        When the source is no consistency model, or no design can contradict the others.

    References
    ----------
    Higgins, Jackson, Barrett, Lu, Ades and White (2012), Res. Synth. Methods 3:98-110; White, Barrett, Jackson and
    Higgins (2012), Res. Synth. Methods 3:111-125; Jackson, Barrett, Rice, White and Higgins (2014), Stat. Med.
    33:3639-3654.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> bm.network.design_by_treatment(spec).analysis["interactions"][:2]
    ['metformin in metformin : placebo', 'acarbose in acarbose : metformin : placebo']
    """
    spec = consistency_of(source, "design_by_treatment")
    designs = designs_of(spec)
    names, columns = interactions(spec, designs, dict.fromkeys(designs))
    if not names:
        raise SpecError("no design can contradict the others: the network has no closed loop of different trials")
    added = dict(zip(names, columns.T, strict=True))
    record = {"model": "design-by-treatment interaction", "interactions": names}
    return _extended(spec, added, [*spec.coef, *names], DIFFERENCE, **record)


def node_split(source: Any, treatment: str, versus: str) -> Spec:
    """The model in which trials that compare two treatments directly may have another effect than all others.

    Parameters
    ----------
    source : Spec or DataTree
        A consistency model of `bm.network.specify`, or its results.
    treatment, versus : str
        The two treatments.

    Returns
    -------
    Spec
        With the coefficient "direct - indirect", by which `treatment` against `versus` differs in trials that have both
        arms. Half of it belongs to either arm, so that third arms of such trials do not depend on the order of the two.

    Raises
    ------
    SpecError
        When a treatment is unknown, no trial compares the two, or there is no indirect evidence.

    References
    ----------
    Dias, Welton, Caldwell and Ades (2010), Stat. Med. 29:932-944; White (2015), Stata J. 15:951-985, for trials with
    several arms.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> fit = bm.fit(bm.network.node_split(spec, "metformin", "sulfonylurea"))
    >>> fit["estimate"]["beta"].sel(coef="direct - indirect").round(2).item()
    0.63
    """
    spec = consistency_of(source, "node_split")
    for name, value in (("treatment", treatment), ("versus", versus)):
        check_name(value, spec.analysis["treatments"], f"{name}: the network has no", "treatments")
    column = difference_of(spec, treatment, versus)
    if treatment == versus or not column.any():
        raise SpecError(f"no trial compares '{treatment}' with '{versus}', so that there is no direct evidence")
    if not is_identified(spec, column):
        raise SpecError(f"'{treatment}' with '{versus}': all evidence is direct, there is none to compare it with")
    record = {"model": "split of one comparison", "split": [treatment, versus]}
    return _extended(spec, {SPLIT: column}, [*spec.coef, SPLIT], DIFFERENCE, **record)


def difference_of(spec: Spec, treatment: str, versus: str) -> FloatArray:
    """(n,) column of the difference between direct and indirect evidence, zero where no trial has both arms."""
    column, ends = np.zeros(len(spec.y)), incidence(contrast_rows(spec), [treatment, versus]) @ [0.5, -0.5]
    for arms, at in trials_of(spec):
        column[at] = ends[at] * ({treatment, versus} <= {*arms})
    return column


def is_identified(spec: Spec, column: FloatArray) -> bool:
    """Whether a further column says something that the coefficients do not."""
    return bool(further(spec.X, column[:, None]))


def components(source: Any, separator: str = "+", inactive: str | Literal[False] | None = None) -> Spec:
    """The additive model of components: the effect of a combination is the sum of those of its parts.

    Parameters
    ----------
    source : Spec or DataTree
        A consistency model of `bm.network.specify`, or its results.
    separator : str, default "+"
        What stands between the components in names of treatments, as in "drug+psychotherapy".
    inactive : str or False, optional
        A treatment without effect, such as placebo; by default the reference of the network. False: none, so that every
        treatment has components, which combinations must then tell apart.

    Returns
    -------
    Spec
        With a coefficient "component A" for each, the effect of adding it to anything. `bm.network.league` and
        `bm.network.ranking` compare the treatments as before. The random effects are those of the treatments.

    Raises
    ------
    SpecError
        When the separator is in no name, or contrasts do not identify the components.

    References
    ----------
    Welton, Caldwell, Adamopoulos and Vedhara (2009), Am. J. Epidemiol. 169:1158-1165; Rücker, Petropoulou and
    Schwarzer (2020), Biom. J. 62:808-821.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"trial": [1, 2, 3, 4], "drug": ["A", "A+B", "B", "A+B"], "than": ["placebo"] * 3 + ["A"],
    ...           "md": [0.1, 0.9, 0.5, 0.4], "se": [0.2, 0.2, 0.3, 0.3]}
    >>> spec = bm.network.specify(trials, study="trial", treat1="drug", treat2="than", y="md", se="se",
    ...                           reference="placebo")
    >>> bm.network.components(spec).coef
    ('component A', 'component B')
    """
    spec = consistency_of(source, "components")
    treatments = spec.analysis["treatments"]
    inactive = spec.analysis["reference"] if inactive is None else inactive
    if inactive is not False:
        check_name(inactive, treatments, "inactive: the network has no", "treatments")
    if not isinstance(separator, str) or not separator.strip():
        raise SpecError(f"separator is {shown(separator)}; it must be text")
    parts = {t: [] if t == inactive else _parts(t, separator) for t in treatments}
    if all(len(own) < 2 for own in parts.values()):
        raise SpecError(f"separator {shown(separator)} is in no treatment: {listing(treatments, 30)}")
    known = list(dict.fromkeys(c for own in parts.values() for c in own if c != inactive))
    names = [COMPONENT + c for c in known]
    C = np.array([[float(own.count(c)) for c in known] for own in parts.values()])
    C -= C[treatments.index(spec.analysis["reference"])]
    effects = {
        t: [[c, w, None] for c, w in zip(names, own, strict=True) if w]
        for t, own in zip(parts, C.tolist(), strict=True)
    }
    X = incidence(contrast_rows(spec), treatments) @ C
    record = {"model": "additive components", "effects": effects}
    return _extended(spec, dict(zip(names, X.T, strict=True)), names, EFFECT, **record)


def _parts(treatment: str, separator: str) -> list[str]:
    own = [part.strip() for part in re.split(re.escape(separator.strip()), treatment)]
    if "" in own or len(set(own)) < len(own):
        raise SpecError(f"treatment '{treatment}' has an empty component, or one twice")
    return check_names(own, "components")
