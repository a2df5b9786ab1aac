"""The trained model against transformers' own Llama on the same numbers; its tokens; what its heads are known to do."""

import copy
import json
import re
import subprocess
import sys
from typing import Any, NamedTuple

import pytest
import torch
from language_texts import ODD, TEXTS
from llama import ask, llama, their_config, their_name
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.positions import Positions, Rotary
from surgeon.models.cuts import Cut, silent, windowed
from surgeon.models.decoder import Sizes
from surgeon.models.language_model import LanguageModel, load
from surgeon.models.language_model_files import find_model
from surgeon.models.language_model_reading import read_model

pytestmark = pytest.mark.long

SENTENCE = "The surgeon cut the wire, and then the attention, which had been sharp, went flat."
SPREAD = 1e-4  # of the logits: what single precision may lose on the way through thirty layers
NEAR_A_TIE = "word word word word word word word"  # behind a cache, what it looks at hangs on the last bits


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load()


@pytest.fixture(scope="module")
def theirs(model):
    return llama(model)


# The oracle


def test_the_texts_are_fifty():
    assert len(TEXTS) == len(set(TEXTS)) == 50


class Read(NamedTuple):
    """What a batch of texts leaves behind, of which some are filled up behind their end."""

    logits: torch.Tensor  # [B, T, vocabulary]
    hidden: torch.Tensor  # [L + 1, B, T, D], the last one normed
    weights: torch.Tensor  # [L, B, H, T, S]

    def of(self, b: int, n: int) -> "Read":
        """One text's `n` tokens."""
        return Read(self.logits[b, :n], self.hidden[:, b, :n], self.weights[:, b, :, :n, :n])

    def up_to(self, t: int) -> "Read":
        return Read(self.logits[:, :t], self.hidden[:, :, :t], self.weights[..., :t, :])

    def followed(self, by: "Read") -> "Read":
        wide = pad(self.weights, (0, by.weights.shape[-1] - self.weights.shape[-1]))
        return Read(
            torch.cat([self.logits, by.logits], 1),
            torch.cat([self.hidden, by.hidden], 2),
            torch.cat([wide, by.weights], 3),
        )

    def agrees(self, other: "Read", text) -> None:
        assert (self.logits - other.logits).abs().max() < SPREAD * other.logits.std(), text
        for layer, (one, another) in enumerate(zip(self.hidden, other.hidden, strict=True)):
            # some columns are a hundred times as large as the rest
            assert torch.allclose(one, another, rtol=1e-5, atol=5 * SPREAD * float(another.std())), (text, layer)
        assert self.weights.shape == other.weights.shape
        assert (self.weights - other.weights).abs().max() < SPREAD, text


def read_by_ours(model: LanguageModel, ids: torch.Tensor, caches=None) -> Read:
    x = model.embed(ids)
    steps = list(model.walk(x, caches=caches))
    hidden = torch.stack([x, *(step.x for step in steps[:-1]), model.norm(steps[-1].x)])
    return Read(model.read(steps[-1].x), hidden, torch.stack([step.weights for step in steps]))


def read_by_theirs(theirs, ids: torch.Tensor, caches=None) -> tuple[Read, Any]:
    """And their cache of it."""
    said = ask(theirs, ids, past_key_values=caches, use_cache=True)
    read = Read(said.logits, torch.stack(said.hidden_states), torch.stack(said.attentions))
    return read, said.past_key_values


@pytest.fixture(scope="module")
def side_by_side(model) -> list[list[list[int]]]:
    """The numbers of all texts, those of about the same length in one batch."""
    batches: list[list[list[int]]] = []
    for ids in sorted((model.tokenize(text)[0] for text in TEXTS), key=len):
        if not batches or len(ids) > 1.5 * len(batches[-1][0]):
            batches.append([])
        batches[-1].append(ids)
    return batches


def test_logits_hidden_states_and_weights_are_transformers_own_behind_a_cache_as_well(model, theirs, side_by_side):
    """The second half behind a cache of the first: theirs behind theirs, and ours of the whole."""
    near_a_tie = model.tokenize(NEAR_A_TIE)[0]
    for texts in side_by_side:
        ids = pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
        T, half = ids.shape[1], (ids.shape[1] + 1) // 2  # one token has no second half
        whole, (expected, kept) = read_by_ours(model, ids), read_by_theirs(theirs, ids)
        caches = [KeyValueCache(T) for _ in model.layers]
        behind, theirs_behind = read_by_ours(model, ids[:, :half], caches), expected.up_to(half)
        if T > 1:
            kept.crop(half - T)
            behind = behind.followed(read_by_ours(model, ids[:, half:], caches))
            theirs_behind = theirs_behind.followed(read_by_theirs(theirs, ids[:, half:], kept)[0])
        for b, text in enumerate(texts):
            one = b, len(text)
            whole.of(*one).agrees(expected.of(*one), text)
            for other in (theirs_behind, whole) if text != near_a_tie else ():
                behind.of(*one).agrees(other.of(*one), text)


