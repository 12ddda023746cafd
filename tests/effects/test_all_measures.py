"""What every effect size must obey: rows are studies of their own, swaps, units, sizes, and what follows from what."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

import bayesmeta as bm
from bayesmeta import effects
from bayesmeta.effects import (
    associations,
    change,
    functions,
    one_group,
    paired,
    rates,
    reliability,
    superiority,
    two_by_two,
    two_groups,
)
from bayesmeta.effects.recipe import RECIPES


def whole(low: int, high: int):
    """Whole numbers, as many small as large ones."""
    return lambda rng, size: np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1), size)))


def real(low: float, high: float):
    return lambda rng, size: rng.uniform(low, high, size)


cells, sizes = whole(1, 10**5), whole(6, 10**5)
values, sds = real(1, 100), real(0.1, 50)
shares, correlations = real(0.05, 0.95), real(-0.9, 0.9)
MADE_FROM = {  # arguments of escalc and what they may be
    two_by_two.TABLES: {"ai": cells, "bi": cells, "ci": cells, "di": cells},
    paired.PAIRS: {"ai": cells, "bi": cells, "ci": cells, "di": cells},
    paired.MARGINS: {"ai": cells, "bi": cells, "ci": cells, "di": cells, "ri": real(-0.5, 0.5)},
    rates.RATES: {"x1i": cells, "x2i": cells, "t1i": values, "t2i": values},
    rates.RATE: {"xi": cells, "ti": values},
    two_groups.GROUPS: dict(zip(two_groups.ARGUMENTS, (values, values, sds, sds, sizes, sizes), strict=True)),
    two_groups.SDS: {"sd1i": sds, "sd2i": sds, "n1i": sizes, "n2i": sizes},
    two_groups.CONTROL_SD: {"m1i": values, "m2i": values, "sd2i": sds, "n1i": sizes, "n2i": sizes},
    superiority.RANKS: {"ai": shares, "n1i": sizes, "n2i": sizes},
    associations.CORRELATIONS: {"ri": correlations, "ni": sizes},
    associations.PARTIAL: {"ri": correlations, "ni": whole(30, 10**5), "mi": whole(1, 20)},
    associations.SEMIPARTIAL: {
        "ri": real(-0.4, 0.4),
        "ni": whole(30, 10**5),
        "mi": whole(1, 20),
        "r2i": real(0.2, 0.8),
    },
    associations.EXPLAINED: {"r2i": shares, "ni": whole(30, 10**5), "mi": whole(1, 20)},
    one_group.PROPORTIONS: {"xi": cells, "mi": cells},
    one_group.MEANS: {"mi": values, "sdi": sds, "ni": sizes},
    one_group.SPREADS: {"sdi": sds, "ni": sizes},
    one_group.GENOTYPES: {"ai": cells, "bi": cells, "ci": cells},
    change.CHANGES: dict(zip(change.ARGUMENTS, (values, values, sds, sds, sizes, correlations), strict=True)),
    reliability.ALPHAS: {"ai": shares, "mi": whole(2, 40), "ni": sizes},
}
MADE_FROM |= {
    **dict.fromkeys((two_groups.STATED, superiority.NORMAL), MADE_FROM[two_groups.GROUPS]),
    **dict.fromkeys((change.FIRST_SD, change.STATED), MADE_FROM[change.CHANGES]),
    change.SDS: {name: MADE_FROM[change.CHANGES][name] for name in ("sd1i", "sd2i", "ni", "ri")},
}
NAMES = [name for name, recipe in RECIPES.items() if recipe.metafor == name]
EVERY = pytest.mark.parametrize("name", NAMES)
UNITS = (1e-3, 0.37, 1e3)


def rows_of(name: str, size: int = 30, seed: int = 0) -> pd.DataFrame:
    """Studies at random."""
    rng = np.random.default_rng([seed, NAMES.index(name)])
    return pd.DataFrame({argument: draw(rng, size) for argument, draw in MADE_FROM[RECIPES[name].inputs].items()})


def estimates(name: str, frame: pd.DataFrame, **options) -> np.ndarray:
    """(n, 2) estimates and variances; what cannot be estimated is NaN here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        named = {column: column for column in frame if column != "author"}
        table = effects.escalc(name, frame, **named, **options)
    return table[["y", "v"]].to_numpy()


