"""What is written down while an examination is under way."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from surgeon.checkup.finding import ALL_LAWS, LAWS, Finding
from surgeon.checkup.progress import tell
from surgeon.checkup.repairs import REPAIRS, instead_of

AGREES, FORMULA = "agrees to rounding", "agrees with the formula"


class Notes:
    """The findings so far; the first word on a law is the last.

    Attributes
    ----------
    trying : str
        The law that is being tried.
    blocked : str
        Why nothing can be compared with the formula, once that is so.
    demanded : set of str
        Which of `dead_rows` and `alignment` the caller asked for: another
        answer is a fault then, and no matter of choice.
    under : str
        The broken law from which whatever fails now may follow: it is not
        told to fail, then, but that it cannot be told.
    portrait : list of str
        What kind of attention this is, in sentences.
    designed : list of str
        The laws of what was declared beyond plain attention.
    compiled : bool
        Whether it is to be asked once more, compiled.
    known, usual : mapping
        The laws that may be written of, and those of everyone.
    repairs : mapping
        What to write instead, by laws.
    """

    known: ClassVar[Mapping[str, tuple[str, str]]] = ALL_LAWS
    usual: ClassVar[Mapping[str, tuple[str, str]]] = LAWS
    repairs: ClassVar[Mapping[str, tuple[tuple[str, str], ...]]] = REPAIRS

    def __init__(self) -> None:
        self.findings: dict[str, Finding] = {}
        self.trying = "answers"
        self.blocked = ""
        self.demanded: set[str] = set()
        self.under = ""
        self.portrait: list[str] = []
        self.designed: list[str] = []
        self.compiled = False

    @property
    def trying(self) -> str:
        return self._trying

    @trying.setter
    def trying(self, law: str) -> None:
        self._trying = law
        tell(law)

    def note(
        self,
        name: str,
        passed: bool | None,
        measured: str | float = "",
        bound: str | float = "",
        meaning: str = "",
        found: Tensor | None = None,
        weight: str = "fault",
    ) -> None:
        """Write a finding down; without a meaning, it tells the law.

        `weight` is that of a law which is broken.
        """
        if name in self.findings:
            return
        law, page = self.known[name]
        broken = passed is False and not self.under
        if passed is False and self.under:
            passed, measured, bound = None, "", ""
            meaning = f'Cannot be told while "{self.under}" fails.'
        meaning = meaning or law
        self.findings[name] = Finding(
            name,
            passed,
            measured,
            bound,
            meaning,
            page,
            found,
            weight if broken else "",
            (instead_of(name, meaning, self.repairs) if broken else ""),
        )

    def agrees(self, *names: str, meaning: str = "") -> None:
        """These hold: the answer is that of the formula."""
        for name in names:
            self.note(name, True, AGREES, FORMULA, meaning)

    def fail(
        self,
        name: str,
        meaning: str,
        measured: str | float = "differs",
        bound: str | float = FORMULA,
        weight: str = "fault",
    ) -> None:
        """The law is broken, and that is what it means."""
        self.note(name, False, measured, bound, meaning, weight=weight)

    def retract(self, *names: str) -> None:
        """What was said of these laws holds no more."""
        for name in names:
            self.findings.pop(name, None)

    def overrule(self, name: str, meaning: str) -> None:
        """A fault was named: what was said of this law holds no more."""
        self.findings.pop(name, None)
        known = name != "known form"
        seen = f"{AGREES} with this fault" if known else "differs"
        self.fail(name, meaning, seen)

    def break_off(self, measured: str, meaning: str, why: str) -> None:
        """The subject answers no more: that fails; the rest is not told."""
        self.findings.pop("answers", None)
        self.fail("answers", meaning, measured, "an output each time")
        self.skip_rest(why)

    def skip(self, *names: str, why: str) -> None:
        """These do not apply, or cannot be told, and why."""
        for name in names:
            self.note(name, None, meaning=why)

    def wait(self, *names: str, on: str) -> None:
        """These cannot be told while another law is broken."""
        self.skip(*names, why=f'Cannot be told while "{on}" fails.')

    def skip_rest(self, why: str) -> None:
        self.skip(*self.usual, *self.designed, why=why)

    def broken(self, *names: str) -> str:
        """The first of these laws that is broken, or nothing."""
        found = self.findings
        fails = (n for n in names if n in found and found[n].passed is False)
        return next(fails, "")

    def faulty(self, *names: str) -> str:
        """As `broken`, where neither hazards nor choices count."""
        found = self.findings
        fails = (n for n in names if n in found)
        return next((n for n in fails if found[n].weight == "fault"), "")
