"""The benchmark: tasks, explainers run on them, metrics, and a report to look at."""
