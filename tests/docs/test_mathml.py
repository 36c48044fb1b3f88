"""Formulas as MathML: worked examples, what is refused, and every formula that the package and its docs hold."""

import ast
import doctest
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]


def _body(mathml, tex: str, **options: bool) -> str:
    found = mathml.mathml(tex, **options)
    ElementTree.fromstring(found.replace("&nbsp;", " "))  # it is well formed
    return re.sub(r"^<math[^>]*>|</math>$", "", found)


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        ("x", "<mi>x</mi>"),
        (r"\alpha", "<mi>α</mi>"),
        ("12.5", "<mn>12.5</mn>"),
        ("-x", "<mrow><mo>−</mo><mi>x</mi></mrow>"),
        ("x_i", "<msub><mi>x</mi><mi>i</mi></msub>"),
        ("x^2", "<msup><mi>x</mi><mn>2</mn></msup>"),
        ("x^2_i", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"),
        ("h'_v", "<msubsup><mi>h</mi><mi>v</mi><mo>′</mo></msubsup>"),
        ("x^12", "<mrow><msup><mi>x</mi><mn>1</mn></msup><mn>2</mn></mrow>"),
        (r"\frac12", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
        (r"\tfrac{a}{b c}", "<mfrac><mi>a</mi><mrow><mi>b</mi><mi>c</mi></mrow></mfrac>"),
        (r"\sqrt d", "<msqrt><mi>d</mi></msqrt>"),
        (r"\bar x", '<mover accent="true"><mi>x</mi><mo stretchy="false">¯</mo></mover>'),
        (r"\sum_m", "<munder><mo>∑</mo><mi>m</mi></munder>"),
        (r"\prod_{i}^n", "<munderover><mo>∏</mo><mi>i</mi><mi>n</mi></munderover>"),
        (r"\int_a", "<msub><mo>∫</mo><mi>a</mi></msub>"),
        (r"\mathrm{GRU}", "<mi>GRU</mi>"),
        (r"\mathrm{d}", '<mi mathvariant="normal">d</mi>'),
        (r"\text{a < b}", "<mtext>a&nbsp;&lt;&nbsp;b</mtext>"),
        (r"\mathcal N", "<mi>𝒩</mi>"),
        (r"\mathcal{L}", "<mi>ℒ</mi>"),
        (r"\mathbb{ER}", "<mi>𝔼ℝ</mi>"),
        (r"\log x", '<mrow><mi>log</mi><mspace width="0.167em"></mspace><mi>x</mi></mrow>'),
        (r"\log_2 (", '<mrow><msub><mi>log</mi><mn>2</mn></msub><mo stretchy="false">(</mo></mrow>'),
        (r"\|x\|", '<mrow><mo stretchy="false" lspace="0" rspace="0">‖</mo><mi>x</mi>'
                   '<mo stretchy="false" lspace="0" rspace="0">‖</mo></mrow>'),
        (r"\left(x\right]", '<mrow><mo stretchy="true">(</mo><mi>x</mi><mo stretchy="true">]</mo></mrow>'),
        (r"\left.x\right)", '<mrow><mi>x</mi><mo stretchy="true">)</mo></mrow>'),
        (r"\Big/", '<mo minsize="1.8em" maxsize="1.8em">/</mo>'),
        (r"^{\top}", "<msup><mrow></mrow><mi>⊤</mi></msup>"),
        ("a < b", "<mrow><mi>a</mi><mo>&lt;</mo><mi>b</mi></mrow>"),
        (
            r"\begin{cases} a & b \\ c & d \end{cases}",
            '<mrow><mo stretchy="true">{</mo><mtable>'
            '<mtr><mtd style="text-align: left"><mi>a</mi></mtd><mtd style="text-align: left"><mi>b</mi></mtd></mtr>'
            '<mtr><mtd style="text-align: left"><mi>c</mi></mtd><mtd style="text-align: left"><mi>d</mi></mtd></mtr>'
            "</mtable></mrow>",
        ),
        (
            r"a &= b \\ &= c",
            '<mtable><mtr><mtd style="text-align: right"><mi>a</mi></mtd>'
            '<mtd style="text-align: left"><mrow><mo>=</mo><mi>b</mi></mrow></mtd></mtr>'
            '<mtr><mtd style="text-align: right"><mrow></mrow></mtd>'
            '<mtd style="text-align: left"><mrow><mo>=</mo><mi>c</mi></mrow></mtd></mtr></mtable>',
        ),
    ],
)  # fmt: skip
def test_worked_examples(mathml, tex, expected) -> None:
    assert _body(mathml, tex) == expected


def test_a_formula_on_a_line_of_its_own_says_so_and_keeps_its_source(mathml) -> None:
    found = mathml.mathml(" a < b ", display=True)
    assert found.startswith('<math display="block" alttext="a &lt; b">')


@pytest.mark.parametrize(
    ("tex", "message"),
    [
        (r"\nowhere x", r"got \\nowhere: \\nowhere x"),
        ("{x", r"its end too early: \{x"),
        ("x}", r"must not have \} here: x\}"),
        (r"\frac1", "its end too early"),
        (r"\begin{nowhere}", "must use one of cases, .*, got nowhere"),
        (r"\begin{cases} x", r"must have \\end after what it opens, got its end"),
        (r"\left(x", "its end too early"),
    ],
)
def test_what_is_not_known_or_not_whole_is_refused(mathml, tex, message) -> None:
    with pytest.raises(ValueError, match=message):
        mathml.mathml(tex)


def test_every_formula_of_the_package_can_be_set(mathml, docstrings) -> None:
    count = 0
    for file in sorted((ROOT / "mmgraph").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = docstrings.to_markdown(ast.get_docstring(node) or "", lambda _: None)
                assert not re.search(r":math:|\.\. math::", text), (file, text)
                for one in re.findall(r"`#!math ([^`]*)`|```math\n(.*?)```", text, flags=re.DOTALL):
                    _body(mathml, one[0] or one[1])
                    count += 1
    assert count > 700


def test_examples(mathml, docstrings) -> None:
    for module in (mathml, docstrings):
        found = doctest.testmod(module)
        assert found.attempted > 0
        assert found.failed == 0
