"""What runs elsewhere: GitHub's workflows, Dependabot, pre-commit and the citation, held to their schemas offline."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import check_jsonschema
import pytest
import yaml
from declared import PROJECT

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
SCRIPTS = Path(sysconfig.get_path("scripts"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf8")
NAMES = [path.name for path in WORKFLOWS]
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A tool of this environment, with no key to anything."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("_TOKEN", "_API_KEY"))}
    command = [SCRIPTS / tool, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, stdin=subprocess.DEVNULL)


def fits(schema: str, *arguments: str | Path) -> bool:
    """Whether files fit a schema that comes with check-jsonschema. In this process: to start it takes seconds."""
    with pytest.raises(SystemExit) as end:
        check_jsonschema.main(["--builtin-schema", schema, *map(str, arguments)])
    assert end.value.code in (0, 1)
    return end.value.code == 0


def passes(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


def load(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf8"), Loader=yaml.BaseLoader)  # BaseLoader: `on` stays a word


def jobs(path: Path) -> dict[str, dict]:
    return load(path)["jobs"]


def steps(path: Path) -> list[dict]:
    return [step for job in jobs(path).values() for step in job["steps"]]


def test_the_workflows_are_the_five_promised():
    assert NAMES == ["check.yml", "links.yml", "newest.yml", "publish.yml", "release.yml"]


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_fit_githubs_schema_and_end_in_time(schema):
    assert fits(schema, *WORKFLOWS)


@pytest.mark.parametrize(
    ("schema", "name"),
    [("vendor.dependabot", ".github/dependabot.yml"), ("vendor.citation-file-format", "CITATION.cff")],
)
def test_other_files_fit_their_schemas(schema, name):
    assert fits(schema, "--default-filetype", "yaml", ROOT / name)


def test_the_schema_is_there_and_rejects(tmp_path):
    workflow = tmp_path / "broken.yml"
    workflow.write_text("on: push\njobs: {a: {steps: [{run: make}]}}\n", encoding="utf8")  # runs nowhere
    assert not fits("vendor.github-workflows", workflow)


def test_zizmor_finds_nothing():
    passes(run("zizmor", "--offline", "--pedantic", "--strict-collection", "--quiet", "."))


def test_zizmor_would_find_something(tmp_path):
    """The same workflow, with an action that anyone may move."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    text = WORKFLOWS[0].read_text(encoding="utf8")
    (folder / "moved.yml").write_text(re.sub(r"@[0-9a-f]{40} # v\S+", "@main", text), encoding="utf8")
    done = run("zizmor", "--offline", "--pedantic", "--strict-collection", tmp_path)
    assert done.returncode > 10
    assert "unpinned-uses" in done.stdout


@each_workflow
def test_actions_are_pinned_by_hash_and_say_their_version(path):
    uses = [line.strip() for line in path.read_text(encoding="utf8").splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert len(uses) == sum("uses" in step for step in steps(path))
    assert uses
    for line in uses:
        assert re.fullmatch(r"(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_hash_everywhere():
    pins = {step["uses"] for path in WORKFLOWS for step in steps(path) if "uses" in step}
    assert len(pins) == len({pin.split("@")[0] for pin in pins})


# What a job may write, by the step that needs it.
MAY_WRITE = {
    "actions/deploy-pages": {"pages": "write", "id-token": "write"},
    "actions/attest-build-provenance": {"id-token": "write", "attestations": "write"},
    "pypa/gh-action-pypi-publish": {"id-token": "write"},
    "git push": {"contents": "write"},
}


@each_workflow
def test_permissions_are_the_least(path):
    """Nothing at the top; a job may read the code, or it writes one thing, and runs nothing that the code brings."""
    assert load(path)["permissions"] == {}
    for job in jobs(path).values():
        done = [step.get("uses", "").split("@")[0] or step["run"] for step in job["steps"]]
        (needs, *more) = [may for what, may in MAY_WRITE.items() if any(what in each for each in done)] or [None]
        assert job["permissions"] == (needs or {"contents": "read"})
        assert not more
        if needs:
            brought = [each for each in done if each != "actions/download-artifact"]
            assert len(brought) == 1
            assert not re.search(r"\b(make|python|pip|sh|bash)\b", brought[0])


@each_workflow
def test_no_checkout_leaves_its_credentials_behind(path):
    checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] == "false" for step in checkouts)


def test_check_tests_and_builds_on_every_push_and_pull_request():
    check = load(ROOT / ".github" / "workflows" / "check.yml")
    matrix = check["jobs"]["make"]["strategy"]["matrix"]
    assert check["on"] == {"push": "", "pull_request": ""}
    assert matrix == {"python": ["3.11", "3.14"], "target": ["test", "book"]}


