"""Tables of a model file for posteriors: priors and their alternatives, and what is averaged."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from bayesmeta._validation import check_choice, check_keys, check_name, check_number, check_type
from bayesmeta.errors import BayesmetaError, SpecError
from bayesmeta.inference.averaging import KINDS
from bayesmeta.io.toml_files import Place, check_table, check_value, shortened
from bayesmeta.priors.prior import Prior, Priors


@dataclass(frozen=True)
class Average:
    """Which models are averaged, all where there are none, and by which weights, see `bayesmeta.average`."""

    models: tuple[str, ...] = ()
    weights: str | Mapping[str, float] = "posterior"


ALL = Average()


@contextmanager
def placed(place: Place) -> Iterator[None]:
    """Errors of values that others check, with the line of the file; also those that they did not think of."""
    try:
        yield
    except BayesmetaError as error:
        raise type(error)(f"{place}: {error}") from None
    except (TypeError, ValueError, KeyError, ArithmeticError, AttributeError) as error:
        raise SpecError(f"{place} cannot be used: {shortened(str(error))}") from None


def alternatives(written: Any, place: Place) -> dict[str, Priors]:
    """All combinations of the priors that a table lists, by what differs between them."""
    check_table(written, ("beta", "tau", "rho"), place)
    listed: dict[str, list[Any]] = {}
    for block, value in written.items():
        if isinstance(value, list) and not value:
            raise (place / block).error("is empty; it must list priors")
        several = value if isinstance(value, list) else [value]
        places = [place / block / i if isinstance(value, list) else place for i in range(len(several))]
        listed[block] = []
        for one, where in zip(several, places, strict=True):
            with placed(where):
                listed[block].append(getattr(Priors(**{block: _prior(one, block)}), block))
    made: dict[str, Priors] = {}
    for chosen in product(*listed.values()):
        varied = {b: v for b, v in zip(listed, chosen, strict=True) if len(listed[b]) > 1}
        name = ", ".join(f"{block} ~ {_in_words(value)}" for block, value in varied.items())
        if name in made:
            raise place.error(f"lists a prior twice: {name}\n  leave one out")
        made[name] = Priors(**dict(zip(listed, chosen, strict=True)))
    return made


def _in_words(prior: Any) -> str:
    if isinstance(prior, Mapping):
        return "; ".join(f"{name}: {_in_words(each)}" for name, each in prior.items())
    return str(prior)


def _prior(written: Any, where: str) -> Any:
    """A distribution, or a table of them."""
    check_type(written, dict, where)
    if isinstance(written.get("name"), str):
        params = {key: value for key, value in written.items() if key != "name"}
        return Prior(written["name"], **params)
    return {key: _prior(table, f"{where}.{key}") for key, table in written.items()}


def read_average(written: Any, models: Collection[str], place: Place) -> Average:
    """The table [average]."""
    check_table(written, ("models", "weights"), place)
    chosen = (
        names_of_models("average", written["models"], models, place / "models")
        if "models" in written
        else tuple(models)
    )
    if "models" in written and len(chosen) < 2:
        raise (place / "models").error("has one model; there must be at least two to average")
    weights = check_value(written.get("weights", "posterior"), (str, dict), place / "weights")
    with placed(place / "weights"):
        if isinstance(weights, str):
            check_choice(weights, KINDS, "weights")
        else:
            check_keys(weights, chosen, "weights", required=chosen)
            for name, value in weights.items():
                check_number(value, f"of {name}", least=0)
            if not sum(weights.values()) > 0:
                raise SpecError("are all zero; one must be positive")
    return Average(chosen, weights)


def names_of_models(title: str, names: Any, models: Collection[str], place: Place) -> tuple[str, ...]:
    if not check_value(names, list, place):
        raise place.error("is empty; it must list models")
    for position, name in enumerate(names):
        check_name(check_value(name, str, place / position), models, f"{place}: no model", "models")
        if name in names[:position]:
            raise place.error(f"lists model '{name}' twice\n  leave one out")
    return tuple(names)
