"""The type parameter of ``Ring[bytes]``, ``Queue[int]``, ``Topic[Frame]`` and ``Latest[float]``.

For type checkers only: ``get`` gives the type that ``put`` takes. What a message really is, the codec decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Message = TypeVar("Message", default=Any)
else:
    from typing import TypeVar

    Message = TypeVar("Message")