def test_check_tries_the_package_on_other_systems_with_the_oldest_python_and_the_newest():
    declared = re.findall(r"Programming Language :: Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert PROJECT["requires-python"] == f">={declared[0]}"
    check = load(ROOT / ".github" / "workflows" / "check.yml")["jobs"]
    package = check["package"]
    oldest_and_newest = [declared[0], declared[-1]]
    assert package["strategy"]["matrix"] == {"system": ["macos-15", "windows-2025"], "python": oldest_and_newest}
    assert check["make"]["strategy"]["matrix"]["python"] == oldest_and_newest
    tested = re.findall(r"tests/[\w.]+", package["steps"][-1]["run"])
    assert all((ROOT / name).exists() for name in tested)
    rooms = {path.parent.name for path in (ROOT / "surgeon").glob("*/__init__.py")}
    assert rooms - {Path(name).name for name in tested} <= {"ablations", "book", "instruments", "practice"}  # of pages


def test_publish_deploys_main_alone_and_after_a_strict_build():
    publish = load(ROOT / ".github" / "workflows" / "publish.yml")
    assert publish["on"] == {"push": {"branches": ["main"]}, "workflow_dispatch": ""}
    assert publish["jobs"]["deploy"]["needs"] == "build"
    assert {"run": "make book"} in publish["jobs"]["build"]["steps"]
    assert publish["concurrency"]["cancel-in-progress"] == "false"


def test_the_branch_that_colab_opens_from_gets_the_sites_notebooks_each_at_its_pages_place(tmp_path):
    """The workflow's own script, in a folder of them, and a repository on this disk for GitHub's."""
    publish = jobs(ROOT / ".github" / "workflows" / "publish.yml")
    uploads = [step["with"] for step in publish["build"]["steps"] if "upload-artifact@" in step.get("uses", "")]
    (sent,) = (step for step in uploads if step["name"] == "notebooks")
    assert sent["path"] == "_build/html/_sources/**/*.ipynb"
    download, push = publish["notebooks"]["steps"]
    assert download["with"] == {"name": "notebooks", "path": push["working-directory"]}
    hub = tmp_path / "hub"
    subprocess.run(["git", "init", "--quiet", "--bare", hub], check=True)
    settings = {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{hub}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://x-access-token:word@github.com/theirs/fork",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }
    told = {"TOKEN": "word", "GITHUB_REPOSITORY": "theirs/fork", "GITHUB_SHA": "0" * 40}
    for page in ("book/anatomy/softmax", "book/index"):  # pages come and go
        folder = tmp_path / page.replace("/", "-")
        (folder / page).parent.mkdir(parents=True)
        (folder / f"{page}.ipynb").write_text("{}", encoding="utf8")
        script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", push["run"]]
        done = subprocess.run(script, cwd=folder, env=os.environ | settings | told, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        branch = ["git", "-C", hub, "ls-tree", "-r", "--name-only", "notebooks"]
        listed = subprocess.run(branch, env=os.environ | settings, check=True, capture_output=True, text=True)
        assert listed.stdout.split() == [f"{page}.ipynb"]
    log = subprocess.run(["git", "-C", hub, "rev-list", "--count", "notebooks"], capture_output=True, text=True)
    assert log.stdout.strip() == "1"  # no history


def test_a_release_is_built_once_from_a_tag_attested_and_published_as_it_was_built():
    path = ROOT / ".github" / "workflows" / "release.yml"
    release = load(path)
    assert release["on"] == {"push": {"tags": ["v*"]}}
    assert {name: job.get("needs") for name, job in release["jobs"].items()} == {
        "build": None,
        "attest": "build",
        "publish": "attest",
    }
    commands = [step["run"] for step in steps(path) if "run" in step]
    assert commands == ['make dist TAG="$GITHUB_REF_NAME"', 'make unit UNIT="not site and not browser"']
    artifacts = [step["with"] for step in steps(path) if re.search("(up|down)load-artifact@", step.get("uses", ""))]
    assert [(each["name"], each["path"].rstrip("/")) for each in artifacts] == [("dist", "dist")] * 3
    assert "secrets" not in path.read_text(encoding="utf8")
    assert release["jobs"]["publish"]["environment"]["name"] == "pypi"


def test_newest_runs_weekly_and_without_the_locks():
    newest = ROOT / ".github" / "workflows" / "newest.yml"
    (schedule,) = load(newest)["on"]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", schedule["cron"])
    assert "requirements" not in newest.read_text(encoding="utf8")
    assert any("pip install -e" in step.get("run", "") for step in steps(newest))


@each_workflow
def test_pytorch_comes_without_cuda(path):
    """`make` sees to it by itself; pip has to be told, on Linux."""
    for job in jobs(path).values():
        by_pip = any("pip install" in step.get("run", "") for step in job["steps"]) and "ubuntu" in job["runs-on"]
        index = job.get("env", {}).get("PIP_EXTRA_INDEX_URL")
        assert index == ("https://download.pytorch.org/whl/cpu" if by_pip else None)


def test_newest_runs_the_tests_as_make_does():
    side_by_side = re.search(r"^PYTEST := (.*?)(?: --durations \d+)?$", MAKEFILE, re.MULTILINE)[1]
    commands = [step.get("run", "") for step in steps(ROOT / ".github" / "workflows" / "newest.yml")]
    assert side_by_side in commands


def test_pre_commit_runs_make_lint_and_fetches_nothing():
    passes(run("pre-commit", "validate-config", ".pre-commit-config.yaml"))
    (repository,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    (hook,) = repository["hooks"]
    assert repository["repo"] == "local"
    assert hook["language"] == "system"
    assert hook["entry"] == "make --no-print-directory lint"


def test_ci_runs_the_readmes_test_command_and_nothing_else():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf8").splitlines()
    assert [line for line in script if line.startswith(("exec", "make"))] == ["exec make test"]
    assert all(re.match(r"#|set -|cd |exec make test$", line) for line in script)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", *(f".github/workflows/{name}" for name in NAMES)])
def test_every_make_target_named_exists(name):
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"(?:`|run: |^)make ([a-z]+)", (ROOT / name).read_text(encoding="utf8"), re.MULTILINE))
    assert named <= targets
    assert {"book", "serve", "test", "unit", "lint", "limits", "lab", "lock", "clean", "help"} <= targets


def test_lint_runs_all_four_checks():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    commands = [line.removeprefix("\t@$(USING) ") for line in recipe[1].splitlines()]
    assert commands == ["ruff check .", "ruff format --check .", "mypy", "codespell"]
