"""How each server is installed and started."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers import HERE, Peer, Setup

# The same releases for all that can have them.
_MODEL = ("cloudpickle==3.1.2", "numpy==2.4.6", "pandas==3.1.1", "scikit-learn==1.9.1")
MLFLOW_VERSION = "3.17.2"


def _launcher(*flags: str, workers: int | None = None) -> Callable[[Setup], list[str]]:
    def command(setup: Setup) -> list[str]:
        count = str(workers or setup.workers)
        serve = ["serve", "-m", str(setup.model), "-h", setup.host, "-p", str(setup.port)]
        return [sys.executable, "-m", "launcher", *serve, "-w", count, *flags]

    return command


def _mlflow(setup: Setup) -> list[str]:
    where = ["-m", str(setup.model), "-h", setup.host, "-p", str(setup.port)]
    flags = ["--env-manager", "local", "-w", str(setup.workers)]
    return [str(setup.python), "-m", "mlflow", "models", "serve", *where, *flags]


def _mlserver(setup: Setup) -> list[str]:
    _write(
        setup.folder / "settings.json",
        {
            "host": setup.host,
            "http_port": setup.port,
            "grpc_port": setup.free_port(),
            "metrics_port": setup.free_port(),
            "parallel_workers": setup.workers,
            "debug": False,
        },
    )
    _write(
        setup.folder / "model-settings.json",
        {
            "name": "iris",
            "implementation": "mlserver_mlflow.MLflowRuntime",
            "parameters": {"uri": str(setup.model)},
        },
    )
    return [str(setup.python.parent / "mlserver"), "start", str(setup.folder)]


def _litserve(*flags: str) -> Callable[[Setup], list[str]]:
    def command(setup: Setup) -> list[str]:
        script = str(HERE / "litserve_server.py")
        where = [str(setup.model), setup.host, str(setup.port), str(setup.workers)]
        return [str(setup.python), script, *where, *flags]

    return command


def _bentoml(setup: Setup) -> list[str]:
    source = HERE / "bentoml_service.py"
    (setup.folder / source.name).write_text(source.read_text())
    (setup.folder / "model.txt").write_text(str(setup.model))
    where = ["--host", setup.host, "--port", str(setup.port)]
    script = str(setup.python.parent / "bentoml")
    return [script, "serve", "bentoml_service:Iris", "--working-dir", str(setup.folder), *where]


def _fastapi(*arguments: str) -> Callable[[Setup], list[str]]:
    def command(setup: Setup) -> list[str]:
        script = str(HERE / "fastapi_server.py")
        where = [str(setup.model), setup.host, str(setup.port)]
        return [str(setup.python), script, *where, *arguments]

    return command


def _ray_serve(setup: Setup) -> list[str]:
    where = [str(setup.model), setup.host, str(setup.port), str(setup.scratch)]
    return [str(setup.python), str(HERE / "ray_serve_server.py"), *where]


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


LAUNCHER, BATCHING_PEER = "launcher", "launcher-batching"
FASTAPI = ("fastapi", "uvicorn", "httptools", "uvloop", "orjson", *_MODEL)
RAY_ENVIRON = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Otherwise it listens on the machine's other addresses as well.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # A busy machine takes longer to import Ray than it waits for itself.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_raylet_start_wait_time_s": "100",
}
BATCHING = ("--max-batch-rows", "1024")

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(LAUNCHER, "launcher", _launcher()),
        Peer(BATCHING_PEER, "launcher, batching", _launcher(*BATCHING)),
        Peer(
            "launcher-auto", "launcher, batching by itself", _launcher("--max-batch-rows", "auto")
        ),
        Peer(
            "mlflow",
            "mlflow models serve",
            _mlflow,
            requirements=(
                *(f"mlflow=={MLFLOW_VERSION}", "pyarrow", *_MODEL),
                *("xgboost==3.2.0", "lightgbm==4.7.0"),
            ),
            # It starts uvicorn by its name alone.
            environ={"MLFLOW_DISABLE_TELEMETRY": "true"},
            needs_path=True,
        ),
        Peer(
            "mlserver",
            "MLServer",
            _mlserver,
            requirements=("mlserver", "mlserver-mlflow"),
            # Its newest release does not run with newer releases of what it needs.
            exclude_newer="2025-07-15",
            ready_path="/v2/health/ready",
            own_model=True,
        ),
        Peer(
            "litserve",
            "LitServe",
            _litserve(),
            requirements=("litserve", *_MODEL),
            ready_path="/health",
        ),
        Peer(
            "litserve-batching",
            "LitServe, batching",
            _litserve("--batching"),
            requirements=("litserve", *_MODEL),
            environment="litserve",
            ready_path="/health",
        ),
        Peer(
            "bentoml",
            "BentoML",
            _bentoml,
            requirements=("bentoml", *_MODEL),
            environ={"BENTOML_DO_NOT_TRACK": "True"},
            ready_path="/readyz",
        ),
        Peer(
            "fastapi-dataframe",
            "FastAPI by hand, DataFrame",
            _fastapi("dataframe"),
            requirements=FASTAPI,
            environment="fastapi",
        ),
        Peer(
            "fastapi-array",
            "FastAPI by hand, array",
            _fastapi("array"),
            requirements=FASTAPI,
            environment="fastapi",
        ),
        *(
            # For comparison with the coroutines above: which is faster changes with the model.
            Peer(
                f"fastapi-{way}-threads",
                f"FastAPI by hand, {way}, in threads",
                _fastapi(way, "--threads"),
                requirements=FASTAPI,
                environment="fastapi",
                is_default=False,
            )
            for way in ("dataframe", "array")
        ),
        Peer(
            "ray-serve",
            "Ray Serve, one replica",
            _ray_serve,
            requirements=("ray[serve]", "orjson", *_MODEL),
            environ=RAY_ENVIRON,
        ),
    )
}

# Not a server: what files are read with, beside `launcher predict`.
FILE_READERS = Peer(
    "file-readers",
    "DuckDB and Polars",
    lambda _: [],
    # The pyarrow that MLflow allows, which the other environments have.
    requirements=("duckdb", "polars", "pyarrow<26", *_MODEL),
)
