"""A user's script passes strict type checks against the package."""

import os
import re
import subprocess
import sys
from pathlib import Path

from bayesmeta import errors

README = Path(__file__).parents[2] / "README.md"
PACKAGE = Path(errors.__file__).parent


def test_a_script_of_the_readme_passes_strict_type_checks(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    assert "bm.plots.forest" in script.read_text()
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", script.name]
    paths = {"MYPYPATH": str(PACKAGE.parent)}  # the package under test, silent as an installed one is
    ran = subprocess.run(command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
