"""Worker processes behind ``concurrent.futures``' interface.

``executor`` the face · ``pool`` results in, and the account · ``tasks`` calls that wait, and their ring · ``crew``
processes and their ends · ``child`` what a worker does · ``parcels`` tasks and results as messages · ``shelf`` memory
used again · ``functions`` how functions travel · ``failures`` errors · ``progress`` how far a map is
"""

from shmring.workers.executor import ProcessPoolExecutor
from shmring.workers.failures import WorkerDied

__all__ = ["ProcessPoolExecutor", "WorkerDied"]
