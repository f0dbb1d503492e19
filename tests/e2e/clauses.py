#!/usr/bin/python3
"""clauses.py FILE TESTS: whether FILE, tests/clauses, is right about the tests in the folder TESTS.

Prints how many clauses there are and which have no test; says what is wrong, with the line, and ends with 1."""
import pathlib
import re
import sys

LINES = 48  # of the specification


class Clause:
    def __init__(self, line, major, minor, text):
        self.line, self.major, self.minor, self.text = line, major, minor, text
        self.tests, self.missing = [], False

    def __str__(self):
        return f"{self.major}.{self.minor}"


def read(path, wrong):
    """The clauses, and the number that may be missing."""
    clauses, most = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if found := re.fullmatch(r"missing at most: (\d+)", line):
            if most is not None:
                wrong(number, "a second 'missing at most'")
            most = int(found[1])
        elif found := re.fullmatch(r"(\d+)\.(\d+) +(\S.*)", line):
            clauses.append(Clause(number, int(found[1]), int(found[2]), found[3]))
        elif not line.startswith(" ") or not clauses:
            wrong(number, f"neither a clause nor tests of one: {line}")
        elif line.strip() == "missing":
            clauses[-1].missing = True
        else:
            clauses[-1].tests += re.split(r",\s*", line.strip())
    if most is None:
        wrong(1, "no line 'missing at most: NUMBER'")
    return clauses, most


def check_numbers(clauses, wrong):
    expected = (1, 1)
    for clause in clauses:
        major, minor = expected
        if (clause.major, clause.minor) not in (expected, (major + 1, 1)) or clause.major > LINES:
            wrong(clause.line, f"{clause} comes where {major}.{minor} or {major + 1}.1 belongs")
        expected = clause.major, clause.minor + 1
    if expected[0] != LINES:
        wrong(clauses[-1].line if clauses else 1, f"the last clause is of line {expected[0]}, not of {LINES}")


def unit_tests(path):
    """The names in the lists that a test program runs."""
    if not path.is_file():
        return None
    # Comments would count otherwise; a test that is only compiled under a condition counts.
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)
    lists = re.findall(r"struct CMUnitTest \w+\[\] = \{(.*?)\};", text, re.S)
    return set(re.findall(r"\b\w+\(\s*(\w+)", " ".join(lists)))


def check_tests(clauses, tests, wrong):
    known = {}
    for clause in clauses:
        if clause.missing == bool(clause.tests):
            wrong(clause.line, f"{clause} has " + ("tests, and is missing" if clause.missing else "no test; "
                  "write 'missing' under it if there is none"))
        for name in clause.tests:
            if clause.tests.count(name) > 1:
                wrong(clause.line, f"{clause} names {name} twice")
            if found := re.fullmatch(r"e2e/(\w+)", name):
                if not (tests / "e2e" / f"{found[1]}.sh").is_file():
                    wrong(clause.line, f"{clause}: there is no {name}.sh")
            elif found := re.fullmatch(r"(test_\w+):(\w+)", name):
                if found[1] not in known:
                    known[found[1]] = unit_tests(tests / "unit" / f"{found[1]}.c")
                if known[found[1]] is None:
                    wrong(clause.line, f"{clause}: there is no unit/{found[1]}.c")
                elif found[2] not in known[found[1]]:
                    wrong(clause.line, f"{clause}: unit/{found[1]}.c runs no {found[2]}")
            else:
                wrong(clause.line, f"{clause}: a test is test_FILE:NAME or e2e/NAME, but not '{name}'")


def main(path, tests):
    faults = []

    def wrong(line, what):
        faults.append(f"{path}:{line}: {what}")

    clauses, most = read(path, wrong)
    check_numbers(clauses, wrong)
    check_tests(clauses, tests, wrong)
    missing = [clause for clause in clauses if clause.missing]
    if most is not None and len(missing) != most:
        wrong(1, f"{len(missing)} clauses are missing, but 'missing at most' says {most}")
    for clause in missing:
        print(f"missing: {clause} {clause.text}")
    print(f"{len(clauses)} clauses, {len(missing)} of them missing")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
