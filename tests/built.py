"""The real book, built strictly once for all the processes that test it, beside the tests that do not look at it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from small_book import COLOUR, ROOT, STRICT

ASKING = (ROOT / "tests/site/counter_examples.py", ROOT / ".ci/claims.py")
# What runs in a kernel before its page does, and is none of what the page imports.
FIRST = """import sys
trace = sys.modules["sitecustomize"]
file, noted = trace.file, dict(trace.noted)
trace.file = None
sys.path.append({folder!r})
from counter_examples import max, min
sys.path.pop()
trace.noted.clear()
trace.noted.update(noted)
trace.file = file
del file, noted, sys, trace
"""
COMMAND = (sys.executable, str(ROOT / ".ci" / "build.py"), "build", str(ROOT), *STRICT)
PLACE = ROOT / "_build"


class Book:
    """A build that many may ask for: whoever comes first makes it, and the others wait and are told what it said."""

    def __init__(self, run: str, command: tuple[str, ...] = COMMAND, place: Path = PLACE) -> None:
        self.run, self.command, self.place = run, command, place
        self.once = place / "once"  # what pages train, for whoever runs them again in this run of the tests
        self.noted = place / "noted"  # what came of the claims of the pages that ran, and of their counter-examples
        self.process: subprocess.Popen | None = None
        self.thread: threading.Thread | None = None

    def build(self) -> tuple[int, str]:
        """The build's exit status, and what it said. A warm `_build` makes it fast."""
        self.place.mkdir(exist_ok=True)
        record = self.place / "tests.json"
        with FileLock(self.place / "tests.lock"):
            made = json.loads(record.read_text()) if record.exists() else {}
            if made.get("run") != self.run:
                shutil.rmtree(self.once, ignore_errors=True)
                self.process = subprocess.Popen(
                    self.command,
                    cwd=ROOT,
                    env=os.environ | {"SURGEON_ONCE": str(self.once)} | self.asking(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                said, _ = self.process.communicate()
                made = {"run": self.run, "code": self.process.returncode, "said": COLOUR.sub("", said)}
                record.write_text(json.dumps(made))
        return made["code"], made["said"]

    def asking(self) -> dict[str, str]:
        """Variables of a build whose kernels ask each claim's counter-example too. They import what asks from copies:
        what stands in the checkout, they would note as read by their pages."""
        shutil.rmtree(self.noted, ignore_errors=True)
        startup = self.noted / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        for file in ASKING:
            shutil.copy(file, self.noted)
        (startup / "first.py").write_text(FIRST.format(folder=str(self.noted)))
        return {"SURGEON_NOTED": str(self.noted), "IPYTHONDIR": str(self.noted / "ipython")}

    def begin(self) -> None:
        """Build in the background; `build` waits for it."""
        self.thread = threading.Thread(target=self.build, daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Others may still want a build that began here."""
        if self.thread:
            self.thread.join()

    def end(self) -> None:
        """Nobody waits any more: a build that is still under way is ended as a power cut would, with its kernels."""
        if self.process and self.process.poll() is None:
            build = psutil.Process(self.process.pid)
            for process in (*build.children(recursive=True), build):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.wait()


def book(config: pytest.Config) -> Book:
    """The book as this run of pytest builds it; its processes, if it has several, share the run's name."""
    if not hasattr(config, "book"):
        config.book = Book(getattr(config, "workerinput", {}).get("testrunuid") or uuid.uuid4().hex)
    return config.book
