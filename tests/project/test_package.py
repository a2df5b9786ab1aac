"""The wheel and the source distribution: what they hold, and what works where nothing else is installed."""

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from declared import ROOT, asked
from empty_environment import Environment

import surgeon
from surgeon.extras import EXTRAS

README = (ROOT / "README.md").read_text(encoding="utf8")
MANUAL = (ROOT / "book/reference/checkup.md").read_text(encoding="utf8")
NAME = f"attention_surgeon-{surgeon.__version__}"


def snippets(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """As a release builds: the source distribution, and from that the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return built / f"{NAME}-py3-none-any.whl"


@pytest.fixture(scope="module")
def source(built) -> Path:
    return built / f"{NAME}.tar.gz"


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Environment:
    """What the package requires, the package, and nothing else."""
    environment = Environment(tmp_path_factory.mktemp("bare"), asked())
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def beside_transformers(wheel, tmp_path_factory) -> Environment:
    """What the package requires, and a library that is the user's own."""
    environment = Environment(tmp_path_factory.mktemp("beside"), [*asked(), "transformers"])
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def whole(wheel, tmp_path_factory) -> Environment:
    """With `all`; and pytest, which is the user's own."""
    environment = Environment(tmp_path_factory.mktemp("whole"), [*asked("all"), "pytest"])
    environment.install(wheel, "[all]")
    return environment


# What they hold


def tracked(folder: str) -> set[str]:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def contents(archive: Path) -> dict[str, bytes]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            return {name: file.read(name) for name in file.namelist()}
    with tarfile.open(archive) as file:
        members = [member for member in file.getmembers() if member.isfile()]
        return {member.name.partition("/")[2]: file.extractfile(member).read() for member in members}


def test_the_wheel_holds_the_package_whole_and_its_licences_alone(wheel):
    held = contents(wheel)
    assert {name for name in held if not name.startswith(NAME)} == tracked("surgeon") - {"surgeon/ruff.toml"}
    assert {"surgeon/py.typed", "surgeon/__init__.pyi", "surgeon/models/texts.toml"} <= held.keys()
    rest = {name.partition("/")[2] for name in held if name.startswith(NAME)}
    assert rest == {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE", "licenses/LICENSE-PROSE"}


def test_the_source_holds_what_the_wheel_is_made_of_and_no_book(source):
    told = {"README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "LICENSE-PROSE", "pyproject.toml"}
    ours = tracked("surgeon") - {"surgeon/ruff.toml"}
    assert contents(source).keys() == ours | told | {"PKG-INFO", ".gitignore"}  # hatchling adds these two


def test_both_are_the_files_of_the_checkout_and_name_no_place_on_a_machine(wheel, source):
    for archive in (wheel, source):
        for name, content in contents(archive).items():
            assert str(ROOT).encode() not in content, name
            if name.startswith("surgeon/"):
                assert content == (ROOT / name).read_bytes(), name
    assert wheel.stat().st_size < 1_500_000
    assert source.stat().st_size < 1_500_000


def test_what_an_index_shows_of_the_readme_asks_for_no_file_beside_it():
    """There, an address without a host leads nowhere."""
    assert re.findall(r"!\[[^]]*\]\((?!https://)", README) == []


# Where nothing else is installed


def test_only_what_is_declared_is_there(bare):
    absent = [*(module for modules in EXTRAS.values() for module in modules), "IPython", "pytest", "sphinx"]
    code = f"from importlib.util import find_spec\nprint([name for name in {absent} if find_spec(name)])"
    assert bare.says(code) == "[]\n"


def test_the_package_is_the_installed_one_and_knows_its_version(bare):
    code = "import surgeon\nfrom importlib.metadata import version\n"
    said = bare.says(code + "print(surgeon.__file__, surgeon.__version__, version('attention-surgeon'))").split()
    assert Path(said[0]).is_relative_to(bare.python.parents[1])
    assert said[1:] == [surgeon.__version__] * 2


def test_a_name_is_there_or_says_its_extra(bare):
    """All that does not draw, tabulate or fit is there; and what is missed is said by one kind of sentence."""
    told = bare.says(
        "import surgeon\n"
        "for name in surgeon.__all__:\n"
        "    try:\n"
        "        getattr(surgeon, name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        print(error)\n"
    )
    missed = {}
    for line in told.splitlines():
        name, module, extra = re.fullmatch(
            r'(\w+) needs (\w+), which is not installed: pip install "attention-surgeon\[(\w+)\]"\.', line
        ).groups()
        assert module in EXTRAS[extra]
        missed[name] = extra
    assert {name for name, extra in missed.items() if extra == "plots"} >= {
        "plot_attention_heatmap",
        "plot_matrix",
        "plot_multihead_attention",
    }
    assert missed["compare_masking"] == missed["hull_distance"] == "experiments"
    there = set(surgeon.__all__) - missed.keys()
    assert {"attention", "examine", "examine_model", "flash_attention", "analyze_attention_patterns"} <= there
    assert {"capture", "explore", "describe_attention"} <= there
    assert len(missed) < 12


def missed(bare: Environment, *codes: str) -> list[str]:
    """What each of some lines of code ends with, one after the other."""
    program = (
        "import traceback\n"
        f"for code in {codes}:\n"
        "    try:\n"
        "        exec(code, {})\n"
        "    except ModuleNotFoundError as error:\n"
        "        print(traceback.format_exception_only(error)[-1], end='')\n"
    )
    return [line.removeprefix("ModuleNotFoundError: ") for line in bare.says(program).splitlines()]


def test_from_and_a_trained_model_say_it_too(bare):
    assert missed(
        bare,
        "from surgeon import plot_attention_heatmap",
        "from surgeon.models import specimen; specimen.load()",
    ) == [
        'plot_attention_heatmap needs matplotlib, which is not installed: pip install "attention-surgeon[plots]".',
        'The specimen needs tokenizers, which is not installed: pip install "attention-surgeon[models]".',
    ]


def test_a_module_is_there_or_says_its_extra(bare):
    """However deep it lies, and whoever imports it, it says its own name and the extra, once."""
    told = bare.says(
        "import importlib, pkgutil, sys, surgeon\n"
        "for found in pkgutil.walk_packages(surgeon.__path__, 'surgeon.'):\n"
        "    if found.name.endswith('__main__'): continue\n"
        "    try:\n"
        "        importlib.import_module(found.name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        print(found.name, error.__cause__.__cause__, error, sep='|')\n"
    )
    missed = {}
    for line in told.splitlines():
        name, before, said = line.split("|")
        assert before == "None"
        whose, module, extra = re.fullmatch(
            r'([\w.]+) needs (\w+), which is not installed: pip install "attention-surgeon\[(\w+)\]"\.', said
        ).groups()
        assert whose == name
        assert module in EXTRAS[extra]
        missed[name] = extra
    assert missed["surgeon.imaging.heatmaps"] == missed["surgeon.imaging.style"] == "plots"
    assert missed["surgeon.instruments.table_widget"] == "widgets"
    assert missed["surgeon.imaging.hull"] == "experiments"
    assert not {"surgeon.imaging.words", "surgeon.look", "surgeon.recording.capturing"} & missed.keys()


def test_what_else_is_missed_is_said_as_python_says_it(bare):
    assert missed(
        bare,
        "from surgeon.imaging.heat_maps import plot_matrix",
        "import surgeon, matplotlib",
    ) == ["No module named 'surgeon.imaging.heat_maps'", "No module named 'matplotlib'"]


def test_an_attention_is_examined(bare):
    said = bare.says(
        "import torch\nfrom surgeon import attention, examine\n"
        "def wrong(Q, K, V, mask=None): return attention(Q, K, V, mask, scale=False)\n"
        "print(examine(attention).diagnosis, [f.name for f in examine(wrong).failed])"
    )
    assert said.startswith("Nothing found: ")
    assert said.endswith(" ['scale']\n")


def test_the_shell_examines(bare):
    done = bare.run("-m", "surgeon.checkup", "surgeon:attention")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing found" in done.stdout
    (bare.place / "theirs.py").write_text("def attend(Q, K, V, mask=None):\n    return (Q @ K.mT).softmax(-1) @ V\n")
    done = bare.run("-m", "surgeon.checkup", "theirs:attend")
    assert done.returncode == 1
    assert "scale" in done.stdout


def test_the_source_installs_as_well(source, tmp_path):
    """pip makes a wheel of it, with what the project says builds it."""
    environment = Environment(tmp_path, [*asked(), "hatchling"])
    environment.install(source, options=("--no-build-isolation",))
    code = "import surgeon\nprint(surgeon.__version__, surgeon.attention.__name__, surgeon.examine.__name__)"
    assert environment.says(code).split() == [surgeon.__version__, "attention", "examine"]


TYPED = """
from torch import Tensor

import surgeon
from surgeon import MultiHeadAttention, Report, attention, create_causal_mask, examine


def attend(Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None) -> Tensor:
    output, weights = attention(Q, K, V, mask)
    return output


def checked(layer: MultiHeadAttention, strict: bool = True) -> Report:
    report = examine(layer, accept={"scale": "ours"})
    report.raise_if_failed(strict=strict)
    names: list[str] = [finding.name for finding in report.failed]
    return report


version: str = surgeon.__version__
mask: Tensor = create_causal_mask(5)
"""
MISTYPED = """
from surgeon import attention, create_causal_mask, examine

attention(1, 2, 3)
create_causal_mask("five")
examine(attention, no_such_argument=True)
"""


def strictness() -> str:
    """A configuration that is strict with the package and whoever uses it, and with all else what `make lint` is: most
    of what that has read of PyTorch, in half a minute, need not be read again."""
    told = subprocess.run([sys.executable, "-m", "mypy", "--help"], capture_output=True, text=True, check=True).stdout
    named = re.search(r"Strict mode; enables the following flags:(.*?)\n  --", told, re.DOTALL)[1]
    flags = re.sub(r"\s", "", named).replace("-", "_").split(",")
    strict = {flag.removeprefix("__").removeprefix("no_"): "__no_" not in flag for flag in flags}
    assert {"disallow_untyped_calls", "implicit_reexport"} <= strict.keys()
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["tool"]["mypy"]
    everywhere = {name: value for name, value in ours.items() if name != "files"}
    everywhere["warn_redundant_casts"] = strict.pop("warn_redundant_casts")
    here = strict | {"ignore_missing_imports": False}
    parts = {"mypy": everywhere, "mypy-typed,mypy-mistyped,mypy-surgeon,mypy-surgeon.*": here}
    return "".join(
        f"[{part}]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())
        for part, options in parts.items()
    )


def test_a_strict_type_checker_reads_the_package_from_outside(bare):
    (bare.place / "typed.py").write_text(TYPED)
    (bare.place / "mistyped.py").write_text(MISTYPED)
    (bare.place / "mypy.ini").write_text(strictness())
    lint, cache = ROOT / ".mypy_cache", ROOT / ".mypy_cache" / "outside"
    if lint.exists() and not cache.exists():
        shutil.copytree(lint, cache, ignore=shutil.ignore_patterns(cache.name))
    options = ["--python-executable", bare.python, "--cache-dir", cache]
    command = [sys.executable, "-m", "mypy", *options, "typed.py", "mistyped.py"]
    done = subprocess.run(command, cwd=bare.place, env=bare.variables(), capture_output=True, text=True)
    found = re.findall(r"^(\w+)\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    wrong = [("4", "arg-type")] * 3 + [("5", "arg-type"), ("6", "call-arg")]
    assert found == [("mistyped", *each) for each in wrong], done.stdout + done.stderr


# With everything


def test_every_public_name_is_there(whole):
    assert whole.says("import surgeon\nfor name in surgeon.__all__: getattr(surgeon, name)") == ""


def test_the_readmes_snippets_run(whole):
    using = README.partition("## Using the package")[2].partition("\n## ")[0]
    first, second, third = snippets(using, "python")
    assert whole.says(first) == ""
    theirs = "from surgeon import attention as my_attention\n"
    assert whole.says(theirs + second) == ""
    assert whole.says(third) == ""
    assert (whole.place / "heads.html").stat().st_size > 10_000


def save(folder: Path) -> None:
    """A small model of random weights and its tokenizer, by the library itself."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    sizes = {"vocab_size": 3, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3}
    GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "sentence": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)


def test_the_readmes_look_at_a_folder(beside_transformers):
    (command,) = re.findall(r"^python (-m surgeon\.look .*)$", README, re.MULTILINE)
    save(beside_transformers.place / "FOLDER")
    done = beside_transformers.run(*shlex.split(command))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "heads.html: 2 layers of 3 heads on 1 text\n"
    page = (beside_transformers.place / "heads.html").read_text(encoding="utf8")
    assert '"tokens":["a","sentence"]' in page


def test_without_that_library_a_look_says_so(bare):
    done = bare.run("-m", "surgeon.look", "FOLDER", "a sentence")
    said = "A look at a folder needs transformers, which is not installed: pip install transformers.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_the_manuals_tests_pass_in_pytest_and_its_subjects_in_a_shell(whole):
    """With a layer and a function that are sound, under the names that the examples give to the reader's own."""
    (example,) = (code for code in snippets(MANUAL, "python") if "import pytest" in code)
    (subjects,) = snippets(MANUAL, "toml")
    (command,) = re.findall(r"`python (-m surgeon\.checkup --subjects subjects\.toml .*?)`", MANUAL)
    (whole.place / "mine.py").write_text(
        "import torch\nfrom surgeon import MultiHeadAttention as Layer, attention\n"
        "def attend(Q, K, V, mask=None):\n"
        "    return attention(Q, K, V, None if mask is None else ~mask)\n"
        "def build(): return Layer(28, 4)\n"
    )
    (whole.place / "test_theirs.py").write_text(example)
    done = whole.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    (whole.place / "subjects.toml").write_text(subjects)
    assert set(tomllib.loads(subjects)) == {"attend", "layer"}
    done = whole.run(*command.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert (whole.place / "checkup.xml").read_text().count("<testsuite ") == 2
