"""The operating table's script and style, on the pages that have one, and what its arithmetic is held against."""

import importlib
import itertools
import json
import math
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.order import Finished
from surgeon_book.reference.api import load

NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}
TAG = "<operating-table "
FOLDER = "operating-table"
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
    operating = importlib.import_module("surgeon.book.operating")
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
        return (
            float(f"{value:.9g}")
            if math.isfinite(value)
            else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        )
    return value


def bring(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if doctree is not None and any(TAG in output.astext() for output in doctree.findall(nodes.raw)):
        app.add_js_file(f"{FOLDER}/operating-table.mjs", type="module")
        app.add_css_file(f"{FOLDER}/operating-table.css")


def export(app: Sphinx, exception: Exception | None) -> None:
    """fixtures.json, beside the script: cases, and what surgeon answers. No page asks for it; who doubts, may."""
    if exception or app.builder.format != "html":
        return
    if not any(TAG in page.read_text(encoding="utf8") for page in Path(app.outdir).rglob("*.html")):
        return
    fixtures = [{"case": case, "answer": plain(answer(case))} for case in cases()]
    text = json.dumps(fixtures, separators=(",", ":"), allow_nan=False)
    Path(app.outdir, "_static", FOLDER, "fixtures.json").write_text(text)


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", bring)
    app.connect("build-finished", export, priority=Finished.FIXTURES)
