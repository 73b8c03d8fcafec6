"""What signal handlers, and so Ctrl-C, do not come in between: they run in the main thread."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable


def uninterrupted(call: Callable[[], object]) -> None:
    """Have it done, in another thread when this is the main one; raise what it raises.

    An exception of a signal handler ends the wait for it only; the call is made wholly, or not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        call()
        return
    errors: list[BaseException] = []

    def done() -> None:
        try:
            context.run(call)
        except BaseException as error:
            errors.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=done, name="shmring-start", daemon=True)
    thread.start()
    thread.join()
    try:
        for error in errors:
            raise error
    finally:
        errors.clear()  # a traceback refers to this frame
