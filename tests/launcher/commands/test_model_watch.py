"""The watch asks on, whatever becomes of a question."""

from __future__ import annotations

import errno
import os
import threading

from launcher.artifacts import ModelURIError
from launcher.commands.model_watch import ModelWatch


def test_a_question_that_fails_is_told_of_once_and_asked_again() -> None:
    no_descriptor = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    answers = iter(
        [no_descriptor, no_descriptor, "old", ModelURIError("It is away.", "Wait."), "new"]
    )
    problems: list[str] = []
    moved = threading.Event()

    def revision() -> str:
        answer = next(answers, "new")
        if isinstance(answer, Exception):
            raise answer
        return answer

    watch = ModelWatch(0.01, revision, "old", on_moved=moved.set, on_problem=problems.append)
    watch.start()
    assert moved.wait(30)
    watch.stop()
    assert problems == [
        "the model cannot be looked up: OSError: [Errno 24] Too many open files",
        "the model cannot be looked up: It is away.",
    ]
    assert not any(each.name == "model-watch" for each in threading.enumerate())
