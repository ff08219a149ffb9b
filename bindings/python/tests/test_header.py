"""``_c.py`` matches ``layerwise.h``: sizes, offsets and numbers through a C compiler, prototypes by their text."""

import ctypes
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from layerwise import _c, schedules, settings

HEADER = Path(__file__).resolve().parents[2] / "c" / "include" / "layerwise.h"
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)

STRUCTS = {name: struct for name, struct in vars(_c).items() if name.startswith("lw_")}
NUMBERS = {name: value for name, value in vars(_c).items() if name.startswith("LW_")}


def text():
    """The header without comments."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", HEADER.read_text(), flags=re.S)


def enumerations():
    """The numbers of all enumerations."""
    found = {}
    for body in re.findall(r"enum\s*\{(.*?)\}", text(), re.S):
        found.update((name, int(value)) for name, value in re.findall(r"(LW_\w+)\s*=\s*(-?\d+)", body))
    return found


def fields_of(struct):
    """The members as C sees them, including those of an anonymous union."""
    for field in struct._fields_:
        yield from ("sgd", "novograd", "adam") if field[0] == "rules" else (field[0],)


def printed_by_c(lines):
    """The output of a C program."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "print.c"), Path(folder, "print")
        body = "\n".join(lines)
        source.write_text(f'#include <stdio.h>\n#include "{HEADER}"\nint main(void) {{\n{body}\nreturn 0;\n}}\n')
        subprocess.run([COMPILER, "-std=c11", "-Wall", "-Werror", source, "-o", program], check=True)
        return subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()


@unittest.skipUnless(HEADER.exists(), "not in a checkout")
class Header(unittest.TestCase):
    @unittest.skipUnless(COMPILER, "no C compiler")
    def test_sizes_offsets_and_numbers(self):
        lines, expected = [], []
        for name, struct in STRUCTS.items():
            lines.append(f'printf("%zu\\n", sizeof({name}));')
            expected.append((name, ctypes.sizeof(struct)))
            for field in fields_of(struct):
                lines.append(f'printf("%zu\\n", offsetof({name}, {field}));')
                expected.append((f"{name}.{field}", getattr(struct, field).offset))
                lines.append(f'printf("%zu\\n", sizeof((({name} *)0)->{field}));')
                expected.append((f"size of {name}.{field}", getattr(struct, field).size))
        for name, number in NUMBERS.items():
            lines.append(f'printf("%llu\\n", (unsigned long long){name});')
            expected.append((name, number))
        found = [int(line) for line in printed_by_c(lines)]
        self.assertEqual(len(found), len(expected))
        self.assertGreater(len(found), 300)
        for number, (name, value) in zip(found, expected):
            self.assertEqual(number, value, name)

    @unittest.skipUnless(COMPILER, "no C compiler")
    def test_defaults_of_loss_scalers(self):
        for kind, macro in (("backoff", "LW_BACKOFF_DEFAULT"), ("log_max", "LW_LOG_MAX_DEFAULT")):
            c = schedules.loss_scaler(kind)._c
            names = [field[0] for field in c._fields_ if field[0] != "reserved"]
            prints = [f'printf("%.17g\\n", (double)scaler.{name});' for name in names]
            found = printed_by_c([f"lw_loss_scaler scaler = {macro};", *prints])
            self.assertEqual([float(x) for x in found], [float(getattr(c, name)) for name in names], kind)

    def test_all_structures_are_there(self):
        in_c = set(re.findall(r"typedef struct (lw_\w+)", text()))
        self.assertEqual(in_c, set(STRUCTS))
        for name, struct in STRUCTS.items():
            body = re.search(rf"typedef struct {name}\s*\{{(.*?)\}}\s*{name};", text(), re.S)[1]
            members = re.findall(r"(\w+)(?:\[\w+\])?\s*;", body)
            self.assertEqual(members, list(fields_of(struct)), name)

    def test_prototypes(self):
        kinds = {
            "double": ctypes.c_double,
            "size_t": ctypes.c_size_t,
            "uint32_t": ctypes.c_uint32,
            "uint64_t": ctypes.c_uint64,
            "int": ctypes.c_int,
            "lw_status": ctypes.c_int32,
            "char *": ctypes.c_char_p,
            **STRUCTS,
        }

        def kind(declared):
            declared = declared.replace("const ", "").strip()
            if "*" in declared and not declared.startswith("char"):
                return ctypes.c_void_p
            return kinds["char *" if "*" in declared else declared.split()[0]]

        found = {}
        for result, name, arguments in re.findall(r"^(\w[\w ]*[ *])(lw_\w+)\(([^)]*)\);", text(), re.M):
            listed = [] if arguments == "void" else arguments.split(",")
            found[name] = (kind(result), [kind(argument) for argument in listed])
        self.assertEqual(found, _c.FUNCTIONS)

    def test_words_of_enumerations(self):
        prefixes = {
            (_c.lw_larc, "mode"): "LARC",
            (_c.lw_larc, "zero_norm"): "ZERO",
            (_c.lw_larc, "decay_in_ratio"): "RATIO",
            (_c.lw_novograd, "decay_mode"): "DECAY",
            (_c.lw_novograd, "v_init"): "INIT",
            (_c.lw_novograd, "gradient_averaging"): "AVERAGING",
            (_c.lw_novograd, "bias_correction"): "BIAS",
            (_c.lw_novograd, "norm"): "NORM",
            (_c.lw_adam, "decay_mode"): "ADAM",
            (_c.lw_adam, "bias_correction"): "CORRECTION",
        }
        in_c = enumerations()
        self.assertEqual(set(prefixes), set(settings.CHOICES))
        for which, prefix in prefixes.items():
            for number, word in enumerate(settings.CHOICES[which]):
                word = {None: "off", "no": "no_decay"}.get(word, word)
                self.assertEqual(in_c[f"LW_{prefix}_{word.upper()}"], number)
        for number, policy in enumerate(schedules.POLICIES, 1):
            self.assertEqual(in_c[f"LW_{policy.upper()}"], number)

    def test_settings_have_all_fields(self):
        common = set(settings.CommonSettings.__annotations__)
        for struct, typed in (
            (_c.lw_larc, settings.LarcSettings),
            (_c.lw_luc, settings.LucSettings),
            (_c.lw_sgd, settings.SgdSettings),
            (_c.lw_novograd, settings.NovoGradSettings),
            (_c.lw_adam, settings.AdamSettings),
        ):
            self.assertEqual(set(settings.names_of(struct)), set(typed.__annotations__) - common, struct)


if __name__ == "__main__":
    unittest.main()
