"""The project's commands, one line each: ``nox -l`` lists them, ``nox -s lint types`` runs some.

They run in the virtualenv that has nox in it (``pip install -e '.[dev]'``). Words after ``--`` go
to the tool: ``nox -s tests -- -k lockfile``.
"""

from __future__ import annotations

import sys

import nox

# The one of this virtualenv, whether that is activated or not.
PYTHON = sys.executable
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, and compare the format."""
    session.run(PYTHON, "-m", "ruff", "check", *(session.posargs or ["."]))
    session.run(PYTHON, "-m", "ruff", "format", "--check", *(session.posargs or ["."]))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of packages, benchmarks and what the tests share."""
    session.run(PYTHON, "-m", "mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the quick tests, some minutes."""
    session.run(PYTHON, "-m", "pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the slow tests, two at a time: every environment, MLflow as the oracle, faults."""
    which = ["-n", "2", "-m", "slow and not alone and not long", "--durations=25"]
    session.run(PYTHON, "-m", "pytest", *which, *session.posargs)


@nox.session
def alone(session: nox.Session) -> None:
    """Run the slow tests that measure, one after the other, some minutes."""
    which = ["-n", "0", "-m", "alone", "--durations=5"]
    session.run(PYTHON, "-m", "pytest", *which, *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Run the tests that nobody waits for: each takes minutes."""
    session.run(PYTHON, "-m", "pytest", "-n", "0", "-m", "long", "--durations=0", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure everything beside its peers, one quick round by default."""
    session.run(PYTHON, "-m", "benchmarks.serving", *(session.posargs or ["--quick"]))


@nox.session
def compare(session: nox.Session) -> None:
    """Measure two revisions in turn: the words after ``--`` are those of benchmarks.compare."""
    session.run(PYTHON, "-m", "benchmarks.compare", *session.posargs)
