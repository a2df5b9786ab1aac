"""The search of a built site, asked without a browser: its own scripts in V8. And the questions that it must answer."""

import csv
import json
import re
from pathlib import Path
from typing import NamedTuple

from py_mini_racer import MiniRacer
from small_book import ROOT

TABLE = ROOT / "tests" / "site" / "asked.csv"


class Hit(NamedTuple):
    page: str  # "anatomy/softmax"
    anchor: str
    title: str


class Asked(NamedTuple):
    query: str
    held: bool  # was not looked at while ranking was tuned
    sections: list[str]  # any of them answers: page, page#anchor, or #label
    thread: str  # where it was asked


class Search:
    def __init__(self, site: Path) -> None:
        self.engine = MiniRacer()
        for name in ("minisearch.js", "language.js", "index.js"):
            self.engine.eval((site / "search" / name).read_text(encoding="utf8"))
        self.engine.eval("const search = MiniSearch.loadJS(INDEX, OPTIONS)")

    def ask(self, query: str) -> list[Hit]:
        hits = f"answers(search, {json.dumps(query)}).map((hit) => [PAGES[hit.page][0], hit.anchor, hit.title])"
        found = json.loads(self.engine.eval(f"JSON.stringify({hits})"))
        return [Hit(re.sub(r"^book/|\.html$", "", page), anchor, title) for page, anchor, title in found]


def asked() -> list[Asked]:
    with TABLE.open(encoding="utf8", newline="") as file:
        return [
            Asked(row["query"], row["held"] == "held", row["sections"].split(), row["thread"])
            for row in csv.DictReader(file)
        ]
