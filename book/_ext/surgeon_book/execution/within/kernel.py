"""What Jupyter starts in a kernel's place: it asks the fork server for one, stands for it, and ends as it ends.

python -I -S kernel.py FOLDER ARGUMENTS_OF_A_KERNEL. Where the server does not answer, a kernel is started as any is.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys

KERNEL = ["-Xfrozen_modules=off", "-m", "ipykernel_launcher"]


def main() -> None:
    folder, *arguments = sys.argv[1:]
    parent = os.getppid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: whoever asked for a kernel is no more
    if os.getppid() != parent:
        sys.exit(1)
    asked = {"kernel": arguments, "cwd": os.getcwd(), "environment": dict(os.environ)}
    try:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.connect(os.path.join(folder, "kernels"))
        socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
        pid = int(server.recv(64))
    except (OSError, ValueError):
        os.execv(sys.executable, [sys.executable, *KERNEL, *arguments])

    def hand_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)

    for signal_ in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_, hand_on)
    sys.exit(int(server.recv(64) or 1))


main()
