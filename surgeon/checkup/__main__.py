"""Examine from a shell: `python -m surgeon.checkup package.module:name`."""

import argparse
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from surgeon.checkup.asked import (
    ARGUMENTS,
    Asked,
    check_kinds,
    declared,
    read_subjects,
    value_of,
    with_functions,
)
from surgeon.checkup.examination import ALIGNMENTS, DEAD_ROWS, examine
from surgeon.checkup.models.shell import of_models
from surgeon.checkup.report_formats import Result
from surgeon.checkup.subjects.conventions import MASKS, SHAPES
from surgeon.checkup.subjects.layouts import LAYOUTS
from surgeon.checkup.terminal import (
    FORMATS,
    GRACE,
    give_up,
    reason,
    tell,
    watching,
)

PATIENCE = 60.0
EXAMPLES = """
examples:
  python -m surgeon.checkup mine:attention --mask "True blocks"
  python -m surgeon.checkup mine:build --build --declare heads=8 widths=64,64
  python -m surgeon.checkup --subjects subjects.toml --format junit
  python -m surgeon.checkup --model my/model  (more: --model x --help)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no fault was found, 1 if one was; or a hazard, if it is strict.

    2 if something cannot be examined, or an argument is no good.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if any(word.split("=")[0] == "--model" for word in words):
        return of_models(words)
    given = vars(parser().parse_args(words))
    try:
        asked = _asked(given)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    # What a subject prints must not stand within what programs read.
    others = given["format"] != "text"
    with redirect_stdout(sys.stderr) if others else nullcontext():
        results = [_examined(each) for each in asked]
    return tell(results, given)


def parser() -> argparse.ArgumentParser:
    """What a shell may say: every argument of `surgeon.examine`, and more."""
    words = argparse.ArgumentParser(
        prog="python -m surgeon.checkup",
        description="A check-up of anyone's attention.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = words.add_argument
    add(
        "address",
        nargs="?",
        help="package.module:function, or a module's instance; with"
        " --subjects, one of them by its name",
    )
    add("--subjects", metavar="FILE", help="TOML with a table for each")
    add(
        "--build",
        action="store_true",
        help="call what the address names first, and examine the result",
    )
    add(
        "--accept",
        action="append",
        default=[],
        metavar="NAME=REASON",
        help="a finding that is known and meant, and why",
    )
    add("--strict", action="store_true", help="exit with 1 for hazards, too")
    add("--details", action="store_true", help="print every finding")
    add("--format", choices=FORMATS, default="text")
    add("--output", metavar="FILE", help="write there, once all is known")
    said = words.add_argument_group(
        "what the subject is",
        "As surgeon.examine has it; values are Python's literals, or texts.",
    ).add_argument
    said(
        "--declare",
        action="append",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="any of these, in other words",
    )
    for name in ARGUMENTS:
        if name != "accept":
            option = f"--{name.replace('_', '-')}"
            said(option, dest=name, **HELP.get(name, {"metavar": "VALUE"}))
    return words


HELP: dict[str, dict[str, Any]] = {
    "layout": {"choices": LAYOUTS},
    "mask": {"choices": (*MASKS, "find", "none")},
    "mask_shape": {"choices": SHAPES},
    "dead_rows": {"choices": DEAD_ROWS},
    "alignment": {"choices": ALIGNMENTS},
    "names": {"metavar": "Q=NAME,…", "help": "what it calls Q, K, V, mask"},
    "padding": {"metavar": "NAME", "help": "the argument for padding [B, S]"},
    "causal": {
        "metavar": "NAME",
        "help": "the argument that asks for a causal mask; 'always' if it is"
        " causal by itself",
    },
    "dropout": {"metavar": "NAME", "help": "the argument for dropout"},
    "projections": {"metavar": "NAME,…", "help": "q, k, v, out; or qkv, out"},
    "widths": {"metavar": "D_K,D_V"},
    "width": {"metavar": "NUMBER", "help": "of x, for a layer on x"},
    "options": {"metavar": "NAME=VALUE,…", "help": "further arguments"},
    "patience": {
        "metavar": "SECONDS",
        "help": f"after which it is given up; {PATIENCE:g}",
    },
}


def _asked(given: dict[str, Any]) -> list[Asked]:
    """The subjects to examine, with what is said of all of them."""
    told = {
        name: value_of(name, given[name])
        for name in ARGUMENTS
        if name != "accept" and given[name] is not None
    }
    told |= dict(
        declared(words) for each in given["declare"] for words in each
    )
    accepted = dict(map(reason, given["accept"]))
    address, output = given["address"], given["output"]
    if output and not Path(output).parent.is_dir():
        raise ValueError(
            f"output must be in a folder that is there, got {output!r}."
        )
    if given["subjects"] is None:
        if address is None:
            raise ValueError("address or subjects must be given.")
        subjects = [Asked(address, address, given["build"], {})]
    else:
        subjects = read_subjects(given["subjects"])
        known = ", ".join(each.name for each in subjects)
        subjects = [s for s in subjects if address in (None, s.name)]
        if not subjects:
            raise ValueError(
                f"address must name one of the subjects ({known}), got"
                f" {address!r}."
            )
    return [_with(each, told, accepted) for each in subjects]


def _with(
    each: Asked, told: dict[str, Any], accepted: dict[str, str]
) -> Asked:
    """The subject, with what the shell says besides; that comes first."""
    told = {"patience": PATIENCE} | each.told | told
    if told.get("causal") == "always":
        told["causal"] = True
    if accepted:
        told["accept"] = {**told.get("accept", {}), **accepted}
    check_kinds(told)
    return Asked(each.name, each.address, each.build, told)


def _examined(asked: Asked) -> Result:
    """Its report, or why there is none."""
    seconds = asked.told["patience"] + GRACE
    last_resort = threading.Timer(seconds, give_up, [asked.address, seconds])
    last_resort.daemon = True
    try:
        # examine says what is wrong with any other patience
        if GRACE < seconds < threading.TIMEOUT_MAX:
            last_resort.start()
        with watching(asked.name):
            told = with_functions(asked.told)
            report = examine(asked.subject(), **told)
        return Result(asked.name, report)
    except ValueError as error:
        return Result(asked.name, None, str(error))
    finally:
        last_resort.cancel()


if __name__ == "__main__":
    sys.exit(main())
