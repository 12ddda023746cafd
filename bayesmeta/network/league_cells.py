"""The league table as publications print it, in texts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_integer, check_order
from bayesmeta.display.paper import square_cells
from bayesmeta.inference.reference import Vcov
from bayesmeta.network.comparisons import Network, league
from bayesmeta.network.splitting import split
from bayesmeta.tree.response import Scale, reading
from bayesmeta.within.trial_tables import TREATMENT, VERSUS


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
    names = check_order(order, network.treatments, "order", "treatment")
    table = league(tree, prob, scale, at, vcov, df).sel(treatment=names, versus=names)
    below = np.stack([table[name] for name in ("mean", "lower", "upper")])
    above = below
    if upper == "prediction":
        above = np.stack([table["mean"], table["prediction_lower"], table["prediction_upper"]])
    elif upper == "direct":
        above = reading(tree, scale).values(_direct(tree, names, prob))
    return pd.DataFrame(square_cells(names, below, above, decimals), names, names, dtype=object)


def _direct(tree: xr.DataTree, names: Sequence[str], prob: float) -> FloatArray:
    """Mean, lower and upper bound (3, T, T) of direct evidence alone; NaN where there is none."""
    own = split(tree, prob=prob)
    i, j = ([names.index(t) for t in own[end].to_numpy()] for end in (TREATMENT, VERSUS))
    numbers = np.full((3, len(names), len(names)), np.nan)
    numbers[:, i, j] = own["direct"], own["direct_lower"], own["direct_upper"]
    numbers[:, j, i] = -numbers[:, i, j][[0, 2, 1]]
    return numbers
