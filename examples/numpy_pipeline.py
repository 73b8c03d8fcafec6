"""Frames through stages that are processes of their own: a camera, two filters beside each other, and a viewer.

Frames travel in rings of arrays: one copy into a ring, none out of it.
"""

import multiprocessing

import numpy

import shmring

FRAMES, SHAPE = 50, (270, 480)


def camera(frames: shmring.Ring) -> None:
    """Make frames, each one brighter than the last."""
    for number in range(FRAMES):
        frames.put(numpy.full(SHAPE, number, dtype="uint8"))
    frames.shutdown()


def brighten(frames: shmring.Ring, results: shmring.Ring) -> None:
    """Read each frame where it lies, and put what becomes of it into the next ring."""
    while True:
        try:
            with frames.borrow() as frame:
                results.put(frame * numpy.float32(2))
        except shmring.ShutDown:
            return


def main() -> None:
    """Start the stages; sum up what comes out of the last."""
    with (
        shmring.Ring.create(capacity="16 MiB", codec="numpy") as frames,
        shmring.Ring.create(capacity="16 MiB", codec="numpy") as results,
    ):
        start = multiprocessing.get_context("spawn").Process
        stages = [start(target=brighten, args=(frames, results)) for _ in range(2)]
        stages.append(start(target=camera, args=(frames,)))
        for stage in stages:
            stage.start()
        brightest = sum(int(results.get().max()) for _ in range(FRAMES))
        for stage in stages:
            stage.join()
        print(f"{FRAMES} frames, brightness {brightest}")


if __name__ == "__main__":
    main()
