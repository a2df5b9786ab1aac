"""What repo2docker makes of a checkout: which of its build packs takes it, and the Dockerfile that this one writes."""

import json
import os
import re
import subprocess
import sys
import warnings
from contextlib import chdir
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses a name that its own dependency has moved
    from repo2docker.app import Repo2Docker
    from repo2docker.buildpacks import BuildPack

ROOT = Path(__file__).resolve().parents[1]


def build_pack(folder: Path) -> BuildPack:
    """The first pack that says yes, asked in repo2docker's order."""
    app = Repo2Docker()
    with chdir(folder):
        return next(pack for kind in app.buildpacks if (pack := kind(base_image=app.base_image)).detect())


def dockerfile(folder: Path) -> str:
    """The Dockerfile, from repo2docker's own command; without an engine, since nothing is built."""
    options = ["--no-build", "--no-run", "--user-id=1000", "--user-name=jovyan", "--Repo2Docker.platform=linux/amd64"]
    command = [sys.executable, "-m", "repo2docker", *options, "."]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def server(text: str, folder: Path) -> list[str]:
    """The command that starts a reader's server, as the image's entrypoint puts it together, in `folder`."""
    (entrypoint,) = re.findall(r'^ENV R2D_ENTRYPOINT="(.*)"$', text, re.MULTILINE)
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    return [entrypoint.replace("${REPO_DIR}", os.fspath(folder)), *json.loads(command)]
