"""Graphical display of study heterogeneity: the model fitted to all subsets of the groups, or to many of them."""

from functools import partial

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_boolean, check_count, check_seed
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.estimation.parallel import in_order
from bayesmeta.inference.data_groups import Groups, groups_by
from bayesmeta.inference.part_estimates import GROUP, heterogeneity_of, parts_of, variances_of, whole_of
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.row_labels import ByRow
from bayesmeta.tree.specification import spec_from_tree

SUBSET, INCLUDED = "subset", "included"
MOST = 1 << 15  # subsets that are fitted without being asked for
FEWEST = 3  # groups
LARGEST = 62  # groups whose subsets can be numbered; those of more are drawn without regard to repetition
AT_ONCE = 4096  # subsets between two steps of the progress bar


def gosh(
    tree: xr.DataTree,
    subsets: int | None = None,
    by: ByRow | None = None,
    *,
    random_seed: int | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Fit the model to all subsets of the studies: whether the estimates fall into clusters, and who makes them.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`, also read back from a file.
    subsets : int, optional
        How many subsets are fitted. By default all of up to fifteen groups, and 32,768 drawn at random of more. All
        are fitted where there are no more of them than this.
    by : str or sequence, optional
        What a subset consists of, as in `bm.leave_one_out`: by default groups of the outer level.
    random_seed : int, optional
        Seed of the draw; by default another one each time.
    progress : bool, default False
        Whether a progress bar is shown.

    Returns
    -------
    Dataset
        Over `subset`: `estimate` and `se` (subset, coef); `tau2`, of several variances over `variance`; `Q`, `I2` in
        percent and `H2`, from tau2; `k`, the number of groups; `included` (subset, group); `converged`. Subsets have at
        least two groups and more observations than coefficients; those that do not identify the coefficients are NaN.
        Attributes: `by`, `method`, and `sampled`, whether the subsets are a sample.

    Raises
    ------
    SpecError
        When `tree` is a posterior, there are fewer than three groups, none of the subsets that are drawn can be fitted,
        or an argument is not a number of its kind.

    Warns
    -----
    AssumptionWarning
        When subsets do not identify the coefficients.

    See Also
    --------
    bayesmeta.plots.gosh : The estimates against their heterogeneity.
    bayesmeta.influence : Without one group at a time.

    References
    ----------
    Olkin, Dahabreh and Trikalinos (2012), Res. Synth. Methods 3:214-223.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> subsets = bm.gosh(fit)
    >>> subsets.sizes["subset"], round(float(subsets["I2"].mean()), 1)
    (8178, 84.5)
    """
    check_boolean(progress, "progress")
    check_seed(random_seed)
    if subsets is not None:
        check_count(subsets, "subsets")
    if is_posterior(tree):
        raise SpecError(
            "gosh fits the model to subsets of the data, and a posterior would be sampled anew for each\n"
            "  bm.gosh(bm.fit(spec)) fits them by REML"
        )
    whole = whole_of(tree)
    groups = groups_by(whole.spec, by, "gosh")
    if groups.n < FEWEST:
        raise SpecError(f"gosh: there are {groups.n} groups; it takes {FEWEST} at least")
    included = _included(groups.n, MOST if subsets is None else subsets, random_seed)
    keep = included[:, groups.of_obs(whole.spec)]
    enough = (included.sum(1) >= 2) & (keep.sum(1) > len(whole.spec.coef))
    if not enough.any():
        raise SpecError(
            f"gosh: subsets={subsets} were drawn, none with two groups and more observations than the "
            f"{len(whole.spec.coef)} coefficients\n  take more subsets, or none to take them all"
        )
    table = _table(tree, groups, included[enough], keep[enough], progress)
    return table.assign_attrs(sampled=int(groups.n > LARGEST or len(included) < 1 << groups.n))


def _included(n: int, most: int, seed: int | None) -> BoolArray:
    """(subsets, n) all subsets, or different ones drawn at random where there are more than `most`."""
    if n > LARGEST:
        return np.random.default_rng(seed).random((most, n)) < 0.5
    if (1 << n) <= most:
        return _bits(np.arange(1 << n), n)
    return _bits(np.sort(np.random.default_rng(seed).choice(1 << n, most, replace=False)), n)


def _bits(numbers: np.ndarray, n: int) -> BoolArray:
    return np.asarray((numbers[:, None] >> np.arange(n)) & 1, dtype=bool)


def _table(tree: xr.DataTree, groups: Groups, included: BoolArray, keep: BoolArray, progress: bool) -> xr.Dataset:
    blocks = [keep[start : start + AT_ONCE] for start in range(0, len(keep), AT_ONCE)]
    results = list(in_order(partial(_fitted, tree), blocks, 1, progress, "subsets"))
    columns = {name: np.concatenate([each[name] for each in results]) for name in results[0]}
    if unknown := int(np.isnan(columns["estimate"]).any(1).sum()):
        warn(f"{unknown} of {len(keep)} subsets do not identify the coefficients: NaN", AssumptionWarning)
    spec = spec_from_tree(tree)
    psi = [columns.pop(schema.psi(level.name)) for level in spec.levels]
    tau2, labels = variances_of(spec, psi, SUBSET, "tau2")
    variables = {name: ((SUBSET, schema.COEF)[: values.ndim], values) for name, values in columns.items()}
    variables |= tau2 | {"k": (SUBSET, included.sum(1)), INCLUDED: ((SUBSET, GROUP), included)}
    coords = labels | {schema.COEF: list(spec.coef), GROUP: list(groups.names)}
    attrs = {"by": groups.kind or "row", "method": str(tree.attrs["method"])}
    return xr.Dataset(variables, coords, attrs)


def _fitted(tree: xr.DataTree, keep: BoolArray) -> dict[str, FloatArray]:
    """Estimates from some subsets, and their heterogeneity."""
    parts = parts_of(tree, keep)
    fits, variation = parts.fits, heterogeneity_of(parts)
    psi = {schema.psi(level.name): own for level, own in zip(parts.spec.levels, fits.psi, strict=True)}
    return psi | {
        "estimate": fits.beta,
        "se": np.sqrt(np.diagonal(fits.beta_cov, axis1=1, axis2=2)),
        "Q": variation.Q[:, 0],
        "I2": variation.I2[:, 0],
        "H2": variation.H2[:, 0],
        "converged": fits.converged,
    }
