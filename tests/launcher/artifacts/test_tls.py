"""TLS: a server with a certificate that nobody here trusts."""

from __future__ import annotations

import ssl
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from launcher.artifacts import ModelURIError, resolve_model
from tests.launcher.artifacts import servers

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody knows."""
    return servers.self_signed(tmp_path)


@pytest.fixture
def address(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that knows no logged model, over TLS."""
    body = b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
    answering = servers.answering(
        lambda handler: servers.reply(handler, 404, body, "application/json")
    )
    with servers.over_tls(answering, certificate) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield address


def refused() -> ModelURIError:
    with pytest.raises(ModelURIError) as error:
        resolve_model("models:/m-1")
    return error.value


def test_an_unknown_certificate_is_refused_and_the_settings_are_named(address: str) -> None:
    error = refused()
    assert error.message == f"The certificate of {address!r} is not trusted here."
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in error.hint


@pytest.mark.usefixtures("address")
def test_its_certificate_or_no_check_lets_it_pass(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    assert "no logged model" in refused().message
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    # Another bundle in the environment must not undo what was asked for by name.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ssl.get_default_verify_paths().cafile))
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert "no logged model" in refused().message
    assert not [warning for warning in recwarn if "InsecureRequest" in str(warning.category)]


@pytest.mark.parametrize("uri", ["models:/m-1", "runs:/r/model", "mlflow-artifacts:/1", "web"])
def test_a_redirect_from_https_to_http_is_refused(
    uri: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what is asked about a model as for its files."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    plain = servers.answering(lambda handler: servers.reply(handler, 200, b"{}", "text/plain"))
    with plain as other:

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(307)
            handler.send_header("Location", f"{other.url}/m.zip")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with servers.over_tls(servers.answering(redirect), certificate) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            with pytest.raises(ModelURIError, match=r"^Refused: .* redirects to") as error:
                resolve_model(f"{address}/m.zip" if uri == "web" else uri)
        assert "https:" in error.value.hint
        assert other.requests == []


def test_other_redirects_are_followed(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("MLmodel", "flavors: {}")
    with servers.over_tls(servers.serve_files(tmp_path), certificate) as address:

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            to = f"{address}/m.zip" if handler.path == "/b" else "/b"
            handler.send_header("Location", "/without-end" if "end" in handler.path else to)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with servers.answering(redirect) as server:
            assert (resolve_model(f"{server.url}/a.zip").path / "MLmodel").is_file()
            with pytest.raises(ModelURIError, match="redirects without end"):
                resolve_model(f"{server.url}/end.zip")
