"""Blocking work off the event loop, in a thread of its own: waits in a shared pool would keep releases out of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(
    work: Callable[[], T], stop: threading.Event | None = None, abandoned: Callable[[T], object] | None = None
) -> T:
    """The result of `work`. When the task is cancelled, `stop` is set, the work goes on in the background, and what it
    gives goes to `abandoned`."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            hand_over(result, error)
        elif error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def hand_over(result: T | None, error: BaseException | None) -> None:
        if error is None and abandoned is not None:
            # Off the loop, too.
            threading.Thread(target=abandoned, args=[result], name="botfarm", daemon=True).start()

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop was closed meanwhile.
            hand_over(result, error)

    threading.Thread(target=run, name="botfarm", daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        if stop is not None:
            stop.set()
        if done.done() and not done.cancelled() and done.exception() is None:
            hand_over(done.result(), None)
        raise
