"""``launcher update-pip-requirements``: what it makes of a model's files, beside real MLflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from launcher.artifacts import ModelURIError, folder_in_place
from launcher.commands.requirements import update_requirements
from launcher.console import Console
from launcher.errors import LauncherError, UsageError
from launcher.model import requirement_edit
from tests.scoring_server.environments import ORACLE, build
from tests.scoring_server.serving_process import script_environment

Run = Callable[..., subprocess.CompletedProcess[str]]

MLMODEL = "flavors:\n  python_function:\n    loader_module: m\n    env: {conda: conda.yaml}\n"
PYTHON_ENV = "python: 3.11.7\ndependencies:\n- -r requirements.txt\n"


def conda(*lines: str) -> str:
    """A conda.yaml as MLflow writes it."""
    section = "".join(f"\n  - {line}" for line in lines) or " []"
    return (
        "channels:\n- conda-forge\ndependencies:\n- python=3.11.7\n- pip\n"
        f"- pip:{section}\nname: mlflow-env\n"
    )


class Case(NamedTuple):
    """Lines of both files before, and what is done to them.

    :param expected: the lines afterwards where they are not MLflow's, for a reason.
    """

    operation: str
    requirements: list[str]
    lines: list[str]
    expected: list[str] | None = None


LINES = ["mlflow==3.17.2", "numpy==2.4.6", "scikit-learn==1.9.1"]
AS_MLFLOW = {
    "add": Case("add", ["pandas==2.2.3"], LINES),
    "replace in its place": Case("add", ["numpy<2"], LINES),
    "several": Case("add", ["pandas", "numpy==1.26", "torch>=2"], LINES),
    "blanks": Case("add", ["  mlflow >= 2.8, != 2.9.0 "], LINES),
    "extras": Case("add", ["mlflow[gateway, Databricks]>3"], LINES),
    "a marker": Case("add", ["numpy==1.26; python_version < '3.13'"], LINES),
    "case": Case("add", ["NumPy==1.0RC1", "Pandas"], LINES),
    "a URL": Case("add", ["numpy @ https://host.invalid/numpy-1-py3-none-any.whl"], LINES),
    "twice": Case("add", ["pandas[b]", "pandas[a]>1"], LINES),
    "the same": Case("add", ["numpy==2.4.6"], LINES),
    "remove": Case("remove", ["numpy"], LINES),
    "remove whatever the version": Case("remove", ["numpy==1", "MLFLOW"], LINES),
    "remove what is not there": Case("remove", ["nothing", "numpy"], LINES),
    "remove all": Case("remove", ["mlflow", "numpy", "scikit-learn"], LINES),
    "an old marker": Case("add", ["pandas"], ['numpy==1; python_version < "3.13"', "mlflow"]),
    "nothing before": Case("add", ["pandas"], []),
    "long": Case("add", [f"a{'b' * 90}==1; python_version >= '3.8'"], LINES),
}
# MLflow knows one form of a name, loses the first of two lines of one name, changes the case of
# markers and URLs, and fails where a line is not a requirement.
BETTER = {
    "underscore": Case(
        "add", ["scikit_learn==1.5"], LINES, [*LINES[:2], "scikit_learn==1.5"]
    ),
    "an old name's case": Case("add", ["flask==3"], ["Flask==2", "a"], ["flask==3", "a"]),
    "remove by another form": Case("remove", ["Scikit.Learn"], LINES, LINES[:2]),
    "two of a name": Case(
        "add", ["pandas"],
        ['numpy==1; python_version < "3.9"', 'numpy==2; python_version >= "3.9"'],
        ['numpy==1; python_version < "3.9"', 'numpy==2; python_version >= "3.9"', "pandas"],
    ),
    "two new ones of a name": Case(
        "add", ["a==1; python_version < '3.9'", "a==2; python_version >= '3.9'"], ["a==0"],
        ['a==1; python_version < "3.9"', 'a==2; python_version >= "3.9"'],
    ),
    "a marker's case": Case(
        "add", ["a; platform_system == 'Linux'"], [], ['a; platform_system == "Linux"']
    ),
    "a URL's case": Case(
        "add", ["a @ https://host.invalid/A-1.whl"], [], ["a @ https://host.invalid/A-1.whl"]
    ),
    "comments": Case(
        "add", ["b==2"], ["# pinned by hand", "a==1  # why", "b==1 # too old", ""],
        ["# pinned by hand", "a==1  # why", "b==2", ""],
    ),
    "options": Case(
        "remove", ["a"],
        ["--extra-index-url https://host.invalid/simple", "-c constraints.txt", "a"],
        ["--extra-index-url https://host.invalid/simple", "-c constraints.txt"],
    ),
    "paths": Case("add", ["b"], ["./wheels/a-1-py3-none-any.whl"],
                  ["./wheels/a-1-py3-none-any.whl", "b"]),
    "hashes": Case(
        "remove", ["a"], ["a==1 \\", "    --hash=sha256:00 \\", "    --hash=sha256:11", "b==1"],
        ["b==1"],
    ),
}  # fmt: skip


def make(folder: Path, lines: list[str], conda_yaml: str | None = None) -> Path:
    folder.mkdir()
    (folder / "MLmodel").write_text(MLMODEL)
    (folder / "python_env.yaml").write_text(PYTHON_ENV)
    (folder / "requirements.txt").write_text("\n".join(lines))
    (folder / "conda.yaml").write_text(
        conda("pip<99", *lines) if conda_yaml is None else conda_yaml
    )
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def update(folder: Path, operation: str, requirements: list[str]) -> None:
    assert operation in ("add", "remove")
    update_requirements(str(folder), operation, requirements, Console())  # type: ignore[arg-type]


@pytest.mark.slow
def test_both_files_are_what_mlflow_makes_of_them(launcher_home: Path, tmp_path: Path) -> None:
    cases = {**AS_MLFLOW, **BETTER}
    own = {
        "conda.yaml without pip": (conda()[: conda().index("- pip:")], "add"),
        "conda.yaml with other pip lines": (conda("scipy==1"), "add"),
        "conda.yaml in another order": ("name: x\ndependencies: [pip, {pip: [numpy]}]\n", "remove"),
    }
    theirs, ours, calls = tmp_path / "theirs", tmp_path / "ours", []
    for root in (theirs, ours):
        root.mkdir()
        for name, case in cases.items():
            # What a conda.yaml cannot say is not in it.
            make(root / name, case.lines, conda(*case.lines) if name in AS_MLFLOW else conda("a"))
        for name, (text, _) in own.items():
            make(root / name, LINES, text)
    for name, case in cases.items():
        calls.append([str(theirs / name), case.operation, case.requirements])
    for name, (_, operation) in own.items():
        calls.append([str(theirs / name), operation, ["numpy==1"]])
    script = str(Path(__file__).with_name("update_with_mlflow.py"))
    done = subprocess.run(
        [build(launcher_home, None, ORACLE), script],
        input=json.dumps(calls), env=script_environment(launcher_home),
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    errors = dict(zip((*cases, *own), json.loads(done.stdout.splitlines()[-1]), strict=True))
    for folder, operation, requirements in calls:
        update(ours / Path(folder).name, operation, requirements)
    as_mlflow = [*AS_MLFLOW, *own]
    assert [name for name in as_mlflow if errors[name]] == []
    for name in as_mlflow:
        assert contents(ours / name) == contents(theirs / name), name
    # Should MLflow mend one of these, it belongs to the others.
    same = [name for name in BETTER if contents(ours / name) == contents(theirs / name)]
    assert same == []


@pytest.mark.parametrize("case", BETTER.values(), ids=BETTER)
def test_what_mlflow_loses_stays(case: Case, tmp_path: Path) -> None:
    folder = make(tmp_path / "m", case.lines)
    update(folder, case.operation, case.requirements)
    assert case.expected is not None
    found = (folder / "requirements.txt").read_text()
    assert found.split("\n") == case.expected
    section = [line for line in case.expected if not line.strip().startswith(("#", "--hash"))]
    if not any("#" in line or not line for line in case.lines):  # a comment to YAML, too
        assert contents(folder)["conda.yaml"].count("\n  - ") == len(section) + 1
    assert contents(folder)["python_env.yaml"] == PYTHON_ENV


@pytest.mark.parametrize("missing", ["conda.yaml", "requirements.txt"])
def test_one_file_is_enough(missing: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "m", LINES)
    (folder / missing).unlink()
    update(folder, "add", ["numpy==1"])
    assert not (folder / missing).exists()
    (other,) = {"conda.yaml", "requirements.txt"} - {missing}
    assert "numpy==1" in (folder / other).read_text()
    (folder / other).unlink()
    with pytest.raises(LauncherError, match="has neither"):
        update(folder, "add", ["numpy==1"])


@pytest.mark.parametrize(
    ("requirements", "message"),
    [(["pandas==2", "a b", "==1"], "'a b'.*'==1'"), (["a==1", "a<1"], "No release is a<1,==1"),
     (["-r other.txt"], "'-r other.txt'"), ([""], "No requirements")],
)  # fmt: skip
def test_what_is_no_requirement_changes_nothing(
    requirements: list[str], message: str, tmp_path: Path
) -> None:
    folder = make(tmp_path / "m", LINES)
    before = contents(folder)
    with pytest.raises(UsageError, match=message):
        update(folder, "add", requirements)
    assert contents(folder) == before


def test_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", LINES, "dependencies: {pip: [")
    before = contents(folder)
    with pytest.raises(LauncherError, match=r"conda.yaml is not YAML"):
        update(folder, "add", ["numpy==1"])
    assert contents(folder) == before


def test_files_keep_permissions_links_and_the_last_line_s_end(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", LINES)
    (folder / "requirements.txt").rename(folder / "real.txt")
    (folder / "requirements.txt").symlink_to("real.txt")
    (folder / "real.txt").write_text("numpy==2\n")
    (folder / "real.txt").chmod(0o640)
    update(folder, "add", ["numpy==1"])
    assert (folder / "requirements.txt").is_symlink()
    assert (folder / "real.txt").read_text() == "numpy==1\n"
    assert (folder / "real.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_crash_leaves_whole_files(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files are written before either is replaced: steps 1 and 2, then 3 and 4."""
    folder = make(tmp_path / "m", LINES)
    before = contents(folder)
    after = contents(make(tmp_path / "n", LINES))
    update(tmp_path / "n", "add", ["numpy==1"])
    after = contents(tmp_path / "n")
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise OSError(28, "No space left on device")

    # A full disk and a crash cannot be had at a chosen step; this is where they would come.
    write, replace = requirement_edit.write_atomically, Path.replace

    def counted_write(path: Path, text: str) -> None:
        count()
        write(path, text)

    def counted_replace(self: Path, target: Path) -> Path:
        if target.name in ("conda.yaml", "requirements.txt"):
            count()
        return replace(self, target)

    monkeypatch.setattr(requirement_edit, "write_atomically", counted_write)
    monkeypatch.setattr(Path, "replace", counted_replace)
    with pytest.raises(LauncherError, match="cannot be written: No space left"):
        update(folder, "add", ["numpy==1"])
    found = contents(folder)
    assert found.keys() == before.keys()  # nothing half written is left either
    expected = {**before, "conda.yaml": after["conda.yaml"]} if step == 4 else before
    assert found == expected


