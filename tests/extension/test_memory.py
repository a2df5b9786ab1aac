"""What pages leave: merged when they are read in another process, gone when they are."""

import sys
from types import SimpleNamespace

import pytest
from small_book import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import surgeon_book
from surgeon_book.memory import Memory

MEMORIES = [memory for memory in Memory.__subclasses__() if memory.__module__.startswith(surgeon_book.__name__)]


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda memory: memory.__name__)
def test_what_a_page_left_is_merged_and_goes_with_it(memory):
    """As when pages are read in parallel, and as when one is removed."""
    ours, theirs, collector = SimpleNamespace(), SimpleNamespace(), memory()
    collector.of(ours).update(a=1, b=1)
    collector.of(theirs).update(a=2, b=2, c=2)
    collector.merge_other(None, ours, {"b", "c", "leaves nothing"}, theirs)
    assert collector.of(ours) == {"a": 1, "b": 2, "c": 2}
    collector.clear_doc(None, ours, "c")
    collector.clear_doc(None, ours, "leaves nothing")
    assert collector.of(ours) == {"a": 1, "b": 2}


def test_no_two_subjects_share_a_store():
    assert len({memory.store for memory in MEMORIES}) == len(MEMORIES) >= 6
