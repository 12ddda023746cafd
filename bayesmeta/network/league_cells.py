"""The league table as publications print it, in texts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_integer, check_names, listing
from bayesmeta.display.paper import interval_text, typeset
from bayesmeta.display.tables import fixed
from bayesmeta.errors import SpecError
from bayesmeta.inference.reference import Vcov
from bayesmeta.network.comparisons import Network, league
from bayesmeta.network.splitting import split
from bayesmeta.tree.response import Reading, Scale, reading


def league_table(
    tree: xr.DataTree,
    upper: Literal["network", "direct", "prediction"] = "network",
    order: Sequence[str] | None = None,
    decimals: int = 2,
    prob: float = 0.95,
    scale: Scale | None = None,
    at: Mapping[str, float] | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """The league table as publications print it, in texts.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a network.
    upper : {"network", "direct", "prediction"}, default "network"
        What stands above the diagonal: the same comparisons as below it, those from direct evidence alone, or intervals
        for a new trial. Below it are those of the whole network.
    order : list of str, optional
        All treatments in the order of rows and columns, such as that of a ranking; by default that of the alphabet.
    decimals : int, default 2
        Number of decimals.
    prob, scale, at, vcov, df : optional
        As for `league`; `scale` by default "response" where the measure has one.

    Returns
    -------
    DataFrame
        Treatments by treatments. A cell has the row's treatment against the column's.

    Raises
    ------
    SpecError
        When the tree is not of a network, or an argument is not as above.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> bm.network.league_table(bm.fit(spec), df="z").loc["metformin", "placebo"]
    '−1.13 (−1.42 to −0.84)'
    """
    check_choice(upper, ("network", "direct", "prediction"), "upper")
    check_integer(decimals, "decimals", 0, 12)
    network = Network.of(tree, "league_table", at)
    if scale is None and reading(tree, None).record.has_response:
        scale = "response"
    read = reading(tree, scale)
    names = network.treatments if order is None else check_names(order, "order")
    if sorted(names) != sorted(network.treatments):
        raise SpecError(
            f"order is {listing(names)}; it must hold each treatment once: {listing(network.treatments, 30)}"
        )
    below = _numbers(league(tree, prob, scale, at, vcov, df), names)
    above = below
    if upper == "prediction":
        above = _numbers(league(tree, prob, scale, at, vcov, df), names, "prediction_")
    elif upper == "direct":
        above = _direct(tree, names, prob, read)
    cells = [
        [row if i == j else _cell((above if i < j else below)[:, i, j], decimals) for j in range(len(names))]
        for i, row in enumerate(names)
    ]
    return pd.DataFrame(cells, names, names, dtype=object)


def _numbers(table: xr.Dataset, names: Sequence[str], kind: str = "") -> FloatArray:
    """Mean, lower and upper bound (3, T, T) in this order of treatments."""
    ordered = table.sel(treatment=list(names), versus=list(names))
    return np.stack([ordered[name].to_numpy() for name in ("mean", f"{kind}lower", f"{kind}upper")])


def _direct(tree: xr.DataTree, names: Sequence[str], prob: float, read: Reading) -> FloatArray:
    """The same of direct evidence alone; NaN where there is none."""
    own = split(tree)
    mean, half = own["direct"].to_numpy(), ndtri(0.5 + prob / 2) * own["direct_se"].to_numpy()
    numbers = np.full((3, len(names), len(names)), np.nan)
    i = [names.index(t) for t in own["treatment"].to_numpy()]
    j = [names.index(t) for t in own["versus"].to_numpy()]
    numbers[:, i, j] = read.values(np.stack([mean, mean - half, mean + half]))
    numbers[:, j, i] = read.values(np.stack([-mean, -mean - half, half - mean]))
    return numbers


def _cell(values: FloatArray, decimals: int) -> str:
    if not np.isfinite(values[0]):
        return ""
    mean, low, high = (fixed(x, decimals) for x in values.tolist())
    return f"{typeset(mean)} ({interval_text(low, high)})"
