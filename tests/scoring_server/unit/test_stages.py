"""Stage times belong to their request, whichever threads answer at the same time."""

from __future__ import annotations

import threading

SLEEPS = """
    import threading
    arrived = threading.Barrier(2)

    class Model:
        def predict(self, model_input):
            seconds = float(model_input)
            # Both requests are inside at the same time.
            arrived.wait(30)
            threading.Event().wait(seconds)
            return seconds
"""


def test_each_has_its_own(models):
    application = models.application(SLEEPS, server={"threads": 2})
    answers = {}

    def ask(seconds):
        body = b'{"inputs": %s}' % seconds
        answers[seconds] = application.answer(models.invocation(body))

    threads = [threading.Thread(target=ask, args=(each,)) for each in (b"0.4", b"0.0")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers.values():
        assert [stage for stage, _, _ in answer.stages] == ["parse", "predict", "encode"]
    assert answers[b"0.4"].stages[1][1] >= 0.4
    assert answers[b"0.0"].stages[1][1] < 0.4
