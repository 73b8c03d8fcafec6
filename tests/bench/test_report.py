"""The page: everything is in it, nothing is fetched, and what others wrote is text and not markup."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from shmring.bench.report import page

from shmring import bench

PNG = b"\x89PNG\r\n\x1a\n"


class Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.rows = [], [], 0

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.rows += tag == "tr"
        self.fetched += [named[key] for key in ("src", "href", "action") if key in named]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def outline(result):
    text = page(result, [("throughput", "Throughput", PNG)])
    outline = Outline()
    outline.feed(text)
    outline.close()
    outline.text = text
    return outline


def test_every_element_is_closed(outline):
    assert outline.open == []


def test_it_needs_no_other_file_and_no_network(outline):
    assert [each for each in outline.fetched if not each.startswith(("#", "data:image/png;base64,"))] == []
    assert re.search(r"@import|url\(|https?://|fetch\(|XMLHttpRequest", outline.text) is None


def test_the_picture_is_inside(outline):
    assert any(each.startswith("data:image/png") for each in outline.fetched)


def test_failures_stand_there_with_their_reason(outline):
    assert "HUNG" in outline.text
    assert "no end at the deadline" in outline.text
    assert "not installed" in outline.text


def test_names_are_text(outline):
    assert "<b>missing" not in outline.text
    assert "a &lt;b&gt;missing&lt;/b&gt; one" in outline.text


def test_it_tells_machine_versions_and_the_command_to_reproduce(outline):
    for said in ("A CPU", "shmring bench throughput --rounds 5", "hyperq", "1.0.0", "Reading the clock takes 40 ns"):
        assert said in outline.text


def test_numbers_can_be_sorted_by_their_value(outline):
    assert 'data-sort="1.1e+07"' in outline.text


def test_report_and_pictures_are_written_of_a_stored_result(result, tmp_path):
    pytest.importorskip("matplotlib")
    second = bench.Table("throughput", "1 KiB, one to one", "messages/s", "higher", {"length": 1024})
    second.rows = result.tables[0].rows
    result.tables.append(second)
    bench.write(result, tmp_path / "results.json")
    # In a program of its own, as matplotlib keeps its fonts open.
    command = [sys.executable, "-m", "shmring", "bench", "report", tmp_path / "results.json", "--out", tmp_path / "out"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.rpartition("/")[2] for line in ended.stdout.split()] == ["report.html", "throughput.png"]
    assert (tmp_path / "out" / "throughput.png").read_bytes().startswith(PNG)


def test_without_matplotlib_the_report_says_what_to_install(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    (report,) = bench.write_report(result, tmp_path)
    assert "shmring[bench]" in report.read_text()


def test_the_readme_table_names_date_machine_and_winners(result):
    text = bench.readme_table(result)
    assert "| throughput, 64 B, one to one | 11 M (spsc put, get) | 2 M (hyperq) | 5.5x |" in text
    assert "Measured 2026-11-21, A CPU, 2 CPUs, 16 GiB" in text
    assert "No rival wins" in text
    result.tables[0].rows[2].values = [22e6]
    assert "throughput, 64 B, one to one: hyperq by 2x" in bench.readme_table(result)


def test_the_table_goes_between_the_marks(result, tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- bench: begin (made by `shmring bench readme`) -->\nold\n<!-- bench: end -->\nafter\n")
    bench.put_into(path, "new")
    assert path.read_text() == (
        "before\n<!-- bench: begin (made by `shmring bench readme`) -->\nnew\n<!-- bench: end -->\nafter\n"
    )
    path.write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        bench.put_into(path, "new")
