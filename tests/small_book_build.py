"""`jupyter-book build` in a forked process, as a new one would run it."""

import os
import sys


def build(arguments: list[str], folder: str, variables: dict[str, str], paths: list[str], log: str) -> None:
    """In a session, a folder, an environment and module paths of its own; what it says goes to a file."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:] = paths
    sys.argv[:] = ["jupyter-book", *arguments]
    said = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(said, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))

    from jupyter_book.cli.main import main

    main()
