"""Runs pages for their claims alone: what each measured, and what its counter-example makes
of it.

python .ci/claims.py [page.md ...] [--seed 3] [--fault name] [--against]

Beside each page that claims something stands a table, `book/claims/<page>.toml`, with one entry for each claim:

    [[claim]]
    says = "Over the keys every row"      how its statement begins, enough to tell it from the page's others
    kind = "finding"                      or "identity" (checks the code, says nothing new), "timing"
    bound = "rounding"                    where the bound comes from: "theorem", "closed form", "rounding", "exact",
                                          "draws" (bounds that twenty seeds leave room for), "one run" (no draws)
    breaks = "rows that sum to 1.5"       what would break it, for the ledger
    value = "float((1.5 * by_row).sum())" what the claim would measure then: Python, evaluated where the claim stands,
                                          the last line is the value; or instead of it:
    fault = "no scale"                    one of the page's faults, under which the claim must fail

    [fault."no scale"]                    the page's program with some texts replaced, each of which must be there
    changes = [["scores / d_k**0.5", "scores"]]

Here a claim that fails is told and does not end the run; a cell that fails does end it, but under a fault only itself.
"""

import argparse
import ast
import importlib
import math
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IMPORTED = ("matplotlib.pyplot", "numpy", "pandas", "scipy.optimize", "torch", "jupytext")
SEED = re.compile(r"^seed = \d+", re.MULTILINE)


def pages() -> list[Path]:
    """Those that claim something, in the order of their names."""
    return [page for page in sorted((ROOT / "book").rglob("*.md")) if "claim(" in page.read_text(encoding="utf8")]


def dashed(page: Path) -> str:
    """A page's name as a file's, below no folder."""
    return page.relative_to(ROOT).with_suffix("").as_posix().replace("/", "-")


def table_of(page: Path) -> Path:
    """Where the counter-examples of a page's claims stand."""
    return ROOT / "book" / "claims" / page.resolve().relative_to(ROOT / "book").with_suffix(".toml")


@cache
def table(page: Path) -> dict[str, Any]:
    file = table_of(page)
    return tomllib.loads(file.read_text(encoding="utf8")) if file.exists() else {}


def cells(page: Path) -> list[str]:
    import jupytext

    return [cell.source for cell in jupytext.read(page).cells if cell.cell_type == "code"]


def statements(page: Path) -> list[str]:
    """What a page claims, in the order of its text."""
    said = []
    for cell in cells(page):
        calls = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]
        calls = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "claim"]
        for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
            said.append(beginning(call.args[0]))
    return said


def beginning(text: ast.expr) -> str:
    """A statement as it is written, or as much of it as stands before anything computed."""
    if isinstance(text, ast.JoinedStr):
        text = text.values[0]
    return str(ast.literal_eval(text))


def entry(page: Path, statement: str) -> dict[str, Any] | None:
    """What a page's table has for a claim."""
    found = [each for each in table(page).get("claim", []) if statement.startswith(each["says"])]
    if len(found) > 1:
        raise SystemExit(f"{table_of(page)}: {len(found)} entries begin as {statement!r} does.")
    return found[0] if found else None


def program(page: Path, seed: int | None = None, fault: str | None = None) -> list[str]:
    """A page's cells, with another seed or with a fault."""
    code = cells(page)
    if seed is not None:
        code = [SEED.sub(f"seed = {seed}", cell) for cell in code]
    for old, new in table(page)["fault"][fault]["changes"] if fault else ():
        if not any(old in cell for cell in code):
            raise SystemExit(f"{page}: the fault {fault!r} wants to change {old!r}, which is not there.")
        code = [cell.replace(old, new) for cell in code]
    return code


class Recorder:
    """Stands in `claim`'s place."""

    def __init__(self, page: Path, against: bool) -> None:
        self.page, self.against, self.made = page, against, []

    def claim(self, statement: str, value: Any, *, at_least=None, at_most=None, within=None) -> Any:
        self.note(statement, value, within or (at_least, at_most), sys._getframe(1))
        return value

    def note(self, statement: str, value: Any, ends: tuple, frame: FrameType) -> dict[str, Any]:
        """What a claim measured that stands in this frame, bound by these ends, and what its counter-example gives."""
        from surgeon.book.bound import Bound

        bound = Bound(*ends)
        measured = bound.read(value)
        made = {
            "says": statement,
            "value": measured,
            "low": bound.low,
            "high": bound.high,
            "holds": bound.holds(measured),
        }
        found = entry(self.page, statement)
        if self.against and found and "value" in found:
            began = time.perf_counter()
            try:
                rival = bound.read(evaluate(found["value"], {**frame.f_globals, **frame.f_locals}))
                made |= {"rival": rival, "breaks": not bound.holds(rival)}
            except Exception as error:
                made |= {"error": f"{type(error).__name__}: {error}"}
            made["rival_seconds"] = time.perf_counter() - began
        self.made.append(made)
        return made


def strict(pick: Callable[..., Any]) -> Callable[..., Any]:
    """Python's `max` or `min`, which would pass over a NaN that does not come first."""

    def picked(*things: Any, **options: Any) -> Any:
        values = list(things[0]) if len(things) == 1 else things
        if any(isinstance(value, float) and math.isnan(value) for value in values):
            raise ValueError(f"{pick.__name__} of numbers of which one is NaN.")
        return pick(values, **options)

    return picked


