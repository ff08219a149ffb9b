"""Where the library is searched for, and the error if it is not a library."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from layerwise import _library

PACKAGE = Path(_library.__file__).parent
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def imported(package, **environment):
    """The name of the library that a fresh interpreter loads, or the error."""
    code = "import layerwise._library as l; print(l.library._name)"
    cleared = {name: value for name, value in os.environ.items() if name != "LAYERWISE_LIBRARY"}
    environment = {**cleared, **environment, "PYTHONPATH": str(package.parent)}
    # Outside the checkout, where the package would be found first.
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True)
    return run.stdout.strip() or run.stderr.strip().splitlines()[-1]


@unittest.skipIf(sys.platform == "win32", "paths")
class Library(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve() / "bindings"
        self.package = self.folder / "python" / "layerwise"
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("*.so", "*.dylib", "__pycache__"))

    def copy(self, to):
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_library.library._name, to)
        return str(to)

    def test_the_order(self):
        missing = imported(self.package)
        self.assertRegex(missing, f"ImportError: .*{_library._NAME} was not found. Build it.*LAYERWISE_LIBRARY")
        built = self.copy(self.folder / "c" / "target" / "release" / _library._NAME)
        self.assertEqual(imported(self.package), built)
        beside = self.copy(self.package / _library._NAME)
        self.assertEqual(imported(self.package), beside)
        named = self.copy(self.folder / "elsewhere.so")
        self.assertEqual(imported(self.package, LAYERWISE_LIBRARY=named), named)

    def test_what_is_no_library(self):
        self.copy(self.package / _library._NAME)
        text = self.folder / "text.so"
        text.write_text("no library")
        for bad in (text, self.folder / "absent.so"):
            found = imported(self.package, LAYERWISE_LIBRARY=str(bad))
            self.assertRegex(found, f"{bad} is not the library of layerwise")

    @unittest.skipUnless(COMPILER, "no C compiler")
    def test_another_version(self):
        source, built = self.folder / "other.c", self.folder / "other.so"
        source.write_text("unsigned lw_abi_version(void) { return 77; }")
        subprocess.run([COMPILER, "-shared", "-fPIC", source, "-o", built], check=True)
        found = imported(self.package, LAYERWISE_LIBRARY=str(built))
        self.assertRegex(found, "has version 77 of the C interface, and this module needs version 1")


if __name__ == "__main__":
    unittest.main()
