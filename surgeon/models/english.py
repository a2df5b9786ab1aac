"""A small English of surgeons, nurses and patients, as a `Grammar`."""

from surgeon.models.grammar import START, STOP, Grammar


def english_grammar(slip: float = 0.01) -> Grammar:
    """Surgeons, nurses and patients: 24 words, and a verb that agrees with its subject across a clause.

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
    >>> sentence = grammar.encode(". the surgeons near a nurse wait . the surgeons near a nurse waits .")
    >>> sentences, grammatical = grammar.judge(sentence)
    >>> int(sentences), int(grammatical)
    (1, 1)
    """
    determiners = {"the": 2.0, "a": 1.0, "some": 1.0}
    nouns = {
        "singular": ("surgeon", "nurse", "patient"),
        "plural": ("surgeons", "nurses", "patients"),
    }
    numbers = {
        "the": ("singular", "plural"),
        "a": ("singular",),
        "some": ("plural",),
    }
    intransitive = {
        "singular": ("waits", "sleeps"),
        "plural": ("wait", "sleep"),
    }
    transitive = {"singular": ("sees", "helps"), "plural": ("see", "help")}

    rules: dict[str, dict[str, tuple[str, float]]] = {
        START: {d: (f"subject, {d}", n) for d, n in determiners.items()}
    }
    for d in determiners:
        rules[f"subject, {d}"] = {
            noun: (number, 1)
            for number in numbers[d]
            for noun in nouns[number]
        }
        rules[f"object, {d}"] = {
            noun: ("verb phrase", 1)
            for number in numbers[d]
            for noun in nouns[number]
        }
    for (
        number
    ) in nouns:  # of the subject: every state up to the verb remembers it
        verbs = dict.fromkeys(intransitive[number], ("verb phrase", 6.0))
        verbs |= dict.fromkeys(transitive[number], ("object", 9.0))
        clause = {
            "near": (f"{number}, near", 30.0),
            "that": (f"{number}, who", 20.0),
            "who": (f"{number}, who", 20.0),
        }
        rules[number] = clause | verbs
        rules[f"{number}, who"] = dict.fromkeys(
            transitive[number], (f"{number}, near", 1.0)
        )
        rules[f"{number}, near"] = {
            d: (f"{number}, near {d}", n) for d, n in determiners.items()
        }
        # the noun inside the clause is of either number, and makes no
        # difference
        for d in determiners:
            inside = (noun for other in numbers[d] for noun in nouns[other])
            rules[f"{number}, near {d}"] = dict.fromkeys(
                inside, (f"{number}, after the clause", 1.0)
            )
        rules[f"{number}, after the clause"] = verbs
    rules["object"] = {d: (f"object, {d}", n) for d, n in determiners.items()}
    rules["verb phrase"] = {STOP: (START, 6.0)} | dict.fromkeys(
        ("here", "today", "again"), ("adverb", 1.0)
    )
    rules["adverb"] = {STOP: (START, 1.0)}
    return Grammar(rules, slip=slip)
