"""What the arithmetic of the operating table's script is held against: cases, and what surgeon makes of them."""

import ast
import importlib
import itertools
import json
import math
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book import kept, sources
from surgeon_book.checkout import ROOT
from surgeon_book.order import Finished
from surgeon_book.reference.imports import Package
from surgeon_book.reference.package import load
from surgeon_book.site import pages

NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}
ELEMENT = "operating-table"
ANSWERING = "surgeon.instruments.operating"
LIBRARIES = ("numpy", "torch")
SENTENCE = ["the", "surgeon", "cut", "the", "wire"]
WHOLE_ROW = [(1, j) for j in range(len(SENTENCE))]
USUAL = {
    "words": SENTENCE,
    "d_k": 16,
    "seed": 0,
    "mask": "none",
    "padded": 2,
    "flipped": [],
    "scale": True,
    "stable": True,
    "temperature": 1.0,
    "precision": "float32",
}


def cases() -> list[dict[str, Any]]:
    """All mask forms, with the scale and without, rows with nothing to see, overflow in every precision."""
    chosen = [
        {"mask": mask, "scale": scale}
        for mask, scale in itertools.product(("none", "causal", "reverse", "padding", "front"), (True, False))
    ]
    chosen += [
        {"flipped": WHOLE_ROW, "mask": mask, "stable": stable}
        for mask in ("none", "causal")
        for stable in (True, False)
    ]
    chosen += [
        {"d_k": d_k, "scale": scale, "stable": False, "temperature": 0.05, "precision": precision}
        for d_k, scale, precision in [(64, True, "float16"), (1024, False, "float32"), (1024, False, "float64")]
    ]
    chosen += [{"temperature": 1e-3, "d_k": 1024, "scale": False, "precision": "float16"}]  # an infinite score
    chosen += [
        {"words": ["alone"]},
        {"padded": 5, "mask": "padding"},
        {"seed": 2**32 - 1, "d_k": 7},
        {"seed": 3, "d_k": 4},
    ]
    return [USUAL | case for case in chosen]


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """What surgeon makes of a case: inputs, every stage, the vital signs."""
    load()
    operating = importlib.import_module(ANSWERING)
    inputs = operating.draw_inputs(case["words"], case["d_k"], case["seed"])
    open_cells = operating.permissions(case["mask"], len(case["words"]), case["padded"], case["flipped"])
    how = {name: case[name] for name in ("scale", "stable", "temperature", "precision")}
    operation = operating.operate(*inputs, open_cells, **how)
    signs = operating.vital_signs(operation.weights, open_cells)
    stages = {name: matrix.flatten().tolist() for name, matrix in operation._asdict().items()}
    return stages | {"V": inputs[2].flatten().tolist(), "signs": signs}


def plain(value: Any) -> Any:
    """As JSON has it: nine digits, and what is no number by its name."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else NAMES.get(value, "NaN")
    return value


def inputs(app: Sphinx) -> str:
    """A hash of all that answers follow from: what is asked, who answers, and with which libraries."""
    answering = Package(ROOT, "surgeon").reached(ast.parse("from surgeon.instruments import operating"))
    return sources.digest([Path(__file__), *answering, *map(version, LIBRARIES)])


def export(app: Sphinx) -> None:
    """fixtures.json, beside the script: cases, and what surgeon answers. No page asks for it; who doubts, may.

    Answers are kept as long as nothing changes what they follow from; the site's copy goes with what no page names.
    """
    if not any(ELEMENT in known.elements for known in pages.known(app).values()):
        return
    Path(app.outdir, "_static", ELEMENT, "fixtures.json").write_bytes(answers(app))


def answers(app: Sphinx) -> bytes:
    memory = Path(app.doctreedir, "fixtures", inputs(app))
    text = kept.get(memory)
    if text is None:
        fixtures = [{"case": case, "answer": plain(answer(case))} for case in cases()]
        text = json.dumps(fixtures, separators=(",", ":"), allow_nan=False).encode()
        shutil.rmtree(memory.parent, ignore_errors=True)
        kept.put(memory, text)
    return text


def answer_early(app: Sphinx, doctree: nodes.document) -> None:
    """Where a page of the reference has imported who answers, which takes longer than to answer."""
    if ANSWERING in sys.modules and "surgeon_answered" not in app.__dict__:
        app.__dict__["surgeon_answered"] = True
        answers(app)


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", answer_early)
    app.connect("build-finished", pages.if_written(export), priority=Finished.FIXTURES)
