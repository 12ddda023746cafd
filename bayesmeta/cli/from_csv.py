"""From tables of studies: a model typed after a CSV file, a model file for it, and effects from its counts."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bayesmeta import effects as effect_functions
from bayesmeta._validation import check_choice, did_you_mean, listing
from bayesmeta.atomic import write_file
from bayesmeta.cli.app import echo
from bayesmeta.datasets.csv_files import read_csv
from bayesmeta.errors import DataError, SpecError
from bayesmeta.measures import check_measure
from bayesmeta.model_files.model_file import Analysis, analysis_from_text
from bayesmeta.model_files.written import commented_model, model_text
from bayesmeta.tree.files import check_place

CSV, TOML = ".csv", ".toml"
_COUNTS, _MEANS = ("events", "total", "no_events"), ("mean", "sd", "n")
# the function of each measure, and the columns that it takes
_EFFECTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "logor": (effect_functions.odds_ratio, _COUNTS),
    "logrr": (effect_functions.risk_ratio, _COUNTS),
    "rd": (effect_functions.risk_difference, _COUNTS),
    "md": (effect_functions.mean_difference, _MEANS),
    "smd": (effect_functions.hedges_g, _MEANS),
}


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
        raise DataError(f"no file {file}")
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
        raise DataError(f"no file {file}")
    path = out or Path(f"{file.stem}{TOML}")
    _write_model(path, commented_model(file, read_csv(file)), file)
    echo(f"Model written to {path}\n  bayesmeta fit {path}   fits it, once its columns are right")


def _write_model(path: Path, text: str, data: Path) -> None:
    """Write a model file, beside its data or above them; none that is there already is lost."""
    check_place(path, "model file", [data])
    if path.suffix != TOML:
        raise SpecError(f"{path}: a model file ends in {TOML}{did_you_mean(path.suffix, [TOML])}")
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise DataError(f"{path} exists; it is not overwritten\n  give another name, or remove it")
    if path.resolve().parent != data.resolve().parent:
        raise SpecError(f"{path}: a model file stands in the folder of its data, {data.resolve().parent}")
    write_file(path, text)


def effects(file: Path, measure: str, columns: Mapping[str, str | None], out: Path | None) -> None:
    measure = check_choice(check_measure(measure, "--measure"), _EFFECTS, "--measure")
    if not file.is_file():
        raise DataError(f"no file {file}")
    function, takes = _EFFECTS[measure]
    named = {name: _pair(name, text) for name, text in columns.items() if text}
    if others := [f"--{name.replace('_', '-')}" for name in named if name not in takes]:
        raise SpecError(f"--measure {measure} takes {_options(takes)}, not {listing(others)}")
    required = ("events",) if takes == _COUNTS else takes
    if missing := [name for name in required if name not in named]:
        raise SpecError(f"--measure {measure} needs {_options(missing)}, each two columns: TREATED,CONTROL")
    path = check_place(out or Path(f"{file.stem}_effects{CSV}"), "CSV file", [file])
    if path.suffix.lower() != CSV:
        raise SpecError(f"{path}: effects are written as {CSV}{did_you_mean(path.suffix, [CSV])}")
    table = function(read_csv(file), **named)
    write_file(path, table.to_csv(index=False))
    echo(
        f"Effects of {table['y'].notna().sum()} of {len(table)} rows written to {path}\n"
        f'  bayesmeta fit {path} "y ~ 1" --variance v --measure {measure}'
    )


def _pair(name: str, text: str) -> tuple[str, ...]:
    pair = tuple(part.strip() for part in text.split(","))
    if len(pair) != 2 or not all(pair):
        raise SpecError(f"--{name.replace('_', '-')} is {text!r}; it must be two columns, TREATED,CONTROL")
    return pair


def _options(names: Any) -> str:
    return listing(f"--{name.replace('_', '-')}" for name in names)
