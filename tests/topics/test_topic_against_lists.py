"""A state machine of random operations holds a topic, and what each subscriber must get, to a plain list."""

import hypothesis
import pytest
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import shmring

ROOM = 16 * 64
lengths = strategies.integers(0, ROOM // 2)


class TopicAgainstLists(RuleBasedStateMachine):
    """Everything published stands in a list; a subscriber is an index into it."""

    overflow = "block"

    def __init__(self) -> None:
        super().__init__()
        self.topic = shmring.Topic.create(capacity=ROOM, overflow=self.overflow)
        self.published: list[bytes] = []
        self.subscribed: list[tuple[shmring.Subscription, list[int]]] = []  # and what it has got or lost so far

    def teardown(self) -> None:
        for subscription, _ in self.subscribed:
            subscription.close()
        self.topic.close()

    @rule(length=lengths)
    def publish(self, length: int) -> None:
        message = (b"%d." % len(self.published) * 200)[:length]
        try:
            self.topic.publish(message, timeout=0)
            self.published.append(message)
        except shmring.Full:
            assert self.overflow == "block"
            lags = [each.lag for each in self.topic.stats().subscribers]
            assert lags, "nobody is subscribed, and yet it is full"
            assert max(lags) > 0

    @rule(length=lengths)
    def give_a_claim_up(self, length: int) -> None:
        try:
            with self.topic.claim(length, timeout=0):
                raise KeyError
        except (KeyError, shmring.Full):
            pass

    @precondition(lambda self: len(self.subscribed) < 4)
    @rule(start=strategies.sampled_from(["oldest", "latest", "number"]), data=strategies.data())
    def subscribe(self, start: str, data: strategies.DataObject) -> None:
        stats = self.topic.stats()
        if start == "number":
            number = data.draw(strategies.integers(stats.oldest, stats.next))
            subscription = self.topic.subscribe(number)
        else:
            number = stats.oldest if start == "oldest" else stats.next
            subscription = self.topic.subscribe(start)  # type: ignore[arg-type]
        assert subscription.sequence == number
        self.subscribed.append((subscription, [number]))

    @precondition(lambda self: self.subscribed)
    @rule(data=strategies.data(), how=strategies.sampled_from(["get", "get_into", "borrow", "get_many", "hand back"]))
    def get(self, data: strategies.DataObject, how: str) -> None:
        subscription, at = data.draw(strategies.sampled_from(self.subscribed))
        lost = subscription.lost
        try:
            got = self.got(subscription, how)
        except shmring.Empty:
            got = []
        at[0] += subscription.lost - lost
        assert got or how == "hand back" or at[0] == len(self.published)
        assert subscription.lost == lost or self.overflow == "overwrite"
        assert got == self.published[at[0] : at[0] + len(got)]
        at[0] += len(got)
        assert subscription.sequence == at[0]

    def got(self, subscription: shmring.Subscription, how: str) -> list[bytes]:
        if how == "get":
            return [subscription.get(timeout=0)]
        if how == "get_many":
            return subscription.get_many(timeout=0)
        if how == "get_into":
            buffer = bytearray(ROOM)
            length = subscription.get_into(buffer, timeout=0)
            return [bytes(buffer[:length])]
        got = []
        try:
            with subscription.borrow(timeout=0) as view:
                got.append(bytes(view))
                if how == "hand back":
                    raise KeyError
        except KeyError:
            got = []
        return got

    @precondition(lambda self: self.subscribed)
    @rule(data=strategies.data())
    def leave(self, data: strategies.DataObject) -> None:
        gone = data.draw(strategies.sampled_from(range(len(self.subscribed))))
        self.subscribed.pop(gone)[0].close()

    @invariant()
    def what_is_retained_is_the_end_of_what_was_published(self) -> None:
        stats = self.topic.stats()
        assert stats.next == len(self.published) == stats.messages_published
        assert stats.messages == stats.next - stats.oldest
        assert stats.used <= ROOM
        for subscription, at in self.subscribed:
            assert subscription.sequence <= at[0] or self.overflow == "block"
            assert self.overflow == "overwrite" or at[0] >= stats.oldest


class OverwriteAgainstLists(TopicAgainstLists):
    overflow = "overwrite"


@pytest.mark.parametrize("machine", [TopicAgainstLists, OverwriteAgainstLists], ids=["block", "overwrite"])
def test_a_topic_does_what_lists_do(machine: type[TopicAgainstLists]) -> None:
    hypothesis.stateful.run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(max_examples=40, stateful_step_count=50, deadline=None, database=None),
    )
