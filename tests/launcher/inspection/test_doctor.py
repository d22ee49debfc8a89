"""``launcher doctor``: a line for everything, whatever is broken."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.inspection.findings import OK, WARNING, Finding, Probe, run_probes
from tests.launcher.artifacts import servers
from tests.launcher.images.tiny_model import tiny_model

Run = Callable[..., subprocess.CompletedProcess[str]]


def doctor(run: Run, *words: object, **environ: str) -> tuple[int, dict[str, Any]]:
    done = run("doctor", "--json", *words, env={**os.environ, **environ})
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def by_name(findings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in findings}


def test_a_probe_that_fails_or_hangs_is_a_line() -> None:
    def fails() -> Finding:
        raise OSError("broken on purpose")

    never = threading.Event()
    probes = [
        Probe("broken", "", fails),
        Probe("hanging", "", lambda: Finding("hanging", OK, str(never.wait(60)))),
        Probe("well", "", lambda: Finding("well", OK, "fine")),
    ]
    begun = time.monotonic()
    broken, hanging, well = run_probes(probes, seconds=0.5)
    assert time.monotonic() - begun < 30
    never.set()
    assert (broken.state, hanging.state, well.state) == (WARNING, WARNING, OK)
    assert "OSError: broken on purpose" in broken.text
    assert hanging.text == "no answer within 0.5 s"


def test_a_machine_and_a_model_that_can_be_served(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    code, found = doctor(run, "-m", model, "--offline", "--env-manager", "local")
    assert (code, found["ok"]) == (0, True)
    machine = by_name(found["machine"])
    for name in ("launcher", "uv", "Pythons", "home", "disk", "kernel", "CPUs"):
        assert machine[name]["state"] == "ok", machine[name]
    assert machine["index"]["text"].endswith("not asked (offline)")
    assert found["model"]["findings"][-1]["text"] == f"would work: launcher serve -m {model}"


def test_an_index_that_does_not_answer_is_told_without_its_credentials(run: Run) -> None:
    url = "http://somebody:s3cret@127.0.0.1:9/simple"
    code, found = doctor(run, PIP_INDEX_URL=url)
    index = by_name(found["machine"])["index"]
    assert (code, index["state"], index["needed"]) == (1, "missing", True)
    assert "127.0.0.1:9/simple does not answer" in index["text"]
    assert "s3cret" not in json.dumps(found)


def test_an_index_is_trusted_by_the_certificate_that_uv_is_given(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    own = servers.self_signed(tmp_path)
    answering = servers.answering(lambda handler: servers.reply(handler, 200, b"", "text/html"))
    with servers.over_tls(answering, own) as address:
        states = []
        for variables in ({}, {"PIP_CERT": str(own)}, {"SSL_CERT_FILE": str(own)}):
            _, found = doctor(run, PIP_INDEX_URL=f"{address}/simple", **variables)
            states.append(by_name(found["machine"])["index"]["state"])
    assert states == ["missing", "ok", "ok"]


def test_what_a_model_lacks_is_named(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    (model / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'
        '[tool.launcher]\nplatforms = ["osx-64"]\n'
    )
    (model / "model.pkl").touch()
    switch = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    code, found = doctor(run, "-m", model, "--offline", **switch)
    assert code == 1
    lines = by_name(found["model"]["findings"])
    assert "pylock.toml is for osx-64, not for linux-" in lines["lockfile"]["text"]
    assert "forbids that" in lines["pickles"]["text"]
    assert lines["serve"]["text"] == "would fail: lockfile, pickles"
    code, found = doctor(run, "-m", tmp_path / "nothing", "--offline")
    assert code == 1
    assert found["model"]["findings"][-1]["text"] == "would fail: model"


def test_requirements_that_cannot_be_read_are_told(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny", requirements="-r elsewhere.txt\n")
    code, found = doctor(run, "-m", model, "--offline")
    lines = by_name(found["model"]["findings"])
    assert (code, lines["serve"]["text"]) == (1, "would fail: requirements")
    assert "elsewhere.txt" in lines["requirements"]["text"]


def test_what_the_machine_lacks_counts_for_the_model(run: Run, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    index = "http://127.0.0.1:9/simple"
    environ = {"LAUNCHER_HOME": str(not_a_folder), "PIP_INDEX_URL": index}
    code, found = doctor(run, "-m", model, **environ)
    lines = by_name(found["machine"])
    assert lines["home"]["text"] == f"{not_a_folder}: cannot be written to (Not a directory)"
    assert (code, found["ok"]) == (1, False)
    assert found["model"]["findings"][-1]["text"] == "would fail: index, home"
    # Where nothing has to be installed, nobody asks an index.
    code, found = doctor(run, "-m", model, "--env-manager", "local", PIP_INDEX_URL=index)
    assert (code, found["ok"]) == (0, True)
    assert by_name(found["machine"])["index"]["state"] == "missing"


def test_the_page_fits_a_terminal_and_tells_how_to_get_what_is_missing(run: Run) -> None:
    done = run("doctor", "--offline", env={**os.environ, "RSCRIPT": "/nowhere/Rscript"})
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) <= 30
    lines = done.stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.split()[1] == "R"]
    assert lines[at].startswith("-  ")
    assert "models of R (crate)" in lines[at]
    assert "RSCRIPT" in lines[at + 1]
