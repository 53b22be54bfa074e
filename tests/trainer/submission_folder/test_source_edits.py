import pytest

from trainer.submission_folder.source_edits import SourceText, tidied


def test_columns_count_bytes():
    text = SourceText('x = "▁", spare\n')
    start = text.content.index(b"spare")
    edit = text.without_element(start, start + 5)
    assert text.changed([edit]) == 'x = "▁"\n'


@pytest.mark.parametrize(
    ("source", "rest"),
    [
        ("f(spare, b)", "f(b)"),
        ("f(a, spare)", "f(a)"),
        ("f(a, spare, b)", "f(a, b)"),
        ("f(\n    a,  # one\n    spare,  # two\n)", "f(\n    a,  # one\n)"),
    ],
)
def test_an_element_goes_with_its_comma_line_and_comment(source, rest):
    text = SourceText(source + "\n")
    start = source.index("spare")
    assert text.changed([text.without_element(start, start + 5)]) == rest + "\n"


def test_lines_go_with_the_comments_above_them():
    text = SourceText("a = 1\n# of b\n# more\nb = 2\nc = 3\n")
    assert text.changed([text.without_lines(4, 4)]) == "a = 1\nc = 3\n"


@pytest.mark.parametrize(
    ("source", "laid_out"),
    [
        ("f(\n    a, b\n)\n", "f(a, b)\n"),
        ("f(\n    a,\n)\n", "f(\n    a,\n)\n"),
        (f"f(\n    {'a' * 96}, b\n)\n", f"f(\n    {'a' * 96}, b\n)\n"),
        (
            "def f():\n\n    a()\n\n\n    b()\n\n\n\n\nc()\n",
            "def f():\n    a()\n\n    b()\n\n\nc()\n",
        ),
    ],
)
def test_the_layout_is_as_before(source, laid_out):
    assert tidied(source) == laid_out
