"""p values of Wald tests with a sandwich covariance, by the wild bootstrap over its clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_draws, check_size
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.inference.reference import Reference
from bayesmeta.inference.robust import Bounded
from bayesmeta.kernel.wild import MULTIPLIERS, is_enumerated, multipliers, wild_statistics

WILD, DRAWS = "wild", 1999
FEW = 10  # clusters up to which "wild" takes six values: two have hardly more than a thousand arrangements
_EQUAL = 1e-9  # relative difference of statistics that are the same


@dataclass(frozen=True)
class WildBootstrap:
    """Multipliers (B, m) of the clusters of a reference, the same for all of its tests.

    kind : of `MULTIPLIERS`; enumerated : whether the draws are all that there are.
    """

    used: Reference
    bounded: Bounded
    kind: str
    enumerated: bool
    eta: FloatArray

    @property
    def attrs(self) -> dict[str, Any]:
        """What was done, as attributes of an output."""
        return {"bootstrap": self.kind, "draws": len(self.eta), "enumerated": self.enumerated}

    def pvalue(self, contrasts: FloatArray, null: FloatArray) -> float:
        """Of the test that contrasts (q, P) have the values `null`; NaN where there is none.

        The data are one of all arrangements, and one more beside those that are drawn (Davison and Hinkley 1997, 4.2).
        """
        m = self.eta.shape[1]
        if m <= len(contrasts) or not self.bounded.tests(contrasts.T):
            return np.nan
        away = contrasts @ self.used.beta - null
        eta = np.concatenate([np.ones((1, m)), self.eta])
        observed, *drawn = wild_statistics(self.bounded.made, contrasts.T, away, eta)
        extreme = int((np.array(drawn) >= observed * (1 - _EQUAL)).sum())
        return extreme / len(drawn) if self.enumerated else (extreme + 1) / (len(drawn) + 1)


def wild_bootstrap(
    used: Reference, kind: str | None, draws: int | None, seed: int | Sequence[int] | None
) -> WildBootstrap | None:
    """The bootstrap that the arguments of a test ask for.

    Raises
    ------
    SpecError
        When an argument is not as it may be, or the reference has no sandwich with its degrees of freedom.
    """
    draws = check_draws(draws, seed, DRAWS, None if kind is not None else f'bootstrap="{WILD}"')
    if kind is None:
        return None
    kind = check_choice(kind, [WILD, *MULTIPLIERS], "bootstrap")
    bounded = used.calibration
    if not isinstance(bounded, Bounded):
        remedy = "leave df out" if used.cluster else 'add vcov="CR2", or vcov={"kind": "CR2", "cluster": ...}'
        raise SpecError(f'bootstrap="{kind}" is for the tests of a sandwich, by t or F\n  {remedy}')
    m = used.n_clusters
    if kind == WILD:
        kind = "webb" if m <= FEW else "rademacher"
    check_size(8.0 * draws * m, f"{draws:,} draws of {m:,} multipliers")
    enumerated, values = is_enumerated(kind, m, draws), len(MULTIPLIERS[kind])
    least = float(values) ** (1 - m) if enumerated else 1 / (draws + 1)
    if least >= 0.05:
        of = f"the {values**m} arrangements of {values} values over {m} clusters" if enumerated else f"{draws} draws"
        remedy = 'take "webb"' if kind != "webb" and enumerated else "take more draws" if not enumerated else ""
        warn(
            f"bootstrap: {of} have no p value below {least:.2g}" + (f"\n  {remedy}" if remedy else ""),
            AssumptionWarning,
        )
    return WildBootstrap(used, bounded, kind, enumerated, multipliers(kind, m, draws, np.random.default_rng(seed)))
