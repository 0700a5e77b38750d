"""Your tables: each module of this folder is imported, so that its table is known."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

for module in iter_modules([str(Path(__file__).parent)]):
    import_module(f"app.models.{module.name}")
