"""Examine from a shell: `python -m surgeon.checkup package.module:name`."""

import argparse
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, TextIO

from surgeon.checkup.examination import ALIGNMENTS, DEAD_ROWS, examine
from surgeon.checkup.report_text import as_text
from surgeon.checkup.subjects.conventions import MASKS, SHAPES
from surgeon.checkup.subjects.layouts import LAYOUTS

GRACE = 10.0  # seconds beyond patience, until the process is ended


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no fault was found, 1 if one was; or a hazard, if it is strict.

    2 if the address or an argument is no good.
    """
    given = vars(_parser().parse_args(arguments))
    strict, details = given.pop("strict"), given.pop("details")
    address, build = given.pop("address"), given.pop("build")
    given["causal"] = True if given["causal"] == "always" else given["causal"]
    seconds = given["patience"] + GRACE
    last_resort = threading.Timer(seconds, give_up, [address, seconds])
    last_resort.daemon = True
    try:
        # examine says what is wrong with any other patience
        if GRACE < seconds < threading.TIMEOUT_MAX:
            last_resort.start()
        given["accept"] = dict(map(reason, given["accept"]))
        subject = find(address)
        report = examine(subject() if build else subject, **given)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        last_resort.cancel()
    colour = paints(sys.stdout)
    summary = as_text(report, colour=colour, unfold="--details")
    print(report.details if details else summary)
    return 1 if report.wrong(strict=strict) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m surgeon.checkup",
        description="A check-up of anyone's attention.",
    )
    add = parser.add_argument
    add("address", help="package.module:function, or a module's instance")
    add(
        "--build",
        action="store_true",
        help="call what the address names first, and examine the result",
    )
    add("--layout", choices=LAYOUTS)
    add("--mask", choices=(*MASKS, "find", "none"))
    add("--mask-shape", choices=SHAPES)
    add("--padding", help="the argument for a mask [B, S] over keys")
    add(
        "--causal",
        help="the argument that asks for a causal mask; 'always' if it is"
        " causal by itself",
    )
    add("--dropout", help="the argument for the probability of dropout")
    add("--heads", type=int)
    add("--kv-heads", type=int)
    add("--width", type=int, help="of x, for a layer on x")
    add("--dead-rows", choices=DEAD_ROWS)
    add("--alignment", choices=ALIGNMENTS)
    add(
        "--accept",
        action="append",
        default=[],
        metavar="NAME=REASON",
        help="a finding that is known and meant, and why",
    )
    add("--strict", action="store_true", help="exit with 1 for hazards, too")
    add("--details", action="store_true", help="print every finding")
    add(
        "--patience",
        type=float,
        default=60.0,
        help="seconds after which it is given up; 60",
    )
    add("--seed", type=int, default=0)
    return parser


def reason(accepted: str) -> tuple[str, str]:
    """A finding and the reason why it is accepted, from NAME=REASON."""
    name, equals, why = accepted.partition("=")
    if not equals:
        raise ValueError(f"accept must be NAME=REASON, got {accepted!r}.")
    return name.strip(), why.strip()


def paints(stream: TextIO) -> bool:
    """Whether it is a terminal in colour, and nobody objects (NO_COLOR)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def give_up(address: str, seconds: float) -> None:
    """The end of the process, for what no exception can stop.

    An import, or a call into C, that never returns; a subject that swallows
    every exception.
    """
    print(
        f"address must name something that answers, got {address!r}: nothing"
        f" within {seconds:g} s.",
        file=sys.stderr,
    )
    sys.stderr.flush()
    os._exit(2)


def find(address: str) -> Any:
    """What `package.module:name` names.

    The folder that one stands in is searched first.
    """
    module_name, _, path = address.partition(":")
    if not module_name or not path:
        raise ValueError(
            f"address must be package.module:function, got {address!r}."
        )
    sys.path.insert(0, "")
    try:
        found = importlib.import_module(module_name)
    except Exception as error:  # whatever the module raises
        raise ValueError(
            "address must name a module that can be imported, got"
            f" {module_name!r}: {error}."
        ) from None
    finally:
        sys.path.remove("")
    for name in path.split("."):
        if not hasattr(found, name):
            raise ValueError(
                f"address must name something in {module_name}, got {path!r},"
                " which it lacks."
            )
        found = getattr(found, name)
    return found


if __name__ == "__main__":
    sys.exit(main())
