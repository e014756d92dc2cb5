"""`python -m snacks`: the command line. Never run a file of this package by its path."""

from snacks.cli import main

main()
