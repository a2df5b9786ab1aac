"""Examine a model from a shell: `python -m surgeon.checkup --model WHAT`."""

import argparse
import inspect
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from torch import nn

from surgeon.checkup.asked import ADDRESS, find, value_of
from surgeon.checkup.models.examination import examine_model
from surgeon.checkup.models.folder import from_folder
from surgeon.checkup.report_formats import Result
from surgeon.checkup.terminal import (
    FORMATS,
    GRACE,
    give_up,
    reason,
    tell,
    watching,
)

ARGUMENTS = tuple(inspect.signature(examine_model).parameters)[1:]
PATIENCE = 300.0
WHERE = (
    "a folder with config.json and weights in safetensors, or"
    " package.module:factory"
)


def of_models(words: Sequence[str]) -> int:
    """0 if no fault was found, 1 if one was, 2 if it cannot be examined."""
    given = vars(parser().parse_args(words))
    others = given["format"] != "text"
    with redirect_stdout(sys.stderr) if others else nullcontext():
        result = _examined(given)
    return tell([result], given)


def parser() -> argparse.ArgumentParser:
    """What a shell may say of a model."""
    words = argparse.ArgumentParser(
        prog="python -m surgeon.checkup",
        description="A check-up of a whole model.",
        allow_abbrev=False,
    )
    add = words.add_argument
    add("--model", required=True, metavar="WHERE", help=WHERE)
    add(
        "--trust-code",
        action="store_true",
        help="run the code that a folder brings along",
    )
    add(
        "--declare",
        action="append",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help=f"arguments of surgeon.examine_model: {', '.join(ARGUMENTS)};"
        " functions by their addresses",
    )
    add(
        "--accept",
        action="append",
        default=[],
        metavar="NAME=REASON",
        help="a finding that is known and meant, and why",
    )
    add("--patience", metavar="SECONDS", type=float, default=PATIENCE)
    add("--memory", metavar="GIB", type=float)
    add("--strict", action="store_true", help="exit with 1 for hazards, too")
    add("--details", action="store_true", help="print every finding")
    add("--format", choices=FORMATS, default="text")
    add("--output", metavar="FILE", help="write there, once all is known")
    return words


def _examined(given: dict[str, Any]) -> Result:
    """Its report, or why there is none."""
    name, seconds = given["model"], given["patience"] + GRACE
    last_resort = threading.Timer(seconds, give_up, [name, seconds])
    last_resort.daemon = True
    try:
        told = _told(given)
        if GRACE < seconds < threading.TIMEOUT_MAX:
            last_resort.start()
        with watching(name):
            model = loaded(name, trust=given["trust_code"])
            return Result(name, examine_model(model, **told))
    except ValueError as error:
        return Result(name, None, str(error))
    finally:
        last_resort.cancel()


def _told(given: dict[str, Any]) -> dict[str, Any]:
    """What the shell says of the model."""
    told: dict[str, Any] = {"patience": given["patience"]}
    if given["memory"] is not None:
        told["memory"] = given["memory"]
    for words in (each for group in given["declare"] for each in group):
        name, equals, text = words.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in ARGUMENTS:
            raise ValueError(
                f"declare must be NAME=VALUE with a name of"
                f" {', '.join(ARGUMENTS)}, got {words!r}."
            )
        told[name] = (
            find(text) if ADDRESS.fullmatch(text) else value_of(name, text)
        )
    if given["accept"]:
        told["accept"] = dict(map(reason, given["accept"]))
    return told


def loaded(where: str, *, trust: bool = False) -> Callable[..., Any]:
    """A model from a folder, or from a factory.

    Parameters
    ----------
    where : str
        A folder, or ``package.module:name`` of a module, or of what returns
        one.
    trust : bool
        Whether code that a folder brings along may run.

    Raises
    ------
    ValueError
        If there is no such thing, if the folder holds no weights in
        safetensors, or if it wants to run code of its own.
    """
    if Path(where).is_dir():
        advice = ": read it, and say --trust-code"
        return from_folder(Path(where), trust=trust, advice=advice)
    made = find(where)
    if isinstance(made, nn.Module):
        return made
    try:
        model: Callable[..., Any] = made()
    except Exception as error:  # whatever it raises
        raise ValueError(
            f"{where} must build a model, got {type(error).__name__}:"
            f" {error}."
        ) from None
    return model
