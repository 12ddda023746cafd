"""The command line: `bayesmeta COMMAND`, one module for each group of commands."""

from bayesmeta.cli import presentation, replication, run_models
from bayesmeta.cli.app import app as app

for _commands in (run_models, presentation, replication):
    _commands.register(app)