def test_a_read_only_model_is_said(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", LINES)
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    command = [sys.executable, "-m", "launcher", "update-pip-requirements", "-m", str(folder)]
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", mount, "-", str(folder), *command, "add", "numpy==1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mounts of one's own here, run as root: {done.stderr}")
    assert done.returncode == 2
    assert "cannot be written: Read-only file system." in done.stderr
    assert "change the copy" in done.stderr


def test_lockfiles_and_other_lists_that_do_not_follow_are_said(run: Run, tmp_path: Path) -> None:
    folder = make(tmp_path / "m", ["-r more.txt", "numpy==2"])
    (folder / "more.txt").write_text("scipy==1\nnumpy>1\n")
    (folder / "pylock.toml").write_text('lock-version = "1.0"\n')
    (folder / "python_env.yaml").write_text("python: 3.11.7\ndependencies: [numpy]\n")
    done = run("update-pip-requirements", "-m", folder, "remove", "numpy", "nothing")
    assert done.returncode == 0
    for words in (
        "nothing is in neither file",
        "more.txt, which requirements.txt names, speaks of numpy, too",
        "pylock.toml is of the requirements before",
        "python_env.yaml does not name requirements.txt",
    ):
        assert words in done.stderr
    assert (folder / "pylock.toml").exists()
    assert "requirements.txt:\n  - numpy==2\n" in done.stdout
    again = run("update-pip-requirements", "-m", folder, "add", "numpy==2", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["files"][1] == {
        "file": "requirements.txt", "added": ["numpy==2"], "removed": [],
    }  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    same = run("update-pip-requirements", "-m", folder, "add", "numpy==2")
    assert "requirements.txt:\n  as it was\n" in same.stdout
    assert "pylock" not in same.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_only_a_folder_of_its_own_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHER_HOME", str(tmp_path / "home"))
    cached = tmp_path / "home" / "models" / "key" / "model"
    cached.parent.mkdir(parents=True)
    make(cached, LINES)
    (tmp_path / "m.zip").write_bytes(b"PK")
    for uri in ("s3://bucket/m", "https://user:secret@host.invalid/m", str(cached),
                str(tmp_path / "m.zip")):  # fmt: skip
        with pytest.raises(ModelURIError, match="not in a folder of this machine") as refused:
            folder_in_place(uri)
        assert "secret" not in str(refused.value)
        assert "mlflow models update-pip-requirements" in refused.value.hint
    for uri in ("models:/name/1", "models:/name@champion"):
        with pytest.raises(ModelURIError, match="a version of a registered model"):
            folder_in_place(uri)
    folder = make(tmp_path / "m", LINES)
    assert folder_in_place(f"file://{folder}") == folder
    monkeypatch.chdir(tmp_path)
    assert folder_in_place(os.path.join(".", "m")) == folder  # noqa: PTH118


def test_a_run_s_model_in_a_folder_is_changed_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = "0123456789abcdef0123456789abcdef"
    place = tmp_path / "mlruns" / "0" / run_id
    (place / "artifacts").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("experiment_id: '0'\n")
    meta = {"run_id": run_id, "artifact_uri": str(place / "artifacts"), "status": 3}
    (place / "meta.yaml").write_text(json.dumps(meta))
    folder = make(place / "artifacts" / "model", LINES)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    update_requirements(f"runs:/{run_id}/model", "add", ["numpy==1"], Console())
    assert "numpy==1" in (folder / "requirements.txt").read_text()
