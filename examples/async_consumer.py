"""Several tasks of an event loop share a ring, beside whatever else the loop does; producer.py makes the messages."""

import asyncio

import shmring


async def work(ring: shmring.Ring) -> int:
    done = 0
    async for message in ring:  # a producer in another process, or in this one: it makes no difference
        print(message.decode())
        done += 1
    return done


async def main() -> None:
    async with shmring.Ring.open("greetings", capacity="1 MiB") as ring, asyncio.TaskGroup() as group:
        workers = [group.create_task(work(ring)) for _ in range(3)]
    print(sum(worker.result() for worker in workers), "messages")


asyncio.run(main())
