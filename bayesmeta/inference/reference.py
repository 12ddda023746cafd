"""How statements about the fixed part are calibrated: the covariance of the coefficients, and their distribution.

Everything that tests or brackets coefficients asks here, with the two arguments `vcov` and `df` as users write them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import chdtrc, fdtrc, ndtr, ndtri, stdtr, stdtrit

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_keys, check_mapping, shown
from bayesmeta.errors import BoundaryWarning, SpecError, warn
from bayesmeta.estimation.methods import Method, method_of
from bayesmeta.estimation.units import one_effect_a_row
from bayesmeta.inference import adjusted, robust
from bayesmeta.inference.adjusted import Calibration, Constant, NoTestError
from bayesmeta.kernel.sandwich import KINDS
from bayesmeta.model.partitioned_spec import PartitionedSpec
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group, reading_once, spec_from_tree

Vcov = str | Mapping[str, Any]
NORMAL, ONE_LEVEL, SEVERAL = "z", "knapp-hartung-adhoc", adjusted.SCALED
WORDS = {
    NORMAL: "normal",
    "residual": "t with residual degrees of freedom",
    "containment": "t with containment degrees of freedom",
    adjusted.SECOND_ORDER: "Kenward-Roger with second derivatives",
    "satterthwaite": "t with Satterthwaite degrees of freedom",
    adjusted.SCALED: "t with Satterthwaite degrees of freedom and scaled standard errors",
    "kenward-roger": "Kenward-Roger",
    "knapp-hartung": "t with Knapp-Hartung standard errors",
    "knapp-hartung-adhoc": "t with Knapp-Hartung standard errors, never smaller than the model's",
}
MODEL = "model"


class Asked(NamedTuple):
    """The two arguments as a user gives them; None where one is left out."""

    vcov: Vcov | None = None
    df: str | None = None


NOTHING = Asked()
_ASKED: ContextVar[Asked] = ContextVar("asked", default=NOTHING)


@contextmanager
def asked(vcov: Vcov | None = None, df: str | None = None) -> Iterator[None]:
    """Within it, whatever is asked without `vcov` and `df` is asked with these.

    For pages and pictures, which put many questions to a fit that are to be answered in one way.
    """
    if vcov is None and df is None:
        yield
        return
    token = _ASKED.set(Asked(vcov, df))
    try:
        yield
    finally:
        _ASKED.reset(token)


def check_asked(vcov: object, df: object) -> Asked:
    """The two arguments, checked as far as possible without a fit; SpecError where they are none that there are."""
    kind, _ = _sandwich_of(vcov)  # type: ignore[arg-type]
    if df is not None:
        _check_df(kind, df)
    return Asked(vcov, df)  # type: ignore[arg-type]


class Tests(NamedTuple):
    """Contrasts one by one: arrays (q,). df is infinite for the normal distribution, NaN where there is no test."""

    estimate: FloatArray
    se: FloatArray
    statistic: FloatArray
    df: FloatArray
    pvalue: FloatArray

    def bounds(self, prob: float) -> tuple[FloatArray, FloatArray]:
        """Lower and upper end of central intervals."""
        half = quantile(prob, self.df) * self.se
        return self.estimate - half, self.estimate + half


class JointTest(NamedTuple):
    """That several contrasts are zero: F, or chi-squared where df2 is infinite; NaN where there is no test."""

    statistic: float
    df1: float
    df2: float
    pvalue: float


@dataclass(frozen=True)
class Reference:
    """The fixed part of a fit with its covariance and its reference distribution; made by `reference`.

    vcov, df : what was used, in words of the arguments; cluster : the clusters of a sandwich, "" without.
    cov : (P, P) covariance for the standard errors. by_column : whether the clusters are those of a column.
    """

    vcov: str
    df: str
    beta: FloatArray
    cov: FloatArray
    calibration: Calibration
    cluster: str = ""
    n_clusters: int = 0
    by_column: bool = False

    @property
    def attrs(self) -> dict[str, Any]:
        """What was used, as attributes of an output."""
        used: dict[str, Any] = {"vcov": self.vcov, "df": self.df}
        return used | ({"cluster": self.cluster, "n_clusters": self.n_clusters} if self.cluster else {})

    @property
    def arguments(self) -> Asked:
        """As a user would ask for the same."""
        vcov = {"kind": self.vcov, "cluster": self.cluster} if self.by_column else self.vcov
        return Asked(None if vcov == MODEL else vcov, self.df)

    @property
    def words(self) -> str:
        """How tests and intervals were made, in words."""
        distribution = WORDS[self.df]
        if not self.cluster:
            return distribution
        return f"{self.vcov} covariance by {self.n_clusters} clusters ({self.cluster}), {distribution}"

    @property
    def letter(self) -> str:
        """Of the statistic of one contrast."""
        return "z" if self.df == NORMAL else "t"

    def each(self, contrasts: FloatArray, null: FloatArray | float = 0.0) -> Tests:
        """Tests that single contrasts (q, P) of the coefficients have the values `null`."""
        estimate = contrasts @ self.beta
        se = np.sqrt(np.einsum("qp,pr,qr->q", contrasts, self.cov, contrasts))
        df = self.dfs(contrasts)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = (estimate - null) / se
        return Tests(estimate, se, statistic, df, 2 * _lower_tail(-np.abs(statistic), df))

    def joint(self, contrasts: FloatArray, null: FloatArray | float = 0.0) -> JointTest:
        """Test that all contrasts (q, P), which are linearly independent, have the values `null`."""
        q = len(contrasts)
        try:
            if self.cluster and self.n_clusters <= q:
                raise NoTestError(f"{self.n_clusters} clusters are too few for {q} contrasts")
            df2, scale = self.calibration.joint(contrasts.T)
        except NoTestError as reason:
            warn(f"no test: {reason}\n  another df= or vcov= may have one, or fewer contrasts", BoundaryWarning)
            return JointTest(np.nan, q, np.nan, np.nan)
        away = contrasts @ self.beta - null
        wald = float(away @ np.linalg.solve(contrasts @ self.cov @ contrasts.T, away))
        if np.isinf(df2):
            return JointTest(wald, q, df2, float(chdtrc(q, wald)))
        F = scale * wald / q
        return JointTest(F, q, df2, float(fdtrc(q, df2, F)))

    def dfs(self, contrasts: FloatArray) -> FloatArray:
        """Degrees of freedom (q,) of contrasts (q, P): infinite for the normal distribution, NaN without a test."""
        different, of = np.unique(contrasts, axis=0, return_inverse=True)
        return self.calibration.each(different)[of.reshape(-1)]


def asks_in_one_way[**P, R](picture: Callable[P, R]) -> Callable[P, R]:
    """A function of results trees whose arguments `vcov` and `df` hold for all that it asks of them."""
    parameters = signature(picture)

    @wraps(picture)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.get("vcov") is None and kwargs.get("df") is None:
            return picture(*args, **kwargs)
        first = next(iter(parameters.bind(*args, **kwargs).arguments.values()))
        several = isinstance(first, Mapping) and not isinstance(first, xr.DataTree)
        trees = list(first.values()) if several else [first]
        vcov, df = check_asked(kwargs.get("vcov"), kwargs.get("df"))
        if all(isinstance(tree, xr.DataTree) and is_posterior(tree) for tree in trees):
            _refuse(vcov, "vcov")
            _refuse(df, "df")
        with asked(vcov, df):
            return picture(*args, **kwargs)

    return drawn


def reference(tree: xr.DataTree, vcov: Vcov | None = None, df: str | None = None) -> Reference | None:
    """The reference of a fit; None for a posterior, whose intervals are its own.

    Parameters
    ----------
    tree : results tree of `bm.fit`.
    vcov : None, the covariance of the model; a kind of sandwich, such as "CR2", with the outer groups as clusters; or
        a dict with "kind" and "cluster", a column in whose values the outer groups nest.
    df : reference distribution. None is "satterthwaite" with a sandwich; with the model's covariance
        "knapp-hartung-adhoc" for one outcome with one random effect a row, else "satterthwaite-scaled" for fits by
        REML and "z" for others and for those without variances to estimate.

    Raises
    ------
    SpecError
        When an argument is unknown, or the model, the method or the clusters do not allow what is asked for.
    """
    if is_posterior(tree):
        _refuse(vcov, "vcov")
        _refuse(df, "df")
        return None
    with reading_once():
        estimate = group(tree, schema.ESTIMATE)
        if vcov is None and df is None:
            vcov, df = asked_of(tree)
        kind, cluster = _sandwich_of(vcov)
        df = _default_df(tree, kind) if df is None else _check_df(kind, df)
        beta, cov = estimate["beta"].to_numpy(), estimate["beta_cov"].to_numpy()
        if kind != MODEL:
            return _robust(tree, beta, cov, kind, cluster, df)
        if df == NORMAL:
            return Reference(MODEL, NORMAL, beta, cov, Constant(np.inf))
        cov, calibration = adjusted.KINDS[df](tree)
        return Reference(MODEL, df, beta, cov, calibration)


def asked_of(tree: xr.DataTree) -> Asked:
    """How a fit is tested where a question leaves it open: as that around it asks, else as its tree declares."""
    return _ASKED.get() if _ASKED.get() != NOTHING else declared(tree)


def model_df(spec: Spec, method: Method, asked: Asked) -> str | None:
    """The reference distribution of a fit with the model's own covariance; None where it has another, a sandwich."""
    kind, _ = _sandwich_of(asked.vcov)
    if kind != MODEL:
        return None
    return _model_default(spec, method) if asked.df is None else _check_df(kind, asked.df)


