"""Studies and results as tables of a paper: numbers by hand, every kind of source, and what is refused."""

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.display.paper import DASH
from tests.support.posteriors import make_posterior
from tests.support.trials import berkey, school

COUNTS: dict[str, Any] = {"events": ("tpos", "cpos"), "no_events": ("tneg", "cneg")}


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    return bm.effects.odds_ratio(bm.datasets.load("bcg"), **COUNTS, arms=("BCG", "control"))


@pytest.fixture(scope="module")
def fit(trials: pd.DataFrame) -> xr.DataTree:
    return bm.fit(bm.specify("y ~ 1", trials, S="v"))


def frame(source: Any, **options: Any) -> pd.DataFrame:
    return bm.table(source, **options).to_frame()


class TestStudies:
    def test_counts_ratios_and_weights_by_hand(self, fit: xr.DataTree, trials: pd.DataFrame) -> None:
        shown = frame(fit)
        assert list(shown.columns) == ["BCG, n/N", "control, n/N", "OR (95% CI)", "Weight (%)"]
        studies = shown.iloc[: len(trials)]
        a, b, c, d = (trials[name].to_numpy(float) for name in ("tpos", "tneg", "cpos", "cneg"))
        log, se = np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
        w = 1 / (se**2 + fit["estimate"]["tau_unit"].item() ** 2)
        for i, row in enumerate(studies.itertuples(index=False)):
            assert row[0] == f"{a[i]:.0f}/{a[i] + b[i]:.0f}"
            assert row[1] == f"{c[i]:.0f}/{c[i] + d[i]:.0f}"
            bounds = np.exp([log[i], log[i] - 1.959964 * se[i], log[i] + 1.959964 * se[i]])
            assert row[2] == "{:.2f} ({:.2f} to {:.2f})".format(*bounds)
            assert row[3] == f"{100 * w[i] / w.sum():.1f}"
        assert list(shown.index[:2]) == ["Aronson (1948)", "Ferguson & Simes (1949)"]

    def test_the_pooled_estimate_and_its_prediction_interval_stand_below(self, fit: xr.DataTree) -> None:
        (table,) = bm.table(fit).paper()
        assert [section.title for section in table.sections] == ["Studies", "Pooled (REML)"]
        mean, new = table.sections[1].rows
        assert mean == ("Mean", "", "", "0.47 (0.32 to 0.71)", "100.0")
        assert new == ("Prediction interval", "", "", "0.13 to 1.79", "")
        notes = " ".join(table.notes)
        for words in ("95% CI", "log odds ratio", "REML", "Weight: share", "OR, odds ratio"):
            assert words in notes

    def test_totals_are_those_of_the_data_where_these_have_them(self) -> None:
        data = bm.datasets.load("bcg").assign(n1=lambda d: d.tpos + d.tneg, n2=lambda d: d.cpos + d.cneg)
        by_total = bm.effects.risk_ratio(data, ("tpos", "cpos"), total=("n1", "n2"))
        shown = frame(bm.fit(bm.specify("y ~ 1", by_total, S="v")))
        assert list(shown.columns[:3]) == ["tpos, n/N", "cpos, n/N", "RR (95% CI)"]
        assert shown.iloc[0, 0] == "4/123"

    def test_means_have_their_sds_and_sizes(self) -> None:
        data = {
            "m_drug": [24.1, 20.0],
            "m_sham": [21.0, 19.5],
            "s1": [5.1, 4],
            "s2": [4.9, 4.5],
            "n1": [30, 40],
            "n2": [28, 41],
        }
        table = bm.effects.hedges_g(data, ("m_drug", "m_sham"), ("s1", "s2"), ("n1", "n2"))
        shown = frame(bm.fit(bm.specify("y ~ 1", table, S="v"), "fixed"))
        assert list(shown.columns[:2]) == ["drug, mean (SD), n", "sham, mean (SD), n"]
        assert shown.iloc[0, 0] == "24.1 (5.1), 30"
        assert "Prediction interval" not in shown.index

    def test_columns_by_name_and_in_pairs(self, fit: xr.DataTree) -> None:
        chosen = frame(fit, columns={"Ill": "tpos", "Ill, not": ("cpos", "cneg")})
        assert list(chosen.columns[:2]) == ["Ill", "Ill, not"]
        assert list(chosen.iloc[0, :2]) == ["4", "11/128"]
        assert list(frame(fit, columns="year").columns[:2]) == ["year", "OR (95% CI)"]
        assert list(frame(fit, columns=[]).columns) == ["OR (95% CI)", "Weight (%)"]

    def test_the_scale_of_the_model_on_request(self, fit: xr.DataTree) -> None:
        shown = frame(fit, scale="model", prob=0.9)
        assert shown.columns[2] == "log OR (90% CI)"
        assert shown.loc["Mean"].iloc[2].startswith("−0.75 (−1.08 to −0.41)")

    def test_where_means_differ_nothing_is_pooled(self, trials: pd.DataFrame) -> None:
        (table,) = bm.table(bm.fit(bm.specify("y ~ ablat", trials, S="v"))).paper()
        assert len(table.sections) == 1
        assert len(table.rows) == 13
        assert "Weight (%)" not in table.header

    def test_of_several_outcomes_each_has_its_columns(self) -> None:
        data = bm.datasets.load("berkey98")
        data.loc[1, ["PD", "var_PD", "cov_PD_AL"]] = np.nan
        spec = bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi="unstr")
        shown = frame(bm.fit(spec))
        assert list(shown.columns) == ["PD, Estimate (95% CI)", "Weight (%)", "AL, Estimate (95% CI)", "Weight (%)"]
        assert list(shown.iloc[1, :2]) == [DASH, DASH]
        assert shown.loc["Mean"].iloc[1] == shown.loc["Mean"].iloc[3] == "100.0"

    def test_levels_of_grouping_and_every_row(self) -> None:
        shown = frame(bm.fit(school()))
        assert len(shown) == 56 + 2
        assert shown.columns[0] == "SMD (95% CI)"

    def test_rows_that_were_dropped_are_named(self, trials: pd.DataFrame) -> None:
        data = trials.copy()
        data.attrs = trials.attrs
        data.loc[3, "y"] = np.nan
        (table,) = bm.table(bm.fit(bm.specify("y ~ 1", data, S="v"))).paper()
        assert "Hart & Sutherland (1977)" not in [row[0] for row in table.rows]
        assert any("1 of 13 rows dropped" in note and "Hart & Sutherland" in note for note in table.notes)

    def test_intervals_of_a_posterior_are_said_to_be_credible(self, fit: xr.DataTree, trials: pd.DataFrame) -> None:
        tree = make_posterior(bm.specify("y ~ 1", trials, S="v"), draws=200)
        (table,) = bm.table(tree).paper()
        assert table.header[2] == "OR (95% interval)"
        assert table.sections[1].title == "Pooled (posterior)"
        assert "CrI, credible interval" in " ".join(table.notes)
        assert table.sections[0].rows[0][3] == "0.39 (0.12 to 1.26)"

    def test_what_the_effects_were_made_from_travels_with_the_results(self, fit: xr.DataTree, tmp_path: Any) -> None:
        loaded = bm.load(bm.save(fit, tmp_path / "fit.nc"))
        assert bm.Spec.from_tree(loaded).arm_columns == {"y": {key: list(pair) for key, pair in COUNTS.items()}}
        pd.testing.assert_frame_equal(frame(loaded), frame(fit))

    def test_trees_of_earlier_versions_have_no_counts(self, fit: xr.DataTree) -> None:
        old = fit.copy()
        del old.attrs["arm_columns"], old.attrs["group_hashes"]
        assert list(frame(old).columns) == ["OR (95% CI)", "Weight (%)"]

    def test_an_edited_attribute_is_refused(self, fit: xr.DataTree, tmp_path: Any) -> None:
        other = fit.copy()
        other.attrs["arm_columns"] = json.dumps({"y": {"events": ["tpos"]}})
        other.to_netcdf(tmp_path / "edited.nc")
        with pytest.raises(bm.DataError, match="arm_columns"):
            bm.load(tmp_path / "edited.nc")

    def test_columns_that_are_not_kept_are_not_shown(self, trials: pd.DataFrame) -> None:
        spec = bm.specify("y ~ 1", trials, S="v", keep=[])
        assert spec.arm_columns == {}
        assert list(frame(bm.fit(spec)).columns) == ["OR (95% CI)", "Weight (%)"]

    def test_the_users_own_attributes_do_no_harm(self, trials: pd.DataFrame) -> None:
        for value in (3, {"y": 3}, {"y": {"events": "tpos"}}, {"y": {"events": ["no", "such"]}}, {"z": {}}):
            data = trials.copy()
            data.attrs = {**trials.attrs, "arm_columns": value}
            assert bm.specify("y ~ 1", data, S="v").arm_columns == {}


