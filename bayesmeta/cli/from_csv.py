"""From tables of studies: a model typed after a CSV file, a model file for it, and effects from its counts."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bayesmeta._validation import did_you_mean, listing
from bayesmeta.cli.app import echo
from bayesmeta.datasets.csv_files import read_csv
from bayesmeta.effects.arms import Arms
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.atomic import write_file
from bayesmeta.model_files.effects_table import function_of, with_effects
from bayesmeta.model_files.model_file import Analysis, analysis_from_text
from bayesmeta.model_files.written import commented_model, model_text
from bayesmeta.tree.files import check_place

CSV, TOML = ".csv", ".toml"
OPTIONS = ("events", "total", "no_events", "time", "mean", "sd", "n", "r", "t", "p")  # of `bayesmeta effects`


@dataclass(frozen=True)
class Typed:
    """A model as it is typed after a CSV file; empty where the models are those of a model file."""

    formula: str | None
    variance: list[str]
    se: list[str]
    random: list[str]
    psi: str | None
    measure: str | None
    save_model: Path | None

    def names(self) -> list[str]:
        """Those parts that were typed, as on the command line."""
        typed = [field.name for field in fields(self) if getattr(self, field.name)]
        return [name.upper() if name == "formula" else f"--{name.replace('_', '-')}" for name in typed]


def typed_analysis(file: Path, typed: Typed) -> Analysis | None:
    """The analysis of one model that was typed after a CSV file; None where the file is another."""
    if file.suffix.lower() != CSV:
        if typed.names():
            raise SpecError(
                f"{listing(typed.names())} are for CSV files; {file} is a model file, which has models of its own\n"
                f'  bayesmeta fit data.csv "y ~ 1" --variance v'
            )
        return None
    if not file.is_file():
        raise DataError(f"no file {file}\n  check the path; it is relative to the folder in which the command runs")
    columns = read_csv(file).columns
    if not typed.formula:
        raise SpecError(
            f"{file} is a table, and a formula must follow it\n"
            f'  bayesmeta fit {file} "y ~ 1" --variance v   with names of its columns: {listing(columns)}\n'
            f"  bayesmeta init {file}   writes a model file for it"
        )
    if bool(typed.variance) == bool(typed.se):
        raise SpecError(
            f"{file}: name the column of sampling variances by --variance, or that of standard errors by --se\n"
            f"  columns: {listing(columns)}"
        )
    text = _text_of(file, typed)
    if typed.save_model:
        _write_model(typed.save_model, text, file)
        echo(f"Model written to {typed.save_model}")
    return analysis_from_text(text, file)


def _text_of(file: Path, typed: Typed) -> str:
    model: dict[str, Any] = {"formula": typed.formula, "S": typed.variance, "se": typed.se, "random": typed.random}
    return model_text(file, {**model, "psi": typed.psi, "measure": typed.measure})


def init(file: Path, out: Path | None) -> None:
    if not file.is_file():
        raise DataError(f"no file {file}\n  check the path; it is relative to the folder in which the command runs")
    path = out or Path(f"{file.stem}{TOML}")
    _write_model(path, commented_model(file, read_csv(file)), file)
    echo(f"Model written to {path}\n  bayesmeta fit {path}   fits it, once its columns are right")


def _write_model(path: Path, text: str, data: Path) -> None:
    """Write a model file, beside its data or above them; none that is there already is lost."""
    check_place(path, "model file", [data])
    if path.suffix != TOML:
        raise SpecError(
            f"{path}: a model file ends in {TOML}{did_you_mean(path.suffix, [TOML])}"
            f"\n  give it as --out {path.with_suffix(TOML).name}"
        )
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise DataError(f"{path} exists; it is not overwritten\n  give another name, or remove it")
    if path.resolve().parent != data.resolve().parent:
        raise SpecError(
            f"{path}: a model file stands in the folder of its data, {data.resolve().parent}"
            f"\n  give it as --out {data.resolve().parent / path.name}"
        )
    write_file(path, text)


def effects(
    file: Path,
    measure: str | None,
    columns: Mapping[str, str | None],
    settings: Sequence[str],
    function: str | None,
    out: Path | None,
) -> None:
    named = {name: _value(text) for name, text in columns.items() if text}
    written: dict[str, Any] = {**named, **dict(map(_setting, settings))}
    written |= {key: value for key, value in (("measure", measure), ("function", function)) if value}
    which = f"--function {function}" if function else f"--measure {measure}"
    call, arguments = function_of(written, "bayesmeta effects")
    _check_options(call, which, named, arguments)
    if not file.is_file():
        raise DataError(f"no file {file}\n  check the path; it is relative to the folder in which the command runs")
    path = check_place(out or Path(f"{file.stem}_effects{CSV}"), "CSV file", [file])
    if path.suffix.lower() != CSV:
        raise SpecError(
            f"{path}: effects are written as {CSV}{did_you_mean(path.suffix, [CSV])}"
            f"\n  give it as --out {path.with_suffix(CSV).name}"
        )
    data = read_csv(file)
    table = with_effects(data, written, "bayesmeta effects")
    write_file(path, table.to_csv(index=False))
    new = [name for name in table.columns if name not in data.columns]
    echo(f"{listing(new)} of {table[new[0]].notna().sum() if new else 0} of {len(table)} rows written to {path}")
    if new == ["y", "v"]:
        echo(f'  bayesmeta fit {path} "y ~ 1" --variance v --measure {table.attrs.get("measure", "generic")}')


def _check_options(call: Any, which: str, named: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """SpecError for an option that the function has not, one that it needs, or a pair that is none."""
    parameters = {name: each for name, each in inspect.signature(call).parameters.items() if name != "data"}
    takes = [name for name in parameters if name in OPTIONS]
    if others := [name for name in named if name not in parameters]:
        raise SpecError(f"{which} takes {_options(takes) or '--set NAME=VALUE'}, not {_options(others)}")
    needed = [name for name, each in parameters.items() if each.default is each.empty and name not in arguments]
    if needed:
        sets = listing(f"--set {name}=..." for name in needed if name not in OPTIONS)
        raise SpecError(f"{which} needs {', '.join(filter(None, [_options(n for n in needed if n in OPTIONS), sets]))}")
    for name, value in named.items():
        if parameters[name].annotation in (Arms, Arms | None) and (not isinstance(value, list) or len(value) != 2):
            text = ",".join(value) if isinstance(value, list) else str(value)
            raise SpecError(f"--{name.replace('_', '-')} is {text!r}; it must be two columns, TREATED,CONTROL")


def _value(text: str) -> Any:
    """A number, true or false, a column, or several that commas part."""
    with suppress(ValueError):
        return float(text)
    words = {"true": True, "false": False}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    parts = [part.strip() for part in text.split(",")]
    return parts[0] if len(parts) == 1 else parts


def _setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, whose value is a number, true or false, a column, or several that commas part."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SpecError(f"--set is {text!r}; it must be NAME=VALUE, such as r=0.5")
    return name.strip(), _value(value)


def _options(names: Any) -> str:
    return listing(f"--{name.replace('_', '-')}" for name in names)
