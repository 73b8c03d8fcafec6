"""One thing that was looked at."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing looked at. ``verdict`` is "ok", "note" (could be better) or "problem"; ``remedy`` is empty when ok."""

    subject: str
    verdict: str
    finding: str
    remedy: str = ""
