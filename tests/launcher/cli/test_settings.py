"""Options as variables and in a configuration file, and which of them counts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from docs.make_commands import PAGE, contexts, page
from launcher.cli.main import main
from tests.launcher.images.tiny_model import tiny_model


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder of the test's own, and none of the variables."""
    for name in ("MLFLOW_PORT", "PORT", "MLFLOW_HOST", "MLFLOW_MODELS_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAUNCHER_SERVE_ENV_MANAGER", "local")
    monkeypatch.chdir(tmp_path)
    tiny_model(tmp_path / "tiny")


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, env=env, prog_name="launcher")


def plan(*arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """What ``serve --dry-run`` says, as JSON."""
    result = run("serve", "-m", "tiny", "--dry-run", "--json", *arguments, env=env)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def setting(told: dict[str, Any], option: str) -> tuple[Any, str] | None:
    found = [each for each in told["settings"] if each["option"] == option]
    return (found[0]["value"], found[0]["from"]) if found else None


def test_what_counts_first(tmp_path: Path) -> None:
    assert plan()["server"]["address"] == "127.0.0.1:5000"
    assert setting(plan(), "--port") is None
    given = {"PORT": "3", "MLFLOW_PORT": "4", "LAUNCHER_SERVE_PORT": "5"}
    (tmp_path / "launcher.toml").write_text("[serve]\nport = 2\n")
    assert setting(plan(), "--port") == ("2", "port in [serve] of launcher.toml")
    seen = []
    for count in range(1, 4):
        value, where = setting(plan(env=dict(list(given.items())[:count])), "--port") or (0, "")
        seen.append((value, where))
    assert seen == [
        ("3", "the variable PORT"),
        ("4", "the variable MLFLOW_PORT"),
        ("5", "the variable LAUNCHER_SERVE_PORT"),
    ]
    told = plan("-p", "6", env=given)
    assert setting(told, "--port") == ("6", "the command line")
    assert told["server"]["address"] == "127.0.0.1:6"


def test_a_variable_that_is_empty_is_none() -> None:
    assert setting(plan(env={"LAUNCHER_SERVE_PORT": "", "PORT": "7"}), "--port") == (
        ("7", "the variable PORT")
    )


def test_the_plan_for_people_names_each_setting(tmp_path: Path) -> None:
    (tmp_path / "launcher.yaml").write_text(
        "serve:\n  page: false\n  max_body: 100\n  cors-origin: [https://a.example]\n"
    )
    result = run("serve", "-m", "tiny", "--dry-run", env={"PORT": "0", "LAUNCHER_OFFLINE": "1"})
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"configuration: {tmp_path / 'launcher.yaml'}\n")
    said = [line.split(None, 1)[1] for line in result.stdout.splitlines() if "setting" in line]
    assert said == [
        "--model-uri tiny  (the command line)",
        "--port 0  (the variable PORT)",
        "--max-body 100  (max_body in [serve] of launcher.yaml)",
        "--no-page  (page in [serve] of launcher.yaml)",
        "--env-manager local  (the variable LAUNCHER_SERVE_ENV_MANAGER)",
        "--offline  (the variable LAUNCHER_OFFLINE)",
        "--cors-origin https://a.example  (cors-origin in [serve] of launcher.yaml)",
    ]


