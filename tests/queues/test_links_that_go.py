"""A process keeps off the memory of a link that others have finished meanwhile, and given back."""

import asyncio
import random
from collections.abc import Iterator

import pytest

import shmring

SIZES = [1000, 30_000, 70_000, 70_000, 200_000]  # with so little memory, the larger ones have links of their own


@pytest.fixture
def ends(name: str) -> Iterator[tuple[shmring.Queue, shmring.Queue]]:
    """Return two attachments to a queue, whose first ring has 64 KiB."""
    with (
        shmring.Queue(capacity="64 KiB", max_bytes="1 MiB", name=name) as one,
        shmring.Queue(name=name) as other,
    ):
        yield one, other


def go_round(queue: shmring.Queue, chance: random.Random) -> None:
    """Link further rings, and leave, finish and bury them."""
    put = 0
    for _ in range(chance.randrange(1, 6)):
        try:
            queue.put(bytes(chance.choice(SIZES)), timeout=0)
        except shmring.Full:
            break
        put += 1
    for _ in range(put):
        queue.get(timeout=10)


def test_a_put_where_the_last_one_was(ends) -> None:
    one, other = ends
    chance = random.Random(1)
    for number in range(200):
        one.put((number, bytes(chance.choice(SIZES))), timeout=10)
        assert other.get(timeout=10)[0] == number
        go_round(other, chance)
    assert one._chain._links[0] > 50


def test_a_get_where_the_last_one_was(ends) -> None:
    one, other = ends
    chance = random.Random(1)
    for number in range(200):
        other.put((number, bytes(chance.choice(SIZES))), timeout=10)
        assert one.get(timeout=10)[0] == number
        go_round(other, chance)
        with pytest.raises(shmring.Empty):
            one.get_nowait()


class Undecodable:
    """Fails where it is got, and is handed back."""

    def __init__(self, size: int) -> None:
        self.padding = bytes(size)

    def __reduce__(self) -> tuple[object, ...]:
        return fail, (self.padding,)


def fail(padding: bytes) -> None:
    """What an Undecodable is on arrival."""
    raise RuntimeError


def test_a_message_that_is_handed_back_after_the_queue_has_gone_on(ends) -> None:
    one, other = ends
    chance = random.Random(1)
    for _ in range(100):
        go_round(other, chance)
        other.put(Undecodable(chance.choice(SIZES)), timeout=10)
        with pytest.raises(shmring.DecodeError) as caught:
            one.get(timeout=10)
        one.skip(caught.value)


def test_tasks_that_wait_as_the_queue_goes_on(ends) -> None:
    one, other = ends
    chance = random.Random(1)

    async def main() -> None:
        for number in range(100):
            waiting = asyncio.create_task(one.aget(timeout=10))
            await asyncio.sleep(0)
            other.put((number, bytes(chance.choice(SIZES))), timeout=10)
            if number % 2:
                assert other.get(timeout=10)[0] == number
                go_round(other, chance)
                other.put((number, b""), timeout=10)
            assert (await waiting)[0] == number

    asyncio.run(main())


def test_a_look_at_a_queue_that_goes_on_sees_no_damage(ends, start) -> None:
    one, other = ends
    chance = random.Random(1)
    child = start(lambda queue: [go_round(queue, chance) for _ in range(300)], other)
    for _ in range(200):
        assert shmring.inspect(one.name).name == one.name
    child.result()
