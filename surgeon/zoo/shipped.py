"""What a fault of the zoo is called in words, and where it was shipped."""

import re

GITHUB = "https://github.com"


class Shipped:
    """A fault with a name, and perhaps a thread.

    Attributes
    ----------
    name : str
        As in Python.
    thread : str
        As ``owner/repository#number``; empty without one.
    """

    name: str
    thread: str

    @property
    def title(self) -> str:
        """Its name in words."""
        words = re.sub("(?<=[a-z])(?=[A-Z])|_", " ", self.name)
        return words.lower().capitalize()

    @property
    def address(self) -> str:
        """Where the thread is; empty without one."""
        if not self.thread:
            return ""
        repository, number = self.thread.split("#")
        return f"{GITHUB}/{repository}/issues/{number}"
