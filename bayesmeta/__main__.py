"""The command `bayesmeta`, which is also `python -m bayesmeta`."""

import sys


def main() -> None:
    """Run a command; one line where Ctrl-C comes while the commands are still being loaded."""
    try:
        # pandas, xarray and others load with the commands, which leaves time for an interruption
        from bayesmeta.cli import app

        app(prog_name="bayesmeta")
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
