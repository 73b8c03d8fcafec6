"""Functions and classes that workers cannot import: of prompts, of notebooks, under the main guard."""

import os
import subprocess
import sys

import pytest

from tests.ring.conftest import METHODS, needs_fork

NOTEBOOK = """
import os
import shmring

def helper(value):
    return os.path.join("a", str(value))

class Point:
    def __init__(self, x):
        self.x = x

def use(point):
    return Point(helper(point.x))

class Mine(Exception):
    def __init__(self, a, b):
        super().__init__(a)

def fail():
    raise Mine("its own", 2)

with shmring.ProcessPoolExecutor(1) as pool:
    print(pool.submit(use, Point(3)).result().x)
    try:
        pool.submit(fail).result()
    except Mine as error:
        print(error)
"""


@pytest.mark.parametrize("program", [["-c", NOTEBOOK], ["-"]], ids=["prompt", "standard input"])
def test_functions_and_classes_of_a_main_without_a_file_are_sent_by_value(program):
    command = [sys.executable, *program]
    done = subprocess.run(command, input=NOTEBOOK, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{os.path.join('a', '3')}\nits own\n", "")


def test_what_stands_under_the_main_guard_is_sent_by_value(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import shmring\n"
        "if __name__ == '__main__':\n"
        "    def inside(value):\n"
        "        return value + 1\n"
        "    with shmring.ProcessPoolExecutor(1) as pool:\n"
        "        print(list(pool.map(inside, range(3))))\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[1, 2, 3]\n", "")


UNDER_THE_GUARD = """
import shmring

class Kept:
    value = None

def kept():
    return Kept.value

if __name__ == "__main__":
    def begin(value):
        Kept.value = value

    class Local:
        pass

    def is_local(x):
        return isinstance(x, Local)

    with shmring.ProcessPoolExecutor(1, initializer=begin, initargs=(5,)) as pool:
        print(pool.submit(kept).result(), pool.submit(lambda: Kept.value).result())
        print(pool.submit(is_local, Local()).result(), type(pool.submit(Local).result()) is Local)
        print([*pool.map(is_local, [Local()] * 3)])
"""


@pytest.mark.parametrize("method", METHODS)
def test_classes_under_and_over_the_main_guard_are_each_one_in_a_worker(tmp_path, method):
    program = tmp_path / "program.py"
    context = f"ProcessPoolExecutor(1, __import__('multiprocessing').get_context({method!r}),"
    program.write_text(UNDER_THE_GUARD.replace("ProcessPoolExecutor(1,", context))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("5 5\nTrue True\n[True, True, True]\n", "")


NAMESPACE = """
import shmring

SCALE, CACHE, COUNT = 2, {}, 0

def scaled(x):
    return x * SCALE

def count():
    global COUNT
    COUNT += 1
    CACHE[COUNT] = COUNT
    return COUNT, len(CACHE)

with shmring.ProcessPoolExecutor(1) as pool:
    print(pool.submit(scaled, 1).result(), end=" ")
    SCALE = 3
    print(pool.submit(scaled, 1).result(), pool.submit(count).result(), pool.submit(count).result(), end=" ")
    CACHE["mine"] = 1
    print(pool.submit(count).result())
"""


def test_a_prompts_globals_stay_as_a_worker_set_them_until_the_prompt_changes_them():
    done = subprocess.run([sys.executable, "-c", NAMESPACE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("2 3 (1, 1) (2, 2) (3, 2)\n", "")


@needs_fork
def test_locks_that_were_made_to_be_inherited_are():
    """As tqdm's process_map does: with a default pool, and locks of the context that forks."""
    program = (
        "import multiprocessing, shmring\n"
        "lock, counter = multiprocessing.Lock(), multiprocessing.Value('i', 0)\n"
        "def begin(lock, counter):\n"
        "    with lock:\n"
        "        counter.value += 1\n"
        "if __name__ == '__main__':\n"
        "    with shmring.ProcessPoolExecutor(1, initializer=begin, initargs=(lock, counter)) as pool:\n"
        "        pool.submit(abs, 1).result()\n"
        "    print(counter.value)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")


UNGUARDED = {
    "a pool": "print(shmring.ProcessPoolExecutor(4).submit(abs, -1).result())",
    "a pool of spawned workers": (
        "import multiprocessing\n"
        "with shmring.ProcessPoolExecutor(4, multiprocessing.get_context('spawn')) as pool:\n"
        "    print([*pool.map(abs, range(100))])"
    ),
    "a pipeline": "print(shmring.Pipeline().source(range(100)).stage(abs, workers=4).run())",
}


@pytest.mark.parametrize("what", UNGUARDED)
def test_a_program_without_main_guard_is_told_so_once_in_a_few_lines(tmp_path, what):
    program = tmp_path / "program.py"
    program.write_text(f"import shmring\n{UNGUARDED[what]}\n")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("Traceback") == 1
    last = done.stderr.splitlines()[-1]
    assert 'put the part that does under `if __name__ == "__main__":`' in last


def test_another_librarys_worker_without_main_guard_is_told_so(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, shmring\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=print)\n"
        "    child.start()\n"
        "    child.join()\n"
        "    raise SystemExit(child.exitcode)\n"
        "shmring.ProcessPoolExecutor(1).submit(abs, -1)\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: cannot start workers here")
