"""What must hold for a sampling covariance: positive variances, symmetry, independent groups, positive definiteness."""

import numpy as np

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.errors import DataError
from bayesmeta.model.magnitudes import check_variance_range, check_variance_ratios
from bayesmeta.model.observations import Observations
from bayesmeta.model.spec import SamplingCovariance

ASYMMETRY = 1e-8  # of the two standard errors: more than rounding, less than a misprint
INDEFINITE = 8 * np.finfo(float).eps  # per row, of the smallest eigenvalue on the correlation scale: rounding
NEARLY_ONE = 0.9995  # a correlation that three digits would print as one
SINGULAR = 1e-12  # of the same: below, the last digits of the entries decide about the results


def check_symmetric(matrices: FloatArray, obs: IntArray, observations: Observations, source: str) -> None:
    """Matrices (b, s, s), whose rows belong to the observations obs (b, s), -1 for none, equal their transposes."""
    sd = np.sqrt(np.abs(np.diagonal(matrices, axis1=1, axis2=2)))
    there = obs >= 0
    with np.errstate(invalid="ignore"):
        off = np.abs(matrices - matrices.swapaxes(1, 2)) > ASYMMETRY * sd[:, :, None] * sd[:, None, :]
    bad = off & there[:, :, None] & there[:, None, :]
    if bad.any():
        b, i, j = np.argwhere(bad)[0]
        pair = f"{observations.name(obs[b, i])} with {observations.name(obs[b, j])}"
        raise DataError(
            f"sampling covariance of {observations.group_name(obs[b, i])} is not symmetric: {pair}"
            f" is {matrices[b, i, j]:.6g} and {matrices[b, j, i]:.6g} ({source})"
            "\n  entries (i, j) and (j, i) must be the same"
        )


def check_variances(variances: FloatArray, observations: Observations, source: str, of_errors: bool = False) -> None:
    """Every observation has a finite positive sampling variance, or standard error of which it is the square."""
    what, article = ("standard error", "a") if of_errors else ("sampling variance", "the squared")
    for bad, problem in (
        (np.isnan(variances), "missing where the outcome is observed"),
        (np.isinf(variances), "infinite"),
        (variances == 0, "zero"),
        (variances < 0, "negative"),
    ):
        if bad.any():
            raise DataError(
                f"{what} of {observations.names(np.flatnonzero(bad))} is {problem} ({source})\n"
                f"  give {article} standard error, which is positive, or set the outcome to missing"
            )
    check_variance_range(variances, _variance(of_errors), lambda at: f"{observations.place(at)} ({source})")


def _variance(of_errors: bool) -> str:
    return "the square of the standard error" if of_errors else "sampling variance"


def check_entries(S: SamplingCovariance, observations: Observations, source: str, of_errors: bool = False) -> None:
    """Variances in the range that can be computed with, and no covariance missing or infinite."""
    check_variances(S.variances, observations, source, of_errors)
    check_variance_ratios(
        S.variances, observations.outcome, _variance(of_errors), lambda at: f"{observations.place(at)} ({source})"
    )
    bad = ~np.isfinite(S.value)
    if bad.any():
        first = np.argmax(bad)
        pair = f"{observations.name(S.row[first])} and {observations.name(S.col[first])}"
        what = "missing" if np.isnan(S.value[first]) else "infinite"
        raise DataError(
            f"sampling covariance of {pair} is {what} although both are observed ({source})"
            "\n  fill it in, or set one of the outcomes to missing"
        )


def check_correlations(matrices: FloatArray, observations: Observations, source: str) -> None:
    both = observations.observed[:, :, None] & observations.observed[:, None, :]
    bad = ~(np.abs(matrices) <= 1) & both
    if bad.any():
        row, i, j = np.argwhere(bad)[0]
        pair = f"{observations.outcomes[min(i, j)]} and {observations.outcomes[max(i, j)]}"
        value = "missing" if np.isnan(matrices[row, i, j]) else f"{matrices[row, i, j]:.6g}"
        raise DataError(
            f"S_correlation of {pair} in row {observations.row_labels[row]} is {value};"
            f" expected a number from -1 to 1 ({source})"
        )


