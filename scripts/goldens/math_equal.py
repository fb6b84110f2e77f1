"""Pairs of answers in LaTeX and whether math-verify takes them for the same: goldens for scoring/latex.

Pinned: math-verify 0.9.0, latex2sympy2_extended 1.11.0. Run from the repository root:

    pip install math-verify==0.9.0 latex2sympy2_extended==1.11.0
    python scripts/goldens/math_equal.py       # writes scoring/latex/testdata/math_equal.json

The answers are in groups of one meaning each; a pair is made of two of a group, or of one of a group and one of the next.
"""

import datetime
import importlib.metadata
import itertools
import json
import pathlib

from math_verify import parse, verify
from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig

OUT = pathlib.Path(__file__).resolve().parents[2] / "scoring" / "latex" / "testdata" / "math_equal.json"
GROUPS = [
    [r"\frac{1}{2}", r"\dfrac{1}{2}", r"\frac12", "0.5", "1/2", r"\frac{2}{4}", ".5"],
    [r"\frac{1}{3}", "1/3", "0.333333", r"\frac{2}{6}", r"\tfrac{1}{3}"],
    [r"-\frac{3}{4}", r"\frac{-3}{4}", r"\frac{3}{-4}", "-0.75", "-3/4"],
    [r"2\frac{1}{2}", r"\frac{5}{2}", "2.5"],
    ["10000", "10,000", r"10{,}000", r"10^4", r"10^{4}", "10000.0"],
    ["1234567", "1,234,567"],
    [r"\sqrt{2}", r"\sqrt 2", r"2^{1/2}", r"\frac{2}{\sqrt{2}}"],
    [r"3\sqrt{2}", r"\sqrt{18}", r"3 \cdot \sqrt{2}", r"\sqrt{2}\cdot 3"],
    [r"2\sqrt{3}", r"\sqrt{12}", r"\frac{6}{\sqrt{3}}", r"\frac{6\sqrt{3}}{3}"],
    [r"\sqrt[3]{5}", r"5^{1/3}", r"5^{\frac{1}{3}}"],
    ["2", r"\sqrt[3]{8}", r"\sqrt{4}", r"\frac{4}{2}", "2.0", "4-2"],
    [r"1+\sqrt{5}", r"\sqrt{5}+1", r"\sqrt5 + 1"],
    [r"\frac{1+\sqrt{5}}{2}", r"\frac{1}{2}+\frac{\sqrt{5}}{2}", r"\frac{\sqrt{5}+1}{2}"],
    [r"\pi", r"\pi ", r"\frac{2\pi}{2}"],
    [r"\frac{\pi}{2}", r"\pi/2", r"\frac{1}{2}\pi", r"0.5\pi"],
    [r"12\pi", r"12 \pi", r"\pi\cdot 12"],
    ["6+9i", "9i+6", r"6 + 9i", r"3(2+3i)"],
    ["6-5i", r"6 - 5i", "-5i+6"],
    ["x+1", "1+x", "x + 1"],
    ["x^2+2x+1", "(x+1)^2", "(x+1)(x+1)", "1+2x+x^2"],
    ["x^2-1", "(x-1)(x+1)", "(x+1)(x-1)"],
    ["p-q", "-q+p", "p - q"],
    ["2x", r"2 \cdot x", "x+x"],
    [r"\frac{x}{2}", r"\frac{1}{2}x", "x/2", "0.5x"],
    [r"\frac{1}{x+1}", r"1/(x+1)", r"(x+1)^{-1}"],
    [r"e^x", r"e^{x}"],
    ["(3,4)", "(3, 4)", r"\left(3,4\right)", r"\left( 3, 4 \right)"],
    ["(4,3)", r"\left(4,3\right)"],
    [r"\left(3,\frac{\pi}{2}\right)", r"(3,\frac{\pi}{2})", r"(3, \pi/2)"],
    [r"(2,\infty)", r"(2, \infty)", r"\left(2,\infty\right)"],
    ["[2,5]", "[2, 5]", r"\left[2,5\right]"],
    ["(2,5]", r"\left(2,5\right]"],
    ["[2,5)", r"\left[2,5\right)"],
    [r"(-\infty,0)\cup(1,\infty)", r"(-\infty, 0) \cup (1, \infty)", r"(1,\infty)\cup(-\infty,0)"],
    [r"[-2,7]", r"[-2, 7]"],
    [r"\{1,2,3\}", r"\{1, 2, 3\}", r"\{3,2,1\}", r"\left\{1,2,3\right\}"],
    ["1,2", "1, 2", "2,1", "2, 1"],
    ["1,-2", "-2,1", "1, -2"],
    ["x=5", "x = 5", "5"],
    ["y=2x+3", "y = 2x + 3", "y=3+2x"],
    ["x>5", "x > 5", "5<x"],
    [r"x\le 3", r"x \leq 3", r"3 \ge x"],
    [r"3\le x\le 7", r"3 \leq x \leq 7"],
    [r"5!", "120"],
    [r"\binom{5}{2}", "10"],
    [r"|{-3}|", "3", r"\frac{9}{3}"],
    ["50%", r"50\%", "50"],
    [r"5\text{ cm}", r"5 \text{ cm}", r"5\,\text{cm}"],
    [r"90^\circ", r"90^{\circ}", "90"],
    [r"\$18.90", "18.90", r"\$18.9", "18.9"],
    [r"\text{Evelyn}", r"\text{Evelyn} "],
    [r"\text{(C)}", r"\text{(C)} "],
    [r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}"],
    [r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"],
    [r"\log_2 8", r"\log_{2} 8", "3"],
    [r"\sin 30^\circ", r"\sin(30^\circ)"],
    [r"\cos x", r"\cos(x)", r"\cos{x}"],
    [r"\tan^2 x", r"\tan^{2} x", r"(\tan x)^2"],
    [r"\ln 2", r"\ln(2)", r"\ln{2}"],
    [r"3\pm\sqrt{5}", r"3 \pm \sqrt{5}"],
    ["0", "0.0", r"\frac{0}{5}"],
    ["-7", "- 7", "-7.0"],
    [r"2^{10}", "1024", r"4^5"],
    [r"1.5\times 10^6", "1500000", r"1.5 \cdot 10^{6}", "1,500,000"],
    [r"\frac{243}{625}", "243/625", "0.3888"],
    ["11\\sqrt{2}", r"\sqrt{242}", r"11 \sqrt{2}"],
    [r"\frac{14}{3}", "14/3", r"4\frac{2}{3}"],
    [r"\frac{3\sqrt{3}}{4}", r"\frac{3}{4}\sqrt{3}", r"\frac{9}{4\sqrt{3}}"],
    [r"a^{2}b", r"b a^2", "a*a*b"],
    [r"\frac{a}{b}", "a/b", r"a \cdot \frac{1}{b}"],
    ["70", "070", r"70.0"],
    [r"\frac{9}{256}", "9/256", r"\frac{18}{512}"],
    ["15\\mbox{ cm}^2", "15", r"15\text{ cm}^2"],
    [r"x \in [-2,7]", r"[-2,7]", r"x\in[-2,7]"],
    ["2516_8", "2516_{8}"],
    ["10101_2", "10101_{2}"],
    [r"\frac{x+2}{7}", "(x+2)/7", r"\frac{2+x}{7}", r"\frac{x}{7}+\frac{2}{7}"],
    ["y=-2x", "y = -2x", r"y=-2 \cdot x"],
    ["x^3+3x-6", "3x-6+x^3", "x^3 + 3x - 6"],
    ["3R^2", r"3 R^2", r"3\cdot R^2"],
    [r"6r^2-4r-24", r"-24-4r+6r^2", r"2(3r^2-2r-12)"],
    ["(x+5)(x^2-x+16)", r"(x^2-x+16)(x+5)", "(5+x)(x^2-x+16)"],
    [r"\left( \frac{3}{2}, -13 \right)", r"(\frac{3}{2},-13)", r"(1.5,-13)", r"(3/2, -13)"],
    [r"(-\infty,-\frac{1}{2})", r"(-\infty, -1/2)", r"\left(-\infty,-\frac12\right)"],
    [r"\left[0,\frac{\pi}{4}\right]", r"[0, \pi/4]"],
    [r"-\frac{35}{9}", r"\frac{-35}{9}", "-35/9"],
    [r"\frac{\sqrt{21}}{5}", r"\sqrt{21}/5", r"\frac{1}{5}\sqrt{21}"],
    [r"\frac{4}{9}\sqrt{3}", r"\frac{4\sqrt{3}}{9}", r"\frac{4}{3\sqrt{3}}"],
    [r"\sqrt{x}", r"x^{1/2}", r"x^{\frac{1}{2}}"],
    [r"\frac{1}{x^2}", "x^{-2}", "1/x^2"],
    [r"2\cos x", r"2 \cos(x)", r"\cos x + \cos x"],
    [r"\sin^2 x+\cos^2 x", "1", r"\cos^2 x+\sin^2 x"],
    ["-50", "-50.0", r"-\frac{100}{2}"],
    ["5.4", "5.40", r"\frac{27}{5}", "27/5"],
    ["144", "12^2", r"12 \cdot 12", r"144.0"],
    [r"f^{-1}(x)=\frac{x-1}{2}", r"f^{-1}(x) = \frac{x-1}{2}"],
    [r"a+b+c=3", "c+b+a=3"],
    ["k = 4", "k=4", "4"],
    [r"18\text{ dollars}", "18", r"\$18"],
    [r"\frac{1}{2}, 3", r"3, \frac{1}{2}", r"0.5, 3"],
    [r"2, 3, 5", r"5,3,2", r"3, 2, 5"],
    [r"1 \pm \sqrt{19}", r"1\pm\sqrt{19}"],
    [r"\emptyset", r"\varnothing"],
    [r"\infty", r"\infty "],
    [r"\sqrt{13}", r"13^{1/2}", r"\frac{13}{\sqrt{13}}"],
    ["0.25", r"\frac{1}{4}", "25%", r"2^{-2}"],
    [r"\frac{5}{13}", "5/13", r"\frac{10}{26}"],
    [r"98^\circ", "98"],
    [r"\frac{2k+1}{3}", r"\frac{1+2k}{3}"],
    [r"3\cdot 2^n", r"2^n \cdot 3"],
    [r"n(n+1)/2", r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"],
    [r"\text{odd}", r"\text{odd} "],
]

# Pairs that are near each other.
NEAR = [
    ("x^2+1", "x^2-1"), ("(3,4)", "[3,4]"), ("[2,5)", "(2,5]"), ("[2,5)", "[2,5]"), ("1/3", "0.33"), ("1/3", "0.3333"), (r"\sqrt{2}", "1.414"), (r"\sqrt{2}", "1.414214"),
    ("x=5", "y=5"), ("x>5", "x<5"), ("x>5", r"x\ge 5"), ("3", "-3"), ("1,2", "1,2,3"), ("(1,2)", "1,2"), (r"\{1,2\}", "(1,2)"), (r"\{1,2\}", "1,2"), ("x>5", r"(5,\infty)"),
    (r"2\pi", "6.283185"), (r"2\pi", "6.28"), ("18", "18.0000001"), ("18", "18.01"), ("x", "y"), ("2x", "2y"), (r"\frac{x}{y}", r"\frac{y}{x}"), ("(x+1)^2", "x^2+1"),
    (r"(1,\infty)", r"[1,\infty)"), (r"(-\infty,3)", r"(-\infty,3]"), (r"\frac{3}{4}", r"\frac{4}{3}"), (r"3\pm\sqrt{5}", r"3+\sqrt{5}"), ("i", "-i"), ("2+i", "2-i"),
    (r"\text{Evelyn}", r"\text{C}"), (r"10\%", "0.2"), ("0.5", "0.05"), ("1e3", "1000"), (r"\sqrt[3]{2}", r"\sqrt{2}"), (r"\log_2 8", r"\log_2 9"), ("5!", "5"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"), ("y=2x+3", "y=2x-3"), ("y=2x+3", "2x+3"), ("x+y=3", "y=3-x"), ("2x=4", "x=2"),
    (r"\infty", r"-\infty"), ("2,3", "(3,2)"), ("[0,1]", r"\{0,1\}"), (r"\sin x", r"\cos x"), (r"\sin^2 x", r"\sin x^2"), ("1{,}000", "1.000"), ("12_3", "12"), ("x^{10}", "x^10"), (r"10\,000", "10000"), (r"\sqrt{2}", r"2^{0.5}"),
    (r"x\le 3", r"(-\infty,3]"), (r"1<x\le 3", "(1,3]"), (r"1<x\le 3", "[1,3]"), ("0.1", "0.1000001"), ("2/3", "0.666667"), ("2/3", "0.6667"),
]


def pairs():
    yield from NEAR
    for i, group in enumerate(GROUPS):
        yield from itertools.combinations(group, 2)
        for k, other in enumerate(GROUPS[(i + 1) % len(GROUPS)][:2]):
            yield group[k % len(group)], other


def same(gold, answer):
    config = [LatexExtractionConfig(), ExprExtractionConfig(), StringExtractionConfig(strings=("Evelyn", "C"))]
    gold, answer = (parse(f"${x}$", extraction_config=config, parsing_timeout=None) for x in (gold, answer))
    return bool(verify(gold, answer, timeout_seconds=None))


def main():
    versions = {name: importlib.metadata.version(name) for name in ("math-verify", "latex2sympy2_extended", "sympy")}
    golden = {"made": datetime.date.today().isoformat(), "versions": versions, "pairs": [[a, b, same(a, b)] for a, b in pairs()]}
    OUT.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(p) for p in golden.pop("pairs"))
    OUT.write_text(json.dumps(golden)[:-1] + ', "pairs": [\n' + lines + "\n]}\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes, {lines.count(chr(10)) + 1} pairs")


if __name__ == "__main__":
    main()
