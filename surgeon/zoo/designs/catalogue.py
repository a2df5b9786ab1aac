"""Every design of the zoo, right and wrong, by name."""

from types import MappingProxyType

# Imported, each has put its attentions there.
from surgeon.zoo.designs import (  # noqa: F401
    biases,
    caps,
    documents,
    layers,
    linear,
    norms,
    pictures,
    questions,
    roads,
    rotary,
    sinks,
    windows,
)
from surgeon.zoo.designs.design import FAULTY, SOUND

#: name: Sound, in the order of the files
RIGHT = MappingProxyType(SOUND)
#: name: Wrong, in the order of the files
WRONG = MappingProxyType(FAULTY)
