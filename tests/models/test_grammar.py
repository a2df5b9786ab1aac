"""The source of text: closed forms on tiny grammars, brute force on small ones, laws on random ones."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from foreign import foreign_defaults
from hypothesis import given, settings
from hypothesis import strategies as st

from surgeon.models.automaton import check_tokens
from surgeon.models.english import english_grammar
from surgeon.models.grammar import Grammar, entropy

CYCLE = {"start": {"one": ("b", 1)}, "b": {"two": ("c", 1)}, "c": {".": ("start", 1)}}
FIVE_SIDED = {state: {".": ("start", 3)} | dict.fromkeys("abcd", ("on", 3)) for state in ("start", "on")}
HIDDEN = {"start": {"x": ("once", 1)}, "once": {"x": ("twice", 1)}, "twice": {".": ("start", 1)}}
PLURAL_NOUNS, PLURAL_VERBS = {"surgeons", "nurses", "patients"}, {"wait", "sleep", "see", "help"}
SINGULAR_VERBS = {"waits", "sleeps", "sees", "helps"}


def two_states(p, q):
    """Full stops follow full stops with probability p, and end a run of words with probability q."""
    return {"start": {".": ("start", p), "a": ("on", 1 - p)}, "on": {"a": ("on", 1 - q), ".": ("start", q)}}


def binary_entropy(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


@st.composite
def grammars(draw):
    """Any rules in which each state has a full stop and a way to the next state, and other words as they come."""
    n = draw(st.integers(2, 5))
    weight = st.floats(0.1, 10)
    names = ["start", *(f"s{i}" for i in range(1, n))]
    rules = {}
    for i, name in enumerate(names):
        others = st.dictionaries(st.sampled_from("abcde"), st.tuples(st.sampled_from(names[1:]), weight), max_size=4)
        rules[name] = draw(others) | {".": ("start", draw(weight)), "go": (names[i % (n - 1) + 1], draw(weight))}
    return Grammar(rules, slip=draw(st.sampled_from([0.0, 0.01, 0.3])))


def enumerate_texts(grammar, length):
    """Every text that begins with a sentence, and its probability, word by word from the definition."""
    texts, chances = [], []
    for words in itertools.product(range(len(grammar.words)), repeat=length):
        state, chance = 0, 1.0
        for word in words:
            chance *= grammar.probabilities[state, word].item()
            state = grammar.next_state[state, word].item()
        texts.append((0, *words))
        chances.append(chance)
    return torch.tensor(texts), torch.tensor(chances, dtype=torch.float64)


def test_vocabulary_is_small_and_starts_with_the_full_stop():
    grammar = english_grammar()
    assert 20 <= len(grammar.words) <= 30
    assert grammar.words[0] == "."
    assert grammar.states[0] == "start"
    assert grammar.probabilities.dtype == torch.float64


def test_probabilities_mix_rules_and_slips():
    """Three words, weights 3 and 1: (1 - slip) 3/4 + slip / 3."""
    grammar = Grammar({"start": {"a": ("on", 3), "b": ("on", 1)}, "on": {".": ("start", 7)}}, slip=0.3)
    expected = torch.tensor([[0.1, 0.7 * 0.75 + 0.1, 0.7 * 0.25 + 0.1], [0.8, 0.1, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(grammar.probabilities, expected)
    assert grammar.stray.tolist() == [[True, False, False], [False, True, True]]


def test_stray_words_change_nothing_and_full_stops_always_end():
    grammar = english_grammar()
    here = torch.arange(len(grammar.states))[:, None].expand_as(grammar.next_state)
    stray = grammar.stray.clone()
    stray[:, 0] = False
    assert stray.sum() > 400
    assert (grammar.next_state[stray] == here[stray]).all()
    assert (grammar.next_state[:, 0] == 0).all()


@given(grammars())
@settings(deadline=None, max_examples=50)
def test_laws_of_every_grammar(grammar):
    """Rows sum to one, the stationary distribution stays, and knowing more never raises the best loss."""
    ones = torch.ones(len(grammar.states), dtype=torch.float64)
    torch.testing.assert_close(grammar.probabilities.sum(-1), ones)
    p = grammar.stationary()
    following = torch.zeros_like(p)
    for s, w in itertools.product(range(len(grammar.states)), range(len(grammar.words))):
        following[grammar.next_state[s, w]] += p[s] * grammar.probabilities[s, w]
    torch.testing.assert_close(following, p)
    assert p.sum().item() == pytest.approx(1)
    bounds = [
        0,
        grammar.best_loss(7),
        grammar.one_word_loss(7, position=True),
        grammar.one_word_loss(7),
        math.log(len(grammar.words)),
    ]
    assert all(lower <= upper + 1e-12 for lower, upper in itertools.pairwise(bounds))
    assert grammar.entropy_rate() <= grammar.one_word_loss() + 1e-12


@given(grammars())
@settings(deadline=None, max_examples=10)
def test_bounds_are_those_of_all_texts(grammar):
    """Brute force over V^3 texts: the chain rule, and the conditional entropy of the pairs in them."""
    texts, chances = enumerate_texts(grammar, 3)
    assert chances.sum().item() == pytest.approx(1)
    assert grammar.best_loss(3) == pytest.approx(entropy(chances).item() / 3, abs=1e-12)
    V = len(grammar.words)
    pairs = torch.zeros(3, V, V, dtype=torch.float64)
    for t in range(3):
        pairs[t].index_put_((texts[:, t], texts[:, t + 1]), chances, accumulate=True)

    def conditional(joint):
        return (entropy(joint.flatten()) - entropy(joint.sum(1))).item()

    assert grammar.one_word_loss(3, position=True) == pytest.approx(sum(map(conditional, pairs)) / 3, abs=1e-12)
    assert grammar.one_word_loss(3) == pytest.approx(conditional(pairs.mean(0)), abs=1e-12)
    told = grammar.nll(texts).sum(-1)
    torch.testing.assert_close(torch.exp(-told), chances)


def test_a_cycle_holds_no_surprise():
    grammar = Grammar(CYCLE, slip=0)
    assert grammar.entropy_rate() == grammar.best_loss(5) == grammar.one_word_loss(5) == 0
    assert grammar.decode(grammar.sample(1, 6)[0]) == ". one two. one two."
    torch.testing.assert_close(grammar.stationary(), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_five_equal_words_hold_log_five():
    grammar = Grammar(FIVE_SIDED, slip=0.25)  # a slip draws from the same five
    bounds = grammar.entropy_rate(), grammar.best_loss(7), grammar.one_word_loss(7), grammar.one_word_loss()
    assert bounds == pytest.approx([math.log(5)] * 4)


@pytest.mark.parametrize(("p", "q"), [(0.2, 0.7), (0.5, 0.5), (0.9, 0.05)])
def test_two_states_have_closed_forms(p, q):
    """The word tells the state, so seeing one word is enough; the way to equilibrium is geometric in p - q."""
    grammar = Grammar(two_states(p, q), slip=0)
    start = q / (q + 1 - p)
    rate = start * binary_entropy(p) + (1 - start) * binary_entropy(q)
    assert grammar.entropy_rate() == pytest.approx(rate)
    assert grammar.one_word_loss() == pytest.approx(rate)
    at_start = [start + (1 - start) * (p - q) ** t for t in range(7)]
    losses = [s * binary_entropy(p) + (1 - s) * binary_entropy(q) for s in at_start]
    assert grammar.best_losses(7).tolist() == pytest.approx(losses)
    assert grammar.best_loss(7) == pytest.approx(sum(losses) / 7)
    assert grammar.one_word_loss(7) == pytest.approx(sum(losses) / 7)


def test_one_word_may_hide_the_state():
    """After "x" come "x" and "." equally often, unless one remembers, or counts."""
    grammar = Grammar(HIDDEN, slip=0)
    assert grammar.one_word_loss() == pytest.approx(2 / 3 * math.log(2))
    assert grammar.one_word_loss(6) == pytest.approx(2 / 3 * math.log(2))
    assert grammar.one_word_loss(6, position=True) == grammar.best_loss(6) == 0


def test_late_words_are_as_uncertain_as_the_entropy_rate_says():
    grammar = english_grammar()
    assert grammar.best_losses(300)[-1].item() == pytest.approx(grammar.entropy_rate(), abs=1e-9)
    assert grammar.one_word_loss(3000) == pytest.approx(grammar.one_word_loss(), abs=1e-3)


@pytest.mark.parametrize("slip", [0.01, 0.2])
def test_share_of_a_sentence_without_choice(slip):
    """Three words, three ways to say each place: each is right with probability 1 - slip + slip / 3."""
    assert Grammar(CYCLE, slip=slip).grammatical_share() == pytest.approx((1 - slip + slip / 3) ** 3)


def test_longest_sentence():
    assert Grammar(CYCLE).longest_sentence() == 3
    assert Grammar(two_states(0.5, 0.5)).longest_sentence() == math.inf
    longest = english_grammar().encode("the nurse who sees the nurse helps the nurse today .")
    assert english_grammar().longest_sentence() == len(longest)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_agree_with_what_is_computed(seed):
    """Loss and share of 2000 texts, each within four standard errors of the exact value."""
    grammar = english_grammar()
    texts = grammar.sample(2000, 23, seed)
    by_text = grammar.nll(texts).mean(-1)
    assert abs(by_text.mean().item() - grammar.best_loss(23)) < 4 * by_text.std().item() / math.sqrt(2000)
    sentences, grammatical = (count.sum().item() for count in grammar.judge(texts))
    share = grammar.grammatical_share()
    assert sentences > 2000
    assert abs(grammatical / sentences - share) < 4 * math.sqrt(share * (1 - share) / sentences)


def test_words_are_drawn_as_often_as_they_should():
    """Every word after every state, within five standard errors."""
    grammar = english_grammar(slip=0.2)
    texts = grammar.sample(5000, 29, 3)
    before, words = grammar.follow(texts)[:, :-1].flatten(), texts[:, 1:].flatten()
    counts = torch.zeros_like(grammar.probabilities)
    counts.index_put_((before, words), torch.ones(len(words), dtype=torch.float64), accumulate=True)
    visits = counts.sum(-1, keepdim=True)
    p = grammar.probabilities
    assert ((counts / visits - p).abs() < 5 * (p * (1 - p) / visits).sqrt()).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_verbs_agree_with_their_subject_across_the_clause(seed):
    """Judged by the words alone, without the automaton."""
    grammar = english_grammar(slip=0)
    crossed = attracted = 0
    for text in grammar.sample(150, 40, seed):
        for sentence in grammar.decode(text[1:]).split(".")[:-1]:
            words = sentence.split()
            verbs = [word for word in words if word in SINGULAR_VERBS | PLURAL_VERBS]
            relative, near = words[2] in ("that", "who"), words[2] == "near"
            subject_is_plural = words[1] in PLURAL_NOUNS
            assert len(verbs) == 1 + relative
            assert all((verb in PLURAL_VERBS) == subject_is_plural for verb in verbs)
            if relative or near:
                crossed += 1
                attracted += (words[4 + relative] in PLURAL_NOUNS) != subject_is_plural
    assert crossed > 200
    assert 0.4 < attracted / crossed < 0.6  # the noun in between is no help


def test_samples_come_from_their_seed_alone():
    grammar = english_grammar()
    before = torch.get_rng_state()
    texts = grammar.sample(3, 5, 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert texts.shape == (3, 6)
    assert (texts[:, 0] == 0).all()
    assert torch.equal(texts, grammar.sample(3, 5, torch.Generator().manual_seed(7)))
    generator = torch.Generator().manual_seed(7)
    first, second = grammar.sample(3, 5, generator), grammar.sample(3, 5, generator)
    assert torch.equal(first, texts)
    assert not torch.equal(first, second)


def test_a_sample_is_the_beginning_of_a_longer_one():
    """Words are drawn in order, so the bounds for a length hold for the first words of longer texts as well."""
    grammar = english_grammar()
    assert torch.equal(grammar.sample(3, 13, 5)[:, :8], grammar.sample(3, 7, 5))


def test_follow_walks_through_a_sentence():
    grammar = english_grammar()
    states = grammar.follow(grammar.encode(". some nurses near today the patient wait ."))
    assert [grammar.states[s] for s in states] == [
        "start",
        "subject, some",
        "plural",
        "plural, near",
        "plural, near",  # "today" is stray
        "plural, near the",
        "plural, after the clause",
        "verb phrase",
        "start",
    ]


def test_impossible_words_have_infinite_nll():
    grammar = Grammar(CYCLE, slip=0)
    assert grammar.nll(grammar.encode(". one one two .")).tolist() == [0, math.inf, 0, 0]


@pytest.mark.parametrize(
    ("text", "sentences", "grammatical"),
    [
        pytest.param(". one two . one two .", 2, 2, id="two good ones"),
        pytest.param(". one two . . one two", 2, 1, id="an empty one; the last begins too late"),
        pytest.param(". one . one two . one", 2, 1, id="cut short"),
        pytest.param(". one two two . one two", 1, 0, id="a stray word"),
        pytest.param(". one one one one one one", 1, 0, id="never ends"),
        pytest.param(". one two . two one two", 2, 1, id="cut off while stray"),
    ],
)
def test_judge_counts_sentences_that_had_room(text, sentences, grammatical):
    grammar = Grammar(CYCLE)
    assert [int(n) for n in grammar.judge(grammar.encode(text))] == [sentences, grammatical]


def test_judge_and_strays_take_any_leading_axes():
    grammar = english_grammar()
    texts = grammar.sample(6, 13, 1)
    sentences, grammatical = grammar.judge(texts.reshape(2, 3, 14))
    assert torch.equal(sentences.flatten(), grammar.judge(texts)[0])
    assert torch.equal(grammatical.flatten(), grammar.judge(texts)[1])
    assert torch.equal(grammar.strays(texts[4]), grammar.strays(texts)[4])


def test_words_and_tokens_are_each_others_inverse():
    grammar = english_grammar()
    tokens = torch.arange(len(grammar.words))
    assert torch.equal(grammar.encode(grammar.decode(tokens)), tokens)
    assert grammar.decode(grammar.encode("the  nurse waits.a patient sleeps .")) == "the nurse waits. a patient sleeps."
    assert grammar.encode("").shape == (0,)


def all_of(grammar, texts):
    """Everything that it says of itself and of texts, as it is and where it is."""
    told = [grammar.probabilities, grammar.next_state, grammar.stray, grammar.stationary(), grammar.best_losses(7)]
    told += [grammar.follow(texts), grammar.nll(texts), grammar.strays(texts), *grammar.judge(texts)]
    numbers = [grammar.entropy_rate(), grammar.one_word_loss(7), grammar.one_word_loss(7, position=True)]
    numbers += [grammar.one_word_loss(), grammar.longest_sentence(), grammar.grammatical_share()]
    return told, numbers, grammar.decode(grammar.encode("the nurse waits.")), grammar.decode([0, 1])


def test_it_is_on_the_cpu_and_in_double_precision_whatever_the_defaults():
    texts = english_grammar().sample(5, 13, 1)
    expected, *rest = all_of(english_grammar(), texts)
    with foreign_defaults():
        assert torch.equal(english_grammar().sample(5, 13, 1), texts)
        found, *others = all_of(english_grammar(), texts)
    assert others[0] == pytest.approx(rest[0], rel=1e-12)
    assert others[1:] == rest[1:]
    torch.testing.assert_close(found, expected)  # their precisions and devices as well


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_texts_on_a_cuda_device_are_read_there():
    grammar = english_grammar()
    texts = grammar.sample(5, 13, 1)
    for read in (grammar.follow, grammar.nll, grammar.strays, lambda texts: torch.stack(grammar.judge(texts))):
        there = read(texts.cuda())
        assert there.is_cuda
        torch.testing.assert_close(there.cpu(), read(texts))
    assert grammar.decode(texts[0].cuda()) == grammar.decode(texts[0])
    assert grammar.sample(5, 13, torch.Generator("cuda").manual_seed(1)).shape == (5, 14)


def test_integers_are_integers_whoever_made_them():
    n, grammar = np.int64, english_grammar(slip=np.float64(0.25))
    assert torch.equal(grammar.probabilities, english_grammar(slip=0.25).probabilities)
    assert torch.equal(grammar.sample(n(3), n(7), n(5)), grammar.sample(3, 7, 5))
    assert grammar.best_loss(n(7)) == grammar.best_loss(7)
    assert grammar.one_word_loss(n(7)) == grammar.one_word_loss(7)


def without(state):
    return {name: words for name, words in CYCLE.items() if name != state}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (without("start"), "rules must have a state 'start', got 'b', 'c'."),
        ({}, "rules must have a state 'start', got none."),
        (CYCLE | {"b": {}}, "rules must allow at least one word in every state, got none in 'b'."),
        (without("c"), "rules must lead to states that they have, got 'c' after 'two'."),
        (
            CYCLE | {"c": {".": ("b", 1)}},
            "rules must lead to 'start' by '.' and by nothing else, got '.' to 'b'.",
        ),
        (
            CYCLE | {"b": {"two": ("start", 1)}},
            "rules must lead to 'start' by '.' and by nothing else, got 'two' to 'start'.",
        ),
        (
            CYCLE | {"b": {"two": ("c", 0)}},
            "rules must have positive, finite weights, got 0 for 'two' in 'b'.",
        ),
        (
            CYCLE | {"b": {"two": ("c", math.nan)}},
            "rules must have positive, finite weights, got nan for 'two' in 'b'.",
        ),
        (
            CYCLE | {"island": {".": ("start", 1)}},
            "rules must connect every state with 'start', there and back, got 'island' cut off.",
        ),
        (
            CYCLE | {"b": {"two": ("c", 1), "in": ("trap", 1)}, "trap": {"in": ("trap", 1)}},
            "rules must connect every state with 'start', there and back, got 'trap' cut off.",
        ),
    ],
)
def test_rules_that_make_no_grammar(rules, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Grammar(rules)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: english_grammar(slip=1.0), "slip must be a probability in [0, 1), got 1.0."),
        (lambda g: english_grammar(slip=-0.1), "slip must be a probability in [0, 1), got -0.1."),
        (lambda g: english_grammar(slip=math.nan), "slip must be a probability in [0, 1), got nan."),
        (lambda g: g.encode("one three ."), "text must be made of the grammar's 3 words, got 'three'."),
        (lambda g: g.decode([3]), "tokens must lie between 0 and 2, got 3."),
        (lambda g: g.decode([-1, 0]), "tokens must lie between 0 and 2, got -1."),
        (lambda g: g.decode([[1], [2]]), "tokens must be one text, with one axis, got shape [2, 1]."),
        (lambda g: g.decode([0.5]), "tokens must be an int64 tensor, got torch.float32."),
        (lambda g: g.sample(0, 3), "num_sequences must be an integer of at least 1, got 0."),
        (lambda g: g.sample(3, 2.0), "length must be an integer of at least 1, got 2.0."),
        (lambda g: g.sample(3, True), "length must be an integer of at least 1, got True."),
        (lambda g: g.sample(3, 2, seed=-1), "seed must be an integer from 0 to 2**32 - 1, got -1."),
        (lambda g: g.sample(3, 2, seed=2**32), "seed must be an integer from 0 to 2**32 - 1, got 4294967296."),
        (lambda g: g.sample(3, 2, seed=None), "seed must be an integer from 0 to 2**32 - 1, got None."),
        (
            lambda g: g.follow(torch.tensor([[0, 1], [1, 2]])),
            "tokens must begin with '.' (token 0), so that a sentence begins, got a text that does not.",
        ),
        (
            lambda g: g.nll(torch.zeros(2, 0, dtype=torch.int64)),
            "tokens must begin with '.' (token 0), so that a sentence begins, got a text that does not.",
        ),
        (lambda g: g.strays(torch.tensor([0, 7])), "tokens must lie between 0 and 2, got 7."),
        (
            lambda g: g.judge(g.encode(". one")),
            "tokens must have room for the longest sentence (3 words), got 1.",
        ),
        (
            lambda g: Grammar(two_states(0.5, 0.5)).judge(torch.tensor([0, 1, 1])),
            "tokens must have room for the longest sentence (inf words), got 2.",
        ),
        (lambda g: g.best_loss(0), "length must be an integer of at least 1, got 0."),
        (lambda g: g.best_losses(-2), "length must be an integer of at least 1, got -2."),
        (lambda g: g.one_word_loss("7"), "length must be an integer of at least 1, got '7'."),
        (
            lambda g: g.one_word_loss(position=True),
            "length must be given with position, since an endless text has no average position, got None.",
        ),
        (lambda g: check_tokens([0, 1], 2), "tokens must be an int64 tensor, got list."),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(Grammar(CYCLE))
