"""What pyproject.toml declares."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]


def asked(*extras: str) -> list[str]:
    """The requirements of the project with some extras; a line that names the project stands for extras of it."""
    queue, found = list(extras), list(PROJECT["dependencies"])
    for extra in queue:  # it grows
        for line in PROJECT["optional-dependencies"][extra]:
            own = re.fullmatch(rf"{PROJECT['name']}\[(.*)\]", line)
            queue += own[1].split(",") if own else []
            found += [] if own else [line]
    return found
