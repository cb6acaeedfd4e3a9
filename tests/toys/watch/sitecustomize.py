"""Put on PYTHONPATH, this writes down what every Python process of a run loads and which settings it reads.

One JSON file a process in the folder that CLDTRANS_WATCH names: argv, modules, fields ("ModelConfig.width").
Reads by the settings' own validators, and by what collects a cell's settings for its hash, do not count.
"""

import atexit
import importlib.abc
import importlib.util
import json
import os
import sys
from pathlib import Path

FOLDER = os.environ.get("CLDTRANS_WATCH", "")
SETTINGS = "cldtrans.config.settings"
COLLECTORS = (
    "cldtrans/config/settings.py",
    "cldtrans/config/reading.py",
    "cldtrans/config/derived.py",
    "cldtrans/methods/cells.py",
    "pydantic/main.py",
)
fields: set[str] = set()


def watch(module) -> None:
    """Note each field that is read from a section of the settings."""
    section = module.Section
    plain, dump = section.__getattribute__, section.model_dump

    def noting(self, name):
        caller = sys._getframe(1).f_code.co_filename
        if name in type(self).model_fields and not caller.endswith(COLLECTORS):
            fields.add(f"{type(self).__name__}.{name}")
        return plain(self, name)

    def dumping(self, *args, **options):
        caller = sys._getframe(1).f_code.co_filename
        if not caller.endswith(COLLECTORS):
            fields.update(f"{type(self).__name__}.{name}" for name in type(self).model_fields)
        return dump(self, *args, **options)

    section.__getattribute__, section.model_dump = noting, dumping


class Finder(importlib.abc.MetaPathFinder):
    """Watches the settings as soon as they are loaded."""

    def find_spec(self, name, path, target=None):
        if name != SETTINGS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def and_watch(module) -> None:
            execute(module)
            watch(module)

        setattr(spec.loader, "exec_module", and_watch)  # noqa: B010 - types know no assignment to a method
        return spec


@atexit.register
def write() -> None:
    record = {"argv": sys.argv, "modules": sorted(sys.modules), "fields": sorted(fields)}
    Path(FOLDER, f"{os.getpid()}.json").write_text(json.dumps(record))


if FOLDER:
    sys.meta_path.insert(0, Finder())
else:
    atexit.unregister(write)
