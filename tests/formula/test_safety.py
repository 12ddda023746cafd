"""What the allow-list says about what it refuses."""

import pytest

from bayesmeta.errors import SpecError
from bayesmeta.formula.safety import check_formula

LONG = "I(" + " + ".join(["x"] * 1500)


@pytest.mark.parametrize(
    "formula",
    [
        f"{LONG})) + 1",
        f"{LONG} + nothing)",
        f"{LONG}.real)",
        f"{LONG} + log(x, x))",
        f"{LONG} + eval(x))",
        f"I({'x' * 3000})",
        "x + " * 1000 + "x",
        "x:" * 1000 + "x",
        f"{LONG} ^ 2)",
        f"I(x[{'x,' * 1500}])",
    ],
)
def test_a_long_formula_is_not_repeated_whole(formula):
    with pytest.raises(SpecError) as refused:
        check_formula(formula, ["x", "y"])
    assert len(str(refused.value)) < 1000