def test_a_trace_is_what_transformers_reads(model, theirs, side_by_side):
    """The longest text of each batch, alone."""
    for *_, text in side_by_side:
        trace, (expected, _) = model.trace(text), read_by_theirs(theirs, torch.tensor([text]))
        hidden = torch.cat([trace.hidden[:-1], model.norm(trace.hidden[-1:])])
        Read(trace.logits, hidden, trace.weights).agrees(expected.of(0, len(text)), text)


def test_near_a_tie_a_cache_loses_nothing_but_rounding(model):
    """In single precision the scores of this text differ by up to 4e-4 of their spread, with theirs and with ours."""
    exact = copy.deepcopy(model).double()
    ids = torch.tensor([model.tokenize(NEAR_A_TIE)[0]])
    caches = [KeyValueCache(ids.shape[1]) for _ in exact.layers]
    found = torch.cat([exact(part, (), caches) for part in ids.split(4, dim=1)], dim=1)[0]
    expected = exact.logits(NEAR_A_TIE)
    assert (found - expected).abs().max() < 1e-9 * expected.std()


def test_with_a_cache_token_by_token(model, theirs):
    """Token by token, theirs and ours, and ours against the whole."""
    text = TEXTS[7]
    ids, whole = model.tokenize(text)[0], model.logits(text)
    assert len(ids) == 11
    caches, kept = [KeyValueCache(len(ids)) for _ in model.layers], None
    for t, one in enumerate(ids):
        found = model(torch.tensor([[one]]), (), caches)[0, 0]
        expected = ask(theirs, torch.tensor([[one]]), past_key_values=kept, use_cache=True)
        kept = expected.past_key_values
        for other in (expected.logits[0, 0], whole[t]):
            assert (found - other).abs().max() < SPREAD * other.std()


def test_what_it_writes_is_what_transformers_writes(model, theirs):
    ids = model.tokenize(SENTENCE)[0]
    written = theirs.generate(torch.tensor([ids]), max_new_tokens=5, do_sample=False, pad_token_id=2)[0, len(ids) :]
    assert model.generate(SENTENCE, 5) == model.decode(written.tolist())


# Tokens


def test_tokens_say_the_text_again(model):
    for text in TEXTS:
        ids, pieces = model.tokenize(text)
        assert model.decode(ids) == text
        assert len(pieces) == len(ids)
        if text.isascii():
            assert "".join(pieces) == text
    assert model.tokenize("") == ([], [])


def test_tokens_are_those_of_the_published_tokenizer(model):
    """Digits one by one; bytes where there is no word; what marks turns is one token."""
    assert model.tokenize("The capital of France is")[1] == ["The", " capital", " of", " France", " is"]
    assert model.tokenize("In 2024,")[1] == ["In", " ", "2", "0", "2", "4", ","]
    ids, pieces = model.tokenize("<|im_start|>user\n")
    assert (ids[0], pieces) == (1, ["<|im_start|>", "user", "\n"])
    assert model.tokenize("<|endoftext|>")[0] == [0]
    assert model.end == 2


