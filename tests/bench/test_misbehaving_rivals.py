"""A rival that is missing, fails, hangs, loses or corrupts is shown as such, and leaves nothing behind."""

import os
import time
from pathlib import Path

import pytest
from shmring.bench import transfer, trial
from shmring.bench.channel import FAN_OUT, ONE_TO_ONE, Channel, Contestant, Unsupported
from shmring.bench.results import HIGHER, Table
from shmring.bench.rings import Plain
from shmring.bench.rounds import Plan, entry, fill
from shmring.bench.transfer import Work

import shmring

WORK = Work(ONE_TO_ONE, 64, 0.02, [None])


def outcome_of(channel, work=WORK, deadline=20.0, **more):
    contestant = Contestant("fake", channel, **more)
    return trial.run(lambda site: transfer.transfer(contestant, work, site), deadline, contestant.litter)


class Missing(Channel):
    def __init__(self, shape):
        import no_such_package_anywhere  # noqa: F401


class Unable(Channel):
    def __init__(self, shape):
        raise Unsupported("no message of that length")


class Failing(Plain):
    def sender(self, number):
        raise OSError("out of order")


class Dying(Plain):
    def receiver(self, number):
        os._exit(3)


class Hanging(Plain):
    def receiver(self, number):
        time.sleep(3600)


class Deaf(Plain):
    """Never delivers anything."""

    def sender(self, number):
        return lambda message: time.sleep(0.001)


class EveryThousandth(Plain):
    """Spoils a message now and then."""

    def sender(self, number):
        put, count = self.ring.put, 0

        def spoil(message):
            nonlocal count
            count += 1
            self.spoil(put, message, count % 1000 == 0)

        return spoil


class Losing(EveryThousandth):
    def spoil(self, put, message, now):
        if not now:
            put(message)


class Doubling(EveryThousandth):
    def spoil(self, put, message, now):
        put(message)
        if now:
            put(message)


@pytest.mark.parametrize(
    ("channel", "status", "reason"),
    [
        (Missing, "missing", "no_such_package_anywhere"),
        (Unable, "unsupported", "no message of that length"),
        (Failing, "failed", "OSError: out of order"),
        (Dying, "failed", "ended without a word"),
        (Losing, "lost", "out of order"),
        (Doubling, "lost", "out of order"),
    ],
)
def test_it_is_shown_as_such_with_the_reason(channel, status, reason):
    outcome = outcome_of(channel)
    assert (outcome.status, outcome.measured) == (status, None)
    assert reason in outcome.reason


def test_a_message_that_nobody_sent_is_corruption():
    class Corrupting(Plain):
        """Spoils the first message of the tenth round: first ones are compared in every round."""

        def sender(self, number):
            put, rounds = self.ring.put, 0

            def spoil(message):
                nonlocal rounds
                rounds += message[2] == 0
                put(b"?" * len(message) if rounds == 10 and message[2] == 0 else message)

            return spoil

    assert outcome_of(Corrupting).status == "corrupt"


@pytest.mark.parametrize("channel", [Hanging, Deaf])
def test_one_that_hangs_is_killed_at_its_deadline(channel):
    outcome = outcome_of(channel, deadline=0.5)
    assert outcome.status in ("hung", "lost")
    assert "deadline" in outcome.reason or "nothing more arrives" in outcome.reason


def test_messages_that_vanish_between_many_consumers_are_missed():
    work = Work(FAN_OUT, 64, 0.02, [None], consumers=2)
    outcome = outcome_of(Losing, work)
    assert outcome.status == "lost"
    assert "messages were sent, and" in outcome.reason


def test_what_a_rival_prints_goes_into_its_reason_and_not_to_the_terminal(capfd):
    class Talking(Plain):
        def receiver(self, number):
            os.write(2, b"the engine is on fire\n")
            os.kill(os.getpid(), 9)

    assert "the engine is on fire" in outcome_of(Talking).reason
    assert capfd.readouterr() == ("", "")


def test_one_that_fails_is_not_tried_again_and_the_others_go_on():
    table = Table("throughput", "x", "messages/s", HIGHER)
    tried = []

    def act(contestant, site):
        return transfer.transfer(contestant, WORK, site)

    entries = [entry(Contestant(each.__name__, each, ours=each is Plain), act, 20) for each in (Failing, Plain)]
    fill(Plan(table, entries, rounds=3), tried.append)
    assert [row.status for row in table.rows] == ["failed", "ok"]
    assert len(table.rows[1].values) == 3
    assert len([line for line in tried if line.endswith("Failing")]) == 1


def test_what_a_contestant_started_and_made_goes_with_it(tmp_path):
    litter = f"litter-{os.getpid()}"

    class Littering(Plain):
        def receiver(self, number):
            Path(self.shape.folder, "socket").write_text("")
            Path("/dev/shm", f"{self.shape.tag}-left").write_text("")
            Path("/dev/shm", litter).mkdir()
            Path("/dev/shm", litter, "memmapped").write_text("")
            child = os.fork()
            if child == 0:
                time.sleep(3600)
                os._exit(0)
            Path(tmp_path, "made").write_text(f"{self.shape.folder} {child}")
            raise OSError("gone")

    assert outcome_of(Littering, litter=(f"/dev/shm/{litter}*",)).status == "failed"
    assert not Path("/dev/shm", litter).exists()
    folder, child = Path(tmp_path, "made").read_text().split()
    assert not Path(folder).exists()
    assert not Path("/dev/shm", f"{Path(folder).name}-left").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(child), 0)


def test_a_face_that_this_version_lacks_is_shown_so(monkeypatch):
    from shmring.bench import faces

    class Absent(Plain):
        def __init__(self, shape):
            faces.face("NoSuchFace")

    outcome = outcome_of(Absent)
    assert outcome.status == "absent"
    assert outcome.reason == f"shmring {shmring.__version__} has no NoSuchFace"
