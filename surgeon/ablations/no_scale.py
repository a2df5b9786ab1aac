"""What dies without the scale, in random rows and in models trained so."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from surgeon.anatomy.dot_product import Stages, dissect
from surgeon.anatomy.precision import subnormals_as_zero
from surgeon.arguments import check_seed, positive_integer
from surgeon.book.once import once_each
from surgeon.imaging.patterns import row_entropy
from surgeon.models.adamw import AdamW
from surgeon.models.transformer import cross_entropy, losses

# what the keys of the recall task are drawn from, and what they stand for
NUM_SYMBOLS, NUM_VALUES = 32, 8
LEARNING_RATES = {"sgd": 0.1, "adam": 1e-3}


def experiment_scaling_factor(
    d_k_values: Sequence[int] = (16, 64, 256, 1024),
    *,
    num_keys: int = 4,
    num_queries: int = 64,
    trials: int = 100,
    d_v: int = 16,
    threshold: float = 0.99,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Attention over standard-normal Q, K and V, scaled and not.

    How sharp is it, and how much gradient does it pass on? The gradients are
    those of :math:`\mathcal{L} = \sum_i u_i \cdot y_i`, with `y` the output
    and `u` a standard-normal vector for each query: what arrives from above
    is the same whatever the weights are. Measured is, row by row,

    .. math::

        \left\lVert \frac{\partial \mathcal{L}}{\partial s_i} \right\rVert_2
        \quad\text{and}\quad
        \left\lVert \frac{\partial \mathcal{L}}{\partial q_i} \right\rVert_2
        \quad\text{with}\quad
        \frac{\partial \mathcal{L}}{\partial s_{ij}}
        = a_{ij} \Bigl( v_j - \sum_k a_{ik} v_k \Bigr) \cdot u_i ,

    where `s` are the scores that softmax sees: scaled, if they are. The
    second is the first times the keys.

    Parameters
    ----------
    d_k_values : sequence of int
        Widths of queries and keys.
    num_keys, num_queries : int
        Keys `S` and queries `T` of a trial. Four keys are the case of the
        assignment's table.
    trials : int
        Draws of Q, K, V and u, at least two. The two rows of a width share
        their draws.
    d_v : int
        Width of the values. It changes the gradients alone, which grow as its
        root.
    threshold : float
        A row counts as saturated where its largest weight is above this.
    seed : int
        Where the draws come from. A width's rows do not depend on the other
        widths.

    Returns
    -------
    pandas.DataFrame
        One row a width and scale (`d_k`, `scaled`). Means over all queries:
        `max_mean` (of the largest weight), `saturated` (a share), `entropy`
        (nats), `score_gradient_mean`, `query_gradient_mean`. Medians over all
        queries: `max_median`, `score_gradient_median`,
        `query_gradient_median`. `score_std`: the standard deviation of a
        trial's scores `s`. Each has its standard error over trials in a
        column that ends in `_se`.

    Raises
    ------
    ValueError
        If there is no width, if a number is not a positive integer, if there
        are fewer than two trials, or if `threshold` is outside (0, 1).

    Notes
    -----
    The rows of a trial share their keys, so trials, not rows, are what is
    independent. A median's standard error is Woodruff's: half the way between
    the quantiles one standard error below and above a share of one half.
    Source: vaswani2017, section 3.2.1, footnote 4 (book/references.bib).

    Examples
    --------
    >>> table = experiment_scaling_factor([16, 256], trials=20)
    >>> table.pivot(index="d_k", columns="scaled", values="max_mean").round(1)
    scaled  False  True
    d_k
    16        0.8   0.5
    256       1.0   0.5
    """
    positive_integer("num_keys", num_keys)
    positive_integer("num_queries", num_queries)
    positive_integer("trials", trials)
    positive_integer("d_v", d_v)
    if trials < 2:
        raise ValueError(
            f"trials must be at least 2, for a standard error, got {trials}."
        )
    if not 0 < threshold < 1:
        raise ValueError(
            f"threshold must be between 0 and 1, got {threshold}."
        )
    table = []
    for d_k in _widths("d_k_values", d_k_values):
        draw = torch.Generator().manual_seed(check_seed(seed))
        shapes = [
            (num_queries, d_k),
            (num_keys, d_k),
            (num_keys, d_v),
            (num_queries, d_v),
        ]
        Q, K, V, u = (
            torch.randn(
                trials,
                *shape,
                generator=draw,
                dtype=torch.float64,
                device=draw.device,
            )
            for shape in shapes
        )
        for scaled in (False, True):
            row = measure(Q, K, V, u, scaled, threshold)
            table.append({"d_k": d_k, "scaled": scaled} | row)
    return pd.DataFrame(table)


