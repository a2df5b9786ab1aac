"""Put faults into the package and the book's extension, one at a time: does a test notice? Called by `make mutants`.

python .ci/mutants.py [all | module ...] [--sample N] [--seed 0] [--processes 2] [--fresh]

mutmut's operators make the faults (faults.py); each is tried against the tests of its module alone, in a forked
child and in a copy (trial.py): tests that come to the fault's lines run first. Without a name, 600 faults are tried,
drawn at random, from each module its share by size; `all` tries everything, and a name, all of what begins so.

A fault that no test notices must be argued in mutants.toml, to change no behaviour; one without an argument fails the
run. What was found is kept in _build/mutants.jsonl, and which tests come to which lines in _build/mutants-tests/, so
that a run that was ended goes on where it was; --fresh forgets both. A fault that was noticed is not tried again until
its module changes, one that was not until its tests do.
"""

import argparse
import gzip
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import faults
import trial
from faults import Fault, Module

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / ".ci" / "mutants.toml").read_text(encoding="utf8"))
RESULTS = ROOT / "_build" / "mutants.jsonl"
KNOWN = ROOT / "_build" / "mutants-tests"
EXTENSION = "book/_ext/surgeon_book"
PRELOADED = (
    "bs4",
    "hypothesis",
    "matplotlib.pyplot",
    "pandas",
    "pytest",
    "scipy.optimize",
    "sphinx.application",
    "torch",
)


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module by its whole name, but for those that hold nothing."""
    found = {}
    for top, parent in (("surgeon", root), (EXTENSION, root / "book/_ext")):
        for path in sorted((root / top).rglob("*.py")):
            name = ".".join(path.relative_to(parent).with_suffix("").parts)
            if path.read_text(encoding="utf8").strip():
                found[name] = path.relative_to(root)
    return found


def guards(module: str, root: Path = ROOT) -> tuple[str, ...]:
    """The tests that must notice: those that mutants.toml names for a module or for what it stands in; else the file of
    its name; else its folder's, or those of the folder round it."""
    named, parts = SETTINGS["tests"], module.split(".")
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in named:
            return tuple(named[".".join(parts[:end])])
    for place in (here := Path("tests", *parts[1:-1]), *here.parents):
        for found in (place / f"test_{parts[-1]}.py", place):
            if (root / found).exists() and len(found.parts) > 1:
                return (found.as_posix(),)
    raise LookupError(f"{module} has no tests: mutants.toml must name some.")


def files(tests: tuple[str, ...], root: Path = ROOT) -> list[str]:
    """Tests' files: themselves, and those that are in folders."""
    found = [(root / name).rglob("test_*.py") if (root / name).is_dir() else [root / name] for name in tests]
    return sorted({path.relative_to(root).as_posix() for paths in found for path in paths})


def examples(path: Path, root: Path = ROOT) -> list[str]:
    """A module as a test of itself, if it has examples: to import one that is a program would run it."""
    return [path.as_posix()] if ">>> " in (root / path).read_text(encoding="utf8") else []


@cache
def digest(*names: str) -> str:
    """Of files, and of all in folders."""
    paths = [path for name in names for path in (sorted((ROOT / name).rglob("*.py")) or [ROOT / name])]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


@dataclass
class Result:
    """What became of a fault."""

    module: str
    line: str
    becomes: str
    at: int  # the line of the file
    by: str  # the test that noticed; nothing, if none did
    slow: bool  # it was ended, since it took far longer than the tests do
    seconds: float
    code: str  # digest of the module with the fault
    tests: str  # digest of its tests

    @property
    def noticed(self) -> bool:
        return self.slow or bool(self.by)

    def holds(self) -> bool:
        """Whether trying again would find the same: tests that were added do not make a fault unnoticed."""
        return self.noticed or self.tests == digest(*guards(self.module))


def key(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def kept() -> dict[str, Result]:
    """Results of earlier runs by their code; a line that was cut off when a run was ended is passed over."""
    found = {}
    for line in RESULTS.read_text(encoding="utf8").splitlines() if RESULTS.exists() else ():
        try:
            result = Result(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[result.code] = result
    return found


# Every process has a copy of its own, in which one fault at a time stands.


class Copy:
    """The copy of a process, and what is known of the tests that run in it."""

    def __init__(self, place: str) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=place), "copy")
        self.folder.mkdir()
        trial.copy(self.folder)
        trial.in_a_child(trial.compiled, self.folder, timeout=600)

    def baseline(self, file: str) -> Path:
        """How a file's tests, or a module's examples, do without a fault; kept in the file that is returned."""
        place = known(file)
        if not place.exists():
            found, seconds = trial.in_a_child(lambda: trial.reached([file], self.folder), self.folder, timeout=3600)
            if found is None or found["code"] not in (0, 1, 5):  # all passed, or some failed, or there are none
                log = self.folder.with_name(f"{self.folder.name}.log").read_text(encoding="utf8", errors="replace")
                raise RuntimeError(f"{file} cannot be run:\n{log[-3000:]}")
            part = place.with_suffix(f".{os.getpid()}")
            with gzip.open(part, "wt", encoding="utf8", compresslevel=1) as kept:
                json.dump(found | {"whole": seconds}, kept)
            part.rename(place)
        return place

    def attempt(self, trying: "Trying") -> Result:
        fault, file = trying.fault, self.folder / trying.path
        file.write_text(fault.code, encoding="utf8")
        timeout, whole, by, slow = 30 + 5 * trying.whole, 0.0, "", False
        for tests in trying.rounds():
            work = lambda tests=tests: trial.noticed(tests, trying.first, trying.seconds, trying.but)
            by, seconds = trial.in_a_child(work, self.folder, timeout)
            whole, slow = whole + seconds, by is None and seconds >= timeout
            if by != "":
                break
        shutil.copy2(ROOT / trying.path, file)
        return Result(
            module=fault.module,
            line=fault.line,
            becomes=fault.becomes,
            at=fault.lines.start,
            by="Python itself" if by is None and not slow else by or "",
            slow=slow,
            seconds=round(whole, 1),
            code=key(fault.code),
            tests=digest(*guards(fault.module)),
        )


