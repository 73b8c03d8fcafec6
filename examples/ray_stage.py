"""A pipeline whose middle stage runs on Ray, which has futures but no Executor: one method makes one.

python ray_stage.py        (needs: pip install ray)
"""

import concurrent.futures
import math

import ray

from shmring import Pipeline


class RayExecutor(concurrent.futures.Executor):
    def submit(self, fn, /, *args, **kwargs):
        return ray.remote(fn).remote(*args, **kwargs).future()


if __name__ == "__main__":
    ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    lines = (f"value={number}" for number in range(1000))
    pipeline = Pipeline().source(lines).stage(lambda line: float(line.partition("=")[2]))
    print(f"sum of roots {sum(pipeline.stage(math.sqrt, workers=2, executor=RayExecutor()).run()):.3f}")
    ray.shutdown()
