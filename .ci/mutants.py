"""Put faults into the modules that everything stands on, one at a time: does a test notice? Called by `make mutants`.

python .ci/mutants.py [surgeon.anatomy.masks.* ...]

mutmut makes the faults and runs the tests that reach each, in a copy in a temporary folder; pyproject.toml says under
[tool.mutmut] what it changes and which tests it runs. A fault that no test notices must be argued in mutants.toml
beside this file, to change no behaviour. One without an argument fails the run; so does an argument without its fault.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARGUED = ROOT / ".ci" / "mutants.toml"
LEAST = 95.0  # percent


def mutmut(*arguments: str, folder: Path) -> str:
    """What mutmut says, run in the copy. Whatever it started ends with it, also when this is interrupted."""
    command = [sys.executable, "-W", "ignore", "-m", "mutmut", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        sys.exit(f"mutmut {' '.join(arguments)} failed:\n{said[-6000:]}")
    return said


def copy(folder: Path) -> None:
    """What the tests need, and nothing that a run could change here."""
    for name in ("surgeon", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def verdicts(folder: Path, names: list[str]) -> dict[str, str]:
    """Each mutant's name, and what became of it; mutmut leaves those that it was not asked for unchecked."""
    lines = (line.strip().rsplit(": ", 1) for line in mutmut("results", "--all", "true", folder=folder).splitlines())
    found = {line[0]: line[1] for line in lines if len(line) == 2}
    return {name: verdict for name, verdict in found.items() if not names or verdict != "not checked"}


def change(folder: Path, name: str) -> tuple[str, str, str]:
    """The module that a mutant stands in, its line, and what became of the line."""
    lines = mutmut("show", name, folder=folder).splitlines()
    before, after = (
        "\n".join(line[1:].strip() for line in lines if line.startswith(sign) and not line.startswith(sign * 3))
        for sign in "-+"
    )
    return name.rpartition(".")[0], before, after


def main() -> int:
    names = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    argued = {(entry["module"], entry["line"], entry["becomes"]): entry["why"] for entry in read_arguments()}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        folder = Path(place)
        copy(folder)
        print("Each fault alone, and the tests that reach it. This takes some minutes ...", flush=True)
        mutmut("run", *names, folder=folder)
        found = verdicts(folder, names)
        unnoticed = {name: change(folder, name) for name, verdict in found.items() if verdict != "killed"}
    made, missed = (Counter(name.rpartition(".")[0] for name in group) for group in (found, unnoticed))
    for module, number in sorted(made.items()):
        print(f"{module:32} {number:4} mutants, {number - missed[module]:4} killed, {missed[module]:3} survived")
    open_ends = [name for name, what in unnoticed.items() if what not in argued]
    for name in open_ends:
        module, before, after = unnoticed[name]
        print(f"\nno test notices, and nobody argued ({found[name]}): {name}\n  - {before}\n  + {after}")
    stale = [] if names else [what for what in argued if what not in unnoticed.values()]
    for module, before, after in stale:
        print(f"\nargued, but no survivor any more: {module}\n  - {before}\n  + {after}")
    killed, equivalent = len(found) - len(unnoticed), len(unnoticed) - len(open_ends)
    of_all, of_real = 100 * killed / len(found), 100 * killed / (len(found) - equivalent)
    print(
        f"\n{len(found)} mutants: {killed} killed, {equivalent} argued to change nothing, {len(open_ends)} open. "
        f"Killed: {of_all:.1f} % of all, {of_real:.1f} % of those that change something; "
        f"{time.perf_counter() - began:.0f} s."
    )
    return 1 if open_ends or stale or (not names and of_all < LEAST) else 0


def read_arguments() -> list[dict[str, str]]:
    return tomllib.loads(ARGUED.read_text(encoding="utf8"))["equivalent"]


if __name__ == "__main__":
    sys.exit(main())
