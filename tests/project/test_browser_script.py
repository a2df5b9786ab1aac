"""Finding a browser, or installing one: .ci/browser on machines made of a few small scripts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "browser"
TOOLS = ("chmod", "env", "sh", "true")
WORKS = 'echo "Chromium 1.2.3"'


class Machine:
    """A PATH with nothing on it but what a test puts there, and a log of what was called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.script = folder / "bin", folder / "log", SCRIPT
        self.folder.mkdir()
        self.log.touch()
        for tool in TOOLS:
            (self.folder / tool).symlink_to(shutil.which(tool))
        self.put("id", "echo 1000")  # nobody in particular
        self.put("python", "exit 1")  # no Playwright

    def put(self, name: str, body: str) -> str:
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.log}"\n{body}\n')
        path.chmod(0o755)
        return str(path)

    def brings(self, name: str) -> str:
        """What an installer does: a browser of this name is there afterwards."""
        path = self.folder / name
        return f"printf '#!/bin/sh\\n{WORKS}\\n' >'{path}'; chmod +x '{path}'"

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.folder), **variables}
        return subprocess.run(
            ["sh", self.script, *arguments], env=environment, capture_output=True, text=True, timeout=60
        )

    def called(self) -> list[str]:
        """Commands, but for questions about versions and who is asking."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if not line.startswith(("id ", "python -c")) and not line.endswith("--version")]


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def root(machine) -> Machine:
    machine.put("id", "echo 0")
    return machine


NAMES = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arguments", [(), ("--find",)], ids=["make test", "pytest"])
def test_one_that_is_there_is_used_and_nothing_is_installed(root, name, arguments):
    root.put("apt-get", "exit 0")
    path = root.put(name, WORKS)
    done = root.run(*arguments)
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    assert done.stderr == f"Browser: {path} (found)\n"
    assert root.called() == []


def test_the_lightest_is_taken(machine):
    paths = [machine.put(name, WORKS) for name in reversed(NAMES)]
    assert machine.run().stdout == f"{paths[-1]}\n"


@pytest.fixture
def debian(tmp_path) -> Machine:
    """A checkout with an environment, on a machine that has the whole of Debian's Chromium and its archive."""
    machine = Machine(tmp_path)
    checkout, common = tmp_path / "checkout", tmp_path / "chromium"
    (checkout / ".ci").mkdir(parents=True)
    (checkout / ".venv").mkdir()
    machine.script = shutil.copy(SCRIPT, checkout / ".ci")
    common.mkdir()
    (common / "icudtl.dat").write_text("data")
    for tool in ("ln", "mkdir", "mv", "rm", "touch"):
        (machine.folder / tool).symlink_to(shutil.which(tool))
    machine.put("timeout", 'shift && exec "$@"')
    machine.put("dpkg-query", f'if [ "$1" = -L ]; then echo "{common}/icudtl.dat"; else printf 1.2.3; fi')
    machine.put("apt-get", "touch shell.deb")
    shell = "usr/lib/chromium/chromium-headless-shell"
    works = f"printf '#!/bin/sh\\n{WORKS}\\n' >{shell}; chmod +x {shell}"
    machine.put("dpkg-deb", f"mkdir -p usr/lib/chromium && {works}")
    machine.put("chromium", WORKS)
    return machine


def unpacked(debian: Machine) -> Path:
    return Path(debian.script).parents[1] / ".venv/browser/1.2.3"


def test_the_shell_of_debians_chromium_is_unpacked_once_beside_what_it_shares(debian):
    """And used from then on by whoever looks for one; the system stays as it is."""
    place = unpacked(debian)
    assert debian.run("--find").stdout == f"{debian.folder}/chromium\n"
    first = debian.run()
    assert (first.returncode, first.stdout) == (0, f"{place}/chromium-headless-shell\n")
    assert first.stderr.startswith("Fetching the headless shell of Chromium 1.2.3: ")
    assert sorted(each.name for each in place.iterdir()) == ["chromium-headless-shell", "icudtl.dat"]
    assert (place / "icudtl.dat").read_text() == "data"
    for again in (debian.run(), debian.run("--find")):
        assert again.stdout == first.stdout
        assert len(again.stderr.splitlines()) == 1
    (fetched,) = [line for line in debian.called() if line.startswith("apt-get")]
    assert fetched.endswith("download chromium-headless-shell=1.2.3")


@pytest.mark.parametrize("tool", ["apt-get", "dpkg-deb", "timeout"])
def test_where_the_shell_is_not_to_be_had_the_whole_browser_serves(debian, tool):
    debian.put(tool, "exit 1")
    done = debian.run()
    assert (done.returncode, done.stdout) == (0, f"{debian.folder}/chromium\n")
    assert done.stderr.splitlines()[1] == "It is not to be had; the whole Chromium serves as well."
    assert not unpacked(debian).exists()


def test_without_an_environment_or_debians_chromium_nothing_is_fetched(debian):
    debian.put("dpkg-query", "exit 1")
    assert debian.run().stdout == f"{debian.folder}/chromium\n"
    debian.put("dpkg-query", "printf 1.2.3")
    shutil.rmtree(unpacked(debian).parents[1])
    assert debian.run().stdout == f"{debian.folder}/chromium\n"
    assert [line for line in debian.called() if line.startswith("apt-get")] == []


def test_one_that_does_not_run_is_passed_over(machine):
    """As Ubuntu's chromium-browser, which only says that there is a snap."""
    machine.put("chromium", "exit 1")
    path = machine.put("google-chrome", WORKS)
    assert machine.run().stdout == f"{path}\n"


