"""`python -m trine.cli`, where the command `trine` is not on the path."""

from trine.cli.main import app

app(prog_name="trine")
