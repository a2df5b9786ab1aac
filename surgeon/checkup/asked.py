"""What is asked for in words: addresses, values, and a file of subjects."""

import ast
import importlib
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgeon.checkup.examination import examine

ARGUMENTS = tuple(inspect.signature(examine).parameters)[1:]
# What may be a function, and is then given by its address
FUNCTIONS = (
    "documents",
    "linear",
    "options",
    "positions",
    "qk_norm",
    "scale",
)
MAPPINGS = ("names", "options", "accept")
OF_JSON = {"true": True, "false": False, "null": None}
ADDRESS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Asked:
    """A subject to examine, and what is said of it.

    Parameters
    ----------
    name : str
        For the report.
    address : str
        Where it is, as `package.module:name`.
    build : bool
        Whether it is made by a call of what stands there.
    told : dict
        Arguments of `surgeon.examine`.
    """

    name: str
    address: str
    build: bool
    told: dict[str, Any]

    def subject(self) -> Any:
        """What the address names, or what that returns.

        Raises
        ------
        ValueError
            If there is no such thing, or the call of it fails.
        """
        found = find(self.address)
        if not self.build:
            return found
        try:
            return found()
        except Exception as error:  # whatever it raises
            raise ValueError(
                f"{self.address} must build something to examine, got"
                f" {type(error).__name__}: {error}."
            ) from None


def read_subjects(path: str) -> list[Asked]:
    """The subjects of a TOML file, a table for each.

    A table has `target`, the address; `build`, if that is to be called; and
    arguments of `surgeon.examine` by their names, `accept` among them.

    Raises
    ------
    ValueError
        If it cannot be read, or says something else.
    """
    try:
        text = Path(path).read_text(encoding="utf8")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "not in UTF-8"
        raise ValueError(
            f"subjects must be a file that can be read, got {path!r}: {said}."
        ) from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(
            f"subjects must be written in TOML, got {path!r}: {error}."
        ) from None
    if not tables:
        raise ValueError(
            f"subjects must have a table for each subject, got {path!r}"
            " without any."
        )
    return [_table(name, table) for name, table in tables.items()]


def _table(name: str, table: Any) -> Asked:
    if not isinstance(table, dict) or not isinstance(
        table.get("target"), str
    ):
        raise ValueError(
            f"subjects must give a target, as in target ="
            f' "package.module:function", got none for {name!r}.'
        )
    told = {key: value for key, value in table.items() if key != "target"}
    build = told.pop("build", False)
    if not isinstance(build, bool):
        raise ValueError(
            f"build must be true or false for {name!r}, got {build!r}."
        )
    for key in told:
        known(key)
    return Asked(name, table["target"], build, told)


def known(argument: str) -> str:
    """The argument of `surgeon.examine` that is called so."""
    if argument not in ARGUMENTS:
        raise ValueError(
            f"an argument must be one of {', '.join(ARGUMENTS)}, got"
            f" {argument!r}."
        )
    return argument


def declared(words: str) -> tuple[str, Any]:
    """An argument and its value, from NAME=VALUE."""
    name, equals, text = words.partition("=")
    if not equals:
        raise ValueError(f"declare must be NAME=VALUE, got {words!r}.")
    name = known(name.strip().replace("-", "_"))
    return name, value_of(name, text.strip())


def value_of(argument: str, text: str) -> Any:
    """What is meant by a text: a literal of Python or JSON, or the text.

    A mapping may be `name=value, …`, and several texts `one, another`.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    if argument in MAPPINGS and text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            pass
    if argument in MAPPINGS and "=" in text:
        pairs = (part.partition("=") for part in text.split(","))
        return {
            key.strip(): OF_JSON.get(
                value.strip(), value_of("", value.strip())
            )
            for key, _, value in pairs
        }
    if argument == "projections":
        return tuple(part.strip() for part in text.split(","))
    return text


# What some arguments must be, which texts and TOML may miss
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "names": (
        "texts by name, as in Q=query,mask=attn_mask",
        lambda it: isinstance(it, dict) and _texts(it.values()),
    ),
    "options": (
        "values by name, as in need_weights=False, or a function's address",
        lambda it: isinstance(it, dict) or _is_address(it),
    ),
    "accept": (
        "reasons by name",
        lambda it: isinstance(it, dict),
    ),
    "projections": (
        "names, as in q_proj,k_proj,v_proj,o_proj, or False",
        lambda it: (
            it is False or (isinstance(it, list | tuple) and _texts(it))
        ),
    ),
    "widths": (
        "two numbers, as in 64,64",
        lambda it: isinstance(it, list | tuple) and len(it) == 2,
    ),
    "causal": (
        "an argument's name, or true or false",
        lambda it: isinstance(it, str | bool),
    ),
    "padding": ("an argument's name", lambda it: isinstance(it, str)),
    "dropout": ("an argument's name", lambda it: isinstance(it, str)),
    "scale": (
        "a number, or a function's address",
        lambda it: isinstance(it, int | float) or _is_address(it),
    ),
    "patience": (
        "a number of seconds",
        lambda it: isinstance(it, int | float),
    ),
}


def _texts(several: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in several)


def _is_address(it: Any) -> bool:
    return isinstance(it, str) and bool(ADDRESS.fullmatch(it))


def check_kinds(told: Mapping[str, Any]) -> None:
    """Whether arguments are of a kind that `surgeon.examine` can judge."""
    for name, (words, fits) in KINDS.items():
        if name in told and not fits(told[name]):
            raise ValueError(f"{name} must be {words}, got {told[name]!r}.")


def with_functions(told: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with functions where there are addresses of any."""
    return {
        name: find(value)
        if name in FUNCTIONS and _is_address(value)
        else value
        for name, value in told.items()
    }


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
