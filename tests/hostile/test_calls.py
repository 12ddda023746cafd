"""Malformed calls of every public function: an error of ours, or an answer to a call that a plain reading admits."""

import inspect
import os
import random
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import pytest

import bayesmeta as bm
from tests.hostile.answers import plain, same
from tests.hostile.calls import CALLS, WITHOUT, Call
from tests.hostile.values import POOL
from tests.hostile.world import run
from tests.support.public_surface import public_objects

CASES = int(os.environ.get("HOSTILE_CASES", "600"))
FIRST = int(os.environ.get("HOSTILE_SEED", os.environ["HOSTILE_FRESH"]))
SHOWN = 40  # failing lines of one run


class Case(NamedTuple):
    """A line, whether a plain reading admits it, and the line of that reading where it is another one."""

    line: str
    admitted: bool
    slow: bool
    plain: str


def test_every_public_function_has_a_call():
    functions = {name for name, value in public_objects() if inspect.isfunction(value)}
    assert functions <= {*CALLS, *WITHOUT}


def test_every_argument_of_a_call_exists():
    for name, call in CALLS.items():
        function = bm
        for part in name.split("."):
            function = getattr(function, part)
        parameters = inspect.signature(function).parameters
        open_ended = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values())
        assert open_ended or {*call.arguments, *call.kinds} <= set(parameters), name


def test_every_value_of_every_argument_is_judged():
    """The generator itself stops at none of its values."""
    for call in CALLS.values():
        for kind in call.kinds.values():
            for text in (*POOL, *kind.own):
                value = run(text)
                assert not kind.admits(value) or isinstance(kind.meaning(value) or plain(value), str)


def one(rng: random.Random, name: str, call: Call) -> Case:
    """A call with one argument replaced by a value from the pool, or by one that is nearly right."""
    argument = rng.choice(list(call.kinds))
    kind = call.kinds[argument]
    text = rng.choice([*POOL, *kind.own * 3])
    value = run(text)
    admitted = bool(kind.admits(value))
    reading = (kind.meaning(value) or plain(value)) if admitted else ""
    return Case(
        call.line(name, {argument: text}), admitted, call.slow, call.line(name, {argument: reading}) if reading else ""
    )


def cases(seed: int, count: int) -> Iterator[Case]:
    rng = random.Random(seed)
    having = [name for name, call in CALLS.items() if call.kinds]
    for _ in range(count):
        name = rng.choice(having)
        yield one(rng, name, CALLS[name])


def fault(case: Case) -> str:
    """What is wrong with the answer to a call; empty for nothing."""
    if case.slow and case.admitted:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            answer = run(case.line)
            if case.plain and not same(answer, run(case.plain)):
                return f"not the answer to {case.plain}"
        except bm.BayesmetaError as error:
            return "" if str(error).strip() and len(str(error)) < 5000 else f"message of {len(str(error))} characters"
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:100]}"
        finally:
            _close_figures()
    return "" if case.admitted else "accepted in silence"


def _close_figures() -> None:
    from matplotlib import pyplot

    pyplot.close("all")


def faults(seed: int, count: int) -> list[str]:
    """Failing lines, each once."""
    lines = {}
    for case in cases(seed, count):
        if case.line not in lines:
            lines[case.line] = fault(case)
    return [f"{why}\n    {line[:300]}" for line, why in lines.items() if why]


@pytest.mark.hostile
@pytest.mark.parametrize("seed", sorted({0, FIRST}))
def test_malformed_calls(seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    wrong = faults(seed, CASES // 2)
    assert not wrong, f"HOSTILE_SEED={seed}: {len(wrong)} lines\n" + "\n".join(wrong[:SHOWN])
