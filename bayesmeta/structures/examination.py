"""Whether a structure keeps the contract of `Structure`, over the whole range of its free parameters.

What is wrong would mostly not show: a matrix that is no covariance matrix, derivatives that another family has left
behind, or a prior beyond the range. So a family from outside the package is examined when it is first used.
"""

from collections.abc import Callable, Iterator
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from bayesmeta._validation import shown
from bayesmeta.structures.base import OWN, REGISTER, STEPS, Law, Structure, law_of
from bayesmeta.structures.examined_points import (
    N_POINTS,
    NEGATIVE,
    Examined,
    called,
    correlations_of,
    numbers,
    problem,
    same,
)

N_REGULAR = 6  # points at which derivatives by variances are compared
MOST_PAIRS = 30  # of effects whose range of correlations is compared
STEP = 1e-5  # of a parameter, for differences
NEAR = 1e-5  # of the size of what is compared with differences
INSIDE = 0.12  # share of the range of a correlation that `decompose` may keep away from its limits
_LAW = "; without the method it is Beta(eta, eta) between low and high"

_known: set[tuple[type[Structure], int, str]] = set()


def examined(structure: Structure, dim: int) -> None:
    """Examine a structure whose class is not the package's own, the first time that it is used over `dim` effects."""
    family = type(structure)
    if family.__module__.startswith(OWN):
        return
    key = (family, dim, str(called(structure, dim, "to_json", structure.to_json)))
    if key not in _known:
        Examination(structure, dim).run()
        _in_register(structure, dim)
        _known.add(key)


