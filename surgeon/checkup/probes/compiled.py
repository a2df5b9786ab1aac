"""torch.compile's output against the eager one, if that is asked for."""

from functools import cache

from surgeon.checkup.exam import Exam
from surgeon.checkup.probes.reading import Ask
from surgeon.checkup.subjects.answering import SubjectError

COMPILED = "compiled"


def probe_compiled(exam: Exam) -> None:
    """Without a mask, and with what makes it causal, at two lengths."""
    if not exam.compiled:
        why = "It takes long, and is asked if you say so: compiled=True."
        exam.skip(COMPILED, why=why)
        return
    if not has_compiler():
        why = "There is no C++ compiler here, which torch.compile needs."
        exam.skip(COMPILED, why=why)
        return
    usual, fast = exam.subject, exam.subject.compiled()
    asks: list[Ask] = [exam.ask]
    if exam.held.can_be_causal:
        asks.append(exam.ask_causal)
    worst = 0.0
    for T in (exam.T, 13):
        for ask in asks:
            inputs = exam.draw(T, T)
            right = ask(*inputs)
            exam.subject = fast
            try:
                got = ask(*inputs)
            except SubjectError as error:
                meaning = f"Compiled, it raises {error}"
                exam.fail(
                    COMPILED, meaning, "an error", "no change", "hazard"
                )
                return
            finally:
                exam.subject = usual
            off = exam.off(got, right)
            if not exam.agree(got, right):
                behind = " behind a mask" if ask is not asks[0] else ""
                meaning = f"Compiled, the output{behind} is another."
                exam.fail(COMPILED, meaning, off, exam.tolerance, "hazard")
                return
            worst = max(worst, off)
    exam.note(COMPILED, True, worst, exam.tolerance)


@cache
def has_compiler() -> bool:
    """Whether there is one for what torch.compile makes for a CPU."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:  # of its own, whose place moves
        return False
    return True
