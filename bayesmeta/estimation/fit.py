"""`fit`: from a specification to a results tree by a frequentist method."""

from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from bayesmeta._validation import did_you_mean, listing
from bayesmeta.errors import SpecError
from bayesmeta.estimation import TAU2, Estimate, fit_fixed, fit_likelihood, fit_mm, fit_tau2, fit_vc
from bayesmeta.estimation.result_tree import from_estimate
from bayesmeta.model.spec import Spec

if TYPE_CHECKING:
    import xarray as xr

METHODS: dict[str, Callable[..., Estimate]] = {
    "reml": partial(fit_likelihood, restricted=True),
    "ml": partial(fit_likelihood, restricted=False),
    "fixed": fit_fixed,
    "mm": fit_mm,
    "vc": fit_vc,
    **{name: partial(fit_tau2, method=name) for name in TAU2},
}
OPTIONS = dict.fromkeys(METHODS, ()) | {
    **dict.fromkeys(("reml", "ml"), ("start", "max_iterations", "tolerance", "verbose")),
    "vc": ("vc_adjust", "max_iterations", "tolerance"),
    **dict.fromkeys(("pm", "pmm"), ("tolerance",)),
}


def fit(spec: Spec, method: str = "reml", *, random_effects: bool | None = None, **options: Any) -> "xr.DataTree":
    """Fit a specification by a frequentist method.

    Parameters
    ----------
    spec : from `bm.specify`.
    method : "reml" restricted maximum likelihood, "ml" maximum likelihood, "fixed" common effects (every Psi zero, the
        groups kept). By moments, for one level whose groups are the rows, with unstructured Psi: "mm" the matrix-based
        method of moments, "vc" iterated variance components. For one outcome also the estimators of tau2 "dl"
        DerSimonian-Laird (which "mm" equals there), "he" Hedges, "hs" Hunter-Schmidt, "sj" Sidik-Jonkman, "eb"
        empirical Bayes, "pm" Paule-Mandel (the solution of the same equation as "eb"), "pmm" its median-unbiased form.
    random_effects : whether the predicted random effects are kept in the tree; by default up to a million of them.
    **options : for "reml" and "ml": `start`, free parameters xi to begin at, in the order of the tree's `free`;
        `max_iterations` of one quasi-Newton search (200); `tolerance` of the convergence test, on the gradient of the
        log-likelihood for relative changes of the parameters (1e-6); `verbose` prints the iterations.
        For "vc": `vc_adjust`, whether residuals are divided by the square root of I - H_ii (True), or the number of
        coefficients is subtracted from the divisor (False); `max_iterations` (1000) and `tolerance` of the changes of
        Psi, relative to it and the sampling variances (1.5e-8).
        For "pm" and "pmm": `tolerance` of the root in tau2, in its units; by default nothing but rounding is left.

    Returns
    -------
    xr.DataTree
        The results tree, which contains the specification: every later question takes it alone.

    Raises
    ------
    SpecError
        When the method or an option is unknown, and for a method by moments when the model is none that it can fit.
    DataError
        When a method by moments has too few rows, or outcomes that are never observed together.

    Notes
    -----
    Sera et al. (2019), Stat. Med. 38:5429, equation (2) and section 3.2. A search that fails its convergence test gives
    a ConvergenceWarning and `converged` false in /optimizer.

    Methods by moments have no likelihood: `loglik` and the criteria are NaN. "mm" (Jackson, White and Riley 2013, Biom.
    J. 55:231-245) and "vc" leave missing outcomes out of every sum and mean and take them as missing completely at
    random, which a warning says; they set negative eigenvalues of Psi to zero and give no standard error of it. The
    estimators of tau2 are truncated at zero; the standard error of tau is that of tau2 over 2 tau, where
    tau2 = c y'Py + constant has the standard error c sqrt(2 tr(P M P M)) with the marginal variances M at the estimate
    (Viechtbauer 2005, J. Educ. Behav. Stat. 30:261-293; Viechtbauer et al. 2015, Psychol. Methods 20:360-374).

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    >>> tree = bm.fit(spec, method="ml")
    >>> round(float(tree["estimate"]["beta"][0]), 3)
    -0.742
    """
    if not isinstance(spec, Spec):
        raise SpecError(f"fit takes a specification from bm.specify, not a {type(spec).__name__}")
    if method not in METHODS:
        raise SpecError(f"unknown method {method!r}{did_you_mean(method, METHODS)}\n  known: {listing(METHODS, 12)}")
    for name in options:
        if name not in OPTIONS[method]:
            known = listing(OPTIONS[method]) or "none"
            raise SpecError(
                f"method '{method}' has no option '{name}'{did_you_mean(name, OPTIONS[method])}\n  options: {known}"
            )
        check_option(name, options[name])
    return from_estimate(spec, METHODS[method](spec, **options), random_effects)


def check_option(name: str, value: Any) -> None:
    """Refuse numbers of iterations that are not positive integers, and tolerances that are not positive numbers."""
    if name == "max_iterations" and (isinstance(value, bool) or not isinstance(value, Integral) or value < 1):
        raise SpecError(f"max_iterations is {value!r}; give a positive integer")
    if name == "tolerance" and (isinstance(value, bool) or not isinstance(value, Real) or not float(value) > 0):
        raise SpecError(f"tolerance is {value!r}; give a positive number")
