"""What pages import from the package, read from their code."""

import ast
import hashlib
import sys
from types import SimpleNamespace

import pytest
from myst_nb.core.config import NbParserConfig
from myst_parser.config.main import MdParserConfig
from small_book import FRONT, ROOT
from sphinx.errors import SphinxError

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.reference.imports import Package, cells

PACKAGE = {
    "__init__.py": "from surgeon.softmax import stable\nfrom .masks import causal as causal_mask\nWHERE = 'here'\n",
    "softmax.py": "def stable():\n    return 'stable'\n\n\ndef naive():\n    return 'naive'\n",
    "masks.py": "def causal():\n    return 'causal'\n",
    "heads.py": "def heads():\n    from . import stable\n\n    return stable() + ' heads'\n",
    "lm/__init__.py": "from .train import fit\n",
    "lm/train.py": "import surgeon.heads as h\n\n\ndef fit():\n    return h.heads()\n",
    "lazy/__init__.py": "",
    "lazy/__init__.pyi": "from .one import only\n",
    "lazy/one.py": "def only(): ...\n",
}


@pytest.fixture
def package(tmp_path):
    for name, text in PACKAGE.items():
        file = tmp_path / "surgeon" / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
    return Package(tmp_path, "surgeon")


@pytest.mark.parametrize(
    ("code", "origin"),
    [
        ("from surgeon import stable as s", "softmax.stable"),
        ("from surgeon import causal_mask", "masks.causal"),
        ("from surgeon.lm import fit", "lm.train.fit"),
        ("def later():\n    from surgeon.heads import heads", "heads.heads"),
        ("from surgeon import softmax", "softmax"),
        ("import surgeon.masks as m", "masks"),
        ("from surgeon import absent", "absent"),
        ("from surgeon.lazy import only", "lazy.one.only"),
        ("import torch, surgeons", ""),
    ],
)
def test_a_name_comes_from_the_module_that_defines_it(package, code, origin):
    """Through the `__init__` that only hands it on, or through the stub of one that imports nothing itself."""
    found = [package.origin(module, name) for module, name, _ in package.imports(ast.parse(code))]
    said = [f"{module}.{name}" if name else module for module, name in found]
    assert said == ([f"surgeon.{origin}"] if origin else [])


def test_a_package_that_hands_a_name_round_in_a_circle_is_read_all_the_same(package, tmp_path):
    (tmp_path / "surgeon/__init__.py").write_text("from surgeon.lm import lost\n")
    (tmp_path / "surgeon/lm/__init__.py").write_text("from surgeon import lost\n")
    (tmp_path / "surgeon/broken.py").write_text("def (:\n")
    circle = Package(tmp_path, "surgeon")
    assert circle.origin("surgeon", "lost")[1] == "lost"
    assert circle.origin("surgeon.broken", "x") == ("surgeon.broken", "x")


def test_what_code_reaches_is_each_module_on_the_way_and_what_it_holds(package, tmp_path):
    """By which it is seen that what the code gets is no longer what it was, however far away the change."""
    tree = ast.parse("from surgeon.lm import fit")

    def digest(name):
        return hashlib.sha256((tmp_path / "surgeon" / name).read_bytes()).hexdigest()

    holds = {"surgeon.heads": "heads.py", "surgeon.lm.train": "lm/train.py", "surgeon.softmax": "softmax.py"}
    before = package.reached(tree)
    assert before == [
        "surgeon.heads.None is surgeon.heads.None",
        "surgeon.lm.fit is surgeon.lm.train.fit",
        "surgeon.stable is surgeon.softmax.stable",
        *(f"{module} {digest(file)}" for module, file in holds.items()),
    ]
    (tmp_path / "surgeon/masks.py").write_text("other = 1\n")
    assert Package(tmp_path, "surgeon").reached(tree) == before
    (tmp_path / "surgeon/softmax.py").write_text("def stable():\n    return 'other'\n")
    assert len(set(Package(tmp_path, "surgeon").reached(tree)) ^ set(before)) == 2


def test_a_page_that_cannot_be_read_is_named():
    env = SimpleNamespace(
        doc2path=lambda page: f"/books/{page}.md", myst_config=MdParserConfig(), mystnb_config=NbParserConfig()
    )
    text = FRONT + "```{code-cell} ipython3\n:tags: [hide-input\n:more: a: b\n\n1\n```\n"
    with pytest.raises(SphinxError, match=r"^/books/a.md cannot be read: .* line 11"):
        cells(env, "a", text)