def evaluate(code: str, names: dict[str, Any]) -> Any:
    """The value of the last line, with the names at hand; no draw of the page is used up."""
    import numpy
    import torch

    generators = [each for each in names.values() if isinstance(each, torch.Generator)]
    numpys = [each for each in names.values() if isinstance(each, numpy.random.Generator)]
    kept = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    states = [each.get_state() for each in generators], [each.bit_generator.state for each in numpys]
    tree = ast.parse(code.strip())
    *before, last = tree.body
    if not isinstance(last, ast.Expr):
        raise ValueError("the last line of a counter-example must be an expression.")
    try:
        exec(compile(ast.Module(before, []), "<counter-example>", "exec"), names)
        return eval(compile(ast.Expression(last.value), "<counter-example>", "eval"), names)
    finally:
        random.setstate(kept[0])
        numpy.random.set_state(kept[1])
        torch.set_rng_state(kept[2])
        for each, state in zip(generators, states[0], strict=True):
            each.set_state(state)
        for each, state in zip(numpys, states[1], strict=True):
            each.bit_generator.state = state


def play(page: Path, seed: int | None, fault: str | None, against: bool) -> list[dict[str, Any]]:
    """Run a page in this process."""
    import surgeon.book.page as said

    recorder = Recorder(page, against)
    said.claim = recorder.claim
    said.show = lambda plain, **forms: None
    import IPython.display

    IPython.display.display = lambda *things, **options: None
    names: dict[str, Any] = {"__name__": "__main__", "max": strict(max), "min": strict(min)}
    os.chdir(page.resolve().parent)
    for number, cell in enumerate(program(page, seed, fault)):
        try:
            exec(compile(cell, f"<cell {number + 1}>", "exec"), names)
        except Exception as error:
            if fault is None:
                raise
            print(f"  under {fault!r}, cell {number + 1}: {type(error).__name__}: {error}", file=sys.stderr)
    return recorder.made


def files(page: Path) -> list[str]:
    """The page and the modules of the package that this process has loaded for it."""
    loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    mine = {ROOT / file for file in loaded if file} | {page}
    names = [file.relative_to(ROOT).as_posix() for file in mine if file.is_relative_to(ROOT) and file.is_file()]
    return sorted(name for name in names if name.startswith(("surgeon/", "book/")) and "/_ext/" not in name)


def result(page: Path, seed: int | None = None, fault: str | None = None, against: bool = False) -> dict[str, Any]:
    """What a page's `claims` came to, run in this process, which serves for nothing else then; and the `files` that it
    needed."""
    stdout, sys.stdout = sys.stdout, sys.stderr
    made = play(page, seed, fault, against)
    sys.stdout = stdout
    return {"claims": made, "files": files(page)}


def side_by_side(asked: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[dict[str, Any]]:
    """`result` of each, in order, each in a process of its own; where a system forks, they share what is imported."""
    forks = sys.platform == "linux"
    if forks:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("MPLBACKEND", "agg")
        for name in IMPORTED:
            importlib.import_module(name)
    context = multiprocessing.get_context("fork" if forks else "spawn")
    with context.Pool(jobs, maxtasksperchild=1) as pool:
        yield from pool.imap(_result, asked, chunksize=1)


def _result(asked: tuple[Any, ...]) -> dict[str, Any]:
    warnings.resetwarnings()  # in a notebook, nobody has turned them into errors
    try:
        return result(*asked)
    except BaseException as error:
        raise RuntimeError(f"{asked[0].name} {asked[1:]} ends with {type(error).__name__}: {error}") from None


def told(page: Path, made: list[dict[str, Any]], fault: str | None) -> int:
    """Print what came out; how much is wrong."""
    wrong = 0
    for each in made:
        found = entry(page, each["says"]) or {}
        due = found.get("fault") == fault if fault else True
        if not due:
            continue
        verdict = "holds" if each["holds"] else "FAILS"
        line = f"{each['value']!r} in [{each['low']}, {each['high']}] {verdict}"
        if fault:
            wrong += each["holds"]
        else:
            wrong += not each["holds"]
            if not found:
                wrong, line = wrong + 1, f"{line}; NO ENTRY"
            elif "breaks" in each:
                wrong += not each["breaks"]
                line += f"; against: {each['rival']!r} {'breaks it' if each['breaks'] else 'DOES NOT BREAK IT'}"
            elif "error" in each:
                wrong, line = wrong + 1, f"{line}; against: {each['error']}"
            else:
                line += f"; against: fault {found.get('fault')!r}"
        print(f"- {each['says'][:90]}\n    {line}")
    return wrong


def unmatched(page: Path) -> list[str]:
    """Entries of a page's table that are of none of its claims."""
    said, written = statements(page), [each["says"] for each in table(page).get("claim", [])]
    return [says for says in written if not any(one.startswith(says) for one in said)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="all that claim something, if none is named")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--fault", help="run the pages with this fault of their tables alone")
    parser.add_argument("--against", action="store_true", help="ask every claim's counter-example, the faults too")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    options = parser.parse_args()
    asked: list[tuple[Path, int | None, str | None, bool]] = []
    for page in [page.resolve() for page in options.pages] or pages():
        faults = [options.fault] if options.fault else [None]
        if options.against and not options.fault:
            faults += table(page).get("fault", {})
        asked += [(page, options.seed, fault, options.against and fault is None) for fault in faults]
    wrong = 0
    with tempfile.TemporaryDirectory() as results:
        os.environ.setdefault("SURGEON_ONCE", results)  # what several pages ask alike is trained once
        for (page, _, fault, _), done in zip(asked, side_by_side(asked, options.jobs), strict=True):
            print(
                f"{page.stem}, under the fault {fault!r}:" if fault else f"{page.stem}, {len(done['claims'])} claims:"
            )
            wrong += told(page, done["claims"], fault)
            for says in unmatched(page) if not fault else ():
                wrong += 1
                print(f"- an entry of the table for no claim of the page: {says}", flush=True)
    print(f"{wrong} wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
