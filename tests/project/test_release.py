"""What may be published: a tag, a version, a day in the changelog."""

import shutil
import sys

import pytest
from declared import ROOT

import surgeon

sys.path.insert(0, str(ROOT / ".ci"))
import release

TOLD = ("CHANGELOG.md", "CITATION.cff", "surgeon/__init__.py")


@pytest.fixture
def ready(tmp_path):
    """A copy of what says the version, on the day of a release."""
    (tmp_path / "surgeon").mkdir()
    for name in TOLD:
        shutil.copy(ROOT / name, tmp_path / name)
    changes = (tmp_path / "CHANGELOG.md").read_text(encoding="utf8")
    changes = changes.replace(f"## {surgeon.__version__}, not yet released", f"## {surgeon.__version__}, 2026-12-01")
    (tmp_path / "CHANGELOG.md").write_text(changes, encoding="utf8")
    return tmp_path


def test_the_version_is_read_without_an_import():
    assert release.version(ROOT) == surgeon.__version__


def test_a_tag_of_the_version_with_its_day_may_be_published(ready):
    assert release.trouble(ready, f"v{surgeon.__version__}") == []


@pytest.mark.parametrize("tag", [surgeon.__version__, "v99.0", "latest"])
def test_another_tag_may_not(ready, tag):
    (said,) = release.trouble(ready, tag)
    assert said == f"The tag must be v{surgeon.__version__}, as surgeon/__init__.py has it, got {tag}."


@pytest.mark.parametrize("heading", ["not yet released", "soon", "2026-12-1"])
def test_a_part_without_its_day_may_not(ready, heading):
    file = ready / "CHANGELOG.md"
    file.write_text(file.read_text(encoding="utf8").replace("2026-12-01", heading), encoding="utf8")
    (said,) = release.trouble(ready, f"v{surgeon.__version__}")
    assert said.endswith(f"got “{surgeon.__version__}, {heading}”.")


def test_an_older_version_elsewhere_may_not(ready):
    file = ready / "CITATION.cff"
    citation = file.read_text(encoding="utf8").replace(f"version: {surgeon.__version__}", "version: 0.0.9")
    file.write_text(citation, encoding="utf8")
    (said,) = release.trouble(ready, f"v{surgeon.__version__}")
    assert said == f"CITATION.cff must have the version {surgeon.__version__}."


def test_without_a_changelog_part_or_a_version_it_is_said(ready):
    (ready / "CHANGELOG.md").write_text("# Changes\n", encoding="utf8")
    (said,) = release.trouble(ready, f"v{surgeon.__version__}")
    assert said.endswith("got “none”.")
    (ready / "surgeon/__init__.py").write_text('"""Nothing."""\n', encoding="utf8")
    with pytest.raises(SystemExit, match="must set __version__"):
        release.version(ready)


def test_a_tag_that_may_not_be_published_builds_nothing(monkeypatch, capsys):
    monkeypatch.setattr(release, "build", lambda root: pytest.fail("It was built."))
    assert release.main(["v99.0"]) == 1
    assert "got v99.0" in capsys.readouterr().err
