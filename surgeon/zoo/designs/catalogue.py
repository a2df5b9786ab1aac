"""Every design of the zoo, right and wrong, by name."""

from types import MappingProxyType

from surgeon.zoo.designs import (
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

# Imported, each has put its attentions there.
FILES = (
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

#: name: Sound, in the order of the files
RIGHT = MappingProxyType(SOUND)
#: name: Wrong, in the order of the files
WRONG = MappingProxyType(FAULTY)
