"""Priors as a paper describes them: families by their names, parameters by what they mean."""

from bayesmeta.priors.prior import Prior

# by name, of the parameters in the order in which they are written; other parametrisations are spelt out
_WORDS = {
    ("Normal", ("mu", "sigma")): "normal with mean {mu} and SD {sigma}",
    ("HalfNormal", ("sigma",)): "half-normal with scale {sigma}",
    ("StudentT", ("mu", "nu", "sigma")): "t with {nu} degrees of freedom, location {mu} and scale {sigma}",
    ("HalfStudentT", ("nu", "sigma")): "half-t with {nu} degrees of freedom and scale {sigma}",
    ("Cauchy", ("alpha", "beta")): "Cauchy with location {alpha} and scale {beta}",
    ("HalfCauchy", ("beta",)): "half-Cauchy with scale {beta}",
    ("LogNormal", ("mu", "sigma")): "log-normal with mean {mu} and SD {sigma} of the logarithm",
    ("LogStudentT", ("mu", "nu", "sigma")): (
        "log-t with {nu} degrees of freedom, location {mu} and scale {sigma} of the logarithm"
    ),
    ("Uniform", ("lower", "upper")): "uniform from {lower} to {upper}",
    ("Exponential", ("lam",)): "exponential with rate {lam}",
    ("Exponential", ("scale",)): "exponential with mean {scale}",
    ("Gamma", ("alpha", "beta")): "gamma with shape {alpha} and rate {beta}",
    ("Gamma", ("mu", "sigma")): "gamma with mean {mu} and SD {sigma}",
    ("InverseGamma", ("alpha", "beta")): "inverse gamma with shape {alpha} and scale {beta}",
    ("Beta", ("alpha", "beta")): "beta with parameters {alpha} and {beta}",
    ("LKJ", ("eta",)): "LKJ with shape {eta}",
    ("Flat", ()): "improper and flat",
}


def in_words(prior: Prior) -> str:
    """A prior to go on after "was", with the digits that tables of priors show.

    >>> in_words(Prior("HalfNormal", sigma=0.25)), in_words(Prior("StudentT", nu=3, mu=0, sigma=2.5))
    ('half-normal with scale 0.25', 't with 3 degrees of freedom, location 0 and scale 2.5')
    >>> in_words(Prior("SkewNormal", mu=0, sigma=1, alpha=2))
    'SkewNormal with mu = 0, sigma = 1, alpha = 2'
    """
    numbers = {name: f"{value:.4g}".replace("-", "\N{MINUS SIGN}") for name, value in prior.params.items()}
    words = _WORDS.get((prior.name, tuple(sorted(numbers))))
    if words is not None:
        return words.format(**numbers)
    return f"{prior.name} with {', '.join(f'{name} = {value}' for name, value in numbers.items())}"
