"""Predicted random effects and outcomes of data in partitions, written partition by partition."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from bayesmeta import kernel
from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_path, check_probability, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.atomic import write_folder
from bayesmeta.kernel.likelihood import Top, likelihood
from bayesmeta.model.partitioned_spec import PartitionedSpec, Work
from bayesmeta.model.partitions_read import Asked, Held, Piece, Reader, Taught, check_unchanged
from bayesmeta.model.spec import Spec, check_spec
from bayesmeta.tree.specification import data_hash, group

BLUP, RANEF, ZARR = "blup", "ranef_", ".zarr"
CHUNK = 100_000  # rows of an array of a Zarr store that are read at once


def write_blup(spec: Spec, tree: xr.DataTree, path: str | Path, prob: float = 0.95) -> Path:
    """Write the predicted outcomes and random effects of data in partitions, partition by partition.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`, of data in partitions.
    tree : DataTree
        The fit of this specification.
    path : str or Path
        The folder that is made, or replaced where an earlier call has written it: `blup` has a row for every
        observation, with its row, the labels of its groups, `outcome`, and the predicted outcome with all random
        effects as `mean`, `se`, `lower` and `upper`; `ranef_L` one for every group and effect of level L. These are
        folders of Parquet files, one for each partition, or, of a path that ends in ".zarr", groups of a Zarr store
        with an array for each column, in chunks of 100,000 rows; of both a part can be read alone.
    prob : float, default 0.95
        Probability of the intervals, which are normal, between 0 and 1.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SpecError
        When the data of the specification are in one place, where `bm.blup` and `bm.ranef` answer, or the tree is not
        the fit of this specification.
    DataError
        When the folder cannot be written, another one is there that holds something else, or the data have changed
        since they were specified; nothing is left behind then, and what was there stays.

    Notes
    -----
    Standard errors are exact prediction errors, those of `bm.blup` and `bm.ranef` with `df="z"`.

    Examples
    --------
    >>> import bayesmeta as bm, pandas as pd, tempfile, xarray as xr
    >>> school = bm.datasets.load("school")
    >>> spec = bm.specify("effect ~ 1", school, S="var", random="1 | district", partitions=3)  # doctest: +SKIP
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
    ...     table = pd.read_parquet(bm.write_blup(spec, bm.fit(spec), f"{folder}/school") / "ranef_district")
    ...     store = bm.write_blup(spec, bm.fit(spec), f"{folder}/school.zarr")
    ...     means = xr.open_zarr(store, group="blup")["mean"].to_numpy()
    """
    check_spec(spec, "write_blup")
    check_probability(prob)
    folder = check_path(path, "path")
    if not isinstance(spec, PartitionedSpec) or spec.work is None:
        raise SpecError(
            "write_blup is for data in partitions that this session specified; of data in one place ask bm.blup(tree) "
            "and bm.ranef(tree)"
        )
    estimate = group(tree, schema.ESTIMATE)
    if tree.attrs["data_hash"] != data_hash(spec) or [*map(str, estimate[schema.COEF].values)] != [*spec.coef]:
        raise SpecError("the tree is not a fit of this specification: its data or coefficients are others")
    _check_target(folder)
    psi = [estimate[schema.psi(level.name)].to_numpy() for level in spec.levels]
    top = likelihood(spec.statistics, psi, restricted=False).top
    work, half = spec.work, float(ndtri(0.5 + prob / 2))
    write = _to_zarr if folder.suffix == ZARR else _to_parquet
    write_folder(folder, lambda part: _write(write, part, spec, work, psi, top, half))
    return folder


def _check_target(folder: Path) -> None:
    """DataError where a folder has something that an earlier call did not write."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"'{folder}' is a file; give the path of a folder that is made, or replaced")
    other = [each.name for each in folder.iterdir() if not _written(each.name)] if folder.exists() else []
    if other:
        raise DataError(
            f"the folder '{folder}' holds {listing(map(repr, sorted(other)))}, which write_blup did not write; it is "
            "not replaced\n  give the path of a new folder"
        )


def _written(name: str) -> bool:
    return name in (BLUP, "zarr.json") or name.startswith(RANEF)


def _write(
    write: Callable[[Path, str, pd.DataFrame, int], None],
    folder: Path,
    spec: PartitionedSpec,
    work: Work,
    psi: Sequence[FloatArray],
    top: Top,
    half: float,
) -> None:
    names = [BLUP, *(RANEF + level.name for level in spec.levels if level.dim)]
    arguments = (work.asked, work.taught, work.reader, spec.outcomes, psi, top)
    for i, tables in enumerate(work.cluster.stream(work.data, work.kept, predicted, *arguments)):
        for name in names:
            table = tables[name]
            table["lower"], table["upper"] = table["mean"] - half * table["se"], table["mean"] + half * table["se"]
            write(folder, name, table, i)


def _to_parquet(folder: Path, name: str, table: pd.DataFrame, partition: int) -> None:
    (folder / name).mkdir(exist_ok=True)
    table.to_parquet(folder / name / f"part-{partition:05d}.parquet", index=False)


def _to_zarr(folder: Path, name: str, table: pd.DataFrame, partition: int) -> None:
    """Append a table to the arrays of a group."""
    arrays = {column: (name, table[column].to_numpy()) for column in table}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of formats of text that a later version of Zarr may read otherwise
        if partition == 0:
            encoding = {column: {"chunks": (CHUNK,)} for column in table}
            xr.Dataset(arrays).to_zarr(folder, group=name, mode="a", encoding=encoding, consolidated=False)
        else:
            xr.Dataset(arrays).to_zarr(folder, group=name, append_dim=name, consolidated=False)


def predicted(
    frame: pd.DataFrame,
    held: Held,
    asked: Asked,
    taught: Taught,
    reader: Reader,
    outcomes: Sequence[str],
    psi: Sequence[FloatArray],
    top: Top,
) -> dict[str, pd.DataFrame]:
    """The tables of one partition, by the name of their folder."""
    piece = reader(asked, taught, frame)
    check_unchanged(piece, (held.digest,))
    fitted = kernel.random_effects(held.statistics, psi, top)
    tables = {BLUP: _outcomes(piece, fitted, outcomes, taught)}
    for level, b in zip(piece.levels, fitted.levels, strict=True):
        if level.dim:
            labels = [_labels(level.labels, level.name, taught)] * level.dim
            table = pd.concat(labels, ignore_index=True)
            table["effect"] = np.repeat(np.array(level.effects, dtype=object), level.n_groups)
            table["mean"], table["se"] = b.mean.ravel(), np.sqrt(np.sum(b.factor**2, axis=1)).ravel()
            tables[RANEF + level.name] = table
    return tables


def _outcomes(piece: Piece, fitted: kernel.Prediction, outcomes: Sequence[str], taught: Taught) -> pd.DataFrame:
    """Predicted outcomes of all observations: x beta + offset + sum of z b, with the length of its error."""
    mean = piece.offset + piece.X @ fitted.beta
    error = np.zeros((len(mean), fitted.levels[-1].factor.shape[1]))
    error[:, : piece.X.shape[1]] = piece.X @ fitted.beta_factor
    for level, b in zip(piece.levels, fitted.levels, strict=True):
        for j in range(level.dim):
            mean += level.Z[:, j] * b.mean[j, level.index]
            error[:, : b.factor.shape[1]] += level.Z[:, j, None] * b.factor[j][:, level.index].T
    inner = piece.levels[-1]
    table = _labels(tuple(inner.labels[code] for code in inner.index.tolist()), inner.name, taught)
    table.insert(0, schema.ROW, np.array(piece.row_labels, dtype=object)[piece.row])
    table["outcome"] = np.array(outcomes, dtype=object)[piece.outcome_index]
    table["mean"], table["se"] = mean, np.sqrt(np.sum(error**2, axis=1))
    return table


def _labels(paths: Sequence[Sequence[str]], level: str, taught: Taught) -> pd.DataFrame:
    """A column of labels for every level from the outer one to this."""
    names = taught.parsed.levels[: taught.parsed.levels.index(level) + 1]
    return pd.DataFrame([*paths], columns=[*names], dtype=object)
