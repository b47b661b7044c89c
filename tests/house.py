#!/usr/bin/env python3
"""Checks the rules of the house that a script can check: see .github/CONTRIBUTING.md, "The rooms".

Prints one line for each broken rule, and exits with 1 if there is any.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include" / "eigenformer"
ROOMS = ["core", "text", "kernels", "tensors", "autograd", "ops", "layers", "models"]  # each includes only earlier ones
LAST_ROOMS = ["train", "decode", "io"]  # these include all of ROOMS, but not each other
MAX_LINES = 350
MAX_PARAMETERS = 6
# Intrinsics of x86, AMX and NEON, and the headers that may use them.
INTRINSIC = re.compile(r"\b(_mm\d*_\w+|__m\d+\w*|_tile_\w+|v[a-z]\w*_(?:lane_|n_)?(?:[fsu]\d+|bf16))\b")
# Calls of min and max that macros of these names, such as those of windows.h, would replace.
UNGUARDED = re.compile(r"(?<!\w)(min|max)\s*\(")
MAY_USE_INTRINSICS = re.compile(r"core/(simd\.hpp|detail/|matrix_unit)")


def without_comments(text):
    """The code, with comments and the insides of literals blanked, line by line."""
    out = []
    i = 0
    while i < len(text):
        if text.startswith("//", i):
            end = text.find("\n", i)
            end = len(text) if end < 0 else end
            out.append(" " * (end - i))
        elif text.startswith("/*", i):
            end = text.index("*/", i) + 2
            out.append(re.sub(r"[^\n]", " ", text[i:end]))
        elif text[i] == '"' or (text[i] == "'" and not (i > 0 and text[i - 1].isalnum())):
            end = i + 1
            while text[end] != text[i]:
                end += 2 if text[end] == "\\" else 1
            end += 1
            out.append(text[i] + " " * (end - i - 2) + text[i])
        else:
            end = i + 1
            out.append(text[i])
        i = end
    code = "".join(out)
    return re.sub(r"(?m)^[ \t]*#(?:.*\\\n)*.*", lambda m: re.sub(r"[^\n]", " ", m.group()), code)


def closing(code, begin, brackets="{}"):
    """The place of the bracket that closes the one at `begin`."""
    depth = 0
    for i in range(begin, len(code)):
        if code[i] == brackets[0]:
            depth += 1
        elif code[i] == brackets[1]:
            depth -= 1
            if depth == 0:
                return i
    raise ValueError("a bracket is not closed")


def declarations(code):
    """The code with function bodies, initialisers and blocks of `namespace detail` blanked."""
    blanked = list(code)
    last = 0  # where the present declaration begins
    depth = 0  # of parentheses
    i = 0
    while i < len(code):
        c = code[i]
        depth += (c in "([") - (c in ")]")
        if c == ";" and depth == 0 or c == "}":
            last = i + 1
        if c == "{":
            head = re.sub(r"template\s*<(?:[^<>]|<[^<>]*>)*>", "", code[last:i])
            is_namespace = re.search(r"\bnamespace\b", head) and not re.search(r"\bdetail\b", head)
            is_type = depth == 0 and re.search(r"\b(class|struct|union|enum)\b", head) and not re.search(
                r"\(", re.sub(r"\b(requires|decltype|alignas)\s*\((?:[^()]|\([^()]*\))*\)", "", head))
            if is_namespace or is_type:
                last = i + 1
            else:
                end = closing(code, i)
                for k in range(i + 1, end):
                    if blanked[k] != "\n":
                        blanked[k] = " "
                i = end
                if depth == 0:
                    last = end + 1
        i += 1
    return "".join(blanked)


def parameters(code):
    """(line, name, number of parameters) of what looks like a function's declaration or definition."""
    for match in re.finditer(r"(?:^|[\s&*>:~])(operator\(\)|[A-Za-z_]\w*)\s*\(", code):
        begin = match.end() - 1
        try:
            end = closing(code, begin, "()")
        except ValueError:
            continue
        after = code[end + 1:end + 60].lstrip()
        if not re.match(r"(const\b|noexcept|override|requires|\{|;|:(?!:)|->)", after):
            continue
        parts, depth, part = [], 0, ""
        for c in code[begin + 1:end]:
            depth += (c in "([{<") - (c in ")]}>")
            if c == "," and depth == 0:
                parts.append(part)
                part = ""
            else:
                part += c
        parts.append(part)
        typed = sum(1 for p in parts if re.search(r"[\w>&*]\s+[&*]?\w+|\w+[&*]\s*\w*$", p.strip()))
        if typed >= 0.8 * len(parts):
            yield code.count("\n", 0, match.start(1)) + 1, match.group(1), len(parts)


