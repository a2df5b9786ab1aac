"""Designs: a wrong one fails its own finding and is told for what it is; its right twin fails nothing."""

import re

import pytest
import torch
from sound_layers import HAZARDS, LAYERS, TRANSFORMERS
from torch import Tensor, nn

from surgeon import examine
from surgeon.checkup.finding import ALL_LAWS
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.designs.catalogue import RIGHT, WRONG

# What the diagnosis has to say of each: the finding's name alone does not tell one from the next.
MEANINGS = {
    "slopes_one_step_early": "with h from 0",
    "distance_rewarded": "Distance raises scores",
    "one_slope_for_all": "the first head's slope",
    "bias_scaled": "multiplied by the scale",
    "ahead_for_behind": "the other sign",
    "bias_of_the_next_query": "another for keys ahead",
    "bias_lost_for_the_last": "nothing is added for them. So it is for the last query alone",
    "capped_after_the_mask": "capped after keys are hidden",
    "times_its_own_tanh": "is multiplied by s, not by c",
    "cap_forgotten": "Scores are not capped",
    "not_stretched_back": "is not multiplied by c",
    "capped_before_scaling": "capped before they are scaled",
    "cut_off_hard": "where they should bend",
    "PaddingOfAnother": "padding of other sequences",
    "CausalUnlessPadded": "Told of padding, outputs depend on later tokens",
    "SlowRoadOpen": "training alone",
    "BackwardUnlikeForward": "with the same weights dropped",
    "FirstMaskKept": "what was asked before",
    "ShiftOfADecoder": "another query's scores",
    "norm_along_tokens": "over the tokens, not over the width",
    "norm_of_the_same_row": "the norm of another row",
    "norm_of_the_sequence": "over all tokens together",
    "norms_uncalled": "Queries and keys are not normalised",
    "queries_alone_normed": "The keys are not normalised",
    "weights_of_the_norm_left": "weights that were declared are left out",
    "divided_by_ten": "an unusual factor",
    "values_normed": "Values are normalised, and queries are not.",
    "NormOfAllHeads": "over all heads together",
    "root_besides": "an unusual factor",
    "last_block_unhidden": "empty keys of a last block",
    "factor_grows_with_blocks": "blocks of 64",
    "strides_of_wide_heads": "not contiguous",
    "mask_of_the_first": "Padding acts",
    "single_query_unmasked": "With 1 query and 7 keys, what the mask hides is seen.",
    "mask_for_a_bias": "zeros and ones are added",
    "head_by_the_wrong_divisor": "the key heads 0 0 0 0 1 1 1 1",
    "documents_unread": "Documents see each other",
    "documents_out_of_order": "later tokens",
    "documents_of_the_first": "the documents of the first",
    "next_document_seen": "Documents act",
    "normaliser_of_all": "the sum over all keys",
    "normaliser_missing": "not divided by their sum",
    "keys_without_features": "Keys have another feature map",
    "normaliser_along_heads": "outside the values",
    "normaliser_cut": "the gradient of K is not",
    "maps_apart": "Queries have another feature map",
    "height_for_width": "taken for each other",
    "edge_filled_and_seen": "filled up",
    "stripes_for_windows": "as wide as the picture",
    "narrow_windows_in_the_next_row": "counted with the first in the next",
    "tall_for_wide": "The height and the width of the window",
    "neighbours_in_the_next_row": "goes on in the next",
    "neighbours_across_the_border": "at the opposite border",
    "neighbours_before_alone": "One column too few is seen on the right",
    "neighbourhoods_unshifted": "are cut at the border",
    "weights_without_the_mask": "its mask is lost",
    "one_mask_for_the_first": "hides nothing from the sequences after the first",
    "square_masks_alone": "what the mask hides is seen",
    "padding_for_the_mask": "the mask is lost",
    "multiplied_in_bfloat16": "computed in half precision",
    "lowest_of_another_precision": "Under autocast",
    "pairs_mixed": "angles that are laid out for neighbours",
    "halves_for_neighbours": "Halves are pairs, not neighbours",
    "neighbours_for_halves": "Neighbours are pairs, not halves",
    "turned_along_heads": "nothing is turned along the tokens",
    "usual_base": "The base is 10,000, not 500,000",
    "turned_whole": "100% of the width",
    "part_by_the_whole_width": "Other columns are pairs: 0 with 4, 1 with 5, not 0 with 2, 1 with 3",
    "queries_unturned": "Queries are not turned",
    "keys_turned_back": "in opposite directions",
    "frequencies_from_one": "Each has the frequency of the pair before it",
    "starts_at_zero": "Angles of another offset",
    "OffsetForgotten": "what was asked before",
    "sink_forgotten": "The sink takes nothing",
    "one_unshifted": "is not shifted",
    "sink_counted_twice": "counted twice",
    "sink_scaled": "multiplied by the scale",
    "sinks_in_reverse": "in reverse order",
    "one_key_too_many": "One key too many is seen behind",
    "one_key_too_few": "One key too few is seen behind",
    "window_without_end": "The window hides nothing",
    "window_ahead": "later tokens",
    "one_too_few_ahead": "One key too few is seen ahead",
    "window_reversed": "ahead instead of behind",
    "blocks_for_a_band": "in blocks of 3",
}


