"""The prior of a correlation between times in the chart of exact posteriors is that of the structure's record."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats import beta

import bayesmeta as bm
from bayesmeta.bayes.chart import Chart
from bayesmeta.priors.defaults import resolve


@pytest.mark.parametrize("months", [[0.0, 1.0, 3.0], [0.0, 6.0, 12.0, 30.0]])
@pytest.mark.parametrize("eta", [1.0, 3.0])
def test_quantiles_of_rho(months, eta):
    n = 4 * len(months)
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"study": np.repeat(list("abcd"), len(months)), "month": np.tile(months, 4)})
    data["y"], data["v"] = rng.normal(size=n), 0.1
    spec = bm.specify("y ~ 1", data, S="v", random="1 | study", psi={"study": bm.structures.CAR1(time="month")})
    priors = resolve(
        spec,
        bm.Priors(tau=bm.priors.half_normal(1), rho=bm.Prior("LKJ", eta=eta), beta=bm.Prior("Normal", mu=0, sigma=1)),
    )
    law = spec.levels[0].structure.lkj(spec.levels[0].dim, eta)
    p = np.array([0.05, 0.3, 0.5, 0.9])
    chart = Chart.of(spec, priors)
    u = np.zeros((4, chart.dim))
    u[:, -1] = ndtri(p)
    rho = chart.rho(u)[0].ravel()
    share = ((rho - law.low) / (1 - law.low)) ** law.power
    np.testing.assert_allclose(beta(law.alpha, law.beta).cdf(share), p, rtol=1e-8)
