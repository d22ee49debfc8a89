"""What a worker decides from its settings."""

from __future__ import annotations

import pytest

from scoring_server.config import ServerSettings
from scoring_server.worker.process import leaves_a_processor


@pytest.mark.parametrize(
    ("settings", "leaves"),
    [
        ({"processors": 2, "workers": 1}, True),
        # The control group's quota counts, however many processors the machine has.
        ({"processors": 1, "workers": 1}, False),
        ({"processors": 2, "workers": 2}, False),
        ({"processors": 4, "workers": 1, "threads": 2}, False),
    ],
)
def test_a_worker_waits_awake_where_a_processor_is_free_for_it(settings, leaves):
    assert leaves_a_processor(ServerSettings(**settings)) is leaves
