"""`python -m xai_adapters` runs the command line."""

from xai_adapters.cli import main

# Worker processes import this file too.
if __name__ == "__main__":
    main()