def swapped(frame: pd.DataFrame) -> pd.DataFrame:
    """The second arm in the place of the first."""
    other = {"ai": "ci", "bi": "di"} | {f"{kind}1i": f"{kind}2i" for kind in ("m", "sd", "n", "x", "t")}
    both = other | {second: first for first, second in other.items()}
    return frame.rename(columns=both)


def test_every_measure_is_made_from_something_here():
    assert {recipe.inputs for recipe in RECIPES.values() if recipe.metafor == recipe.name} <= set(MADE_FROM)


@EVERY
def test_estimates_are_finite_or_missing_together_and_variances_positive(name):
    y, v = estimates(name, rows_of(name)).T
    assert (np.isnan(y) == np.isnan(v)).all()
    assert (v[~np.isnan(v)] > 0).all()


@EVERY
def test_rows_are_studies_of_their_own(name):
    frame = rows_of(name, 4)
    together = estimates(name, frame)
    apart = np.vstack([estimates(name, frame.iloc[[row]]) for row in range(len(frame))])
    np.testing.assert_allclose(together, apart, rtol=1e-12)
    np.testing.assert_array_equal(estimates(name, frame.iloc[::-1])[::-1], together)


ANTISYMMETRIC = (
    *("OR", "RR", "RD", "PETO", "AS", "PHI", "ZPHI", "YUQ", "YUY", "PBIT", "OR2DL", "OR2DN", "RTET", "ZTET"),
    *("IRR", "IRD", "IRSD", "MD", "SMD", "SMDH", "ROM", "VR", "CVR", "RPB", "ZPB", "RBIS", "ZBIS", "D2ORL", "D2ORN"),
    *("MC", "SMCC", "SMCRP", "SMCRPH", "ROMC", "VRC", "CVRC"),
)


