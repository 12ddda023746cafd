"""Fifteen lines from a CSV file of counts to pictures and tables; each number in them is metafor's.

The numbers of metafor are in `tests/reference/metafor/trials_or.json`. Theirs have the same definitions: log odds
ratios with Woolf's variances, REML, intervals and prediction intervals of Knapp and Hartung with standard errors that
never shrink (`test="adhoc"` there, the default here), Q-profile intervals of tau2, tau, I2 and H2, and the
log-likelihood with all constants; AICc and BIC count observations less coefficients in both. One has not: the standard
error of tau2 is from the observed information here and the expected one there.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docx
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from bayesmeta._typing import FloatArray
from bayesmeta.display.tables import MINUS
from tests.display.test_paper import cells_of
from tests.support.pictures import drawn_texts
from tests.support.reference import read_reference

SCRIPT = """
import bayesmeta as bm
import pandas as pd

trials = pd.read_csv("trials.csv")
trials = bm.effects.odds_ratio(trials, events=("ill", "ill_control"), total=("vaccinated", "control"))
spec = bm.specify("y ~ 1", trials, S="v", labels="trial")
fit = bm.fit(spec)
forest = bm.plots.forest(fit)
forest.figure.savefig("forest.pdf")
funnel = bm.plots.funnel(fit)
funnel.figure.savefig("funnel.pdf")
bm.summary(fit).save("summary.docx")
bm.summary(fit).save("summary.html")
bm.table(fit).save("studies.docx")
bm.table(fit).save("studies.html")
text = str(bm.methods_text(fit))
"""
NUMBER = re.compile(rf"{MINUS}?\d+(?:\.\d+)?")
Cells = dict[str, list[str]]


@pytest.fixture(scope="module")
def theirs() -> Any:
    all_ = read_reference("metafor/trials_or")
    return {**all_, **all_["adhoc"]}


@pytest.fixture(scope="module")
def made(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder in which the script has run, and its variables."""
    folder = tmp_path_factory.mktemp("newcomer")
    columns = {"ai": "ill", "n1i": "vaccinated", "ci": "ill_control", "n2i": "control"}
    pd.DataFrame(theirs["trials"]).rename(columns=columns).to_csv(folder / "trials.csv", index=False)
    space: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(SCRIPT, space)
    yield folder, space
    plt.close("all")


def same(text: str, values: Sequence[float]) -> None:
    """That the numbers of a text are these values, rounded to the decimals that are shown."""
    shown = NUMBER.findall(text)
    assert len(shown) == len(values), (text, values)
    for word, value in zip(shown, values, strict=True):
        decimals = len(word.partition(".")[2])
        assert abs(float(word.replace(MINUS, "-")) - value) <= 0.5 * 10.0**-decimals * (1 + 1e-9), (word, value)


def by_label(path: Path) -> Cells:
    return {row[0]: row[1:] for row in cells_of(path) if len(row) > 1}


def test_it_has_at_most_fifteen_lines() -> None:
    assert len([line for line in SCRIPT.splitlines() if line]) <= 15


@pytest.mark.parametrize("suffix", [".docx", ".html"])
def test_the_summary_has_the_numbers_of_metafor(made: Any, theirs: Any, suffix: str) -> None:
    rows = by_label(made[0] / f"summary{suffix}")
    beta, response, new = theirs["beta"], theirs["response"], theirs["prediction"]
    estimate, se, t, p, interval, ratio, its_interval = rows["Pooled estimate"]
    same(estimate, [beta["estimate"]])
    same(se, [beta["se"]])
    same(t, [beta["t"]])
    same(p, [beta["pvalue"]])
    same(interval, [beta["lower"], beta["upper"]])
    same(ratio, [response["estimate"]])
    same(its_interval, [response["lower"], response["upper"]])
    same(rows["Prediction interval"][-1], [new["lower"], new["upper"]])
    same(rows["Prediction interval"][4], [np.log(new["lower"]), np.log(new["upper"])])
    profile = theirs["q_profile"]
    labels = {"tau^2": "τ²", "tau": "τ", "I^2(%)": "I² (%, from τ²)", "H^2": "H² (from τ²)"}
    assert list(labels) == profile["rows"]
    for name, (middle, lower, upper) in zip(profile["rows"], profile["values"], strict=True):
        cells = rows[labels[name]]
        same(cells[0], [middle])
        same(cells[4], [lower, upper])
    expected, observed = errors_of_tau2(np.array(theirs["yi"]), np.array(theirs["vi"]), theirs["heterogeneity"]["tau2"])
    assert expected == pytest.approx(theirs["heterogeneity"]["se_tau2"], rel=1e-6)
    same(rows["τ²"][1], [observed])


def errors_of_tau2(y: FloatArray, v: FloatArray, tau2: float) -> tuple[float, float]:
    """Standard errors of tau2 by REML without predictors, from the expected and the observed information.

    With P = W - W 1 1' W / sum(W) the expected one is tr(P P) / 2, the observed one y' P P P y - tr(P P) / 2.
    """
    W = np.diag(1 / (v + tau2))
    P = W - np.outer(W.sum(0), W.sum(0)) / W.sum()
    half = np.trace(P @ P) / 2
    return float(half**-0.5), float((y @ P @ P @ P @ y - half) ** -0.5)


