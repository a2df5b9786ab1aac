"""Every step that can be practised, by name."""

from types import MappingProxyType

from surgeon.practice.head_steps import MERGING, SPLITTING
from surgeon.practice.hiding_step import MASKING
from surgeon.practice.mask_steps import CAUSAL, PADDING, REVERSE
from surgeon.practice.pattern_steps import ENTROPY, STATISTICS
from surgeon.practice.score_steps import SCALING, SCORES
from surgeon.practice.weight_steps import AVERAGING, SHARING
from surgeon.practice.whole_step import HANDING_BACK

#: name: Step, the six of attention first
STEPS = MappingProxyType(
    {
        step.name: step
        for step in (
            SCORES,
            SCALING,
            MASKING,
            SHARING,
            AVERAGING,
            HANDING_BACK,
            CAUSAL,
            REVERSE,
            PADDING,
            SPLITTING,
            MERGING,
            ENTROPY,
            STATISTICS,
        )
    }
)
