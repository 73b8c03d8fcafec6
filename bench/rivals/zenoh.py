"""eclipse-zenoh: publisher and subscriber as peers, payloads in its shared memory, as its z_pub_shm example does.

CongestionControl.BLOCK makes a publisher wait; a FifoChannel is drained by recv. Peers meet over a Unix socket, since
looking for each other by multicast takes seconds and may be forbidden. Its watchdog drops messages whose receiver did
not run for 100 ms (eclipse-zenoh/zenoh issue 2628), so on a machine with more work than CPUs it may be shown as losing
some.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ..channel import BROADCAST, BYTES, ONE_TO_ONE, Channel, Contestant, Shape

_KEY = "bench"


class SharedMemory(Channel):
    """A session in every participant; the producer listens."""

    settle = 0.5

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import zenoh  # noqa: F401 (to fail here when it is missing)

    def _session(self, listen: bool) -> Any:
        import zenoh

        zenoh.init_log_from_env_or("error")
        config = zenoh.Config()
        address = [f"unixsock-stream/{self.shape.folder}/zenoh"]
        options: dict[str, Any] = {
            "mode": "peer",
            "scouting/multicast/enabled": False,
            "transport/shared_memory/enabled": True,
            "listen/endpoints": address if listen else [],
        }
        if not listen:
            options["connect/endpoints"] = address
        for name, value in options.items():
            config.insert_json5(name, json.dumps(value))
        self.session = zenoh.open(config)
        return zenoh

    def sender(self, number: int) -> Callable[[Any], object]:
        zenoh = self._session(listen=True)
        publisher = self.session.declare_publisher(_KEY, congestion_control=zenoh.CongestionControl.BLOCK)
        room = max(self.shape.capacity, 8 * self.shape.length)
        provider = zenoh.shm.ShmProvider.default_backend(room)
        policy = zenoh.shm.BlockOn(zenoh.shm.GarbageCollect())
        alloc, put, length = provider.alloc, publisher.put, self.shape.length
        while not publisher.matching_status.matching:
            time.sleep(0.01)

        def send(message: bytes) -> None:
            buffer = alloc(length, policy=policy)
            buffer[:] = message
            put(buffer)

        return send

    def receiver(self, number: int) -> Callable[[], Any]:
        zenoh = self._session_when_there()
        subscriber = self.session.declare_subscriber(_KEY, zenoh.handlers.FifoChannel(256))
        receive = subscriber.recv
        self.subscriber = subscriber
        return lambda: receive().payload.to_bytes()

    def _session_when_there(self) -> Any:
        while True:
            try:
                return self._session(listen=False)
            except Exception as error:  # zenoh raises its own ZError
                if type(error).__name__ != "ZError":
                    raise
                time.sleep(0.05)

    def leave(self) -> None:
        self.session.close()


CONTESTANTS = (
    Contestant(
        "zenoh shm",
        SharedMemory,
        distribution="eclipse-zenoh",
        patterns=frozenset({ONE_TO_ONE, BROADCAST}),
        carries=frozenset({BYTES}),
        litter=("/dev/shm/*.zenoh",),
    ),
)
