"""What a parent that stays and forks would give: ``python -m benchmarks.start.snapshot``.

A parent imports a model's libraries (not the model) and stays. In turn, from the order to the
first prediction: a new interpreter that imports, loads and predicts, as a `reload` and a lazily
loaded model have it today; and a fork of the parent that loads and predicts. Beside it, what the
parent costs in memory while a server that is its fork runs: alone its PSS, beside the fork both.
Linux only; ends by itself.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import time

from benchmarks.installing import launcher_environ
from benchmarks.start.asked import MODEL, asked

LIBRARIES = "import gc, json, os, pickle, sys, time, numpy, pandas as pd, sklearn.linear_model\n"
PREDICT = """
def predict():
    with open(sys.argv[1] + "/model.pkl", "rb") as file:
        model = pickle.load(file)
    columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    model.predict(pd.DataFrame([[5.1, 3.5, 1.4, 0.2]], columns=columns))
"""
# Answers each line of its input with what it measured of a fork.
PARENT = """
def memory(pid):
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()[1:]
    found = {each.split(":")[0]: int(each.split()[1]) / 1000 for each in lines}
    return [found["Pss"], found["Private_Clean"] + found["Private_Dirty"]]
gc.collect()
gc.freeze()
alone = memory("self")
print("ready", flush=True)
for _ in sys.stdin:
    began = time.perf_counter()
    (reads, writes), (waits, ends) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        predict()
        os.write(writes, b"1")
        os.read(waits, 1)
        os._exit(0)
    os.read(reads, 1)
    seconds = time.perf_counter() - began
    report = {"seconds": seconds, "alone": alone, "parent": memory("self"), "fork": memory(child)}
    os.write(ends, b"1")
    os.waitpid(child, 0)
    for each in (reads, writes, waits, ends):
        os.close(each)
    print(json.dumps(report), flush=True)
"""


def main() -> None:
    """Read the arguments, measure, print."""
    with contextlib.ExitStack() as stack:
        pairs, cache, python = stack.enter_context(asked("snapshot", __doc__, "pairs", 10))
        environ = launcher_environ(cache)

        def command(script: str) -> list[str]:
            return [str(python), "-c", LIBRARIES + PREDICT + script, str(MODEL)]

        parent = stack.enter_context(
            subprocess.Popen(
                command(PARENT),
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        anew, forked = [], []
        for number in range(pairs + 1):
            began = time.perf_counter()
            subprocess.run(command("predict()\nos._exit(0)"), check=True, env=environ)
            seconds = time.perf_counter() - began
            parent.stdin.write("\n")
            parent.stdin.flush()
            report = json.loads(parent.stdout.readline())
            if number:  # the first ones write bytecode, and fill the page cache
                anew.append(seconds)
                forked.append(report["seconds"])
        parent.stdin.close()
    ratio = statistics.median(new / fork for new, fork in zip(anew, forked, strict=True))
    print(f"anew {statistics.median(anew):.3f} s, forked {statistics.median(forked):.3f} s")
    print(f"times as fast: {ratio:.0f}")
    for name, text in (("alone", "the parent alone"), ("parent", "with a fork"), ("fork", "fork")):
        print(f"{text}: PSS {report[name][0]:.0f} MB, its own {report[name][1]:.1f} MB")


if __name__ == "__main__":
    main()
