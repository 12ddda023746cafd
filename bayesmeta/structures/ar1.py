"""First-order autoregression over the order of the effects, with one variance."""

from bayesmeta.structures.base import need_two_effects, register
from bayesmeta.structures.correlated import Autoregressive


@register
class AR1(Autoregressive):
    """First-order autoregression over the order of the effects, with one variance.

    xi are the SD, whose sign has no meaning, and the logit of the place of rho in (-1, 1).
    """

    name = "ar1"
    common = True

    def check(self, dim: int) -> None:
        need_two_effects(self.name, dim)
