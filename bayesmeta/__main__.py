"""`python -m bayesmeta`, the same as the command `bayesmeta`."""

from bayesmeta.cli import app

if __name__ == "__main__":
    app(prog_name="bayesmeta")
