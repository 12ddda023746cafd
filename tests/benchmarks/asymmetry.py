"""Prints the table of docs/small_study.md: how often tests for small-study effects see some where there are none.

`python -m tests.benchmarks.asymmetry`: about half an hour on one processor, nearly all of it for the permutation tests,
of which there are fewer data sets. The designs are `DESIGNS`: effects with mean 0.3 and variance 0.04 between studies,
and sampling variances that are a quarter of chi-squared with one degree of freedom between 0.009 and 0.6, as in
Brockwell and Gordon (2001). In dependent data a study has one to five effects, with variance 0.04 between and 0.02
within studies, and sampling variances that are alike within a study. The moderator is normal, of studies.
"""

import sys
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

import bayesmeta as bm
from bayesmeta.tree.specification import reading_once

N, FEWER = 2_000, 1_000  # data sets of each design; of these, on how many permutation tests are run
ARRANGEMENTS = 99  # of a permutation test, beside the observed one
LEVEL, MEAN, BETWEEN, WITHIN = 0.05, 0.3, 0.04, 0.02
DESIGNS = ((10, False), (30, False), (10, True), (30, True))  # studies, and whether they have several effects


def data_set(studies: int, dependent: bool, seed: int) -> pd.DataFrame:
    """Effects without any bias."""
    rng = np.random.default_rng([studies, int(dependent), seed])
    study = np.repeat(np.arange(studies), rng.integers(1, 6, studies) if dependent else 1)
    v = np.clip(0.25 * rng.chisquare(1, studies), 0.009, 0.6)[study]
    v = v * rng.uniform(0.8, 1.25, len(v)) if dependent else v
    y = MEAN + rng.normal(0, np.sqrt(BETWEEN), studies)[study] + rng.normal(0, np.sqrt(v))
    y = y + (rng.normal(0, np.sqrt(WITHIN), len(y)) if dependent else 0.0)
    return pd.DataFrame({"y": y, "v": v, "study": study.astype(str), "row": np.arange(len(y)).astype(str)})


def model(data: pd.DataFrame, formula: str, dependent: bool) -> xr.DataTree:
    return bm.fit(bm.specify(formula, data, S="v", random="1 | study/row" if dependent else None))


def pvalues(data: pd.DataFrame, dependent: bool) -> dict[str, float]:
    """p values of the tests by formula in one data set."""
    fit, alone = model(data, "y ~ 1", dependent), model(data, "y ~ 1", False)
    egger: Callable[..., xr.Dataset] = bm.small_study.egger
    tests = {
        "`egger`, ols, as if independent": egger(alone, model="ols"),
        "`egger`, ols, CR2": egger(fit, model="ols", vcov="CR2"),
        "`egger`, mixed": egger(fit, model="mixed"),
        "`egger`, mixed, CR2": egger(fit, model="mixed", vcov="CR2"),
        "`rank`, as if independent": bm.small_study.rank(alone),
    }
    return {name: test["pvalue"].item() for name, test in tests.items()}


def permuted_pvalues(data: pd.DataFrame, dependent: bool, seed: int) -> dict[str, float]:
    """p values of permutation tests in one data set."""
    x = np.random.default_rng([seed, 1]).normal(size=data["study"].nunique())
    of_study = data.assign(
        se=np.sqrt(data.groupby("study")["v"].transform("mean")), x=x[data["study"].astype(int)], null=data["y"] - MEAN
    )
    questions = {"the standard error": ("y ~ se", "se"), "a moderator": ("y ~ x", "x"), "the mean": ("null ~ 1", None)}
    return {
        f"`permutation_test` of {name}": bm.permutation_test(
            model(of_study, formula, dependent), terms, draws=ARRANGEMENTS, random_seed=seed
        )["pvalue"].item()
        for name, (formula, terms) in questions.items()
    }


def cell(p: np.ndarray) -> str:
    """Share of rejections in percent with its Monte Carlo error."""
    usable = p[np.isfinite(p)]
    share = (usable <= LEVEL).mean()
    text = f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / len(usable)):.1f}"
    return text if len(usable) == len(p) else f"{text} ({len(p) - len(usable)} without a test)"


def main(n: int = N, fewer: int = FEWER) -> None:
    warnings.simplefilter("ignore", bm.BayesmetaWarning)
    columns = []
    for studies, dependent in DESIGNS:
        p = []
        for seed in range(n):
            with reading_once():
                data = data_set(studies, dependent, seed)
                more = permuted_pvalues(data, dependent, seed) if seed < fewer else {}
                p.append(pvalues(data, dependent) | more)
        frame = pd.DataFrame(p)
        columns.append({name: cell(frame[name][: fewer if "permut" in name else n].to_numpy()) for name in frame})
        head = f"{studies} studies{', dependent' if dependent else ''}"
        print(head, columns[-1], file=sys.stderr, flush=True)
    heads = [f"{studies} studies, {'several effects' if several else 'one effect'}" for studies, several in DESIGNS]
    print(f"| test | {' | '.join(heads)} |\n|---|{'---:|' * len(DESIGNS)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