def test_playwrights_own_is_found(machine):
    path = machine.put("chrome", WORKS)
    machine.put("python", f'test "$1" = -c && echo "{path}"')
    assert machine.run("--find").stdout == f"{path}\n"


def test_playwright_names_a_path_where_nothing_is(machine, tmp_path):
    machine.put("python", f'test "$1" = -c && echo "{tmp_path}/not there"')
    assert machine.run("--find").returncode == 1


def test_to_find_is_not_to_install(root):
    root.put("apt-get", "exit 0")
    done = root.run("--find")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("No Chromium or Chrome is on this machine: ")
    assert len(done.stderr.splitlines()) == 1
    assert root.called() == []


@pytest.mark.parametrize(
    ("manager", "commands"),
    [
        ("apt-get", ["update", "install -y --no-install-recommends chromium-headless-shell fonts-liberation"]),
        ("dnf", ["install -y chromium"]),
        ("apk", ["add chromium"]),
    ],
)
@pytest.mark.parametrize("who", ["root", "sudo"])
def test_the_systems_package_manager_installs_one(machine, manager, commands, who):
    if who == "root":
        machine.put("id", "echo 0")
    else:
        machine.put("sudo", 'test "$1" = -n && shift && exec "$@"')
    machine.put(manager, f'case "$*" in *chromium*) {machine.brings("chromium")} ;; esac')
    done = machine.run()
    assert (done.returncode, done.stdout) == (0, f"{machine.folder}/chromium\n")
    assert f"(installed with {manager})" in done.stderr
    assert [line for line in machine.called() if line.startswith(manager)] == [f"{manager} {c}" for c in commands]


def test_without_the_right_to_install_the_package_manager_is_left_alone(machine):
    machine.put("sudo", "exit 1")
    machine.put("apt-get", machine.brings("chromium"))
    machine.put("python", f'test "$1" = -m && {{ {machine.brings("google-chrome")}; }}')
    done = machine.run()
    assert done.stdout == f"{machine.folder}/google-chrome\n"
    assert [line for line in machine.called() if line.startswith("apt-get")] == []


def test_homebrew_needs_no_right(machine):
    machine.put("brew", machine.brings("google-chrome"))
    assert machine.run().stdout == f"{machine.folder}/google-chrome\n"
    assert machine.called() == ["brew install --cask google-chrome"]


def test_playwright_installs_one_where_the_package_manager_cannot(root):
    path = root.folder / "chrome"
    root.put("apt-get", "exit 100")
    root.put("python", f'if [ "$1" = -m ]; then {root.brings("chrome")}; else echo "{path}"; fi')
    done = root.run()
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    assert "(installed with Playwright)" in done.stderr
    assert root.called() == ["apt-get update", "python -m playwright install --with-deps chromium"]


def test_where_there_is_no_headless_shell_the_whole_browser_is_installed(root):
    """As on Ubuntu."""
    root.put("apt-get", f'case "$*" in update) ;; *" chromium "*) {root.brings("chromium")} ;; *) exit 100 ;; esac')
    assert root.run().stdout == f"{root.folder}/chromium\n"
    assert [line.split()[-2] for line in root.called()[1:]] == ["chromium-headless-shell", "chromium"]


def test_playwright_is_asked_again_without_the_systems_libraries(machine):
    path = machine.folder / "chrome"
    installs = f'case "$*" in *--with-deps*) exit 1 ;; *-m*) {machine.brings("chrome")} ;; *) echo "{path}" ;; esac'
    machine.put("python", installs)
    assert machine.run().stdout == f"{path}\n"
    assert machine.called()[-1] == "python -m playwright install chromium"


def test_where_nothing_helps_it_fails_in_one_sentence(root):
    root.put("apt-get", "exit 100")
    done = root.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "No Chromium could be installed (tried apt-get, Playwright): "
        "install one, or name one with CHROMIUM, or set NO_BROWSER=1."
    )


def test_the_user_may_name_one(machine):
    machine.put("chromium", WORKS)
    path = machine.put("my-chrome", WORKS)
    assert machine.run(CHROMIUM=path).stdout == f"{path}\n"


def test_one_that_was_named_and_does_not_run_is_not_replaced_in_silence(machine):
    machine.put("chromium", WORKS)
    done = machine.run(CHROMIUM="/nowhere/chrome")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "CHROMIUM names /nowhere/chrome, which does not run.\n"


def test_the_user_may_go_without(root):
    root.put("apt-get", "exit 0")
    done = root.run(NO_BROWSER="1")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("Browser: none, as NO_BROWSER=1 asks")
    assert root.called() == []


@pytest.mark.parametrize("answer", [{"CHROMIUM": "/nowhere/chrome"}, {"NO_BROWSER": "1"}], ids=["missing", "unwanted"])
def test_a_missing_browser_fails_the_tests_and_an_unwanted_one_skips_them(answer):
    """The tests themselves, with no site to build: SITE names any folder."""
    command = ["-m", "pytest", "tests/site/test_using_it.py", "-k", "first_tab", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if name not in ("CHROMIUM", "NO_BROWSER")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=SCRIPT.parents[1],
        env={**environment, "SITE": "book", **answer},
        capture_output=True,
        text=True,
    )
    if "NO_BROWSER" in answer:
        assert done.returncode == 0
        assert "1 skipped" in done.stdout
        assert "NO_BROWSER=1 asks for no browser." in done.stdout
    else:
        assert done.returncode == 1
        assert "which does not run" in done.stdout