@pytest.mark.parametrize("name", ANTISYMMETRIC)
def test_swapped_arms_change_the_sign(name):
    frame = rows_of(name)
    (y, v), (other, w) = estimates(name, frame).T, estimates(name, swapped(frame)).T
    np.testing.assert_allclose(other, -y, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(w, v, rtol=1e-5)


@pytest.mark.parametrize("name", ["CLESN", "CLESCN"])
def test_swapped_arms_give_the_other_probability(name):
    frame = rows_of(name)
    (y, v), (other, w) = estimates(name, frame).T, estimates(name, swapped(frame)).T
    np.testing.assert_allclose(other, 1 - y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(w, v, rtol=1e-6, atol=1e-300)


UNITLESS = (
    *("SMD", "SMDH", "SMD1", "SMD1H", "ROM", "VR", "CVR", "RPB", "RBIS", "D2ORL", "CLESN", "SMN", "CVLN", "SMCC"),
    *("SMCR", "SMCRH", "SMCRP", "SMCRPH", "CLESCN", "ROMC", "VRC", "CVRC"),
)


@pytest.mark.parametrize("name", UNITLESS)
@pytest.mark.parametrize("unit", UNITS)
def test_another_unit_changes_nothing(name, unit):
    frame = rows_of(name)
    measured = [column for column in frame if column.startswith(("m", "sd"))]
    other = frame.assign(**{column: unit * frame[column] for column in measured})
    np.testing.assert_allclose(estimates(name, other), estimates(name, frame), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["MD", "MC", "MN"])
@pytest.mark.parametrize("unit", UNITS)
def test_another_unit_scales_what_has_one(name, unit):
    frame = rows_of(name)
    measured = [column for column in frame if column.startswith(("m", "sd"))]
    other = frame.assign(**{column: unit * frame[column] for column in measured})
    (y, v), (scaled, w) = estimates(name, frame).T, estimates(name, other).T
    np.testing.assert_allclose(scaled, unit * y, rtol=1e-9, atol=1e-9 * unit)
    np.testing.assert_allclose(w, unit**2 * v, rtol=1e-9, atol=1e-300)


@EVERY
def test_many_more_persons_leave_nothing_to_chance(name):
    """A hundred thousand times the persons: the variance falls by about as much."""
    times = 1e5
    frame = rows_of(name)
    counted = [c for c in frame if c in ("n1i", "n2i", "ni", "x1i", "x2i", "t1i", "t2i", "xi", "ti")]
    if not counted:
        counted = list(frame.columns.drop("ri", errors="ignore"))
    if RECIPES[name].inputs is one_group.PROPORTIONS:
        counted = ["xi", "mi"]
    base = frame.assign(**{c: 100 * frame[c] for c in counted})
    many = base.assign(**{c: times * base[c] for c in counted})
    (y, v), (limit, w) = estimates(name, base).T, estimates(name, many).T
    np.testing.assert_allclose(times * w, v, rtol=0.1, atol=1e-300)
    has = ~np.isnan(v)
    assert has.mean() > 0.3
    assert (np.abs(limit - y) <= 0.3 * np.sqrt(v) + 1e-9)[has].all()  # bias falls faster than the standard error


FOLLOWS = {  # a measure, the one that it follows from by the delta method, and the function
    "YUQ": ("OR", lambda y: np.tanh(y / 2)),
    "YUY": ("OR", lambda y: np.tanh(y / 4)),
    "OR2DL": ("OR", lambda y: y * math.sqrt(3) / math.pi),
    "ZPHI": ("PHI", np.arctanh),
    "ZTET": ("RTET", np.arctanh),
    "ZPB": ("RPB", np.arctanh),
    "PLN": ("PR", np.log),
    "PLO": ("PR", lambda p: np.log(p / (1 - p))),
    "PAS": ("PR", lambda p: np.arcsin(np.sqrt(p))),
    "IRLN": ("IR", np.log),
    "IRS": ("IR", np.sqrt),
    "MNLN": ("MN", np.log),
    "ABT": ("ARAW", lambda a: -np.log(1 - a)),
    "ZSPCOR": ("SPCOR", np.arctanh),
}


@pytest.mark.parametrize("name", FOLLOWS)
def test_a_measure_follows_from_another_by_the_delta_method(name):
    source, function = FOLLOWS[name]
    frame = rows_of(name).astype(float)
    from_source = pd.DataFrame(estimates(source, frame), columns=["y", "v"])
    made = effects.delta_method(from_source, function)[["y", "v"]].to_numpy()
    np.testing.assert_allclose(estimates(name, frame), made, rtol=2e-5, atol=1e-9)


def test_log_rate_ratios_are_differences_of_log_rates():
    frame = rows_of("IRR")
    first, second = (
        estimates("IRLN", frame.rename(columns={f"x{arm}i": "xi", f"t{arm}i": "ti"})[["xi", "ti"]]) for arm in "12"
    )
    y, v = estimates("IRR", frame).T
    np.testing.assert_allclose(y, first[:, 0] - second[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(v, first[:, 1] + second[:, 1], rtol=1e-12)


def test_changes_without_correlation_are_differences_of_independent_means():
    frame = rows_of("MC").assign(ri=0.0)
    arms = frame.assign(n1i=frame.ni, n2i=frame.ni).drop(columns=["ni", "ri"])
    for of_change, of_groups in {"MC": "MD", "ROMC": "ROM"}.items():
        np.testing.assert_allclose(estimates(of_change, frame), estimates(of_groups, arms), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("statistic", "of"), [("ti", "t"), ("di", "d"), ("pi", "p")])
def test_statistics_say_what_means_say(statistic, of):
    frame = rows_of("SMD")
    pooled = np.sqrt(((frame.n1i - 1) * frame.sd1i**2 + (frame.n2i - 1) * frame.sd2i**2) / (frame.n1i + frame.n2i - 2))
    d = (frame.m1i - frame.m2i) / pooled
    t = d / np.sqrt(1 / frame.n1i + 1 / frame.n2i)
    p = np.sign(t) * 2 * student.sf(np.abs(t), frame.n1i + frame.n2i - 2)
    column = {"ti": t, "di": d, "pi": p}[statistic]
    clear = (np.abs(p) > 1e-200) & (np.abs(p) < 0.999)
    stated = frame[["n1i", "n2i"]].assign(**{statistic: column})[clear]
    assert clear.sum() > 5
    np.testing.assert_allclose(estimates("SMD", stated), estimates("SMD", frame[clear]), rtol=1e-6, atol=1e-9)


def test_the_sd_of_changes_says_what_the_correlation_says():
    frame = rows_of("MC")
    frame["s"] = np.sqrt(frame.sd1i**2 + frame.sd2i**2 - 2 * frame.ri * frame.sd1i * frame.sd2i)
    columns = ("m1i", "m2i"), ("sd1i", "sd2i"), "ni"
    for function in (effects.mean_change, effects.standardised_change, effects.standardised_change_raw):
        by_r, by_sd = (
            function(frame, *columns, **{word: column}) for word, column in (("r", "ri"), ("sd_change", "s"))
        )
        np.testing.assert_allclose(by_sd[["y", "v"]], by_r[["y", "v"]], rtol=1e-6, atol=1e-9)


def test_every_recipe_has_its_function():
    assert {recipe.function for recipe in RECIPES.values()} | {"hedges_g_from"} == set(functions.__all__)
    for name in functions.__all__:
        assert getattr(effects, name).__name__ == name


def test_specify_knows_every_measure():
    for recipe in RECIPES.values():
        frame = pd.DataFrame({"y": [0.1, 0.2], "v": [1.0, 1.0]})
        assert bm.specify("y ~ 1", frame, S="v", measure=recipe.measure).measure == recipe.measure


# -- what is wrong

NOT_NEEDED = {
    ("SMCR", "sd2i"),
    *((name, "mi") for name in ("SPCOR", "ZSPCOR", "R2", "ZR2")),
}  # what a measure takes and does without

IMPOSSIBLE = {  # arguments, and values that they cannot have
    **dict.fromkeys(("ai", "bi", "ci", "di", "x1i", "x2i", "xi"), (-1.0, np.inf)),
    **dict.fromkeys(("n1i", "n2i", "ni"), (-3.0, 0.0, 1.0, np.inf)),
    **dict.fromkeys(("t1i", "t2i", "ti"), (-1.0, 0.0, np.inf)),
    **dict.fromkeys(("sd1i", "sd2i", "sdi"), (-1.0, 0.0, np.inf)),
    **dict.fromkeys(("m1i", "m2i"), (np.inf,)),
    "ri": (-1.01, 1.01, np.inf),
    "r2i": (-0.01, 1.01),
    "mi": (-1.0, np.inf),
}
OF_THEIR_OWN = {  # a mean or a coefficient alpha may be negative
    one_group.MEANS: {"mi": (np.inf,)},
    reliability.ALPHAS: {"ai": (1.01, np.inf), "mi": (1.0, -2.0)},
    superiority.RANKS: {"ai": (-0.01, 1.01)},
}


@EVERY
def test_impossible_values_name_column_row_and_study(name):
    right = rows_of(name, 3).assign(author=["Aronson", "Comstock", "Rosenthal"])
    made_from = MADE_FROM[RECIPES[name].inputs]
    impossible = IMPOSSIBLE | OF_THEIR_OWN.get(RECIPES[name].inputs, {})
    for argument, value in [(each, bad) for each in made_from for bad in impossible.get(each, ())]:
        frame = right.copy()
        frame.loc[1, argument] = value
        with pytest.raises(bm.DataError, match=r"^column '\w+': \S+ in row 1 \(Comstock\) "):
            estimates(name, frame[[*made_from, "author"]])


@EVERY
def test_missing_values_leave_no_estimate_and_are_counted(name):
    right = rows_of(name, 3)
    for argument in right:
        frame = right.copy()
        frame.loc[1, argument] = np.nan
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            table = effects.escalc(name, frame, **{column: column for column in frame})
        lost = int(table["y"].isna().sum())
        texts = [str(each.message) for each in noted]
        assert np.isnan(table.loc[1, ["y", "v"]].to_numpy(dtype=float)).all() or (name, argument) in NOT_NEEDED
        if lost:
            assert any(text.startswith("no effect estimate in ") and f"({lost} of 3 rows)" in text for text in texts)


@EVERY
def test_what_is_lacking_is_named(name):
    with pytest.raises(bm.SpecError, match=r"needs|neither is given"):
        effects.escalc(name, {"x": [1.0, 2.0]})


@EVERY
def test_unknown_variances_are_refused_with_what_there_is(name):
    frame = rows_of(name, 3)
    with pytest.raises(bm.SpecError, match=rf"{name}: variance is 'zz'"):
        estimates(name, frame, vtype="zz")
    np.testing.assert_array_equal(estimates(name, frame, vtype=["LS"] * 3), estimates(name, frame))
    with pytest.raises(bm.SpecError, match="it must be a word, or a word for each of 3 rows"):
        estimates(name, frame, vtype=["LS", "LS"])
