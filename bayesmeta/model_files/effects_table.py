"""Effects made from what studies report: `[effects]` of a model file, and the options of `bayesmeta effects`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from bayesmeta import effects
from bayesmeta._validation import check_choice, did_you_mean, listing
from bayesmeta.effects.escalc import recipe_called
from bayesmeta.errors import SpecError

NOT_OF_FILES = ("delta_method", "aggregate")  # they take functions or matrices of Python


def with_effects(data: pd.DataFrame, written: Mapping[str, Any], where: str) -> pd.DataFrame:
    """The data with new columns.

    written : `measure`, the name of an effect size in `bayesmeta.effects`, in escalc or as `specify` has it; or
    `function`, another function of `bayesmeta.effects`; and the arguments of that function.
    """
    function, arguments = function_of(written, where)
    known = [name for name in inspect.signature(function).parameters if name != "data"]
    for key in arguments:
        if key not in known:
            raise SpecError(
                f"{where}: {function.__name__} has no argument '{key}'{did_you_mean(key, known)}\n"
                f"  its arguments: {listing(known, 40)}"
            )
    made = function(data=data, **arguments)
    return made if isinstance(made, pd.DataFrame) else pd.DataFrame(made)


def function_of(written: Mapping[str, Any], where: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function that is meant, and its arguments; `escalc` where they are in its words."""
    arguments = dict(written)
    if "function" in arguments:
        name = check_choice(
            arguments.pop("function"), [n for n in dir(effects) if n not in NOT_OF_FILES], f"{where}: function"
        )
        return getattr(effects, name), arguments
    if "measure" not in arguments:
        raise SpecError(
            f'{where}: \'measure\' is missing\n  such as measure = "odds_ratio"; or function = "from_interval"'
        )
    recipe = recipe_called(arguments["measure"], f"{where}: measure")
    function: Callable[..., Any] = getattr(effects, recipe.function)
    of_escalc = set(inspect.signature(effects.escalc).parameters) - set(inspect.signature(function).parameters)
    if recipe.metafor == recipe.name and (of_escalc - {"measure"}) & set(arguments):
        return effects.escalc, {**arguments, "measure": recipe.name}
    del arguments["measure"]
    return function, arguments
