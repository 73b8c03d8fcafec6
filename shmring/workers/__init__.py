"""Worker processes behind ``concurrent.futures``' interface.

``executor`` the face · ``pool`` as threads use it · ``collecting`` results in, and the account · ``tasks`` calls that
wait, and their ring · ``crew`` processes and their ends · ``child`` what a worker does · ``beginning`` what it begins
with · ``mains`` the caller's program and environment in it · ``forks`` forks that fail · ``parcels`` tasks and
results as messages · ``asides`` memory for long ones · ``shelf`` memory used again · ``pickles`` what they hold ·
``by_value`` functions and classes without a name · ``namespace`` the globals of those · ``failures`` errors ·
``outcomes`` what a future is told · ``progress`` how far a map is
"""

from shmring.workers.executor import ProcessPoolExecutor
from shmring.workers.failures import WorkerDied

__all__ = ["ProcessPoolExecutor", "WorkerDied"]
