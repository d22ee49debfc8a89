"""Coverage-guided fuzzing of the whole request path, in one process, by atheris (libFuzzer).

    python fuzz_server.py WORK_FOLDER [libFuzzer options such as -max_total_time=600]

Every input is a request to the application: byte 0 chooses the model, byte 1 the Content-Type,
byte 2 what the client accepts, the rest is the body. A status of 500 and above is a failure
(the models never raise), as is an exception, a request of more than 10 s, and memory that grows.
Mutations are libFuzzer's of the bytes and, where the body is JSON, some of its values.
"""

import io
import json
import logging
import os
import pathlib
import random
import sys
import warnings

import atheris

with atheris.instrument_imports(include=["scoring_server"]):
    from scoring_server.config import ServerConfig
    from scoring_server.model.loading import load_model
    from scoring_server.protocols.mlflow import MlflowProtocol
    from scoring_server.routes import Request
    from scoring_server.scoring.application import Application

MODEL = """
class Model:
    def predict(self, model_input, params=None):
        return [1, 2.5]

    def predict_stream(self, model_input, params=None):
        yield 1

def _load_pyfunc(path):
    return Model()
"""
SCALARS = ["boolean", "integer", "long", "float", "double", "string", "binary", "datetime"]
OBJECT = {"type": "object", "properties": {"x": {"type": "double"}, "y": {"type": "any"}}}
PARAMS = [
    {"name": kind, "type": kind, "default": None, "shape": None}
    for kind in SCALARS
    if kind != "binary"
]
SIGNATURES = [
    None,
    {"inputs": [{"name": kind, "type": kind} for kind in SCALARS], "params": PARAMS},
    {"inputs": [{"name": kind, "type": kind, "required": False} for kind in SCALARS]},
    {"inputs": [{"type": "string"}]},
    {"inputs": [{"type": "double"}, {"type": "long"}]},
    {
        "inputs": [
            {"name": "a", "type": "array", "items": {"type": "long"}, "required": True},
            {"name": "m", "type": "map", "values": OBJECT, "required": False},
            dict(OBJECT, name="o", required=True),
        ]
    },
    {"inputs": [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]},
    {
        "inputs": [
            {"name": "l", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}},
            {"name": "r", "type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1, 2]}},
        ]
    },
]
CONTENT_TYPES = [
    "application/json", "text/csv", "application/csv; header=absent", "application/x-parquet",
    "application/json; charset=utf-8", "text/csv; header=present", "application/json; stream",
]  # fmt: skip
ACCEPTED = ["*/*", "text/event-stream"]
ROW = {
    "boolean": True, "integer": 1, "long": 2, "float": 0.5, "double": 1.5, "string": "a",
    "binary": "dGVzdA==", "datetime": "2020-01-02T03:04:05Z",
}  # fmt: skip


def applications(folder):
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "fuzzed_loader.py").write_text(MODEL)
    flavor = {"loader_module": "fuzzed_loader", "code": "code"}
    for number, signature in enumerate(SIGNATURES):
        if number % 2:
            flavor = dict(flavor, streamable=True)
        model = {
            "path": str(folder),
            "flavors": {"python_function": flavor},
            "signature": signature,
        }
        config = ServerConfig.from_dict({"model": model, "server": {"max_body": 1 << 20}})
        yield Application(config, load_model(config)), MlflowProtocol(config)


def seeds():
    rows = [ROW, dict(ROW, string=None)]
    nested = {"a": [1, 2], "m": {"k": {"x": 1.5, "y": [None]}}, "o": {"x": 0.5, "y": {}}}
    documents = [
        {"dataframe_records": rows, "params": {"long": 5}},
        {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())], "index": [3]}},
        {"inputs": {name: [value] for name, value in ROW.items()}},
        {"instances": rows}, {"inputs": ROW}, {"inputs": [[1, 2], [3, 4]]}, {"inputs": ["a"]},
        {"messages": [{"role": "user", "content": "c"}], "stream": True, "long": 5},
        {"dataframe_records": [nested]}, {"inputs": nested}, {"inputs": {"l": [1], "r": [["a", "b"]]}},
        {"instances": [{"l": 1, "r": ["a", "b"]}]}, [ROW],
    ]  # fmt: skip
    for model in range(len(SIGNATURES)):
        for document in documents:
            yield bytes([model, 0, 0]) + json.dumps(document).encode()
        yield (
            bytes([model, 1, 0])
            + (",".join(ROW) + "\n" + ",".join(map(str, ROW.values()))).encode()
        )
        yield bytes([model, 2, 1]) + b"1,2,3\n4,5,6\n"
        yield bytes([model, 3, 0]) + parquet()


