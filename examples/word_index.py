"""In which files of a folder does each word occur, and how often? Workers read and count, this process collects.

python word_index.py [FOLDER] [--workers 2] [--check] [WORD ...]

FOLDER is by default this Python's standard library. --check does the same in a plain loop and compares.
"""

import argparse
import collections
import pathlib
import re
import sys
import sysconfig

from shmring import Pipeline

WORD = re.compile(r"[^\W\d_]{2,}")
Index = dict[str, dict[str, int]]


def words_of(path: str) -> tuple[str, dict[str, int]]:
    """Count the words of one file."""
    text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    return path, collections.Counter(word.lower() for word in WORD.findall(text))


def add(index: Index, counted: tuple[str, dict[str, int]]) -> None:
    """Enter one file's words into the index."""
    path, words = counted
    for word, count in words.items():
        index.setdefault(word, {})[path] = count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=sysconfig.get_path("stdlib"))
    parser.add_argument("words", nargs="*", default=["ring", "queue"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()

    files = sorted(str(path) for path in pathlib.Path(options.folder).rglob("*.py") if path.is_file())
    index: Index = {}
    pipeline = (
        Pipeline()
        .source(files)
        .stage(words_of, workers=options.workers, batch=8)
        .sink(lambda counted: add(index, counted))
    )
    pipeline.run(progress=sys.stderr.isatty())

    print(f"{len(files)} files, {len(index)} words")
    for word in options.words:
        found = sorted(index.get(word, {}).items(), key=lambda entry: (-entry[1], entry[0]))
        for path, count in found[:3]:
            print(f"{word}: {count} times in {path}")
    if options.check:
        plain: Index = {}
        for path in files:
            add(plain, words_of(path))
        if plain != index:
            sys.exit("the plain loop found something else")
        print("the plain loop found the same")


if __name__ == "__main__":
    main()
