"""What a task tells the sweep: through a post that lives in Ray's own process."""

from __future__ import annotations

import pytest

from suite.worker.messages import Event

pytest.importorskip("ray", reason="the extra ray is not installed")

from suite.executors.ray_task import Post


def test_a_post_hands_on_each_event_once_and_asks_to_stop() -> None:
    post = Post()
    assert post.exchange(1, [Event("idle")]) is False
    assert post.collect() == [(1, Event("idle"))]
    assert post.collect() == []
    post.stop()
    assert post.exchange(1, []) is True
    assert post.begin(2, "task", "10.0.0.1") is True


def test_a_task_that_begins_again_is_told_of_and_the_next_one_is_not() -> None:
    post = Post()
    for task in ("first", "first", "second"):
        post.begin(0, task, "10.0.0.2")
    notices = [event.content for _, event in post.collect() if event.kind == "notice"]
    assert notices == ["worker 0 has died; Ray goes on from its checkpoints on 10.0.0.2"]
