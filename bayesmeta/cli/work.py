"""What commands do, by module, each loaded when its first command runs: help and completion wait for none of them."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayesmeta.cli import bayesian_questions as bayesian_questions
    from bayesmeta.cli import critical_questions as critical_questions
    from bayesmeta.cli import from_csv as from_csv
    from bayesmeta.cli import inference_options as inference_options
    from bayesmeta.cli import paper_text as paper_text
    from bayesmeta.cli import presentation as presentation
    from bayesmeta.cli import replication as replication
    from bayesmeta.cli import run_models as run_models

_MODULES = (
    *("inference_options", "paper_text", "presentation", "replication", "run_models", "from_csv"),
    *("critical_questions", "bayesian_questions"),
)


def __getattr__(name: str) -> ModuleType:
    if name not in _MODULES:
        raise AttributeError(name)
    return import_module(f"bayesmeta.cli.{name}")
