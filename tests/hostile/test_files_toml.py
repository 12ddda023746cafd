"""Model and study files with something wrong in them: an error with the line, or what a plain reading gives."""

import os
import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bayesmeta as bm
from bayesmeta.errors import BayesmetaError, DataError, SpecError
from bayesmeta.io.toml_files import bundled

CASES = int(os.environ.get("HOSTILE_CASES", "60"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
ODD: list[Any] = [
    *(-1, 0, 3, 10**400, 1.5, -1e308, float("nan"), float("inf"), True, "", "a", "a/b", ".", "\u0000", "x" * 5000),
    *([], [3], ["a"], [["a"]], [[True]], {}, {"a": 1}, {"name": 3}, {"name": "HalfNormal", "sigma": 10**400}),
    *({"within": ["ar1"]}, {"fixed": [[True]]}, {"se": []}, "mean(means(3, g))", "/", "unstr", "zz"),
]


def dumped(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dumped(key)} = {dumped(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumped, value)) + "]"
    return repr(value)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(below, (*path, key))


def mutated(rng: random.Random) -> tuple[bool, str]:
    """Whether it is a study, and its text with one entry that is odd, gone, or of another name."""
    name = rng.choice(["school", "bcg", "smoking", "alcohol", "table6", "table6"])
    content = tomllib.loads(bundled()[name].read_text(encoding="utf-8"))
    *above, last = rng.choice(list(places(content)))
    holder = content
    for key in above:
        holder = holder[key]
    way = rng.random()
    if way < 0.1:
        del holder[last]
    elif way < 0.2 and isinstance(holder, dict):
        holder[rng.choice(["", "..", "a/b", str(last)[:-1] + "x", "x" * 300])] = holder.pop(last)
    else:
        holder[last] = rng.choice(ODD)
    return name == "table6", "\n".join(f"{dumped(key)} = {dumped(each)}" for key, each in content.items())


def check(study: bool, text: str, path: Path, what: str) -> None:
    path.write_text(text, encoding="utf-8")
    try:
        if study:
            bm.load_study(path)
        else:
            for model in bm.load_analysis(path).models.values():
                _ = model.spec
    except BayesmetaError as error:
        first = str(error).splitlines()[0]
        assert len(first) < 700, what
        assert not re.search(r"'NoneType'|lambda|not supported between", first), what
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.BayesmetaWarning")
def test_mutated_files(tmp_path: Path) -> None:
    for case in range(SEED, SEED + CASES):
        check(*mutated(random.Random(case)), tmp_path / "m.toml", f"HOSTILE_SEED={case} HOSTILE_CASES=1")


@pytest.mark.slow
@pytest.mark.hostile
@pytest.mark.filterwarnings("ignore::bayesmeta.errors.BayesmetaWarning")
def test_many_mutated_files(tmp_path: Path) -> None:
    start = int(os.environ.get("HOSTILE_SEED", os.environ["HOSTILE_FRESH"]))
    for case in range(start, start + 500):
        check(*mutated(random.Random(case)), tmp_path / "m.toml", f"HOSTILE_SEED={case} HOSTILE_CASES=1")


MODEL = """title = "T"
data = "bcg"

[model.k]
formula = "logor ~ 1"
S = "logorvar"
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('S = "logorvar"', "S = 3"), r"m.toml, line 6: model k: S is 3; it must be a string"),
        (('S = "logorvar"', 'S = {within = ["ar1"]}'), r"line 6: model k: S: within is \['ar1'\]"),
        (("formula", "formla"), r"line 5: model k: unknown key 'formla'; did you mean 'formula'"),
        (("[model.k]", "[model]"), r"line 5: model formula: .*is 'logor ~ 1'|line 5: model formula is 'logor ~ 1'"),
        (("[model.k]", '[model.""]'), r"line 4: model: '' is no name; it must be a text"),
        (("[model.k]", '[model."a/b"]'), r"line 4: model a/b may not contain '/'"),
        (('"logorvar"', '"logorvar"\nmethod = "remll"'), r"line 7: model k: method is 'remll'; did you mean 'reml'"),
        (('"logorvar"', '"logorvar"\nmethod = ""'), r"line 7: model k: method is ''"),
        (('"logorvar"', '"logorvar"\nmeasure = "zz"'), r"line 7: model k: measure is 'zz'"),
        (("[model.k]", "[tables]\na = []\n[model.k]"), r"line 5: tables: a is empty"),
        (("[model.k]", '[tables]\na = ["k", "k"]\n[model.k]'), r"line 5: tables: a lists model 'k' twice"),
        (("[model.k]", '[tables]\na = [["k"]]\n[model.k]'), r"line 5: tables: a: entry 1 is \['k'\]"),
        (("[model.k]", "[model.k"), r"m.toml is not TOML"),
        (('title = "T"', f"title = {'[' * 5000}"), r"m.toml is not TOML"),
    ],
)
def test_the_line_is_named(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MODEL.replace(*change))
    with pytest.raises(SpecError) as caught:
        bm.load_analysis(tmp_path / "m.toml")
    assert re.search(message, str(caught.value)), str(caught.value)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MODEL, encoding="utf-8-sig")
    assert list(bm.load_analysis(tmp_path / "m.toml").models) == ["k"]


@pytest.mark.parametrize("data", ["../x.csv", "/etc/x.csv", "link.csv"])
def test_data_outside_the_folder_need_a_flag(data: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("logor,logorvar\n" + "".join(f"0.{i},0.1\n" for i in range(9)))
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "link.csv").symlink_to(tmp_path / "x.csv")
    (folder / "m.toml").write_text(MODEL.replace('"bcg"', f'"{data}"'))
    with pytest.raises(DataError, match="lies outside the folder of the model file"):
        bm.load_analysis(folder / "m.toml")
    analysis = bm.load_analysis(folder / "m.toml", allow_outside=True)
    if not data.startswith("/"):
        assert len(analysis.models["k"].spec.y) == 9
