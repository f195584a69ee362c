"""The report of a run: tables, curves and pictures in one HTML file."""