@pytest.mark.parametrize("place", ["before", "after", "with =", "variable"])
def test_a_file_is_named_where_people_write_it(place: str, tmp_path: Path) -> None:
    (tmp_path / "launcher.toml").write_text("[serve]\nport = 1\nbacklog = 3\n")
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "my.yml"
    path.write_text("serve: {port: 2, token-file: token}\n")
    words = ["serve", "-m", "tiny", "--dry-run", "--json"]
    result = {
        "before": lambda: run("--config", str(path), *words),
        "after": lambda: run(*words, "--config", str(path)),
        "with =": lambda: run(*words, f"--config={path}"),
        "variable": lambda: run(*words, env={"LAUNCHER_CONFIG": str(path)}),
    }[place]()
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    beside = (str(tmp_path / "elsewhere" / "token"), f"token-file in [serve] of {path}")
    assert setting(told, "--token-file") == beside
    assert setting(told, "--port") == ("2", f"port in [serve] of {path}")
    assert setting(told, "--backlog") is None  # the file of the working folder is not read


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "[srve]\n", "a.toml: srve is no section of a command. Did you mean serve?"),
        ("a.toml", "port = 1\n", "a.toml: port is no section of a command."),
        ("a.toml", "[serve]\nprt = 1\n", "[serve] has prt, which is no option of `launcher serve`"),
        ("a.toml", "[serve]\nprt = 1\n", "Did you mean port?"),
        ("a.toml", "[serve]\nlog-file = 'x'\n", "has log-file, which is no option"),
        ("a.toml", "[serve]\nport = 'x'\n", "It comes from port in [serve] of a.toml."),
        ("a.toml", "[serve]\nport = 70000\n", "It comes from port in [serve] of a.toml."),
        ("a.toml", "[serve]\nport = [1]\n", "port in [serve] of a.toml is a text or a number"),
        ("a.toml", "[serve]\npage = 'x'\n", "page in [serve] of a.toml is true or false, not 'x'."),
        ("a.toml", "[serve\n", "a.toml is not TOML: "),
        ("a.yaml", "serve: [1]\n", "a.yaml: [serve] has no keys."),
        ("a.yaml", "ps: 1\n", "a.yaml: [ps] has no keys."),
        ("a.yaml", "- 1\n", "a.yaml: the file has no keys."),
        ("a.yaml", "serve: {port: 1\n", "a.yaml"),
        ("a.ini", "[serve]\n", "a.ini is neither TOML nor YAML by its extension."),
        ("none.toml", None, "none.toml cannot be read: No such file or directory."),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(
    name: str, text: str | None, said: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    result = run("serve", "-m", "tiny", "--dry-run", "--config", name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_variable_that_is_wrong_is_named() -> None:
    result = run("serve", "-m", "tiny", "--dry-run", env={"LAUNCHER_SERVE_BACKLOG": "many"})
    assert result.exit_code == 2
    assert "'--backlog': 'many'" in result.stderr
    assert "It comes from the variable LAUNCHER_SERVE_BACKLOG." in result.stderr


def test_a_size_has_units_everywhere() -> None:
    """A container's variable has the option's units, whichever program reads it."""
    assert setting(plan(env={"LAUNCHER_SERVE_MAX_BODY": "1MB"}), "--max-body") is not None
    result = run("serve", "-m", "tiny", "--dry-run", "--max-body", "0")
    assert (result.exit_code, "0 is less than 1." in result.stderr) == (2, True)


def test_a_section_within_another_command(tmp_path: Path) -> None:
    (tmp_path / "launcher.toml").write_text("[envs.list]\njson = true\n")
    home = {"LAUNCHER_HOME": str(tmp_path / "home")}
    assert json.loads(run("envs", "list", env=home).stdout)["environments"] == []
    assert (
        run("models", "list", env=home).stderr == f"0 models, 0 bytes, in {tmp_path}/home/models\n"
    )
    (tmp_path / "launcher.toml").write_text("[envs.lst]\njson = true\n")
    wrong = run("envs", "list", env=home)
    assert wrong.exit_code == 2
    assert "lst in [envs] is no section of a command. Did you mean list?" in wrong.stderr


def test_two_files_in_one_folder_are_refused(tmp_path: Path) -> None:
    for name in ("launcher.toml", "launcher.yml"):
        (tmp_path / name).touch()
    result = run("ps")
    assert result.exit_code == 2
    assert "two configuration files here: launcher.toml and launcher.yml." in result.stderr


def test_a_file_that_others_may_write_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "launcher.toml"
    path.touch()
    path.chmod(0o666)
    assert "may be written by other users" in run("ps").stderr
    assert run("ps", "--config", "launcher.toml").exit_code == 0  # it is meant


def test_help_is_there_whatever_a_file_says(tmp_path: Path) -> None:
    (tmp_path / "launcher.toml").write_text("[")
    assert run("serve").exit_code == 2
    assert run("serve", "--help").exit_code == 0
    assert run("ps", "-h").exit_code == 0


def test_the_old_name_of_prepare_env_is_not_taken_for_a_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "launcher.toml").touch()
    words = ("prepare-env", "-m", "tiny", "--offline", "--config")
    assert "--server-config needs --install-mlflow" in run(*words, "server.json").stderr
    result = run(*words, "launcher.toml")
    assert result.exit_code == 2
    assert "launcher --config launcher.toml prepare-env" in result.stderr


def test_every_option_of_every_command_is_in_its_help_with_its_variable() -> None:
    counted = 0
    for context in contexts():
        said = " ".join(context.command.get_help(context).split())
        own = context.command_path.replace(" ", "_").replace("-", "_").upper()
        for option in context.command.params:
            if isinstance(option, click.Argument) or option.hidden:
                continue
            flag = next(each for each in option.opts if each.startswith("--"))
            assert flag in said
            if option.name in ("help", "config") and option.expose_value is False:
                continue
            assert f"[env: {own}_{flag[2:].replace('-', '_').upper()}" in said
            counted += 1
    assert counted > 100


def test_options_stand_in_groups_where_there_are_many() -> None:
    for context in contexts():
        options = [each for each in context.command.params if isinstance(each, click.Option)]
        groups = {getattr(each, "group", None) for each in options if not each.hidden}
        if len(options) > 10:
            assert len(groups) > 2, context.command_path


def test_the_files_of_the_page_are_accepted(tmp_path: Path) -> None:
    text = PAGE.with_name("configuration.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```(toml|yaml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in examples] == ["toml", "yaml"]
    for kind, content in examples:
        (tmp_path / f"example.{kind}").write_text(content)
        told = plan("--config", f"example.{kind}")
        assert setting(told, "--port") == ("5001", f"port in [serve] of example.{kind}")
    home = {"LAUNCHER_HOME": str(tmp_path / "home")}
    assert run("envs", "prune", "--dry-run", "--config", "example.toml", env=home).exit_code == 0


def test_the_page_of_commands_is_what_the_options_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python docs/make_commands.py`"