@dataclass
class Trying:
    """A fault, and what is known of the tests that should notice it."""

    fault: Fault
    path: str
    tests: list[str]  # files, the module with its own examples among them
    first: list[str]  # tests that come to its lines, and those examples
    seconds: dict[str, float]
    whole: float
    but: list[str]  # tests that fail without the fault, and notice nothing

    def rounds(self) -> list[list[str]]:
        """Files whose tests come to the fault, which notice most, and those that read its text; then the others.

        Nobody else can notice what stands in a function of the package; the extension is tried in other processes, too.
        """
        reached = {name.partition("::")[0] for name in self.first}
        near = reached | {*SETTINGS["readers"]}
        split = [[file for file in self.tests if (file in near) is here] for here in (True, False)]
        alone = bool(reached) and self.fault.is_called and self.fault.module.startswith("surgeon.")
        return [files for files in split[:1] if files] if alone else [files for files in split if files]


def trying(fault: Fault, path: str, facts: dict[str, dict]) -> Trying:
    """`facts` of each file of the fault's tests, and of its module."""
    first = {name for known in facts.values() for line in fault.lines for name in reaching(known, path, line)}
    first |= set(facts[path]["seconds"]) if path in facts else set()
    seconds = {name: took for known in facts.values() for name, took in known["seconds"].items()}
    failed = [name for known in facts.values() for name in known["failed"]]
    whole = sum(known["whole"] for known in facts.values())
    return Trying(fault, path, list(facts), sorted(first), seconds, whole, failed)


def known(file: str) -> Path:
    """Where it is kept which lines the tests of a file come to: anew, when any code has changed."""
    return KNOWN / f"{key(file + digest('surgeon', 'book/_ext', 'tests', '.ci'))}.json.gz"


def reaching(known: dict, path: str, line: int) -> list[str]:
    return known["lines"].get(path, {}).get(str(line), [])


def facts(place: Path, wanted: dict[str, set[str]]) -> dict:
    """What was kept of a file's tests, of the lines that are wanted of each module: of all, it is too much to hold."""
    with gzip.open(place, "rt", encoding="utf8") as kept:
        found = json.load(kept)
    lines = {
        path: {line: names for line, names in found["lines"].get(path, {}).items() if line in wanted[path]}
        for path in wanted
    }
    return found | {"lines": lines}


COPY: Copy


def prepare(place: str) -> None:
    """In each process, once."""
    global COPY
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    COPY = Copy(place)


def baseline(file: str) -> tuple[str, Path]:
    return file, COPY.baseline(file)


def attempt(job: Trying) -> Result:
    return COPY.attempt(job)


# What to try, and what to say of it


def chosen(asked: list[str], paths: dict[str, Path]) -> dict[str, Path]:
    """The modules whose names begin so, `surgeon.` understood; all of them, if none is named or `all` are."""
    if not asked or asked == ["all"]:
        return paths
    found = {}
    for word in asked:
        whole = word if word.startswith("surgeon") else f"surgeon.{word}"
        these = {name: path for name, path in paths.items() if f"{name}.".startswith(f"{whole}.")}
        if not these:
            sys.exit(f"There is no module {word}.")
        found |= these
    return found


def table(results: list[Result], sizes: dict[str, int], argued: set[tuple[str, str, str]]) -> str:
    """A line for each module, and one for all."""
    line = "{:<46} {:>6} {:>6} {:>8} {:>6} {:>7} {:>6}"
    rows = [line.format("module", "faults", "tried", "noticed", "slow", "argued", "open")]
    total = Counter()
    for module in sorted({result.module for result in results}):
        mine = [result for result in results if result.module == module]
        equivalent = sum(not result.noticed and said(result) in argued for result in mine)
        counts = {
            "faults": sizes[module],
            "tried": len(mine),
            "noticed": sum(result.noticed for result in mine),
            "slow": sum(result.slow for result in mine),
            "argued": equivalent,
            "open": sum(not result.noticed for result in mine) - equivalent,
        }
        total.update(counts)
        rows.append(line.format(module, *counts.values()))
    rows.append(line.format("all", *total.values()))
    return "\n".join(rows)


