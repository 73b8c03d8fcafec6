"""iceoryx2: publish and subscribe in shared memory, by loan and by memmove into it, as its Python examples do.

It has no blocking receive. Spinning asks again and again; the event variant notifies for each message and sleeps in a
listener, as its event-based example does. A full subscriber makes the publisher retry, and the history is not used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from ..channel import BROADCAST, BYTES, FAN_IN, FRAMES, ONE_TO_ONE, Channel, Contestant, Shape

_MOST_BUFFERED = 4096


class PublishSubscribe(Channel):
    """Each participant has a node of its own; names and files carry the trial's tag."""

    settle = 0.1
    events = False
    views = False

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import iceoryx2  # noqa: F401 (to fail here when it is missing)

    def _service(self, iox2: Any) -> Any:
        iox2.set_log_level(iox2.LogLevel.Error)
        config = iox2.config.default()
        config.global_cfg.root_path = iox2.Path.new(self.shape.folder + "/")
        config.global_cfg.prefix = iox2.FileName.new(f"{self.shape.tag}_")
        disabled = iox2.SignalHandlingMode.Disabled
        node = iox2.NodeBuilder.new().config(config).signal_handling_mode(disabled).create(iox2.ServiceType.Ipc)
        name = iox2.ServiceName.new(self.shape.tag)
        ports = max(self.shape.producers, self.shape.consumers, 2)
        self.buffered = max(2, min(_MOST_BUFFERED, self.shape.slots))
        self.service = (
            node.service_builder(name)
            .publish_subscribe(iox2.Slice[ctypes.c_uint8])
            .enable_safe_overflow(False)
            .subscriber_max_buffer_size(self.buffered)
            .max_publishers(ports)
            .max_subscribers(ports)
            .max_nodes(2 * ports + 2)
            .open_or_create()
        )
        if self.events:
            self.event = node.service_builder(name).event().open_or_create()
        self.node = node
        return self.service

    def sender(self, number: int) -> Callable[[Any], object]:
        import iceoryx2 as iox2

        length = self.shape.length
        publisher = (
            self._service(iox2)
            .publisher_builder()
            .initial_max_slice_len(length)
            .backpressure_strategy(iox2.BackpressureStrategy.RetryUntilDelivered)
            .create()
        )
        self.port = publisher
        loan, move = publisher.loan_slice_uninit, ctypes.memmove
        frames = self.views
        notify = self.event.notifier_builder().create().notify if self.events else None

        def put(message: Any) -> None:
            sample = loan(length)
            move(sample.payload_ptr, message.ctypes.data if frames else message, length)
            sample.assume_init().send()
            if notify:
                notify()

        return put

    def receiver(self, number: int) -> Callable[[], Any]:
        import iceoryx2 as iox2

        subscriber = self._service(iox2).subscriber_builder().buffer_size(self.buffered).create()
        self.port = subscriber
        receive, read, length = subscriber.receive, ctypes.string_at, self.shape.length
        listener = self.event.listener_builder().create() if self.events else None
        held: list[Any] = []

        def take() -> Any:
            sample = receive()
            while sample is None:
                if listener:
                    listener.blocking_wait()
                sample = receive()
            return sample

        def get() -> bytes:
            sample = take()  # kept until it is read: its slot is given back with it
            return read(sample.payload_ptr, length)

        def view() -> memoryview:
            held[:] = [take()]
            return held[0].payload().as_memory_view()  # type: ignore[no-any-return]

        return view if self.views else get

    def leave(self) -> None:
        del self.port


class WithEvents(PublishSubscribe):
    """A notification for each message; the receiver sleeps."""

    events = True


class Frames(PublishSubscribe):
    """Read in place."""

    views = True


_PATTERNS = frozenset({ONE_TO_ONE, FAN_IN, BROADCAST})
CONTESTANTS = (
    Contestant(
        "iceoryx2, spinning",
        PublishSubscribe,
        distribution="iceoryx2",
        patterns=_PATTERNS,
        carries=frozenset({BYTES}),
        spins=True,
    ),
    Contestant("iceoryx2, events", WithEvents, distribution="iceoryx2", patterns=_PATTERNS, carries=frozenset({BYTES})),
    Contestant(
        "iceoryx2, spinning, in place",
        Frames,
        distribution="iceoryx2",
        patterns=_PATTERNS,
        carries=frozenset({FRAMES}),
        arrays=True,
        reuses=True,
        spins=True,
    ),
)
