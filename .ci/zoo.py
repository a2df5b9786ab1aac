"""Does the project's own test suite notice the zoo's faults? Each is put into `surgeon`, and the tests are run.

python .ci/zoo.py [fault ...]

A sound function and a sound layer of the zoo's make are put there first: tests that fail with these are left out, as
they notice that it is another attention, not the fault. Exits with 1 if a fault is noticed by no test.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = [f"tests/anatomy/test_{name}.py" for name in ("edges", "dot_product", "heads", "masks", "cache")]


def failing(fault: str, but: list[str], *options: str) -> list[str]:
    """The tests that fail with this fault in place, those left out that are named."""
    left_out = [part for test in but for part in ("--deselect", test)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "zoo_plugin", "-p", "no:cacheprovider", "--tb=no"]
    path = os.pathsep.join(filter(None, [str(ROOT / ".ci"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*command, *options, *left_out, *TESTS],
        cwd=ROOT,
        env=os.environ | {"SURGEON_FAULT": fault, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1):
        sys.exit(f"pytest could not run with {fault}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return re.findall(r"^FAILED (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)


def main() -> int:
    sys.path.insert(0, str(ROOT))
    from surgeon.zoo.catalogue import ZOO

    faults = sys.argv[1:] or list(ZOO)
    began = time.perf_counter()
    others = {kind: failing(kind, []) for kind in ("right", "Layer")}
    for kind, tests in others.items():
        print(f"{kind}: {len(tests)} tests notice another attention that is sound, and are left out.", flush=True)
    missed = []
    for name in faults:
        noticed = failing(name, others["Layer" if ZOO[name].is_layer else "right"], "-x")
        missed += [] if noticed else [name]
        print(f"{'caught' if noticed else 'MISSED':7} {name:26} {noticed[0] if noticed else ''}", flush=True)
    caught = len(faults) - len(missed)
    print(f"{caught} of {len(faults)} faults are caught; {time.perf_counter() - began:.0f} s.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
