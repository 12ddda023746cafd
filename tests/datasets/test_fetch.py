"""Data sets that are downloaded, from a server on this machine, with every way in which that can fail."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
import rdata

from bayesmeta import datasets
from bayesmeta.datasets import remote
from bayesmeta.errors import DataError

NAME = "alcohol"
NOBODY = 65534


def made_up(seed: int = 1) -> pd.DataFrame:
    """Every kind of column that such a table has: labels, whole numbers, numbers, and missing ones."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"y": rng.normal(size=6), "count": [1.0, 2, 3, 4, 5, 6], "year": [1990, 1991, 1992, 1990, 1991, 0]}
    )
    frame["v"] = np.where(np.arange(6) == 2, np.nan, rng.uniform(0.1, 1, 6))
    return frame.assign(label=np.array(["a", "b", "Zürich", "a", "b", "c d"], dtype=object)).astype({"label": object})


def as_rda(frame: pd.DataFrame, path: Path, name: str = NAME) -> bytes:
    rdata.write_rda(path, {name: frame.set_index(pd.RangeIndex(1, len(frame) + 1))})
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that does not exist yet, and no other source."""
    monkeypatch.delenv("BAYESMETA_DATA")
    monkeypatch.setenv("BAYESMETA_CACHE", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A made-up table as R saves it, which is what the package then expects of the name."""
    bits = as_rda(made_up(), tmp_path / "made.rda")
    monkeypatch.setitem(remote.SHA256, NAME, sha256(bits).hexdigest())
    return bits


