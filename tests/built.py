"""The real book, built strictly once for all the processes that test it, beside the tests that do not look at it."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from filelock import FileLock
from small_book import COLOUR, ROOT, START, STRICT

COMMAND = (sys.executable, "-c", START, "build", str(ROOT), *STRICT)
PLACE = ROOT / "_build"


class Book:
    """A build that many may ask for: whoever comes first makes it, and the others wait and are told what it said."""

    def __init__(self, run: str, command: tuple[str, ...] = COMMAND, place: Path = PLACE) -> None:
        self.run, self.command, self.place = run, command, place
        self.process: subprocess.Popen | None = None

    def build(self) -> tuple[int, str]:
        """The build's exit status, and what it said. A warm `_build` makes it fast."""
        self.place.mkdir(exist_ok=True)
        record = self.place / "tests.json"
        with FileLock(self.place / "tests.lock"):
            made = json.loads(record.read_text()) if record.exists() else {}
            if made.get("run") != self.run:
                self.process = subprocess.Popen(
                    self.command,
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,  # so that all of it can be ended
                )
                said, _ = self.process.communicate()
                made = {"run": self.run, "code": self.process.returncode, "said": COLOUR.sub("", said)}
                record.write_text(json.dumps(made))
        return made["code"], made["said"]

    def begin(self) -> None:
        """Build in the background; `build` waits for it."""
        threading.Thread(target=self.build, daemon=True).start()

    def end(self) -> None:
        """Nobody waits any more: a build that is still under way is ended as a power cut would."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
