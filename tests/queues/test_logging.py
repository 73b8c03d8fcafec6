"""logging's own queue handler and listener, set up by logging.config as Python 3.12 and later do it."""

import logging
import logging.config
import logging.handlers
import sys
from collections.abc import Callable, Iterator

import pytest

import shmring

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="logging.config knows queues since Python 3.12")

DURABLE: list[shmring.Queue] = []


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Return the root logger, which is as before in the end."""
    logger = logging.getLogger()
    before, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = before
    logger.setLevel(level)


class Kept(logging.Handler):
    """Keeps what it is given."""

    texts: list[str] = []  # noqa: RUF012 - one list for all

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.mark.parametrize(
    "describe",
    [
        lambda queue: queue,
        lambda queue: {"()": "shmring.Queue", "maxsize": 10},
        lambda queue: f"ext://{__name__}.DURABLE",
    ],
    ids=["an object", "a factory", "not a queue"],
)
def test_logging_config_takes_our_queues(describe: Callable, root: logging.Logger) -> None:
    Kept.texts.clear()
    with shmring.Queue() as queue:
        described = describe(queue)
        handlers = {
            "kept": {"()": Kept},
            "queued": {"class": "logging.handlers.QueueHandler", "queue": described, "handlers": ["kept"]},
        }
        configuration = {"version": 1, "handlers": handlers, "root": {"handlers": ["queued"], "level": "INFO"}}
        if isinstance(described, str):
            with pytest.raises(ValueError, match="queued"):
                logging.config.dictConfig(configuration)
            return
        logging.config.dictConfig(configuration)
        (handler,) = root.handlers
        assert isinstance(handler, logging.handlers.QueueHandler)
        assert isinstance(handler.queue, shmring.Queue)
        listener = handler.listener  # type: ignore[attr-defined]
        listener.start()
        logging.info("through a queue")
        listener.stop()
        assert Kept.texts == ["through a queue"]
        handler.queue.close()
