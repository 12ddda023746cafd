import pytest

import bayesmeta as bm
from bayesmeta._validation import check_keys, check_kind, check_texts, check_word


def test_what_is_right_passes():
    check_keys({"a": 1}, ("a", "b"), "file", required=("a",))
    check_kind("text", str, "title")
    check_texts(["a", "b"], "columns")
    check_word("one", iter(("one", "two")), "kind")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: check_keys({"titel": 1}, ("title", "data"), "file"),
            "file: unknown key 'titel'; did you mean 'title'?",
        ),
        (lambda: check_keys({}, ("title",), "file", required=("title",)), "file: 'title' is missing"),
        (lambda: check_kind(1, str, "title"), "title is 1; text is wanted"),
        (lambda: check_kind("a", list, "complete"), "complete is 'a'; a list is wanted"),
        (lambda: check_kind("a", dict, "model"), "model is 'a'; a table is wanted"),
        (lambda: check_texts(["a", 2], "columns"), "columns is 2; text is wanted"),
        (lambda: check_word("tow", ("one", "two"), "kind"), "kind is 'tow'; did you mean 'two'?\nknown: one, two"),
        (lambda: check_word(3, ("one", "two"), "kind"), "kind is 3"),
    ],
)
def test_what_is_wrong_is_said(check, message):
    with pytest.raises(bm.SpecError) as error:
        check()
    assert str(error.value).startswith(message)
