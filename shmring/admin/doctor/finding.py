"""One thing that was looked at."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at; from :func:`examine`.

    ``verdict`` is "ok", "note" (could be better) or "problem"; ``remedy`` is empty if ok.

    >>> finding = shmring.examine()[0]
    >>> finding.verdict in ("ok", "note", "problem")
    True
    """

    subject: str
    verdict: str
    finding: str
    remedy: str = ""
