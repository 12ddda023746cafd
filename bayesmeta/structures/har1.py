"""First-order autoregression over the order of the effects, with separate variances."""

from bayesmeta.structures.base import need_two_effects, register
from bayesmeta.structures.correlated import Autoregressive


@register
class HetAR1(Autoregressive):
    """First-order autoregression over the order of the effects, with separate variances.

    xi are the SDs (>= 0) and the logit of the place of rho in (-1, 1).
    """

    name = "har1"
    common = False

    def check(self, dim: int) -> None:
        need_two_effects(self.name, dim)