def test_transformers_writes_the_same_numbers_with_it(model):
    """And it is made as the published one says: digits first, then bytes."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    said = json.loads(model.tokenizer.to_str())
    assert [part["type"] for part in said["pre_tokenizer"]["pretokenizers"]] == ["Digits", "ByteLevel"]
    theirs = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(model.tokenizer.to_str()))
    for text in ODD:
        assert theirs(text)["input_ids"] == model.tokenize(text)[0]


# What it is known to do


def test_it_knows_where_it_is(model):
    assert model.sizes == Sizes(49152, 30, 9, 3, 64, 576, 1536, 100_000.0, 1e-5, 8192)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008 + 49152 * 576
    assert model.unembed.weight.data_ptr() == model.word.weight.data_ptr()
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_cuts_cost_what_they_were_seen_to_cost(model):
    whole = model.loss(SENTENCE)
    assert 3 < whole < 6
    assert model.loss(SENTENCE, cuts=[Cut(causal=False)]) < whole - 1  # the answer is in sight
    for cut in (
        Cut(scale=8.0),
        Cut(positions=Positions()),
        Cut(positions=Rotary(base=100_000.0, pairs="neighbours")),
        Cut(weights=silent),
    ):
        assert model.loss(SENTENCE, cuts=[cut]) > whole + 0.2
    narrow, with_sink = (model.loss(SENTENCE, cuts=[windowed(4, sinks=n)]) for n in (0, 1))
    assert narrow > with_sink + 0.2


def test_many_heads_look_at_the_first_token_and_some_at_the_one_before(model):
    weights = model.trace(SENTENCE).weights
    first = weights[:, :, 1:, 0].mean(-1)
    before = weights.diagonal(-1, 2, 3).mean(-1)
    assert (first > 0.5).sum() > 60
    assert (before > 0.5).sum() >= 3


def test_gradients_reach_the_tokens_that_are_seen(model):
    x = model.embed(torch.tensor([model.tokenize(SENTENCE)[0]])).requires_grad_()
    *_, step = model.walk(x, [Cut(hide=0)])
    (gradient,) = torch.autograd.grad(step.x[0, 9].sum(), x)
    assert [bool(g.any()) for g in gradient[0]] == [0 < t <= 9 for t in range(x.shape[1])]


# Loading


def test_other_folders_of_its_kind_are_read(tmp_path, model):
    """Written by transformers itself, in one file and in shards; halves are rotated there."""
    from transformers import LlamaForCausalLM

    sizes = Sizes(49152, 2, 6, 2, 10, 42, 29, 700.0, 1e-6, 128)
    for tied, shards in ((True, "1GB"), (False, "4MB")):
        config = their_config(sizes)
        config.tie_word_embeddings = tied
        torch.manual_seed(5)
        theirs = LlamaForCausalLM(config).eval()
        folder = tmp_path / shards
        theirs.save_pretrained(folder, max_shard_size=shards)
        model.tokenizer.save(str(folder / "tokenizer.json"))
        assert len(list(folder.glob("*.safetensors"))) == (1 if tied else 3)
        ours = load(folder)
        assert ours.sizes == sizes
        logits = ask(theirs, torch.tensor([model.tokenize(SENTENCE)[0]])).logits[0]
        assert (ours.logits(SENTENCE) - logits).abs().max() < SPREAD * logits.std()


def test_a_folder_says_what_is_wrong_with_it(tmp_path, model):
    right = their_config(model.sizes).to_dict() | {"model_type": "llama"}

    def written(**changes):
        (tmp_path / "config.json").write_text(json.dumps(right | changes))

    for name, wrong in (
        ("model_type", "qwen2"),
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("rope_parameters", {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}),
    ):
        written(**{name: wrong})
        said = "rope_type" if name == "rope_parameters" else name
        with pytest.raises(ValueError, match=rf"config\.json must say {said} = .* for this model's layers, got "):
            load(tmp_path)
    written(rope_parameters=None, rope_theta=5e5, rope_scaling={"type": "linear", "factor": 2.0})
    with pytest.raises(ValueError, match=r"config\.json must say rope_type = 'default'.*, got 'linear'\.$"):
        load(tmp_path)
    written()
    with pytest.raises(ValueError, match=rf"^model\.safetensors must be in {re.escape(str(tmp_path))}, got no such"):
        load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "b.safetensors"}}')
    with pytest.raises(ValueError, match=r"^b\.safetensors must be in "):
        load(tmp_path)


def test_rows_for_neighbours_read_as_rows_for_halves_give_other_scores(model):
    """The file's own order against ours: turned as neighbours it is the same model; as halves it is another."""
    raw = copy.deepcopy(model.layers[0])
    for name, heads in (("W_Q", 9), ("W_K", 3)):
        weight = getattr(raw, name).weight
        back = weight.unflatten(0, (heads, 2, 32)).transpose(1, 2).flatten(0, 2)  # as the file has them
        getattr(raw, name).weight = torch.nn.Parameter(back, requires_grad=False)
    x = model.embed(torch.tensor([model.tokenize(SENTENCE)[0]]))
    with torch.no_grad():
        right = model.layers[0](x, model.positions, []).scores
        neighbours = raw(x, Rotary(base=100_000.0, pairs="neighbours"), []).scores
        halves = raw(x, model.positions, []).scores
    torch.testing.assert_close(neighbours, right, rtol=1e-4, atol=1e-3)
    assert (halves - right).std() > 0.3 * right.std()


def test_it_is_read_in_little_memory():
    """1.5 GiB with a page's libraries, and a text read."""
    program = (
        "import torch, pandas, matplotlib.pyplot, tokenizers\n"
        "from benchmarks.memory import resident\n"
        "from surgeon.models.language_model import load\n"
        "load().trace('word ' * 150)\n"
        "print(resident('VmHWM'))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0.5 * 2**30 < float(run.stdout) < 1.5 * 2**30


def test_its_state_has_every_tensor_of_the_file(model, theirs):
    contents = read_model(find_model())
    assert set(contents.state) == set(model.state_dict())
    assert {their_name(name) for name in contents.state} == set(theirs.state_dict())


def test_importing_it_loads_nothing_that_only_the_model_needs():
    program = (
        "import sys, surgeon.models.language_model\nprint({'tokenizers', 'safetensors', 'gguf'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
