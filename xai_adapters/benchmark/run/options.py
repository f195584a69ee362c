"""The options of a run: one model for the command line, files, Python and `results.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from typing_extensions import Self, TypedDict

from xai_adapters.benchmark.metrics.selection import check_names
from xai_adapters.errors import InvalidInputError, UnknownNameError, XaiAdaptersError

# They change no number, only how many there are and how soon: a resumed run may have others.
CHANGEABLE = ("jobs", "time_limit", "fit_limit")

Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda names: tuple(names) if isinstance(names, list) else names),
]


class RunOptions(BaseModel):
    """The options of every run, whatever is compared and however the run is started.

    Example:
        >>> RunOptions.parse({"seeds": 3}).seeds
        3
        >>> RunOptions.parse({"seeds": 0})
        Traceback (most recent call last):
            ...
        xai_adapters.errors.InvalidInputError: seeds must be at least 1, is 0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seed: int = Field(0, description="Seed of the task and the explainers.")
    seeds: int = Field(
        1,
        ge=1,
        description="How often each explainer is made and run, with this many consecutive seeds; "
        "the values of a row are averaged.",
    )
    metrics: Names | None = Field(
        None,
        description="Metrics of attributions: names of `xai-adapters list metrics`, or "
        "quantus:NAME. By default those that are cheap to compute.",
    )
    fills: Names = Field(
        (),
        description="Fills of masked pixels beside the task's own: gray, black, white, mean, blur.",
    )
    block_size: int | None = Field(
        None, ge=1, description="Largest number of rows given to an explainer at once."
    )
    time_limit: float = Field(
        300.0,
        gt=0,
        description="Seconds an explainer may spend explaining. It then gets no further rows, and "
        "a worker process still busy with a block is ended.",
    )
    fit_limit: float = Field(
        1800.0,
        gt=0,
        description="Seconds after which a worker process is ended that is still fitting an "
        "explainer or measuring a block.",
    )
    jobs: int | None = Field(
        None,
        ge=1,
        description="Worker processes; the command line starts 1. Timings are comparable only with "
        "1.",
    )
    threads: int | None = Field(
        None, ge=1, description="torch's threads in each process; sums depend on them."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """Numbers of numpy as Python's."""
        return value.item() if isinstance(value, np.generic) else value

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, metrics: tuple[str, ...] | None) -> tuple[str, ...] | None:
        check_names(metrics or (), ())
        return metrics

    @field_validator("fills")
    @classmethod
    def _known_fills(cls, fills: tuple[str, ...]) -> tuple[str, ...]:
        check_names((), fills)
        return fills

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str = "") -> Self:
        """Options from plain values, by their names with "-" or "_".

        Args:
            values: those of a file, of flags, of a call or of `results.json`.
            source: where they come from, for error messages.

        Raises:
            UnknownNameError: for a name that is no option, with the nearest one.
            InvalidInputError: for a value of the wrong type or out of range.
        """
        named = {str(name).replace("-", "_"): value for name, value in values.items()}
        try:
            options: Self = cls.model_validate(named)
            return options
        except ValidationError as error:
            raise _as_our_error(error.errors()[0], cls, source) from None

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """The same options but for the values that are not None."""
        given = {name: value for name, value in values.items() if value is not None}
        return self.parse({**self.model_dump(exclude_unset=True), **given})

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values; `parse` reads them back."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain


class RunKeywords(TypedDict, total=False):
    """The fields of `RunOptions` as keyword arguments, for completion and type checkers."""

    seed: int
    seeds: int
    metrics: tuple[str, ...] | None
    fills: tuple[str, ...]
    block_size: int | None
    time_limit: float
    fit_limit: float
    jobs: int | None
    threads: int | None


_EXPECTED = {
    "greater_than_equal": "at least {ge}", "greater_than": "more than {gt}",
    "int_type": "a whole number", "float_type": "a number", "string_type": "text",
    "bool_type": "true or false", "tuple_type": "a list of texts",
}  # fmt: skip


def _as_our_error(
    error: Mapping[str, Any], options: type[RunOptions], source: str
) -> XaiAdaptersError:
    """The error of ours that says what one of pydantic's says."""
    name, *inner = error["loc"]
    context, place = error.get("ctx", {}), f" in {source}" if source else ""
    if error["type"] == "extra_forbidden":
        return UnknownNameError(f"option{place}", str(name), options.model_fields)
    if isinstance(raised := context.get("error"), XaiAdaptersError):
        return raised
    expected = _EXPECTED.get("tuple_type" if inner else error["type"], error["msg"])
    limits = {key: f"{limit:g}" for key, limit in context.items() if isinstance(limit, int | float)}
    return InvalidInputError(
        f"{name}{place} must be {expected.format(**limits)}, is {error['input']!r:.60}"
    )
