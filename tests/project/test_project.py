"""What the parts of the project promise each other: pins, names, versions, addresses, imports, docstrings."""

import ast
import hashlib
import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from declared import PROJECT, asked
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import surgeon
from surgeon.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "surgeon"
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
LOCKS = ["requirements.txt", "requirements-dev.txt"]

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())

# What is wired by hand here, under every name by which PyTorch sells it.
BY_HAND = {
    "softmax",
    "softmin",
    "log_softmax",
    "gumbel_softmax",
    "logsumexp",
    "logaddexp",
    "cross_entropy",
    "scaled_dot_product_attention",
    "multi_head_attention_forward",
    "flex_attention",
    "Softmax",
    "Softmin",
    "LogSoftmax",
    "CrossEntropyLoss",
    "MultiheadAttention",
    "TransformerEncoderLayer",
    "TransformerDecoderLayer",
    "Transformer",
}


# The locks


def pins(name: str) -> dict[str, str]:
    """Each line of a requirements file that is no comment, as name and version; any other kind of line fails."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf8").splitlines():
        if not line or line.startswith("#"):
            continue
        pin = re.fullmatch(r"([a-z0-9][a-z0-9.-]*)==([0-9][a-z0-9.]*)", line)
        assert pin, f"{name}: {line!r} is no plain pin"
        assert pin[1] not in found, f"{name}: {pin[1]} twice"
        found[pin[1]] = pin[2]
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_to_one_release_that_any_index_has(name):
    """No address, no path, no option, and PyTorch without the label of its CPU build."""
    assert pins(name)["torch"] == "2.13.0"


def test_no_lock_brings_cuda():
    assert not [name for name in pins(LOCKS[1]) if name.startswith(("nvidia", "triton", "cuda"))]


def test_the_locks_agree():
    assert pins(LOCKS[0]).items() <= pins(LOCKS[1]).items()


@pytest.mark.parametrize(
    ("lock", "extras"),
    [(LOCKS[0], ["all", "book"]), (LOCKS[1], ["all", "book", "test", "lab", "binder", "lock"])],
    ids=LOCKS,
)
def test_the_locks_hold_what_the_project_asks_for(lock, extras):
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    locked = pins(lock)
    for requirement in map(Requirement, asked(*extras)):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), str(requirement)


# Names, versions and addresses


def test_the_version_is_one():
    """The package says it; the citation and the newest part of the changelog repeat it."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf8")
    assert "version" in PROJECT["dynamic"]
    assert CITATION["version"] == surgeon.__version__
    assert re.search(r"^## (\S+), ", changes, re.MULTILINE)[1] == surgeon.__version__


def test_what_an_extra_brings_is_said_where_it_is_missed():
    """And `all` brings what they all do."""
    extras = PROJECT["optional-dependencies"]
    ours = {extra: tuple(Requirement(line).name for line in extras[extra]) for extra in EXTRAS}
    assert ours == EXTRAS
    assert extras["all"] == [f"attention-surgeon[{','.join(EXTRAS)}]"]
    assert sorted(asked("all")) == sorted(asked(*EXTRAS))


def test_the_tests_build_with_what_pip_builds_with():
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    assert set(whole["build-system"]["requires"]) <= set(PROJECT["optional-dependencies"]["test"])


def test_the_repository_is_one(monkeypatch):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    name = runpy.run_path(str(PACKAGE / "book" / "page.py"))["REPOSITORY"]
    address = f"https://github.com/{name}"
    assert re.fullmatch(r"[\w-]+/[\w-]+", name)
    assert PROJECT["urls"]["Repository"] == CITATION["repository-code"] == config["repository"]["url"] == address


def test_the_authors_are_the_same_everywhere():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    (author,), (citing,) = PROJECT["authors"], CITATION["authors"]
    assert author["name"] == citing["name"] == config["author"]
    for licence in PROJECT["license-files"]:
        assert f"Copyright (c) 2026 {author['name']}\n" in (ROOT / licence).read_text(encoding="utf8")