def said(result: Result) -> tuple[str, str, str]:
    return result.module, result.line, result.becomes


def arguments() -> set[tuple[str, str, str]]:
    entries = SETTINGS["equivalent"]
    return {(entry["module"], faults.written(entry["line"]), faults.written(entry["becomes"])) for entry in entries}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="all, or what names of modules begin with")
    parser.add_argument("--sample", type=int, help="faults in all; 600, if no module is named, and else every one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    options = parser.parse_args()
    options.sample = options.sample or (None if options.modules else 600)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    if options.fresh:
        RESULTS.unlink(missing_ok=True)
        shutil.rmtree(KNOWN, ignore_errors=True)
    KNOWN.mkdir(parents=True, exist_ok=True)

    began, paths = time.perf_counter(), chosen(options.modules, modules())
    print(f"Making faults for {len(paths)} modules ...", flush=True)
    read = {name: Module(name, (ROOT / path).read_text(encoding="utf8")) for name, path in paths.items()}
    sizes = {name: len(module.mutations) for name, module in read.items() if module.mutations}
    wanted = faults.shares(sizes, options.sample) if options.sample else sizes
    to_try = [fault for name, number in wanted.items() for fault in faults.sample(read[name], number, options.seed)]
    before = {code: result for code, result in kept().items() if result.holds()}
    results = [before[key(fault.code)] for fault in to_try if key(fault.code) in before]
    left = [fault for fault in to_try if key(fault.code) not in before]
    print(f"{len(to_try)} of {sum(sizes.values())} faults; {len(results)} were tried before.", flush=True)
    if left:
        results += run(left, paths, options.processes)

    argued = arguments()
    open_ends = [result for result in results if not result.noticed and said(result) not in argued]
    for result in sorted(open_ends, key=said):
        print(f"\nno test notices: {paths[result.module]}:{result.at}\n  - {result.line}\n  + {result.becomes}")
    print(f"\n{table(results, sizes, argued)}\n{time.perf_counter() - began:.0f} s")
    return 1 if open_ends else 0


def run(left: list[Fault], paths: dict[str, Path], processes: int) -> list[Result]:
    """Try faults side by side, and write down each result as it comes."""
    for name in (*PRELOADED, "torch"):
        __import__(name)  # once, before the processes are forked
    results: list[Result] = []
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="mutants-") as place, RESULTS.open("a", encoding="utf8") as log:
        # Not a Pool: its processes are daemons, which may not have children of their own.
        pool = Workers(context, processes, place)
        try:
            waiting = {name: {*files(guards(name)), *examples(paths[name])} for name in {f.module for f in left}}
            needed = dict.fromkeys(file for name in waiting for file in sorted(waiting[name]))
            for file in needed:
                pool.put(baseline, file)
            wanted: dict[str, set[str]] = {}
            for fault in left:
                wanted.setdefault(paths[fault.module].as_posix(), set()).update(map(str, fault.lines))
            seen: dict[str, dict] = {}
            while len(results) < len(left):
                found = pool.take()
                if isinstance(found, Result):
                    results.append(found)
                    log.write(json.dumps(found.__dict__) + "\n")
                    log.flush()
                    tell(found, f"{len(results):>5}/{len(left)}")
                    continue
                file, place = found
                seen[file] = facts(place, wanted)
                print(f"  {len(seen):>5}/{len(needed)} {file}, {seen[file]['whole']:.0f} s", flush=True)
                for failed in seen[file]["failed"]:
                    print(f"    left out, since it fails without a fault: {failed}", flush=True)
                for name in [name for name, these in waiting.items() if these <= seen.keys()]:
                    path, its = paths[name].as_posix(), {file: seen[file] for file in sorted(waiting.pop(name))}
                    for fault in (fault for fault in left if fault.module == name):
                        pool.put(attempt, trying(fault, path, its))
        finally:
            pool.end()
    return results


def tell(result: Result, number: str) -> None:
    what = "slow" if result.slow else result.by or "NOT NOTICED"
    print(f"{number} {result.module}:{result.at} {what}, {result.seconds:.0f} s", flush=True)


class Workers:
    """Processes that do what they are handed, one thing after the other."""

    def __init__(self, context, number: int, place: str) -> None:
        self.context, self.number, self.place = context, number, place
        self.todo, self.done = context.Queue(), context.SimpleQueue()  # no thread beside a fork
        self.processes = [context.Process(target=self.work) for _ in range(number)]
        for process in self.processes:
            process.start()

    def work(self) -> None:
        prepare(self.place)
        for what, job in iter(self.todo.get, None):
            try:
                self.done.put((what(job), None))
            except Exception as error:
                self.done.put((None, str(error)))

    def put(self, what: Callable, job: object) -> None:
        self.todo.put((what, job))

    def take(self) -> object:
        """The next result. A failure ends everything: it is no fault's, but ours."""
        result, error = self.done.get()
        if error:
            sys.exit(error)
        return result

    def end(self) -> None:
        for process in self.processes:
            trial.end(trial.psutil.Process(process.pid)) if process.is_alive() else None
            process.join()


if __name__ == "__main__":
    sys.exit(main())