def check_independence(S: SamplingCovariance, observations: Observations) -> None:
    """S may not couple groups that the model takes as independent."""
    group = observations.group[observations.row]
    bad = group[S.row] != group[S.col]
    if bad.any():
        first = np.argmax(bad)
        names = [observations.group_name(obs) for obs in (S.col[first], S.row[first])]
        raise DataError(
            f"S couples {names[0]} with {names[1]}, which the model takes as independent\n"
            "  name a grouping factor that holds both, with random= or groups="
        )


def check_positive_definite(S: SamplingCovariance, observations: Observations, source: str) -> None:
    """Every set of observations that S couples has a positive definite covariance; sets of one size go together."""
    coupled = S.row != S.col
    if not coupled.any():
        return
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(S.variances)
    graph = coo_array((np.ones(coupled.sum()), (S.row[coupled], S.col[coupled])), shape=(n, n))
    n_sets, of_set = connected_components(graph, directed=False)
    size = np.bincount(of_set)
    members = np.argsort(of_set, kind="stable")  # observations, set by set
    start = np.cumsum(size) - size
    place = np.empty(n, dtype=np.int64)
    place[members] = np.arange(n) - start[of_set[members]]
    scaled = S.value / np.sqrt(S.variances[S.row] * S.variances[S.col])
    rank = np.empty(n_sets, dtype=np.int64)
    for s in np.unique(size[size > 1]):
        sets = np.flatnonzero(size == s)
        rank[sets] = np.arange(len(sets))
        entry = np.flatnonzero(size[of_set[S.row]] == s)
        R = np.zeros((len(sets), s, s))
        at, i, j = rank[of_set[S.row[entry]]], place[S.row[entry]], place[S.col[entry]]
        R[at, i, j] = R[at, j, i] = scaled[entry]
        bad = np.linalg.eigvalsh(R)[:, 0] < max(SINGULAR, INDEFINITE * s)
        if bad.any():
            first = int(np.argmax(bad))
            obs = members[start[sets[first]] : start[sets[first]] + s]
            raise DataError(_not_positive_definite(R[first], obs, S.variances[obs], observations, source))


def _not_positive_definite(
    R: FloatArray, obs: IntArray, variances: FloatArray, observations: Observations, source: str
) -> str:
    low, high = np.unravel_index(np.argmax(np.abs(np.triu(R, 1))), R.shape)
    rows = np.unique(observations.row[obs])
    where = f"{source}, row{'s' * (len(rows) > 1)} {listing([observations.row_labels[r] for r in rows])}"
    smallest = np.linalg.eigvalsh(R)[0]
    if smallest > INDEFINITE * len(R):
        problem = f"nearly singular (smallest eigenvalue of its correlations {smallest:.1e}, less than {SINGULAR:g})"
        advice = "leave out what follows from the others"
    else:
        covariance = R * np.sqrt(np.outer(variances, variances))
        problem = f"not positive definite (smallest eigenvalue {np.linalg.eigvalsh(covariance)[0]:.1e})"
        # correlations R shrunk by t have the eigenvalues 1 + t (those of R less 1)
        advice = f"check the row; its correlations are possible at less than {1 / (1 - smallest):.4g} times these"
    correlation = f"{R[low, high]:.3g}" if abs(R[low, high]) < NEARLY_ONE else f"{R[low, high]:.16g}"
    return (
        f"sampling covariance of {observations.group_name(obs[0])} is {problem}\n"
        f"  {where}; implied correlation of {_pair(obs[low], obs[high], observations)} is {correlation}\n"
        f"  {advice}, or pass the nearest positive definite matrix from bm.within.nearest(...)"
    )


def _pair(first: int, second: int, observations: Observations) -> str:
    if observations.row[first] == observations.row[second]:
        return " and ".join(observations.outcomes[observations.outcome[obs]] for obs in (first, second))
    return f"{observations.name(first)} and {observations.name(second)}"
