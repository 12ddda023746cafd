"""Numbers that others computed come with a page that says where they are from."""

import json
import re

import pandas as pd
import pytest

import bayesmeta as bm
from tests.support.reference import DATA, REFERENCE

FOLDERS = sorted(path for path in REFERENCE.iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_has_its_page(folder):
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert "agree" in page
    for file in folder.glob("*.json"):
        source = json.loads(file.read_text(encoding="utf-8")).get("source", "")
        missing = [package for package in re.split(", ", source) if package and package not in page]
        assert not missing, file.name


def test_every_file_beside_a_page_is_a_reference_or_the_page():
    for folder in FOLDERS:
        assert {path.suffix for path in folder.iterdir()} == {".json", ".md"}


def test_tables_of_tests_have_their_page_and_are_not_bundled_twice():
    page = (DATA / "README.md").read_text(encoding="utf-8")
    for file in DATA.iterdir():
        assert file.name == "README.md" or f"`{file.name}`" in page
    for file in DATA.glob("*.csv"):
        if file.stem in bm.datasets.names():
            assert not bm.datasets.load(file.stem).equals(pd.read_csv(file))
