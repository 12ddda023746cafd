"""The commands as they are typed: arguments, options and help. What each does is in the modules of `work`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bayesmeta.cli import work
from bayesmeta.cli.app import (
    AsJson,
    Chains,
    Cluster,
    Df,
    Draws,
    ModelFile,
    OneModel,
    Out,
    Outside,
    Sampler,
    Seed,
    TableOut,
    TargetAccept,
    Tune,
    Vcov,
    command,
)


@command
def fit(
    file: Annotated[
        Path, typer.Argument(help="A model file, the name of a bundled one, or a CSV file with FORMULA after it.")
    ],
    formula: Annotated[
        str | None, typer.Argument(help='For a CSV file: the model, such as "y ~ 1" or "y ~ latitude".')
    ] = None,
    variance: Annotated[
        list[str] | None,
        typer.Option(help="For a CSV file: the column of sampling variances; repeat it for several outcomes."),
    ] = None,
    se: Annotated[
        list[str] | None, typer.Option(help="For a CSV file: the column of standard errors instead; may be repeated.")
    ] = None,
    random: Annotated[
        list[str] | None,
        typer.Option(help='For a CSV file: random effects, such as "1 | study" or "1 | district/study".'),
    ] = None,
    psi: Annotated[
        str | None, typer.Option(help="For a CSV file: the structure of the random effects (unstr, diag, id, cs ...).")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(help="For a CSV file: the effect measure (logor, logrr, smd, md ...).")
    ] = None,
    save_model: Annotated[
        Path | None, typer.Option(help="For a CSV file: write the model file (.toml) that says the same.")
    ] = None,
    model: OneModel = None,
    method: Annotated[
        str | None,
        typer.Option(help="Fit by this method instead of the file's: reml, ml, fixed, dl, pm, mm ..."),
    ] = None,
    df: Df = None,
    vcov: Vcov = None,
    cluster: Cluster = None,
    out: Out = None,
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Fit the models in a file, or one model to a CSV file; print and save the results."""
    columns = work.from_csv.Typed(formula, variance or [], se or [], random or [], psi, measure, save_model)
    tested = work.inference_options.Tested(df, vcov, cluster)
    work.run_models.fit(file, columns, model, method, tested, out, json, allow_outside)


