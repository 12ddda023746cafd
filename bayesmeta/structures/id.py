"""Identity: one variance for all effects, no correlation."""

from bayesmeta.structures.base import register
from bayesmeta.structures.correlated import Scaled


@register
class Identity(Scaled):
    """Psi = sd^2 I; xi is the SD, whose sign has no meaning."""

    name = "id"
    common = True