def parquet():
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame([{"long": 1, "string": "a", "l": [1, 2]}]).to_parquet(buffer)
    return buffer.getvalue()


# What grows after so many requests, grows with their number; libFuzzer keeps inputs, too.
SETTLED_AFTER, MAX_GROWTH = 5000, 300

WORDS = [
    *ROW, "dataframe_split", "dataframe_records", "inputs", "instances", "params", "columns", "data",
    "index", "messages", "stream", "null", "true", "NaN", "-Infinity", "1e999", "9223372036854775808",
    "\\\\ud800", "\\\\u0000", "[[[[", '{"a":', "PAR1",
]  # fmt: skip


def answer_to(served, content_type, accept, body):
    application, protocol = served
    headers = {"content-type": content_type, "accept": accept}
    request = Request(protocol, protocol.routes[0], "POST", "/invocations", {}, "", headers, body)
    answer = application.answer(request)
    if not isinstance(answer.body, bytes):
        answer = answer._replace(body=b"".join(answer.body))
    return answer


def resident():
    """The memory of this process in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


ODD: list[object] = [
    None, True, 0, -1, 1.5, 1e300, 2**31, 2**63, 2**64, "", "a", "1", "NaN", "\ud800", "2020-01-01",
    "2020-01-01T00:00:00+02:00", "dGVzdA==", [], {}, [[]], [None], [1, "a"], {"a": 1}, {"x": 1.5},
]  # fmt: skip


def mutate(data, max_size, seed):
    """Change one value of a JSON body half of the time; else leave it to libFuzzer."""
    chance = random.Random(seed)
    if chance.random() < 0.5 and len(data) > 3:
        try:
            document = json.loads(data[3:])
        except (ValueError, RecursionError):
            return atheris.Mutate(data, max_size)
        head = bytes([chance.randrange(len(SIGNATURES)), data[1], data[2]])
        return (head + json.dumps(replaced(document, chance)).encode())[:max_size]
    return atheris.Mutate(data, max_size)


def replaced(value, chance):
    """The value with one part of it, anywhere in it, replaced, dropped or doubled."""
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.15:
        return chance.choice(ODD)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = chance.choice(keys)
    changed = value.copy()
    if chance.random() < 0.1:
        del changed[key]
    elif chance.random() < 0.1 and isinstance(value, list):
        changed += value
    else:
        changed[key] = replaced(value[key], chance)
    return changed


def main():
    folder = pathlib.Path(sys.argv.pop(1))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    served = list(applications(folder / "model"))
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{word}"\n'.replace('"a"', '\\"a\\"') for word in WORDS))
    progress = {"requests": 0, "settled": None}

    def fuzz(data):
        if len(data) < 3:
            return
        content_type = CONTENT_TYPES[data[1] % len(CONTENT_TYPES)]
        accept = ACCEPTED[data[2] % len(ACCEPTED)]
        answer = answer_to(served[data[0] % len(served)], content_type, accept, data[3:])
        assert answer.status < 500, answer
        progress["requests"] += 1
        if progress["requests"] == SETTLED_AFTER:
            progress["settled"] = resident()
        elif progress["requests"] % SETTLED_AFTER == 0:
            grown = resident() - progress["settled"]
            assert grown < MAX_GROWTH, f"grown by {grown} MB in {progress['requests']} requests"

    options = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=20000", f"-dict={words}", "-seed=1"]
    arguments = [sys.argv[0], *options, *sys.argv[1:], str(corpus)]
    atheris.Setup(arguments, fuzz, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