def room_of(path):
    return path.parts[0] if len(path.parts) > 1 else None


def may_include(room, other):
    if room is None or room == other or room not in ROOMS + LAST_ROOMS or other not in ROOMS + LAST_ROOMS:
        return True
    if other in LAST_ROOMS:
        return False
    return room in LAST_ROOMS or ROOMS.index(other) < ROOMS.index(room)


def cycles(includes):
    """Headers that include themselves by way of others."""
    done, path = set(), []

    def visit(header):
        if header in path:
            yield " -> ".join(path[path.index(header):] + [header])
            return
        if header in done:
            return
        path.append(header)
        for other in sorted(includes.get(header, ())):
            yield from visit(other)
        path.pop()
        done.add(header)

    for header in sorted(includes):
        yield from visit(header)


def untagged_tests(text):
    """Yields the lines of test cases that start threads but lack the tag [threads], which selects them for the thread
    sanitizer."""
    begins = [match.start() for match in re.finditer(r"(?m)^(?:TEMPLATE_)?(?:LIST_)?TEST_CASE\(", text)]
    for begin, end in zip(begins, begins[1:] + [len(text)]):
        case = text[begin:end]
        head, _, body = case.partition("{")
        if re.search(r"ThreadPool|run_ranks\(|std::j?thread\b", body) and "[threads]" not in head:
            yield text.count("\n", 0, begin) + 1


def main():
    broken = []
    includes = {}
    for file in sorted(HEADERS.rglob("*.hpp")):
        path = file.relative_to(HEADERS)
        where = file.relative_to(ROOT)
        text = file.read_text(encoding="utf-8")
        lines = text.split("\n")
        is_public = "detail" not in path.parts
        if not text.startswith("// "):
            broken.append(f"{where}:1: begins without a comment that says what it is for")
        if text.count("\n") > MAX_LINES:
            broken.append(f"{where}: {text.count(chr(10))} lines, expected at most {MAX_LINES}")
        includes[str(path)] = set(re.findall(r'#include "eigenformer/([^"]+)"', text))
        for other in sorted(includes[str(path)]):
            if not may_include(room_of(path), room_of(pathlib.Path(other))):
                broken.append(f"{where}: includes {other}, whose room does not come before its own")
        code = without_comments(text)
        for line, name, count in parameters(code):
            if count > MAX_PARAMETERS and not ("gemm" in path.parts and "EIGEN_ALWAYS_INLINE" in lines[line - 1]):
                broken.append(f"{where}:{line}: {name} has {count} parameters, expected at most {MAX_PARAMETERS}")
        for number, line in enumerate(code.split("\n"), 1):
            if INTRINSIC.search(line) and not MAY_USE_INTRINSICS.match(path.as_posix()):
                broken.append(f"{where}:{number}: {INTRINSIC.search(line).group()} belongs in core/simd.hpp")
            if UNGUARDED.search(line):
                name = UNGUARDED.search(line).group(1)
                broken.append(f"{where}:{number}: {name}(..) without parentheses around its name")
        if not is_public:
            continue
        if re.search(r"EIGENFORMER_ABI::detail \{", text):
            broken.append(f"{where}: everything in it is detail, but it is in no detail/ folder")
        for number, line in enumerate(declarations(code).split("\n"), 1):
            if "detail::" in line:
                broken.append(f"{where}:{number}: a public declaration mentions detail::: {line.strip()[:80]}")
        for number, line in enumerate(lines, 1):
            if "detail::" in line.partition("//")[2]:
                broken.append(f"{where}:{number}: a comment mentions detail::")
    broken += [f"includes go round: {cycle}" for cycle in cycles(includes)]
    for folder in ("bench", "examples"):
        for file in sorted((ROOT / folder).rglob("*.[ch]pp")):
            for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
                if re.search(r"eigenformer/[a-z0-9_/]*detail/|\bef::detail::|eigenformer::detail::", line):
                    broken.append(f"{file.relative_to(ROOT)}:{number}: uses what is internal: {line.strip()[:80]}")
    for file in sorted((ROOT / "tests").rglob("*_test.cpp")):
        broken += [f"{file.relative_to(ROOT)}:{line}: a test case that starts threads needs the tag [threads]"
                   for line in untagged_tests(file.read_text(encoding="utf-8"))]
    print("\n".join(broken) if broken else f"{len(includes)} headers keep the rules of the house")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
