"""What these tests take from those of rings."""

from tests.ring.conftest import gate, start

__all__ = ["gate", "start"]
