"""What the practice says to tries, to answers and of its patients: kept word for word in said_in_practice.tsv.

`python tests/said_in_practice.py` writes the file anew; what has changed there is to be read before it is kept.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

FILE = Path(__file__).with_suffix(".tsv")
SAID = dict(line.split("\t") for line in FILE.read_text(encoding="utf8").splitlines()) if FILE.exists() else {}


def to_unwritten(step: str) -> str:
    from surgeon import judge

    return str(judge(step, lambda *args, **how: ...))


def told() -> Iterator[tuple[str, str]]:
    """Whom something is said to, and what; of all tries at a mistake, and of all styles, the first."""
    import exercise_answers
    import right_tries
    import wrong_tries

    from surgeon import check, findings, judge
    from surgeon.practice.exercises.asking import known_exercises
    from surgeon.practice.patients import NEXT
    from surgeon.practice.steps import STEPS

    for step in STEPS:
        yield f"{step}, unwritten", to_unwritten(step)
        for style, try_ in right_tries.RIGHT[step].items():
            yield f"{step}, right, {style}", str(judge(step, try_))
        for mistake, tries in wrong_tries.WRONG[step].items():
            yield f"{step}, {mistake}", str(judge(step, tries[0]))
    for n, (step, try_) in enumerate(wrong_tries.UNKNOWN):
        yield f"{step}, unknown, {n}", str(judge(step, try_))
    for label in known_exercises():
        yield f"{label}, dots", str(check(label, ...))
        for n, answer in enumerate(exercise_answers.RIGHT.get(label, [])):
            yield f"{label}, right, {n}", str(check(label, answer))
        for n, (answer, _) in enumerate(exercise_answers.WRONG.get(label, [])):
            yield f"{label}, wrong, {n}", str(check(label, answer))
        for n, answer in enumerate(exercise_answers.one_off(label) if label in exercise_answers.RIGHT else []):
            yield f"{label}, one off, {n}", str(check(label, answer))
    for name, (words, ask) in findings().items():
        yield f"{name}, words", words
        yield f"{name}, ask", ask
    for family, what in NEXT.items():
        yield f"{family}, next", what


if __name__ == "__main__":
    sys.path.insert(0, str(FILE.parent.parent))
    FILE.write_text("".join(f"{whom}\t{said}\n" for whom, said in told()), encoding="utf8")
