"""Executes the notebooks and writes their outputs back: `python -m tests.support.make_notebooks [name ...]`."""

import asyncio
import sys
from pathlib import Path
from time import perf_counter

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
# with few draws the chains have reason to be complained of, and nobody reads what they say
_QUIET = "import warnings, bayesmeta\nwarnings.filterwarnings('ignore', category=bayesmeta.ConvergenceWarning)"


def execute(path: Path, *, quiet: bool = False) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new kernel, started in the notebook's directory.

    quiet : without the warnings about convergence.
    """
    notebook = nbformat.read(path, as_version=4)
    hidden = [nbformat.v4.new_code_cell(_QUIET)] if quiet else []
    notebook.cells = hidden + notebook.cells
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False, resources={"metadata": {"path": path.parent}}
    )
    asyncio.run(client.async_execute())  # the synchronous one leaves event loops open, in threads
    notebook.cells = notebook.cells[len(hidden) :]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    for count, cell in enumerate(code, start=1):
        cell.metadata = {}
        cell.execution_count = count
        for output in cell.outputs:
            output.pop("metadata", None) if output.output_type == "stream" else output.update(metadata={})
            if "execution_count" in output:
                output.execution_count = count
    return notebook


def main(names: list[str]) -> None:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not names or path.stem in names:
            start = perf_counter()
            nbformat.write(execute(path), path)
            print(f"{path.stem}: {perf_counter() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
