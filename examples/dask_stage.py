"""A pipeline whose middle stage runs on a Dask cluster; --here runs it in local workers: one argument changes.

python dask_stage.py [--here]        (needs: pip install distributed)
"""

import math
import sys

from shmring import Pipeline


def parse(line: str) -> float:
    return float(line.partition("=")[2])


def work(number: float) -> float:
    return math.sqrt(number)


def main(executor=None) -> None:
    lines = (f"value={number}" for number in range(1000))
    pipeline = Pipeline().source(lines).stage(parse).stage(work, workers=2, executor=executor)
    print(f"sum of roots {sum(pipeline.run()):.3f}, {pipeline.stats()[1].done} done by {executor or 'local workers'}")


if __name__ == "__main__":
    if "--here" in sys.argv:
        main()
    else:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            main(client.get_executor())
