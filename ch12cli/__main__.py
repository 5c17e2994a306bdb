"""`python -m ch12cli`: the same as `ch12`."""

from ch12cli.cli.main import program

program()
