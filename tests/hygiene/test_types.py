"""Scripts of users pass strict type checks against the package, and misspelt choices do not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import bayesmeta as bm

ROOT = Path(bm.__file__).parents[1]
PLOTS = """
from typing import assert_type

import matplotlib.pyplot as plt
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bayesmeta as bm

trials = bm.datasets.load("bcg")
spec = bm.specify("logor ~ 1", trials, S="logorvar", measure="logor")
fit = bm.fit(spec)
trees = {"REML": fit, "ML": bm.fit(spec, "ml")}

# one panel: axes with a figure that can be saved
ax = bm.plots.forest(fit, labels=trials["author"], columns=trials[["tpos", "cpos"]], order="weight")
ax.set_title("BCG")
ax.figure.savefig("forest.png", dpi=200)
bm.plots.forest(fit, columns={("Vaccinated", "TB"): trials["tpos"]}, subgroup="alloc").figure.savefig("forest.png")
bm.plots.bubble(fit, "ablat", interval="confidence").figure.savefig("bubble.png")
bm.plots.bubble(fit, "ablat", interval=["prediction"], at={"year": 1950}).set_xlim(0, 60)
bm.plots.dose_response(trees, "dose", reference=12, upto=60).figure.savefig("dose.png")
bm.plots.funnel(fit, y="precision", contours=[0.95]).figure.savefig("funnel.png")
bm.plots.longitudinal({"linear": fit}, "time", studies=False).figure.savefig("time.png")
bm.plots.loo_pit(fit, prob=0.9).figure.savefig("loo.png")
bm.plots.orchard(fit, by="alloc").figure.savefig("orchard.png")
bm.plots.leave_one_out(fit).figure.savefig("without.png")
bm.plots.influence(fit).figure.savefig("influence.png")
bm.plots.baujat(fit).figure.savefig("baujat.png")
bm.plots.radial(fit).figure.savefig("radial.png")
bm.plots.gosh(fit).figure.savefig("gosh.png")
bm.plots.qqnorm(fit).figure.savefig("quantiles.png")
bm.plots.dose_residuals(fit).figure.savefig("residuals.png")
bm.plots.labbe(fit, events=["tpos", "cpos"], total=["n1", "n0"]).figure.savefig("risks.png")
bm.plots.rho_sensitivity(bm.rho_sensitivity(spec), "beta").figure.savefig("rho.png")
bm.plots.robustness(bm.robustness(spec, {"scale": [0.1, 0.5]}), "estimate").figure.savefig("priors.png")
bm.plots.cumulative(fit, order="year").figure.savefig("cumulative.png")
bm.plots.network_graph(fit).figure.savefig("network.png")
bm.plots.network_forest(fit).figure.savefig("network.png")
bm.plots.network_ranking(fit).figure.savefig("network.png")
bm.plots.network_league(fit).figure.savefig("network.png")
bm.plots.network_funnel(fit).figure.savefig("network.png")
bm.plots.network_heat(fit).figure.savefig("network.png")
bm.plots.network_split(fit, show="direct").figure.savefig("network.png")
bm.plots.structure(spec, most=3).figure.savefig("structure.png")
bm.plots.sroc({"REML": fit}, kind="eta-xi", region="confidence").figure.savefig("sroc.png")
bm.plots.likelihood_ratios(fit).figure.savefig("ratios.png")
bm.plots.predictive_values(fit, prevalence=(0.1, 0.5)).figure.savefig("values.png")
bm.plots.fagan(fit, 0.1).figure.savefig("fagan.png")

# several panels: an array of axes with a figure
for panels in (
    bm.plots.accuracy_forest(fit, sort="sensitivity"),
    bm.plots.caterpillar(fit, kind="blup"),
    bm.plots.compare(trees, "tau[unit, Intercept]"),
    bm.plots.compare(bm.compare(fit), ["beta[Intercept]"]),
    bm.plots.prior_posterior(fit, fit=fit),
    bm.plots.profile(bm.profile(fit, "tau")),
    bm.plots.sensitivity(bm.sensitivity(spec, {"default": None})),
    bm.plots.simulation(pd.DataFrame()),
    bm.plots.curves(bm.curve(bm.predict(fit, {}, covariance=True), bm.basis("x", {"x": [0, 9]}), [0, 1])),
):
    panels.figure.savefig("panels.png")
    panels[0].set_title("first")
    assert_type(panels.figure, Figure)
    for panel in panels:
        panel.figure.savefig("panel.png")

# the user's own axes
figure, axes = plt.subplots(1, 2)
mine: Axes = bm.plots.funnel(fit, axes[0])
bm.plots.forest(fit, axes).figure.savefig("two.png")
bm.plots.forest(fit, [axes[0], axes[1]], outcome=["PD", "AL"])[1].set_xlim(-1, 1)
bm.plots.forest(fit, outcome=["PD", "AL"])[0].figure.savefig("two.png")
bm.plots.caterpillar(fit, axes=axes[0])
assert_type(bm.plots.loo_pit_values(fit), xr.Dataset)

# choices are checked
bm.plots.bubble(fit, "ablat", interval="confidense")  # type: ignore[arg-type]
bm.plots.funnel(fit, y="sd")  # type: ignore[arg-type]
bm.plots.caterpillar(fit, kind="blups")  # type: ignore[arg-type]
bm.plots.forest(fit, weigths=True)  # type: ignore[call-overload]
"""


def test_scripts_of_users_pass_strict_type_checks(tmp_path: Path) -> None:
    """The code of README and tour, and every plot; in one process, which reads the types of all libraries once."""
    pages = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/learn/tour.md"))
    readme = re.findall(r"```python\n(.*?)```", pages, flags=re.DOTALL)
    (tmp_path / "readme.py").write_text("\n\n".join(readme), encoding="utf-8")
    (tmp_path / "plots.py").write_text(PLOTS, encoding="utf-8")
    assert "".join(readme).count("bm.plots.forest") == 2
    assert {name for name in bm.plots.__all__ if not re.search(rf"bm\.plots\.{name}\(", PLOTS)} == set()
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file="]
    environment = os.environ | {"MYPYPATH": str(ROOT)}  # the package under test, silent as an installed one is
    ran = subprocess.run(
        [*command, "readme.py", "plots.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
