"""The keywords of the API, for type checkers: a test compares them with the command line's options.

What is not given is what the command takes then: a variable, a configuration file, the default.
Times in seconds; sizes in bytes, or as text (``"2GB"``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

Text = str | os.PathLike[str]
Size = int | str


class ModelKeywords(TypedDict, total=False):
    """Which model, and where its environment comes from."""

    max_model_size: Size
    flavor: Literal["python_function", "crate"]
    env_manager: Literal["virtualenv", "uv", "conda", "local"]
    no_conda: bool
    install_mlflow: bool
    as_of: str
    offline: bool
    python_downloads: bool
    wheelhouse: Text


class PrepareEnvKeywords(ModelKeywords, total=False):
    """The keywords of ``prepare_env``."""

    enable_mlserver: bool
    server_config: Text


class PredictKeywords(ModelKeywords, total=False):
    """The keywords of ``predict``."""

    config: Text
    loader: Literal["auto", "mlflow"]
    content_type: Literal["csv", "json", "jsonl", "parquet"]
    output_path: Text
    output_format: Literal["csv", "json", "jsonl", "parquet"]
    pip_requirements_override: str | Sequence[str]
    env: Mapping[str, str]


class ServeKeywords(ModelKeywords, total=False):
    """The keywords of ``serve``."""

    access_log: bool
    backlog: int
    batch_tolerance: float
    batch_wait: float
    config: Text
    cors_origin: str | Sequence[str]
    direct_lane: Literal["auto", "on", "off"]
    enable_mlserver: bool
    graceful_timeout: float
    host: str
    liveness_timeout: float
    loader: Literal["auto", "mlflow"]
    log_format: Literal["text", "json"]
    log_keep: int
    log_max_size: Size
    max_batch_rows: int | Literal["auto"]
    max_body: Size
    max_held: Size
    max_requests: int
    max_requests_jitter: int
    max_restarts: int
    name: str
    otlp_endpoint: str
    page: bool
    port: int
    preload: bool
    ready_file: Text
    ready_timeout: float
    root_path: str
    slow_request: float
    threads: int
    timeout: float
    tls_cert: Text
    tls_key: Text
    token_file: Text
    uds: Text
    watch: float
    worker_memory: Size
    workers: int | Literal["auto"]
