"""Pipelines: a source, stages of worker processes, a sink.

``builder`` putting one together · ``running`` the threads of a run · ``stages`` the account of one stage · ``batches``
what a worker does for it · ``table`` what the terminal shows
"""

from shmring.pipeline.builder import Pipeline
from shmring.pipeline.stages import StageStats

__all__ = ["Pipeline", "StageStats"]
