"""A drawing of Matplotlib's in fewer bytes, compressed by a quarter to a half: what shows stays where it is.

Matplotlib names every part, says six digits of each coordinate and begins each from the page's corner. A hundredth of a
point is finer than a screen, from point to point numbers are short, and a shape that comes back is the same text again.
"""

import re

HEAD = re.compile(rb"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL)
BETWEEN = re.compile(rb">\s+<")
NAME = re.compile(rb' id="([\w-]+)"')
PATH = re.compile(rb'(?<= d=")[^"]+')
STEP = re.compile(rb"([A-Za-z])([^A-Za-z]*)")
PLACE = re.compile(rb'(?: (?:x|y|width|height)="|\btranslate\()[^")]+')
DECIMAL = re.compile(rb"-?\d+\.\d{3,}")
PAIRS = {b"M": 1, b"L": 1, b"Q": 2, b"C": 3, b"z": 0}  # of coordinates; Matplotlib writes no other steps


def shorter(svg: bytes) -> bytes:
    svg = HEAD.sub(b"", svg)
    meant = set(re.findall(rb"#([\w-]+)", svg))
    svg = NAME.sub(lambda name: name[0] if name[1] in meant else b"", svg)
    svg = PLACE.sub(lambda place: DECIMAL.sub(lambda number: told(hundredths(number[0])), place[0]), svg)
    return BETWEEN.sub(b"><", PATH.sub(lambda path: from_point_to_point(path[0]), svg)).strip()


def from_point_to_point(path: bytes) -> bytes:
    """A path whose steps begin where the last one ended; one with steps that are not known stays as it is."""
    steps = [(letter, numbers.split()) for letter, numbers in STEP.findall(path)]
    if any(len(numbers) != 2 * PAIRS.get(letter, -1) for letter, numbers in steps):
        return path
    here = start = (0, 0)
    said = b""
    for letter, numbers in steps:
        ends = [hundredths(number) for number in numbers]
        said += letter.lower() + run([end - here[n % 2] for n, end in enumerate(ends)])
        here = (ends[-2], ends[-1]) if ends else start
        start = here if letter == b"M" else start
    return said


def run(numbers: list[int]) -> bytes:
    """Numbers in a row; a minus is room enough between two."""
    return b" ".join(map(told, numbers)).replace(b" -", b"-")


def hundredths(number: bytes) -> int:
    return round(100 * float(number))


def told(hundredth: int) -> bytes:
    text = b"%d.%02d" % divmod(abs(hundredth), 100)
    return b"-" * (hundredth < 0) + text.rstrip(b"0").rstrip(b".")