@command
def sample(
    file: ModelFile,
    model: OneModel = None,
    draws: Draws = 1000,
    tune: Tune = None,
    chains: Chains = None,
    seed: Seed = 1,
    sampler: Sampler = "auto",
    target_accept: TargetAccept = None,
    out: Out = None,
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Sample from the posteriors of the models in a file; print summaries and save the draws."""
    settings = work.run_models.Sampling(draws, tune, chains, seed, sampler, target_accept)
    work.run_models.sample(file, model, settings, out, json, allow_outside)


@command
def compare(
    file: ModelFile,
    model: OneModel = None,
    method: Annotated[str, typer.Option(help="The frequentist method.")] = "reml",
    draws: Draws = 1000,
    tune: Tune = None,
    chains: Chains = None,
    seed: Seed = 1,
    sampler: Sampler = "auto",
    target_accept: TargetAccept = None,
    df: Df = None,
    vcov: Vcov = None,
    cluster: Cluster = None,
    out: Out = None,
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Fit the models in a file and sample from their posteriors; print both side by side and save them.

    Models with method = "fixed" in the file have no between-group variance, in the fit or in the posterior.
    """
    settings = work.run_models.Sampling(draws, tune, chains, seed, sampler, target_accept)
    tested = work.inference_options.Tested(df, vcov, cluster)
    work.run_models.compare(file, model, method, settings, tested, out, json, allow_outside)


@command
def show(
    file: Annotated[Path, typer.Argument(help="Saved results, netCDF or Zarr.")],
    model: OneModel = None,
    of: Annotated[
        Literal["summary", "studies", "heterogeneity"],
        typer.Option(help="studies: each with its counts, estimate, interval and weight; heterogeneity: Q, I2 and H2."),
    ] = "summary",
    df: Df = None,
    vcov: Vcov = None,
    cluster: Cluster = None,
    out: TableOut = None,
    json: AsJson = False,
) -> None:
    """Print saved results, or save them as tables for a paper."""
    work.presentation.show(file, model, of, work.inference_options.Tested(df, vcov, cluster), out, json)


@command
def estimates(
    file: Annotated[Path, typer.Argument(help="Saved results, netCDF or Zarr.")],
    model: OneModel = None,
    scale: Annotated[
        Literal["model", "response"], typer.Option(help="response: odds ratios of log odds ratios, and the like.")
    ] = "model",
    prob: Annotated[float, typer.Option(help="Probability of the intervals, between 0 and 1.")] = 0.95,
    df: Df = None,
    vcov: Vcov = None,
    cluster: Cluster = None,
    out: TableOut = None,
    json: AsJson = False,
) -> None:
    """Print every estimate in saved results as CSV, one per row, or as JSON; or save them as a table for a paper."""
    tested = work.inference_options.Tested(df, vcov, cluster)
    work.presentation.print_estimates(file, model, scale, prob, tested, out, json)


@command
def small_study(
    file: Annotated[Path, typer.Argument(help="A model file, the name of a bundled one, or saved results of fits.")],
    model: OneModel = None,
    vcov: Vcov = None,
    cluster: Cluster = None,
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Print tests of small-study effects, such as Egger's, and what the estimates would be without them.

    Every method that suits the effects is shown, with the reasons why the others do not. Where effects are dependent,
    regressions keep groups together by CR2, unless --vcov says otherwise.
    """
    tested = work.inference_options.Tested(None, vcov, cluster)
    work.critical_questions.small_study(file, model, tested, json, allow_outside)


@command
def methods(
    file: Annotated[Path, typer.Argument(help="A model file, the name of a bundled one, or saved results.")],
    model: OneModel = None,
    scale: Annotated[
        Literal["model", "response"] | None,
        typer.Option(help="response, the default where a measure has one: odds ratios of log odds ratios."),
    ] = None,
    prob: Annotated[float, typer.Option(help="Probability of the intervals, between 0 and 1.")] = 0.95,
    df: Df = None,
    vcov: Vcov = None,
    cluster: Cluster = None,
    form: Annotated[Literal["text", "markdown", "latex"], typer.Option("--format", help="Form of the text.")] = "text",
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Print methods and results paragraphs for a paper, with references, from saved results or a model file."""
    tested = work.inference_options.Tested(df, vcov, cluster)
    work.paper_text.methods(file, model, scale, prob, tested, form, json, allow_outside)


@command
def plot(
    files: Annotated[
        list[Path], typer.Argument(help="Model files or names of bundled ones, saved results, or a simulation study.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            help="forest, funnel, bubble, caterpillar, orchard, structure, profile, prior_posterior, loo_pit, "
            "influence, baujat, radial, gosh, qqnorm, labbe, leave_one_out, cumulative, dose_response, dose_residuals, "
            "longitudinal, compare. By default the figures that FILE declares, or forest plots."
        ),
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be repeated.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="An argument of the plot as NAME=VALUE; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .png, .svg or .pdf file, or a directory for all pictures.")
    ] = None,
    suffix: Annotated[
        Literal["png", "svg", "pdf"], typer.Option("--format", help="Format of the pictures in a directory.")
    ] = "png",
    allow_outside: Outside = False,
) -> None:
    """Draw the figures in a file and save them."""
    work.presentation.plot(files, kind, model or [], settings or [], out, suffix, allow_outside)


@command
def report(
    file: Annotated[Path, typer.Argument(help="A model file, the name of a bundled one, or saved results.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; by default the name of FILE with .html.")
    ] = None,
    model: OneModel = None,
    method: Annotated[str | None, typer.Option(help="Fit by this method instead of the file's.")] = None,
    draws: Draws = 1000,
    tune: Tune = None,
    chains: Chains = None,
    seed: Seed = 1,
    bayes: Annotated[bool, typer.Option(help="Whether posteriors are computed beside the fits.")] = True,
    sensitivity: Annotated[
        bool | None,
        typer.Option("--sensitivity/--no-sensitivity", help="Sample under other priors too; by default for one model."),
    ] = None,
    df: Df = None,
    vcov: Vcov = None,
    cluster: Cluster = None,
    allow_outside: Outside = False,
) -> None:
    """Write one self-contained HTML page about the models of a file or about saved results."""
    work.inference_options.Tested(df, vcov, cluster).check_pair()
    settings = (model, method, draws, tune, chains, seed, bayes, sensitivity, allow_outside, df, vcov, cluster)
    work.presentation.report(file, out, settings)


@command
def influence(
    file: Annotated[Path, typer.Argument(help="A model file, the name of a bundled one, or saved results.")],
    model: OneModel = None,
    by: Annotated[
        str | None,
        typer.Option(help="What is left out at a time: a level, or a column of the data; by default single rows."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="Fit by this method instead of the file's.")] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact/--one-step", help="Fit again without each row, or take one Newton step towards that fit."
        ),
    ] = True,
    out: TableOut = None,
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Print how the estimates change when a row, or a group of rows, is left out; or save that as a table for a paper.

    An asterisk marks rows that are influential by the rule of Viechtbauer and Cheung.
    """
    work.critical_questions.influence(file, model, by, method, exact, out, json, allow_outside)


@command
def bayes_factor(
    file: Annotated[Path, typer.Argument(help="A model file, the name of a bundled one, or saved results.")],
    hypothesis: Annotated[
        list[str] | None, typer.Argument(help='What is tested, such as "Intercept = 0" or "tau[study] = 0".')
    ] = None,
    model: OneModel = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with this model; by default, without HYPOTHESIS, the first of FILE.")
    ] = None,
    seed: Seed = 1,
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Print Bayes factors: of each model against itself with a parameter held at a value, or against another model."""
    work.bayesian_questions.bayes_factors(file, hypothesis or [], model, against, seed, json, allow_outside)