Serve = Callable[..., list[str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a server that answers every request with these bits, and gives the list of the paths asked for."""
    servers = []

    def start(bits: bytes, status: int = 200, promised: int | None = None) -> list[str]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(bits) if promised is None else promised))
                self.end_headers()
                self.wfile.write(bits)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(remote, "SOURCE", f"http://127.0.0.1:{server.server_port}/data")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_fetched_table_is_downloaded_once_and_loaded_from_then_on(content: bytes, cache: Path, serve: Serve) -> None:
    asked = serve(content)
    with pytest.raises(DataError, match=r"bm\.datasets\.fetch\('alcohol'\) downloads it"):
        datasets.load(NAME)
    assert NAME not in datasets.names()
    first = datasets.fetch(NAME)
    assert asked == [f"/data/{NAME}.rda"]
    assert [path.name for path in cache.iterdir()] == [f"{NAME}.rda"]
    assert NAME in datasets.names()
    for again in (datasets.load(NAME), datasets.fetch(NAME)):
        pd.testing.assert_frame_equal(again, first)
    assert len(asked) == 1


def test_columns_come_as_from_the_csv_that_r_would_write(
    content: bytes, cache: Path, serve: Serve, tmp_path: Path
) -> None:
    serve(content)
    fetched = datasets.fetch(NAME)
    made_up().astype({"count": int}).to_csv(tmp_path / "same.csv", index=False)
    pd.testing.assert_frame_equal(fetched, pd.read_csv(tmp_path / "same.csv"), rtol=1e-15)
    np.testing.assert_array_equal(fetched["y"], made_up()["y"])  # bit for bit, not by way of printed digits


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz"])
def test_factors_integers_with_gaps_and_row_names(
    compression: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame(
        {"trial": pd.Categorical(["B", "A", "B"]), "id": pd.Categorical(["10", "2", "10"]), "n": [1, 2, 3]},
        index=pd.Index(["first", "second", "third"], dtype=object),
    ).assign(gap=pd.array([7, None, 9], dtype="Int32"))
    cache.mkdir(parents=True)
    rdata.write_rda(cache / f"{NAME}.rda", {NAME: frame}, compression=compression)
    monkeypatch.setitem(remote.SHA256, NAME, sha256((cache / f"{NAME}.rda").read_bytes()).hexdigest())
    expected = pd.DataFrame({"trial": ["B", "A", "B"], "id": [10, 2, 10], "n": [1, 2, 3], "gap": [7, np.nan, 9]})
    pd.testing.assert_frame_equal(datasets.load(NAME), expected)


def test_the_directory_of_the_user_wins(
    content: bytes, cache: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = serve(content)
    datasets.fetch(NAME)
    monkeypatch.setenv("BAYESMETA_DATA", str(tmp_path))
    assert list(datasets.load(NAME).columns) == list(made_up().columns)
    pd.DataFrame({"mine": [1.0]}).to_csv(tmp_path / f"{NAME}.csv", index=False)
    assert list(datasets.load(NAME).columns) == ["mine"]
    shutil.rmtree(cache)
    assert list(datasets.fetch(NAME).columns) == ["mine"]
    assert len(asked) == 1
    assert not cache.exists()


def assert_nothing_left(cache: Path) -> None:
    assert not list(cache.iterdir())
    assert NAME not in datasets.names()


def test_a_wrong_hash_is_refused(content: bytes, cache: Path, serve: Serve, tmp_path: Path) -> None:
    asked = serve(as_rda(made_up(seed=2), tmp_path / "other.rda"))
    with pytest.raises(DataError, match="file downloaded for data set 'alcohol' has another SHA-256") as raised:
        datasets.fetch(NAME)
    assert remote.SHA256[NAME] in str(raised.value)
    assert len(asked) == 1
    assert_nothing_left(cache)


@pytest.mark.parametrize("promised", ["whole", "part"])
def test_an_interrupted_download_is_refused(promised: str, content: bytes, cache: Path, serve: Serve) -> None:
    part = content[: len(content) // 2]
    serve(part, promised=len(content) if promised == "whole" else len(part))
    with pytest.raises(DataError, match="data set 'alcohol'") as raised:
        datasets.fetch(NAME)
    assert ("could not be downloaded" in str(raised.value)) == (promised == "whole")
    assert_nothing_left(cache)


def test_no_network(content: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound and not listening: nobody else can open it meanwhile
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(remote, "SOURCE", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(DataError) as raised:
            datasets.fetch(NAME)
    first, rest = str(raised.value).split("\n", 1)
    assert first == f"data set 'alcohol' could not be downloaded from {remote.SOURCE}/alcohol.rda"
    assert "write.csv(alcohol" in rest
    assert "BAYESMETA_DATA" in rest
    assert_nothing_left(cache)


def test_a_page_that_is_gone(content: bytes, cache: Path, serve: Serve) -> None:
    serve(b"", status=404)
    with pytest.raises(DataError, match="could not be downloaded") as raised:
        datasets.fetch(NAME)
    assert "404" in str(raised.value)
    assert_nothing_left(cache)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Without the superuser's right to write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o555)
    monkeypatch.setenv("BAYESMETA_CACHE", str(directory))
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.mark.parametrize("below", [".", "new"])
def test_a_read_only_cache(
    below: str, content: bytes, read_only: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = serve(content)
    monkeypatch.setenv("BAYESMETA_CACHE", str(read_only / below))
    with ordinary_user(), pytest.raises(DataError, match="cannot be saved") as raised:
        datasets.fetch(NAME)
    first, rest = str(raised.value).split("\n", 1)
    assert f"the cache {read_only / below} is not writable" in first
    assert "BAYESMETA_CACHE" in rest
    assert not asked
    assert_nothing_left(read_only)


def test_a_cache_that_is_a_file(content: bytes, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BAYESMETA_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be saved"):
        datasets.fetch(NAME)


def test_what_is_in_a_read_only_cache_can_be_used(content: bytes, read_only: Path) -> None:
    read_only.chmod(0o755)
    (read_only / f"{NAME}.rda").write_bytes(content)
    read_only.chmod(0o555)
    with ordinary_user():
        assert len(datasets.fetch(NAME)) == len(datasets.load(NAME)) == len(made_up())


def test_a_damaged_cache_is_not_read_and_is_mended_by_fetching(content: bytes, cache: Path, serve: Serve) -> None:
    serve(content)
    cache.mkdir(parents=True)
    (cache / f"{NAME}.rda").write_bytes(content[:-1])
    with pytest.raises(DataError, match="in the cache is damaged") as raised:
        datasets.load(NAME)
    assert "bm.datasets.fetch('alcohol') downloads it again" in str(raised.value)
    datasets.fetch(NAME)
    assert len(datasets.load(NAME)) == len(made_up())


def test_names_that_cannot_be_fetched() -> None:
    with pytest.raises(DataError, match=r"'bcg' comes with bayesmeta, use load\('bcg'\)"):
        datasets.fetch("bcg")
    with pytest.raises(DataError, match="no data set 'alcohl' can be fetched; did you mean 'alcohol'") as raised:
        datasets.fetch("alcohl")
    assert all(name in str(raised.value) for name in remote.SHA256)
    for path in ("../alcohol", "", "alcohol.rda"):
        with pytest.raises(DataError, match="can be fetched"):
            datasets.fetch(path)


def test_sources_are_pinned() -> None:
    assert set(remote.SHA256) == {"alcohol", "fibrinogen", "hsls", "hyp", "p53", "thrombolytic"}
    assert all(len(bytes.fromhex(digest)) == 32 for digest in remote.SHA256.values())
    assert len(set(remote.SHA256.values())) == 6
    assert len(bytes.fromhex(remote.COMMIT)) == 20
    assert remote.SOURCE.startswith("https://raw.githubusercontent.com/gasparrini/mixmeta/")
    assert remote.SOURCE.endswith(f"/{remote.COMMIT}/data")
