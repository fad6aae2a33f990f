"""Waiting for replies: one at a time, until all are there or time is up."""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import ConfigRecord, Message, RecordDict

from aggregator.exchange import receive
from fedrad import flower


class Shelf:
    """A grid with replies that become ready after so many questions."""

    poll_s = 1.0

    def __init__(self, ready_after: dict[str, int]) -> None:
        self.ready_after, self.asked = dict(ready_after), []

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return what is ready."""
        (message_id,) = message_ids
        self.asked.append(message_id)
        self.ready_after[message_id] -= 1
        if self.ready_after[message_id] >= 0:
            return []
        flower.begin_run(1)
        question = Message(RecordDict({"x": ConfigRecord()}), 5, "train")
        flower.stamp_message(question, message_id)
        return [Message(RecordDict(), reply_to=question)]


class Echo(Shelf):
    """A grid that hands every reply over twice."""

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return what is ready, doubled."""
        return super().pull_messages(message_ids) * 2


class Ticking:
    """A clock that only sleep moves."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        """Return the time."""
        return self.now_s

    def sleep(self, wait_s: float) -> None:
        """Move it."""
        self.now_s += wait_s


def ids(shelf: Shelf, deadline_s: float) -> list[str]:
    replies = receive(shelf, list(shelf.ready_after), deadline_s, clock=Ticking())
    return [reply.metadata.reply_to_message_id for reply in replies]


def test_replies_come_in_the_order_in_which_they_are_ready() -> None:
    assert ids(Shelf({"a": 2, "b": 0, "c": 1}), 60.0) == ["b", "c", "a"]


def test_a_reply_that_is_ready_at_the_deadline_counts_and_a_later_one_does_not() -> None:
    assert ids(Shelf({"a": 3, "b": 9}), 3.0) == ["a"]


def test_a_second_reply_to_one_question_is_dropped() -> None:
    assert ids(Echo({"a": 0, "b": 1}), 60.0) == ["a", "b"]


def test_nobody_is_asked_again_after_its_reply() -> None:
    shelf = Shelf({"a": 0, "b": 1})
    ids(shelf, 60.0)
    assert shelf.asked == ["a", "b", "b"]


def test_the_next_reply_is_fetched_only_when_the_one_before_was_dealt_with() -> None:
    """Else two updates would be in memory at a time."""
    shelf = Shelf({"a": 0, "b": 0})
    replies = receive(shelf, ["a", "b"], 60.0, clock=Ticking())
    next(replies)
    assert shelf.asked == ["a"]


def test_each_message_is_waited_for_until_its_own_deadline() -> None:
    """A site that promised nights is waited for longer; what comes meanwhile is taken."""
    shelf = Shelf({"day": 6, "night": 8, "silent": 99})
    clock = Ticking()
    replies = receive(
        shelf, list(shelf.ready_after), 3.0, clock=clock, each={"night": 20.0, "silent": 4.0}
    )
    assert [reply.metadata.reply_to_message_id for reply in replies] == ["day", "night"]
    assert clock.now_s == 7.0  # from then on only the silent one is waited for
