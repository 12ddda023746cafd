"""Compound symmetry: one variance and one correlation."""

from bayesmeta.structures.base import need_two_effects, register
from bayesmeta.structures.correlated import Exchangeable


@register
class CompoundSymmetry(Exchangeable):
    """Compound symmetry: one variance and one correlation.

    xi are the SD, whose sign has no meaning, and the logit of the place of rho in (-1/(d-1), 1).
    """

    name = "cs"
    common = True

    def check(self, dim: int) -> None:
        need_two_effects(self.name, dim)
