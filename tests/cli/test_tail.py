"""`shmring tail` is one more subscriber."""

import shmring


def test_tail_writes_what_is_there_and_takes_it_from_nobody(name, shmring_command):
    with shmring.Topic.create(name) as topic, topic.subscribe() as other:
        topic.publish_many([b"one", b"two", b"three"])
        done = shmring_command("tail", name, "--from", "oldest", "--timeout", "0")
        assert done.stdout == b"one\ntwo\nthree\n"
        done = shmring_command("tail", name, "--from", "1", "--count", "1", "--framed")
        assert done.stdout == b"\3\0\0\0two"
        assert other.get_many() == [b"one", b"two", b"three"]


def test_tail_says_what_it_lost_and_which_numbers_there_are(name, shmring_command):
    with shmring.Topic.create(name, capacity=1024) as topic:
        topic.publish_many([b"x"] * 100)
        done = shmring_command("tail", name, "--from", "7")
        assert done.returncode == 2
        assert b"84 to 99 are there" in done.stderr
        assert shmring_command("tail", name, "--from", "never").returncode == 2
        topic.unlink()


def test_tail_ends_with_the_topic(name, shmring_command):
    with shmring.Topic.create(name) as topic:
        topic.publish(b"last")
        topic.shutdown()
        done = shmring_command("tail", name, "--from", "oldest")
        assert (done.returncode, done.stdout) == (0, b"last\n")


def test_tail_is_for_topics(name, shmring_command):
    with shmring.Ring.create(name):
        done = shmring_command("tail", name)
        assert done.returncode == 8
        assert b"use shmring.Ring" in done.stderr
