"""The outcome of a run: means, statistics, ranking, files, and the comparison of two runs."""
