"""Heterogeneous compound symmetry: separate variances, one correlation."""

from bayesmeta.structures.base import need_two_effects, register
from bayesmeta.structures.correlated import Exchangeable


@register
class HetCompoundSymmetry(Exchangeable):
    """Heterogeneous compound symmetry: separate variances, one correlation.

    xi are the SDs (>= 0) and the logit of the place of rho in (-1/(d-1), 1).
    """

    name = "hcs"
    common = False

    def check(self, dim: int) -> None:
        need_two_effects(self.name, dim)
