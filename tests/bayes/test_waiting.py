"""What is said while a model is compiled and sampled."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from bayesmeta.bayes import waiting


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine on which no likelihood was compiled yet."""
    monkeypatch.setattr(waiting, "_KERNEL", "none-*.nbi")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))


@pytest.mark.usefixtures("first")
def test_compilation_is_announced(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    waiting.LOGGER.setLevel(logging.WARNING)
    try:
        waiting.announce(None)
        assert capsys.readouterr().err == "Compiling the likelihood, about half a minute, and the model; once ...\n"
        waiting.announce(False)
        assert capsys.readouterr().err == ""
        waiting.LOGGER.setLevel(logging.INFO)
        waiting.announce(None)
        assert capsys.readouterr().err == ""
        assert "Compiling the likelihood" in caplog.text
    finally:
        waiting.LOGGER.setLevel(logging.NOTSET)


def test_one_bar_over_all_models_and_chains() -> None:
    with waiting.several(2) as pieces:
        for i in (1, 2):
            with waiting.chain_bar(100, 4, shown=True) as move:
                assert move is not None
                move([SimpleNamespace(finished_draws=50)] * 4)
            assert pieces.finished == i
    with waiting.chain_bar(100, 4, shown=False) as move:
        assert move is None
