"""Modules of the package say which extra they miss, from the first import on."""

import sys

import surgeon
from surgeon.extras import Within, say_what_is_missed


def test_the_package_is_looked_for_by_what_says_its_extras_and_once():
    found = [one.package for one in sys.meta_path if isinstance(one, Within)]
    assert found.count(surgeon.__name__) == 1
    say_what_is_missed(surgeon.__name__)
    assert [one.package for one in sys.meta_path if isinstance(one, Within)] == found


def test_what_is_looked_for_is_of_the_package_alone():
    (finder,) = (one for one in sys.meta_path if isinstance(one, Within) and one.package == "surgeon")
    assert finder.find_spec("surgeons", None) is None
    assert finder.find_spec("surgeon", None) is None
    assert finder.find_spec("surgeon.no_such_module", surgeon.__path__) is None
    assert finder.find_spec("surgeon.extras", surgeon.__path__).loader.path.endswith("extras.py")
