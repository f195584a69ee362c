"""What worker processes of tests run; they import it by name, which they cannot do with a test."""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import Connection

from xai_adapters.utils.process_pool import serve_requests


def answer(request: str) -> str:
    if request == "exit":
        os._exit(3)
    if request == "wait":
        threading.Event().wait()
    return request.upper()


def serve(connection: Connection, payload: bytes) -> None:
    serve_requests(connection, lambda request: payload.decode() + answer(request))


def break_down(connection: Connection, payload: bytes) -> None:
    os._exit(1)
