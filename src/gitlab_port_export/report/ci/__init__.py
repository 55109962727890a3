"""The registry of CI systems: to add one, write its file in this folder and add it to SYSTEMS.

The choices of `--ci` and the detection come from SYSTEMS. docs/ci.md has a column for each system, which a test checks.
"""

from collections.abc import Mapping

from gitlab_port_export.report.ci import azure, github, gitlab, jenkins
from gitlab_port_export.report.ci.system import CiSystem

# By name, in the order in which they are looked for.
SYSTEMS: Mapping[str, CiSystem] = {
    one.name: one for one in (github.SYSTEM, gitlab.SYSTEM, azure.SYSTEM, jenkins.SYSTEM)
}
# The values of --ci: "auto" detects the system, "none" uses no system.
CHOICES: tuple[str, ...] = ("auto", *SYSTEMS, "none")


def detect(environ: Mapping[str, str], systems: Mapping[str, CiSystem] = SYSTEMS) -> CiSystem | None:
    """Return the CI system in which this process runs, None where there is none."""
    return next((one for one in systems.values() if one.sign.is_set(environ)), None)
