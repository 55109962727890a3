"""Finds the resources whose entities depend on a text that may be unreadable; pure.

An unreadable text is not an empty one: the entities that would come of it may still be there, so they are not deleted.
A value that is only shown may be null, as in Ocean.
"""

import re
from collections.abc import Iterable

from gitlab_port_export.jq.keys import needed_keys
from gitlab_port_export.mapping.model import Resource

# The text itself, or the whole of the object that holds it.
CONTENT = re.compile(r"""content|\.file\b(?!\s*\.\s*[A-Za-z_])|"file\"""")
INCLUDED = re.compile("__includedFiles")
FRONT_MATTER = re.compile(r"""\b(name|description|instructions|frontmatter)\b|\.skill\b(?!\s*\.\s*[A-Za-z_])""")


def dependent_on(resources: Iterable[Resource], text: re.Pattern[str]) -> frozenset[int]:
    """Return the resources whose entities, or their identifiers, depend on a text."""
    return frozenset(
        resource.index for resource in resources if any(_reaches(part, text) for part in _deciding(resource))
    )


def _deciding(resource: Resource) -> Iterable[str]:
    yield resource.selector.query
    if resource.port.items_to_parse is not None:
        yield resource.port.items_to_parse
    for entity in resource.mappings:
        yield entity.blueprint
        # What is found by a search holds its deletions anyway.
        if isinstance(entity.identifier, str):
            yield entity.identifier


def _reaches(expression: str, text: re.Pattern[str]) -> bool:
    return needed_keys([expression]) is None or text.search(expression) is not None
