"""What the reference notebook reads and accepts: goldens for scoring's seed ladder.

Needs nothing but Python (made with 3.11.7; any 3.9 or later gives the same cases). Run from the repository root:

    python scripts/goldens/scoring_seed.py

The three functions are the notebook's own. Cases are written by hand where something is known to be awkward, and drawn from a
seeded alphabet otherwise. Byte offsets are those of the answer in the UTF-8 text.
"""

import datetime
import json
import pathlib
import platform
import random
import re
import sys
import unicodedata

OUT = pathlib.Path(__file__).resolve().parents[2] / "scoring" / "testdata" / "seed_golden.json"


def extract_answer(text):
    match = re.search(r'####\s*([\d,\.\-]+)', text)
    if match:
        return match.group(1).replace(',', '')
    match = re.search(r'answer is[:\s]*([\d,\.\-]+)', text.lower())
    if match:
        return match.group(1).replace(',', '')
    match = re.search(r'\\boxed\{([\d,\.\-]+)\}', text)
    if match:
        return match.group(1).replace(',', '')
    numbers = re.findall(r'[\d,]+\.?\d*', text)
    if numbers:
        return numbers[-1].replace(',', '')
    return None


def extract_ground_truth(answer_text):
    match = re.search(r'####\s*([\d,\.\-]+)', answer_text)
    if match:
        return match.group(1).replace(',', '')
    return None


def check_answer(pred, truth):
    if pred is None or truth is None:
        return False
    try:
        return abs(float(pred) - float(truth)) < 0.01
    except:  # noqa: E722, the notebook's
        return pred.strip() == truth.strip()


def place(text):
    """The rung that fired and the byte range of its group, which extract_answer does not tell."""
    lowered = text.lower()
    tries = [("hash", r'####\s*([\d,\.\-]+)', text), ("answer_is", r'answer is[:\s]*([\d,\.\-]+)', lowered), ("boxed", r'\\boxed\{([\d,\.\-]+)\}', text)]
    for rung, pattern, where in tries:
        if match := re.search(pattern, where):
            # A lower-cased text may be longer. Offsets are told where it is not.
            span = match.span(1) if len(where) == len(text) else None
            break
    else:
        matches = list(re.finditer(r'[\d,]+\.?\d*', text))
        if not matches:
            return "", None
        rung, span = "last_number", matches[-1].span()
    if span is None:
        return rung, None
    return rung, [len(text[:i].encode()) for i in span]


