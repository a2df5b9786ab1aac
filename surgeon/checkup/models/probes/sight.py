"""Who sees whom: the future is hidden, the past and the token are seen."""

import torch
from torch import Tensor, nn

from surgeon.checkup.models.exam import LARGEST, ModelExam
from surgeon.checkup.models.laws import FUTURE
from surgeon.checkup.subjects.answering import SubjectError

EVALUATING, TRAINING = FUTURE
PAST, REACH = "the past is seen", "reach"


def probe_sight(exam: ModelExam) -> None:
    """The map of what moves, by tokens, and by derivative if it can be."""
    exam.trying = EVALUATING
    sight = exam.sight = by_tokens(exam)
    seen = sight > exam.share
    later = torch.ones_like(seen).triu(1)
    if exam.kind is None:
        exam.kind = _kind(exam, seen, later)
    if exam.kind == "encoder":
        exam.skip(*FUTURE, why="It reads both ways.")
        _probe_past(exam, seen)
        return
    if exam.kind is None:
        exam.skip(
            *FUTURE,
            PAST,
            REACH,
            why=(
                "Cannot be told: its outputs depend on earlier and later"
                ' tokens. Say kind="decoder" if they should not, or'
                ' kind="encoder".'
            ),
        )
        return
    _probe_future(exam, seen, later)
    _probe_past(exam, seen)


def by_tokens(exam: ModelExam, *, training: bool = False) -> Tensor:
    """[T, T]: how far output `i` moves when token `j` is another.

    As a share of the largest output. In training each is asked by itself,
    since dropout is drawn anew for every row of a batch.
    """
    asked, T = exam.question(1), exam.T
    total = torch.zeros(T, T, dtype=torch.float64)
    for step in (1, 2):
        other = exam.others(asked.ids, step)
        rows = asked.rows(*[0] * (T + 1))
        each = torch.arange(T)
        rows.ids[each + 1, each] = other[0]
        if training:
            told = torch.cat(
                [exam.ask(rows.rows(n), training=True) for n in range(T + 1)]
            )
        else:
            told = exam.ask(rows)
        size = float(told[0].abs().max()) or 1.0
        moved = (told[1:] - told[0]).abs().amax(-1).T / size
        total = torch.maximum(total, moved.nan_to_num(torch.inf))
    return total


def by_derivative(exam: ModelExam) -> Tensor | None:
    """[T, T]: the slope of output `i` by the embedding of token `j`.

    As a share of the largest; None if it takes no embeddings.
    """
    model = exam.subject.model
    if not exam.adapter.takes("embeds") or not isinstance(model, nn.Module):
        return None
    tables = (m for m in model.modules() if isinstance(m, nn.Embedding))
    table = next(tables, None)
    if table is None or exam.adapter.kind == "encoder-decoder":
        return None
    width, T = table.embedding_dim, exam.T
    scale = float(table.weight.detach().double().std())
    dtype = torch.float64 if exam.subject.double else table.weight.dtype
    x = (scale * exam.hidden(1, T, width)).to(dtype).requires_grad_()
    asked = exam.question(1).but(embeds=x)
    rows = []
    with torch.enable_grad():
        output = exam.subject.ask(asked).output
        towards = exam.hidden(output.shape[-1])
        for i in range(T):
            (slope,) = torch.autograd.grad(
                output[0, i] @ towards, x, retain_graph=True
            )
            rows.append(slope[0].double().norm(dim=-1))
    slopes = torch.stack(rows)
    return slopes / slopes.max()


def _kind(exam: ModelExam, seen: Tensor, later: Tensor) -> str | None:
    """A decoder, if no output moves with a later token; or nothing."""
    if not (seen & later).any():
        return "decoder"
    return None


def _probe_future(exam: ModelExam, seen: Tensor, later: Tensor) -> None:
    """Evaluating, then training; what leaks in both leaks in evaluation."""
    sight = exam.sight
    assert sight is not None
    slopes = None
    try:
        slopes = by_derivative(exam)
    except (SubjectError, RuntimeError):  # told where it is asked for
        slopes = None
    leak = float((sight * later).max())
    how = "tokens"
    if slopes is not None:
        by_slope = float((slopes * later).max())
        if by_slope > leak and leak <= exam.share:
            leak, how, sight = by_slope, "embeddings", slopes
    trained, drawn = 0.0, None
    exam.trying = TRAINING
    if isinstance(exam.subject.model, nn.Module):
        try:
            drawn = by_tokens(exam, training=True)
            trained = float((drawn * later).max())
        except SubjectError as error:
            exam.skip(TRAINING, why=f"Cannot be told: it raises {error}")
    else:
        exam.skip(TRAINING, why="A function has no mode for training.")
    wrong, fine = leak > exam.share, trained <= exam.share
    if wrong:
        where = ", evaluating alone" if drawn is not None and fine else ""
        exam.note(
            EVALUATING,
            False,
            leak,
            exam.share,
            _leak(sight > exam.share, how, where),
            sight,
        )
    exam.note(EVALUATING, True, leak, exam.share, found=sight)
    if drawn is None:
        return
    if wrong and not fine:
        exam.skip(TRAINING, why=f'As "{EVALUATING}", which fails.')
    elif not fine:
        exam.note(
            TRAINING,
            False,
            trained,
            exam.share,
            _leak(drawn > exam.share, "tokens", ", training alone"),
            drawn,
        )
    exam.note(TRAINING, True, trained, exam.share, found=drawn)


