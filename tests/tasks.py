"""Tasks of an event loop, for tests."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def waiting(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """Start a task and let it come to its wait."""
    task = asyncio.create_task(coroutine)
    for _ in range(6):
        await asyncio.sleep(0)
    assert not task.done()
    return task
