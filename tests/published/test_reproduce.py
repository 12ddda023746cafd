"""Every published number is held, and no other number would be."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.inference.reference import asked
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.model_files.published import Printed
from bayesmeta.model_files.reproduce import Row, quantity, reproduce
from bayesmeta.simulation.declaration import declares_simulation

MODELS = Path(__file__).resolve().parents[2] / "models"
FILES = [path for path in sorted(MODELS.glob("*.toml")) if not declares_simulation(path)]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return reproduce(FILES)


def test_every_published_number_is_held(rows: list[Row]) -> None:
    assert [(row.analysis, row.model, row.printed.label, row.value) for row in rows if not row.ok] == []
    assert len(rows) == sum(len(model.paper) for file in FILES for model in load_analysis(file).models.values())


def test_the_exceptions(rows: list[Row]) -> None:
    exceptions = [(row.analysis, row.model, row.printed.label) for row in rows if row.printed.ours]
    assert exceptions == [
        ("alcohol", "L2", "exp_predict_lower[dose=12]"),
        ("gliomas", "2", "aic"),
        ("gliomas", "3", "aic"),
        ("smoking", "prop", "pvalue[yC.Intercept]"),
        ("smoking", "prop", "tau2[unit, yB]"),
        ("thrombolytic", "twolevel_time", "tau[trial]"),
        ("thrombolytic", "twolevel_time", "tau[subtrial]"),
    ]
    assert all(row.printed.reason for row in rows if row.printed.ours)


def test_one_digit_changed_anywhere_is_not_held(rows: list[Row]) -> None:
    tried = 0
    for row in rows:
        for field in ("printed", "ours", "apart"):
            text = getattr(row.printed, field)
            for digit in re.finditer(r"\d", text):
                for other in set("0123456789") - {digit[0]}:
                    changed = text[: digit.start()] + other + text[digit.end() :]
                    entry = replace(row.printed, **{field: changed})
                    assert not entry.holds(row.value), (row.analysis, row.model, row.printed.label, text, changed)
                    tried += 1
    assert tried > 9 * 2 * len(rows)


@pytest.mark.parametrize(
    ("quantity_of", "message"),
    [
        (("beta", ("intercept",)), "no coefficient 'intercept'; did you mean 'Intercept'"),
        (("exp_beta", ("year",)), "no coefficient 'year'"),
        (("wald_pvalue", ("Intercept", "x")), "no coefficient 'x'"),
        (("tau", ("distrct",)), "no level 'distrct'; did you mean 'district'"),
        (("tau2", ("district", "year")), "level 'district' has the effects Intercept; name one"),
    ],
)
def test_a_label_that_is_not_there(quantity_of: tuple[str, tuple[str, ...]], message: str) -> None:
    model = load_analysis(MODELS / "school.toml").models["district"]
    tree = bm.fit(model.spec, method="ml")
    with pytest.raises(SpecError, match=message):
        quantity(tree, Printed(*quantity_of, {}, "1", "nowhere"))


def test_the_wald_test_of_one_coefficient_is_its_z_test() -> None:
    model = load_analysis(MODELS / "bcg.toml").models["ml_ablat"]
    tree = bm.fit(model.spec, method="ml")
    of = ("ablat",)
    with asked(*model.inference):
        wald, z = (quantity(tree, Printed(name, of, {}, "1", "nowhere")) for name in ("wald_pvalue", "pvalue"))
    assert wald == pytest.approx(z, rel=1e-10)
