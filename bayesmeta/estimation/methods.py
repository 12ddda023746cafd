"""The register of estimation methods: what each is called, which options it takes, and what it can do.

An estimator enters itself by `register`; everything else asks its record and never compares names. So an estimator
added from outside appears in `fit`, `fit_many`, summaries, comparisons and reports without a change to any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from bayesmeta._validation import check_choice, check_name, did_you_mean
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.estimation.record import Estimate

REGISTER: dict[str, "Method"] = {}


@dataclass(frozen=True)
class Method:
    """An estimation method.

    Parameters
    ----------
    name : str
        What `fit(method=)` calls it, such as "reml".
    label : str
        What a summary calls it: "restricted maximum likelihood (REML)".
    short : str
        What a table or a picture calls it: "REML".
    estimate : callable
        Specification -> Estimate; it takes the `options` as keyword arguments.
    options : tuple of str
        The options of `fit` that it takes.
    likelihood : {"full", "restricted"} or None
        The likelihood that it maximises; None for moments, whose fits have no log-likelihood and no criteria.
    zero_psi : bool
        Whether every Psi is zero by assumption: common effects.
    missing : str
        What a missing outcome is taken as.
    together : callable or None
        `estimate` for many data sets at once, see `fit_many`; None to take them one by one.
    synonyms : tuple of str
        Other words for it, of other software or of the literature, that are taken as well, in any case.
    reference : str
        The publication that a paper cites for it, as in a list of references; empty where there is none to cite.
    one_variance : callable or None
        `estimate` for many data sets of one outcome with one random effect a row: Y (B, n), NaN where missing, X (n, P)
        and sampling variances (B, n) or (n,) -> `kernel.one_variance.RowFits`; None for other ways.
    """

    name: str
    label: str
    short: str
    estimate: Callable[..., Estimate]
    options: tuple[str, ...] = ()
    likelihood: Literal["full", "restricted"] | None = None
    zero_psi: bool = False
    missing: str = "missing at random"
    together: Callable[..., Any] | None = None
    synonyms: tuple[str, ...] = ()
    reference: str = ""
    one_variance: Callable[..., Any] | None = None

    @property
    def searches(self) -> bool:
        """Whether the free parameters of Psi are those at which a likelihood has its maximum."""
        return self.likelihood is not None and not self.zero_psi

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise SpecError for an option that this method does not take."""
        for name in options:
            check_name(name, self.options, f"method '{self.name}' has no option", "options")


def register(method: Method) -> Method:
    """Enter a method into the register under its name, in place of one that has it already.

    Parameters
    ----------
    method : Method
        The record of an estimator of one's own.

    Returns
    -------
    Method
        The same record.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> from dataclasses import replace
    >>> def half(spec):
    ...     dl = REGISTER["dl"].estimate(spec)
    ...     return replace(dl, method="half", psi=tuple(psi / 2 for psi in dl.psi))
    >>> record = register(Method("half", "half of DerSimonian and Laird's tau2", "DL/2", half))
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    >>> [bm.fit(spec, method)["estimate"]["psi_unit"].round(4).item() for method in ("dl", "half")]
    [0.3663, 0.1832]
    >>> del REGISTER["half"]
    """
    REGISTER[method.name] = method
    return method


def method_named(name: str, where: str = "method") -> Method:
    """The method of this name or synonym, in any case; SpecError when there is none."""
    return REGISTER[check_choice(name, REGISTER, where, lambda each: REGISTER[each].synonyms)]


def method_of(tree: xr.DataTree) -> Method:
    """The method that wrote a results tree; of "bayes", and of one that is not registered here, only the name."""
    name = str(tree.attrs.get("method", ""))
    if name not in REGISTER and tree.attrs.get("backend") == "fit":
        warn(
            f"method {name!r} of this tree is not registered here, so it has a name and no likelihood"
            f"{did_you_mean(name, REGISTER)}",
            AssumptionWarning,
        )
    return REGISTER.get(name) or Method(name, label=name, short=name, estimate=_not_registered)


def _not_registered(spec: Any, **options: Any) -> Estimate:
    raise SpecError(
        "the method of this tree is not registered; import the package that registers it"
        "\n  bm.estimation.register enters it"
    )