@pytest.mark.long
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_design_fails_its_own_finding_and_is_told_for_what_it_is(name):
    report = WRONG[name].examine()
    assert [finding.name for finding in report.failed] == [WRONG[name].finding], report.diagnosis
    assert MEANINGS[name] in report[WRONG[name].finding].meaning


@pytest.mark.long
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_design_fails_nothing(name):
    report = RIGHT[name].examine()
    assert report.failed == [], report.diagnosis
    assert report["answers"].passed


# `.ci/matrix.py` asks all of them, from five seeds and in both precisions.
@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in LAYERS if not name.endswith("sdpa")])
def test_a_layer_that_people_have_has_no_fault(name):
    make, held = LAYERS[name]
    report = examine(make(), **held)
    assert not [finding for finding in report.failed if finding.weight == "fault"], report.diagnosis
    assert {finding.name for finding in report.failed} <= (HAZARDS if name in TRANSFORMERS else set())
    assert report["answers"].passed


def question(held, T: int, S: int, d: int) -> list[Tensor]:
    """Q, K and V of a design's shape."""
    heads, kv_heads = held.get("heads"), held.get("kv_heads", held.get("heads"))
    lead = [(2, h) if h else (2,) for h in (heads, kv_heads, kv_heads)]
    return [torch.randn(*a, n, d, dtype=torch.float64) for a, n in zip(lead, (T, S, S), strict=True)]


def answers(subject, held) -> list[Tensor]:
    """Outputs and gradients, of short and long texts, with a mask, padding or documents where it takes them."""
    torch.manual_seed(1)
    if isinstance(subject, nn.Module):
        x, given = torch.randn(2, 6, 28), {}
        said = [subject.eval()(x[:, :4])]
        if "padding" in held:
            given = {held["padding"]: torch.arange(6) < torch.tensor([[6], [4]])}
        if isinstance(held.get("causal"), str):
            given[held["causal"]] = True
        said.append(subject(x, **given))
        subject.train()
        x.requires_grad_()
        torch.manual_seed(2)
        said.append(subject(x, **given))
        (said := [out[0] if isinstance(out, tuple) else out for out in said]).extend(
            torch.autograd.grad(said[-1].sum(), x)
        )
        return [out.detach() for out in said]
    said, more = [], {}
    usual = [(6, 6, 8), (2, 6, 8), (2, 9, 8), (1, 6, 8), (5, 100, 8), (5, 5, 64)]
    sizes = [(15, 15, 8)] if "picture" in held else usual
    if "documents" in held:
        sizes, more = usual[:1], {held["documents"]: torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 1, 2, 2, 2]])}
    for T, S, d in sizes:
        Q, K, V = question(held, T, S, d)
        if held.get("heads"):  # as they come out of a layer
            Q, K, V = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (Q, K, V))
        K.requires_grad_()
        said.append(subject(Q, K, V, **more))
        said.extend(torch.autograd.grad(said[-1].square().sum(), K))
        if held.get("mask") != "none":
            mask = torch.rand(2, *[1] * (Q.ndim - 3), T, S) > 0.3
            mask[..., 0] = True
            said.append(subject(Q, K, V, mask, **more))
    return [out.detach() for out in said]


# Those of `questions` differ in what is not asked here.
@pytest.mark.parametrize("name", [name for name in WRONG if not WRONG[name].made.__module__.endswith("questions")])
def test_a_wrong_design_is_not_its_twin(name):
    """Without the check-up: by what they answer."""
    bad, good = (answers(it.subject(), WRONG[name].twin.held) for it in (WRONG[name], WRONG[name].twin))
    assert max(float((a - b).abs().max()) for a, b in zip(bad, good, strict=True)) > 1e-3
    assert all(out.isfinite().all() for out in bad + good)


def test_the_designs_are_many_and_most_of_the_wrong_ones_were_shipped():
    assert len(WRONG) >= 35
    assert sum(bool(bad.thread) for bad in WRONG.values()) > len(WRONG) / 2
    assert len(RIGHT) + len(LAYERS) >= 50
    assert {bad.twin.name for bad in WRONG.values()} <= set(RIGHT)
    assert not set(WRONG) & (set(RIGHT) | set(ZOO))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_design_has_its_story(name):
    bad = WRONG[name]
    assert bad.name == name == bad.made.__name__
    assert bad.story.endswith(".")
    assert bad.twin.design.endswith(".")
    assert bad.repair.endswith(".")
    assert bad.finding in ALL_LAWS
    assert re.fullmatch(r"([\w.-]+/[\w.-]+#\d+)?", bad.thread)
    assert bad.address == "" or re.fullmatch(r"https://github.com/[\w.-]+/[\w.-]+/issues/\d+", bad.address)


def test_designs_are_made_without_touching_the_global_generator():
    state = torch.get_rng_state()
    made = [it.subject() for it in (*RIGHT.values(), *WRONG.values())]
    assert len(made) == len(RIGHT) + len(WRONG)
    assert torch.equal(torch.get_rng_state(), state)
