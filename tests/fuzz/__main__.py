"""Fuzz one target with atheris (libFuzzer), or give it single inputs.

    python -m tests.fuzz TARGET WORK_FOLDER [libFuzzer options, files to replay]

Run it from the repository's root in an environment that has atheris and what the target needs
(`tests/fuzz/environment.py` builds one). New inputs that reach new code, and finds, are left in
WORK_FOLDER. A find ends the run with its traceback and a status that is not 0.
"""

from __future__ import annotations

import importlib
import logging
import resource
import sys
import warnings
from pathlib import Path

import atheris

from tests.fuzz.target import Target, bounded

HERE = Path(__file__).parent
# An allocation beyond this is a MemoryError, not the machine's end.
MOST_ADDRESS_SPACE = 8 << 30


def main() -> None:
    name, work, *options = sys.argv[1:]
    # All that the targets lead to; the libraries below are not ours to cover.
    with atheris.instrument_imports(include=["scoring_server", "launcher", "envs"]):
        target: Target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET
        take = target.prepare(_empty(Path(work) / "prepared"))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESS_SPACE, MOST_ADDRESS_SPACE))

    words = Path(work) / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    settings = [
        "-seed=1", f"-max_len={target.longest}", f"-dict={words}", "-rss_limit_mb=2048",
        f"-timeout={max(10, int(target.seconds * 3))}", f"-artifact_prefix={work}/",
    ]  # fmt: skip
    replayed = [each for each in options if not each.startswith("-")]
    corpora = replayed or [str(_empty(Path(work) / "corpus")), str(HERE / "corpus" / name)]
    given = [each for each in options if each.startswith("-")]

    extra = {}
    mutate = target.mutate
    if mutate is not None:
        extra["custom_mutator"] = lambda data, longest, seed: mutate(
            data, longest, seed, atheris.Mutate
        )
    atheris.Setup([sys.argv[0], *settings, *given, *corpora], bounded(target, take), **extra)
    atheris.Fuzz()


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _escaped(word: str) -> str:
    """As libFuzzer's dictionaries have it."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'\\"' else f"\\x{byte:02x}"
        for byte in word.encode()
    )


if __name__ == "__main__":
    main()