def measure(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    u: Tensor,
    scaled: bool,
    threshold: float,
) -> dict[str, float]:
    """One row of the table of `experiment_scaling_factor`.

    All its trials at once: Q, K, V and u [trials, ..., width].
    """
    Q = Q.detach().requires_grad_()
    stages = dissect(Q, K, V, scale=scaled)
    by_score, by_query = (
        gradient.norm(dim=-1)
        for gradient in torch.autograd.grad(
            (stages.output * u).sum(), (stages.scaled, Q)
        )
    )  # [trials, T], as everything below
    weights, scores = stages.weights.detach(), stages.scaled.detach()
    largest = weights.amax(-1)
    spread = scores.flatten(1).std(-1, keepdim=True)
    return (
        _mean("max_mean", largest)
        | _median("max_median", largest)
        | _mean("saturated", (largest > threshold).double())
        | _mean("entropy", row_entropy(weights))
        | _mean("score_std", spread)
        | _mean("score_gradient_mean", by_score)
        | _median("score_gradient_median", by_score)
        | _mean("query_gradient_mean", by_query)
        | _median("query_gradient_median", by_query)
    )


def _mean(name: str, rows: Tensor) -> dict[str, float]:
    """Mean of [trials, T], and its standard error over trials."""
    return {name: float(rows.mean()), f"{name}_se": _standard_error(rows)}


def _median(name: str, rows: Tensor) -> dict[str, float]:
    """Median of [trials, T], and its standard error.

    That of the share of rows below it, read off the quantiles.
    """
    median = rows.quantile(0.5)
    se = _standard_error((rows <= median).double())
    low = rows.quantile(max(0.5 - se, 0.0))
    high = rows.quantile(min(0.5 + se, 1.0))
    return {name: float(median), f"{name}_se": float(high - low) / 2}


def _standard_error(rows: Tensor) -> float:
    return float(rows.mean(-1).std()) / math.sqrt(len(rows))


