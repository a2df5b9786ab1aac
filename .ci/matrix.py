"""Every faulty and every sound attention that the project knows, examined from five seeds, in float64 and in float32;
and every faulty and sound model, from five seeds.

python .ci/matrix.py [--resume] [word ...]; a word chooses the subjects whose names hold it. A fault must fail its
finding and no other, a sound subject none; of transformers, what its plain road does is allowed. Exits with 1 if one
does otherwise. `SEEDS=1 python .ci/matrix.py` asks from one seed. Whose every report was as it should be is kept by
name in _build/matrix, and with --resume not asked again.
"""

import functools
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from sound_layers import HAZARDS, LAYERS, TRUE_OF_LAYERS  # noqa: E402
from sound_models import MODELS as SOUND_MODELS  # noqa: E402
from sound_models import TRUE  # noqa: E402
from torch import nn  # noqa: E402

from surgeon import examine, examine_model  # noqa: E402
from surgeon.zoo.catalogue import ZOO  # noqa: E402
from surgeon.zoo.designs.catalogue import RIGHT, WRONG  # noqa: E402
from surgeon.zoo.models.catalogue import MODELS  # noqa: E402

SEEDS = range(int(os.environ.get("SEEDS", "5")))
PRECISIONS = ("float64", "float32")
KEPT = ROOT / "_build" / "matrix" / f"{len(SEEDS)}_seeds.txt"  # a line a subject, those of this run and before it
Case = tuple[str, Callable[[], Any], dict[str, Any], list[str]]  # name, maker, what is told, what must fail


def cases() -> Iterator[Case]:
    for name, fault in ZOO.items():
        yield f"zoo: {name}", fault.subject, dict(fault.held), [fault.finding]
    for name, bad in WRONG.items():
        yield f"wrong: {name}", bad.subject, dict(bad.twin.held), [bad.finding]
    for name, good in RIGHT.items():
        yield f"right: {name}", good.subject, dict(good.held), []
    for name, (make, held) in LAYERS.items():
        yield f"sound: {name}", make, held, TRUE_OF_LAYERS.get(name, [])
    for name, model in MODELS.items():
        yield f"model: {name}", model.model, dict(model.told), [model.finding]
        yield f"model's twin: {name}", model.right, dict(model.held), []
    for name, (make, held) in SOUND_MODELS.items():
        yield f"sound model: {name}", make, held, sorted(TRUE.get(name, {}))


def refuse(inputs: tuple[Any, ...], more: dict[str, Any]) -> None:
    """What a subject says that computes in float32 alone."""
    if any(isinstance(x, torch.Tensor) and x.dtype == torch.float64 for x in (*inputs, *more.values())):
        raise TypeError("float64 is not supported")


def in_float32(subject: Any) -> Any:
    """The subject, of which float32 is the best that it can."""
    if isinstance(subject, nn.Module):
        subject.register_forward_pre_hook(lambda _, inputs, more: refuse(inputs, more), with_kwargs=True)
        return subject

    @functools.wraps(subject if hasattr(subject, "__name__") else type(subject).__call__)
    def single(*inputs: Any, **more: Any) -> Any:
        refuse(inputs, more)
        return subject(*inputs, **more)

    return single


def asked(name: str) -> list[tuple[str, float, list[str], str]]:
    """What was found of one subject: for each precision and seed, the seconds, the findings, and in words."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    _, make, held, _ = next(case for case in cases() if case[0] == name)
    allowed = HAZARDS if "transformers" in name else set()
    found = []
    if "model" in name.split(":")[0]:
        for seed in SEEDS:
            report = examine_model(make(), patience=None, seed=seed, **held)
            failed = sorted(finding.name for finding in report.failed)
            found.append((f"seed {seed}", report.seconds, failed, report.diagnosis))
        return found
    for precision in PRECISIONS:
        for seed in SEEDS:
            subject = make()
            held_so = in_float32(subject) if precision == "float32" else subject
            report = examine(held_so, patience=None, seed=seed, **held)
            failed = [
                finding.name for finding in report.failed if finding.name not in allowed or finding.weight == "fault"
            ]
            found.append((f"{precision}, seed {seed}", report.seconds, failed, report.diagnosis))
    return found


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--resume"]
    chosen = [case for case in cases() if not words or any(word in case[0] for word in words)]
    before = set(KEPT.read_text().splitlines()) if KEPT.is_file() else set()
    again = set() if "--resume" in sys.argv else {case[0] for case in chosen}
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text("".join(f"{name}\n" for name in sorted(before - again)))
    chosen = [case for case in chosen if case[0] not in before - again]
    began, bad, slowest = time.perf_counter(), 0, ("", 0.0)
    with ProcessPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool, KEPT.open("a") as kept:
        for (name, _, _, expected), found in zip(chosen, pool.map(asked, [case[0] for case in chosen]), strict=True):
            seconds = max(each[1] for each in found)
            slowest = max(slowest, (name, seconds), key=lambda each: each[1])
            otherwise = [each for each in found if each[2] != expected]
            bad += len(otherwise)
            for where, _, failed, said in otherwise:
                print(f"{name} ({where}): {failed or 'nothing'}, not {expected or 'nothing'}: {said}", flush=True)
            if not otherwise:
                print(name, file=kept, flush=True)
    asks = sum(len(SEEDS) * (1 if "model" in case[0].split(":")[0] else len(PRECISIONS)) for case in chosen)
    print(f"{len(chosen)} subjects, {asks} reports, {bad} of them otherwise; the slowest {slowest[1]:.1f} s")
    print(f"({slowest[0]}); {time.perf_counter() - began:.0f} s in all.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
