"""The axioms, one file a family; each is defined in one place, and registers itself."""

import importlib
import pkgutil

for _family in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_family.name}")

# They are found in the register, by their names.
__all__: list[str] = []
