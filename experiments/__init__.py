"""Runs that are too long for a page, whose data pages read: `make experiments`."""

import datetime
import json
import platform
from pathlib import Path
from typing import Any

import numpy
import torch

ROOT = Path(__file__).resolve().parents[1]


def keep(place: str, found: dict[str, Any]) -> Path:
    """Write what was found where pages read it, with the day and the versions; numbers to six digits, a line a list."""
    # What a package says of itself: PyTorch names its build, which a wheel's name may not.
    versions = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}
    kept = {"date": datetime.date.today().isoformat(), "versions": versions} | found
    file = ROOT / place
    file.write_text(f"{written(kept)}\n", encoding="utf8")
    return file


def written(thing: Any, margin: str = "") -> str:
    """JSON in which a list, which holds no dictionaries, takes one line."""
    if isinstance(thing, dict) and thing:
        inner = [f"{margin} {json.dumps(key)}: {written(value, margin + ' ')}" for key, value in thing.items()]
        return "{\n" + ",\n".join(inner) + f"\n{margin}}}"
    if isinstance(thing, list):
        return f"[{', '.join(written(each) for each in thing)}]"
    if isinstance(thing, float):
        thing = float(f"{thing:.6g}")
    return json.dumps(thing, ensure_ascii=False)