def _leak(seen: Tensor, how: str, where: str) -> str:
    """How far ahead it sees, in words."""
    T = len(seen)
    ahead = [
        int(seen[i, i + 1 :].nonzero().max()) + 1
        if seen[i, i + 1 :].any()
        else 0
        for i in range(T - 1)
    ]
    first = next(i for i, far in enumerate(ahead) if far)
    if all(far == T - 1 - i for i, far in enumerate(ahead)):
        far = "as far as the end of the text"
    elif max(ahead) == 1:
        far = "by the next one"
    else:
        far = f"by up to {max(ahead)}"
    return (
        f"Outputs depend on later {how}, {far}{where}; the first to do so is"
        f" {first}."
    )


def _probe_past(exam: ModelExam, seen: Tensor) -> None:
    """The token itself, and all before it, or what a window leaves."""
    exam.trying = PAST
    T = exam.T
    own = seen.diagonal()
    both = exam.kind == "encoder"
    allowed = torch.ones(T, T, dtype=torch.bool)
    if not both:
        allowed = allowed.tril()
    i, j = torch.arange(T)[:, None], torch.arange(T)
    declared = _reach(exam)
    if declared is not None and declared + 1 < T:
        allowed &= ((i - j).abs() <= declared) | (j < exam.adapter.sinks)
    lost = allowed & ~seen
    further = seen & ~allowed & ~torch.ones(T, T).triu(1).bool()
    total = f"{int((allowed & seen).sum())} of {int(allowed.sum())}"
    if not own.all():
        exam.fail(
            PAST,
            f"Output {int((~own).nonzero()[0])} does not depend on its own"
            " token.",
            total,
            "all",
        )
    elif lost.any() and declared is None:
        _partly(exam, lost, total, i, j)
    elif declared is not None:
        _probe_reach(exam, seen, lost, further, declared)
    exam.note(PAST, True, total, "all")
    exam.skip(
        REACH,
        why=_unreached(exam),
    )


def _unreached(exam: ModelExam) -> str:
    """Why no text shows how far it looks."""
    window, layers = exam.adapter.window, exam.adapter.layers
    if not window:
        return "No window was declared."
    if not layers:
        return (
            "Cannot be told: a window was declared, and not in how many"
            " layers: if in all, say layers."
        )
    if window > LARGEST:
        return "Cannot be told: texts here are too short for its window."
    reach = layers * (window - 1)
    return (
        f"Cannot be told: texts here have {exam.T} tokens, and it may look"
        f" {reach} back: if it takes {reach + 3}, say max_len."
    )


def _reach(exam: ModelExam) -> int | None:
    """How many tokens back it should see; None without an end."""
    adapter = exam.adapter
    if not adapter.window or not adapter.layers:
        return None
    reach = adapter.layers * (adapter.window - 1)
    return reach if reach + 1 < exam.T else None


def _partly(
    exam: ModelExam, lost: Tensor, total: str, i: Tensor, j: Tensor
) -> None:
    """Some are not seen: those too far back, or others."""
    far = (i - j).abs()
    nearest = int(far[lost].min())
    band = far >= nearest
    if exam.kind != "encoder":
        band &= j <= i
    if torch.equal(band & ~lost, torch.zeros_like(lost)):
        exam.skip(
            PAST,
            why=(
                f"Outputs depend on tokens up to {nearest - 1} places away,"
                " and on none further: declare the window, if it has one."
            ),
        )
        return
    at, which = (int(x) for x in lost.nonzero()[0])
    exam.fail(
        PAST,
        f"Output {at} does not depend on token {which}, which it may see.",
        total,
        "all",
    )


def _probe_reach(
    exam: ModelExam, seen: Tensor, lost: Tensor, further: Tensor, reach: int
) -> None:
    """Whether it sees as far as the window and the layers allow."""
    layers = exam.adapter.layers or 1
    said = f"{layers} layers of a window of {exam.adapter.window}"
    if lost.any() and bool((lost[:, : exam.adapter.sinks]).any()):
        exam.fail(
            PAST,
            "The first tokens, which should stay in sight, are lost behind"
            " the window.",
            "lost",
            "seen",
        )
    T = len(seen)
    i, j = torch.arange(T)[:, None], torch.arange(T)
    behind = (i - j)[seen & (j >= exam.adapter.sinks)]
    got = int(behind.max()) if len(behind) else 0
    if got != reach:
        way = "further" if got > reach else "less far"
        exam.fail(
            REACH,
            f"It looks {got} tokens back, {way} than the {reach} of {said}:"
            f" a window of {got / layers + 1:.3g} would.",
            got,
            reach,
        )
        exam.skip(PAST, why=f'Cannot be told while "{REACH}" fails.')
    elif lost.any() or further.any():
        at, which = (int(x) for x in (lost | further).nonzero()[0])
        exam.fail(
            PAST,
            f"Output {at} and token {which}: one does not depend on the other"
            " as the window says.",
            "otherwise",
            "all",
        )
    exam.note(REACH, True, got, reach)
