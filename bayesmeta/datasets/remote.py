"""Data sets that others distribute: downloaded once by `fetch`, held against their hash, and read from the cache."""

import hashlib
import os
import tempfile
from io import StringIO
from pathlib import Path

import pandas as pd

from bayesmeta.errors import DataError

CACHE = "BAYESMETA_CACHE"
REPOSITORY = "gasparrini/mixmeta"
COMMIT = "3fa30c2e38b870e59015d42a68b6d42e68416dbe"
SOURCE = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}/data"
SHA256 = {
    "alcohol": "86ae762674d9deec74c41bba2d901749fcafb80f6ba887d1ad0c8083aa1b8452",
    "fibrinogen": "6b29ed37195537bfa8249728373cea78469e00418287e93dae13ee83f8844f04",
    "hsls": "8ff7bd2e5fb4af773e035287580c2f2a9d993efecef7b896729d113d09a3ccdc",
    "hyp": "4d9c049923f2ae8d9e06be26e9b4781c4373ad224658482a1c8281ffd922116b",
    "p53": "4aca365538c3917e9ea8f1d79288c573bb60bd08001e7df6940a73a615fffb86",
    "thrombolytic": "36d799d02b3e0e0fe5fe631a56232b84e09015a81cc602c700120542b55a458c",
}


def cached() -> list[str]:
    """Names of the data sets in the cache."""
    return [name for name in SHA256 if _path(name).is_file()]


def download(name: str) -> None:
    """Brings a data set into the cache, unless it is there; a file enters the cache whole and with its hash, or not."""
    import pooch

    path, url = _path(name), f"{SOURCE}/{name}.rda"
    if path.is_file() and _is_sound(path):
        return
    _check_writable(path.parent, name)
    try:
        # read at once, as these files are small: a streamed answer that is an error would leave its connection open
        downloader = pooch.HTTPDownloader(stream=False)
        pooch.retrieve(url, f"sha256:{SHA256[name]}", path.name, path.parent, downloader=downloader)
    except ValueError:
        raise DataError(
            f"the file downloaded for data set '{name}' has another SHA-256 than expected and was discarded\n"
            f"  expected {SHA256[name]} from {url}"
        ) from None
    except OSError as error:
        raise DataError(
            f"data set '{name}' could not be downloaded from {url}\n"
            f"  {type(error).__name__}: {error}\n{without_network(name)}"
        ) from None


def read(name: str) -> pd.DataFrame:
    """A data set of the cache, with the types that it has when R writes it as CSV and pandas reads that."""
    import rdata

    path = _path(name)
    if not _is_sound(path):
        raise DataError(
            f"data set '{name}' in the cache is damaged: the SHA-256 of {path} differs\n"
            f"  bm.datasets.fetch('{name}') downloads it again"
        )
    frame = rdata.read_rda(path, default_encoding="utf-8")[name].reset_index(drop=True)
    numbers = {
        column: values.astype("int64") if (values % 1 == 0).all() else values
        for column, values in frame.select_dtypes("float64").items()
    }
    return pd.read_csv(StringIO(frame.to_csv(index=False))).assign(**numbers)


def without_network(name: str) -> str:
    """How to come by a data set by hand."""
    return (
        f"The R package mixmeta holds it as data/{name}.rda (GitHub repository {REPOSITORY}). In R,\n"
        f"  load('{name}.rda'); write.csv({name}, '{name}.csv', row.names = FALSE, na = '')\n"
        f"saves it as CSV; set the environment variable BAYESMETA_DATA to the directory of {name}.csv."
    )


def _path(name: str) -> Path:
    return _cache() / f"{name}.rda"


def _cache() -> Path:
    """The directory that the environment names, else the one that the operating system has for caches."""
    if directory := os.environ.get(CACHE):
        return Path(directory)
    import pooch

    return Path(pooch.os_cache("bayesmeta"))


def _is_sound(path: Path) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[path.stem]


def _check_writable(cache: Path, name: str) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise DataError(
            f"data set '{name}' cannot be saved, the cache {cache} is not writable ({error.strerror})\n"
            f"  set the environment variable {CACHE} to a directory that is"
        ) from None
