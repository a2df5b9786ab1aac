"""Files beside the doctrees that save the next build some work. One that a killed build left in part is none at all."""

from pathlib import Path

from surgeon_book import sources


def put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(sources.digest([content]).encode() + b"\n" + content)


def get(file: Path) -> bytes | None:
    digest, _, content = file.read_bytes().partition(b"\n") if file.exists() else (b"", b"", b"")
    return content if digest == sources.digest([content]).encode() else None
