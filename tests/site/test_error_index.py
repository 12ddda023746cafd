"""The index of errors has every message that the code can give."""

import re

import pytest

from bayesmeta import BayesmetaError
from tests.hostile.test_calls import cases
from tests.hostile.world import run
from tests.support.make_error_index import ERRORS, PACKAGE, UNDER, Entry, entries, literal, page, with_passed_on


@pytest.fixture(scope="module")
def listed() -> list[Entry]:
    return entries()


def test_every_place_that_makes_an_error_is_entered(listed):
    """Read as text, where the index reads syntax trees."""
    entered = {(entry.path, entry.line) for entry in listed}
    passed_on = {
        (entry.path, entry.line) for entry in with_passed_on() if not entry.has_words and "Error" in entry.kind
    }
    made = re.compile(rf"(?<![\w\"'.])(?:{'|'.join((*ERRORS, *UNDER))})\((?!BayesmetaError|SpecError)(?!\))")
    missing, seen = [], 0
    for path in sorted(PACKAGE.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if made.search(line) and not line.lstrip().startswith(("class ", "#", '"')):
                seen += 1
                if (str(path.relative_to(PACKAGE)), number) not in entered | passed_on:
                    missing.append(f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}")
    assert seen > 900
    assert len(passed_on) < seen / 25  # f"{place}: {error}", and what makes the errors of others
    assert not missing, "\n".join(missing)


# what a first line says where no further line need say what would be right: the rule, or what to write
RULE = re.compile(
    r"\b(must|give|leave|choose|takes?|needs?|use|add|rename|expected|make|see|allow|pass|write|quote|requires?|try|ask|drop|"
    r"known|at most|at least|lie between|such as|name (it|them|one|a|the|at)|has one|did you mean|instead)\b|bm\.|="
)


def test_messages_say_what_would_be_right(listed):
    """All but those that pass on a reason, and a few of which no more can be said."""
    errors = [entry for entry in listed if entry.kind in ERRORS]
    short = [f"{entry.path}: {entry.first}" for entry in errors if not entry.remedy and not RULE.search(entry.first)]
    assert len(errors) > 1000
    assert len(short) < 0.06 * len(errors), "\n".join(short)


def test_the_page_has_every_message_below_its_class(listed):
    sections = dict(zip(*[iter(re.split(r"^## (\w+)\n", page(), flags=re.MULTILINE)[1:])] * 2, strict=True))
    assert {*ERRORS} <= {*sections}
    assert all(literal(entry.first) in sections[entry.kind] for entry in listed)


@pytest.mark.filterwarnings("ignore")
def test_messages_of_malformed_calls_are_in_the_index(listed):
    patterns = [(entry, entry.pattern) for entry in listed]
    strangers, tried = [], 0
    for case in cases(7, 150):
        if case.admitted or case.slow:
            continue
        try:
            run(case.line)
        except BayesmetaError as error:
            tried += 1
            text = " ".join(str(error).split())
            if not any(pattern.search(text) for _, pattern in patterns):
                strangers.append(text[:200])
    assert tried > 40
    assert not strangers, "\n".join(strangers)
