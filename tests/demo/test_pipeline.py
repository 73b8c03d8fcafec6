"""The pipelines: the same result as one process, whatever is killed, and nothing left behind."""

import signal
import sys

import pytest

from shmring.demo import on_queues, on_rings
from shmring.demo.programs import Failed
from shmring.demo.work import count_in_one_process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the demonstration works by POSIX signals")


def named(programs, name):
    return [program for program in programs.started if program.name == name]


@pytest.mark.parametrize("tokenizers", [1, 3])
def test_separate_programs_count_what_one_process_counts(library, tokenizers):
    measured = on_rings.run(library, tokenizers)
    assert measured.counts == count_in_one_process(library)
    assert measured.notes == []


def test_the_pipeline_on_queues_counts_the_same(library):
    assert on_queues.run(library, tokenizers=2).counts == count_in_one_process(library)


def test_a_tokenizer_that_is_killed_is_replaced_and_nothing_is_lost(library):
    measured = on_rings.run(library, 2, on_started=lambda programs: named(programs, "tokenizer")[0].process.kill())
    assert measured.counts == count_in_one_process(library)
    assert [note for note in measured.notes if "was killed by SIGKILL" in note]


@pytest.mark.parametrize("victim", ["reader", "reducer"])
def test_the_loss_of_a_program_that_cannot_be_replaced_fails_the_run(library, victim):
    def kill(programs):
        named(programs, victim)[0].process.kill()

    with pytest.raises(Failed, match=rf"the {victim} \(pid \d+\) was killed by SIGKILL"):
        on_rings.run(library, 2, on_started=kill)


def test_tokenizers_that_are_killed_again_and_again_fail_the_run(library):
    everything = []

    def stop_reader(programs):
        everything.append(programs)
        named(programs, "reader")[0].process.send_signal(signal.SIGSTOP)

    def kill_tokenizers(done):
        for program in named(everything[0], "tokenizer"):
            if program.process.poll() is None:
                program.process.kill()

    with pytest.raises(Failed, match="something kills them"):
        on_rings.run(library, 2, on_started=stop_reader, on_file=kill_tokenizers)


def test_a_program_that_fails_is_quoted(library):
    def no_such_ring(programs):
        named(programs, "reader")[0].process.send_signal(signal.SIGSTOP)  # else it may all be done before
        programs.start("shmring.demo.tokenizer", "bad/name", "x")

    with pytest.raises(
        Failed, match=r"the tokenizer \(pid \d+\) ended with exit code 1:\ntokenizer: ValueError: .*bad/name"
    ):
        on_rings.run(library, 2, on_started=no_such_ring)
