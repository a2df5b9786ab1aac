"""`examine`: the whole check-up, from the first question to the report."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from surgeon.arguments import check_seed
from surgeon.checkup.adapting import settle
from surgeon.checkup.assent import assent, check_accept
from surgeon.checkup.course import conduct, conduct_again
from surgeon.checkup.designs.declared import Said
from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import ALL_LAWS
from surgeon.checkup.notes import Notes
from surgeon.checkup.outside import Outside
from surgeon.checkup.patience import OutOfPatience, listening, within
from surgeon.checkup.probes.compiled import has_compiler
from surgeon.checkup.probes.tokens import examine_layer
from surgeon.checkup.report import Report
from surgeon.checkup.subjects.answering import Aside
from surgeon.checkup.subjects.declaration import Declaration, one_of
from surgeon.checkup.subjects.holds import hold, title_of
from surgeon.checkup.subjects.layer import hold_layer
from surgeon.checkup.subjects.library import of_transformers, with_masks
from surgeon.checkup.subjects.pytorchs import with_added_keys
from surgeon.checkup.subjects.surroundings import ordinary

DEAD_ROWS = ("zero", "nan", "uniform", "any")
ALIGNMENTS = ("bottom-right", "top-left", "any")


def examine(
    subject: Callable[..., Any],
    *,
    layout: str | None = None,
    names: Mapping[str, str] | None = None,
    mask: str | None = None,
    mask_shape: str | None = None,
    padding: str | None = None,
    causal: str | bool | None = None,
    dropout: str | None = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    projections: Sequence[str] | bool | None = None,
    fused: str | None = None,
    widths: tuple[int, int] | None = None,
    scale: float | Callable[[int, int, int], float] | None = None,
    positions: Any = None,
    window: int | tuple[int, int] | None = None,
    sliding_window: int | None = None,
    sink: bool | float | Sequence[float] | Tensor | None = None,
    softcap: float | None = None,
    qk_norm: str | Callable[..., Any] | None = None,
    documents: str | Callable[..., Any] | None = None,
    picture: Sequence[Any] | None = None,
    linear: str | Callable[..., Any] | None = None,
    normalised: bool | None = None,
    width: int | None = None,
    dead_rows: str | None = None,
    alignment: str | None = None,
    accept: Mapping[str, str] | None = None,
    options: (
        Mapping[str, Any] | Callable[[int], Mapping[str, Any]] | None
    ) = None,
    compiled: bool = False,
    patience: float | None = 120.0,
    seed: int = 0,
) -> Report:
    r"""Examine anyone's attention, by its behaviour alone.

    Inputs are drawn at random, answers are compared with
    :math:`\mathrm{softmax}(QK^T/\sqrt{d_k})V` in float64 and with the ways in
    which it goes wrong; what explains the answers to rounding names the
    fault. One fault fails one finding; what cannot be told while it lasts is
    None, and says so.

    Parameters
    ----------
    subject : callable or torch.nn.Module
        ``f(Q, K, V, mask)``, or a module on `x`. Modules are copied: the one
        that is given is left alone. A module on `x` is asked through its
        projections, which are found by their usual names or given; so are
        `torch.nn.MultiheadAttention` and the layers made of it, through
        identities. Without them, less can be told. Of a layer of
        `transformers`, its class and configuration say the rest.
    layout : str, optional
        How a function takes Q, K and V, and gives the output: "B T d", "B H T
        d", "B T H d", "T B d", "B T (H d)" or "T B (H d)". If not given, "B T
        d", or "B H T d" where it wants four axes. For a module on `x` whose
        projections are not known, a layout that begins with "T B" says that
        its first axis is no batch.
    names : mapping, optional
        What the subject calls Q, K, V, x, mask and context: ``{"Q": "query",
        "mask": "attn_mask"}``.
    mask : str, optional
        How it reads masks: "True attends" (the default), "True blocks",
        "additive" (0 and minus infinity), "additive, lowest" (0 and the
        lowest finite number), "0-1", "none" (it takes none), or "find":
        whichever of them it obeys.
    mask_shape : str, optional
        "T S", "B T S", "B 1 T S", "B H T S" or "(B H) T S"; if not given, one
        that it takes.
    padding : str, optional
        Its argument for a mask [B, S] over keys, in the convention of `mask`.
    causal : str or bool, optional
        Its argument that asks for a causal mask; True if it is causal by
        itself.
    dropout : str, optional
        Its argument for the probability of dropout. Modules are set to
        training instead.
    heads, kv_heads : int, optional
        Heads to ask with, or that a module has, if it does not tell.
    projections : sequence of str or False, optional
        Submodules of a module on `x`: queries, keys, values, and the output
        projection; or one that gives all three, and the output projection.
        False for a module that is to be asked from outside alone.
    fused : str, optional
        The order of the three in one projection: "3 H d", "H 3 d", "H d 3",
        "d 3 H", or "G q k v" where groups of heads share a key head. If not
        given, the one in which they act as queries, keys and values.
    widths : (int, int), optional
        d_k and d_v to ask a function with. If not given, 7 and 11, and
        everything again with 64 and 64, and in short with 8, 128 and 256,
        which may lead another way through it: PyTorch's flash kernel takes no
        widths that differ. Where it takes none, 8 and 8 first.
    scale : float or callable, optional
        What it is meant to multiply scores by, or a function of d_k, queries
        and keys; one over the root of d_k if not given.
    positions : str, mapping, scheme or callable, optional
        How places come in: "rotary" ("rotary base=500000 share=0.5
        pairs=neighbours", or a mapping with "kind" for the first word),
        "alibi" ("alibi slopes=0.5,0.25"), "distance" (a learned number for
        each head and distance, which is read off), "none" (they must not);
        a scheme of `surgeon.anatomy.positions`; or a function of Q, K and the
        places of both, [T] and [S], that returns Q, K and what is added to
        the scores, or None.
    window, sliding_window : int, optional
        How many keys a query sees to each side, or (behind, ahead), its own
        not counted; or how many it sees behind, its own counted.
    sink : bool, float or sequence, optional
        A score beside the keys: True for one a head that is learned, and read
        off; a number, 0.0 for softmax-plus-one; or one for each head.
    softcap : float, optional
        What scores are bent by, c tanh(s / c), before keys are hidden.
    qk_norm : str or callable, optional
        How queries and keys are normalised: "rms", "l2" or "layer", with
        "after" if that is after the rotation, "all heads" if these share a
        length, and "eps=1e-5"; weights are read off, and so is the factor of
        "l2", if `scale` does not say. Or a function of x, [B, H, T, d], and
        "Q" or "K".
    documents : str or callable, optional
        Its argument that says which document each token belongs to, integers
        [B, T]; or a function of these that returns arguments by name, a mask
        among them, as for `torch.nn.MultiheadAttention`.
    picture : (int, int, window) or (int, int, window, str), optional
        Rows and columns of a picture whose tokens come row by row, and the
        window: a number, or (height, width). The picture is cut into such
        blocks, of which the last may be smaller: what fills them up is
        hidden. With "cut" or "shifted" behind, each pixel sees such a window
        round itself, which at the border is cut, or shifted to stay whole, as
        NATTEN does.
    linear : str or callable, optional
        The feature map, if weights are products of features: "elu+1",
        "relu", "exp", "identity", or a function.
    normalised : bool, optional
        Whether these are divided by their sum; they are, if not given.
    width : int, optional
        Of `x`, for such a module or a function on `x`, if it does not tell.
    dead_rows : str, optional
        What is expected of a query that may look at nothing: "zero", "nan",
        "uniform", or "any". If not given, "zero", and NaN is a hazard.
    alignment : str, optional
        What is expected of a causal mask with more keys than queries:
        "bottom-right", "top-left", or "any". If not given, "bottom-right",
        and the other is a hazard; of PyTorch's own function "top-left", as it
        documents.
    accept : mapping, optional
        Findings that are known and meant, each with its reason: ``{"scale
        before overflow": "we run in bfloat16"}``. They stay in the report,
        and raise nothing.
    options : mapping or callable, optional
        Further arguments for each call; a callable is given the number of
        tokens and returns them.
    compiled : bool
        Whether it is asked once more after `torch.compile`, which takes some
        twenty seconds and a C++ compiler.
    patience : float or None
        Seconds after which the examination is given up: "answers" fails, and
        says during which law. None for no limit.
    seed : int
        Of the inputs.

    Returns
    -------
    Report
        `portrait`, `findings`, `failed`, `accepted`, `diagnosis`, `warnings`,
        `details`, `raise_if_failed()`; prints what is wrong, and what to
        write instead.

    Raises
    ------
    ValueError
        If an argument is none of what is listed here, or if the subject takes
        integers, as a language model does, which `surgeon.examine_model` is
        for; it says what to hand in instead.
        What the subject raises otherwise becomes a finding.

    Notes
    -----
    In a test suite: ``def test_attention():
    surgeon.examine(my_attention).raise_if_failed()``. From a shell: ``python
    -m surgeon.checkup package.module:function``.

    Patience ends by a timer of the system (SIGALRM): in the main thread, on
    systems that have one, if no other such timer runs; a call into C is
    waited for. A subject that swallows its exception hears of it again; one
    that swallows it for ever within one call can be ended only from outside,
    which is what the command line does. Under `torch.no_grad`,
    `torch.inference_mode` and another default device the report is the same:
    it is examined with gradients, on the CPU. Warnings are caught for the
    process while this runs, not for its thread.

    Examples
    --------
    >>> from surgeon import attention
    >>> examine(attention).failed
    []
    >>> def forgot_the_root(Q, K, V, mask=None):
    ...     return attention(Q / K.shape[-1] ** 0.5, K, V, mask)
    >>> [finding.name for finding in examine(forgot_the_root).failed]
    ['scale']
    """
    started = time.perf_counter()
    declared = Declaration(
        layout=layout,
        names=dict(names or {}),
        mask=mask,
        mask_shape=mask_shape,
        padding=padding,
        causal=causal,
        dropout=dropout,
        heads=heads,
        kv_heads=kv_heads,
        projections=projections,
        fused=fused,
        widths=widths,
        width=width,
        meant=Said(
            positions=positions,
            window=window,
            sliding_window=sliding_window,
            sink=sink,
            softcap=softcap,
            qk_norm=qk_norm,
            documents=documents,
            picture=picture,
            linear=linear,
            normalised=normalised,
            scale=scale,
        ),
        options=options,
    )
    accepted = check_accept(accept)
    one_of("dead_rows", dead_rows, DEAD_ROWS)
    one_of("alignment", alignment, ALIGNMENTS)
    if patience is not None and not 0 < patience < math.inf:
        raise ValueError(
            "patience must be a positive number of seconds or None, got"
            f" {patience}."
        )
    check_seed(seed)
    if compiled:
        has_compiler()  # what is imported late is not broken off
    heard: list[str] = []
    with ordinary(), listening(heard):
        choices = {"dead_rows": dead_rows, "alignment": alignment}
        notes = Notes()
        title: Callable[[], str] = partial(title_of, subject)
        try:
            with within(patience):
                notes, title, course = _prepare(
                    subject, declared, dead_rows or "zero", alignment, seed
                )
                notes.compiled = compiled
                notes.demanded = {
                    name
                    for name, it in choices.items()
                    if it not in (None, "any")
                }
                course()
        except OutOfPatience:
            _give_up(notes, patience)
    told = notes.findings
    laws = [name for name in ALL_LAWS if name in told]
    findings = assent((told[name] for name in laws), accepted)
    seconds = time.perf_counter() - started
    return Report(title(), findings, seconds, heard, notes.portrait)


def _prepare(
    subject: Callable[..., Any],
    declared: Declaration,
    dead_rows: str,
    alignment: str | None,
    seed: int,
) -> tuple[Notes, Callable[[], str], Callable[[], None]]:
    """The notes, the report's title once all is settled, and the course."""
    heads = declared.meant.design().heads
    if (
        heads > 1
        and not declared.heads
        and not isinstance(subject, nn.Module)
    ):
        declared = replace(declared, heads=heads)
    on_x = declared.width is not None and not isinstance(subject, nn.Module)
    known = None if on_x else of_transformers(subject, declared)
    declared = known.declared if known else with_masks(subject, declared)
    declared = with_added_keys(subject, declared)
    aside = ""
    try:
        held = None if on_x else hold(subject, declared, known)
    except Aside as error:
        held, aside = None, str(error)
    if held is None:
        layer = hold_layer(subject, declared)
        outside = Outside(layer, dead_rows, seed, aside)
        outside.designed = declared.meant.design().parts
        outside.orderless = declared.meant.positions == "none"
        title = f"{layer.title} (on x, from outside)"
        find = declared.mask == "find"
        course = partial(examine_layer, outside, find=find)
        return outside, lambda: title, course
    # what PyTorch documents for its own, or what a cache needs
    theirs = held.title == "scaled_dot_product_attention"
    usual = "top-left" if theirs else "bottom-right"
    exam = Exam(held, dead_rows, alignment or usual, seed)
    exam.declare(declared.meant.design())
    exam.declared.check_heads(held.held.heads)
    return (
        exam,
        lambda: f"{held.title} ({held.held})",
        partial(_examine, exam, declared),
    )


def _examine(exam: Exam, declared: Declaration) -> None:
    settle(exam, declared.layout)
    if number := declared.meant.number:
        exam.how["factor"] = exam.meant = number
    conduct(exam, find=declared.mask == "find")
    exam.portrait += exam.subject.said
    conduct_again(exam)


def _give_up(notes: Notes, patience: float | None) -> None:
    meaning = (
        f"The examination was given up after {patience:g} s, while"
        f" “{notes.trying}” was tried."
    )
    why = f"Cannot be told: {meaning[0].lower()}{meaning[1:]}"
    notes.break_off("no answer", meaning, why)
