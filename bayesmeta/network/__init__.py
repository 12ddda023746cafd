"""Network meta-analysis: from arms or contrasts to a specification, and the questions asked of its results."""

from bayesmeta._validation.calls import explain
from bayesmeta.network.comparisons import league as league
from bayesmeta.network.consistency import specify as specify
from bayesmeta.network.contributed import contributions as contributions
from bayesmeta.network.design_agreement import designs as designs
from bayesmeta.network.design_agreement import net_heat as net_heat
from bayesmeta.network.extended import components as components
from bayesmeta.network.extended import design_by_treatment as design_by_treatment
from bayesmeta.network.extended import node_split as node_split
from bayesmeta.network.league_cells import league_table as league_table
from bayesmeta.network.ranks import ranking as ranking
from bayesmeta.network.splitting import split as split

__all__ = [
    *("components", "contributions", "design_by_treatment", "designs", "league", "league_table"),
    *("net_heat", "node_split", "ranking", "specify", "split"),
]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.network.")
