"""The examples in the README and the docstrings work."""

import doctest
import unittest
from pathlib import Path

import layerwise

README = Path(__file__).resolve().parents[1] / "README.md"


class Readme(unittest.TestCase):
    def run_examples(self, text, globs):
        test = doctest.DocTestParser().get_doctest(text, globs, "README.md", str(README), 0)
        self.assertGreater(len(test.examples), 2)
        self.assertEqual(doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed, 0)

    @unittest.skipUnless(README.exists(), "not in a checkout")
    def test_the_page(self):
        try:
            import torch  # noqa: F401

            left_out = []
        except ImportError:
            left_out = ["With torch"]
        sections = README.read_text().split("\n## ")
        chosen = [section for section in sections if section.split("\n")[0] not in left_out]
        self.assertEqual(len(chosen), len(sections) - len(left_out))
        self.run_examples("\n".join(chosen), {})

    def test_the_package(self):
        self.run_examples(layerwise.__doc__, {})


if __name__ == "__main__":
    unittest.main()
