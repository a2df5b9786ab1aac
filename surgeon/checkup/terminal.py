"""What a shell is told, and how: a line that moves, a report, a file."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from surgeon.checkup.progress import watched
from surgeon.checkup.report_formats import Result, as_json, as_junit
from surgeon.checkup.report_text import as_text

GRACE = 10.0  # seconds beyond patience, until the process is ended
FORMATS = ("text", "json", "junit")


@contextmanager
def watching(name: str) -> Iterator[None]:
    """The law that is tried, on a terminal, in a line that is wiped out."""
    if not sys.stderr.isatty():
        yield
        return
    started = time.monotonic()

    def show(law: str) -> None:
        seconds = time.monotonic() - started
        said = f"{name}: {law} ({seconds:.0f} s)"
        print(f"\r\x1b[K{said[:78]}", end="", file=sys.stderr, flush=True)

    try:
        with watched(show):
            yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def shown(results: Sequence[Result], given: dict[str, Any]) -> str:
    """What is printed, or written into a file."""
    formats: dict[str, Callable[..., str]] = {
        "json": as_json,
        "junit": as_junit,
    }
    if given["format"] in formats:
        return formats[given["format"]](results, strict=given["strict"])
    colour = not given["output"] and paints(sys.stdout)
    texts = []
    for result in results:
        if (report := result.report) is None:
            continue
        summary = as_text(report, colour=colour, unfold="--details")
        texts.append(report.details if given["details"] else summary)
    return "\n\n".join(texts)


def write_whole(path: str, text: str) -> None:
    """All of it or nothing: a file is there once it is complete."""
    there = Path(path)
    beside = there.with_name(f"{there.name}.part")
    try:
        beside.write_text(f"{text}\n", encoding="utf8")
        os.replace(beside, there)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ValueError(
            f"output must be a file that can be written, got {path!r}:"
            f" {error.strerror}."
        ) from None


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


def tell(results: Sequence[Result], given: dict[str, Any]) -> int:
    """Print the reports, or write them; what the shell is to exit with."""
    unexamined = [each for each in results if each.report is None]
    for each in unexamined:
        print(each.error, file=sys.stderr)
    text = shown(results, given)
    try:
        if text and given["output"]:
            write_whole(given["output"], text)
        elif text:
            print(text)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if unexamined:
        return 2
    strict = given["strict"]
    wrong = [r for r in results if r.report and r.report.wrong(strict=strict)]
    return 1 if wrong else 0