TEXTS = [
    "", " ", "no number", "18", "The answer is 18.", "THE ANSWER IS 18", "The Answer Is: 18", "answer is:::  \n 18", "the answer is $18", "answer is -5",
    "answer is \u22125", "answer is,", "answer is .", "answer is -", "answer is --5", "answer is 1-2", "answer is 1.2.3", "answer is 1,2", "answer is18",
    "answer  is 18 or 3", "answer\u00a0is 18 or 3", "answer is\u00a018", "answer is\u200b18 or 3", "answer is\u200318", "answer is\x1c18", "answer is\x8518",
    "answer is\ufeff18 or 3", "answer is\u180e18 or 3", "answer is\u202818", "answer is\x0b18", "answer is 10 or answer is 20",
    "an\u017fwer is 18 of 3", "an\u017fwer i\u017f 18 of 3", "answer \u0130s 18 of 3", "answer i\u0307s 18 of 3", "\u0130\u0130\u0130 the ANSWER IS 18 of 3", "\u1e9e the ANSWER IS 18",
    "\u03a3 ANSWER IS 18", "\u212a ANSWER IS 18", "answer \u0131s 18 of 3",
    "#### 18", "####18", "#### 70,000", "#### -10", "####\n\n18", "#### $18", "#### $18 #### 19", "#### 5\n#### 18", "### 18", "##### 18", "#### ,", "#### ,,,", "#### .", "#### -",
    "#### 1.", "#### 18.", "#### 18...", "#### 18.00", "####\u00a018", "####\u00a0-18", "####\x1f18", "#### \u0663", "#### \u0661\u0662\u0663", "#### \uff11\uff18", "#### 1\u066c000", "#### \u22125",
    "#### \u00bd", "#### \u00b2", "#### 18\u00b2", "#### x 18", "## ## 18", "#### \U0001d7d9\U0001d7e0",
    "\\boxed{18}", "$$\\boxed{18}$$", "\\boxed{70,000}", "\\boxed{70{,}000}", "\\boxed{\\frac{6}{2}}", "\\boxed{ 18 }", "\\boxed{-5}", "\\boxed{}", "\\boxed{,}", "\\boxed{5} \\boxed{18}",
    "\\boxed{\\text{18}}", "\\boxed 18", "boxed{18} 3", "\\boxed{18", "\\boxed{\u0663}", "\\boxed{18.} of 3", "\\\\boxed{18} 3", "\\boxed{$18$} 3",
    "costs $29.00.", "$70,000", "70 000", "-5", "10-15", "18...", "18..5", "1.2.3", "1,2,3", ",", ",,,", "a, b", "1, 2, ", "5,", "5,.", "5,.5", ",.5", ".5", ".", "1.5.", "a1b2c3",
    "72, in total, 18, so yes,", "So 18 eggs in 3 days.", "between 10-15", "18\nQuestion: A has 7", "1/2", "The answer is 1/2", "60%", "\u0663", "\u0663,\u0664", "\u0663.\u0664", "3\u0664", "\u0f33", "\u2460", "\u00bd",
    "<think> maybe 9 or 12", "The answer is 60 percent of 100", "#### 5 ... #### 18", "line\r\n#### 18\r\n", "#### 18\x00", "\x00 18", "18\ufffd", "1\u00a0000", "1\u2009000",
    "The answer is \\boxed{18}", "answer is: \n\n#### 5", "The answer is #### 5", "ANSWER IS\t\t7", "Answer: 18", "the answers is 4 of 9", "tanswer is 4 of 9",
]

COLUMNS = [
    "#### 18", "x <<1+1=2>>2\n#### 70,000", "#### -10", "#### 1 #### 2", "####5", "#### 5.50", "", "18", "### 18", "#### eighteen", "#### ", "#### \u0663",
]

