"""`fit`: from a specification to a results tree by a frequentist method."""

import logging
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import ArrayLike

from bayesmeta._validation import check_boolean, check_booleans, check_integer, check_number, shown
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_named
from bayesmeta.estimation.result_tree import from_estimate
from bayesmeta.model.identification import warn_without_effects
from bayesmeta.model.spec import Spec, check_spec

if TYPE_CHECKING:
    import xarray as xr

LOGGER = logging.getLogger("bayesmeta")
MethodName = Literal["reml", "ml", "fixed", "mm", "vc", "dl", "he", "hs", "sj", "eb", "pm", "pmm"]


def fit(
    spec: Spec,
    method: MethodName | str = "reml",
    *,
    start: ArrayLike | None = None,
    max_iterations: int | None = None,
    tolerance: float | None = None,
    verbose: bool | None = None,
    vc_adjust: bool | None = None,
    random_effects: bool | None = None,
) -> "xr.DataTree":
    """Fit a specification by a frequentist method.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`.
    method : str, default "reml"
        "reml" restricted maximum likelihood, "ml" maximum likelihood, "fixed" common effects (every Psi zero, the
        groups kept). By moments, for one level whose groups are the rows, with unstructured Psi: "mm" the matrix-based
        method of moments, "vc" iterated variance components. For one outcome also the estimators of tau2 "dl"
        DerSimonian-Laird (which "mm" equals there; also where groups of rows share effects with one variance, as in
        networks), "he" Hedges, "hs" Hunter-Schmidt, "sj" Sidik-Jonkman, "eb" empirical Bayes, "pm" Paule-Mandel (the
        solution of the same equation as "eb"), "pmm" its median-unbiased form.
    start : array_like, optional
        For "reml" and "ml": free parameters xi at which the one climb begins, in the order of the tree's `free`; by
        default climbs begin at the best points of a scan.
    max_iterations : int, optional
        For "reml" and "ml" of one climb, 200 by default; for "vc" 1000.
    tolerance : float, optional
        For "reml" and "ml" of the convergence test, on the Newton decrement g'H^-1 g, twice the log-likelihood that is
        still to be gained, 1e-12 by default. For "vc" of the changes of Psi, relative to it and the sampling
        variances, 1.5e-8.
        For "pm" and "pmm" of the root in tau2, in its units; by default nothing but rounding is left.
    verbose : bool, optional
        For "reml" and "ml": whether the iterations are printed; by default they are not.
    vc_adjust : bool, optional
        For "vc": whether residuals are divided by the square root of I - H_ii (True, the default), or the number of
        coefficients is subtracted from the divisor (False).
    random_effects : bool, optional
        Whether the predicted random effects are kept in the tree; by default where they are at most a million.

    Returns
    -------
    DataTree
        The results tree, which contains the specification: every later question takes it alone. The page
        docs/results_tree.md says what is where.

    Raises
    ------
    SpecError
        When the method is unknown or does not take one of the options given, and for a method by moments when it
        cannot fit the model.
    DataError
        When a method by moments has too few rows, or outcomes that are never observed together.

    Notes
    -----
    Sera et al. (2019), Stat. Med. 38:5429, equation (2) and section 3.2. A search that fails its convergence test gives
    a ConvergenceWarning and `converged` false in /optimizer.

    Methods by moments have no likelihood: `loglik` and the criteria are NaN. "mm" (Jackson, White and Riley 2013, Biom.
    J. 55:231-245) and "vc" leave missing outcomes out of every sum and mean and take them as missing completely at
    random, which a warning says; they set negative eigenvalues of Psi to zero. The estimators of tau2 are truncated at
    zero.

    Standard errors of variances, `tau2_L_se`, exist at zero too. By "ml" and "reml" they are there those of the
    expected information, elsewhere of the observed one. By moments they are those of quadratic forms in normal
    variables with known weights, taken at the estimate: tau2 = c y'Py + constant has the standard error
    c sqrt(2 tr(P M P M)) with the marginal variances M (Viechtbauer 2005, J. Educ. Behav. Stat. 30:261-293;
    Viechtbauer et al. 2015, Psychol. Methods 20:360-374). The standard error of tau is that of tau2 over 2 tau.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    >>> tree = bm.fit(spec, method="ml")
    >>> round(float(tree["estimate"]["beta"][0]), 3)
    -0.742
    """
    check_spec(spec, "fit")
    estimator = method_named(method)
    options = {
        "start": start,
        "max_iterations": max_iterations,
        "tolerance": tolerance,
        "verbose": verbose,
        "vc_adjust": vc_adjust,
    }
    chosen = {name: value for name, value in options.items() if value is not None}
    estimator.check_options(chosen)
    check_booleans(random_effects=random_effects)
    for name, value in chosen.items():
        check_option(name, value)
    if estimator.likelihood != "full":
        warn_without_effects(spec.levels)
    LOGGER.debug("fit by %s: %d observations, %d coefficients", estimator.name, spec.n_obs, len(spec.coef))
    return from_estimate(spec, estimator.estimate(spec, **chosen), random_effects)


def check_option(name: str, value: Any) -> None:
    """Refuse numbers of iterations that are not positive integers, and tolerances that are not positive numbers."""
    if name == "max_iterations":
        check_integer(value, name, 1)
    if name == "tolerance" and check_number(value, name, above=0) >= 1:
        raise SpecError(f"tolerance is {shown(value)}; it must be a finite number greater than 0 and less than 1")
    if name in ("verbose", "vc_adjust"):
        check_boolean(value, name)
