"""What is done to the files, apart from any transport."""

from shmring.demo.messages import COUNTS, END, FILE, Hop, Reduction, files_of, tokenized
from shmring.demo.work import Counts, count_in_one_process, count_source, find_files, mapped


def test_every_python_file_is_found_but_none_that_was_installed(library):
    found = {path.relative_to(library).as_posix() for path in find_files(library)}
    assert "package/inner.py" in found
    assert not any("site-packages" in name or name.endswith(".txt") for name in found)


def test_an_installation_below_a_directory_called_site_packages_is_no_reason_to_skip_all(tmp_path):
    inner = tmp_path / "site-packages" / "library"
    inner.mkdir(parents=True)
    (inner / "a.py").write_bytes(b"a = 1\n")
    assert len(find_files(inner)) == 1


def test_names_are_counted_and_keywords_are_not():
    counts = count_source(b"def f(path):\n    return path\n")
    assert counts.names == {"f": 1, "path": 2}
    assert (counts.files, counts.lines, counts.not_python) == (1, 2, 0)


def test_a_last_line_without_a_newline_is_a_line():
    assert [count_source(source).lines for source in (b"", b"x", b"x\n", b"x\ny")] == [0, 1, 1, 2]


def test_a_file_that_is_no_python_counts_with_its_lines_and_no_tokens(library):
    for name in ("broken_indent.py", "open_bracket.py", "bad_coding.py", "not_utf8.py"):
        counts = count_source((library / name).read_bytes())
        assert (counts.not_python, counts.tokens, counts.names) == (1, 0, {})
        assert counts.lines > 0


def test_an_empty_file_can_be_mapped_too(library):
    with mapped(library / "empty.py") as content:
        assert len(content) == 0


def test_counts_survive_json(library):
    counts = count_in_one_process(library)
    assert Counts.fromdict(counts.asdict()) == counts


def test_a_file_delivered_again_is_added_once(library):
    reduction = Reduction()
    for number, content in files_of(library):
        answer = tokenized(FILE.pack(number, 0) + bytes(content))
        reduction.add(answer)
        reduction.add(answer)
    assert reduction.complete
    assert reduction.counts == count_in_one_process(library)
    assert reduction.again == reduction.counts.files


def test_the_end_is_not_reached_before_every_file_was_added():
    reduction = Reduction()
    reduction.add(COUNTS.pack(END, 0, 0) + (2).to_bytes(4, "little"))
    assert not reduction.complete


def test_percentiles_are_of_the_spans_that_were_seen():
    assert vars(Hop.of(list(range(1, 101)))) == {"p50": 51, "p99": 100}
    assert vars(Hop.of([7])) == {"p50": 7, "p99": 7}
    assert vars(Hop.of([])) == {"p50": 0, "p99": 0}
