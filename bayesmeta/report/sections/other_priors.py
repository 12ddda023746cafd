"""How the posterior changes under other priors of the standard deviations."""

import warnings
from typing import Any

import xarray as xr

from bayesmeta import priors as published_priors
from bayesmeta import tree_schema as schema
from bayesmeta.display.tables import Facts, Table, percent
from bayesmeta.errors import BayesmetaWarning
from bayesmeta.inference.sensitivity import sensitivity, side_by_side
from bayesmeta.measures import measure
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.empirical import CITATIONS
from bayesmeta.priors.prior import Prior, Priors, half_cauchy, half_normal
from bayesmeta.priors.scales import default_taus
from bayesmeta.report.blocks import Block, blocks, paragraphs
from bayesmeta.summaries.compare import estimate_rows

AS_GIVEN = "as reported"


def alternatives(spec: Spec, priors: Priors | None) -> dict[str, Priors]:
    """Other priors of the SDs between groups: half and twice the scale of the default, heavier tails, and a published
    one if the measure has one and a single level varies; for a model without SDs, flat priors of coefficients.

    priors : the model's own, which coefficients and correlations keep.
    """
    beta, rho = (None, None) if priors is None else (priors.beta, priors.rho)
    varying = [level for level in spec.levels if level.dim and level.structure.n_tau(level.dim)]
    if not varying:
        return {"flat coefficients": Priors(beta=Prior("Flat"))}

    def scaled(shape: Any, factor: float) -> Priors:
        return Priors(beta=beta, rho=rho, tau={level.name: _of_level(spec, level, shape, factor) for level in varying})

    others = {
        "half as wide": scaled(half_normal, 0.5),
        "twice as wide": scaled(half_normal, 2.0),
        "half-Cauchy": scaled(half_cauchy, 1.0),
    }
    published = measure(spec.measure).published_prior
    if published and len(varying) == 1 and varying[0].effects == (schema.INTERCEPT,):
        others[CITATIONS[published]] = Priors(beta=beta, rho=rho, tau=getattr(published_priors, published)())
    return others


def _of_level(spec: Spec, level: Level, shape: Any, factor: float) -> Any:
    priors = [shape(factor * prior.params["sigma"]) for prior in default_taus(spec, level)]
    one_for_all = level.structure.n_tau(level.dim) < level.dim
    return priors[0] if one_for_all else dict(zip(level.effects, priors, strict=True))


def other_priors(spec: Spec, priors: Priors | None, posterior: xr.DataTree, prob: float, **settings: Any) -> xr.Dataset:
    """The posterior as reported beside those under other priors.

    settings : draws, tune, chains, random_seed and so on, see `bm.sample`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)  # the table shows for each whether its chains agree
        others = sensitivity(spec, alternatives(spec, priors), prob=prob, **settings)
    return xr.concat([side_by_side({AS_GIVEN: posterior}, prob), others], "prior", data_vars="minimal", join="exact")


def sensitivity_blocks(dataset: xr.Dataset) -> tuple[Block, ...]:
    """Estimates under every prior, the priors in words, and whether their chains agree."""
    prob = float(dataset.attrs["prob"])
    columns = tuple(map(str, dataset["prior"].values))
    title = f"Posterior means (SDs) and {percent(prob)} intervals by prior"
    chains = tuple(
        (
            str(name),
            f"{float(one['r_hat']):.3f}",
            f"{float(one['ess_bulk']):.0f}",
            f"{float(one['ess_tail']):.0f}",
            str(int(one["divergences"])),
        )
        for name in dataset["prior"].values
        for one in [dataset.sel(prior=name)]
    )
    descriptions = tuple((str(name), str(dataset["priors"].sel(prior=name).item())) for name in dataset["prior"].values)
    estimated = dataset["se"].notnull().any("prior")
    return blocks(
        paragraphs(
            "Conclusions that change under an equally defensible prior depend on the prior, not on the data alone."
        ),
        Table(title, columns, tuple(estimate_rows(dataset.isel(parameter=estimated.values)))),
        Table("Chains by prior, the worst parameter of each", ("R-hat", "bulk ESS", "tail ESS", "divergences"), chains)
        if dataset["ess_bulk"].notnull().any()
        else None,
        Facts(descriptions, "The priors"),
    )
