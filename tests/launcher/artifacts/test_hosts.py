"""Models on FTP and SFTP servers: real servers, keys and passwords of the test's own."""

from __future__ import annotations

import hashlib
import os
import pwd
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncssh
import pytest
import requests

from launcher.artifacts import ModelSource, ModelURIError, resolve_model
from launcher.artifacts.stores.hosts import CONNECTIONS
from launcher.artifacts.uris import redact
from tests.launcher.artifacts import servers
from tests.launcher.artifacts.hosts import PASSWORD, USER, Host, ftp_server, sftp_server
from tests.launcher.artifacts.oracles import serving
from tests.launcher.launcher_process import Launcher, ObedientModel

pytestmark = [
    pytest.mark.usefixtures("home"),
    # A person would see its traceback.
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

MLMODEL = "flavors:\n  python_function:\n    loader_module: m\n"
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}"
SIZE = 6_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a host has: a model in `some models/of #1?`, of which one file takes a while."""
    model = tmp_path / "served" / "some models" / "of #1?"
    (model / "data").mkdir(parents=True)
    (model / "MLmodel").write_text(MLMODEL)
    (model / "data" / "big one.bin").write_bytes(random.Random(0).randbytes(SIZE))
    (model / "data" / "empty").touch()
    for name in "abcdefgh":
        (model / "data" / name).write_text(name)
    return tmp_path / "served"


MODEL = "some models/of #1?"


@pytest.fixture(scope="module")
def host_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder .ssh of a user who knows no host, and has no agent."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "user" / ".ssh").mkdir(parents=True)
    return tmp_path / "user" / ".ssh"


def know(ssh: Path, host: Host, key: asyncssh.SSHKey) -> None:
    public = key.export_public_key().decode()
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{host.port} {public}")


@pytest.fixture(params=["ftp", "sftp"])
def host(
    request: pytest.FixtureRequest, folder: Path, ssh: Path, host_key: asyncssh.SSHKey
) -> Iterator[Host]:
    if request.param == "ftp":
        with ftp_server(folder) as found:
            yield found
        return
    with sftp_server(folder, host_key) as found:
        know(ssh, found, host_key)
        yield found


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def resolve(uri: str, lines: list[str] | None = None, **options: object) -> ModelSource:
    said: list[str] = [] if lines is None else lines
    found = resolve_model(uri, report=said.append, **options)  # type: ignore[arg-type]
    assert PASSWORD not in "".join(said)
    return found


def refused(uri: str, **options: object) -> ModelURIError:
    with pytest.raises(ModelURIError) as caught:
        resolve(uri, **options)
    told = f"{caught.value.message} {caught.value.hint}"
    assert PASSWORD not in told
    assert quote(PASSWORD, safe="") not in told
    return caught.value


def test_a_model_on_a_host(host: Host, folder: Path, home: Path) -> None:
    uri = host.uri(MODEL, LOGIN)
    lines: list[str] = []
    first = resolve(uri, lines)
    assert hashes(first.path) == hashes(folder / MODEL)
    assert first.uri == redact(uri)
    assert any("Fetched" in line for line in lines)
    reads = host.reads
    again = resolve(uri + "/")
    assert again.path == first.path
    assert host.reads == reads + 1  # MLmodel, as for every store that tells no hashes
    above = refused(host.uri("some models", LOGIN))
    assert "of #1?" in above.hint
    assert "nothing at" in refused(host.uri("no/model", LOGIN)).message

    # Other contents of the same size, at another time.
    changed = folder / MODEL / "data" / "a"
    changed.write_text("z")
    os.utime(changed, (1, 1))
    other = resolve(uri)
    assert other.revision != first.revision
    assert hashes(other.path) == hashes(folder / MODEL)
    # Nothing that was written knows the password.
    for path in home.rglob("*"):
        assert USER not in path.name
        assert PASSWORD not in path.name
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes()
            assert quote(PASSWORD, safe="").encode() not in path.read_bytes()


@pytest.mark.slow
def test_offline_and_a_host_that_is_down(host: Host) -> None:
    uri = host.uri(MODEL, LOGIN)
    assert "has not been fetched before" in refused(uri, offline=True).message
    first = resolve(uri)
    assert resolve(uri, offline=True).path == first.path
    host.port = servers.free_port()
    gone = refused(host.uri(MODEL, LOGIN))
    assert "does not answer" in gone.message
    assert f"127.0.0.1:{host.port}" in gone.message


@pytest.mark.slow
def test_an_archive_on_a_host(host: Host, folder: Path) -> None:
    with zipfile.ZipFile(folder / "m.zip", "w") as archive:
        for path in (folder / MODEL).rglob("*"):
            archive.write(path, path.relative_to(folder / MODEL))
    first, again = (resolve(host.uri("m.zip", LOGIN)) for _ in range(2))
    assert hashes(first.path) == hashes(folder / MODEL)
    assert again.path == first.path
    assert host.reads == 1


@pytest.mark.slow
def test_a_transfer_that_is_cut_goes_on_where_it_was(host: Host, folder: Path) -> None:
    host.cut_after = SIZE * 9 // 10
    found = resolve(host.uri(MODEL, LOGIN))
    assert hashes(found.path) == hashes(folder / MODEL)
    assert host.cut_after is None
    # What was under way (SFTP's requests are sent ahead) is sent twice, and not all.
    assert host.sent < SIZE * 1.5


@pytest.mark.slow
def test_a_transfer_of_a_process_that_died_goes_on(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.cut_after = SIZE * 9 // 10
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        assert "does not answer" in refused(host.uri(MODEL, LOGIN)).message
    sent = host.sent
    found = resolve(host.uri(MODEL, LOGIN))
    assert hashes(found.path) == hashes(folder / MODEL)
    assert host.sent - sent < SIZE * 0.6


@pytest.mark.slow
def test_what_is_too_large_is_not_fetched(host: Host) -> None:
    error = refused(host.uri(MODEL, LOGIN), max_model_size=1_000_000)
    assert "larger than the allowed" in error.message
    assert host.sent < 10_000


def test_a_wrong_password_is_said_without_it(host: Host) -> None:
    error = refused(host.uri(MODEL, f"{USER}:wrong-{quote(PASSWORD, safe='')}"))
    assert "does not let the user" in error.message
    assert "wrong" not in error.message + error.hint


@pytest.mark.slow
def test_a_served_model_tells_no_password(
    folder: Path, launch: Callable[..., Launcher], obedient: ObedientModel
) -> None:
    shutil.copytree(obedient.path, folder / "obedient")
    with ftp_server(folder) as host:
        served = launch(
            *("serve", "-m", host.uri("obedient", LOGIN), "-p", "0", "--env-manager", "local"),
            *("--name", "host", "--ready-file", folder / "ready"),
        )
        url = served.ready()
        told = requests.get(f"{url}/info", timeout=30).text + (folder / "ready").read_text()
        told += subprocess.run(
            [sys.executable, "-m", "launcher", "ps", "--json"],
            stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
        served.stop()
    told += served.output
    assert host.uri("obedient") in told
    assert PASSWORD not in told
    assert quote(PASSWORD, safe="") not in told


@pytest.mark.parametrize("scheme", ["ftp", "sftp"])
@pytest.mark.parametrize(
    "rest", ["///m", "//user:pa#ss@h/m", "//user:pa/ss@h/m", "//u:1?pa@h/m", "//h:port/m"]
)
def test_what_names_no_host(scheme: str, rest: str) -> None:
    error = refused(f"{scheme}:{rest}")
    assert "names no host" in error.message
    assert "pa" not in error.message.replace("path", "")


@pytest.mark.slow
def test_ftp_without_a_user_is_anonymous_or_of_netrc(
    folder: Path, ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NETRC", raising=False)
    with ftp_server(folder) as host:
        (folder / "some models").rename(folder / "public" / "some models")
        resolve(host.uri(MODEL))
        assert set(host.logins) == {"anonymous"}
        host.logins.clear()
        (ssh.parent / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}")
        (ssh.parent / ".netrc").chmod(0o600)
        resolve(host.uri(f"public/{MODEL}"))
        assert set(host.logins) == {USER}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"without": ("MLSD", "MLST")}, {"without": ("MLSD", "MLST", "MDTM", "REST")}, {"most": 2}],
    ids=str,
)
def test_ftp_servers_that_can_less(settings: dict[str, object], folder: Path) -> None:
    (folder / MODEL / "link").symlink_to("data")
    with ftp_server(folder, **settings) as host:
        host.cut_after = SIZE // 2
        found = resolve(host.uri(MODEL, LOGIN))
        assert hashes(found.path)["data/big one.bin"] == hashes(folder / MODEL)["data/big one.bin"]
        assert (found.path / "link" / "a").read_text() == "a"


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", "a" * 300])
def test_a_list_that_leads_out_is_refused(name: str, folder: Path) -> None:
    with ftp_server(folder, names=["MLmodel", name]) as host:
        assert "Refused: the list of" in refused(host.uri(MODEL, LOGIN)).message
        assert host.reads == 0


@pytest.mark.slow
def test_links_in_a_circle_end(folder: Path, host: Host) -> None:
    (folder / MODEL / "data" / "up").symlink_to(folder / MODEL)
    if host.scheme == "sftp":
        (folder / MODEL / "data" / "up").unlink()
        (folder / MODEL / "data" / "up").symlink_to("..")
    assert "too many folders" in refused(host.uri(MODEL, LOGIN)).message


@pytest.mark.slow
def test_no_more_connections_than_hosts_allow(host: Host) -> None:
    resolve(host.uri(MODEL, LOGIN))
    assert 1 <= len(host.logins) <= CONNECTIONS


def test_ssh_hosts_have_to_be_known(folder: Path, ssh: Path, host_key: asyncssh.SSHKey) -> None:
    with sftp_server(folder, host_key) as host:
        uri = host.uri(MODEL, LOGIN)
        unknown = refused(uri)
        assert f"The host key of [127.0.0.1]:{host.port} is not known here" in unknown.message
        assert host_key.get_fingerprint() in unknown.message
        assert f"ssh-keyscan -p {host.port} 127.0.0.1 >> ~/.ssh/known_hosts" in unknown.hint
        assert host.logins == []  # no password for a stranger
        know(ssh, host, asyncssh.generate_private_key("ssh-ed25519"))
        changed = refused(uri)
        assert "another host key than the known one" in changed.message
        assert f"ssh-keygen -R '[127.0.0.1]:{host.port}'" in changed.hint
        assert host.logins == []
        know(ssh, host, host_key)
        resolve(uri)


@pytest.mark.slow
def test_ssh_s_own_configuration_counts(folder: Path, ssh: Path, host_key: asyncssh.SSHKey) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(ssh / "model_key"))
    with sftp_server(folder, host_key, key.export_public_key().decode()) as host:
        know(ssh, host, host_key)
        (ssh / "known_hosts").rename(ssh / "others")
        (ssh / "config").write_text(
            f"Host models\n  HostName 127.0.0.1\n  Port {host.port}\n  User {USER}\n"
            f"  IdentityFile ~/.ssh/model_key\n  UserKnownHostsFile ~/.ssh/others\n"
        )
        found = resolve(f"sftp://models/{MODEL}")
        assert hashes(found.path) == hashes(folder / MODEL)
        (ssh / "model_key").unlink()
        assert "does not let the user in" in refused(f"sftp://models/{MODEL}").message


SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {key}
AuthorizedKeysFile {keys}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""


@pytest.mark.slow
def test_openssh_s_own_server(folder: Path, ssh: Path, host_key: asyncssh.SSHKey) -> None:
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        pytest.skip("sshd is not installed: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # what it leaves behind its privileges in
    user_key = asyncssh.generate_private_key("ssh-ed25519")
    user_key.write_private_key(str(ssh / "id_ed25519"))
    user_key.write_public_key(str(ssh / "authorized_keys"))
    host_key.write_private_key(str(ssh / "host_key"))
    (ssh / "host_key").chmod(0o600)
    port = servers.free_port()
    (ssh / "sshd_config").write_text(
        SSHD.format(port=port, key=ssh / "host_key", keys=ssh / "authorized_keys")
    )
    host = Host("sftp", folder)
    host.port = port
    know(ssh, host, host_key)
    with serving([program, "-D", "-e", "-f", str(ssh / "sshd_config")], port, ssh, {}):
        user = pwd.getpwuid(os.geteuid()).pw_name
        found = resolve(host.uri(str(folder / MODEL).lstrip("/"), user))
    assert hashes(found.path) == hashes(folder / MODEL)


def test_paramiko_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    error = refused("sftp://h/m")
    assert "need the package paramiko" in error.message
    assert "pip install 'paramiko>=" in error.hint
