"""Wait for a state, never for a guess."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], within: float = 30.0, every: float = 0.02) -> Any:
    """The first truthy value of `condition()`, awaited if need be; fails after `within` seconds."""
    last: Any = None
    try:
        async with asyncio.timeout(within):
            while True:
                answer = condition()
                last = await answer if inspect.isawaitable(answer) else answer
                if last:
                    return last
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"not within {within} s; the last answer was {last!r}") from None
