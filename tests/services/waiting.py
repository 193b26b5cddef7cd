"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

import pytest


def wait_until(happened: Callable[[], bool], seconds: float, what: str) -> float:
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > seconds:
            pytest.fail(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)
    return time.monotonic() - began
