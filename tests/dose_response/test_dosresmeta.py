"""Every number of dosresmeta's fits: the same where the definition is the same, and what differs by how much.

Tolerances of 1e-7, and 1e-6 of log-likelihoods, are for boundary knots, which a formula has to seven digits.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import dose_response
from bayesmeta.within import dose_response as within_study

DATA = ["alcohol_crc", "alcohol_esoph", "coffee_stroke"]
BASES = {"linear": "dose", "quadratic": "dose + I(dose**2)", "spline": "ns(dose, knots={})"}
COUNTS = {"study": "study", "cases": "cases", "total": "n", "y": "y", "se": "se", "type": "type"}
METHODS = {"gl": "greenland-longnecker", "h": "hamling"}


@pytest.fixture(scope="module", params=DATA)
def known(request, reference):
    return reference(f"dose_response/{request.param}")


def data_of(known: dict) -> pd.DataFrame:
    return pd.DataFrame(known["data"]).assign(se=lambda d: pd.to_numeric(d.se))


def their_S(known: dict, method: str) -> dict:
    """The covariances that dosresmeta worked with, by study."""
    return dict(
        zip(
            dict.fromkeys(known["data"]["study"]),
            known["expected"][f"{method} linear reml 2stage"]["within"],
            strict=True,
        )
    )


def asked(key: str, known: dict) -> tuple[str, str, str, int]:
    """Covariances, basis, method and stages of a key such as "gl linear reml 2stage"."""
    within, curve, method, stages = key.split()
    return within, BASES[curve].format(known["knots"]), method, int(stages[0])


def specified(known: dict, key: str, psi="unstr") -> bm.Spec:
    within, basis, _, stages = asked(key, known)
    data = data_of(known)
    return dose_response.specify(
        data,
        study="study",
        y="y",
        se="se",
        S=their_S(known, within),
        basis=basis,
        stages=stages,
        psi=psi,
        measure="logrr",
    )


def constant(spec: bm.Spec, method: str, stages: int) -> float:
    """What dosresmeta leaves out of the restricted log-likelihood of one stage."""
    return 0.5 * np.linalg.slogdet(spec.X.T @ spec.X)[1] if method == "reml" and stages == 1 else 0.0


def test_at_the_same_psi_everything_is_the_same(known):
    """So definitions agree wherever its search ended: coefficients, their covariance, log-likelihood."""
    for key, expected in known["expected"].items():
        _, _, method, stages = asked(key, known)
        psi = bm.structures.Fixed(np.array(expected["Psi"])) if expected["Psi"] else "unstr"
        spec = specified(known, key, psi)
        tree = bm.fit(spec, method)
        se = np.sqrt(np.diag(expected["vcov"]))
        beta, cov = tree["estimate"]["beta"].to_numpy(), tree["estimate"]["beta_cov"].to_numpy()
        np.testing.assert_allclose(beta / se, expected["coef"] / se, rtol=1e-7, atol=1e-8, err_msg=key)
        np.testing.assert_allclose(cov / np.outer(se, se), expected["vcov"] / np.outer(se, se), atol=1e-7, err_msg=key)
        loglik = tree["criteria"]["loglik"].item() - constant(spec, method, stages)
        assert loglik == pytest.approx(expected["loglik"], abs=1e-6), key


def fits_by_search(known: dict, stored: dict) -> Iterator[tuple[str, dict, float, xr.DataTree]]:
    """Keys and numbers of fits with a Psi that was searched for, by how much our log-likelihood is higher, our fit."""
    for key, expected in stored.items():
        _, _, method, stages = asked(key, known)
        if expected["Psi"]:
            tree = bm.fit(spec := specified(known, key), method)
            yield (
                key,
                expected,
                tree["criteria"]["loglik"].item() - constant(spec, method, stages) - expected["loglik"],
                tree,
            )


def test_where_its_search_is_run_to_its_end_every_number_is_ours(known, reference):
    """All 46 fits whose Psi is searched for, with a tolerance of 1e-16: estimates, covariances, Psi, log-likelihood.

    Seven of them from the Psi of the higher mode, since by itself it ends at a lower one.
    """
    stored = reference("dose_response/searched_to_the_end")[known["id"]]
    assert stored.keys() == {key for key, each in known["expected"].items() if each["Psi"]}
    for key, expected, gain, tree in fits_by_search(known, stored):
        assert abs(gain) < 1e-6, key
        se, size = np.sqrt(np.diag(expected["vcov"])), np.abs(expected["Psi"]).max()
        beta, cov = tree["estimate"]["beta"].to_numpy(), tree["estimate"]["beta_cov"].to_numpy()
        np.testing.assert_allclose(beta / se, expected["coef"] / se, atol=1e-6, err_msg=key)
        np.testing.assert_allclose(cov / np.outer(se, se), expected["vcov"] / np.outer(se, se), atol=1e-5, err_msg=key)
        psi = tree["estimate"]["psi_study"].to_numpy()
        np.testing.assert_allclose(psi, expected["Psi"], atol=1e-5 * size + 1e-12, err_msg=key)


def test_our_search_never_ends_lower(known):
    """As it stops by itself: coefficients agree to 1e-5 standard errors where it ended within 5e-10 of the maximum.

    Within 1e-9 to 2e-5, and Psi, along which a log-likelihood is flat, to 1e-3. A log-likelihood that is
    lower by g leaves the parameters at about sqrt(2 g) standard errors from the maximum.
    """
    compared = 0
    for key, expected, gain, tree in fits_by_search(known, known["expected"]):
        assert gain > -1e-6, key
        se = np.sqrt(np.diag(expected["vcov"]))
        away = np.abs((tree["estimate"]["beta"] - expected["coef"]) / se).max().item()
        if gain < 1e-3:
            assert away < 1e-5 + np.sqrt(2 * max(gain, 0)), key
        if gain < 1e-9:
            compared += 1
            assert away < (1e-5 if gain < 5e-10 else 2e-5), key
            psi, theirs = tree["estimate"]["psi_study"].to_numpy(), np.array(expected["Psi"])
            np.testing.assert_allclose(psi, theirs, atol=1e-3 * np.abs(theirs).max() + 1e-12, err_msg=key)
        elif gain > 5e-5:  # theirs says so itself, or is where mixmeta stopped for doses in grams
            stopped = any("converge" in text for text in np.atleast_1d(expected.get("warnings", [])))
            assert stopped or (known["id"] == "alcohol_esoph" and "quadratic" in key), key
    assert compared >= 4


def test_deviance_and_cochrans_q(known):
    """Theirs is the same for all methods and stages, as it is here; df of single coefficients are ours less q - 1."""
    trees = {}
    for key, expected in known["expected"].items():
        within, curve, _, stages = key.split()
        if (within, curve, stages) not in trees:
            trees[within, curve, stages] = bm.fit(specified(known, key), "fixed")
        tree = trees[within, curve, stages]
        gof = dose_response.goodness_of_fit(tree)
        deviance, df, pvalue = expected["gof"]["deviance"]
        assert gof["deviance"].item() == pytest.approx(deviance, rel=1e-8), key
        assert gof["df"].item() == df, key
        assert gof["pvalue"].item() == pytest.approx(pvalue, abs=1e-8), key
        assert gof["r_squared"].item() == pytest.approx(expected["gof"]["R2"][0], abs=1e-8), key
        assert gof["r_squared_adjusted"].item() == pytest.approx(expected["gof"]["R2adj"][0], abs=1e-8), key
        if "Q" in expected:
            ours = bm.heterogeneity(tree)
            np.testing.assert_allclose(np.atleast_1d(ours["Q"]), expected["Q"]["Q"], rtol=1e-7)
            df_ours, q = np.atleast_1d(ours["df"]), len(expected["coef"])
            assert df_ours[0] == expected["Q"]["df"][0]
            np.testing.assert_array_equal(df_ours[1:] - (q - 1), expected["Q"]["df"][1:])


# ---- covariances from counts: the equations are solved, and theirs, iterated to the end, are the same

SOLVED = {"gl": within_study.counts_of_kept_margins, "h": within_study.counts_of_kept_ratios}
THEIR_COUNTS = {"gl": {"ci": "cc"}, "h": {"ci": "ir", "ir": "ci"}}  # the design whose cells dosresmeta fills in


def studies_of(known: dict) -> dict:
    return within_study.read(data_of(known), "y", "se", None, "cases", "n", "type", "study")


def residuals(study, method: str) -> dict[str, float]:
    """Largest relative errors of what counts are to reproduce, by plain arithmetic."""
    A, N = SOLVED[method](study)
    rest, reported = (N - A, study.n - study.cases) if study.design == "cc" else (N, study.n)
    made = {"log ratios": np.abs(np.log(A / rest * rest[0] / A[0]) - study.y).max()}
    if method == "gl":
        made["total of cases"] = abs(A.sum() / study.cases.sum() - 1)
        made["persons"] = np.abs(N / study.n - 1).max()
    else:
        term = {"cc": 1 / A + 1 / (N - A), "ir": 1 / A, "ci": 1 / A - 1 / N}[study.design]
        made["variances"] = np.abs((term[0] + term[1:]) / study.v - 1).max()
        made["share of the reference"] = abs(rest[0] / rest.sum() / (reported[0] / reported.sum()) - 1)
        made["ratio to cases"] = abs(rest.sum() / A.sum() / (reported.sum() / study.cases.sum()) - 1)
    return made


@pytest.mark.parametrize("method", METHODS)
def test_the_equations_of_every_study_are_solved(known, method):
    for label, study in studies_of(known).items():
        for what, size in residuals(study, method).items():
            assert size < 1e-12, (label, what, size)


@pytest.mark.parametrize("method", METHODS)
def test_their_search_to_its_end_is_ours(known, method, reference):
    """Case-control and person-time as they are; where it fills in the cells of another design, with those of that."""
    iterated = reference("dose_response/iterated_covariances")[known["id"]]
    for label, study in studies_of(known).items():
        exchanged = study._replace(design=THEIR_COUNTS[method].get(study.design, study.design))
        theirs = within_study.covariance(study, *SOLVED[method](exchanged))
        np.testing.assert_allclose(theirs, iterated[str(label)][method], rtol=1e-9, err_msg=f"{label}")
        if exchanged == study:
            ours = within_study.covariance(study, *SOLVED[method](study))
            np.testing.assert_allclose(ours, iterated[str(label)][method], rtol=1e-9, err_msg=f"{label}")


@pytest.mark.parametrize("curve", BASES)
def test_slopes_from_counts(known, curve, reference):
    """Common curves with our covariances, beside those with theirs to the end: 1e-5 where definitions agree."""
    iterated = reference("dose_response/iterated_covariances")[known["id"]]
    options = {"basis": BASES[curve].format(known["knots"]), "measure": "logrr"}
    reported = {"study": "study", "y": "y", "se": "se"}
    for method, name in METHODS.items():
        same = all(study.design not in THEIR_COUNTS[method] for study in studies_of(known).values())
        S = {label: np.array(iterated[str(label)][method]) for label in studies_of(known)}
        own = dose_response.specify(data_of(known), covariance=name, **COUNTS, **options)
        trees = [
            bm.fit(spec, "fixed")["estimate"]
            for spec in (own, dose_response.specify(data_of(known), S=S, **reported, **options))
        ]
        se = np.sqrt(np.diag(trees[1]["beta_cov"]))
        gap = np.abs(trees[0]["beta"] - trees[1]["beta"]).to_numpy() / se
        assert gap.max() < (1e-8 if same else 0.2), (method, gap)


def apart(known: dict, method: str) -> dict[str, float]:
    """Largest relative difference of our covariances from theirs, by type."""
    data = data_of(known)
    spec = dose_response.specify(data, covariance=METHODS[method], **COUNTS)
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    labels = spec.data["study"].iloc[spec.row].to_numpy()
    found: dict[str, float] = {}
    for study, theirs in their_S(known, method).items():
        ours = S[np.ix_(labels == study, labels == study)]
        kind = data.type[data.study == study].iloc[0]
        found[kind] = max(found.get(kind, 0.0), float(np.abs(ours / theirs - 1).max()))
    return found


def test_our_own_covariances(known):
    """Case-control and person-time to the precision of their search; "ci" and Hamling as the page explains."""
    if known["id"] == "coffee_stroke":
        assert apart(known, "gl")["ci"] > 1e-3
    for kind, difference in apart(known, "gl").items():
        if kind != "ci":
            assert difference < 2e-4, (kind, difference)
    if known["id"] == "alcohol_esoph":
        assert apart(known, "h")["cc"] < 2e-4
