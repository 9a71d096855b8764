"""TeX to MathML: what must come out, and what must be refused and not mangled."""

from xml.etree import ElementTree

import pytest

from lowcap.book.pages.mathml import to_mathml

SPACE = "{http://www.w3.org/1998/Math/MathML}"


def tags(tex, display=False):
    return [e.tag.removeprefix(SPACE) for e in ElementTree.fromstring(to_mathml(tex, display)).iter()]


def test_a_fraction_has_two_parts():
    fraction = ElementTree.fromstring(to_mathml(r"\frac{a}{b + c}")).find(f".//{SPACE}mfrac")
    assert ["".join(part.itertext()) for part in fraction] == ["a", "b+c"]


def test_display_and_inline_differ():
    assert 'display="block"' in to_mathml("x", display=True)
    assert 'display="inline"' in to_mathml("x")


@pytest.mark.parametrize("name", ["aligned", "align", "align*", "split", "gathered"])
def test_aligned_rows_become_a_table_without_numbers(name):
    tex = rf"\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}"
    assert tags(tex, display=True).count("mtr") == 2
    assert "(1)" not in to_mathml(tex, display=True)


def test_a_named_operator_is_one_upright_word_without_operator_spacing():
    assert "<mi>ReLU</mi>" in to_mathml(r"\operatorname{ReLU}(x)")
    assert "<mi>max</mi>" in to_mathml(r"\max(0, x)")


@pytest.mark.parametrize(
    ("tex", "told"),
    [
        (r"\foo{x}", r"\\foo"),
        (r"\frac{a", "braces"),
        (r"\begin{tikzpicture}a\end{tikzpicture}", "tikzpicture"),
    ],
)
def test_what_cannot_be_set_is_refused(tex, told):
    with pytest.raises(ValueError, match=told):
        to_mathml(tex)
