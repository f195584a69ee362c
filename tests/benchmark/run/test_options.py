"""One model for the options of a run: Python, flags, files and results.json."""

from __future__ import annotations

import inspect
import json
from typing import Any

import benchmark_toys as toys
import numpy as np
import pytest

from xai_adapters.benchmark.run.description import RunDescription
from xai_adapters.benchmark.run.options import RunKeywords, RunOptions
from xai_adapters.benchmark.run.runner import run_benchmark, run_with_options
from xai_adapters.errors import InvalidInputError, UnknownNameError, UnknownOptionError


def test_keyword_arguments_are_the_options() -> None:
    assert set(RunKeywords.__annotations__) == set(RunOptions.model_fields)
    signature = inspect.signature(run_benchmark)
    assert set(RunOptions.model_fields) <= set(signature.parameters)
    assert signature.parameters["time_limit"].default == 300
    documented = inspect.getdoc(run_benchmark)
    assert documented is not None
    assert all(f"\n    {name}: " in documented for name in RunOptions.model_fields)


def test_an_unknown_option_is_named_with_the_call_and_the_nearest_option() -> None:
    with pytest.raises(UnknownOptionError, match=r"^run_benchmark has .* 'sed'.*'seed'"):
        run_benchmark(toys.task(), sed=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1, is 0"),
        ({"seeds": 1.5}, "seeds must be a whole number, is 1.5"),
        ({"seed": "3"}, "seed must be a whole number, is '3'"),
        ({"seed": True}, "seed must be a whole number, is True"),
        ({"block_size": 0}, "block_size must be at least 1, is 0"),
        ({"time_limit": 0}, "time_limit must be more than 0, is 0"),
        ({"time_limit": float("nan")}, "time_limit must be more than 0, is nan"),
        ({"fit_limit": "soon"}, "fit_limit must be a number, is 'soon'"),
        ({"metrics": "masking"}, "metrics must be a list of texts, is 'masking'"),
        ({"fills": [1]}, "fills must be a list of texts, is 1"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_it_must_be(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"^{message}"):
        run_benchmark(toys.task(), ["random"], **options)


def test_unknown_metrics_and_fills_are_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'masking'"):
        RunOptions.parse({"metrics": ["maskin"]})
    with pytest.raises(UnknownNameError, match="Did you mean 'gray'"):
        RunOptions.parse({"fills": ["grey"]})


def test_numbers_of_numpy_are_numbers() -> None:
    options = RunOptions.parse({"seed": np.int64(3), "time_limit": np.float32(2)})
    assert (options.seed, options.time_limit) == (3, 2.0)
    assert json.loads(json.dumps(options.to_dict()))["seed"] == 3


def test_the_options_are_read_back_from_the_results() -> None:
    described = RunDescription.parse(
        {"task": f"{toys.MODULE}:task", "explainers": [toys.EXPLAINERS[2]], "seed": 2, "limit": 3}
    )
    results = run_with_options(described.load_task(), described.explainers, described)
    settings = json.loads(results.to_json())["settings"]
    assert RunDescription.parse(settings) == described.replaced({"jobs": 1})
