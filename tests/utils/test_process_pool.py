from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from served import answer, break_down, serve

from xai_adapters.utils.process_pool import (
    Ended,
    Event,
    Late,
    Said,
    WorkerProcess,
    next_events,
    serve_requests,
)


@contextmanager
def worker(serving: Any = serve) -> Iterator[WorkerProcess]:
    process = WorkerProcess(serving, b"> ")
    try:
        yield process
    finally:
        process.end()


def next_event(*workers: WorkerProcess) -> tuple[WorkerProcess, Event]:
    while True:
        for event in next_events(workers):
            return event


def test_a_worker_answers_one_request_after_another() -> None:
    with worker() as process:
        assert not process.is_ready
        for request in ("one", "two"):
            process.send(request)
            assert next_event(process) == (process, Said(f"> {request.upper()}"))
        assert process.is_ready


def test_a_worker_that_is_late_is_ended_and_the_others_go_on() -> None:
    with worker() as late, worker() as other:
        other.send("one")
        assert next_event(other)[1] == Said("> ONE")
        late.send("wait")
        late.allow(0.1)
        assert next_event(late, other) == (late, Late())
        assert not late._process.is_alive()
        assert other.seconds_left() == math.inf
        other.send("two")
        assert next_event(other) == (other, Said("> TWO"))


def test_what_a_worker_sent_in_time_counts_however_late_it_is_read() -> None:
    with worker() as first, worker() as second:
        for each in (first, second):
            each.send("one")
            assert next_event(each)[1] == Said("> ONE")
        first.send("two")
        first.connection.poll(None)
        events = next_events((first, second))
        assert next(events) == (first, Said("> TWO"))
        # We are busy with the first, while the second finishes and its time runs out.
        second.send("three")
        second.connection.poll(None)
        second.allow(0)
        assert next(events) == (second, Said("> THREE"))


def test_a_request_that_is_larger_than_a_pipe_arrives() -> None:
    with worker() as process:
        process.send("x" * 10_000_000)
        assert next_event(process)[1] == Said("> " + "X" * 10_000_000)


def test_a_worker_that_dies_is_missed() -> None:
    with worker() as process:
        process.send("exit")
        assert next_event(process)[1] == Ended("ended with exit code 3")
        assert process.is_ready
        process.send("a request that nobody hears")


def test_a_worker_that_dies_before_it_serves_was_never_ready() -> None:
    with worker(break_down) as process:
        assert next_event(process)[1] == Ended("ended with exit code 1")
        assert not process.is_ready


@pytest.mark.parametrize("hears", [0, 1, 2])
def test_a_process_ends_quietly_when_its_parent_is_gone(hears: int) -> None:
    class Parent:
        n_heard = 0

        def recv(self) -> str:
            return "request"

        def send(self, said: Any) -> None:
            if self.n_heard == hears:
                raise BrokenPipeError
            self.n_heard += 1

    parent = Parent()
    serve_requests(parent, answer)  # type: ignore[arg-type]
    assert parent.n_heard == hears
