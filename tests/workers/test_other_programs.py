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
    "pylint": """
        if __name__ == "__main__":
            import io, pathlib, pylint.lint, pylint.reporters.text
            files = [pathlib.Path(sys.argv[1], f"m{number}.py") for number in range(5)]
            for number, file in enumerate(files):
                file.write_text("import os\\n" * number * number)
            said = io.StringIO()
            pylint.lint.Run(
                ["-j2", "--disable=all", "--enable=W0611,W0404", *map(str, files)],
                reporter=pylint.reporters.text.TextReporter(said), exit=False,
            )
            text = said.getvalue()
            print([sum(f"m{n}.py:" in line and "W0" in line for line in text.splitlines()) for n in range(5)])
    """,
    "pypeln": """
        import multiprocessing.queues
        multiprocessing.queues.Queue = shmring.Queue  # of which its own is a subclass
        import pypeln

        def is_number(x):
            return isinstance(x, int)

        if __name__ == "__main__":
            stage = pypeln.process.map(square, range(5), workers=2, maxsize=2)
            print(sorted(pypeln.process.filter(is_number, stage, workers=2)))
    """,
    "joblib": """
        import operator
        import joblib

        def squares_by_joblib(numbers):  # its workers do not find the main program of a worker, whosever that is
            squares = joblib.Parallel(2)(joblib.delayed(operator.mul)(x, x) for x in numbers)
            joblib.externals.loky.get_reusable_executor().shutdown()  # or they meet the end while they start
            return squares

        def squares_by_us(numbers):
            with shmring.ProcessPoolExecutor(1) as pool:
                return list(pool.map(square, numbers))

        if __name__ == "__main__":
            with shmring.ProcessPoolExecutor(1) as pool:
                inner = pool.submit(squares_by_joblib, range(5)).result(60)
            outer = joblib.Parallel(2)(joblib.delayed(squares_by_us)(range(5)) for _ in range(2))
            assert outer == [inner] * 2, outer
            print(inner)
    """,
    "gymnasium": """
        import multiprocessing
        import gymnasium, numpy
        from gymnasium.vector import AsyncVectorEnv

        def environment():
            return gymnasium.make("CartPole-v1")

        def played(shared_memory=True, context=None, queues=None):
            if queues is not None:
                type(multiprocessing.get_context(context)).Queue = staticmethod(queues)
            them = AsyncVectorEnv([environment] * 2, shared_memory=shared_memory, context=context)
            try:
                them.reset(seed=1)
                return sum(float(them.step(numpy.array([0, 1]))[0].sum()) for _ in range(20))
            finally:
                them.close()

        if __name__ == "__main__":
            wanted = played()
            with shmring.ProcessPoolExecutor(2) as pool:  # in a worker, as Ray's and others' actors have them
                assert [pool.submit(played, each).result(60) for each in (True, False)] == [wanted] * 2
            for method in multiprocessing.get_all_start_methods():
                assert played(context=method, queues=lambda: shmring.Queue()) == wanted, method
            print([square(x) for x in range(5)])
    """,
    "loguru": """
        import multiprocessing
        from loguru import logger

        class Bad:
            def __reduce__(self):
                return int, ("no number",)

        def log(numbers):
            for x in numbers:
                logger.info(square(x))

        if __name__ == "__main__":
            multiprocessing.SimpleQueue = lambda: shmring.SimpleQueue(on_undecodable="drop")
            written = []
            logger.remove()
            logger.add(lambda text: written.append(int(text)), format="{message}", enqueue=True)
            sys.stderr = open(sys.argv[1] + "/complaints", "w+")
            logger.bind(extra=Bad()).info("this one cannot be decoded")
            process = multiprocessing.get_context("fork").Process(target=log, args=(range(3),))
            process.start()
            process.join()
            log(range(3, 5))
            logger.complete()
            logger.remove()
            sys.stderr.seek(0)
            assert sys.stderr.read().count("Logging error") == 1
            print(written)
    """,
}


@pytest.mark.programs
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_with_the_import_swapped_has_the_same_result(tmp_path, name):
    pytest.importorskip(name)
    program = tmp_path / "program.py"
    program.write_text(BEGIN + textwrap.dedent(PROGRAMS[name]))
    folder = tmp_path / "sources"
    folder.mkdir()
    done = subprocess.run([sys.executable, program, folder], capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout == "[0, 1, 4, 9, 16]\n", done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.programs
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
