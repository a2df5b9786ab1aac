"""Every faulty model of the zoo, by name."""

from types import MappingProxyType

from surgeon.zoo.models import (
    caching,
    company,
    padding,
    places,
    programs,
    sight,
    translator,
)
from surgeon.zoo.models.fault import FAULTY_MODELS

# Imported, each has put its models there.
FILES = (company, sight, padding, caching, places, programs, translator)

#: name: ModelFault, in the order of the files
MODELS = MappingProxyType(FAULTY_MODELS)