@pytest.mark.parametrize("suffix", [".docx", ".html"])
def test_the_notes_below_have_the_numbers_of_metafor(made: Any, theirs: Any, suffix: str) -> None:
    path = made[0] / f"summary{suffix}"
    text = path.read_text(encoding="utf-8") if suffix == ".html" else paragraphs(path)
    q, criteria = theirs["heterogeneity"], theirs["criteria"]
    (test,) = re.findall(r"Q = ([\d.]+), df (\d+)", text)
    same(" ".join(test), [q["Q"], q["df"]])
    assert ("p &lt; 0.0001" in text or "p < 0.0001" in text) == (q["pvalue"] < 1e-4)
    (shown,) = re.findall(r"logLik (\S+), AIC (\S+), AICc (\S+), BIC (\S+) ", text)
    same(" ".join(shown), [criteria[name] for name in ("ll", "AIC", "AICc", "BIC")])


def paragraphs(path: Path) -> str:
    return "\n".join(paragraph.text for paragraph in docx.Document(str(path)).paragraphs)


@pytest.mark.parametrize("suffix", [".docx", ".html"])
def test_the_table_of_studies_has_the_numbers_of_metafor(made: Any, theirs: Any, suffix: str) -> None:
    rows = by_label(made[0] / f"studies{suffix}")
    studies, response, new = theirs["studies"], theirs["response"], theirs["prediction"]
    for i, trial in enumerate(theirs["trials"]):
        treated, control, effect, weight = rows[trial["trial"]]
        assert (treated, control) == (f"{trial['ai']}/{trial['n1i']}", f"{trial['ci']}/{trial['n2i']}")
        same(effect, [studies[name][i] for name in ("estimate", "lower", "upper")])
        same(weight, [theirs["weights"][i]])
    same(rows["Mean"][2], [response[name] for name in ("estimate", "lower", "upper")])
    same(rows["Prediction interval"][2], [new["lower"], new["upper"]])


def test_the_text_for_the_paper_has_the_numbers_of_metafor(made: Any, theirs: Any) -> None:
    text = " ".join(made[1]["text"].partition("Results")[2].partition("References")[0].split())
    response, beta, new, q = (theirs[name] for name in ("response", "beta", "prediction", "heterogeneity"))
    (pooled,) = re.findall(r"odds ratio was (\S+) \(95% CI (\S+) to (\S+); t\((\S+)\) = (\S+), p", text)
    same(" ".join(pooled), [*response.values(), beta["df"], beta["t"]])
    (bounds,) = re.findall(r"prediction interval was (\S+) to (\d\.\d+)", text)
    same(" ".join(bounds), [new["lower"], new["upper"]])
    (test,) = re.findall(r"Q was (\S+) on (\d+) degrees", text)
    same(" ".join(test), [q["Q"], q["df"]])
    tau2, tau, share, _ = theirs["q_profile"]["values"]
    shown = re.search(r"τ² .*? was (.*?)\), the standard deviation τ (.*?)\)\. I² was (.*?)\)\.", text)
    assert shown is not None
    for part, values in zip(shown.groups(), (tau2, tau, share), strict=True):
        same(part.replace("95% CI", ""), values)


def test_the_forest_plot_has_the_numbers_of_metafor(made: Any, theirs: Any) -> None:
    texts = [text.get_text() for text in drawn_texts(made[1]["forest"].figure)]
    studies, response, new = theirs["studies"], theirs["response"], theirs["prediction"]
    expected = [tuple(studies[name][i] for name in ("estimate", "lower", "upper")) for i in range(6)]
    shown = [text for text in texts if re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", text)]
    for text, values in zip(shown, [*expected, tuple(response.values())], strict=True):
        same(text, values)
    (interval,) = [text for text in texts if re.fullmatch(r"\[[\d.]+, [\d.]+\]", text)]
    same(interval, [new["lower"], new["upper"]])
    note = " ".join(texts).replace("\N{NO-BREAK SPACE}", " ")
    q = theirs["heterogeneity"]
    (numbers,) = re.findall(r"Q = ([\d.]+), df = (\d+)", note)
    same(" ".join(numbers), [q["Q"], q["df"]])
    (share,) = re.findall(r"I² = ([\d.]+)%", note)
    same(share, [q["I2"]])


def test_the_funnel_plot_has_the_points_of_metafor(made: Any, theirs: Any) -> None:
    ax = made[1]["funnel"]
    drawn = [*(np.asarray(each.get_offsets()) for each in ax.collections), *(each.get_xydata() for each in ax.lines)]
    (points,) = [each for each in drawn if len(each) == 6]
    x = points[:, 0] if ax.get_xscale() == "linear" else np.log(points[:, 0])
    order = np.argsort(theirs["yi"])
    np.testing.assert_allclose(np.sort(x), np.array(theirs["yi"])[order], rtol=1e-9)
    np.testing.assert_allclose(points[np.argsort(x), 1], np.sqrt(theirs["vi"])[order], rtol=1e-9)


def test_a_number_that_is_another_is_seen() -> None:
    same("0.47 (0.33 to 0.68)", [0.4746, 0.3296, 0.6835])
    for wrong in ([0.4751, 0.3296, 0.6835], [0.4746, 0.3296], [-0.4746, 0.3296, 0.6835]):
        with pytest.raises(AssertionError):
            same("0.47 (0.33 to 0.68)", wrong)
