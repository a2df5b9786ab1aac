"""What the judge says of a try: one line."""

import html
from dataclasses import dataclass

from surgeon.checkup.finding import BOOK


@dataclass(frozen=True, repr=False)
class Verdict:
    """The judge's answer to one try.

    Printed, it is a line: what holds, or which mistake the try looks like,
    with a hint and the page about it.

    Parameters
    ----------
    step : str
        The step that was tried.
    right : bool or None
        Whether it holds; None where nothing was written yet.
    says : str
        What holds, or what it looks like, in a sentence or two.
    mistake : str
        The mistake's name in the judge's catalogue; empty where there is
        none, or none that is known.
    hint : str
        Where to look; empty where nothing is wrong.
    page : str
        The page about it, such as "anatomy/scaling".
    """

    step: str
    right: bool | None
    says: str
    mistake: str = ""
    hint: str = ""
    page: str = ""

    @property
    def head(self) -> str:
        return {True: "Right.", False: "Not yet.", None: "Nothing yet."}[
            self.right
        ]

    def __str__(self) -> str:
        hint = f" Hint: {self.hint}" if self.hint else ""
        page = f" Page: {self.page}." if self.page else ""
        return f"{self.head} {self.says}{hint}{page}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same, and the page is a link.

        The book's own site finds the page by its name.
        """
        said = [f"<strong>{self.head}</strong> {html.escape(self.says)}"]
        if self.hint:
            said.append(f"<em>Hint:</em> {html.escape(self.hint)}")
        if self.page:
            said.append(
                f'<em>Page:</em> <a data-page="{self.page}"'
                f' href="{BOOK}{self.page}.html">{self.page}</a>.'
            )
        return f'<p class="verdict">{" ".join(said)}</p>'
