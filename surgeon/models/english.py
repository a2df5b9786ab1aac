"""A small English of surgeons, nurses and patients, as a `Grammar`."""

from surgeon.models.grammar import Grammar
from surgeon.models.rules import START, STOP

# how often a noun phrase begins with each, and the numbers it goes with
DETERMINERS = {"the": 2.0, "a": 1.0, "some": 1.0}
NUMBERS = {
    "the": ("singular", "plural"),
    "a": ("singular",),
    "some": ("plural",),
}
NOUNS = {
    "singular": ("surgeon", "nurse", "patient"),
    "plural": ("surgeons", "nurses", "patients"),
}
INTRANSITIVE = {"singular": ("waits", "sleeps"), "plural": ("wait", "sleep")}
TRANSITIVE = {"singular": ("sees", "helps"), "plural": ("see", "help")}
ADVERBS = ("here", "today", "again")

State = dict[str, tuple[str, float]]  # from a word to the next, and a weight


def english_grammar(slip: float = 0.01) -> Grammar:
    """Twenty-four words, and a verb that agrees across a clause.

    A sentence is a subject, a verb, an object if the verb asks for one, and
    perhaps an adverb. Seven subjects in ten carry a clause (`near the
    nurses`, `who see the nurses`), and the verb after it agrees with the
    subject, whatever the number of the noun that stands between them.

    Parameters
    ----------
    slip : float
        Probability, in [0, 1), with which a word is drawn uniformly from the
        vocabulary instead.

    Returns
    -------
    Grammar

    Raises
    ------
    ValueError
        If `slip` is outside [0, 1).

    Examples
    --------
    >>> grammar = english_grammar()
    >>> right = ". the surgeons near a nurse wait ."
    >>> wrong = " the surgeons near a nurse waits ."
    >>> sentences, grammatical = grammar.judge(grammar.encode(right + wrong))
    >>> int(sentences), int(grammatical)
    (1, 1)
    """
    rules: dict[str, State] = {START: _determiner("subject")}
    for d in DETERMINERS:
        rules[f"subject, {d}"] = {
            noun: (number, 1.0)
            for number in NUMBERS[d]
            for noun in NOUNS[number]
        }
        rules[f"object, {d}"] = _any_noun(d, "verb phrase")
    # of the subject: every state up to the verb remembers it
    for number in NOUNS:
        verbs = dict.fromkeys(INTRANSITIVE[number], ("verb phrase", 6.0))
        verbs |= dict.fromkeys(TRANSITIVE[number], ("object", 9.0))
        near, who, after = (
            f"{number}, {where}"
            for where in ("near", "who", "after the clause")
        )
        clause = {
            "near": (near, 30.0),
            "that": (who, 20.0),
            "who": (who, 20.0),
        }
        rules[number] = clause | verbs
        rules[who] = dict.fromkeys(TRANSITIVE[number], (near, 1.0))
        rules[near] = {d: (f"{near} {d}", n) for d, n in DETERMINERS.items()}
        for d in DETERMINERS:
            rules[f"{near} {d}"] = _any_noun(d, after)
        rules[after] = verbs
    rules["object"] = _determiner("object")
    adverbs = dict.fromkeys(ADVERBS, ("adverb", 1.0))
    rules["verb phrase"] = {STOP: (START, 6.0)} | adverbs
    rules["adverb"] = {STOP: (START, 1.0)}
    return Grammar(rules, slip=slip)


def _determiner(role: str) -> State:
    """A noun phrase begins, and its state remembers the determiner."""
    return {d: (f"{role}, {d}", n) for d, n in DETERMINERS.items()}


def _any_noun(determiner: str, then: str) -> State:
    """A noun whose number makes no difference to what follows."""
    nouns = (noun for n in NUMBERS[determiner] for noun in NOUNS[n])
    return dict.fromkeys(nouns, (then, 1.0))
