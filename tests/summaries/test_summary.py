"""The page about one results tree, and its two frames."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm


@pytest.fixture(scope="module")
def school() -> xr.DataTree:
    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    return bm.fit(spec, method="ml")


@pytest.fixture(scope="module")
def smoking() -> xr.DataTree:
    S = ["SBB", "SBC", "SBD", "SCC", "SCD", "SDD"]
    return bm.fit(bm.specify("yB + yC + yD ~ 1", bm.datasets.load("smoking"), S=S))


def lines(tree: xr.DataTree, **options: object) -> list[str]:
    return str(bm.summary(tree, **options)).splitlines()


def words(page: list[str], start: str) -> list[str]:
    """The cells of the first line that begins with a label."""
    return next(line for line in page if line.startswith(start)).removeprefix(start).split()


def below(page: list[str], title: str) -> list[str]:
    return page[next(i for i, line in enumerate(page) if line.startswith(title)) + 1 :]


def test_fixed_effects_of_smoking(smoking, reference):
    expected = reference("mixmeta/smoking_unstr")["expected"]
    pd.testing.assert_frame_equal(bm.summary(smoking).to_dataframe(), bm.estimates(smoking))
    frame = bm.summary(smoking, df="z").to_dataframe()
    pd.testing.assert_frame_equal(frame, bm.estimates(smoking, df="z"))
    frame = frame[frame["kind"] == "beta"]
    assert list(frame["term"]) == ["yB.Intercept", "yC.Intercept", "yD.Intercept"]
    np.testing.assert_allclose(frame["estimate"], expected["coef"], rtol=2e-4)
    np.testing.assert_allclose(frame["se"], np.sqrt(np.diag(expected["vcov"])), rtol=2e-4)
    np.testing.assert_allclose(frame["statistic"], expected["z"], rtol=3e-4)
    np.testing.assert_allclose(frame["pvalue"], expected["pvalue"], rtol=2e-3)
    np.testing.assert_allclose(frame["lower"], frame["estimate"] - 1.959963984540054 * frame["se"], rtol=1e-12)
    np.testing.assert_allclose(frame["upper"], frame["estimate"] + 1.959963984540054 * frame["se"], rtol=1e-12)


@pytest.mark.parametrize(("z", "p"), [(-10.0, 1.5239706048321189e-23), (30.0, 9.81342785429752838e-198)])
def test_small_p_values_do_not_underflow(z, p):
    data = pd.DataFrame({"y": [z, z], "v": [2.0, 2.0]})
    summary = bm.summary(bm.fit(bm.specify("y ~ 1", data, S="v"), method="fixed"))
    assert summary.to_dataframe()["pvalue"].iloc[0] == pytest.approx(p, rel=1e-10)
    assert "<0.0001" in words(str(summary).splitlines(), "beta[Intercept]")


def test_between_group_frame(smoking):
    estimate = smoking["estimate"]
    frame = bm.summary(smoking).components()
    assert list(frame.columns) == ["tau", "se", "lower", "upper", "rho[yB]", "rho[yC]"]
    assert list(frame.index) == [("unit", "yB"), ("unit", "yC"), ("unit", "yD")]
    np.testing.assert_array_equal(frame["tau"], estimate["tau_unit"])
    psi = estimate["psi_unit"].values
    correlation = psi / np.sqrt(np.outer(np.diag(psi), np.diag(psi)))
    np.testing.assert_allclose(frame["rho[yB]"], [np.nan, correlation[1, 0], correlation[2, 0]], rtol=1e-12)
    np.testing.assert_allclose(frame["rho[yC]"], [np.nan, np.nan, correlation[2, 1]], rtol=1e-12)


def test_variances_are_squares_and_carry_their_errors(school):
    sd, variance = bm.summary(school).components(), bm.summary(school, components="variance").components()
    assert list(variance.columns) == ["variance", "se", "lower", "upper"]
    np.testing.assert_allclose(variance["variance"], sd["tau"] ** 2, rtol=1e-14)
    np.testing.assert_allclose(variance["se"], 2 * sd["tau"] * sd["se"], rtol=1e-14)
    np.testing.assert_allclose(variance["upper"], sd["upper"] ** 2, rtol=1e-14)
    rows = below(lines(school), "Heterogeneity (95% intervals, Wald)")
    assert words(rows, "tau2[district, Intercept]")[0] == "0.0577"  # Sera et al. 2019, Table 2: 0.058
    assert words(rows, "tau2[study, Intercept]")[0] == "0.0329"  # 0.033


def test_the_page_of_school(school):
    page = lines(school)
    assert page[0] == "Multilevel random-effects model (k = 56)"
    assert page[1] == "Method     maximum likelihood (ML)"
    assert "Inference  normal" in page
    assert words(page, "Formula") == ["effect", "~", "1"]
    assert words(page, "Random") == ["1", "|", "district/study"]
    assert not any(line.startswith(("Psi", "Measure")) for line in page)
    assert "Data       56 rows, all used; 56 observations; groups: district 11, study 56" in page
    assert words(page, "beta[Intercept]")[:4] == ["0.1845", "0.0805", "2.29", "0.0219"]
    assert "Test of heterogeneity  Q = 578.86, df 55, p < 0.0001" in page
    assert "Criteria  logLik -8.395, AIC 22.790, AICc 23.251, BIC 28.866 (df 3, n 56)" in page
    assert not any(line.startswith(("note", "WARNING")) for line in page)


def test_correlations_stand_in_a_lower_triangle(smoking):
    rows = below(lines(smoking), "Between-group standard deviations, unit")
    assert rows[0].split() == ["tau", "se", "lower", "upper", "corr", "yB", "corr", "yC"]
    shown = bm.summary(smoking).components()
    assert len(rows[1].split()) == 6  # tau[unit, yB] is two words
    assert rows[2].split()[-1] == f"{shown['rho[yB]'].iloc[1]:.4f}"
    assert rows[3].split()[-2:] == [f"{shown['rho[yB]'].iloc[2]:.4f}", f"{shown['rho[yC]'].iloc[2]:.4f}"]


def test_a_diagonal_structure_shows_no_correlations():
    data = bm.datasets.load("berkey98")
    tree = bm.fit(bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi="diag"))
    assert "corr" not in str(bm.summary(tree))
    assert bm.summary(tree).components()["rho[PD]"].tolist()[1] == 0


def test_every_outcome_has_its_heterogeneity(smoking):
    rows = below(lines(smoking), "Heterogeneity (Cochran's Q)")
    assert [row.split()[0] for row in rows[1:5]] == ["overall", "yB", "yC", "yD"]
    assert rows[0].split() == ["Q", "df", "p-value", "I2", "(%,", "from", "tau2)", "H2", "(from", "tau2)"]
    assert rows[1].split()[1:4] == ["204.22", "28", "<0.0001"]
    own = bm.heterogeneity(smoking)
    assert rows[1].split()[4:] == [f"{own[name].values[0]:.2f}" for name in ("I2_tau2", "H2_tau2")]


def test_levels_with_one_effect_share_a_table_with_their_effect_named():
    data = bm.datasets.load("school").assign(year=lambda d: d.year - 1990)
    random = {"district": "0 + year", "study": "1"}
    rows = below(
        lines(bm.fit(bm.specify("effect ~ 1", data, S="var", random=random))), "Heterogeneity (95% intervals, Wald)"
    )
    names = ["tau2[district, year]", "tau[district, year]", "tau2[study, Intercept]", "tau[study, Intercept]"]
    assert [row.startswith(name) for row, name in zip(rows[1:5], names, strict=True)] == [True] * 4


def test_long_effects_are_numbered():
    data = bm.datasets.load("berkey98").assign(
        a_long_name_of_an_outcome=lambda d: d.PD, another_long_name=lambda d: d.AL
    )
    S = ["var_PD", "cov_PD_AL", "var_AL"]
    tree = bm.fit(bm.specify("a_long_name_of_an_outcome + another_long_name ~ 1", data, S=S))
    rows = below(lines(tree), "Between-group standard deviations, unit")
    assert rows[0].split()[-2:] == ["corr", "[1]"]
    assert rows[1].startswith("[1] tau[unit, a_long_name_of_an_outcome]  ")
    assert rows[2].startswith("[2] tau[unit, another_long_name]  ")


def test_small_coefficients_keep_their_digits():
    data = pd.DataFrame({"y": [0.1, 0.13, 0.2, 0.24, 0.33], "dose": [1e3, 3e3, 5e3, 7e3, 9e3], "v": [1e-3] * 5})
    tree = bm.fit(bm.specify("y ~ dose + I(dose**2)", data, S="v"), method="fixed")
    page, frame = lines(tree), bm.summary(tree).to_dataframe().set_index("term")
    for coef in ("dose", "I(dose ** 2)"):
        shown, row = [float(cell) for cell in words(page, f"beta[{coef}]")[:2]], frame.loc[coef]
        assert shown[1] == pytest.approx(row["se"], rel=5e-3)
        assert shown[0] == pytest.approx(row["estimate"], abs=5e-3 * row["se"])


def test_prob_is_named_and_used(school):
    page, frame = lines(school, prob=0.9), bm.summary(school, prob=0.9).to_dataframe().iloc[0]
    assert "Fixed effects (90% intervals)" in page
    assert frame["upper"] == pytest.approx(frame["estimate"] + 1.6448536269514722 * frame["se"])


def test_no_line_is_wider_than_the_page():
    data = bm.datasets.load("school").assign(**{"a column with a very long name " * 4: lambda d: d.year - 1990.0})
    name = data.columns[-1]
    spec = bm.specify(f"effect ~ `{name}`", data, S="var", random=f"1 + `{name}` | district")
    page = lines(bm.fit(spec), df="z")
    assert max(map(len, page)) <= 100


def test_a_notebook_gets_escaped_tables():
    data = pd.DataFrame({"y": [0.1, 0.5, 0.3], "v": [0.1, 0.2, 0.1], "x": ["<a>", "<b>", "<b>"]})
    page = bm.summary(bm.fit(bm.specify("y ~ x", data, S="v"), method="fixed"))._repr_html_()
    assert page.startswith("<div>")
    assert page.endswith("</div>")
    assert "x[T.&lt;b&gt;]" in page
    assert "<b>]" not in page
    assert page.count("<table>") == page.count("</table>") == 5


def test_a_tree_read_from_a_file_gives_the_same_page(smoking, tmp_path):
    smoking.to_netcdf(tmp_path / "tree.nc")
    with xr.open_datatree(tmp_path / "tree.nc") as read:
        assert str(bm.summary(read)) == str(bm.summary(smoking))
        assert bm.summary(read)._repr_html_() == bm.summary(smoking)._repr_html_()


def test_misspelt_components_are_refused(school):
    with pytest.raises(bm.SpecError, match="components is 'variances'; did you mean 'variance'"):
        bm.summary(school, components="variances")


@pytest.mark.parametrize("method", ["reml", "ml", "dl", "mm"])
def test_a_variance_of_zero_has_its_standard_error_and_its_square_root_none(method: str) -> None:
    data = pd.DataFrame({"y": [0.1, 0.11, 0.09, 0.12, 0.08], "v": [0.04, 0.03, 0.05, 0.02, 0.06]})
    fit = bm.fit(bm.specify("y ~ 1", data, S="v"), method)
    variances, sds = (bm.summary(fit, components=part).components() for part in ("variance", "sd"))
    assert variances["variance"].item() == sds["tau"].item() == 0
    assert variances["se"].item() == fit["estimate"]["tau2_unit_se"].item() > 0
    assert np.isnan(sds["se"].item())