def declare(tree: xr.DataTree, inference: Asked) -> None:
    """Write into a fit how the file that declares its model wants it tested, which holds until something is asked."""
    if inference != NOTHING and not is_posterior(tree):
        tree.attrs[schema.INFERENCE] = json.dumps(inference._asdict())


def declared(tree: xr.DataTree) -> Asked:
    """What `declare` has written; nothing where there is none."""
    written = tree.attrs.get(schema.INFERENCE)
    if written is None:
        return NOTHING
    try:
        table = json.loads(written)
        return check_asked(table.get("vcov"), table.get("df"))
    except (TypeError, ValueError, AttributeError) as error:
        raise SpecError(
            f"attribute {schema.INFERENCE!r} of the tree is {shown(written)}, not what this package writes: {error}\n"
            f"  give df= or vcov=, or del tree.attrs['{schema.INFERENCE}']"
        ) from None


def _default_df(tree: xr.DataTree, kind: str) -> str:
    """What covers best where nothing is asked for, see docs/small_samples.md.

    The normal distribution where nothing is estimated beside the coefficients, and by methods of estimation that have
    no small-sample theory for this model.
    """
    if kind != MODEL:
        return robust.DEFAULT
    return _model_default(spec_from_tree(tree), method_of(tree))


def _model_default(spec: Spec, method: Method) -> str:
    estimated = sum(level.n_free for level in spec.levels) and not method.zero_psi
    if not estimated or spec.n_obs <= len(spec.coef) or isinstance(spec, PartitionedSpec):
        return NORMAL  # corrections for small samples ask for all rows in one place
    if one_effect_a_row(spec):
        return ONE_LEVEL
    return SEVERAL if method.likelihood == "restricted" else NORMAL


