"""pip install, telling what it is at: one line that changes on a terminal, a line every few seconds elsewhere.

python .ci/install.py <what pip install takes>
"""

import queue
import re
import subprocess
import sys
import threading
import time
from importlib import metadata

BEAT = 5.0  # seconds between lines, where there is no terminal
COLLECTING = re.compile(r"\s*Collecting ([A-Za-z0-9._-]+)")
PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
AMOUNT = re.compile(r", [\d.]+ of [\d.]+ MB$")
INSTALLING = re.compile(r"Installing collected packages: (.*)")
TROUBLE = re.compile(r"\s*(ERROR|WARNING: \S+|error)\b")


class Report:
    """What pip has said, as one line."""

    def __init__(self) -> None:
        self.packages = self.installed = 0
        self.at = "looking"
        self.said: list[str] = []
        self.warned: set[str] = set()

    def is_news(self, trouble: str) -> bool:
        """A warning that every package brings is told once; errors are told each time."""
        known = trouble in self.warned
        self.warned |= {trouble} if trouble.startswith("WARNING") else set()
        return not known

    def hear(self, line: str) -> None:
        if found := PROGRESS.match(line):
            done, size = (int(number) / 1e6 for number in found.groups())
            self.at = f"{AMOUNT.sub('', self.at)}, {done:.1f} of {size:.1f} MB"
            return
        self.said.append(line)
        if found := COLLECTING.match(line):
            self.packages += 1
            self.at = f"fetching {found[1]} ({self.packages} so far)"
        elif found := INSTALLING.match(line):
            self.installed = len(found[1].split(","))
            self.at = f"unpacking {self.count()}"

    def count(self) -> str:
        return f"{self.installed} package{'s' * (self.installed != 1)}"


def options() -> list[str]:
    """pip tells numbers for a download since 24.1; one that is older says nothing of it."""
    major, minor = metadata.version("pip").split(".")[:2]
    return ["--progress-bar", "raw" if (int(major), int(minor)) >= (24, 1) else "off"]


def install(*arguments: str) -> int:
    """Run pip; its exit status. Warnings and errors are passed on, and if it fails, all that it said last."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options(), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    report, began, terminal = Report(), time.monotonic(), sys.stdout.isatty()
    shown = began
    line: str | None = ""
    while line is not None:
        try:
            line = lines.get(timeout=0.2 if terminal else BEAT)
        except queue.Empty:
            line = ""
        if line:
            report.hear(line)
            trouble = TROUBLE.match(line)
            if trouble and report.is_news(trouble[1]):
                print(f"\r\033[K{line}" if terminal else line, file=sys.stderr, flush=True)
        now = time.monotonic()
        if terminal:
            print(f"\r\033[K  {report.at}, {now - began:.0f} s"[:100], end="", flush=True)
        elif now - shown >= BEAT:
            print(f"  {report.at}, {now - began:.0f} s", flush=True)
            shown = now
    process.stdout.close()
    status = process.wait()
    end = "\r\033[K" if terminal else ""
    if status:
        print(f"{end}pip failed; it said last:", *report.said[-40:], sep="\n", file=sys.stderr)
    elif report.installed:
        print(f"{end}  {report.count()}, {time.monotonic() - began:.0f} s", flush=True)
    else:
        print(end, end="", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(install(*sys.argv[1:]))