class TestSources:
    def test_heterogeneity(self, fit: xr.DataTree) -> None:
        shown = frame(fit, of="heterogeneity")
        assert list(shown.columns) == ["Q", "df", "p", "I² (%, from τ²)", "H² (from τ²)"]
        assert list(shown.loc["overall"]) == ["163.16", "12", "<0.0001", "92.07", "12.61"]
        both = frame(bm.heterogeneity(fit))
        assert list(both.columns[3:]) == ["I² (%, from Q)", "H² (from Q)", "I² (%, from τ²)", "H² (from τ²)"]
        assert list(both.loc["overall"].iloc[3:5]) == ["92.65", "13.60"]

    def test_a_summary_is_that_of_summary(self, fit: xr.DataTree) -> None:
        assert bm.table(fit, "summary").paper() == bm.summary(fit).paper() == bm.table(bm.summary(fit)).paper()

    def test_predictions_have_their_intervals_in_one_column(self, trials: pd.DataFrame) -> None:
        tree = bm.fit(bm.specify("y ~ ablat", trials, S="v"))
        predicted = bm.predict(tree, {"ablat": [10, 50]}, scale="response", prob=0.9)
        shown = frame(predicted)
        assert list(shown.columns) == ["Mean", "90% interval"]
        values = predicted.to_dataframe()
        for text, mean in zip(shown["Mean"], values["mean"], strict=True):
            assert float(text) == pytest.approx(mean, abs=5e-5)
        assert "Scale: response." in bm.table(predicted).paper()[0].notes

    def test_named_rows_are_labels(self, fit: xr.DataTree) -> None:
        assert list(frame(bm.blup(fit)).index[:1]) == ["Aronson (1948)"]
        assert list(frame(bm.ranef(fit)).index[:1]) == ["Aronson (1948)"]
        assert len(bm.table(bm.ranef(bm.fit(school()))).paper()) == 2

    @pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "dict"])
    def test_data_frames_of_any_library(self, kind: str) -> None:
        columns: dict[str, list[Any]] = {
            "study": ["a", "b"],
            "n": [10, 20],
            "estimate": [-0.51234, 1.0],
            "se": [0.1, 0.2],
        }
        made = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table, "dict": dict}[kind](columns)
        shown = frame(made)
        assert (shown.index.name, list(shown.columns)) == ("study", ["n", "Estimate", "SE"])
        assert shown.to_numpy().tolist() == [["10", "−0.5123", "0.1000"], ["20", "1.0000", "0.2000"]]

    def test_estimates_and_confidence_intervals(self, fit: xr.DataTree) -> None:
        shown = frame(bm.estimates(fit, 0.9, df="z"))
        assert "90% interval" in shown.columns
        assert shown.loc["beta[Intercept]", "p"] == "<0.0001"
        assert shown.loc["beta[Intercept]", "df"] == "∞"
        exact = frame(bm.confint(fit, "qprofile"))
        assert exact.loc["tau2[unit, Intercept]", "95% interval"] == "0.1301 to 1.1812"

    def test_one_share_of_the_variance_needs_no_word_about_where_it_is_from(self, fit: xr.DataTree) -> None:
        assert {"I²", "share"} <= set(frame(bm.variance_partition(fit)).columns)

    def test_missing_values_and_texts(self) -> None:
        data = pd.DataFrame(
            {"x": [1.5, np.nan], "t": ["a", None], "b": [True, False], "i": [np.inf, -np.inf]}, ["r", "s"]
        )
        assert frame(data).to_numpy().tolist() == [["1.5", "a", "True", "∞"], [DASH, DASH, "False", "−∞"]]

    def test_a_caption_takes_the_place_of_the_first(self, fit: xr.DataTree) -> None:
        page = bm.table(bm.compare(fit), caption="Table 2. BCG vaccine")
        assert page.paper()[0].caption == "Table 2. BCG vaccine"
        assert "Table 2. BCG vaccine" in str(page)
        assert page.to_latex().startswith("\\begin{table}")

    def test_it_prints_and_shows(self, fit: xr.DataTree) -> None:
        page = bm.table(fit)
        assert "Prediction interval" in str(page)
        assert max(map(len, str(page).splitlines())) <= 100
        assert page._repr_html_().count("<table>") == 2
        assert "| Mean |" in page.to_markdown()


