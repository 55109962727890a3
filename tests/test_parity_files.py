"""What `file` and `folder` leave in Port, against an independent model, in both dialects."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.gitlab.globs import Glob, file_globs
from gitlab_port_export.gitlab.trees import Walk, fewest, is_plain_file, wanted_files, wanted_folders
from testbed.harness import mapping_of, resource
from testbed.oracle_files import fits, segments_fit
from testbed.parity import check, company

pytestmark = pytest.mark.usefixtures("lent_evaluator")


PLACE = '(.repo.path_with_namespace + ":" + {}) | gsub("[][]"; "_")'


def file(path: str, blueprint: str = "thing", included: Any = (), active: Any = None, **block: Any) -> Any:
    selector = {"files": {"path": path, **block}, "includedFiles": list(included), "includeOnlyActiveGroups": active}
    return resource(
        "file", blueprint, selector=selector, identifier=PLACE.format(".file.file_path"), properties={"object": "."}
    )


def folder(*folders: Any, included: Any = (), active: Any = None) -> Any:
    selector = {"folders": list(folders), "includedFiles": list(included), "includeOnlyActiveProjects": active}
    place = PLACE.format('.__branch + ":" + .folder.path')
    return resource("folder", selector=selector, identifier=place, properties={"object": "."})


PARTS_OF = 3
V2: dict[str, tuple[Any, ...]] = {
    "a name": (file("README.md"),),
    "a path": (file("docs/README.md"),),
    "everything": (file("**/*"),),
    "yaml, parsed": (file("**/*.y*ml"),),
    "yaml as text": (file("**/*.y*ml", skipParsing=True),),
    "parsed and as text": (file("deploy/**"), file("deploy/**", "other", skipParsing="true")),
    "odd characters": (file("tricky/[[]x[]].json"),),
    "trees": (file("deploy/*/values.yaml", searchStrategy="repositoryTree"),),
    "projects": (file("*.json", searchStrategy="projectSearch"),),
    "only active": (file("README.md", active=True),),
    "only inactive": (file("README.md", active=False, searchStrategy="repositoryTree"),),
    "with files": (file("package.json", included=["/README.md", "gone.md"]),),
    "some projects": (file("**/*.md", repos=["acme/core", "1"]),),
    "children": (folder({"path": "deploy"}),),
    "children of the root": (folder({"path": "/"}),),
    "folders that fit": (folder({"path": "*"}, {"path": "deploy/*"}, {"path": "**/g*"}),),
    "folders of a branch": (folder({"path": "**", "repos": [{"name": "acme/core", "branch": "dev"}, {"name": "1"}]}),),
    "folders with files": (folder({"path": "docs"}, included=["README.md"], active=True),),
    "both kinds": (file("docs/**/*.md"), folder({"path": "docs/*"})),
    "folders of two branches": (
        folder(
            {"path": "*/*", "repos": [{"name": "/acme/core/"}, {"name": "acme/core", "branch": "dev"}]},
            {"path": "docs", "branch": "dev", "repos": [{"name": "acme/core"}]},
        ),
    ),
    "no folders": (resource("folder"), file("package.json")),
}
V1: dict[str, tuple[Any, ...]] = {
    "a name": (file("README.md"),),
    "any name": (file("**/README.md"),),
    "braces": (file("{docs,deploy/{a,b}}/*.{md,yaml}"),),
    "numbers": (file("deploy/{1..3}/*"), file("*/[ab]/*")),
    "everything": (file("**"),),
    "some projects": (file("**/*.y*ml", repos=["Bibliothek", "Kern ⚙"]),),
    "folders of nobody": (folder({"path": "deploy"}), file("README.md", "other")),
    "folders": (folder({"path": "deploy", "repos": ["Kern ⚙", "Bibliothek"]}, {"path": "", "repos": ["Kern ⚙"]}),),
    "folders of a branch": (folder({"path": "deploy", "repos": ["Kern ⚙"], "branch": "dev"}),),
    "no folders": (resource("folder"), file("README.md", "other")),
}


def together(cases: dict[str, tuple[Any, ...]], part: int) -> list[Any]:
    """Every third case's resources, each with identifiers of its own, so that one run shows many cases."""
    found = []
    for number in range(part, len(cases), PARTS_OF):
        for one in copy.deepcopy(list(cases.values())[number]):
            entity = one["port"]["entity"]["mappings"]
            entity["identifier"] = f'"{number}/" + ({entity["identifier"]})'
            found.append(one)
    return found


@pytest.mark.parametrize("part", range(PARTS_OF))
def test_gitlab_v2(part: int) -> None:
    check(company(["files"]), mapping_of(*together(V2, part)))


@pytest.mark.parametrize("part", range(PARTS_OF))
def test_gitlab(part: int) -> None:
    check(company(["files"]), mapping_of(*together(V1, part), filterOwnedProjects=False), type="gitlab")


# --- patterns by chance

SEGMENTS = st.text(alphabet="ab.", min_size=1, max_size=3).filter(lambda text: set(text) != {"."})
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)
PARTS = st.one_of(SEGMENTS, st.sampled_from(("*", "**", "?", "a*", "*b", "[ab]", "[!a]", "*.*", "a?")))
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
QUICKLY = settings(max_examples=60, derandomize=True, deadline=None, database=None)


@QUICKLY
@given(PATHS, PATTERNS)
def test_patterns_of_gitlab_v2_mean_what_their_segments_say(path: str, pattern: str) -> None:
    assert any(glob.matches(path) for glob in file_globs(pattern, "gitlab-v2")) is fits(path, pattern, v1=False)
    assert Glob(pattern).matches(path) is segments_fit(path.split("/"), pattern.split("/"))


@QUICKLY
@given(PATHS, st.lists(PARTS | st.sampled_from(("{a,b}", "{a*,.}", "{1..2}")), min_size=1, max_size=3).map("/".join))
def test_patterns_of_gitlab_are_spread_and_cross_slashes(path: str, pattern: str) -> None:
    assert any(glob.matches(path) for glob in file_globs(pattern, "gitlab")) is fits(path, pattern, v1=True)


@QUICKLY
@given(PATHS, PATTERNS, st.sampled_from(("gitlab", "gitlab-v2")))
def test_a_walk_meets_whatever_its_pattern_means(path: str, pattern: str, dialect: Any) -> None:
    for glob in file_globs(pattern, dialect):
        if glob.matches(path):
            walk = wanted_files(glob).walk
            assert walk.holds(Walk(path.rpartition("/")[0], deep=False)), (walk, path)


@QUICKLY
@given(st.lists(PATTERNS, min_size=1, max_size=5))
def test_the_fewest_walks_meet_everything_and_none_is_in_vain(patterns: list[str]) -> None:
    wants = [want for p in patterns for want in (wanted_files(Glob(p)), wanted_folders(p, wildcards=True))]
    walks = fewest(wants)
    assert all(any(walk.holds(want.walk) for walk in walks) for want in wants if not is_plain_file(want))
    assert not any(one != other and one.holds(other) for one in walks for other in walks)
