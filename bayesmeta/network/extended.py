"""Models beyond consistency: inconsistency of designs, direct apart from indirect evidence, components that add up."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_name, check_names, listing, shown
from bayesmeta.errors import SpecError
from bayesmeta.io.long_tables import by_label
from bayesmeta.model.respecify import with_fixed
from bayesmeta.model.spec import Spec
from bayesmeta.network.comparisons import network_of
from bayesmeta.network.consistency import TREATMENT, VERSUS, quoted
from bayesmeta.tree.response import DIFFERENCE, EFFECT

JOINED = " : "  # between the treatments of a design
SPLIT = "direct - indirect"  # coefficient of a split comparison
COMPONENT = "component "  # before the name of one, as a coefficient
_RANK = 1e-9


def arms_of(spec: Spec) -> list[set[str]]:
    """For every row the treatments of its trial."""
    rows = spec.data.loc[spec.kept]
    arms: list[set[str]] = [set()] * len(rows)
    for _, at in by_label(rows[spec.analysis["study"]].astype(str).to_numpy()):
        own = {*rows[TREATMENT].iloc[at], *rows[VERSUS].iloc[at]}
        for i in at:
            arms[i] = own
    return arms


def designs_of(spec: Spec) -> np.ndarray:
    """(n_obs,) the set of treatments of the trial of every row, in words."""
    treatments = spec.analysis["treatments"]
    return np.array([JOINED.join(t for t in treatments if t in arms) for arms in arms_of(spec)], dtype=object)


def interactions(spec: Spec, designs: np.ndarray, of: Sequence[str]) -> tuple[list[str], FloatArray]:
    """Labels and columns (n, q) by which the effects in these designs may differ from those of all others."""
    own = [t for t in spec.analysis["treatments"] if t != spec.analysis["reference"]]
    X = spec.data.loc[spec.kept, own].to_numpy(float)
    columns = [((designs == d) * X[:, j], f"{own[j]} in {d}") for d in of for j in range(X.shape[1])]
    kept: list[tuple[FloatArray, str]] = []
    basis = np.linalg.qr(spec.X)[0]
    for column, name in columns:
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        if (size := np.linalg.norm(rest)) > _RANK * max(1.0, np.linalg.norm(column)):
            basis = np.column_stack([basis, rest / size])
            kept.append((column, name))
    return [name for _, name in kept], np.column_stack([c for c, _ in kept]) if kept else np.zeros((len(X), 0))


def _with_columns(spec: Spec, added: Mapping[str, FloatArray], fixed: Sequence[str], **changed: Any) -> Spec:
    """The network with further columns, and another fixed part."""
    data = spec.data.copy()
    for name, values in added.items():
        if name in data.columns:
            raise SpecError(f"the contrasts already have a column '{name}'\n  give the treatment another name")
        data[name] = 0.0
        data.loc[spec.kept, name] = values
    outcome = str(spec.terms.fixed).split("~")[0].strip()
    terms = replace(spec.terms, fixed=f"{outcome} ~ 0 + {' + '.join(map(quoted, fixed))}")
    made = with_fixed(spec, terms, data)
    roles = {coef: spec.analysis["roles"].get(coef, changed.get("role", DIFFERENCE)) for coef in made.coef}
    changed.pop("role", None)
    return replace(made, analysis={**spec.analysis, **changed, "roles": roles})


def _plain(source: Any, function: str) -> Spec:
    spec = network_of(source, function)
    if spec.analysis["model"] != "consistency" or spec.analysis["covariates"]:
        raise SpecError(
            f"bm.network.{function} begins with a consistency model without covariates, this is one of "
            f"{'covariates' if spec.analysis['covariates'] else spec.analysis['model']}"
        )
    return spec


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
    spec = _plain(source, "design_by_treatment")
    designs = designs_of(spec)
    names, columns = interactions(spec, designs, list(dict.fromkeys(designs)))
    if not names:
        raise SpecError("no design can contradict the others: the network has no closed loop of different trials")
    return _with_columns(
        spec,
        dict(zip(names, columns.T, strict=True)),
        [*spec.coef, *names],
        model="design-by-treatment interaction",
        interactions=names,
    )


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
    spec = _plain(source, "node_split")
    for name, value in (("treatment", treatment), ("versus", versus)):
        check_name(value, spec.analysis["treatments"], f"{name}: the network has no", "treatments")
    column = difference_of(spec, treatment, versus)
    if treatment == versus or not column.any():
        raise SpecError(f"no trial compares '{treatment}' with '{versus}', so that there is no direct evidence")
    if not is_identified(spec, column):
        raise SpecError(f"'{treatment}' with '{versus}': all evidence is direct, there is none to compare it with")
    return _with_columns(
        spec, {SPLIT: column}, [*spec.coef, SPLIT], model="split of one comparison", split=[treatment, versus]
    )


def difference_of(spec: Spec, treatment: str, versus: str) -> FloatArray:
    """(n,) column of the difference between direct and indirect evidence, zero where no trial has both arms."""
    rows, both = spec.data.loc[spec.kept], np.array([{treatment, versus} <= arms for arms in arms_of(spec)])
    ends = [(rows[TREATMENT] == t).to_numpy(float) - (rows[VERSUS] == t).to_numpy(float) for t in (treatment, versus)]
    return np.asarray(both * (ends[0] - ends[1]) / 2)


def is_identified(spec: Spec, column: FloatArray) -> bool:
    """Whether a further column says something that the coefficients do not."""
    return bool(np.linalg.matrix_rank(np.column_stack([spec.X, column]), tol=1e-8) > spec.X.shape[1])


def components(source: Any, separator: str = "+", inactive: str | None = None) -> Spec:
    """The additive model of components: the effect of a combination is the sum of those of its parts.

    Parameters
    ----------
    source : Spec or DataTree
        A consistency model of `bm.network.specify`, or its results.
    separator : str, default "+"
        What stands between the components in names of treatments, as in "drug+psychotherapy".
    inactive : str, optional
        A treatment without effect, such as placebo; by default the reference of the network.

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
    spec = _plain(source, "components")
    treatments = spec.analysis["treatments"]
    inactive = spec.analysis["reference"] if inactive is None else inactive
    check_name(inactive, treatments, "inactive: the network has no", "treatments")
    if not isinstance(separator, str) or not separator.strip():
        raise SpecError(f"separator is {shown(separator)}; it must be text")
    parts = {t: [] if t == inactive else _parts(t, separator) for t in treatments}
    if all(len(own) < 2 for own in parts.values()):
        raise SpecError(f"separator {shown(separator)} is in no treatment: {listing(treatments, 30)}")
    known = list(dict.fromkeys(c for own in parts.values() for c in own if c != inactive))
    C = pd.DataFrame([[float(own.count(c)) for c in known] for own in parts.values()], list(parts), known)
    rows = spec.data.loc[spec.kept]
    X = C.loc[rows[TREATMENT]].to_numpy() - C.loc[rows[VERSUS]].to_numpy()
    names = [COMPONENT + c for c in known]
    base = C.loc[spec.analysis["reference"]]
    effects = {
        t: [[COMPONENT + c, float(C.loc[t, c] - base[c]), None] for c in known if C.loc[t, c] != base[c]]
        for t in treatments
    }
    return _with_columns(
        spec, dict(zip(names, X.T, strict=True)), names, model="additive components", effects=effects, role=EFFECT
    )


def _parts(treatment: str, separator: str) -> list[str]:
    own = [part.strip() for part in re.split(re.escape(separator.strip()), treatment)]
    if "" in own or len(set(own)) < len(own):
        raise SpecError(f"treatment '{treatment}' has an empty component, or one twice")
    return check_names(own, "components")
