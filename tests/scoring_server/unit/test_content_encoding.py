"""Compressed bodies: decoded within the limit of bodies, in bounded memory and time."""

import gzip
import json
import time
import tracemalloc
import zlib

import pytest

from scoring_server.errors import ScoringError
from scoring_server.formats.content_encoding import decode_body
from scoring_server.protocols.mlflow import MlflowProtocol
from scoring_server.routes import Request
from scoring_server.scoring.application import Application
from scoring_server.service import Batching

TEXT = b'{"inputs": [1, 2, 3]}'
LIMIT = 1 << 20
EMPTY_MEMBER = gzip.compress(b"")


def test_what_was_compressed_comes_back():
    large = bytes(range(256)) * 4096
    members = b"".join(gzip.compress(large[at : at + 1000]) for at in range(0, len(large), 1000))
    for body in (gzip.compress(large), gzip.compress(large, 0), members):
        assert decode_body(body, "gzip", len(large)) == large
    assert decode_body(gzip.compress(TEXT), " X-GZip ", LIMIT) == TEXT
    assert decode_body(EMPTY_MEMBER, "gzip", LIMIT) == b""
    assert decode_body(TEXT, "identity", LIMIT) == decode_body(TEXT, "", LIMIT) == TEXT


@pytest.mark.parametrize("limit", [len(TEXT) - 1, 1])
def test_the_limit_is_that_of_bodies(limit):
    assert decode_body(gzip.compress(TEXT), "gzip", len(TEXT)) == TEXT
    with pytest.raises(ScoringError, match="more than") as caught:
        decode_body(gzip.compress(TEXT), "gzip", limit)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        TEXT,
        gzip.compress(TEXT)[:-1],
        gzip.compress(TEXT)[:-9],
        gzip.compress(TEXT)[:5],
        gzip.compress(TEXT)[:-8] + b"\0" * 8,  # another checksum
        gzip.compress(TEXT) + b"\0",
        gzip.compress(TEXT) + EMPTY_MEMBER[:-1],
        zlib.compress(TEXT),
    ],
    # Their bytes have the time in them.
    ids=range(9),
)
def test_what_is_damaged(body):
    with pytest.raises(ScoringError) as caught:
        decode_body(body, "gzip", LIMIT)
    assert caught.value.status == 400


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "gzip, identity", "*"])
def test_other_encodings(encoding):
    with pytest.raises(ScoringError) as caught:
        decode_body(TEXT, encoding, LIMIT)
    assert caught.value.status == 415
    assert ("Accept-Encoding", "gzip") in caught.value.headers


def test_a_bomb_ends_at_the_limit():
    bomb = gzip.compress(bytes(50 * LIMIT))
    tracemalloc.start()
    try:
        with pytest.raises(ScoringError):
            decode_body(bomb, "gzip", LIMIT)
        with pytest.raises(ScoringError):
            decode_body(gzip.compress(bytes(LIMIT // 2)) * 100, "gzip", LIMIT)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * LIMIT


def test_members_without_end_end():
    began = time.process_time()
    with pytest.raises(ScoringError, match="members"):
        decode_body(EMPTY_MEMBER * 1_000_000, "gzip", 100 * LIMIT)
    assert time.process_time() - began < 20


def test_compressed_requests_share_a_batch_as_far_as_they_may_decode_to(models, monkeypatch):
    config = models.config(
        "class Model:\n    def predict(self, model_input):\n        return model_input['a']\n",
        server={"max_batch_rows": 100, "max_body": 100_000},
    )
    from scoring_server.model.loading import load_model

    application = Application(config, load_model(config), Batching.of(config.server))
    protocol = MlflowProtocol(config)
    stacked = []
    inner = application._batcher.predict
    monkeypatch.setattr(
        application._batcher,
        "predict",
        lambda turns, begin: (stacked.append(len(turns)), inner(turns, begin))[1],
    )

    def request(body, encoding=None):
        headers = {"content-type": "application/json"}
        if encoding:
            headers["content-encoding"] = encoding
        return Request(protocol, protocol.routes[0], "POST", "/invocations", {}, "", headers, body)

    plain = b'{"dataframe_records": [{"a": 7}]}'
    requests = [request(plain), *[request(gzip.compress(plain), "gzip")] * 4, request(plain, "br")]
    answers = models.together(application, requests)
    assert [answer.status for answer in answers] == [200] * 5 + [415]
    assert len({str(json.loads(answer.body)) for answer in answers[:5]}) == 1
    # One of them may decode to half of the limit.
    assert stacked == [2]
    assert dict(answers[5].headers)["Accept-Encoding"] == "gzip"