PAIRS = [
    ("18", "18"), ("18.0", "18"), ("18.00", "18"), ("18.", "18"), ("18.009", "18"), ("18.01", "18"), ("18.0099999", "18"), ("17.99", "18"), ("17.991", "18"), ("18.005", "18.01"),
    ("-5", "5"), ("--5", "5"), ("--5", "--5"), ("1-2", "1-2"), ("1-2", "3"), ("", ""), ("", "0"), (".", "."), ("-", "-"), ("..", ".."), ("18..", "18"), ("18...", "18..."),
    ("1.2.3", "1.2.3"), ("\u0663", "3"), ("\u0663", "\u0663"), ("\u0661\u0662", "12"), ("\uff11\uff18", "18"), ("3\u0664", "34"), ("\u0663.\u0665", "3.5"), ("-\u0663", "-3"), ("\U0001d7d9\U0001d7e0", "18"),
    ("\u00bd", "0.5"), ("\u2460", "1"), ("\u00b2", "2"), ("\u0f33", "0"), ("\u22125", "-5"),
    ("inf", "inf"), ("inf", "Infinity"), ("-inf", "-inf"), ("inf", "1"), ("nan", "nan"), ("NaN", "1"), ("infinit", "infinit"), ("iNf", "1e999"), ("1e999", "1e999"), ("1e-999", "0"), ("+nan", "nan"), ("in", "in"), ("\u0131nf", "\u0131nf"),
    ("1_000", "1000"), ("1__000", "1000"), ("_1000", "1000"), ("1000_", "1000"), ("1_0.5", "10.5"), ("1_.5", "1.5"), ("1._5", "1.5"), ("1.5_0", "1.50"), ("1e1_0", "1e10"), ("1e_1", "10"), ("1_e1", "10"), ("\u0661_\u0662", "12"),
    (" 18 ", "18"), ("\t18\n", "18"), ("\u00a018", "18"), ("18\u3000", "18"), ("\x1c18", "18"), ("\x1c18", "18\x1d"), ("\x1c18\u00a0", "18"), ("\x8518", "18"), ("\u200b18", "18"), ("\x0b18\x0c", "18"), ("1 8", "18"), ("\ufeff18", "18"),
    ("+5", "5"), ("+-5", "-5"), ("- 5", "-5"), ("5e0", "5"), ("5E+0", "5"), ("5e", "5"), ("e5", "5"), (".5", "0.5"), ("5.e1", "50"), (".e1", "0"), ("0x10", "16"), ("0x10", "0x10"), ("0x1p4", "16"), ("1p4", "16"),
    ("a", "a"), (" a", "a "), ("a\u00a0", "a"), ("A", "a"), ("a", "1"), ("1\x00", "1"), ("\x001", "\x001"), ("1,000", "1000"), ("1,000", "1,000"), ("1/2", "0.5"), ("1d", "1"), ("1f", "1"), ("1j", "1"), ("True", "1"),
    ("99999999999999999999", "100000000000000000000"), ("0.1", "0.10999"), ("2880000", "2880000.009"), ("9007199254740993", "9007199254740992"), ("1" * 400, "1" * 400), ("0" * 400 + "5", "5"), ("-0", "0"),
    ("inf", "-inf"), ("5\x7f", "5"), ("\u0665\x7f", "5"), ("\u0665\x1c", "5"), ("5\u2028", "5"), ("\u180e5", "5"),
]

PIECES = list("0123456789,,,...---##") + [
    "####", "#### ", "answer is", "Answer is", "ANSWER IS:", "answer i", "\\boxed{", "}", "{", "$", " ", " ", "\n", "\t", ":", "\u00a0", "\u2009", "\u200b", "\u0663", "\u0665", "\u0130", "\u0131", "\u017f", "\u212a", "\u03a3", "\u00df",
    "x", "=", "\u2212", "\u00bd", "\uff15", "\x1c", "\x85", "/", "_", "18", "1,000", "3.5", "Question:", "\U0001d7d9",
]


def main():
    rng = random.Random(20250101)
    texts = TEXTS + ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 14))) for _ in range(400)]
    number = list("0123456789..__--+eE \u0663\u00a0\u2212") + ["inf", "nan", "1", "2"]
    drawn = ["".join(rng.choice(number) for _ in range(rng.randint(1, 6))) for _ in range(400)]
    pairs = PAIRS + [(a, rng.choice([a, b, "1", "2", "12"])) for a, b in zip(drawn, drawn[1:])]

    # The Go code matches ASCII letters without lowering the text first.
    for c in map(chr, range(0x80, 0x110000)):
        if set(c.lower()) & set("answer is:0123456789,.-") and c != "\u0130":
            sys.exit(f"{c!r} lowers to {c.lower()!r}")

    cases = []
    for text in texts:
        rung, span = place(text)
        cases.append({"text": text, "value": extract_answer(text), "rung": rung, "span": span})
    golden = {
        "made": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "spaces": [i for i in range(0x110000) if re.fullmatch(r"\s", chr(i))],
        "extract": cases,
        "gold": [{"text": text, "value": extract_ground_truth(text)} for text in COLUMNS],
        "match": [[a, b, check_answer(a, b)] for a, b in pairs],
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w") as f:
        json.dump(golden, f, indent=0, separators=(",", ":"))
        f.write("\n")
    print(f"{OUT}: {len(cases)} texts, {len(pairs)} pairs, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
