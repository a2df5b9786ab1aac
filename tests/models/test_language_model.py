"""The trained model against transformers' own Llama on the same numbers; its tokens; what its heads are known to do."""

import copy
import json
import re
import subprocess
import sys

import pytest
import torch
from language_texts import ODD, TEXTS
from llama import ask, llama, their_config, their_name

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.positions import Positions, Rotary
from surgeon.models.cuts import Cut, silent, windowed
from surgeon.models.decoder import Sizes
from surgeon.models.language_model import LanguageModel, Trace, load
from surgeon.models.language_model_files import find_model
from surgeon.models.language_model_reading import read_model

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


def compare_behind_a_cache(model: LanguageModel, theirs, text: str, whole: Trace) -> None:
    """The second half behind a cache of the first: theirs behind theirs, and ours of the whole."""
    ids = torch.tensor([model.tokenize(text)[0]])
    half = (ids.shape[1] + 1) // 2  # one token has no second half
    caches, kept = [KeyValueCache(ids.shape[1]) for _ in model.layers], None
    for some in (range(half), range(half, ids.shape[1]))[: ids.shape[1]]:
        part = ids[:, some]
        steps = list(model.walk(model.embed(part), caches=caches))
        found, weights = model.read(steps[-1].x)[0], torch.cat([step.weights for step in steps])
        expected = ask(theirs, part[0].tolist(), past_key_values=kept, use_cache=True)
        kept = expected.past_key_values
        for other in (expected.logits[0], whole.logits[some]):
            assert (found - other).abs().max() < SPREAD * other.std(), text
        for other in (torch.cat(expected.attentions), whole.weights[..., some, : some.stop]):
            assert (weights - other).abs().max() < SPREAD, text


def test_logits_hidden_states_and_weights_are_transformers_own_behind_a_cache_as_well(model, theirs):
    for text in TEXTS:
        trace, expected = model.trace(text), ask(theirs, model.tokenize(text)[0])
        logits = expected.logits[0]
        assert (trace.logits - logits).abs().max() < SPREAD * logits.std(), text
        states = torch.cat(expected.hidden_states)
        ours = torch.cat([trace.hidden[:-1], model.norm(trace.hidden[-1:])])
        for layer, (one, other) in enumerate(zip(ours, states, strict=True)):
            # some columns are a hundred times as large as the rest
            assert torch.allclose(one, other, rtol=1e-5, atol=5 * SPREAD * float(other.std())), (text, layer)
        assert (trace.weights - torch.cat(expected.attentions)).abs().max() < SPREAD, text
        if text != NEAR_A_TIE:
            compare_behind_a_cache(model, theirs, text, trace)


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
    text = TEXTS[30]
    ids, whole = model.tokenize(text)[0], model.logits(text)
    caches, kept = [KeyValueCache(len(ids)) for _ in model.layers], None
    for t, one in enumerate(ids):
        found = model(torch.tensor([[one]]), (), caches)[0, 0]
        expected = ask(theirs, [one], past_key_values=kept, use_cache=True)
        kept = expected.past_key_values
        for other in (expected.logits[0, 0], whole[t]):
            assert (found - other).abs().max() < SPREAD * other.std()


def test_what_it_writes_is_what_transformers_writes(model, theirs):
    ids = model.tokenize(SENTENCE)[0]
    written = theirs.generate(torch.tensor([ids]), max_new_tokens=9, do_sample=False, pad_token_id=2)[0, len(ids) :]
    assert model.generate(SENTENCE, 9) == model.decode(written.tolist())


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
        logits = ask(theirs, model.tokenize(SENTENCE)[0]).logits[0]
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


def test_its_state_has_every_tensor_of_the_file(model):
    contents = read_model(find_model())
    assert set(contents.state) == set(model.state_dict())
    assert {their_name(name) for name in contents.state} == set(llama(model).state_dict())


def test_importing_it_loads_nothing_that_only_the_model_needs():
    program = (
        "import sys, surgeon.models.language_model\nprint({'tokenizers', 'safetensors', 'gguf'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
