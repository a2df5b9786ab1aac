"""What `make` says while it installs, and which PyTorch it takes: indexes on 127.0.0.1, and a pip of a few lines."""

import io
import json
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from packaging.specifiers import SpecifierSet
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import install
import pytorch

RELEASE = pytorch.pin()
WHEEL = f"torch-{RELEASE}+cpu-py3-none-any.whl"


def wheel() -> bytes:
    """PyTorch, as far as pip looks."""
    info, file = f"torch-{RELEASE}+cpu.dist-info", io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {RELEASE}+cpu\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")
        made.writestr("torch.py", "cuda = None\n")
    return file.getvalue()


class Index(BaseHTTPRequestHandler):
    """An index that has PyTorch and nothing else; told to hang, it takes a question and gives no answer."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.hangs:
            self.server.over.wait(30)
            return
        content = {"/torch/": f'<a href="/{WHEEL}">{WHEEL}</a>'.encode(), f"/{WHEEL}": wheel()}.get(unquote(self.path))
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def index(monkeypatch):
    """An index that answers, on a machine that has nothing of NVIDIA's and no PyTorch yet."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    server.daemon_threads, server.hangs, server.asked, server.over = True, False, [], threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(pytorch, "INDEX", server.address)
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(pytorch, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(pytorch, "installed", lambda: "")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("TORCH", raising=False)


@pytest.fixture
def asked_of_pip(monkeypatch):
    calls = []
    monkeypatch.setattr(pytorch, "install", lambda *arguments: calls.append(arguments) or 0)
    return calls


ALONE = ("--no-deps", f"torch=={RELEASE}")


def test_an_index_that_answers_gives_pytorch_alone_and_one_line_says_so(index, asked_of_pip, capsys):
    assert pytorch.main() == 0
    assert asked_of_pip == [("--index-url", index.address, *ALONE)]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"PyTorch {RELEASE}: the build without CUDA, ")
    assert "TORCH=cuda" in line


@pytest.mark.parametrize("trouble", ["hangs", "refuses", "has no PyTorch", "has no name"])
def test_where_the_index_does_not_answer_everything_comes_as_ever_and_soon(
    index, asked_of_pip, capsys, monkeypatch, trouble
):
    index.hangs = trouble == "hangs"
    addresses = {"refuses": "http://127.0.0.1:9", "has no PyTorch": f"{index.address}/empty", "has no name": "http://"}
    monkeypatch.setattr(pytorch, "INDEX", addresses.get(trouble, index.address))
    monkeypatch.setattr(pytorch, "PATIENCE", 1.0)
    began = time.monotonic()
    assert pytorch.main() == 0
    assert time.monotonic() - began < 3
    assert asked_of_pip == []
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("did not answer within 1 s.")
    assert len(index.asked) == {"hangs": 1, "has no PyTorch": 1}.get(trouble, 0)  # asked once


def test_the_index_has_three_seconds():
    assert pytorch.PATIENCE == 3.0


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("TORCH=cuda", "as TORCH=cuda asks for it."),
        ("a driver's program", "as this machine has an NVIDIA driver."),
        ("a device", "as this machine has an NVIDIA driver."),
        ("a Mac", "as only Linux's brings CUDA."),
        ("a Mac, TORCH=cpu", "as only Linux's brings CUDA."),
    ],
)
def test_who_can_use_cuda_or_asks_for_it_is_not_talked_out_of_it(
    index, asked_of_pip, capsys, monkeypatch, tmp_path, case, why
):
    if case == "TORCH=cuda":
        monkeypatch.setenv("TORCH", "cuda")
    if case == "a driver's program":
        (tmp_path / "bin/nvidia-smi").write_text("#!/bin/sh\n")
        (tmp_path / "bin/nvidia-smi").chmod(0o755)
    if case == "a device":
        (tmp_path / "dev/nvidia0").touch()
    if case.startswith("a Mac"):
        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.setenv("TORCH", "cpu" if "cpu" in case else "")
    assert pytorch.main() == 0
    assert (asked_of_pip, index.asked) == ([], [])
    assert capsys.readouterr().out.splitlines() == [f"PyTorch {RELEASE}: from the index of all other packages, {why}"]


def test_torch_cpu_asks_for_it_whatever_the_machine_has(index, asked_of_pip, monkeypatch, tmp_path):
    (tmp_path / "dev/nvidia0").touch()
    monkeypatch.setenv("TORCH", "cpu")
    pytorch.main()
    assert len(asked_of_pip) == 1


def test_another_word_is_refused(monkeypatch):
    monkeypatch.setenv("TORCH", "rocm")
    with pytest.raises(SystemExit, match="TORCH must be cuda, cpu or nothing, got 'rocm'"):
        pytorch.main()


@pytest.mark.parametrize("there", [RELEASE, f"{RELEASE}+cpu"])
def test_pytorch_that_is_there_is_left_alone_in_silence(index, asked_of_pip, capsys, monkeypatch, there):
    monkeypatch.setattr(pytorch, "installed", lambda: there)
    assert pytorch.main() == 0
    assert (asked_of_pip, index.asked, capsys.readouterr().out) == ([], [], "")


