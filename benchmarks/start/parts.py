"""Parts of a start in processor time: ``python -m benchmarks.start.parts``.

Short programs in the model's environment, in turn: what the imports take with and without pyarrow,
and the collection before the fork with and without the libraries. Ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.installing import ROOT, install_launcher, launcher_environ

MODEL = ROOT / "fixtures" / "iris"
# Each prints seconds.
PARTS = {
    "import numpy, pandas": "import time, numpy, pandas\npandas.Index(['a'])\n"
    "print(time.process_time())",
    "the same, as if pyarrow were missing": "import sys\nsys.modules['pyarrow'] = None\n"
    "import time, numpy, pandas\npandas.Index(['a'])\nprint(time.process_time())",
    **{
        name: "import gc, pickle, sys, time\ngc.set_threshold(50_000)\n"
        f"import numpy, pandas, sklearn.base\n{freeze}\n"
        "model = pickle.load(open(sys.argv[1] + '/model.pkl', 'rb'))\n"
        "began = time.process_time()\ngc.collect()\ngc.freeze()\nprint(time.process_time() - began)"
        for name, freeze in (
            ("the collection before the fork", ""),
            ("the same, the libraries frozen", "gc.freeze()"),
        )
    },
    "all of it: imports, load": "import pickle, sys, time, numpy, pandas, sklearn.base\n"
    "model = pickle.load(open(sys.argv[1] + '/model.pkl', 'rb'))\nprint(time.process_time())",
}


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start.parts", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--cache", type=Path, help="a folder that is kept, for another run")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        cache = options.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cache.mkdir(exist_ok=True)
        python = install_launcher(MODEL, cache)
        seconds: dict[str, list[float]] = {name: [] for name in PARTS}
        for _ in range(options.turns):
            for name, program in PARTS.items():
                done = subprocess.run(
                    [str(python), "-c", program, str(MODEL)],
                    env=launcher_environ(cache),
                    stdout=subprocess.PIPE,
                    check=True,
                )
                seconds[name].append(float(done.stdout))
    for name, each in seconds.items():
        print(f"{name}: {statistics.median(each):.3f} s of processor time")


if __name__ == "__main__":
    main()
