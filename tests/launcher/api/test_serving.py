"""Servers begin, end and fail as values: with a block, with a process, with a crash."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import psutil
import pytest

import launcher
from tests.launcher.api.scripts import NOTEBOOK, read_line, run_script, say
from tests.launcher.launcher_process import LONGEST, ObedientModel, command, wait_until_gone


def family_of(pid: int) -> list[psutil.Process]:
    """A launcher and all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def serve(model: ObedientModel, name: str | None = None) -> launcher.Server:
    options: launcher.api.keywords.ServeKeywords = {"port": 0, "env_manager": "local"}
    if name is not None:
        options["name"] = name
    return launcher.serve(model.path, **options)


def test_it_serves_until_it_is_stopped(
    obedient: ObedientModel, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"api-{os.getpid()}"
    with caplog.at_level("INFO", "launcher"):
        server = serve(obedient, name)
    assert ("launcher", logging.INFO, "loading the model") in caplog.record_tuples
    assert server.ready()
    assert server.name == name
    assert server.url.startswith("http://127.0.0.1:")
    family = family_of(server.pid)
    assert len(family) > 2
    with pytest.raises(ZeroDivisionError), server:
        _ = 1 / 0
    wait_until_gone(family)
    assert not server.ready()
    server.stop()
    with pytest.raises(launcher.ServerNotReadyError, match="has been stopped"):
        server.predict([1])


def test_a_server_without_a_block_lives_until_nobody_has_it(obedient: ObedientModel) -> None:
    token_file = obedient.path / "token"
    token_file.write_text("secret")
    server = launcher.serve(obedient.path, port=0, env_manager="local", token_file=token_file)
    assert server.predict(command("x")).tolist() == ["done"]
    family = family_of(server.pid)
    del server
    wait_until_gone(family)


def test_a_start_that_fails_is_the_error_of_the_command_line(obedient: ObedientModel) -> None:
    obedient.mark("load.raise")
    with pytest.raises(launcher.ServerNotReadyError, match="the weights are damaged") as caught:
        serve(obedient)
    assert caught.value.exit_code == 4
    assert "ModelLoadError: " in str(caught.value)  # the end of the log
    assert caught.value.log_path is not None
    with pytest.raises(launcher.ModelError, match="There is no folder") as missing:
        launcher.serve(obedient.path / "nowhere")
    assert missing.value.hint is not None
    with pytest.raises(launcher.UsageError, match="'abc' is not a valid"):
        launcher.serve(obedient.path, port="abc")  # type: ignore[arg-type]


def test_a_server_that_has_died_is_an_error_with_the_end_of_its_log(
    obedient: ObedientModel,
) -> None:
    with serve(obedient) as server:
        with pytest.raises(launcher.ServerNotReadyError, match=r"within 0\.1 s"):
            server.predict(command("sleep 1"), timeout=0.1)
        family = family_of(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        wait_until_gone(family[1:])
        with pytest.raises(launcher.ServerCrashedError, match="code -9") as caught:
            server.predict(command("x"))
        assert "model loaded" in str(caught.value)


STARTS = """
import multiprocessing, os, signal, sys, time
import launcher

server = launcher.serve(sys.argv[1], port=0, env_manager="local")
print(server.pid, flush=True)
sys.stdin.readline()
"""
# Endings of a process that has not stopped its server.
ENDINGS = {
    "end": "",
    "exit": "os._exit(3)",
    "raise": "raise SystemExit('told to')",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
}
# A child has all that its parent has, and outlives it.
LEAVES_A_CHILD = """
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
child.start()
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_server_ends_with_the_process_however_that_ends(obedient: ObedientModel) -> None:
    scripts = [run_script(obedient, STARTS + each) for each in ENDINGS.values()]
    families = [family_of(int(read_line(script))) for script in scripts]
    for script, family in zip(scripts, families, strict=True):
        script.communicate("go on\n", timeout=LONGEST)
        wait_until_gone(family)


@pytest.mark.slow
def test_a_child_that_is_forked_does_not_keep_a_server(obedient: ObedientModel) -> None:
    script = run_script(obedient, STARTS + LEAVES_A_CHILD)
    family = family_of(int(read_line(script)))
    say(script)
    child = psutil.Process(int(read_line(script)))
    wait_until_gone(family)
    assert child.is_running()
    child.kill()
    script.communicate(timeout=LONGEST)


@pytest.mark.slow
def test_a_child_that_is_forked_does_not_stop_a_server(obedient: ObedientModel) -> None:
    with serve(obedient) as server:
        child = os.fork()
        if child == 0:  # in the child
            with server:
                answer = server.predict(command("x")).tolist()
            os._exit(0 if answer == ["done"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert server.ready()


@pytest.mark.slow
def test_an_interrupt_ends_the_start_but_not_what_has_started(obedient: ObedientModel) -> None:
    def interrupt() -> None:
        os.killpg(notebook.pid, signal.SIGINT)  # what a terminal does with Ctrl-C
        assert read_line(notebook) == "interrupted"

    notebook = run_script(obedient, NOTEBOOK)
    start = "launcher.serve(sys.argv[1], port=0, env_manager='local')"
    obedient.hold("load")
    say(notebook, f"server = {start}")
    obedient.wait_until_held("load")
    family = psutil.Process(notebook.pid).children(recursive=True)
    assert len(family) > 1
    interrupt()
    wait_until_gone(family)

    (obedient.path / "load.go").unlink()
    obedient.hold("predict")
    say(notebook, f"server = {start}; print(server.pid, flush=True)")
    family = family_of(int(read_line(notebook)))
    say(notebook, "server.predict({'dataframe_records': [{'command': 'meet'}]})")
    obedient.wait_until_held("predict")
    interrupt()
    say(notebook, "print(server.ready(), flush=True)")
    assert read_line(notebook) == "True"
    obedient.let_go("predict")
    notebook.communicate(timeout=LONGEST)
    wait_until_gone(family)


def test_the_event_loop_goes_on_while_a_server_starts(obedient: ObedientModel) -> None:
    obedient.hold("load")

    async def main() -> None:
        async def meanwhile() -> None:
            await asyncio.to_thread(obedient.wait_until_held, "load")
            await asyncio.to_thread(obedient.let_go, "load")

        task = asyncio.create_task(meanwhile())
        async with launcher.aserve(obedient.path, port=0, env_manager="local") as server:
            await task
            assert (await server.apredict(command("x"))).tolist() == ["done"]
            family = family_of(server.pid)
        await asyncio.to_thread(wait_until_gone, family)

    asyncio.run(main())


@pytest.mark.slow
def test_a_start_that_is_cancelled_leaves_nothing(obedient: ObedientModel) -> None:
    obedient.hold("load")
    before = psutil.Process().children(recursive=True)  # of other tests, which share them

    async def main() -> None:
        start = launcher.aserve(obedient.path, port=0, env_manager="local")
        task = asyncio.ensure_future(asyncio.wait_for(start, timeout=None))
        await asyncio.to_thread(obedient.wait_until_held, "load")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    left = psutil.Process().children(recursive=True)
    wait_until_gone([each for each in left if each not in before])