def test_another_release_is_replaced(index, asked_of_pip, monkeypatch):
    monkeypatch.setattr(pytorch, "installed", lambda: "2.0.0+cpu")
    pytorch.main()
    assert len(asked_of_pip) == 1


def test_pip_itself_takes_the_build_without_cuda_which_satisfies_the_pin(index, capsys, monkeypatch, tmp_path):
    """The real pip, on an index with a wheel of one line."""
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    assert pytorch.main() == 0
    assert (tmp_path / "target/torch.py").exists()
    assert (tmp_path / f"target/torch-{RELEASE}+cpu.dist-info").exists()
    assert SpecifierSet(f"=={RELEASE}").contains(f"{RELEASE}+cpu")
    assert capsys.readouterr().out.splitlines()[-1].startswith("  1 package, ")


def test_where_pip_fails_after_all_everything_comes_as_ever(index, capsys, monkeypatch):
    monkeypatch.setattr(pytorch, "install", lambda *arguments: 1)
    assert pytorch.main() == 0
    assert "comes from the index of all other packages" in capsys.readouterr().out


# What one sees meanwhile

PIP = """import json, sys, time
assert sys.argv[1:3] == ["--disable-pip-version-check", "install"]
open({log!r}, "w").write(json.dumps(sys.argv[3:]))
for line in {lines!r}:
    if line.startswith("sleep "):
        time.sleep(float(line.split()[1]))
    else:
        print(line, flush=True)
sys.exit({code})
"""


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """A pip that says some lines, and sleeps where one says so."""

    def put(*lines: str, code: int = 0):
        (tmp_path / "modules").mkdir(exist_ok=True)
        log = tmp_path / "arguments"
        (tmp_path / "modules/pip.py").write_text(PIP.format(log=str(log), lines=lines, code=code))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
        monkeypatch.setattr(install, "BEAT", 0.2)
        return log

    return put


def test_away_from_a_terminal_a_line_comes_every_few_seconds_and_no_wall_of_them(pip, capsys):
    log = pip(
        *(["Requirement already satisfied: numpy in here"] * 50),
        "Collecting scipy==1.17.1 (from -r requirements.txt (line 3))",
        "  Downloading scipy-1.17.1.whl (30.0 MB)",
        "Progress 5000000 of 30000000",
        "Progress 10000000 of 30000000",
        "Progress 15000000 of 30000000",
        "sleep 0.5",
        "Collecting torch==2.13.0",
        "sleep 0.3",
        "Installing collected packages: scipy, torch",
        "sleep 0.5",
        "Successfully installed scipy-1.17.1 torch-2.13.0",
    )
    assert install.install("-r", "requirements.txt") == 0
    said = capsys.readouterr()
    lines = [line.rsplit(",", 1)[0].strip() for line in said.out.splitlines()]
    assert "fetching scipy (1 so far), 15.0 of 30.0 MB" in lines
    assert "fetching torch (2 so far)" in lines
    assert "unpacking 2 packages" in lines
    assert lines[-1] == "2 packages"
    assert set(lines) <= {
        "looking",
        "fetching scipy (1 so far)",
        "fetching scipy (1 so far), 15.0 of 30.0 MB",
        "fetching torch (2 so far)",
        "unpacking 2 packages",
        "2 packages",
    }
    assert said.err == ""
    assert json.loads(log.read_text())[-2:] == ["-r", "requirements.txt"]


def test_on_a_terminal_one_line_changes(pip, monkeypatch, capsys):
    pip("Collecting scipy", "sleep 0.5", "Installing collected packages: scipy", "sleep 0.3")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert install.install("scipy") == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "\r\033[K  fetching scipy (1 so far), " in said
    assert said.splitlines()[-1].endswith("s")


def test_nothing_to_install_says_nothing(pip, capsys, monkeypatch):
    pip("Requirement already satisfied: numpy in here")
    monkeypatch.setattr(install, "BEAT", 60)
    assert install.install("numpy") == 0
    assert capsys.readouterr().out == ""


def test_warnings_are_passed_on_and_a_failure_is_told_whole(pip, capsys):
    warnings = ["WARNING: Location 'a' is ignored", "WARNING: Location 'b' is ignored", "WARNING: Retrying"]
    error = "ERROR: No matching distribution found for absent"
    pip("Collecting absent", *warnings, error, error, code=7)
    assert install.install("absent") == 7
    said = capsys.readouterr().err.splitlines()
    assert said[:4] == [warnings[0], warnings[2], error, error]  # what every package brings is told once
    assert said[4:] == ["pip failed; it said last:", "Collecting absent", *warnings, error, error]


@pytest.mark.parametrize(("version", "bar"), [("23.2.1", "off"), ("24.0", "off"), ("24.1", "raw"), ("26.3", "raw")])
def test_an_older_pip_is_asked_for_nothing_it_does_not_know(monkeypatch, version, bar):
    monkeypatch.setattr(install.metadata, "version", lambda name: version)
    assert install.options() == ["--progress-bar", bar]