def test_the_licences_are_whole():
    code, prose = ((ROOT / name).read_text(encoding="utf8") for name in ("LICENSE", "LICENSE-PROSE"))
    assert code.startswith("MIT License\n")
    assert code.endswith("SOFTWARE.\n")
    assert [n for n in range(1, 9) if f"\nSection {n} -- " in prose] == list(range(1, 9))
    assert prose.endswith("Creative Commons may be contacted at creativecommons.org.\n")


# The files


def files() -> list[Path]:
    """What git tracks, or would at the next `git add`."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert ROOT / "pyproject.toml" in paths
    return [path for path in paths if path.is_file()]


def test_no_file_is_large():
    """But for what others made, which is kept apart in book/_vendor."""
    vendor = ROOT / "book" / "_vendor"
    large = [path for path in files() if path.stat().st_size > 500_000 and not path.is_relative_to(vendor)]
    assert large == []


def test_what_others_made_is_what_they_published():
    """Every file in book/_vendor/<name>/ has its SHA-256 in the README beside it."""
    vendor = ROOT / "book" / "_vendor"
    for path in files():
        if path.is_relative_to(vendor) and path.name not in ("README.md", "LICENSE"):
            readme = vendor / path.relative_to(vendor).parts[0] / "README.md"
            assert hashlib.sha256(path.read_bytes()).hexdigest() in readme.read_text(encoding="utf8"), path.name


def test_no_file_names_a_place_on_somebodys_machine_or_a_package_index():
    places = re.compile(
        r"/roo[t]/|/wor[k]/|/hom[e]/|/User[s]/|file://[/]|pypi\.org/simpl[e]"
    )  # brackets: not this line
    found = []
    for path in files():
        text = path.read_bytes().decode("utf8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in places.finditer(text)]
    assert found == []


# The package


def by_hand(code: str) -> set[str]:
    """The names of `BY_HAND` that a piece of code uses, imports or asks for with a string."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "surgeon"):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] != "surgeon":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {name for name in found if str(name).lstrip("_") in BY_HAND or name == "*"}


def contract(folder: Path) -> subprocess.CompletedProcess:
    """What import-linter says of a checkout."""
    command = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--no-cache",
        "--config",
        str(folder / "pyproject.toml"),
    ]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(folder)}
    )


def test_folders_import_one_way():
    done = contract(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("anatomy/softmax", "from surgeon.imaging import style"),
        ("imaging/rank", "def f():\n    from surgeon.procedures.online import merge"),
        ("arguments", "import surgeon.anatomy.masks"),
    ],
)
def test_an_import_the_other_way_is_seen(tmp_path, module, line):
    shutil.copytree(PACKAGE, tmp_path / "surgeon", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / f"surgeon/{module}.py").open("a", encoding="utf8") as file:
        file.write(f"\n{line}\n")
    assert contract(tmp_path).returncode == 1


def private(code: str) -> set[str]:
    """Names with an underscore that a piece of code takes from another module of the package."""
    tree, found, modules = ast.parse(code), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "surgeon":
            found |= {alias.name for alias in node.names if alias.name.startswith("_")}
            modules |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found |= {node.attr} if re.fullmatch("_[^_].*", node.attr) else set()
    return found


@each_module
def test_no_module_uses_another_ones_private_names(path):
    assert private(path.read_text(encoding="utf8")) == set()


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("from surgeon.imaging.cells import _draw, read_weights", {"_draw"}),
        ("from surgeon.book import page\npage._show(1)", {"_show"}),
        ("from surgeon.book import page\npage.__doc__, self._own", set()),
    ],
)
def test_private_names_are_seen(code, names):
    assert private(code) == names


@each_module
def test_what_is_wired_by_hand_is_not_borrowed(path):
    assert by_hand(path.read_text(encoding="utf8")) == set()


