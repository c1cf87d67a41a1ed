"""`python -m pipeline`: the command line."""

from pipeline.cli.parser import main

main()
