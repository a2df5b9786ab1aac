"""Install PyTorch without CUDA where nobody could use it, before pip takes gigabytes for granted. Called by make.

Only Linux's wheels on PyPI bring CUDA, so only there is PyTorch's own index asked, on a machine without an NVIDIA
driver, and only if it answers at once; otherwise PyTorch comes with all other packages. TORCH=cuda asks for that.
"""

import os
import re
import shutil
import sys
import threading
import urllib.request
from importlib import metadata
from pathlib import Path

from install import install

ROOT = Path(__file__).resolve().parent.parent
INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 3.0  # seconds
DEVICES = Path("/dev")


def pin() -> str:
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf8")
    return re.search(r"^torch==(\S+)$", requirements, re.MULTILINE)[1]


def installed() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def answers(address: str) -> bool:
    """Whether an index has PyTorch, and says so in time: names that nobody resolves, and servers that dawdle, count."""
    heard = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{address}/torch/", timeout=PATIENCE) as answer:
                if answer.status == 200 and answer.read(1):
                    heard.set()
        except (OSError, ValueError):
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return heard.is_set()


def reason(asked: str, system: str) -> str:
    """Why PyTorch comes from where all packages come from; nothing if its own index should be asked."""
    if asked == "cuda":
        return "TORCH=cuda asks for it"
    if asked not in ("", "cpu"):
        sys.exit(f"TORCH must be cuda, cpu or nothing, got {asked!r}.")
    if system != "linux":
        return "only Linux's brings CUDA"
    if asked == "cpu":
        return ""
    if shutil.which("nvidia-smi") or list(DEVICES.glob("nvidia*")):
        return "this machine has an NVIDIA driver"
    return ""


def main() -> int:
    release = pin()
    if installed().split("+")[0] == release:
        return 0
    why = reason(os.environ.get("TORCH", ""), sys.platform)
    if not why and not answers(INDEX):
        why = f"PyTorch's own, of builds without CUDA, did not answer within {PATIENCE:.0f} s"
    if why:
        print(f"PyTorch {release}: from the index of all other packages, as {why}.", flush=True)
        return 0
    use = (
        "TORCH=cpu asks for it"
        if os.environ.get("TORCH")
        else "there is no NVIDIA driver; TORCH=cuda asks for the other"
    )
    print(f"PyTorch {release}: the build without CUDA, from PyTorch's own index, as {use}.", flush=True)
    if install("--index-url", INDEX, "--no-deps", f"torch=={release}"):
        print("PyTorch's own index could not bring it: it comes from the index of all other packages.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