class Examination(Examined):
    """All comparisons."""

    def run(self) -> None:
        with catch_warnings(), np.errstate(all="ignore"):
            simplefilter("ignore")
            self.structure.check(self.dim)
            self.counts()
            self.limits()
            self.law()
            self.points()
            self.semidefinite()
            self.data_sets()
            self.parts()
            self.start()
            self.first_derivatives()
            self.second_derivatives()
            self.by_variances()
            self.correlations()
            self.angle()
            self.families()

    # correlations and their law

    def limits(self) -> None:
        """The one correlation has a range, in all of which Psi is a covariance matrix."""
        if self.n_rho != 1:
            self.rho = np.zeros((self.n_rho, 1))
            if self.n_rho > 1:
                self.every_matrix()
            return
        self.low, self.high = low, high = float(self.call("low", self.dim)), float(self.call("high", self.dim))
        if not (np.isfinite([low, high]).all() and low < high):
            self.wrong("low", f"and high are {low:g} and {high:g}", "they must be finite, and low less")
        shares = np.linspace(0.0, 1.0, STEPS)
        self.rho = (low * (1 - shares) + high * shares)[None]
        psi = self.array("compose", (self.dim, self.dim, STEPS), np.ones((self.n_tau, STEPS)), self.rho, self.dim)
        inside = slice(1, -1) if not np.isfinite(psi[:, :, [0, -1]]).all() else slice(None)
        psi, rho = psi[:, :, inside], self.rho[0, inside]
        if not (known := np.isfinite(psi).all((0, 1))).all():
            self.wrong("compose", f"is not finite at rho = {rho[~known][0]:.4g}", "it must be between low and high")
        smallest = np.linalg.eigvalsh(np.moveaxis(psi, -1, 0))[:, 0]
        wrong = np.flatnonzero(~(smallest >= -NEGATIVE * np.abs(psi).max()))
        if len(wrong):
            rho = rho[wrong]
            beyond = rho[np.argmax(rho)] if rho.max() > (low + high) / 2 else rho.min()
            self.wrong(
                "compose",
                f"is indefinite at rho = {beyond:.4g}, which is between low = {low:.4g} and high = {high:.4g}",
                "let the methods low(dim) and high(dim) say between which rho it is positive definite",
            )

    def every_matrix(self) -> None:
        """A correlation for each pair: they are those of the matrix, which the prior LKJ draws as a whole."""
        root = self.rng.normal(size=(self.dim, 2 * self.dim))
        covariance = root @ root.T
        sd = np.sqrt(np.diag(covariance))
        R = covariance / np.outer(sd, sd)
        rho = R[np.triu_indices(self.dim, 1)]
        psi = self.array("compose", (self.dim, self.dim), np.ones(self.n_tau), rho, self.dim)
        if not same(psi, R):
            self.wrong("compose", "has other correlations than rho", "pairs stand in the order of rows: 01, 02, .., 12")

    def law(self) -> None:
        """The law of the one correlation under LKJ(eta) has its range for support."""
        law = self.call("lkj", self.dim, 2.0)
        if law is not None and not isinstance(law, Law):
            self.wrong("lkj", f"returns {shown(law)}", f"it must be a bm.structures.Law, or None{_LAW}")
        if self.n_rho != 1:
            if law is not None:
                self.wrong("lkj", f"returns {law} for {self.n_rho} correlations", "it must be None: a Law is of one")
            return
        law = law_of(self.structure, self.dim, 2.0)
        assert law is not None
        if not np.allclose((law.low, law.high), (self.low, self.high), rtol=0, atol=1e-9):
            self.wrong(
                "lkj",
                f"is a law between {law.low:.6g} and {law.high:.6g}; rho is between low = {self.low:.6g} and "
                f"high = {self.high:.6g}",
                f"return Law(low, alpha, beta, high=high) of the same limits{_LAW}",
            )
        if not min(law.alpha, law.beta, law.power) > 0:
            self.wrong("lkj", f"returns {law}", "alpha, beta and power must be positive")

    def correlations(self) -> None:
        """`rho_range` is what the correlations of pairs do; they fill the range of rho."""
        R = correlations_of(self.psi)
        free, pairs = self.n_rho <= 1, np.transpose(np.triu_indices(self.dim, 1))
        for i, j in self.rng.permutation(pairs)[:MOST_PAIRS].tolist():
            low, high = self.call("rho_range", i, j, self.dim)
            rho = R[i, j]
            known = Structure.rho_range(self.structure, i, j, self.dim) if free else (low, high)
            outside = bool(rho.min() < low - 1e-6 or rho.max() > high + 1e-6)
            if outside or not np.allclose((low, high), known, rtol=0, atol=0.02):
                to = known if free and not outside else (rho.min(), rho.max())
                self.wrong(
                    "rho_range",
                    f"of effects {i} and {j} is ({low:.4g}, {high:.4g}); their correlations go from "
                    f"{to[0]:.4g} to {to[1]:.4g}",
                    "leave it out: by default it is that of compose between low and high; psi must have the same rho",
                )
        self.filled()

    def filled(self) -> None:
        """psi has all rho between the limits, as the prior has."""
        if self.n_rho != 1 or self.dim < 2:
            return
        low, high = self.low, self.high
        short = INSIDE * (high - low)
        reached = correlations_of(self.psi)
        ends = np.array([[low, low + short, high, high - short]])
        wanted = self.array("compose", (self.dim, self.dim, 4), np.ones((self.n_tau, 4)), ends, self.dim)
        wanted = correlations_of(wanted)
        for k, name in ((0, "low"), (2, "high")):
            allowed = np.abs(wanted[:, :, k + 1] - wanted[:, :, k]).max()
            apart = np.abs(reached - wanted[:, :, k, None]).max((0, 1)).min()
            if not apart <= allowed + 1e-6:
                self.wrong(
                    "psi",
                    f"never comes near {name} = {ends[0, k]:.4g}, where compose goes",
                    "map the free parameter to all rho between the methods low and high, as the prior has them",
                )

    def angle(self) -> None:
        """The parameter at `rho_position` is an angle."""
        position = self.call("rho_position", self.dim)
        if position is None:
            return
        if not isinstance(position, int | np.integer) or not 0 <= position < self.n_free:
            self.wrong("rho_position", f"returns {shown(position)}", "it must be a position in xi, or None")
        xi = np.repeat(self.xi[:, :1], 2, axis=1)
        xi[position] = 0.0, np.pi
        slopes = self.array("slopes", (self.dim, self.dim, self.n_free, 2), xi, self.dim)[:, :, position]
        inside = self.array("slopes", (self.dim, self.dim, self.n_free), self.xi[:, 0], self.dim)[:, :, position]
        if np.abs(slopes).max() > 1e-6 * max(np.abs(inside).max(), self.size[0]):
            self.wrong(
                "rho_position",
                f"names parameter {position}, by which Psi still changes at 0 or at pi",
                "it is for an angle, rho = low + (high - low) (1 - cos angle) / 2; of another parameter leave it out",
            )

    # SDs and correlations

    def split(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = self.call("decompose", psi)
        ok = isinstance(value, tuple | list) and len(value) == 2
        shapes = [np.shape(each) for each in value] if ok else shown(value)
        if shapes != [(self.n_tau,), (self.n_rho,)]:
            self.wrong(
                "decompose", f"returns {shapes}", f"it must be tau of shape ({self.n_tau},) and rho ({self.n_rho},)"
            )
        return np.asarray(value[0], float), np.asarray(value[1], float)

    def parts(self) -> None:
        """compose and decompose are inverse to one another, and compose has the matrices that psi has."""
        for at in self.regular[:20]:
            psi = self.psi[:, :, at]
            tau, rho = self.split(psi)
            if self.n_tau == self.dim > 1 and not np.allclose(tau**2, np.diagonal(psi), rtol=1e-6, atol=1e-12):
                self.wrong(
                    "decompose",
                    f"of a matrix with the SDs {numbers(np.sqrt(np.diagonal(psi)))} is tau = {numbers(tau)}",
                    "with as many tau as effects each is the SD of its own, which results print; parameters of another "
                    "kind are arguments of the class",
                )
            if self.n_rho > 1 or self.structure.unrestricted:
                rho = correlations_of(psi)[np.triu_indices(self.dim, 1)]
            elif self.n_rho == 1 and self.dim > 1 and not self.inside(rho[0]):
                continue
            again = self.array("compose", (self.dim, self.dim), tau, rho, self.dim)
            if not same(again, psi, 1e-6):
                self.wrong(
                    "compose",
                    f"of the SDs {numbers(tau)} and correlations {numbers(rho)} that decompose takes from "
                    f"psi(xi = {numbers(self.xi[:, at])}) is not psi there",
                    "compose, decompose and psi must be of the same family",
                )
        if self.n_rho != 1 or self.dim < 2 or self.structure.unrestricted:
            return
        for share in (0.2, 0.5, 0.8):
            tau, rho = np.linspace(1.0, 1.5, self.n_tau), np.array([self.low + share * (self.high - self.low)])
            psi = self.array("compose", (self.dim, self.dim), tau, rho, self.dim)
            back = self.split(psi)
            again = self.array("compose", (self.dim, self.dim), *back, self.dim)
            if not np.allclose(back[0], tau, rtol=0, atol=1e-6) or not same(again, psi, 1e-5):
                self.wrong(
                    "decompose",
                    f"of compose(tau = {numbers(tau)}, rho = {numbers(rho)}) is tau = {numbers(back[0])}, rho = "
                    f"{numbers(back[1])}",
                    "it must give back the SDs and the correlation, as correlation_of of a family from the nearest",
                )

    def inside(self, rho: float) -> bool:
        return bool(INSIDE < (rho - self.low) / (self.high - self.low) < 1 - INSIDE)

    def start(self) -> None:
        """A search begins inside the family, wherever the moments are."""
        root = self.rng.normal(size=(self.dim, self.dim + 2))
        apart = np.eye(self.dim) + np.diag(np.full(self.dim - 1, 0.9), 1) + np.diag(np.full(self.dim - 1, 0.9), -1)
        for moment in (np.eye(self.dim), root @ root.T, np.ones((self.dim, self.dim)) + 0.01 * apart):
            xi = self.array("start", (self.n_free,), moment)
            psi = self.array("psi", (self.dim, self.dim), xi, self.dim)
            singular = len(self.regular) and not np.linalg.eigvalsh(psi)[0] > 1e-6 * np.abs(psi).max()
            if not np.isfinite(xi).all() or (xi < self.lower).any() or singular:
                self.wrong(
                    "start",
                    f"of the moments {numbers(moment.ravel())} is xi = {numbers(xi)}",
                    "it must be finite, not below lower, and well inside the family, where Psi is not singular",
                )

    # derivatives

    def by_steps(self, method: Callable[..., np.ndarray], at: np.ndarray, *args: Any) -> np.ndarray:
        """(..., n_free) derivatives of a method at xi by differences."""
        slopes = []
        for i in range(len(at)):
            step = np.zeros_like(at)
            step[i] = STEP * np.maximum(1.0, np.abs(at[i]))
            slopes.append((method(at + step, *args) - method(at - step, *args)) / (2 * step[i]))
        return np.array(slopes) if slopes else np.zeros((0, *method(at, *args).shape))

    def psi_at(self, xi: np.ndarray) -> np.ndarray:
        return self.array("psi", (self.dim, self.dim, *xi.shape[1:]), xi, self.dim)

    def first_derivatives(self) -> None:
        """`pullback` is the derivative of psi."""
        weight = self.rng.normal(size=(self.dim, self.dim, 1))
        some = np.r_[: min(N_POINTS, self.xi.shape[1]), N_POINTS : self.xi.shape[1] : 5]
        xi = self.xi[:, some]
        weight = np.broadcast_to(weight + weight.swapaxes(0, 1), (self.dim, self.dim, len(some)))
        slopes = self.by_steps(self.psi_at, xi)
        expected = (weight * slopes).sum((1, 2))
        claimed = self.array("pullback", expected.shape, xi, weight, self.dim)
        size = np.abs(weight).max() * (self.size[some] + np.abs(slopes).max((0, 1, 2), initial=0.0)) * self.dim
        wrong = ~(np.abs(claimed - expected) <= NEAR * size)
        if wrong.any():
            i, n = np.argwhere(wrong)[0]
            self.wrong(
                "pullback",
                f"is {claimed[i, n]:.6g} by parameter {i} at xi = {numbers(xi[:, n])}; differences of psi give "
                f"{expected[i, n]:.6g}",
                "it must be the sum of psi_bar times the derivative of psi by every parameter",
            )

    def second_derivatives(self) -> None:
        """`curvature`, `theta` and `directions`, which may have come from another family."""
        weight = self.rng.normal(size=(self.dim, self.dim))
        weight = weight + weight.T
        for at in self.regular[:N_REGULAR]:
            xi, n = self.xi[:, at], self.n_free
            slopes = self.by_steps(self.psi_at, xi)
            size = (np.abs(weight).max() + 1) * (self.size[at] + np.abs(slopes).max(initial=0.0)) * self.dim
            expected = self.by_steps(lambda x, n=n: self.array("pullback", (n,), x, weight, self.dim), xi)
            claimed = self.array("curvature", (n, n), xi, weight, self.dim)
            theta = np.asarray(self.call("theta", xi, self.dim))
            jacobian = self.array("theta_jacobian", (len(theta), n), xi, self.dim)
            along = self.array("directions", (self.dim, self.dim, len(theta)), xi, self.dim) @ jacobian
            by_theta = self.by_steps(lambda x: np.asarray(self.call("theta", x, self.dim)), xi)
            for method, own, other in (
                ("curvature", claimed, expected.reshape(n, n)),
                ("theta_jacobian", jacobian, by_theta.reshape(n, len(theta)).T),
                ("directions", along, np.moveaxis(slopes, 0, -1).reshape(along.shape)),
            ):
                if not np.allclose(own, other, rtol=0, atol=10 * NEAR * size * max(1.0, np.abs(other).max(initial=0))):
                    self.wrong(method, f"is not what differences give at xi = {numbers(xi)}", self.inherited(method))

    def by_variances(self) -> None:
        """`variance_slopes` and `variance_bends`: small-sample corrections rest on them."""
        for at in self.regular[:N_REGULAR]:
            xi, dim = self.xi[:, at], self.dim
            V = np.asarray(self.call("variance_slopes", xi, dim), float)
            if V.ndim != 3 or V.shape[:2] != (dim, dim):
                self.wrong("variance_slopes", f"has shape {V.shape}", f"it must be ({dim}, {dim}, m)")
            m, flat = V.shape[2], V.reshape(dim * dim, V.shape[2])
            moves = self.by_steps(self.psi_at, xi).reshape(self.n_free, dim * dim).T
            if not (_within(moves, flat) and _within(flat, moves)):
                self.wrong(
                    "variance_slopes",
                    f"at xi = {numbers(xi)} are no derivatives of psi: psi moves in other directions, by differences",
                    self.inherited("variance_slopes"),
                )
            bends = self.array("variance_bends", (dim, dim, m, m), xi, dim)
            if np.linalg.matrix_rank(flat) < m:
                continue
            change = np.linalg.lstsq(flat, moves, rcond=None)[0]
            turned = self.by_steps(lambda x: np.asarray(self.call("variance_slopes", x, self.dim)), xi)
            expected = np.moveaxis(turned, 0, -1).reshape(dim, dim, m, self.n_free)
            size = 1 + np.abs(bends).max(initial=0) * np.abs(change).max(initial=0)
            if not np.allclose(bends @ change, expected, rtol=0, atol=1e-3 * size):
                self.wrong(
                    "variance_bends",
                    f"at xi = {numbers(xi)} are not the changes of variance_slopes, by differences",
                    self.inherited("variance_bends"),
                )

    def inherited(self, method: str) -> str:
        """What to do about a method, by the class that has it."""
        home = next(each for each in type(self.structure).__mro__ if method in vars(each))
        if home.__module__.startswith(OWN) and home is not Structure:
            return (
                f"it is inherited from {home.__name__}, whose family is another: write it, or take the one that works "
                f"by differences, {method} = bm.structures.Structure.{method}"
            )
        return f"write it anew, or leave it out: bm.structures.Structure.{method} works for every family"

    # what the family says of itself

    def families(self) -> None:
        """`members`, `any_order`, `pair` and `uncorrelated`, on which tests of one family against another rest."""
        structure, dim = self.structure, self.dim
        if dim < 2 or self.n_rho > 1:
            return
        if structure.uncorrelated and np.abs(self.psi[~np.eye(dim, dtype=bool)]).max() > 0:
            self.wrong("uncorrelated", "is True, but psi has correlations", "set it to False")
        for member in structure.members:
            if member.arguments:
                continue
            for matrix in self.some_of(member()):
                if not self.holds(matrix):
                    self.wrong(
                        "members",
                        f"has {member.__name__}, but not every matrix of it is one of this family",
                        "name only families that are part of this one; those of the class it derives from come along",
                    )
        for at in self.regular[:3] if structure.any_order else ():
            if not self.holds(self.psi[::-1, ::-1, at]) or not self.holds(np.roll(self.psi[:, :, at], 1, (0, 1))):
                self.wrong("any_order", "is True, but effects that change places leave the family", "set it to False")
        if structure.pair and dim == 2:
            for rho in (-0.9, -0.5, 0.5, 0.9):
                sd = np.array([1.0, 1.0 if structure.pair == "equal" else 2.0])
                if not self.holds(np.outer(sd, sd) * np.array([[1.0, rho], [rho, 1.0]])):
                    self.wrong(
                        "pair", f"is {structure.pair!r}, but not every such matrix of 2 effects is here", 'set it to ""'
                    )

    def some_of(self, member: Structure) -> Iterator[np.ndarray]:
        for _ in range(3):
            xi = self.rng.uniform(0.3, 2.0, member.n_free(self.dim))
            yield np.asarray(member.psi(xi, self.dim), float)

    def holds(self, matrix: np.ndarray) -> bool:
        """Whether a matrix belongs to the family, for some rho between the limits."""
        tau = self.split(np.asarray(matrix))[0]
        near = np.repeat(tau[:, None], self.rho.shape[1], axis=1)
        psi = self.array("compose", (self.dim, self.dim, near.shape[1]), near, self.rho, self.dim)
        apart = np.abs(psi - np.asarray(matrix)[:, :, None]).max((0, 1))
        return bool(np.nanmin(apart) <= 4 / STEPS * np.abs(matrix).max())


def _in_register(structure: Structure, dim: int) -> None:
    """Files keep the plain form, of which a reader makes the structure again."""
    plain, family = structure.to_json(), type(structure)
    name = plain if isinstance(plain, str) else plain.get("name") if isinstance(plain, dict) else None
    if name != structure.name:
        what, remedy = f"returns {shown(plain)}", f"it must be '{structure.name}', or a dict with it as 'name'"
        raise problem(structure, dim, "to_json", what, remedy)
    if REGISTER.get(structure.name) is not family:
        other = REGISTER.get(structure.name)
        what = "is not in the register" if other is None else f"is the name of {other.__module__}.{other.__name__}"
        remedy = "put @bm.structures.register above the class, with a name of its own"
        raise problem(structure, dim, "name", what, remedy)
    arguments = {} if isinstance(plain, str) else {key: value for key, value in plain.items() if key != "name"}
    again = called(structure, dim, "to_json", lambda: family(**arguments))
    if again != structure:
        what, remedy = f"returns {shown(plain)}, of which another is made", "it must hold all arguments of the class"
        raise problem(structure, dim, "to_json", what, remedy)


def _within(A: np.ndarray, B: np.ndarray) -> bool:
    """Whether the columns of A are combinations of those of B."""
    if not A.size:
        return True
    left = A - B @ np.linalg.lstsq(B, A, rcond=None)[0] if B.size else A
    return bool(np.abs(left).max() <= 1e-4 * max(np.abs(A).max(), 1e-300))
