"""The pages' kernels: this interpreter, this checkout's surgeon, this repository's name."""

import json
import os
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

from surgeon_book.checkout import ROOT


def name_repository(app: Sphinx, config: Config) -> None:
    """GITHUB_REPOSITORY overrules _config.yml's repository; where it is unset, _config.yml speaks for it, and for its
    branch alone."""
    url = config.html_theme_options.get("repository_url", "")
    name = os.environ.get("GITHUB_REPOSITORY") or "/".join(url.rstrip("/").split("/")[-2:])
    os.environ["SURGEON_BRANCH"] = config.html_theme_options.get("repository_branch") or "main"
    if name:
        os.environ["GITHUB_REPOSITORY"] = name  # surgeon.book.page reads it
        config.html_theme_options = {**config.html_theme_options, "repository_url": f"https://github.com/{name}"}


def prepare(app: Sphinx) -> None:
    """Let every page's kernel be this interpreter, whatever kernels its user has registered, and find surgeon here."""
    kernels = Path(app.doctreedir, "kernels")
    command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    quiet = ["--log-level=ERROR"]  # it warns of every connection over TCP
    # One thread: the pages' models are too small to gain from two, and two that wait for a busy core cost minutes.
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    spec = {"argv": command + quiet, "display_name": "Python 3", "language": "python", "env": threads}
    folder = kernels / "kernels" / "python3"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    _put_first("JUPYTER_PATH", kernels)
    _put_first("PYTHONPATH", ROOT)


def _put_first(variable: str, path: Path) -> None:
    others = [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry not in ("", str(path))]
    os.environ[variable] = os.pathsep.join([str(path), *others])


def setup(app: Sphinx) -> None:
    app.connect("config-inited", name_repository)
    app.connect("builder-inited", prepare)
