"""`python -m xai_adapters` runs the command line."""

from xai_adapters.cli import main

main()
