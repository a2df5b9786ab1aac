"""The numbered steps of a function, each from its comment to its end."""

import io
import re
import textwrap
import tokenize

NUMBER = re.compile(r"# (\d+)\. ")


def find_part(
    name: str, code: str, part: str | tuple[str, ...]
) -> tuple[int, int]:
    """The lines of a step, or of several, as a slice of the code's lines.

    Parameters
    ----------
    name : str
        What the function is called.
    code : str
        The function, as its file has it.
    part : str or tuple of str
        The number of a step; of several, in their order.

    Returns
    -------
    (int, int)
        The first line, and the one after the last; all lines between two
        steps belong to them.

    Raises
    ------
    ValueError
        If a number is that of no step, or of more than one, or if they are
        not in order.

    Examples
    --------
    >>> find_part("f", "def f(x):\\n    # 1. Back.\\n    return x", "1")
    (1, 3)
    """
    numbers = (part,) if isinstance(part, str) else part
    if not numbers:
        raise ValueError(f"part must name a step of {name}, got {part!r}.")
    steps = numbered_steps(code)
    for number in numbers:
        if number not in steps:
            known = ", ".join(steps) or "it has none"
            raise ValueError(
                f"part must be a numbered step of {name} ({known}), got"
                f" {number!r}."
            )
    starts = [steps[number][0] for number in numbers]
    if starts != sorted(starts):
        raise ValueError(
            f"part must name steps of {name} in their order, got {part!r}."
        )
    return starts[0], steps[numbers[-1]][1]


def numbered_steps(code: str) -> dict[str, tuple[int, int]]:
    """Every number that one comment has, with the lines of its step."""
    code = textwrap.dedent(code)
    lines = code.splitlines()
    begun = [
        (token.start[0] - 1, token.start[1], match[1])
        for token in tokenize.generate_tokens(io.StringIO(code).readline)
        if token.type == tokenize.COMMENT
        and (match := NUMBER.match(token.string))
        and not lines[token.start[0] - 1][: token.start[1]].strip()
    ]
    firsts, numbers = {one for one, *_ in begun}, [one for *_, one in begun]
    return {
        number: (first, _end(lines, first, column, firsts))
        for first, column, number in begun
        if numbers.count(number) == 1
    }


def _end(lines: list[str], first: int, column: int, firsts: set[int]) -> int:
    """Where the step that begins in a line, at a column, is over."""
    for number in range(first + 1, len(lines)):
        line = lines[number]
        depth = len(line) - len(line.lstrip())
        if not line.strip() or depth < column or number in firsts:
            return number
    return len(lines)
