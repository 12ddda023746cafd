"""What a reference distribution answers: degrees of freedom of one contrast, and of several together."""

from abc import ABC, abstractmethod

from bayesmeta._typing import FloatArray


class NoTestError(Exception):
    """There is no test of these contrasts, for the reason in the message."""


class Calibration(ABC):
    """Reference distribution of contrasts of the coefficients."""

    @abstractmethod
    def single(self, contrast: FloatArray) -> float:
        """Degrees of freedom of t for one contrast (P,), infinite for the normal distribution."""

    @abstractmethod
    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        """Denominator degrees of freedom of F for contrasts (P, q), and the factor of the Wald statistic over q."""


class Constant(Calibration):
    """The same degrees of freedom for all contrasts."""

    def __init__(self, df: float) -> None:
        self.df = df

    def single(self, contrast: FloatArray) -> float:
        return self.df

    def joint(self, contrasts: FloatArray) -> tuple[float, float]:
        return self.df, 1.0