@command
def robustness(
    file: ModelFile,
    model: OneModel = None,
    tau: Annotated[
        list[str] | None,
        typer.Option(
            help="A family of priors of the SDs: half-normal, half-t, half-Cauchy, exponential, log-normal, uniform; "
            "may be repeated. By default the alternatives in FILE, or four families at 25 scales."
        ),
    ] = None,
    scale: Annotated[list[float] | None, typer.Option(help="A scale of these priors; may be repeated.")] = None,
    eta: Annotated[
        list[float] | None, typer.Option(help="An eta of the LKJ prior of correlations; may be repeated.")
    ] = None,
    effect: Annotated[str | None, typer.Option(help="The coefficient that is reported; by default the first.")] = None,
    prob: Annotated[float, typer.Option(help="Probability of the intervals, between 0 and 1.")] = 0.95,
    seed: Seed = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Save the whole table (.csv), or curves (.png, .svg, .pdf).")
    ] = None,
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Print estimates and Bayes factors under a grid of priors, without refitting for each."""
    axes: dict[str, list[str] | list[float]] = {"tau": tau or [], "scale": scale or [], "eta": eta or []}
    work.bayesian_questions.robust(file, model, axes, effect, prob, seed, out, json, allow_outside)


@command
def average(
    file: Annotated[Path, typer.Argument(help="A model file, the name of a bundled one, or saved results.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="A model to average over; give it twice or more. By default those that FILE names."
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="posterior or stacking; by default what FILE says, else posterior.")
    ] = None,
    prob: Annotated[float, typer.Option(help="Probability of the intervals, between 0 and 1.")] = 0.95,
    seed: Seed = 1,
    json: AsJson = False,
    allow_outside: Outside = False,
) -> None:
    """Print estimates averaged over models, and the probability that each parameter belongs in the model."""
    work.bayesian_questions.averaged(file, model or [], weights, prob, seed, json, allow_outside)


@command
def models() -> None:
    """List the bundled model files, which other commands take by name: `bayesmeta fit school`."""
    work.replication.models()


@command
def reproduce(
    file: Annotated[
        Path | None, typer.Argument(help="A model file or the name of a bundled one; by default all bundled ones.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--models", help="A directory of model files instead of the bundled ones.")
    ] = None,
    allow_outside: Outside = False,
) -> None:
    """Check every published number in the model files; exit code 1 when one is not reproduced."""
    work.replication.reproduce(file, directory, allow_outside)


@command
def simulate(
    file: Annotated[
        Path, typer.Argument(help="A declared simulation study, or the name of a bundled one, such as table6.")
    ],
    datasets: Annotated[
        int | None, typer.Option(help="Data sets per scenario, instead of as many as the file says.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Directory of the results; by default the name of FILE with _results."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Number of processes; -1 for one on every processor.")] = -1,
    zarr: Annotated[bool, typer.Option("--zarr", help="Save a Zarr directory instead of a netCDF file.")] = False,
) -> None:
    """Run a simulation study, or the rest of one that was begun, and print its statistics beside the published ones."""
    work.replication.simulate(file, datasets, out, jobs, zarr)


@command
def effects(
    file: Annotated[Path, typer.Argument(help="A CSV file with one row for each study.")],
    measure: Annotated[
        str | None,
        typer.Option(
            help="A function of bm.effects (odds_ratio, hedges_g, fisher_z ...), a measure (logor, logrr, md ...) or "
            "a name of metafor's escalc (OR, SMD, ZCOR ...)."
        ),
    ] = None,
    events: Annotated[
        str | None, typer.Option(help="Columns of events, TREATED,CONTROL; a single column where there is one group.")
    ] = None,
    total: Annotated[str | None, typer.Option(help="Columns of persons, likewise.")] = None,
    no_events: Annotated[
        str | None, typer.Option(help="Columns of persons without the event, instead of --total.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Columns of person-time, for rates.")] = None,
    mean: Annotated[
        str | None, typer.Option(help="Columns of means, TREATED,CONTROL; a single column where there is one group.")
    ] = None,
    sd: Annotated[str | None, typer.Option(help="Columns of standard deviations, likewise.")] = None,
    n: Annotated[str | None, typer.Option(help="Columns of persons whose values were measured, likewise.")] = None,
    r: Annotated[str | None, typer.Option(help="Column of correlations.")] = None,
    t: Annotated[str | None, typer.Option(help="Column of t statistics.")] = None,
    p: Annotated[str | None, typer.Option(help="Column of p-values.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another argument of the function as NAME=VALUE, such as r=0.5; may be repeated."),
    ] = None,
    function: Annotated[
        str | None,
        typer.Option(help="Another function of bm.effects: from_interval, mean_from_quantiles, impute_sd ..."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The CSV file to write; by default the name of FILE with _effects.csv."),
    ] = None,
) -> None:
    """Work out effect estimates y and their variances v from a CSV file of what studies report, and save both."""
    columns = {"events": events, "total": total, "no_events": no_events, "time": time, "mean": mean, "sd": sd, "n": n}
    columns |= {"r": r, "t": t, "p": p}
    work.from_csv.effects(file, measure, columns, settings or [], function, out)


@command
def init(
    file: Annotated[Path, typer.Argument(help="A CSV file with effect estimates and their variances.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The model file; by default the name of FILE with .toml.")
    ] = None,
) -> None:
    """Write a commented model file for a CSV file, to edit and fit."""
    work.from_csv.init(file, out)