@pytest.mark.parametrize(
    "code",
    [
        "torch.softmax(x, -1)",
        "x.softmax(-1)",
        "F.cross_entropy(x, y)",
        "torch.special.log_softmax(x, -1)",
        "torch._softmax(x, -1, False)",
        "from torch.nn.functional import scaled_dot_product_attention",
        "from torch import logsumexp as lse",
        "from torch.nn.functional import *",
        "layer = nn.MultiheadAttention",
        "getattr(torch, 'softmax')(x, -1)",
    ],
)
def test_borrowing_is_seen(code):
    assert len(by_hand(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        '"""torch.softmax does this."""',
        "surgeon.softmax",
        "from surgeon.models.transformer import cross_entropy\ncross_entropy(x, y)",
    ],
)
def test_speaking_of_it_is_not_borrowing(code):
    assert by_hand(code) == set()


def test_no_public_name_hides_a_module():
    """Were there a module surgeon/attention.py, `import surgeon.attention as m` would get the function."""
    modules = {path.stem for path in PACKAGE.iterdir() if path.name != "__init__.py"}
    assert modules.isdisjoint(surgeon.__all__)
    assert sorted(set(surgeon.__all__)) == sorted(surgeon.__all__)


ASSIGNED = {
    "attention": {"Q": ..., "K": ..., "V": ..., "mask": None, "scale": True},
    "plot_attention_heatmap": {"attention_weights": ..., "tokens": ..., "title": "Attention Weights"},
    "plot_multihead_attention": {"attention_weights": ..., "tokens": ..., "num_heads": ...},
    "analyze_attention_patterns": {"attention_weights": ...},
    "experiment_scaling_factor": {"d_k_values": (16, 64, 256, 1024)},
    "create_causal_mask": {"seq_len": ..., "device": "cpu"},
    "create_reverse_mask": {"seq_len": ..., "device": "cpu"},
    "compare_masking": {},
}


@pytest.mark.parametrize("name", ASSIGNED)
def test_the_assignments_functions_take_its_parameters(name):
    """In its order, with its defaults; what was added has a default and is given by name alone."""
    assert name in surgeon.__all__
    parameters = inspect.signature(getattr(surgeon, name)).parameters.values()
    given = {
        p.name: ... if p.default is p.empty else p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD
    }
    added = [p for p in parameters if p.kind is not p.POSITIONAL_OR_KEYWORD]
    assert list(given.items()) == list(ASSIGNED[name].items())
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in added)


def sections(documentation: str) -> dict[str, list[str]]:
    """A numpydoc docstring by its headings; what stands before the first is under an empty one."""
    lines = inspect.cleandoc(documentation).splitlines()
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line and following == "-" * len(line):
            heading = line
            found[heading] = []
        elif not re.fullmatch("-+", line):
            found[heading].append(line)
    return found


def public(predicate) -> list[str]:
    return [name for name in surgeon.__all__ if predicate(getattr(surgeon, name))]


@pytest.mark.parametrize("name", public(inspect.isfunction))
def test_public_functions_are_documented(name):
    """One line of what, every parameter by its name (kindred ones may stand together), and what is returned."""
    function = getattr(surgeon, name)
    found = sections(function.__doc__ or "")
    assert found[""][0].endswith(".")
    assert found[""][1:2] in ([], [""])
    entries = [line for line in found.get("Parameters", []) if line and not line.startswith(" ")]
    documented = [part.strip(" *") for entry in entries for part in entry.split(" : ")[0].split(",")]
    assert sorted(documented) == sorted(inspect.signature(function).parameters)
    assert any(line.strip() for line in found["Returns"])


@pytest.mark.parametrize("name", public(inspect.isclass))
def test_public_classes_are_documented(name):
    found = sections(getattr(surgeon, name).__doc__ or "")
    assert found[""][0].endswith(".")


def test_every_public_name_is_a_function_or_a_class():
    assert sorted(public(inspect.isfunction) + public(inspect.isclass)) == sorted(surgeon.__all__)
