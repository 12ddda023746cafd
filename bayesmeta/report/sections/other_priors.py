"""What becomes of the posterior under other priors of the standard deviations."""

import warnings
from typing import Any

import xarray as xr

from bayesmeta import priors, schema
from bayesmeta.display.tables import Facts, Table, percent
from bayesmeta.errors import BayesmetaWarning
from bayesmeta.inference.sensitivity import sensitivity, side_by_side
from bayesmeta.measures import measure
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.empirical import CITATIONS
from bayesmeta.priors.prior import Prior, Priors, half_cauchy, half_normal
from bayesmeta.priors.scales import default_taus
from bayesmeta.report.blocks import Block, blocks, words
from bayesmeta.summaries.compare import estimate_rows

AS_GIVEN = "as reported"


def alternatives(spec: Spec, given: Priors | None) -> dict[str, Priors]:
    """Other priors of the SDs between groups: half and twice the scale of the default, heavier tails, and empirical
    ones where the measure has such and one level varies; of a model without SDs, flat coefficients.

    given : the model's own priors, of which coefficients and correlations keep theirs.
    """
    beta, rho = (None, None) if given is None else (given.beta, given.rho)
    varying = [level for level in spec.levels if level.dim and level.structure.n_tau(level.dim)]
    if not varying:
        return {"flat coefficients": Priors(beta=Prior("Flat"))}

    def scaled(shape: Any, factor: float) -> Priors:
        return Priors(beta=beta, rho=rho, tau={level.name: _of_level(spec, level, shape, factor) for level in varying})

    found = {
        "half as wide": scaled(half_normal, 0.5),
        "twice as wide": scaled(half_normal, 2.0),
        "half-Cauchy": scaled(half_cauchy, 1.0),
    }
    published = measure(spec.measure).published_prior
    if published and len(varying) == 1 and varying[0].effects == (schema.INTERCEPT,):
        found[CITATIONS[published]] = Priors(beta=beta, rho=rho, tau=getattr(priors, published)())
    return found


def _of_level(spec: Spec, level: Level, shape: Any, factor: float) -> Any:
    priors = [shape(factor * prior.params["sigma"]) for prior in default_taus(spec, level)]
    one_for_all = level.structure.n_tau(level.dim) < level.dim
    return priors[0] if one_for_all else dict(zip(level.effects, priors, strict=True))


def other_priors(spec: Spec, given: Priors | None, posterior: xr.DataTree, prob: float, **how: Any) -> xr.Dataset:
    """The posterior as reported beside those under other priors.

    how : draws, tune, chains, seed and so on, as of `bm.sample`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)  # the table says of each whether its chains agree
        others = sensitivity(spec, alternatives(spec, given), prob=prob, **how)
    return xr.concat([side_by_side({AS_GIVEN: posterior}, prob), others], "prior", data_vars="minimal", join="exact")


def sensitivity_blocks(found: xr.Dataset) -> tuple[Block, ...]:
    """Estimates under every prior, the priors in words, and whether their chains agree."""
    prob = float(found.attrs["prob"])
    columns = tuple(map(str, found["prior"].values))
    title = f"Posterior means (SDs) and {percent(prob)} intervals by prior"
    chains = tuple(
        (
            str(name),
            f"{float(one['r_hat']):.3f}",
            f"{float(one['ess_bulk']):.0f}",
            f"{float(one['ess_tail']):.0f}",
            str(int(one["divergences"])),
        )
        for name in found["prior"].values
        for one in [found.sel(prior=name)]
    )
    told = tuple((str(name), str(found["priors"].sel(prior=name).item())) for name in found["prior"].values)
    estimated = found["se"].notnull().any("prior")
    return blocks(
        words("Conclusions that change with a prior that is as defensible rest on the prior, not on the data alone."),
        Table(title, columns, tuple(estimate_rows(found.isel(parameter=estimated.values)))),
        Table("Chains by prior, the worst parameter of each", ("R-hat", "bulk ESS", "tail ESS", "divergences"), chains),
        Facts(told, "The priors"),
    )
