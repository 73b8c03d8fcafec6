"""Programs that were written for concurrent.futures' pool work with ours in its place."""

import subprocess
import sys
import textwrap

import pytest

import shmring

BEGIN = """
import concurrent.futures, sys
import shmring

concurrent.futures.ProcessPoolExecutor = shmring.ProcessPoolExecutor

def square(x):
    return x * x
"""

PROGRAMS = {
    "tqdm": """
        if __name__ == "__main__":
            from tqdm.contrib.concurrent import process_map
            print(process_map(square, range(5), max_workers=2, chunksize=1, disable=True))
    """,
    "dask": """
        if __name__ == "__main__":
            import dask, dask.bag
            with shmring.ProcessPoolExecutor(2) as pool, dask.config.set(pool=pool, scheduler="processes"):
                print(dask.bag.from_sequence(range(5), npartitions=3).map(square).compute())
    """,
    "black": """
        if __name__ == "__main__":
            import pathlib, black.concurrency
            black.concurrency.ProcessPoolExecutor = shmring.ProcessPoolExecutor
            files = [pathlib.Path(sys.argv[1], f"m{number}.py") for number in range(5)]
            for number, file in enumerate(files):
                file.write_text(f"x   =  {number * number}")
            black.main(["-q", "-W", "2", sys.argv[1]], standalone_mode=False)
            print([int(file.read_text().removeprefix("x = ")) for file in files])
    """,
    "asyncio": """
        import asyncio

        async def main():
            with shmring.ProcessPoolExecutor(2) as pool:
                loop = asyncio.get_running_loop()
                print(await asyncio.gather(*(loop.run_in_executor(pool, square, x) for x in range(5))))

        if __name__ == "__main__":
            asyncio.run(main())
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_with_the_import_swapped_has_the_same_result(tmp_path, name):
    pytest.importorskip(name)
    program = tmp_path / "program.py"
    program.write_text(BEGIN + textwrap.dedent(PROGRAMS[name]))
    folder = tmp_path / "sources"
    folder.mkdir()
    done = subprocess.run([sys.executable, program, folder], capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout == "[0, 1, 4, 9, 16]\n", done.stderr


@pytest.mark.slow
def test_tests_that_run_in_several_processes_may_use_pools(tmp_path):
    pytest.importorskip("xdist")
    tests = tmp_path / "test_pools.py"
    tests.write_text(
        textwrap.dedent("""
            import pytest, shmring

            @pytest.mark.parametrize("number", range(4))
            def test_pool(number):
                with shmring.ProcessPoolExecutor(1) as pool:
                    assert pool.submit(lambda: number + 1).result(60) == number + 1
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path)
    assert "4 passed" in done.stdout, done.stdout


class Bad:
    def __reduce__(self):
        return int, ("no number",)


def test_a_loop_that_reports_errors_and_goes_on_ends_with_a_queue_that_drops_bad_messages():
    """As loguru's thread that writes: with the default it would see the same message again and again."""
    for kind in (shmring.Queue, shmring.SimpleQueue):
        with kind(on_undecodable="drop") as queue:
            for item in ("good", Bad(), "good"):
                queue.put(item)
            received, errors = [], 0
            for _ in range(3):
                try:
                    received.append(queue.get())
                except shmring.DecodeError:
                    errors += 1
            assert (received, errors, queue.empty()) == (["good", "good"], 1, True)
