"""The command line, `bayesmeta COMMAND`: `commands` is what can be typed, the modules of `work` are what is done."""

from bayesmeta.cli import commands as commands
from bayesmeta.cli.app import app as app
