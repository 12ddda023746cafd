"""Diagonal: separate variances, no correlation."""

from bayesmeta.structures.base import register
from bayesmeta.structures.correlated import Scaled


@register
class Diagonal(Scaled):
    """Psi = diag(sd^2); xi are the SDs, whose signs have no meaning."""

    name = "diag"
    common = False
