"""`fit`: from a specification to a results tree by a frequentist method."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bayesmeta.errors import SpecError, did_you_mean, listing
from bayesmeta.estimators import Estimate, fit_fixed, fit_likelihood
from bayesmeta.spec import Spec

if TYPE_CHECKING:
    import xarray as xr

METHODS: dict[str, Callable[..., Estimate]] = {
    "reml": lambda spec, **options: fit_likelihood(spec, restricted=True, **options),
    "ml": lambda spec, **options: fit_likelihood(spec, restricted=False, **options),
    "fixed": fit_fixed,
}
OPTIONS = {"reml": ("start", "max_iterations", "tolerance", "verbose"), "fixed": ()}
OPTIONS["ml"] = OPTIONS["reml"]


def fit(spec: Spec, method: str = "reml", *, random_effects: bool | None = None, **options: Any) -> "xr.DataTree":
    """Fit a specification by a frequentist method.

    Parameters
    ----------
    spec : from `bm.specify`.
    method : "reml" restricted maximum likelihood, "ml" maximum likelihood, "fixed" common effects (every Psi zero, the
        groups kept).
    random_effects : whether the predicted random effects are kept in the tree; by default up to a million of them.
    **options : for "reml" and "ml": `start`, free parameters xi to begin at, in the order of the tree's `free`;
        `max_iterations` of one quasi-Newton search (200); `tolerance` of the convergence test, on the gradient of the
        log-likelihood for relative changes of the parameters (1e-6); `verbose` prints the iterations.

    Returns
    -------
    xr.DataTree
        The results tree, which contains the specification: every later question takes it alone.

    Raises
    ------
    SpecError
        When the method or an option is unknown.

    Notes
    -----
    Sera et al. (2019), Stat. Med. 38:5429, equation (2) and section 3.2. A search that fails its convergence test gives
    a ConvergenceWarning and `converged` false in /optimizer.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    >>> tree = bm.fit(spec, method="ml")
    >>> round(float(tree["estimate"]["beta"][0]), 3)
    -0.742
    """
    from bayesmeta.results import from_estimate

    if method not in METHODS:
        raise SpecError(f"unknown method {method!r}{did_you_mean(method, METHODS)}\n  known: {listing(METHODS)}")
    for name in options:
        if name not in OPTIONS[method]:
            known = listing(OPTIONS[method]) or "none"
            raise SpecError(
                f"method '{method}' has no option '{name}'{did_you_mean(name, OPTIONS[method])}\n  options: {known}"
            )
    return from_estimate(spec, METHODS[method](spec, **options), random_effects)
