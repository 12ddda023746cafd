"""Network meta-analysis: from arms or contrasts to a specification, and the questions asked of its results."""

from bayesmeta.network.consistency import specify as specify
