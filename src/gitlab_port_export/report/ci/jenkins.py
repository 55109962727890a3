"""Jenkins: it has no commands in the log; its plugins read the JUnit report and mask the secrets."""

from gitlab_port_export.report.ci.system import CiSystem, Sign

SYSTEM = CiSystem(name="jenkins", title="Jenkins", sign=Sign("JENKINS_URL"))
