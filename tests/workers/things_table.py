"""Print the table of docs/workers.md: what people send to pools, with ours, concurrent.futures and loky.

Takes a minute; needs the packages of make test-programs.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import things
import ways

PROGRAM = Path(__file__).with_name("things.py")
REFUSALS = ("TypeError", "PicklingError", "AttributeError")
OURS, STANDARD = ("forkserver", "spawn", "fork"), ("standard forkserver", "standard spawn", "standard fork")
WAYS = {"a script": ways.script, "a prompt": ways.prompt, "a notebook": ways.notebook}
BY_HAND = ("a prompt", "a notebook")
COLUMNS = {
    "shmring": [(method, way) for method in OURS for way in WAYS],
    "concurrent.futures in a script": [(method, "a script") for method in STANDARD],
    "at a prompt or in a notebook": [(method, way) for method in STANDARD for way in BY_HAND],
    "loky": [("loky", way) for way in WAYS],
}


def outcomes(method, way):
    """What became of each thing; nothing where the program did not come to its end."""
    try:
        said = WAYS[way](PROGRAM, {"THINGS_METHOD": method})
        return json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    except Exception as error:
        print(f"{method}, {way}: {error!r}"[:300], file=sys.stderr)
        return {}


def word(outcome, name):
    """One outcome in a word or two."""
    kind = (outcome or "nothing").partition(":")[0]
    if things.THINGS[name][2] is things.REFUSED:
        return "refused" if kind in ("right", *REFUSALS) else "**arrives as something else**"
    if kind == "right":
        return "right"
    if kind in REFUSALS:
        return "refused"
    if kind in things.BROKEN or kind == "nothing":
        return "breaks the pool"
    return "**wrong, silently**" if ", not " in outcome else kind


def cell(results, name):
    """The outcomes of one library; where they differ, of which start methods or ways to run."""
    kinds = {}
    for (method, way), each in results.items():
        methods, in_ways = kinds.setdefault(word(each.get(name), name), ({}, {}))
        methods[method.split()[-1]], in_ways[way] = None, None
    if len(kinds) == 1:
        return next(iter(kinds))
    methods = [tuple(each[0]) for each in kinds.values()]
    which = 1 if len({*methods}) < len(methods) else 0
    return ", ".join(f"{kind} ({', '.join(each[which])})" for kind, each in kinds.items())


def main():
    jobs = [each for column in COLUMNS.values() for each in column]
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(jobs, pool.map(lambda job: outcomes(*job), jobs), strict=True))
    print("| | " + " | ".join(COLUMNS) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    for name in things.THINGS:
        cells = [cell({job: results[job] for job in column}, name) for column in COLUMNS.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
