"""Text for a paper: what `methods` does."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from bayesmeta._validation import check_probability
from bayesmeta.cli.app import FAILED, echo, fail
from bayesmeta.cli.as_json import json_text
from bayesmeta.cli.inference_options import Tested
from bayesmeta.cli.presentation import read_results
from bayesmeta.cli.run_models import chosen_models
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.fit import fit
from bayesmeta.inference.reference import declare
from bayesmeta.io.toml_files import is_declared
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.summaries.methods_text import MethodsText, methods_text
from bayesmeta.tree.response import Scale

Form = Literal["text", "markdown", "latex"]


def methods(
    file: Path,
    model: str | None,
    scale: Scale | None,
    prob: float,
    tested: Tested,
    form: Form,
    json: bool,
    outside: bool,
) -> None:
    """Print the text of every model; those of a model file are fitted by its methods."""
    check_probability(prob, "--prob")
    texts: dict[str, MethodsText] = {}
    failures: dict[str, BayesmetaError] = {}
    for name, text in _texts(file, model, scale, prob, tested, outside):
        if isinstance(text, BayesmetaError):
            failures[name] = text
        else:
            texts[name] = text
    if failures and not texts:
        raise next(iter(failures.values()))
    if json:
        record = {"file": str(file), "prob": prob, "results": {name: asdict(text) for name, text in texts.items()}}
        echo(json_text({**record, "failures": {name: str(error) for name, error in failures.items()}}))
    for name, text in {} if json else texts.items():
        echo(_heading(name, form) * (len(texts) > 1) + _written(text, form))
    if failures:
        lines = "\n".join(f"{name}: {error}" for name, error in failures.items())
        fail(f"Error: {len(failures)} failed\n{lines}", FAILED)


def _texts(
    file: Path, model: str | None, scale: Scale | None, prob: float, tested: Tested, outside: bool
) -> Iterator[tuple[str, MethodsText | BayesmetaError]]:
    """Name and text of every model, or why there is none."""
    if not is_declared(file):
        trees = read_results(file, model)
        tested.check(trees.values())
        yield from ((name, methods_text(tree, prob, scale, **tested.of(tree))) for name, tree in trees.items())
        return
    analysis = load_analysis(file, allow_outside=outside)
    for name in chosen_models(analysis, model):
        declared = analysis.models[name]
        try:
            tree = fit(declared.spec, method=declared.method)
            declare(tree, declared.inference)
            tested.check([tree])
            yield name, methods_text(tree, prob, scale, **tested.of(tree))
        except BayesmetaError as error:
            yield name, error


def _heading(name: str, form: Form) -> str:
    return {"text": f"== {name}\n\n", "markdown": f"# {name}\n\n", "latex": f"% {name}\n\n"}[form]


def _written(text: MethodsText, form: Form) -> str:
    if form == "text":
        return f"{text}\n"
    return f"{text.to_markdown() if form == 'markdown' else text.to_latex()}\n"
