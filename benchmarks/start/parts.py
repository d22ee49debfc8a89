"""Parts of a start in processor time: ``python -m benchmarks.start.parts``.

Short programs in the model's environment, in turn: what the imports take with and without pyarrow,
and the collection before the fork with and without the libraries. Ends by itself.
"""

from __future__ import annotations

import statistics
import subprocess

from benchmarks.installing import launcher_environ
from benchmarks.start.asked import MODEL, asked

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
    with asked("parts", __doc__, "turns", 9) as (turns, cache, python):
        seconds: dict[str, list[float]] = {name: [] for name in PARTS}
        for _ in range(turns):
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
