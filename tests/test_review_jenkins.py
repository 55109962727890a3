"""The Jenkinsfile of examples/review: when it plans, and whose plan it applies."""

import json
import re
import shutil

import pytest

from test_review import FILES, MAPPING, TOKEN, Api, api, bare, machine, on_jenkins, titles
from testbed.ci_bed import SECRETS, TOKENS, Machine, Ran, stage_of

__all__ = ["api", "bare", "machine"]  # fixtures
TEXT = FILES["jenkins"].read_text("utf-8")
FETCH = "Fetch the reviewed plan"
NOBODY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"} | {
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


@pytest.fixture
def checkout(machine: Machine) -> Machine:
    """A repository whose main has the mapping in use, and a branch that changes it and one that does not."""
    mapping = machine.work / "port" / "mapping.yml"
    mapping.write_text(MAPPING.replace(' + "!"', ""), "utf-8")
    git(machine, "git init -q -b main", "git add port", "git commit -q -m begin", "git checkout -q -b other")
    git(machine, "git commit -q --allow-empty -m other", "git checkout -q -b topic main")
    mapping.write_text(MAPPING, "utf-8")
    git(machine, "git commit -q -a -m topic", "git update-ref refs/remotes/origin/main main")
    return machine


def git(machine: Machine, *commands: str) -> str:
    ran = machine.run(["sh", "-e"], "\n".join(commands), NOBODY)
    assert ran.code == 0, ran.all
    return ran.out.strip()


def changes_the_mapping(machine: Machine) -> int:
    (script,) = re.findall(r"expression { sh\(returnStatus: true, script: '(.*)'\) != 0 }", stage_of(TEXT, "Plan"))
    return machine.run(["sh", "-xe"], script, {}).code


def test_jenkins_plans_when_the_merge_request_changes_the_mapping_and_when_that_is_not_known(checkout: Machine) -> None:
    """Jenkins merges the branch into the target before it builds; main has moved on."""
    git(checkout, "git checkout -q main", "sed -i '1i # of main' port/mapping.yml", "git commit -q -a -m main")
    git(checkout, "git update-ref refs/remotes/origin/main main")
    for branch, code in (("topic", 1), ("other", 0)):
        git(checkout, "git checkout -q --detach main", f"git merge -q --no-ff -m merge {branch}")
        assert changes_the_mapping(checkout) == code
        git(checkout, f"git checkout -q {branch}")
        assert changes_the_mapping(checkout) == code
    git(checkout, "git update-ref -d refs/remotes/origin/main")
    assert changes_the_mapping(checkout) not in (0, 1)


def test_jenkins_applies_the_plan_of_the_merge_request_that_changed_the_mapping(checkout: Machine, api: Api) -> None:
    ran = on_jenkins(checkout, api, "Plan")
    assert ran.code == 0, ran.all
    kept = shutil.move(checkout.work / "plan.json", checkout.temp / "plan.json")
    git(checkout, "git checkout -q main", "git merge -q --no-ff -m 7 topic")
    api.commit = git(checkout, "git rev-parse HEAD")
    git(checkout, "git merge -q --no-ff -m 8 other")
    (checkout.work / "plan.json").write_text("left by an older build", "utf-8")
    ran = on_jenkins(checkout, api, FETCH)
    assert ran.code == 0, ran.all
    assert (checkout.work / "number").read_text("utf-8") == "7\n"
    assert not (checkout.work / "plan.json").exists()
    shutil.copy(kept, checkout.work)  # copyArtifacts
    ran = on_jenkins(checkout, api, "Apply")
    assert ran.code == 0, ran.all
    assert titles(checkout) == {"!"}


def test_jenkins_stops_before_it_writes_when_no_merge_request_brought_the_mapping(checkout: Machine, api: Api) -> None:
    before = checkout.bench.store.snapshot()
    (checkout.work / "plan.json").write_text("left by an older build", "utf-8")
    ran = on_jenkins(checkout, api, FETCH)
    assert ran.code == 1
    assert "the commit belongs to 0 merged merge requests, not to one" in ran.err
    assert not (checkout.work / "plan.json").exists()
    assert (checkout.work / "number").read_text("utf-8") == ""
    assert checkout.bench.store.snapshot() == before


def test_jenkins_says_the_next_step_when_a_plan_is_missing_or_refused(machine: Machine, api: Api) -> None:
    (following,) = re.findall(r"NEXT = '(.*)'", TEXT)
    for words in ("The scheduled sync will apply the merged mapping", "disable that job", "new merge request"):
        assert words in following
    assert "failure { echo 'There is no reviewed plan, nothing was written. ' + env.NEXT }" in stage_of(TEXT, FETCH)
    before = machine.bench.store.snapshot()
    assert on_jenkins(machine, api, "Plan").code == 0
    (machine.work / "port" / "mapping.yml").write_text(MAPPING.replace("!", "?"), "utf-8")
    ran = on_jenkins(machine, api, "Apply")
    assert ran.code == 2
    assert f"The plan was refused, nothing was written. {following}" in ran.out
    assert machine.bench.store.snapshot() == before


def test_jenkins_keeps_no_plan_that_nobody_could_see_and_no_older_one(machine: Machine, api: Api) -> None:
    """copyArtifacts has no `optional`: a last build without a plan ends the stage."""
    stage = stage_of(TEXT, "Plan")
    order = [stage.index(one) for one in ("sh 'rm -f plan.json", " plan \\\n", "comment gitlab", "archiveArtifacts")]
    assert order == sorted(order)
    fetch = stage_of(TEXT, FETCH)
    (copy,) = re.findall(r"copyArtifacts\((.*)\)\n", fetch)
    assert "selector: lastCompleted(), filter: 'plan.json'" in copy
    assert "optional" not in copy
    (machine.work / "plan.json").write_text("left by an older build", "utf-8")
    (machine.work / "port" / "mapping.yml").write_text("resources: 7\n", "utf-8")
    assert on_jenkins(machine, api, "Plan").code == 2
    assert not (machine.work / "plan.json").exists()
    assert len(api.own) == 1


def test_jenkins_gives_each_secret_to_the_step_that_needs_it_alone(machine: Machine, api: Api) -> None:
    ran: Ran = on_jenkins(machine, api, "Plan")
    (call,) = machine.called("docker")
    assert set(SECRETS) <= set(call["env"])
    assert "COMMENT_TOKEN" not in call["env"]
    for secret in (*TOKENS, TOKEN):
        assert secret not in ran.all
        assert secret not in json.dumps([machine.calls, api.asked])


def test_jenkins_has_bounds_and_puts_nothing_into_a_script() -> None:
    for wanted in (
        "disableConcurrentBuilds()",
        "timeout(time: 30, unit: 'MINUTES')",
        "copyArtifactPermission('main')",
        "changeRequest target: 'main'",
        "expression { !env.CHANGE_FORK }",
    ):
        assert wanted in TEXT
    assert "branch 'main'" in stage_of(TEXT, "After the merge").partition("stages {")[0]
    assert TEXT.count("{") == TEXT.count("}")
    assert '"' not in re.sub(r"'''.*?'''|^ *//.*?$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    for title in ("CHANGE_TITLE", "CHANGE_BRANCH", "CHANGE_AUTHOR"):
        assert title not in TEXT
