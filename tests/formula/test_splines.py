"""Natural splines against numbers that R 4.2.2 printed for x = c(0, 1.82, 4.5, 9.3, 14.1, 25.7, 41.2, 63.5)."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.splines import natural_basis, ns

X = np.array([0, 1.82, 4.5, 9.3, 14.1, 25.7, 41.2, 63.5])

# ns(x, knots = c(10, 25))
KNOTS = [
    [0, 0, 0],
    [-0.05034117983886259, 0.12120326644549964, -0.070482334291676413],
    [-0.11580467848938665, 0.29044480283668955, -0.16889996686698794],
    [-0.1692937116354305, 0.52562316775710605, -0.30566129864136055],
    [-0.092293952502770615, 0.61975263981377948, -0.3594661235216694],
    [0.32928011849394756, 0.4907539781982449, -0.2329742956499056],
    [0.43528169189091576, 0.35505959455458647, 0.12487228297131994],
    [-0.16081118007573092, 0.38427606667447384, 0.77653511340125703],
]
# ns(x, df = 4, Boundary.knots = c(1, 50)); its knots are 5.7, 11.7, 22.8
BOUNDARY = [
    [0, 0.062874567591972852, -0.15140750651743459, 0.088532938925461754],
    [0.00050292523546914157, -0.05116504246219869, 0.12320993681154462, -0.072044894349345925],
    [0.039108035777809816, -0.18957061616953014, 0.45650277055530231, -0.26693215438577217],
    [0.41453277837828806, -0.1720411611682556, 0.43900917745133738, -0.25670307628070566],
    [0.71587572856971637, 0.058867584366946571, 0.15801684462372118, -0.091901191399631238],
    [0.31091911049645804, 0.50878152151247813, 0.1998489708978532, -0.019549602906789115],
    [0.014766467443704388, 0.23790224715422664, 0.33808987816468417, 0.40924140723738506],
    [0, -0.80739974572801532, 0.4553192406318014, 1.3520805050962139],
]
# ns(x, df = 3, intercept = TRUE)
INTERCEPT = [
    [-0.37848648939892116, 0.5846801986890463, -0.32200513978104461],
    [-0.28998068141949462, 0.56641778035303059, -0.31187697039647144],
    [-0.16221298799420425, 0.53989325870139426, -0.29627553330377249],
    [0.047791587542645647, 0.49508991430202021, -0.26327455872128985],
    [0.21519204363345273, 0.4564018761209106, -0.21883116793239338],
    [0.41708330530278381, 0.39199515359213732, -0.05699686965804629],
    [0.33797764738594727, 0.35601111333561342, 0.25294623314349818],
    [-0.16009211387374908, 0.35939635816455395, 0.80206705339593065],
]
# ns(x)
LINE = [
    [0],
    [0.02298025796601318],
    [0.056819319146735887],
    [0.11742659290325419],
    [0.17803386665977247],
    [0.32450144490469157],
    [0.520212433076782],
    [0.80178372573727319],
]
# ns(x, df = 2, intercept = TRUE)
LINE_INTERCEPT = [
    [0.55181345204477306, -0.62888942918642776],
    [0.54875240233026767, -0.59055813267871804],
    [0.5442449225308863, -0.53411424551351916],
    [0.53617182438274014, -0.43302071626241651],
    [0.52809872623459397, -0.33192718701131385],
    [0.50858873904324076, -0.087617824654482382],
    [0.48251935960651898, 0.23883003021886984],
    [0.44501309112659027, 0.70849371819795048],
]
# predict(ns(x, knots = c(10, 25)), c(-5, 0, 20, 63.5, 80))
BEYOND = [
    [0.14018285901257108, -0.33498241634172826, 0.19479955732915716],
    [0, 0, 0],
    [0.12137093191953688, 0.58404671724624102, -0.32609123319207367],
    [-0.16081118007573092, 0.38427606667447384, 0.77653511340125703],
    [-0.72311355740328664, 0.44224538392473711, 1.2808681734785496],
]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"knots": [10, 25]}, KNOTS),
        ({"knots": [25, 10]}, KNOTS),
        ({"df": 4, "boundary_knots": [50, 1]}, BOUNDARY),
        ({"df": 3, "intercept": True}, INTERCEPT),
        ({}, LINE),
        ({"df": 2, "intercept": True}, LINE_INTERCEPT),
    ],
)
def test_equals_r(arguments, expected):
    basis = ns(X, **arguments)
    np.testing.assert_allclose(basis, expected, rtol=0, atol=1e-12)
    assert list(basis.columns) == [str(j + 1) for j in range(len(expected[0]))]


def test_knots_are_remembered_for_new_data():
    state = {}
    ns(X, knots=[10, 25], _state=state)
    np.testing.assert_allclose(ns([-5, 0, 20, 63.5, 80], knots=[10, 25], _state=state), BEYOND, rtol=0, atol=1e-12)


def test_quantile_knots_are_remembered():
    state = {}
    first = ns(X, df=4, boundary_knots=[1, 50], _state=state)
    np.testing.assert_allclose(state["knots"], [5.7, 11.7, 22.8], rtol=1e-14)
    np.testing.assert_array_equal(ns(X[:2], df=4, boundary_knots=[1, 50], _state=state), first[:2])


def test_missing_values_stay_missing_and_move_no_knot():
    with_gap = ns(np.insert(X, 3, np.nan), df=3).to_numpy()
    assert np.isnan(with_gap[3]).all()
    np.testing.assert_array_equal(np.delete(with_gap, 3, axis=0), ns(X, df=3))


@given(
    st.lists(st.floats(-50, 50), min_size=6, max_size=20, unique_by=lambda v: round(v, 1)),
    st.integers(1, 4),
    st.booleans(),
)
def test_linear_beyond_the_boundary_and_smooth_inside(x, df, intercept):
    state = {}
    ns(np.array(x), df=df + intercept, intercept=intercept, _state=state)
    low, high = state["boundary"]
    step = (high - low) / 7
    for edge, outward in ((low, -step), (high, step)):
        values = natural_basis(edge + outward * np.arange(4), state["knots"], (low, high), intercept)
        np.testing.assert_allclose(np.diff(values, n=2, axis=0), 0, atol=1e-9 * (1 + np.abs(values).max()))
    near = natural_basis([low, low + 1e-9, high - 1e-9, high], state["knots"], (low, high), intercept)
    np.testing.assert_allclose(near[[0, 3]], near[[1, 2]], atol=1e-5)


@given(st.integers(1, 4))
def test_straight_lines_are_in_the_span(df):
    basis = np.column_stack([np.ones(len(X)), ns(X, df=df)])
    line = 3 - 2 * X
    fitted = basis @ np.linalg.lstsq(basis, line)[0]
    np.testing.assert_allclose(fitted, line, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"df": 3, "knots": [10]}, "df or knots, not both"),
        ({"df": 0}, "df is 0; it must be a whole number from 1"),
        ({"df": 1, "intercept": True}, "df is 1; it must be a whole number from 2"),
        ({"df": 2.0}, r"df is 2\.0"),
        ({"df": True}, "df is True"),
        ({"df": 9}, "df is 9; it must be a whole number from 1 to 8, the number of rows"),
        ({"knots": "ten"}, "knots is 'ten'; it must be numbers"),
        ({"knots": [10, float("nan")]}, "knots is"),
        ({"boundary_knots": [5]}, "two different numbers"),
        ({"boundary_knots": [5, 5]}, "two different numbers"),
    ],
)
def test_arguments_that_fix_no_spline(arguments, message):
    with pytest.raises(SpecError, match=message):
        ns(X, **arguments)


@pytest.mark.parametrize("knots", [[0], [63.5], [-3, 10], [70]])
def test_interior_knots_lie_inside(knots):
    with pytest.raises(
        DataError, match=r"interior knots .* do not all lie strictly between the boundary knots 0\.0 and"
    ):
        ns(X, knots=knots)


def test_quantiles_need_a_value_between_the_boundary_knots():
    with pytest.raises(DataError, match="no value lies between the boundary knots"):
        ns(pd.Series([1.0, 9.0]), df=2, boundary_knots=[3, 4])


def test_constant_values_leave_no_room():
    with pytest.raises(DataError, match="at least two different values"):
        ns(pd.Series([4.0, 4.0]), df=1)
