"""`shmring bench`: how fast rings are beside everybody else's, on this machine, in one run.

    contestants ──▶ trials ──▶ tables ──▶ results.json ──▶ report, pictures, README, compare
    rings, rivals/  trial.py   throughput.py, ...
                    limits/    (one file per topology and measure)

A *contestant* is one way of moving messages. A *trial* is one contestant at work once, in processes of its own that are
killed when it hangs. A *table* compares contestants at one piece of work; rounds go through all of them in turn, so
that a machine that changes its pace changes it for everybody. It all uses the public names of shmring only.

The sources are `bench/` in the repository; they are installed as `shmring.bench`, so that the command works from a
wheel.
"""

from .columns import columns_of, remark
from .comparison import Change, alone, compare
from .options import TOPOLOGIES, Options, brief, parse_size
from .readme_table import put_into, put_picture, readme_table
from .report import write_report
from .results import BadResult, Result, Row, Table, read, write
from .session import failures, run
from .words import status

__all__ = [
    "TOPOLOGIES",
    "BadResult",
    "Change",
    "Options",
    "Result",
    "Row",
    "Table",
    "alone",
    "brief",
    "columns_of",
    "compare",
    "failures",
    "parse_size",
    "put_into",
    "put_picture",
    "read",
    "readme_table",
    "remark",
    "run",
    "status",
    "write",
    "write_report",
]
