"""Runs: their options, the work itself, worker processes, and resuming."""

from xai_adapters.benchmark.run.description import RunDescription
from xai_adapters.benchmark.run.environment import describe_environment
from xai_adapters.benchmark.run.options import RunOptions
from xai_adapters.benchmark.run.runner import run_benchmark

__all__ = ["RunDescription", "RunOptions", "describe_environment", "run_benchmark"]
