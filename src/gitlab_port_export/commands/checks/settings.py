"""Checks of the settings: faults that keep them from being used, and what is doubtful."""

from gitlab_port_export.base.errors import ExportError
from gitlab_port_export.commands.checks.facts import Facts, Findings, Look
from gitlab_port_export.commands.checks.finding import Finding


def faulty_settings(error: ExportError) -> Findings:
    """Yield a finding for each fault that keeps the settings from being used at all."""
    for fault in error.faults:
        yield Finding("error", "settings", fault.where or "settings", fault.what, fault.hint or error.hint)


def settings_are_complete(facts: Facts) -> Look:
    """Yield what is doubtful about the settings."""
    for problem in facts.settings.warnings:
        yield Finding("warning", "settings", "settings", problem.why, problem.hint)
    if not facts.settings.warnings:
        yield Finding("ok", "settings", "settings", "complete and without contradiction")
    for token in facts.settings.tokens:
        reads = "everything" if token.patterns == ("**",) else ", ".join(token.patterns)
        yield Finding("ok", "settings", token.alias, f"comes from {token.source} and is for {reads}")
    return None
