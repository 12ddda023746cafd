"""Numbers and tables as people read them."""

import math
import re

import pytest

from bayesmeta.display.tables import Facts, Table, fixed, number, pvalue


@pytest.mark.parametrize(
    ("x", "scale", "text"),
    [
        (0.19649744, 0.0858389, "0.1965"),
        (-0.0000117, 0.0000031, "-0.00001170"),
        (0.003883988, 0.0013082, "0.00388"),
        (-1e-9, 0.05, "0.0000"),
        (1234.567, 12.3, "1234.6"),
        (123456.7, 456.0, "123457"),
        (1.0, math.nan, "1.0000"),
        (0.0021593, math.nan, "0.002159"),
        (0.0, math.nan, "0"),
        (0.0, 0.2, "0.0000"),
        (6.1e-12, math.nan, "6.100e-12"),
        (1.23456e-3, 2.2e-10, "1.234560000e-03"),
        (0.99999999999, 7.6e-9, "1.000000"),
        (-2.5e12, 1e10, "-2.5000e+12"),
        (math.nan, 0.1, "-"),
        (math.inf, 0.1, "inf"),
    ],
)
def test_a_number_shows_what_its_standard_error_deserves(x, scale, text):
    assert number(x, scale) == text


@pytest.mark.parametrize("se", [3e-8, 4.4e-5, 0.07, 0.9, 3.3, 42.0, 9e5])
def test_three_digits_of_the_standard_error_survive(se):
    assert float(number(se, se)) == pytest.approx(se, rel=5e-3)
    assert float(number(-1.7 * se, se)) == pytest.approx(-1.7 * se, rel=5e-3)


@pytest.mark.parametrize(
    ("p", "text"), [(0.0220710, "0.0221"), (1e-4, "0.0001"), (9.99e-5, "<0.0001"), (0.0, "<0.0001"), (math.nan, "-")]
)
def test_p_values_below_a_ten_thousandth_are_bounds(p, text):
    assert pvalue(p) == text


def test_fixed_has_no_negative_zero():
    assert fixed(-0.001, 2) == "0.00"


def test_decimal_points_stand_in_one_column():
    rows = (("a", "0.1965"), ("a much longer label", "-12.5"), ("b", "<0.0001"), ("c", "7"), ("d", "-"))
    lines = Table("", ("x",), rows).text().splitlines()[1:]
    points = {line.rindex(".") for line in lines if "." in line}
    assert len(points) == 1
    assert {len(lines[3]), len(lines[4])} == points


def test_a_wide_table_goes_on_below_with_its_labels():
    rows = tuple((label, *(f"{j}.25" for j in range(30))) for label in ("first", "second"))
    text = Table("wide", tuple(f"model {j}" for j in range(30)), rows).text(100)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("first") for line in lines) > 1
    assert re.findall(r"model (\d+)", text) == [str(j) for j in range(30)]
    for label in ("first", "second"):
        cells = " ".join(line.removeprefix(label) for line in lines if line.startswith(label)).split()
        assert cells == [f"{j}.25" for j in range(30)]


def test_rows_that_are_empty_in_a_part_are_left_out_there():
    rows = (("both", "1.25", "2.25"), ("left", "3.25", ""), ("right", "", "4.25"), ("neither", "", ""))
    lines = Table("", ("x" * 24, "y" * 24), rows).text(50).splitlines()
    assert [line.split()[0] for line in lines] == ["x" * 24, "both", "left", "y" * 24, "both", "right"]


def test_long_labels_and_headings_are_broken_not_cut():
    label, heading = "ns(dose, knots=[10, 25])[1] " * 6, "a very long name of a model " * 3
    table = Table("t", (heading, "se"), ((label.strip(), "1.5", "0.25"), ("short", "2.5", "0.125")))
    lines = table.text(60).splitlines()
    assert max(map(len, lines)) <= 60
    assert "".join(label.split()) in "".join(line.partition("  ")[0] for line in lines).replace(" ", "")
    assert " ".join(heading.split()) in " ".join(" ".join(lines[1:6]).split())
    assert lines[-1].split() == ["short", "2.5", "0.125"]


def test_an_unbroken_label_is_broken_too():
    lines = Table("", ("x",), (("y" * 150, "1"),)).text(80).splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(lines).count("y") == 150


def test_facts_wrap_under_their_value():
    lines = Facts((("Formula", "word " * 40), ("Psi", "unstr")), "Title").text(50).splitlines()
    assert lines[0] == "Title"
    assert lines[1].startswith("Formula  word")
    assert all(line.startswith(" " * 9 + "word") and len(line) <= 50 for line in lines[2:-1])
    assert lines[-1] == "Psi      unstr"


def test_html_is_escaped():
    page = Table("<t>", ("<h>",), (("<b>label</b>", "<0.0001"),)).html() + Facts((("a", "x < y & z"),)).html()
    assert "&lt;b&gt;label&lt;/b&gt;" in page
    assert "&lt;0.0001" in page
    assert "x &lt; y &amp; z" in page
    assert "<b>label" not in page
    assert "<h>" not in page
