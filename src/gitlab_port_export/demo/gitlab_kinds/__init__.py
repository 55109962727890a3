"""What the stand-in GitLab serves of each kind: one module a kind, found by itself.

A module has `ROUTES`, the endpoints of the kind. It may have `fill_sample`, which gives the sample world some rows.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def kind_modules() -> tuple[ModuleType, ...]:
    """Return the modules of this package."""
    return tuple(import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
