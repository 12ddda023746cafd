"""The options of the shell that say how coefficients of fits are tested."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from bayesmeta.errors import SpecError
from bayesmeta.inference.reference import Asked, check_asked
from bayesmeta.tree.posterior_draws import is_posterior


@dataclass(frozen=True)
class Tested:
    """As typed; None where an option was left out."""

    df: str | None = None
    vcov: str | None = None
    cluster: str | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.df, self.vcov, self.cluster))

    def check(self, trees: Iterable[xr.DataTree]) -> None:
        """That the options fit together, and there is a fit that they are for.

        Raises
        ------
        SpecError
            When they do not, or all results are posteriors.
        """
        self.check_pair()
        if self and all(map(is_posterior, trees)):
            raise SpecError("--df and --vcov are for fits: the intervals of posteriors are their own; leave them out")

    def check_pair(self) -> None:
        """That a column of clusters has a covariance that it is for."""
        if self.cluster is not None and self.vcov is None:
            raise SpecError("--cluster belongs to --vcov; add --vcov CR2, or leave --cluster out")

    @property
    def inference(self) -> Asked:
        """As arguments of `bm.estimates`; SpecError for values that there are not."""
        self.check_pair()
        vcov = {"kind": self.vcov, "cluster": self.cluster} if self.cluster is not None else self.vcov
        return check_asked(vcov, self.df)

    def of(self, tree: xr.DataTree) -> dict[str, Any]:
        """Arguments of `bm.estimates` and others for one tree; none for a posterior."""
        if not self or is_posterior(tree):
            return {}
        return self.inference._asdict()