def _check_df(kind: str, df: object) -> str:
    """A reference distribution that goes with this kind of covariance."""
    allowed = [NORMAL, *adjusted.KINDS] if kind == MODEL else [NORMAL, *robust.KINDS]
    if kind != MODEL and isinstance(df, str) and df in adjusted.KINDS and df not in allowed:
        raise SpecError(
            f'df="{df}" has no meaning with vcov="{kind}", which does not rest on the model\'s covariances\n'
            '  take df="satterthwaite" or df="residual", or leave vcov out'
        )
    return check_choice(df, allowed, "df")


def reference_of_fit(tree: xr.DataTree, vcov: Vcov | None, df: str | None, what: str) -> Reference:
    """The same where a posterior has no answer."""
    made = reference(tree, vcov, df)
    if made is None:
        raise SpecError(
            f"{what} is for fits by bm.fit; of a posterior ask for intervals: bm.estimates(tree)"
            '\n  bm.bayes_factor compares what it would test: two posteriors, or one and "x = 0"'
        )
    return made


def _refuse(value: object, name: str) -> None:
    if value is not None:
        raise SpecError(
            f"{name} is for fits: the intervals of a posterior are its own\n"
            f"  leave {name} out, or pass a tree of bm.fit"
        )


def _robust(tree: xr.DataTree, beta: FloatArray, cov: FloatArray, kind: str, cluster: str | None, df: str) -> Reference:
    made, name = robust.sandwich_of(tree, kind, cluster)
    calibration = Constant(np.inf) if df == NORMAL else robust.KINDS[df](made)
    return Reference(kind, df, beta, made.cov, calibration, name, made.clusters.n, cluster is not None)


def _sandwich_of(vcov: Vcov | None) -> tuple[str, str | None]:
    """Kind of covariance and column of the clusters, None where they are the outer groups."""
    if vcov is None:
        return MODEL, None
    if isinstance(vcov, str):
        return check_choice(vcov, [MODEL, *KINDS], "vcov"), None
    table = check_mapping(vcov, "vcov", 'a kind such as "CR2", or {"kind": "CR2", "cluster": "study"}')
    check_keys(table, ("kind", "cluster"), "vcov", required=("kind",))
    kind, cluster = check_choice(table["kind"], list(KINDS), "vcov['kind']"), table.get("cluster")
    return kind, cluster


def quantile(prob: float, df: FloatArray | float) -> FloatArray:
    """Of the upper end of a central interval: normal where df is infinite, NaN where it is."""
    df = np.asarray(df, dtype=float)
    finite = np.where(np.isfinite(df), df, 1.0)
    t = np.where(np.isinf(df), ndtri(0.5 + prob / 2), stdtrit(finite, 0.5 + prob / 2))
    return np.where(np.isnan(df), np.nan, t)


def _lower_tail(t: FloatArray, df: FloatArray) -> FloatArray:
    finite = np.where(np.isfinite(df), df, 1.0)
    return np.where(np.isnan(df), np.nan, np.where(np.isinf(df), ndtr(t), stdtr(finite, t)))
