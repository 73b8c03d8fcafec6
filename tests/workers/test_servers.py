"""Web servers whose processes have a pool each, as their own pages tell: the answers come, and nothing stays behind."""

import http.client
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

APPLICATION = """
    import asyncio, contextlib, json, os
    import shmring

    def square(x):
        return x * x, os.getpid()

    # --- what uvicorn calls ---

    pool = None

    async def application(scope, receive, send):
        global pool
        if scope["type"] == "lifespan":
            await receive()
            pool = shmring.ProcessPoolExecutor(2)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            pool.shutdown()
            await send({"type": "lifespan.shutdown.complete"})
            return
        number = int(scope["path"][1:])
        answer = await asyncio.get_running_loop().run_in_executor(pool, square, number)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps([*answer, os.getpid()]).encode()})

    # --- what gunicorn calls ---

    made_before_the_fork = shmring.ProcessPoolExecutor(2)

    def simple(environment, start):
        global pool
        path = environment["PATH_INFO"][1:]
        if path == "early":  # gunicorn --preload forks after this module was imported
            try:
                answer = made_before_the_fork.submit(square, 2).result()
            except RuntimeError as error:
                answer = [str(error)]
        else:
            if pool is None:
                pool = shmring.ProcessPoolExecutor(2)
            answer = pool.submit(square, int(path)).result()
        start("200 OK", [])
        return [json.dumps([*answer, os.getpid()]).encode()]
"""


class Connection(http.client.HTTPConnection):
    """To a server at the path of a socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self.path))


@contextmanager
def server(folder: Path, *command: str) -> Iterator[Path]:
    """A server that is ended as an operator ends it."""
    if importlib.util.find_spec(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: make test-programs has it")
    (folder / "application.py").write_text(textwrap.dedent(APPLICATION))
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=folder, stdout=log, stderr=log)
    try:
        yield folder / "socket"
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (folder / "log").read_text()


def ask(path: Path, what: object) -> list[object]:
    until = time.monotonic() + 60
    while True:
        connection = Connection(path)
        try:
            connection.request("GET", f"/{what}")
            answer: list[object] = json.loads(connection.getresponse().read())
            return answer
        except (FileNotFoundError, ConnectionRefusedError):  # it is not there yet
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        finally:
            connection.close()


def check(answers: list[list[object]]) -> None:
    assert [square for square, _, _ in answers] == [x * x for x in range(len(answers))]
    workers, servers = {worker for _, worker, _ in answers}, {at for _, _, at in answers}
    assert not workers & servers
    assert len(workers) <= 2 * len(servers) <= 4


@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn_runs_an_application_that_has_a_pool(tmp_path, workers):
    command = ("uvicorn", "application:application", "--uds", str(tmp_path / "socket"), "--workers", str(workers))
    with server(tmp_path, *command, "--app-dir", str(tmp_path)) as path:
        check([ask(path, number) for number in range(20)])


@pytest.mark.parametrize("options", [[], ["--preload"], ["--threads", "4"]])
def test_gunicorn_runs_an_application_that_has_a_pool(tmp_path, options):
    command = ("gunicorn", "application:simple", "--bind", f"unix:{tmp_path}/socket", "--workers", "2", *options)
    with server(tmp_path, *command, "--pythonpath", str(tmp_path)) as path:
        check([ask(path, number) for number in range(20)])
        first, *_ = ask(path, "early")
        if "--preload" in options:
            assert "which the calling one was forked from; make another executor here" in str(first)
        else:
            assert first == 4