class Recall(nn.Module):
    """One head that must find a symbol and say what it stands for.

    Parameters
    ----------
    width : int
        Width of the tokens and of the head: d_k = d_v = `width`.
    scale : bool
        Whether scores are divided by the square root of the width.
    init : str
        Of the matrices: "unit" draws normal numbers of variance 1 / width, so
        that queries and keys keep unit variance; "pytorch" draws as
        `torch.nn.Linear` does, uniformly, with a third of that variance.
        Tokens are standard normal.
    generator : torch.Generator
        Where the initial weights come from.
    """

    def __init__(
        self, width: int, scale: bool, init: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        like: dict[str, Any] = {
            "generator": generator,
            "dtype": torch.float32,
            "device": generator.device,
        }
        normal = lambda *shape: torch.randn(*shape, **like)
        uniform = lambda *shape: 2 * torch.rand(*shape, **like) - 1
        draw = {"unit": normal, "pytorch": uniform}[init]
        root = math.sqrt(width)
        self.scale = scale
        self.symbol = nn.Parameter(normal(NUM_SYMBOLS, width))
        self.value = nn.Parameter(normal(NUM_VALUES, width))
        self.W_Q = nn.Parameter(draw(width, width) / root)
        self.W_K = nn.Parameter(draw(width, width) / root)
        self.unembed = nn.Parameter(draw(width, NUM_VALUES) / root)

    def forward(
        self, symbols: Tensor, values: Tensor, asked: Tensor
    ) -> tuple[Tensor, Stages]:
        """Logits [B, NUM_VALUES], and the stages of the attention.

        Symbols [B, S] stand for values [B, S], and one is asked for, [B]. All
        symbols are projected, then looked up.
        """
        Q = embedding(asked[:, None], self.symbol @ self.W_Q)  # [B, 1, w]
        K = embedding(symbols, self.symbol @ self.W_K)  # [B, S, w]
        V = embedding(values, self.value)  # [B, S, w]
        stages = dissect(Q, K, V, scale=self.scale)
        return stages.output[:, 0] @ self.unembed, stages


def train_with_and_without_scale(
    widths: Sequence[int] = (16, 64, 256),
    *,
    init: str = "unit",
    optimizer: str = "sgd",
    learning_rate: float | None = None,
    steps: int = 200,
    seeds: Sequence[int] = (0, 1, 2),
    num_pairs: int = 8,
    batch_size: int = 64,
    record_every: int = 20,
) -> pd.DataFrame:
    r"""Train pairs of models that differ in the scale alone.

    Nothing but attention can do their task. A model sees `num_pairs` symbols,
    each beside the value it stands for in this episode only, and is asked for
    the value of one of them. Without telling the symbols apart, no model has
    a loss below :math:`\log S - \operatorname{E} \log (1 + B)`, with `S`
    pairs and `B` binomial with `S` - 1 draws of chance 1/8.

    Parameters
    ----------
    widths : sequence of int
        Widths of the one head: d_k.
    init : str
        "unit" or "pytorch", as `Recall` takes it.
    optimizer : str
        "sgd" or "adam".
    learning_rate : float, optional
        0.1 for sgd and 0.001 for adam, if not given. Both models of a pair,
        and all widths, have the same.
    steps, batch_size : int
        Steps of training, and episodes in each.
    seeds : sequence of int
        One pair of models for each. The two start from the same weights and
        read the same episodes.
    num_pairs : int
        Pairs in an episode, `S`, from 2 to 32.
    record_every : int
        Steps between two rows of the table; the start and the end are always
        recorded.

    Returns
    -------
    pandas.DataFrame
        One row a model and recorded step: `width`, `scaled`, `seed`, `step`
        and, on 256 episodes not trained on, `loss` (nats), `accuracy`,
        `entropy` of the weights (nats) and `gradient`, the median over
        episodes of the norm of the loss's gradient with respect to the scores
        that softmax sees.

    Raises
    ------
    ValueError
        If there is no width or seed, if a number is out of its range, or
        `init` or `optimizer` is not one of its names.

    Notes
    -----
    Source: vaswani2017 (book/references.bib).

    Examples
    --------
    >>> table = train_with_and_without_scale([16], steps=20, seeds=[0])
    >>> list(table.columns)
    ['width', 'scaled', 'seed', 'step',
     'loss', 'accuracy', 'entropy', 'gradient']
    """
    positive_integer("steps", steps)
    positive_integer("batch_size", batch_size)
    positive_integer("record_every", record_every)
    if not 2 <= positive_integer("num_pairs", num_pairs) <= NUM_SYMBOLS:
        raise ValueError(
            f"num_pairs must be from 2 to {NUM_SYMBOLS}, got {num_pairs}."
        )
    _one_of("init", init, ("unit", "pytorch"))
    _one_of("optimizer", optimizer, tuple(LEARNING_RATES))
    if learning_rate is None:
        learning_rate = LEARNING_RATES[optimizer]
    if not 0 < learning_rate < math.inf:
        raise ValueError(
            f"learning_rate must be positive and finite, got {learning_rate}."
        )
    if len(seeds) == 0:
        raise ValueError("seeds must hold at least one seed, got none.")
    pairs = [
        (width, check_seed(seed))
        for width in _widths("widths", widths)
        for seed in seeds
    ]
    tables = once_each(
        train_pair,
        pairs,
        init=init,
        optimizer=optimizer,
        learning_rate=learning_rate,
        steps=steps,
        num_pairs=num_pairs,
        batch_size=batch_size,
        record_every=record_every,
    )
    return pd.DataFrame([row for table in tables for row in table])


def train_pair(
    width: int,
    seed: int,
    *,
    init: str,
    optimizer: str,
    learning_rate: float,
    steps: int,
    num_pairs: int,
    batch_size: int,
    record_every: int,
) -> list[dict[str, Any]]:
    """Two models from the same draws, and what comes after these.

    All parameters, and the rows, are as `train_with_and_without_scale` has
    them: first all of the model without the scale.
    """
    pair: dict[bool, tuple[Recall, Descent | AdamW]] = {}
    for scaled in (False, True):
        draw = torch.Generator().manual_seed(seed)
        model = Recall(width, scaled, init, draw)
        pair[scaled] = model, _rule(optimizer, model)
    held_out = recall_episodes(256, num_pairs, draw)
    rows: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for step in range(steps + 1):
        if step % record_every == 0 or step == steps:
            for scaled, (model, _) in pair.items():
                row = {"width": width, "scaled": scaled}
                row |= {"seed": seed, "step": step}
                rows[scaled].append(row | _examine(model, *held_out))
        if step < steps:
            *episode, answers = recall_episodes(batch_size, num_pairs, draw)
            with subnormals_as_zero():
                for model, rule in pair.values():
                    cross_entropy(model(*episode)[0], answers).backward()
                    rule.step(learning_rate)
    return rows[False] + rows[True]


class Descent:
    """Gradient descent: a step down each slope, which is then forgotten.

    PyTorch's class does the same, and loads its compiler first.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = list(parameters)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move each number against its gradient, in place."""
        for p in self.parameters:
            assert p.grad is not None
            p.sub_(p.grad, alpha=learning_rate)
            p.grad = None


def _rule(optimizer: str, model: nn.Module) -> Descent | AdamW:
    if optimizer == "sgd":
        return Descent(model.parameters())
    return AdamW(model.parameters(), weight_decay=0.0)


def recall_episodes(
    count: int, num_pairs: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Episodes of the task.

    Symbols [B, S], all different; their values [B, S]; one symbol asked for,
    [B]; and its value, [B].
    """
    like: dict[str, Any] = {
        "generator": generator,
        "device": generator.device,
    }
    order = torch.rand(count, NUM_SYMBOLS, dtype=torch.float32, **like)
    symbols = order.argsort(-1)[:, :num_pairs]
    values = torch.randint(NUM_VALUES, (count, num_pairs), **like)
    place = torch.randint(num_pairs, (count, 1), **like)
    asked, answers = (x.gather(1, place)[:, 0] for x in (symbols, values))
    return symbols, values, asked, answers


def _examine(
    model: Recall,
    symbols: Tensor,
    values: Tensor,
    asked: Tensor,
    answers: Tensor,
) -> dict[str, float]:
    logits, stages = model(symbols, values, asked)
    each = losses(logits, answers)  # [B]
    (gradient,) = torch.autograd.grad(each.sum(), stages.scaled)
    return {
        "loss": float(each.detach().mean()),
        "accuracy": float((logits.argmax(-1) == answers).double().mean()),
        "entropy": float(row_entropy(stages.weights.detach()).mean()),
        # each episode's own: [B, 1, S], of which no other loss knows
        "gradient": float(gradient.norm(dim=-1).median()),
    }


def _one_of(name: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(known)}, got {given!r}."
        )


def _widths(name: str, widths: Sequence[int]) -> Sequence[int]:
    if not hasattr(widths, "__len__") or len(widths) == 0:
        raise ValueError(
            f"{name} must be a sequence of at least one width, got"
            f" {widths!r}."
        )
    for i, width in enumerate(widths):
        positive_integer(f"{name}[{i}]", width)
    return widths
