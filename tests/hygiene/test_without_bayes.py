"""Without the packages of full Bayes fits, pictures and commands work, and the rest says what is missing."""

import subprocess
import sys
import tomllib
from pathlib import Path

from bayesmeta._validation import BAYES

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = f"import sys\nsys.modules |= dict.fromkeys({[*BAYES, 'nutpie']!r})\n"


def run(code: str, folder: Path) -> str:
    ran = subprocess.run([sys.executable, "-c", WITHOUT + code], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_fits_summaries_pictures_and_reports_need_none_of_them(tmp_path):
    code = """
import bayesmeta as bm
fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
print(bm.summary(fit), bm.compare(fit), bm.predict(fit).sizes)
bm.plots.forest(fit).figure.savefig("forest.png")
bm.plots.funnel(fit)
bm.report(fit, path="page.html")
"""
    assert "-0.7452" in run(code, tmp_path)
    assert (tmp_path / "page.html").is_file()


def test_exact_posteriors_need_none_of_them(tmp_path):
    code = """
import bayesmeta as bm
spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), random_seed=1)
print(bm.summary(post), bm.predict(post).sizes, bm.ranef(post).children)
bm.plots.prior_posterior(post)
try:
    bm.sample(spec, bm.Priors(tau=bm.Prior("HalfNormal", sigma=-1)))
except bm.SpecError as error:
    print(error)
assert not [name for name in ("pymc", "pytensor", "arviz") if sys.modules.get(name)]
"""
    printed = run(code, tmp_path)
    assert "exact, by quadrature" in printed
    assert "prior HalfNormal(sigma=-1) is not a valid distribution: it takes sigma, or tau" in printed


def test_commands_need_none_of_them(tmp_path):
    code = "from bayesmeta.cli import app\napp(['fit', 'bcg', '--model', 'ml'])\n"
    assert "saved in bcg.nc" in run(code, tmp_path)


def test_a_comparison_with_a_posterior_compiles_nothing(tmp_path):
    code = """
from bayesmeta.cli import app
try:
    app(["compare", "bcg", "--model", "ml"])
except SystemExit as ended:
    assert not ended.code
compilers = ("numba", "llvmlite", "pytensor", "pymc", "jax")
assert not [name for name in compilers if sys.modules.get(name)]
"""
    assert "Results saved in bcg_compare.nc" in run(code, tmp_path)


def test_what_needs_them_says_how_to_get_them(tmp_path):
    code = """
import bayesmeta as bm
spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
for call in (
    lambda: bm.sample(spec, sampler="nutpie"),
    lambda: bm.sensitivity(spec, {"default": None}, tune=100),
    lambda: bm.to_pymc,
):
    try:
        call()
    except bm.SpecError as error:
        print(error)
"""
    printed = run(code, tmp_path)
    assert printed.count('pip install "bayesmeta[bayes]"') == 3
    for what in ("sample", "sensitivity", "bm.to_pymc"):
        assert f"{what} needs pymc, pytensor, arviz, arviz-stats, which are not installed" in printed


def test_the_extra_is_in_what_tests_and_uv_run_take():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert {name.replace("_", "-") for name in (*BAYES, "nutpie")} == {
        each.partition(">=")[0] for each in extras["bayes"]
    }
    assert "bayesmeta[bayes]" in extras["test"]
    assert "bayesmeta[bayes]" in project["dependency-groups"]["dev"]
    assert any(each.startswith("numba>=") for each in project["project"]["dependencies"])
