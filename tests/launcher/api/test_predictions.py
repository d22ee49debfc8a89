"""What goes to a model and what comes back, through a server that all tests here share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import launcher
from launcher.api.payloads import document_of, encode, value_of


def test_a_table_comes_back_as_a_table(server: launcher.Server) -> None:
    frame = pd.DataFrame(
        {
            "number": [0.1 + 0.2, None, 1e300],
            "count": [1, 2, -(2**53)],
            "text": ["a", None, "ü"],
            "list": [[1], [2, 3], []],
        },
        index=[7, 8, 9],
    )
    pd.testing.assert_frame_equal(server.predict(frame), frame.reset_index(drop=True))


@pytest.mark.parametrize(
    "array", [np.array([[1.5, 2.0], [3.0, 4.0]]), np.arange(24).reshape(2, 3, 4)], ids=str
)
def test_an_array_comes_back_as_an_array(server: launcher.Server, array: Any) -> None:
    answer = server.predict(array)
    assert answer.dtype == array.dtype
    np.testing.assert_array_equal(answer, array)


def test_records_are_a_table_and_other_lists_are_inputs(server: launcher.Server) -> None:
    assert server.predict([{"a": 1}, {"a": 2}])["a"].tolist() == [1, 2]
    assert server.predict([1, 2]).tolist() == [1, 2]
    assert server.predict(["a", "b"]).tolist() == ["a", "b"]


def test_a_dict_is_a_body_and_one_of_arrays_named_inputs(server: launcher.Server) -> None:
    body = {"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}
    assert server.predict(body)["a"].tolist() == [1, 2]
    assert server.predict({"a": np.array([1, 2])}) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "a,b\n1,x\n2,y\n"),
        ("rows.json", '{"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}'),
        ("rows.jsonl", '{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'),
    ],
)
def test_a_file_is_sent_as_it_is(
    server: launcher.Server, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    expected = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    pd.testing.assert_frame_equal(server.predict(tmp_path / name), expected)
    expected.to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(server.predict(str(tmp_path / "rows.parquet")), expected)


def test_files_that_cannot_be_sent_are_bad_usage(server: launcher.Server, tmp_path: Path) -> None:
    for name, message in (
        ("no.csv", "cannot be read: No such file"),
        ("rows.csv.gz", "sent as it is"),
    ):
        with pytest.raises(launcher.UsageError, match=message):
            server.predict(tmp_path / name)


def test_what_no_model_can_be_asked_by_is_a_type_error(server: launcher.Server) -> None:
    with pytest.raises(TypeError, match="not <class 'int'>"):
        server.predict(3)
    with pytest.raises(TypeError, match="no form in JSON"):
        server.predict({"inputs": [object()]})


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ("[]", []),
        ('"text"', "text"),
        ('{"a": [1]}', {"a": [1]}),
        ("[[1], [2, 3]]", [[1], [2, 3]]),
        ('[1, "a"]', [1, "a"]),
        ("[null]", [None]),
        ('[{"a": 1}, {"b": 2}]', [{"a": 1}, {"b": 2}]),
    ],
)
def test_what_is_no_table_and_no_array_stays_what_json_says(
    predictions: str, expected: Any
) -> None:
    assert value_of(f'{{"predictions": {predictions}}}'.encode()) == expected


def test_missing_numbers_are_nan_and_an_answer_without_predictions_is_whole() -> None:
    array = value_of(b'{"predictions": [1, null]}')
    assert array[0] == 1
    assert np.isnan(array[1])
    assert value_of(b'{"choices": []}') == {"choices": []}
    assert value_of(b"data: {}\n\n") == "data: {}\n\n"


def test_times_and_bytes_have_their_form_in_json() -> None:
    frame = pd.DataFrame({"t": [pd.Timestamp("2024-01-31 12:00"), pd.NaT], "b": [b"a", b""]})
    assert b'[["2024-01-31T12:00:00", "YQ=="], [null, ""]]' in encode(document_of(frame))
    times = np.array(["2024-01-31"], dtype="datetime64[D]")
    assert encode(document_of(times, {"k": 1})) == b'{"inputs": ["2024-01-31"], "params": {"k": 1}}'


def test_a_refusal_has_its_status_and_the_servers_words(server: launcher.Server) -> None:
    with pytest.raises(
        launcher.RefusedError, match=r"400 Bad Request: .*dataframe_split"
    ) as caught:
        server.predict({"rows": []})
    assert caught.value.status == 400


def test_the_servers_log_is_at_hand(server: launcher.Server) -> None:
    server.predict(pd.DataFrame({"a": [1]}))
    assert "asked by DataFrame" in server.logs()
    assert len(server.logs(lines=1).splitlines()) == 1
    assert server.log.is_file()


def test_the_event_loop_goes_on_while_the_model_answers(server: launcher.Server) -> None:
    async def ask() -> list[Any]:
        # As in a notebook, where a loop runs: the calls that block work there, too.
        assert server.predict([1]).tolist() == [1]
        assert server.ready()
        return await asyncio.gather(*(server.apredict([number]) for number in range(20)))

    assert [answer.tolist() for answer in asyncio.run(ask())] == [[number] for number in range(20)]
