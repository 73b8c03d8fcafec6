"""A camera and three readers of its frames: one keeps up, one is slow, one is killed. Nobody waits for anybody.

camera ──publish──> Topic, overflow="overwrite" ──┬─> shows every frame
                                                  ├─> looks at one now and then, and knows what it missed
                                                  └─> dies in the middle; nobody notices
"""

import os
import signal
import sys
import time
from multiprocessing import get_context

import numpy

import shmring

NAME = sys.argv[1] if len(sys.argv) > 1 else "camera"
FRAMES, HEIGHT, WIDTH = 200, 240, 320


def show() -> None:
    with shmring.Topic.attach(NAME, timeout=10) as topic, topic.subscribe("oldest") as frames:
        shown = sum(1 for frame in frames if frame.shape == (HEIGHT, WIDTH, 3))
        print(f"shown {shown}, lost {frames.lost}", flush=True)


def look_now_and_then() -> None:
    with shmring.Topic.attach(NAME, timeout=10) as topic, topic.subscribe("oldest") as frames:
        seen = 0
        for frame in frames:
            assert (frame == frame[0, 0, 0]).all()  # a whole frame, never half of the next one
            seen += 1
            time.sleep(0.02)
        print(f"slow: looked at {seen}, missed {frames.lost}, together {seen + frames.lost}", flush=True)


def die() -> None:
    with shmring.Topic.attach(NAME, timeout=10) as topic, topic.subscribe("oldest") as frames:
        frames.get()
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    spawn = get_context("spawn")
    with shmring.Topic.create(NAME, capacity="4 MiB", overflow="overwrite", codec="numpy") as camera:
        readers = [spawn.Process(target=target) for target in (show, look_now_and_then, die)]
        for reader in readers:
            reader.start()
        while len(camera.stats().subscribers) < 3:
            time.sleep(0.01)
        for number in range(FRAMES):
            camera.publish(numpy.full((HEIGHT, WIDTH, 3), number, dtype="uint8"))
            time.sleep(0.002)
        camera.shutdown()
        for reader in readers:
            reader.join()


if __name__ == "__main__":
    main()