class TestRefusals:
    @pytest.mark.parametrize("source", [None, "bcg", 3, b"x"])
    def test_what_is_no_source(self, source: Any) -> None:
        with pytest.raises(bm.SpecError, match=r"^source is .*; it must be a results tree, a result of bayesmeta"):
            bm.table(source)

    def test_what_has_nothing_to_show(self) -> None:
        for empty in (pd.DataFrame(), pd.DataFrame({"a": []}), xr.DataTree()):
            with pytest.raises(bm.SpecError, match=r"^source (has 0|is an empty)"):
                bm.table(empty)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"of": "trials"}, "of is 'trials'"),
            ({"of": 3}, "of is 3"),
            ({"columns": "latitude"}, r"columns\['latitude'\]: no column 'latitude'"),
            ({"columns": {"x": ("a", "b", "c")}}, r"columns\['x'\] is \('a', 'b', 'c'\)"),
            ({"columns": {"x": None}}, r"columns\['x'\]: no column None"),
            ({"columns": {3: "year"}}, "columns: the heading 3 is no text"),
            ({"columns": 3}, "columns is 3"),
            ({"columns": "year", "of": "summary"}, "columns='year' belongs to of=\"studies\""),
            ({"prob": 95}, "prob is 95"),
            ({"scale": "log"}, "scale is 'log'"),
            ({"scale": "model", "of": "heterogeneity"}, "scale='model' belongs to"),
            ({"caption": 3}, "caption is 3"),
        ],
    )
    def test_arguments(self, fit: xr.DataTree, options: dict[str, Any], message: str) -> None:
        with pytest.raises(bm.SpecError, match=f"^{message}"):
            bm.table(fit, **options)

    def test_a_response_scale_needs_a_measure(self) -> None:
        tree = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
        with pytest.raises(bm.SpecError, match=r'no scale="response": the model does not say what its effects measure'):
            bm.table(tree, scale="response")
        assert frame(tree).columns[0] == "Estimate (95% CI)"

    def test_arguments_of_trees_are_refused_for_other_sources(self, fit: xr.DataTree) -> None:
        for source in (bm.summary(fit), bm.predict(fit), bm.estimates(fit)):
            for options in ({"of": "studies"}, {"prob": 0.9}, {"scale": "model"}, {"columns": "year"}):
                with pytest.raises(bm.SpecError, match="has no meaning for this source"):
                    bm.table(source, **options)  # type: ignore[arg-type]


def test_berkey_prints_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "AL" in str(bm.table(bm.fit(berkey())))
