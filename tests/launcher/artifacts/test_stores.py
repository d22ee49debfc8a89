"""Object stores: the real packages against emulators of S3, Google Cloud Storage and Azure."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.launcher.artifacts import servers
from tests.launcher.artifacts.oracles import (
    HERE,
    build_node_package,
    log_models,
    mlflow_server,
    serving,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home")]

MLMODEL = "flavors:\n  python_function:\n    loader_module: m\n"
SECRET = "a-very-secret-key"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of 20 MB, so that its largest file takes more than one range."""
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text(MLMODEL)
    noise = random.Random(0)
    (folder / "data" / "big one.bin").write_bytes(noise.randbytes(20_000_000))
    (folder / "data" / "small").write_bytes(noise.randbytes(1000))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "registered_model_meta"
    }


def run(python: Path, store: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [str(python), str(HERE / "resolve_in_store.py"), *arguments],
        env={**os.environ, **store},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert SECRET not in done.stdout + done.stderr
    return done.stdout


def resolve(python: Path, store: Mapping[str, str], *uris: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(python, store, "resolve", *uris))
    return found


@pytest.fixture(scope="module")
def s3(stores_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment variables that lead to moto's S3."""
    port = servers.free_port()
    command = [str(stores_python.parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with serving(command, port, tmp_path_factory.mktemp("moto"), {}):
        yield {
            "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "an-id",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@pytest.fixture(scope="module")
def gcs(stores_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment variables that lead to an emulator of Google Cloud Storage."""
    port = servers.free_port()
    command = [str(stores_python.parent / "gcp-storage-emulator"), "start", "--in-memory"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--default-bucket", "bucket"]
    with serving(command, port, tmp_path_factory.mktemp("gcs"), {}):
        yield {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
            "FSSPEC_GCS_TOKEN": "anon",
            # gcsfs asks for the bucket's type by gRPC, which the emulator does not have.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }


@pytest.fixture(scope="module")
def azure(
    launcher_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment variables that lead to Azurite, Microsoft's emulator of Blob Storage."""
    if shutil.which("npm") is None:
        pytest.skip("Azurite, the emulator of Azure's storage, needs npm: apt-get install npm")
    azurite = build_node_package(launcher_home / "oracles" / "azurite", "azurite", "azurite-blob")
    port = servers.free_port()
    command = [str(azurite), "--blobPort", str(port), "--inMemoryPersistence"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    with serving(command, port, tmp_path_factory.mktemp("azurite"), {}):
        # The account and key that every Azurite has, as its documentation gives them.
        key = (
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
            "K1SZFPTOtr/KBHBeksoGMGw=="
        )
        yield {
            "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;"
            f"AccountName=devstoreaccount1;AccountKey={key};"
            f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        }


SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gcs", "az": "azure", "abfs": "azure"}


@pytest.fixture(scope="module", params=SCHEMES)
def emulated(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """A scheme, and the environment variables that lead to the emulator for it."""
    return request.param, request.getfixturevalue(SCHEMES[request.param])


def test_a_model_in_a_bucket(
    emulated: tuple[str, dict[str, str]], model: Path, stores_python: Path
) -> None:
    scheme, store = emulated
    uri = f"{scheme}://bucket/some models/of {scheme}"
    run(stores_python, store, "fill", uri, str(model))
    above, nowhere = f"{scheme}://bucket/some models", f"{scheme}://bucket/nothing/here"
    first, again, slash, parent, nothing, bucket = resolve(
        stores_python, store, uri, uri, uri + "/", above, nowhere, f"{scheme}://no-bucket/m"
    )
    assert first["files"] == hashes(model)
    assert first["fetched"]
    for other in (again, slash):
        assert not other["fetched"]
        assert other["path"] == first["path"]
    assert f"of {scheme}" in parent["hint"]
    for missing in (nothing, bucket):
        assert "MLmodel" in missing["message"] or "nothing at" in missing["message"]
    # Other contents of the same size.
    (model / "data" / "small").write_bytes(bytes(1000))
    run(stores_python, store, "fill", uri, str(model))
    (changed,) = resolve(stores_python, store, uri)
    assert changed["revision"] != first["revision"]
    assert changed["files"] == hashes(model)


def test_an_archive_in_a_bucket(
    model: Path, stores_python: Path, s3: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "packed").mkdir()
    with zipfile.ZipFile(tmp_path / "packed" / "m.zip", "w") as archive:
        for path in model.rglob("*"):
            archive.write(path, path.relative_to(model))
    run(stores_python, s3, "fill", "s3://bucket/packed", str(tmp_path / "packed"))
    first, again = resolve(stores_python, s3, *["s3://bucket/packed/m.zip"] * 2)
    assert first["files"] == hashes(model)
    assert (first["fetched"], again["path"]) == (first["fetched"], first["path"])


def test_a_run_in_a_bucket_whose_server_hands_nothing_out(
    newest_mlflow_python: Path, stores_python: Path, s3: dict[str, str], tmp_path: Path
) -> None:
    run(stores_python, s3, "fill", "s3://mlflow/readme", str(HERE))  # makes the bucket
    options = ["--default-artifact-root", "s3://mlflow/root", "--no-serve-artifacts"]
    with mlflow_server(newest_mlflow_python, tmp_path / "server", options, s3) as uri:
        made = log_models(newest_mlflow_python, uri, tmp_path / "client", versions=1, **s3)
        assert made["artifact_uri"].startswith("s3://mlflow/root")
        store = {**s3, "MLFLOW_TRACKING_URI": uri}
        name = made["name"]
        uris = [f"models:/{name}/1", f"models:/{name}@champion", f"models:/{name}/latest"]
        uris += [f"runs:/{made['runs'][0]}/model", f"models:/{made['model_ids'][0]}"]
        for found in resolve(stores_python, store, *uris):
            assert found["files"] == hashes(Path(made["downloaded_1"]))
        (notes,) = resolve(stores_python, store, f"runs:/{made['runs'][0]}/notes")
        assert "Models of this run: model." in notes["hint"]
        # The store of the run is asked for by name here: the server has none to hand out.
        (proxied,) = resolve(stores_python, store, "mlflow-artifacts:/1/x")
        assert "--no-serve-artifacts" in proxied["message"]


def test_a_store_that_is_down_or_refuses(stores_python: Path, s3: dict[str, str]) -> None:
    down = f"http://127.0.0.1:{servers.free_port()}"
    (found,) = resolve(stores_python, {**s3, "MLFLOW_S3_ENDPOINT_URL": down}, "s3://bucket/m")
    assert "cannot be read" in found["message"]
    nobody = {**s3, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nonexistent"}
    (found,) = resolve(stores_python, nobody, "s3://bucket/m")
    assert "no credentials" in found["message"]
    assert "FSSPEC_S3_ANON" in found["hint"]


@pytest.fixture(scope="module")
def s3_over_tls(
    stores_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """Moto's S3 as R2 and B2 are reached: over TLS, at the host that the URI names."""
    port = servers.free_port()
    command = [str(stores_python.parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port), "-s"]
    with serving(command, port, tmp_path_factory.mktemp("moto-tls"), {}):
        yield (
            f"127.0.0.1:{port}",
            {
                # It is another store's, and must not count.
                "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9",
                "MLFLOW_S3_IGNORE_TLS": "true",
                "AWS_ACCESS_KEY_ID": "an-id",
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        )


@pytest.mark.parametrize("scheme", ["r2", "b2"])
def test_a_model_at_a_host_that_speaks_s3(
    scheme: str, s3_over_tls: tuple[str, dict[str, str]], model: Path, stores_python: Path
) -> None:
    host, store = s3_over_tls
    uri = f"{scheme}://{scheme}-models@{host}/some models/of {scheme}"
    run(stores_python, store, "fill", uri, str(model))
    first, again, above, unnamed, secret = resolve(
        *(stores_python, store, uri, uri, uri.rpartition("/")[0]),
        *(f"{scheme}://{host}/m", f"{scheme}://key:{SECRET}@{host}/m"),
    )
    assert first["files"] == hashes(model)
    assert (first["fetched"], again["fetched"]) == (True, False)
    assert f"of {scheme}" in above["hint"]
    for wrong in (unnamed, secret):
        assert "names no bucket" in wrong["message"]
        assert f"Write {scheme}://BUCKET@" in wrong["hint"]
    # As everywhere, certificates are checked unless that is switched off.
    (untrusted,) = resolve(stores_python, {**store, "MLFLOW_S3_IGNORE_TLS": ""}, uri)
    assert "cannot be read" in untrusted["message"]


HADOOP = """
import json, sys, pyarrow.fs
given = []

def local(**options):
    given.append(options)
    return pyarrow.fs.LocalFileSystem()

# Hadoop's own library is in no package index: this stands in for its file system, all else is real.
pyarrow.fs.HadoopFileSystem = local
from launcher.artifacts import resolve_model
paths = [str(resolve_model(uri).path) for uri in sys.argv[1:]]
print(json.dumps({"given": given, "paths": paths}))
"""


def test_hadoop_gets_what_mlflow_gives_it(model: Path, stores_python: Path) -> None:
    with zipfile.ZipFile(model.parent / "m.zip", "w") as archive:
        archive.write(model / "MLmodel", "MLmodel")
    uris = [f"hdfs://mia@namenode:8020{model}", f"viewfs://{model}"]
    uris.append(f"hdfs://{model.parent}/m.zip")
    settings = {
        "MLFLOW_KERBEROS_USER": "mia",
        "MLFLOW_KERBEROS_TICKET_CACHE": "/tmp/krb5cc",
        "MLFLOW_PYARROW_EXTRA_CONF": "dfs.replication=2,a.b=c=d",
    }
    done = subprocess.run(
        [str(stores_python), "-c", HADOOP, *uris],
        env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    common = {
        "user": "mia", "kerb_ticket": "/tmp/krb5cc",
        "extra_conf": {"dfs.replication": "2", "a.b": "c=d"},
    }  # fmt: skip
    named, default = {"host": "hdfs://namenode", "port": 8020}, {"host": "default", "port": 0}
    assert found["given"][0] == {**named, **common}
    assert found["given"][-1] == {**default, **common}
    assert [hashes(Path(path)) for path in found["paths"][:2]] == [hashes(model)] * 2
    assert list(hashes(Path(found["paths"][2]))) == ["MLmodel"]


def test_hadoop_s_library_is_asked_for(stores_python: Path) -> None:
    # Neither Hadoop nor, perhaps, Java is there.
    without = {"HADOOP_HOME": "", "JAVA_HOME": "", "ARROW_LIBHDFS_DIR": "/nonexistent"}
    missing, relative = resolve(stores_python, without, "hdfs://h:1/m", "hdfs:m")
    assert "Hadoop's client library cannot be used (Unable to load lib" in missing["message"]
    assert "CLASSPATH" in missing["hint"]
    assert "is not a hdfs: URI" in relative["message"]
