"""The command line."""

from bayesmeta.cli.app import app as app
