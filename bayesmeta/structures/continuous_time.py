"""Continuous-time autoregression: one effect for each distinct time, correlated by the distance between times."""

from typing import Any

import numpy as np

from bayesmeta._validation import shown
from bayesmeta.errors import SpecError
from bayesmeta.io.arrays import as_numbers
from bayesmeta.structures.base import Law, Structure, over_data_sets, register
from bayesmeta.structures.correlated import EDGE, Correlated
from bayesmeta.structures.diagonal import Diagonal, Identity

SHORTEST, LONGEST = 1e-3, 1e6  # distance between the first and the last time, in the unit of time
TINY = 1e-30  # of a share, below which no correlation can be told from zero
BEND = 8  # how sharply `decay` turns from the typical to the shortest distance
NO_SLOPE = 1e-8  # correlation at the shortest distance below which its fractional powers have no second derivative


class ContinuousAutoregressive(Correlated):
    """Correlation `rho^|t - s|` between the effects at times t and s; rho, in (0, 1), is that over one unit of time.

    Notes
    -----
    The angle of xi runs from 0, where rho is 0, to pi, where it is 1. Over half of it the correlation at the typical
    distance (the median of all pairs) changes, and near 0 the correlation at the shortest one like its square; so both
    limits are ordinary stationary points, however uneven the spacing and whatever the unit of time.
    """

    arguments = ("time", "positions")
    optional = ("time", "positions")
    call = 'time="month"'
    own_parameters = True

    def __init__(self, time: str | None = None, positions: Any = None) -> None:
        if time is not None and not (isinstance(time, str) and time.strip()):
            raise SpecError(f"time of structure '{self.name}' is {shown(time)}; it must be the name of a column")
        if time is None and positions is None:
            call = f"bm.structures.{type(self).__name__}({self.call})"
            raise SpecError(f"structure '{self.name}' needs the column with the times: {call}")
        self.time = time
        self.positions = None if positions is None else increasing(positions, self.name)

    def placed(self, positions: np.ndarray) -> "ContinuousAutoregressive":
        return type(self)(self.time, positions)

    def check(self, dim: int) -> None:
        if self.positions is None:
            raise SpecError(
                f"structure '{self.name}' has no positions; bm.specify takes them from the column '{self.time}'"
            )
        if len(self.positions) != dim:
            raise SpecError(
                f"structure '{self.name}' has {len(self.positions)} positions; the level has {dim} random effects"
                "\n  leave positions out: bm.specify takes them from the column of times"
            )
        if dim < 2:
            raise SpecError(
                f"structure '{self.name}' needs at least 2 distinct times, "
                f"{f'column {self.time!r}' if self.time else 'positions'} has {len(self.positions)}\n"
                "  use 'id', one variance without a correlation"
            )

    def distances(self) -> np.ndarray:
        """(dim, dim) `|t - s|`."""
        assert self.positions is not None  # what `check` has seen to
        return np.abs(np.subtract.outer(self.positions, self.positions))

    @property
    def typical(self) -> float:
        """Median distance of all pairs of times."""
        lag = self.distances()
        return float(np.median(lag[np.triu_indices(len(lag), 1)]))

    @property
    def shortest(self) -> float:
        """Distance of the two nearest times."""
        assert self.positions is not None
        return float(np.diff(self.positions).min())

    def low(self, dim: int) -> float:
        return 0.0

    def rho_range(self, first: int, second: int, dim: int) -> tuple[float, float]:
        return 0.0, 1.0

    def decay(self, share: Any) -> Any:
        """-log of the correlation at the typical distance, falling in the share q of the range of the angle.

        -log q in the upper half of the range, and log q times the ratio of typical to shortest distance at its end.
        """
        return -np.log(share) * (1 + (self.typical / self.shortest - 1) * (1 - share) ** BEND)

    def decay_slopes(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of `decay`."""
        K, left, log = self.typical / self.shortest - 1, 1 - share, np.log(share)
        level, slope = 1 + K * left**BEND, K * BEND * left ** (BEND - 1)
        first = log * slope - level / share
        second = level / share**2 + 2 * slope / share - log * K * BEND * (BEND - 1) * left ** (BEND - 2)
        return first, second

    def rho_of(self, xi: Any, dim: int) -> Any:
        return np.exp(-self.decay(_share(xi[-1:])) / self.typical)

    def psi(self, xi: Any, dim: int) -> Any:
        """By the decay itself: rho over one unit of time may be beyond the range of numbers."""
        n = self.n_tau(dim)
        tau, decay = abs(xi[:n]), self.decay(_share(xi[-1]))
        scale = tau[0] * tau[0] if self.common else tau[:, None] * tau[None, :]
        return scale * np.exp(-decay * over_data_sets(self.distances() / self.typical, xi))

    def matrix(self, rho: Any, dim: int) -> Any:
        return rho[0] ** over_data_sets(self.distances(), rho)

    def matrix_at(self, xi: Any, dim: int) -> Any:
        """By the decay, as `psi`."""
        return self.correlations(xi)

    def matrix_slopes(self, xi: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        share = _share(xi[-1])
        first, second = self.decay_slopes(share)
        by_angle, bend = np.sin(xi[-1]) / 2, np.cos(xi[-1]) / 2
        slope, bend = first * by_angle, second * by_angle**2 + first * bend
        lag = over_data_sets(self.distances() / self.typical, xi)
        M = np.exp(-self.decay(share) * lag)
        return -lag * slope * M, lag * (lag * slope**2 - bend) * M

    def by_correlation(self, xi: np.ndarray, dim: int) -> tuple[Any, Any]:
        """By the correlation at the shortest distance, of which all others are powers of at least one.

        From the decay, since rho over one unit of time may be beyond the range of numbers.
        """
        power = self.distances() / self.shortest
        c = max(float(np.exp(-self.decay(_share(xi[-1])) * self.shortest / self.typical)), TINY)
        first, second = power * c ** (power - 1), power * (power - 1) * c ** (power - 2)
        steep = (power < 2) & (c < NO_SLOPE)  # without a second derivative where c is zero
        return first, np.where(steep, 0.0, second)

    def correlation_of(self, R: np.ndarray) -> float:
        """Correlation at the typical distance, the median of what neighbouring times say."""
        assert self.positions is not None
        neighbours = np.clip(np.diag(R, 1), 1e-12, 1.0)
        return float(np.exp(np.median(np.log(neighbours) * self.typical / np.diff(self.positions))))

    def start(self, moment: np.ndarray) -> np.ndarray:
        sd = np.sqrt(np.diag(moment))
        with np.errstate(invalid="ignore", divide="ignore"):
            typical = self.correlation_of(np.nan_to_num(moment / np.outer(sd, sd)))
        share = np.clip(self.share_of(-np.log(np.maximum(typical, TINY))), EDGE, 1 - EDGE)
        sds = np.atleast_1d(np.sqrt(np.mean(sd**2))) if self.common else sd
        return np.append(sds, np.arccos(1 - 2 * share))

    def share_of(self, decay: float) -> float:
        """The share q whose `decay` this is, by bisection of its logarithm."""
        low, high = np.log(TINY), 0.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if self.decay(np.exp(middle)) > decay else (low, middle)
        return float(np.exp((low + high) / 2))

    def decompose(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sd = np.sqrt(np.diag(psi))
        tau = np.atleast_1d(np.sqrt(np.mean(sd**2))) if self.common else sd
        rho = self.own_rho(psi)
        inside = np.exp(-self.decay(np.array([1 - 1e-6, 1e-6])) / self.typical)  # of a singular one a little inside
        rho = float(np.exp(-1 / self.typical)) if np.isnan(rho) else float(np.clip(rho, inside[1], inside[0]))
        return tau, np.array([rho])

    def own_rho(self, psi: np.ndarray) -> float:
        sd = np.sqrt(np.diag(psi))
        lag = self.distances() + np.where(np.eye(len(sd), dtype=bool) | (np.outer(sd, sd) == 0), np.inf, 0.0)
        i, j = np.unravel_index(np.argmin(lag), lag.shape)
        if not np.isfinite(lag[i, j]):
            return float("nan")
        return float(np.clip(psi[i, j] / (sd[i] * sd[j]), 0.0, 1.0) ** (1 / lag[i, j]))

    def lkj(self, dim: int, eta: float) -> Law:
        """Of two effects at the typical distance: a matrix of all times has less correlation, the more there are.

        Their correlation r = rho^typical has the density (1 - r^2)^(eta - 1) over (0, 1), whatever the unit of time.
        """
        return Law(0.0, 0.5, eta, 2 * self.typical)

    def directions(self, xi: np.ndarray, dim: int) -> np.ndarray:
        n = self.n_tau(dim)
        R, by_angle = self.correlations(xi), self.matrix_slopes(xi, dim)[0]
        s, sign = np.broadcast_to(np.abs(xi[:n]), (dim, *xi.shape[1:])), np.where(xi[:n] < 0, -1.0, 1.0)
        by_rho = s[:, None] * s[None, :] * by_angle
        if self.common:
            return np.stack([2 * xi[0] * R, by_rho], axis=2)
        own = over_data_sets(np.eye(dim), xi) * sign
        half = R[:, :, None] * own[:, None] * s[None, :, None]
        return np.concatenate([half + half.swapaxes(0, 1), by_rho[:, :, None]], axis=2)

    def correlations(self, xi: np.ndarray) -> np.ndarray:
        """(dim, dim, ...) at xi."""
        lag = over_data_sets(self.distances() / self.typical, xi)
        return np.asarray(np.exp(-self.decay(_share(xi[-1])) * lag))

    def holds(self, other: Structure, dim: int, same_order: bool) -> bool:
        if isinstance(other, ContinuousAutoregressive):
            own, theirs = (None if each.positions is None else each.positions.tolist() for each in (self, other))
            if own != theirs:
                return False
        return super().holds(other, dim, same_order)

    def to_json(self) -> dict[str, Any]:
        positions = None if self.positions is None else self.positions.tolist()
        return {"name": self.name, "time": self.time, "positions": positions}

    def __repr__(self) -> str:
        parts = [] if self.time is None else [f"time={self.time!r}"]
        parts += [] if self.positions is None else [f"positions={self.positions.tolist()}"]
        return f"{type(self).__name__}({', '.join(parts)})"


def _share(angle: Any) -> Any:
    """Share of the range of an angle, 0 at 0 and 1 at pi; never quite 0."""
    half = np.sin(angle / 2)
    return half * half * (1 - TINY) + TINY


def increasing(positions: Any, name: str) -> np.ndarray:
    """Times as floats, after a check that they are finite, increase, and are measured in a unit that fits them."""
    at = np.array(as_numbers(positions, f"positions of structure '{name}'", SpecError), dtype=float)
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all():
        raise SpecError(f"positions of structure '{name}' have shape {at.shape}; give a list of finite numbers")
    if (steps := np.diff(at)).size and steps.min() <= 0:
        where = int(np.argmin(steps))
        raise SpecError(
            f"positions of structure '{name}' must increase; {at[where]:g} is followed by {at[where + 1]:g}"
        )
    span = float(np.ptp(at)) if len(at) else 0.0
    if len(at) > 1 and not SHORTEST <= span <= LONGEST:
        raise SpecError(
            f"positions of structure '{name}' span {span:.3g} units of time; rho is a correlation over one unit, and "
            f"has no digits beyond {SHORTEST:g} to {LONGEST:g}\n  measure time in another unit"
        )
    at.flags.writeable = False
    return at


@register
class CAR1(ContinuousAutoregressive):
    """Continuous-time autoregression with one variance: correlation `rho^|t - s|` between the effects at times t and s.

    rho, between 0 and 1, is the correlation over one unit of time. xi are the SD, whose sign has no meaning, and an
    angle of rho.

    Parameters
    ----------
    time : str, optional
        Column of the data with the times, numbers in any unit and with any spacing. Every distinct time of a group has
        a random effect; estimates of one group at the same time share it. The random part of the level is an intercept.
    positions : array_like, optional
        Times of the effects, increasing. `bm.specify` fills them in from the column `time`; where the model itself has
        an effect for each time, as with an outcome for each, they are given here in the order of the effects.

    Examples
    --------
    >>> CAR1(positions=[3, 6, 12]).compose(np.array([2.0]), np.array([0.9]), 3).round(3)
    array([[4.   , 2.916, 1.55 ],
           [2.916, 4.   , 2.126],
           [1.55 , 2.126, 4.   ]])
    """

    name = "car1"
    synonyms = ("car", "continuous-time ar(1)", "continuous ar1")
    meaning = "continuous-time autoregression with one variance"
    phrase = "a continuous-time autoregressive covariance matrix with one variance"
    members = (Identity,)
    common = stationary = True


@register
class HetCAR1(ContinuousAutoregressive):
    """Continuous-time autoregression with a variance for each time: covariance tau_t tau_s `rho^|t - s|`.

    rho, between 0 and 1, is the correlation over one unit of time. xi are the SDs (>= 0) and an angle of rho.

    Parameters
    ----------
    time : str, optional
        Column of the data with the times, as of `CAR1`.
    positions : array_like, optional
        Times of the effects, as of `CAR1`.

    Examples
    --------
    >>> HetCAR1(positions=[3, 6]).compose(np.array([1.0, 2.0]), np.array([0.9]), 2).round(3)
    array([[1.   , 1.458],
           [1.458, 4.   ]])
    """

    name = "hcar1"
    synonyms = ("hcar",)
    meaning = "continuous-time autoregression with a variance for each time"
    phrase = "a continuous-time autoregressive covariance matrix with a variance for each time"
    loses_effects = True
    members = (CAR1, Diagonal, Identity)
    common = False
