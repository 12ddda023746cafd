"""The contract of a between-group covariance structure, and the register of all of them.

A structure knows how SDs tau and correlations rho make the covariance matrix Psi (`compose`), and how the free
parameters xi, which a search moves, make tau and rho. Priors sit on tau and rho. The arithmetic uses only operators and
indexing that NumPy and PyTensor share, so that both backends read the same lines. Parameters stand on the first axis,
matrices on the first two; further axes are data sets, or draws.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from bayesmeta._validation import shown
from bayesmeta.errors import SpecError

_STEP = 1e-5  # of a parameter, for differences
STEPS = 201  # from one limit of a correlation to the other, both and the middle among them
OWN = "bayesmeta."  # what modules of the package begin with
REGISTER: dict[str, type["Structure"]] = {}


class NotRegisteredError(SpecError):
    """A structure of which no class is registered, as of a result whose author has one of their own."""


def register(structure: type["Structure"]) -> type["Structure"]:
    """Enter a structure into the register under its name; a class decorator.

    Parameters
    ----------
    structure : type
        The structure, a subclass of `Structure`.

    Returns
    -------
    type
        The same class.

    Raises
    ------
    SpecError
        When the class is no structure, has no name, or has that of a structure of the package.

    Examples
    --------
    >>> from bayesmeta.structures import Identity
    >>> @register
    ... class SameVariance(Identity):
    ...     name = "same"
    >>> REGISTER["same"]()
    SameVariance()
    >>> del REGISTER["same"]
    """
    if not (isinstance(structure, type) and issubclass(structure, Structure)):
        raise SpecError(f"register takes a subclass of bm.structures.Structure, not {shown(structure)}")
    name = getattr(structure, "name", None)
    if not isinstance(name, str) or not name:
        raise SpecError(f"structure {structure.__name__} has no name\n  give the class one, such as name = 'mine'")
    known = REGISTER.get(name)
    if known is not None and known.__module__.startswith(OWN) and not structure.__module__.startswith(OWN):
        raise SpecError(
            f"'{name}' is the name of bm.structures.{known.__name__}; {structure.__name__} needs a name of its own\n"
            f"  give the class one, such as name = 'own_{name}'"
        )
    REGISTER[name] = structure
    return structure


@cache
def eye(dim: int) -> np.ndarray:
    identity = np.eye(dim)
    identity.flags.writeable = False
    return identity


def over_data_sets(constant: np.ndarray, xi: Any) -> np.ndarray:
    """`constant` with one trailing axis for each data-set axis of xi."""
    return constant.reshape(constant.shape + (1,) * (xi.ndim - 1))


class Law(NamedTuple):
    """Distribution of one correlation: ((rho - low) / (high - low))^power ~ Beta(alpha, beta).

    What `Structure.lkj` returns.

    Parameters
    ----------
    low : float
        Where the correlation begins.
    alpha, beta : float
        Parameters of the beta distribution, positive.
    power : float, default 1
        Of the share of the range, positive.
    high : float, default 1
        Where it ends.

    Examples
    --------
    >>> Law(-0.5, 2.0, 2.0, high=0.5)
    Law(low=-0.5, alpha=2.0, beta=2.0, power=1.0, high=0.5)
    """

    low: float
    alpha: float
    beta: float
    power: float = 1.0
    high: float = 1.0


def law_of(structure: "Structure", dim: int, eta: float) -> Law | None:
    """What `lkj` returns, or its default where a family with one correlation leaves it to us."""
    law = structure.lkj(dim, eta)
    if law is None and structure.n_rho(dim) == 1:
        return Structure.lkj(structure, dim, eta)
    return law


def inherits(structure: "Structure", family: type["Structure"], *methods: str) -> bool:
    """Whether a structure has these methods of a family as they are; where not, laws worked out for it do not hold."""
    return all(getattr(type(structure), name) is getattr(family, name) for name in methods)


class Structure(ABC):
    """A family of a x a covariance matrices with free parameters xi.

    A class must have `name`, `n_free`, `n_tau`, `labels`, `compose`, `decompose`, `psi`, `pullback`, `start`, `units`;
    all else has a default. The page "Add a covariance structure of your own" has a table of the methods with the
    shapes of what they return and their defaults; `bm.structures.check` examines a class.

    What others ask of a family, it says itself, so that a new one needs no mention elsewhere::

        name : as users write it.
        synonyms : other words for it, of other software, that are taken as well, in any case.
        meaning : in a few words, for reports; by default the first sentence of the docstring.
        phrase : what random effects of this family have, in a sentence of a paper: "an unstructured covariance matrix";
            by default made from the meaning.
        arguments : of the constructor, such as a matrix; a family without any can be named by its name alone.
        optional : those of them that may be left out. call : the arguments of an example.
        own_parameters : whether trees and tables have its SDs and its correlation as they are, as for a family over
            many effects, instead of those of every effect and pair.
        stationary : whether the family says how an effect at any other position than those of the data is distributed.
        unrestricted : whether it holds every covariance matrix.
        uncorrelated : whether all correlations are zero.
        any_order : whether it stays the same family when the effects change places.
        loses_effects : whether an SD of zero takes its effect out and leaves the family over the others.
        pair : of two effects, "any" where it holds every covariance matrix, "equal" where every one of equal variances.
        members : families whose matrices all belong to this one too.
    """

    name: ClassVar[str]
    synonyms: ClassVar[tuple[str, ...]] = ()
    meaning: ClassVar[str] = ""
    phrase: ClassVar[str] = ""
    arguments: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    call: ClassVar[str] = ""
    own_parameters: ClassVar[bool] = False
    stationary: ClassVar[bool] = False
    unrestricted: ClassVar[bool] = False
    uncorrelated: ClassVar[bool] = False
    any_order: ClassVar[bool] = False
    loses_effects: ClassVar[bool] = False
    pair: ClassVar[Literal["", "any", "equal"]] = ""
    members: "ClassVar[tuple[type[Structure], ...]]" = ()
    time: str | None = None  # column whose distinct values are the effects; None where formulas name them
    positions: np.ndarray | None = None  # of the effects, where the family asks for them

    def placed(self, positions: np.ndarray) -> "Structure":
        """The same family over effects at these increasing positions, for one that asks for a column `time`."""
        return self

    @abstractmethod
    def n_tau(self, dim: int) -> int:
        """Number of SDs: 0, 1 for all effects, or one for each."""

    def n_rho(self, dim: int) -> int:
        """Number of correlations: 0, 1 for all pairs, or one for each pair."""
        return 0

    @abstractmethod
    def compose(self, tau: Any, rho: Any, dim: int) -> Any:
        """Psi (dim, dim, ...) of SDs tau (n_tau, ...) and correlations rho (n_rho, ...), pairs in the order of rows."""

    @abstractmethod
    def decompose(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """tau (n_tau,) and rho (n_rho,) of a member of the family; of a singular one, rho a little inside its range."""

    def own_rho(self, psi: np.ndarray) -> float:
        """The one correlation of a member, NaN where no two SDs are positive; of a family with `own_parameters`."""
        raise NotImplementedError

    def low(self, dim: int) -> float:
        """Infimum of the one correlation of a family that has one: Psi is positive definite between it and `high`."""
        return -1.0

    def high(self, dim: int) -> float:
        """Supremum of the one correlation."""
        return 1.0

    def lkj(self, dim: int, eta: float) -> Law | None:
        """Law of the one correlation under the prior LKJ(eta); None where there is none, or one for each pair.

        Lewandowski, Kurowicka and Joe (2009), J. Multivar. Anal. 100:1989-2001: density proportional to |R|^(eta - 1),
        here restricted to the family. By default Beta(eta, eta) between `low` and `high`, which is LKJ(eta) of two
        effects, uniform for eta = 1, and for eta above 1 zero at the limits, where R is singular.
        """
        return Law(self.low(dim), eta, eta, high=self.high(dim)) if self.n_rho(dim) == 1 else None

    @abstractmethod
    def n_free(self, dim: int) -> int:
        """Number of free parameters for `dim` effects."""

    @abstractmethod
    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        """One label per free parameter."""

    @abstractmethod
    def psi(self, xi: Any, dim: int) -> Any:
        """Psi (dim, dim, ...) at xi (n_free, ...)."""

    @abstractmethod
    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        """Gradient by xi of a function whose derivative by the entries of Psi is the symmetric `psi_bar`."""

    def curvature(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        """sum_ij psi_bar_ij d2 Psi_ij / dxi dxi', (n_free, n_free, ...), for a symmetric `psi_bar` (dim, dim, ...).

        By differences of `pullback` where a family does not have it written out.
        """
        rows = []
        for i in range(len(xi)):
            step = np.zeros_like(xi)
            step[i] = _STEP * np.maximum(np.abs(xi[i]), 1.0)
            change = self.pullback(xi + step, psi_bar, dim) - self.pullback(xi - step, psi_bar, dim)
            rows.append(change / (2 * step[i]))
        H = np.stack(rows)
        return np.asarray((H + H.swapaxes(0, 1)) / 2)

    def linear(self, dim: int) -> bool:
        """Whether Psi is linear in `theta`; otherwise theta is xi."""
        return False

    def theta(self, xi: np.ndarray, dim: int) -> np.ndarray:
        """(m, ...) coordinates in which a quadratic model of the log-likelihood serves best: (co)variances, or xi."""
        return xi

    def theta_units(self, units: np.ndarray, dim: int) -> np.ndarray:
        """Natural sizes of theta from those of xi."""
        return units

    def theta_jacobian(self, xi: np.ndarray, dim: int) -> np.ndarray:
        """(m, n_free, ...) derivatives of theta by xi."""
        return over_data_sets(np.eye(len(xi)), xi)

    def theta_curvature(self, xi: np.ndarray, weight: np.ndarray, dim: int) -> np.ndarray:
        """sum_r weight_r d2 theta_r / dxi dxi', (n_free, n_free, ...)."""
        return np.zeros((len(xi), len(xi), *xi.shape[1:]))

    def slopes(self, xi: np.ndarray, dim: int) -> np.ndarray:
        """(dim, dim, n_free, ...) derivatives of Psi by xi."""
        entry = over_data_sets(_entries(dim), xi)
        slopes = self.pullback(xi[:, None, None], entry, dim)
        return slopes.transpose(1, 2, 0, *range(3, slopes.ndim))

    def directions(self, xi: np.ndarray, dim: int) -> np.ndarray:
        """(dim, dim, m, ...) derivatives of Psi by theta."""
        return self.slopes(xi, dim)

    def variance_slopes(self, xi: np.ndarray, dim: int) -> np.ndarray:
        """(dim, dim, m) derivatives of Psi by its (co)variances and correlations at xi (n_free,).

        Small-sample corrections need them where an SD is zero, and Psi has no slope in the SD. What has no derivative
        there, as the variance of a zero effect that the family correlates with others, is left out.
        """
        slopes = self.directions(xi, dim)
        return slopes if self.linear(dim) else slopes[:, :, slopes.any((0, 1))]

    def variance_bends(self, xi: np.ndarray, dim: int) -> np.ndarray:
        """(dim, dim, m, m) second derivatives of Psi by the same parameters."""
        slopes = self.directions(xi, dim)
        if self.linear(dim):
            return np.zeros((dim, dim, *2 * slopes.shape[2:]))
        entries, kept = _entries(dim), slopes.any((0, 1))
        bends = [self.curvature(xi, entries[:, :, i, j], dim) for i in range(dim) for j in range(dim)]
        return np.reshape(bends, (dim, dim, len(xi), len(xi)))[:, :, kept][:, :, :, kept]

    def scatter(self, share: np.ndarray, sd: Callable[[np.ndarray], np.ndarray], dim: int) -> np.ndarray:
        """xi (n_free, n), in natural units, of members all over the family, from points (n_free, n) of the unit cube.

        sd : maps shares to SDs. By default the parameters that are no SDs are taken as logits.
        """
        inside = np.clip(share, 0.01, 0.99)
        xi = np.log(inside / (1 - inside))
        zeros = self.zero_positions(dim)
        xi[zeros] = sd(share[zeros])
        return np.asarray(xi)

    def canonical(self, xi: np.ndarray, dim: int) -> np.ndarray:
        """Of all xi (n_free, ...) with the same Psi the one reported: SDs not negative, angles within half a turn."""
        return xi

    @abstractmethod
    def start(self, moment: np.ndarray) -> np.ndarray:
        """Free parameters of a non-singular member near a positive semi-definite moment estimate of Psi."""

    @abstractmethod
    def units(self, effect_units: np.ndarray) -> np.ndarray:
        """Natural size of every free parameter, given that of every effect's SD."""

    def lower(self, dim: int) -> np.ndarray:
        """Lower bound of every free parameter."""
        return np.full(self.n_free(dim), -np.inf)

    def zero_positions(self, dim: int) -> np.ndarray:
        """Positions in xi of parameters that make Psi singular at zero: SDs, the diagonal of a Cholesky factor."""
        return np.arange(0)

    def sd_positions(self, effect: int, dim: int) -> np.ndarray:
        """Positions in xi of parameters that are all zero just where the SD of this effect alone is; none if shared."""
        return np.arange(0)

    def rho_position(self, dim: int) -> int | None:
        """Position in xi of an angle of the one correlation, which is at one limit for 0 and at the other for pi.

        The search then knows the limits. None for a family without correlations, or with any other parameter of it.
        """
        return None

    def rho_range(self, first: int, second: int, dim: int) -> tuple[float, float]:
        """Infimum and supremum of the correlation of two effects over the family, equal where it is fixed.

        By default, of a family with one correlation or none, those of `compose` between `low` and `high`.
        """
        if (n := self.n_rho(dim)) > 1:
            return -1.0, 1.0
        shares = np.linspace(0.0, 1.0, STEPS) if n else np.zeros(1)
        rho = (self.low(dim) * (1 - shares) + self.high(dim) * shares)[None, :] if n else np.zeros((0, 1))
        psi = np.broadcast_to(self.compose(np.ones((self.n_tau(dim), len(shares))), rho, dim), (dim, dim, len(shares)))
        size = np.sqrt(np.abs(psi[first, first] * psi[second, second]))
        values = np.divide(psi[first, second], size, out=np.zeros(len(shares)), where=size > 0)
        return float(values.min()), float(values.max())

    def describe(self, dim: int) -> str:
        """The family over `dim` effects in a few words."""
        if dim == 1 and not self.arguments:
            return "one variance"
        return self.meaning or (type(self).__doc__ or "").split(".")[0]

    def in_a_sentence(self, dim: int) -> str:
        """What `dim` effects of this family have, to go on after "with".

        >>> from bayesmeta.structures import Unstructured
        >>> Unstructured().in_a_sentence(2)
        'an unstructured covariance matrix'
        """
        return self.phrase or f"a covariance matrix of the structure '{self.name}' ({self.describe(dim)})"

    def symbol(self, dim: int) -> str:
        """The letter for its matrix: a variance where there is one effect."""
        return "τ²" if dim == 1 else "Ψ"

    def holds(self, other: "Structure", dim: int, same_order: bool) -> bool:
        """Whether every matrix of another family over the same `dim` effects is one of this family, as far as is known.

        same_order : whether the effects of both stand in the same order.
        """
        if self.unrestricted:
            return True
        if self == other:
            return same_order or self.any_order
        if dim == 2 and (self.pair == "any" or self.pair == other.pair == "equal"):
            return True
        return isinstance(other, self.members) and (same_order or other.any_order)

    def new_correlations(self, dim: int) -> int | None:
        """With how many of `dim` effects one effect more may be correlated.

        None where a test that the new effect's variance is zero has no known mixture of chi-squared distributions.
        """
        return None

    def check(self, dim: int) -> None:  # noqa: B027 (most structures take any number of effects)
        """Raise SpecError when the structure cannot have `dim` effects."""

    def to_json(self) -> str | dict[str, Any]:
        """Plain value that `from_json` turns back into the structure."""
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(str(self.to_json()))


@cache
def _entries(dim: int) -> np.ndarray:
    """(dim, dim, dim, dim) symmetric weights that pick every entry of a symmetric matrix."""
    pick = np.eye(dim * dim).reshape(dim, dim, dim, dim)
    pick = (pick + pick.swapaxes(0, 1)) / 2
    pick.flags.writeable = False
    return pick


def need_two_effects(name: str, dim: int) -> None:
    if dim < 2:
        raise SpecError(f"structure '{name}' needs at least 2 random effects, the level has {dim}; use 'unstr' or 'id'")
