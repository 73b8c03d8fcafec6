"""What a task's future is told when it is not a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shmring.workers.failures import SentError, WorkerDied, how_it_ended

if TYPE_CHECKING:
    from shmring.workers.crew import Member
    from shmring.workers.parcels import Parcel
    from shmring.workers.tasks import Task


def sent(parcel: Parcel) -> BaseException:
    """An exception from a worker."""
    return SentError(*parcel.value()).exception()


def of_result(problem: BaseException, task: Task) -> BaseException:
    """A result that cannot be taken in here."""
    problem.add_note(f"(raised as the result of {_title(task)} was unpickled in this process)")
    return problem


def _title(task: Task) -> str:
    return str(getattr(task.function, "__qualname__", repr(task.function)))


def obituary(member: Member, task: Task) -> WorkerDied:
    """The worker of a task has died with it."""
    tried = "retries= runs such tasks again elsewhere"
    if task.attempts > 1:
        tried = f"the task had been begun {task.attempts} times, on other workers before"
    return WorkerDied(
        f"worker {member.pid} {how_it_ended(member.exitcode)} while it ran {_title(task)}; the pool goes on without "
        f"it, and {tried}",
        member.pid,
        member.exitcode,
    )
