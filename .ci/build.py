"""`jupyter-book`, started sooner: python .ci/build.py build . -W -n --keep-going

A checker of addresses that comes with JupyterLab takes as long to import as all of Sphinx; jsonschema can do without.
"""

import sys


def main() -> None:
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    from jupyter_book.cli.main import main as jupyter_book

    jupyter_book()


if __name__ == "__main__":
    main()
