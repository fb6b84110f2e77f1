"""Synthetic grade-school word problems in the format of GSM8K.

    python scripts/gsm_synth.py --out data/gsm-synth [--seed 7 --train 2000 --test 1319]

A problem is a story of a family (a sale, a trip, a savings plan, ...), which fixes the first steps, and of up to
three generic endings (give some away, pack the rest, pay with a note, ...), which fix the others. Every step states
one calculation as GSM8K does, `48/2 = <<48/2=24>>24`, and the last line is `#### answer`.

Arithmetic that a one-million-parameter model could not learn is rejected and drawn again (see `Story.step`).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HE = [
    "Adam", "Ben", "Carlos", "Daniel", "Eric", "Frank", "George", "Henry", "Ivan", "James", "Kevin", "Liam",
    "Marcus", "Nathan", "Omar", "Peter", "Ryan", "Samuel", "Tom", "Victor", "William", "Yusuf",
]  # fmt: skip
SHE = [
    "Alice", "Bella", "Clara", "Diana", "Emma", "Fatima", "Grace", "Hannah", "Irene", "Julia", "Karen", "Lucy",
    "Maria", "Nina", "Olivia", "Paula", "Rosa", "Sarah", "Tina", "Uma", "Wendy", "Zoe",
]  # fmt: skip
NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}
FRACTIONS = {2: "half", 3: "one third", 4: "one fourth", 5: "one fifth"}
THINGS = ["apples", "stickers", "marbles", "pencils", "shells", "cards", "stamps", "beads", "buttons", "books"]
TOYS = ["pens", "notebooks", "shirts", "hats", "toys", "cakes", "lamps", "plants", "puzzles", "mugs", "scarves", "balls"]
GOODS = ["bicycle", "guitar", "camera", "tablet", "jacket", "telescope", "phone", "desk", "skateboard", "tent"]


class Reject(Exception):
    """The numbers drawn so far cannot be finished into an easy problem."""


class Person(NamedTuple):
    name: str
    he: str
    his: str


class Core(NamedTuple):
    """What a family hands to the endings: a quantity, what it is, whose it is, and how to ask for it."""

    value: int
    unit: str  # "dollars" for money
    who: Person
    ask: tuple[str, ...]
    kind: str  # "count" may be given away, packed or sold; "cost", "needed", "income", "monthly" are money; "final" takes no ending


class Problem(NamedTuple):
    family: str
    question: str
    answer: str
    steps: int


def number(n: int) -> str:
    return f"{n:,}"


def significant(n: int) -> int:
    while n and n % 10 == 0:
        n //= 10
    return n


def easy_product(a: int, b: int) -> bool:
    low, high = sorted((significant(a), significant(b)))
    return low <= 9 and (high <= 12 or low * high <= 100 or (low == 2 and high <= 50)) and a * b <= 100_000


def easy_sum(*xs: int) -> bool:
    unit = 1
    while all(x % (unit * 10) == 0 for x in xs):
        unit *= 10
    total = sum(x // unit for x in xs)
    return total <= (999 if len(xs) == 2 else 120)


class Story:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.facts: list[str] = []
        self.steps: list[str] = []
        self.result = 0
        self.spaced = rng.random() < 0.5
        self.dollars = rng.random() < 0.5
        self.wordy = rng.choice((0.3, 0.6, 0.9))
        self.names = rng.sample(HE + SHE, 4)

    def person(self) -> Person:
        name = self.names.pop()
        return Person(name, "he", "his") if name in HE else Person(name, "she", "her")

    def pick(self, *options):
        return self.rng.choice(options)

    def between(self, low: int, high: int, by: int = 1) -> int:
        if low > high:
            raise Reject
        return self.rng.randrange(low, high + 1, by)

    def factor(self) -> int:
        """A number that is easily multiplied by one digit."""
        return self.pick(self.between(2, 12), self.between(2, 12), self.between(15, 50, 5), self.between(20, 90, 10))

    def word(self, n: int) -> str:
        return NUMBER_WORDS[n] if n <= 10 and self.rng.random() < 0.3 else number(n)

    def tell(self, *wordings: str) -> None:
        self.facts.append(self.rng.choice(wordings))

    def step(self, op: str, xs: tuple[int, ...], *wordings: str, money: bool = False) -> int:
        """Appends one solution sentence; `@` in it stands for the calculation, `=` + result + annotation included."""
        result = xs[0]
        for x in xs[1:]:
            if op == "+":
                ok, result = True, result + x
            elif op == "-":
                ok, result = easy_sum(result - x, x), result - x
            elif op == "*":
                ok, result = easy_product(result, x), result * x
            else:
                ok, result = result % x == 0 and easy_product(result // x, x), result // x
            if not ok or result <= 0 or min(xs) <= 0:
                raise Reject
        if op == "+" and not easy_sum(*xs):
            raise Reject
        bare = op.join(str(x) for x in xs)
        mark = "$" if money and self.dollars and op in "+-" else ""
        shown = (f" {op} " if self.spaced else op).join(mark + number(x) for x in xs)
        calculation = f"{shown} = {'$' if money else ''}<<{bare}={result}>>{number(result)}"
        sentence = self.rng.choice(wordings).replace("@", calculation)
        if self.rng.random() < self.wordy:
            sentence = self.lead(op, xs) + " " + sentence
        self.steps.append(sentence)
        self.result = result
        return result

    def lead(self, op: str, xs: tuple[int, ...]) -> str:
        """A sentence that announces the calculation."""
        first = self.pick("First,", "To begin,") if not self.steps else self.pick("Next,", "Then", "Now", "After that,")
        a, b = number(xs[0]), " and ".join(number(x) for x in xs[1:])
        return first + " " + {
            "+": self.pick(f"we add {a} and {b}.", "we have to find the sum.", f"{b} must be added to {a}."),
            "-": self.pick(f"we subtract {b} from {a}.", "we have to find the difference.", f"we take {b} away from {a}."),
            "*": self.pick(f"we multiply {a} by {b}.", "we have to find the product.", f"we count {b} times {a}."),
            "/": self.pick(f"we divide {a} by {b}.", "we have to find the equal parts.", f"we split {a} into {b} parts."),
        }[op]


# Families. Each tells its facts, takes its steps, and returns what the endings may go on with.


def clip_sales(s: Story) -> Core:
    p, unit = s.person(), s.pick(*TOYS)
    first, second = s.pick(("April", "May"), ("June", "July"), ("March", "April"), ("October", "November"))
    n, k = s.between(6, 90, 2), s.pick(2, 2, 3, 4)
    if s.rng.random() < 0.5:
        s.tell(
            f"{p.name} sold {number(n)} {unit} in {first}, and then {p.he} sold {FRACTIONS[k]} as many {unit} in {second}.",
            f"In {first}, {p.name} sold {number(n)} {unit}. In {second}, {p.he} sold only {FRACTIONS[k]} as many.",
        )
        m = s.step("/", (n, k), f"{p.name} sold @ {unit} in {second}.", f"In {second}, {p.he} sold {FRACTIONS[k]} of {n}, which is @ {unit}.")
    else:
        s.tell(
            f"{p.name} sold {number(n)} {unit} in {first}, and then {p.he} sold {TIMES[k]} as many {unit} in {second}.",
            f"In {first}, {p.name} sold {number(n)} {unit}. In {second}, sales went up and {p.he} sold {TIMES[k]} as many.",
        )
        m = s.step("*", (n, k), f"{p.name} sold @ {unit} in {second}.", f"In {second}, {p.he} sold {TIMES[k]} as many, which is @ {unit}.")
    total = s.step("+", (n, m), f"Altogether, {p.name} sold @ {unit} in {first} and {second}.", f"So over the two months {p.he} sold @ {unit}.")
    price = s.between(2, 9)
    if s.rng.random() < 0.5:
        return Core(total, unit, p, (f"How many {unit} did {p.name} sell altogether in {first} and {second}?", f"What is the total number of {unit} that {p.name} sold?"), "final")
    s.tell(f"Each of the {unit} was sold for ${price}.", f"{p.name} charged ${price} for each one.")
    money = s.step("*", (total, price), f"At ${price} each, {p.name} earned @.", f"Since each one cost ${price}, the {unit} brought in @.", money=True)
    return Core(money, "dollars", p, (f"How much money did {p.name} make in the two months?", f"How many dollars did {p.name} earn from the {unit}?"), "income")


def shopping(s: Story) -> Core:
    p = s.person()
    kinds = s.rng.sample(TOYS, s.pick(2, 2, 3))
    bought = [(s.between(2, 9), s.factor(), kind) for kind in kinds]
    parts = [f"{s.word(k)} {kind} for ${price} each" for k, price, kind in bought]
    listed = ", ".join(parts[:-1]) + " and " + parts[-1]
    s.tell(f"{p.name} went to the store and bought {listed}.", f"{p.name} buys {listed}.", f"At the market, {p.name} bought {listed}.")
    costs = [
        s.step("*", (k, price), f"The {k} {kind} cost @.", f"{p.name} paid @ for the {kind}.", f"For the {kind}, {p.name} spent @ in all.", money=True)
        for k, price, kind in bought
    ]
    total = s.step(
        "+", tuple(costs),
        f"Altogether, {p.name} spent @.", f"The total cost of everything is @.", f"So the whole purchase cost @.",
        money=True,
    )  # fmt: skip
    return Core(total, "dollars", p, (f"How much did {p.name} spend in total?", f"How many dollars did {p.name} pay altogether?"), "cost")


def weekly_saving(s: Story) -> Core:
    p, rel = s.person(), s.pick("aunt", "uncle", "grandmother", "grandfather", "father", "mother")
    period = s.pick("week", "month")
    a, k, gift = s.factor(), s.between(3, 9), s.between(10, 100, 5)
    s.tell(
        f"{p.name} saves ${a} every {period} for {s.word(k)} {period}s.",
        f"For {s.word(k)} {period}s, {p.name} put ${a} into {p.his} piggy bank each {period}.",
    )
    saved = s.step("*", (a, k), f"In {k} {period}s, {p.name} saved @.", f"{p.name} put aside @ over the {k} {period}s.", money=True)
    if s.rng.random() < 0.6:
        s.tell(f"Then {p.his} {rel} gave {p.name} ${gift}.", f"For {p.his} birthday, {p.his} {rel} gave {p.name} ${gift} more.")
        saved = s.step("+", (saved, gift), f"With the ${gift} from {p.his} {rel}, {p.name} had @.", f"After {p.his} {rel} gave {p.name} money, {p.he} had @.", money=True)
    return Core(saved, "dollars", p, (f"How much money does {p.name} have now?", f"How many dollars has {p.name} saved in total?"), "income")


def orchard(s: Story) -> Core:
    p = s.person()
    fruit, tree = s.pick(("apples", "apple trees"), ("pears", "pear trees"), ("lemons", "lemon trees"), ("oranges", "orange trees"))
    rows, trees, each = s.between(2, 9), s.between(2, 10), s.factor()
    s.tell(
        f"{p.name} has {s.word(rows)} rows of {tree} with {s.word(trees)} trees in each row.",
        f"In {p.name}'s garden there are {s.word(rows)} rows of {tree}, and every row has {s.word(trees)} trees.",
    )
    s.tell(f"Each tree gives {number(each)} {fruit}.", f"Every tree produces {number(each)} {fruit} this year.")
    n = s.step("*", (rows, trees), f"{p.name} has @ {tree} in the garden.", "There are @ trees in all the rows together.")
    total = s.step("*", (n, each), f"These trees give @ {fruit}.", f"Since each tree gives {number(each)} {fruit}, {p.name} picks @ {fruit}.")
    return Core(total, fruit, p, (f"How many {fruit} does {p.name} get in total?", f"How many {fruit} do the trees give altogether?"), "count")


def hens(s: Story) -> Core:
    p = s.person()
    n, each, eaten, baked = s.between(4, 30), s.pick(1, 2, 2, 3), s.between(2, 6), s.between(2, 9)
    meal = s.pick("breakfast", "lunch", "dinner")
    s.tell(f"{p.name}'s {n} hens each lay {s.word(each)} eggs per day.", f"{p.name} keeps {n} hens, and every hen lays {s.word(each)} eggs a day.")
    s.tell(
        f"{p.he.capitalize()} eats {s.word(eaten)} eggs for {meal} and uses {s.word(baked)} eggs for baking.",
        f"Every day {p.he} cooks {s.word(eaten)} eggs for {meal} and bakes a cake with {s.word(baked)} eggs.",
    )
    eggs = s.step("*", (n, each), "The hens lay @ eggs every day.", f"In one day, {p.name} collects @ eggs from {p.his} hens.")
    used = s.step("+", (eaten, baked), f"{p.name} uses @ eggs at home.", "Cooking and baking take @ eggs.")
    left = s.step("-", (eggs, used), f"This leaves {p.name} with @ eggs.", "After that there are @ eggs left each day.")
    price = s.between(2, 5)
    if s.rng.random() < 0.4:
        return Core(left, "eggs", p, (f"How many eggs does {p.name} have left each day?", "How many eggs remain every day?"), "final")
    s.tell(f"{p.he.capitalize()} sells the rest for ${price} per egg.", f"The remaining eggs are sold at the market for ${price} each.")
    daily = s.step("*", (left, price), f"Selling them at ${price} each, {p.name} makes @ per day.", f"The sale of these eggs brings in @ a day.", money=True)
    if s.rng.random() < 0.5:
        return Core(daily, "dollars", p, (f"How much does {p.name} make every day at the market?", f"How many dollars does {p.name} earn per day?"), "final")
    week = s.step("*", (daily, 7), f"A week has 7 days, so {p.name} makes @ per week.", "In the 7 days of a week, that is @.", money=True)
    return Core(week, "dollars", p, (f"How much does {p.name} make in one week?", f"How many dollars does {p.name} earn per week?"), "income")


def bakery(s: Story) -> Core:
    p, unit = s.person(), s.pick("cookies", "muffins", "rolls", "pies", "cupcakes")
    batches, size, sold, k = s.between(3, 9), s.factor(), s.between(4, 60), s.pick(2, 2, 3)
    s.tell(f"{p.name} bakes {s.word(batches)} trays of {unit} with {number(size)} {unit} on each tray.", f"At {p.his} bakery, {p.name} made {s.word(batches)} batches of {number(size)} {unit}.")
    made = s.step("*", (batches, size), f"{p.name} baked @ {unit} in total.", f"First, {p.name} made @ {unit}.")
    s.tell(
        f"{p.he.capitalize()} sold {number(sold)} {unit} in the morning and {TIMES[k]} as many in the afternoon.",
        f"In the morning {number(sold)} {unit} were sold, and in the afternoon {TIMES[k]} as many were sold.",
    )
    later = s.step("*", (sold, k), f"In the afternoon, {p.name} sold @ {unit}.", f"The afternoon sales were @ {unit}.")
    both = s.step("+", (sold, later), f"So {p.he} sold @ {unit} during the day.", f"The {unit} sold that day add up to @ {unit}.")
    left = s.step("-", (made, both), f"That leaves @ {unit}.", f"So {p.name} had @ {unit} left at the end of the day.")
    return Core(left, unit, p, (f"How many {unit} were left at the end of the day?", f"How many {unit} does {p.name} have left?"), "count")


def trip(s: Story) -> Core:
    p = s.person()
    verb = s.pick("drives", "rides", "travels")
    v1, v2, h1, h2 = s.between(10, 80, 5), s.between(10, 80, 5), s.between(2, 6), s.between(2, 6)
    s.tell(
        f"{p.name} {verb} for {s.word(h1)} hours at {v1} miles per hour and then for {s.word(h2)} hours at {v2} miles per hour.",
        f"On a trip, {p.name} {verb} at a speed of {v1} miles per hour for {s.word(h1)} hours. Then {p.he} {verb} {s.word(h2)} more hours at {v2} miles per hour.",
    )
    a = s.step("*", (v1, h1), f"In the first part of the trip, {p.name} covers @ miles.", f"During the first {h1} hours, {p.he} {verb} @ miles.")
    b = s.step("*", (v2, h2), f"In the second part of the trip, {p.name} covers @ miles.", f"During the next {h2} hours, {p.he} {verb} @ miles.")
    total = s.step("+", (a, b), f"Altogether, {p.name} {verb} @ miles.", "So the whole distance is @ miles.")
    if s.rng.random() < 0.5:
        return Core(total, "miles", p, (f"How many miles does {p.name} travel in total?", f"How far does {p.name} go, in miles?"), "final")
    whole = total + s.between(10, 200, 10)
    s.tell(f"The place {p.he} wants to reach is {number(whole)} miles away.", f"The whole trip is {number(whole)} miles long.")
    left = s.step("-", (whole, total), f"{p.name} still has to go @ miles.", "The distance that remains is @ miles.")
    return Core(left, "miles", p, (f"How many more miles does {p.name} have to go?", f"How many miles are left for {p.name}?"), "final")


def wages(s: Story) -> Core:
    p = s.person()
    job = s.pick("at a cafe", "at a library", "in a garden", "at a shop", "as a painter", "at a restaurant")
    rate, hours, days, bonus = s.pick(s.between(5, 12), s.between(10, 30, 5)), s.between(2, 8), s.between(2, 6), s.between(10, 100, 10)
    s.tell(
        f"{p.name} works {job} for ${rate} an hour. {p.he.capitalize()} works {s.word(hours)} hours a day, {s.word(days)} days a week.",
        f"{p.name} earns ${rate} per hour {job}, and works {s.word(hours)} hours each day for {s.word(days)} days every week.",
    )
    if s.rng.random() < 0.5:
        h = s.step("*", (hours, days), f"{p.name} works @ hours each week.", f"In one week, {p.he} works @ hours.")
        pay = s.step("*", (h, rate), f"At ${rate} an hour, {p.he} earns @ each week.", f"So {p.his} weekly pay is @.", money=True)
    else:
        d = s.step("*", (rate, hours), f"{p.name} earns @ each day.", f"In one day, {p.he} earns @.", money=True)
        pay = s.step("*", (d, days), f"Working {days} days, {p.he} earns @ each week.", f"So {p.his} weekly pay is @.", money=True)
    if s.rng.random() < 0.5:
        s.tell(f"This week {p.he} also got a bonus of ${bonus}.", f"The guests also gave {p.name} ${bonus} in tips this week.")
        pay = s.step("+", (pay, bonus), f"With the extra ${bonus}, {p.name} has @.", f"Adding the ${bonus}, {p.his} income this week is @.", money=True)
    return Core(pay, "dollars", p, (f"How much does {p.name} earn this week?", f"How many dollars does {p.name} make in the week?"), "income")


def ages(s: Story) -> Core:
    a, b, c = s.person(), s.person(), s.person()
    x, k, d = s.between(4, 15), s.pick(2, 3, 4), s.between(2, 12)
    s.tell(f"{a.name} is {x} years old.", f"{a.name} has just turned {x}.")
    s.tell(f"{b.name} is {TIMES[k]} as old as {a.name}.", f"The age of {b.name} is {TIMES[k]} the age of {a.name}.")
    y = s.step("*", (x, k), f"{b.name} is @ years old.", f"Since {b.name} is {TIMES[k]} as old as {a.name}, {b.name} is @ years old.")
    if s.rng.random() < 0.5:
        s.tell(f"{c.name} is {d} years older than {b.name}.")
        z = s.step("+", (y, d), f"{c.name} is @ years old.", f"Being {d} years older than {b.name}, {c.name} is @ years old.")
    else:
        s.tell(f"{c.name} is {d} years younger than {b.name}.")
        z = s.step("-", (y, d), f"{c.name} is @ years old.", f"Being {d} years younger than {b.name}, {c.name} is @ years old.")
    goal = s.pick("sum", "later", "plain")
    if goal == "plain":
        return Core(z, "years", c, (f"How old is {c.name}?", f"What is the age of {c.name}?"), "final")
    if goal == "later":
        n = s.between(3, 20)
        old = s.step("+", (z, n), f"In {n} years, {c.name} will be @ years old.", f"{n} years from now, the age of {c.name} will be @ years.")
        return Core(old, "years", c, (f"How old will {c.name} be in {s.word(n)} years?", f"What will be the age of {c.name} {n} years from now?"), "final")
    total = s.step("+", (x, y, z), "The sum of the three ages is @ years.", "Adding all the ages gives @ years.")
    return Core(total, "years", a, (f"What is the sum of the ages of {a.name}, {b.name} and {c.name}?", "How many years old are the three of them together?"), "final")


def discount(s: Story) -> Core:
    p, item = s.person(), s.pick(*GOODS)
    percent = s.pick(10, 10, 20, 25, 50, 50)
    price = s.between(20, 900, 100 if percent == 25 else 10) if percent != 25 else s.between(40, 800, 40)
    s.tell(
        f"{p.name} wants to buy a {item} that costs ${number(price)}. The shop gives a discount of {percent}%.",
        f"A {item} usually costs ${number(price)}, but today it is {percent}% off and {p.name} buys it.",
    )
    part = 100 // percent
    off = s.step("/", (price, part), f"A discount of {percent}% is one part in {part}, so the discount is @.", f"{percent}% of ${number(price)} is @.", money=True)
    now = s.step("-", (price, off), f"So the {item} now costs @.", f"After the discount, {p.name} pays @ for the {item}.", money=True)
    if s.rng.random() < 0.5:
        extra, fee = s.pick("bag", "case", "cover", "lock", "book"), s.between(5, 50, 5)
        s.tell(f"{p.he.capitalize()} also buys a {extra} for ${fee}.", f"{p.name} adds a {extra} that costs ${fee}.")
        now = s.step("+", (now, fee), f"With the {extra}, {p.name} pays @.", f"Adding the ${fee} for the {extra}, the cost is @.", money=True)
    return Core(now, "dollars", p, (f"How much does {p.name} have to pay?", f"How many dollars does {p.name} spend?"), "cost")


def reading(s: Story) -> Core:
    p = s.person()
    days, each, rest, k = s.between(2, 9), s.factor(), s.factor(), s.between(2, 9)
    thing, verb, done = s.pick(("book", "read", "pages"), ("workbook", "solve", "pages"), ("manuscript", "type", "pages"))
    whole = days * each + rest * k
    s.tell(f"{p.name} has a {thing} with {number(whole)} {done}.", f"There are {number(whole)} {done} in {p.name}'s {thing}.")
    s.tell(f"For {s.word(days)} days {p.he} does {each} {done} a day.", f"{p.he.capitalize()} can {verb} {each} {done} a day, and has done so for {s.word(days)} days.")
    seen = s.step("*", (days, each), f"In {days} days, {p.name} has done @ {done}.", f"{p.name} has already finished @ {done}.")
    left = s.step("-", (whole, seen), f"There are @ {done} left.", f"So {p.name} still has to {verb} @ {done}.")
    if s.rng.random() < 0.35:
        return Core(left, done, p, (f"How many {done} are left?", f"How many {done} does {p.name} still have to {verb}?"), "final")
    s.tell(f"{p.he.capitalize()} wants to finish the rest in {s.word(k)} days.", f"The {thing} must be finished in {s.word(k)} more days.")
    per = s.step("/", (left, k), f"To finish in {k} days, {p.name} has to {verb} @ {done} a day.", f"Over {k} days, that is @ {done} each day.")
    return Core(per, done, p, (f"How many {done} must {p.name} {verb} each day?", f"How many {done} a day does {p.name} have to {verb} from now on?"), "final")


def school(s: Story) -> Core:
    p = s.person()
    place = s.pick("class", "club", "choir", "camp", "school")
    girls, k, d = s.between(5, 60), s.pick(2, 2, 3), s.between(2, 20)
    if s.rng.random() < 0.5:
        s.tell(f"{p.name}'s {place} has {girls} girls and {TIMES[k]} as many boys.", f"There are {girls} girls in {p.name}'s {place}, and {TIMES[k]} as many boys as girls.")
        boys = s.step("*", (girls, k), f"There are @ boys in the {place}.", f"The number of boys is @ boys.")
    else:
        s.tell(f"{p.name}'s {place} has {girls} girls and {d} more boys than girls.", f"There are {girls} girls in {p.name}'s {place}. There are {d} more boys than girls.")
        boys = s.step("+", (girls, d), f"There are @ boys in the {place}.", f"The number of boys is @ boys.")
    total = s.step("+", (girls, boys), f"Together there are @ children in the {place}.", f"So the {place} has @ children.")
    end = s.pick("teams", "absent", "cost")
    if end == "absent":
        away = s.between(2, 12)
        s.tell(f"Today {s.word(away)} children are ill at home.", f"On Monday, {s.word(away)} of the children did not come.")
        total = s.step("-", (total, away), f"Without those who are away, @ children are there.", f"Since {away} are missing, there are @ children present.")
        return Core(total, "children", p, ("How many children are there that day?", "How many children are present?"), "final")
    if end == "teams":
        size = s.between(2, 9)
        s.tell(f"The teacher makes teams of {s.word(size)} children.", f"For a game, the children form teams of {s.word(size)}.")
        teams = s.step("/", (total, size), f"With {size} children in a team, there are @ teams.", f"They can form @ teams.")
        return Core(teams, "teams", p, ("How many teams are there?", "How many teams do the children form?"), "final")
    fee = s.between(2, 9)
    s.tell(f"For a visit to the zoo, every child pays ${fee}.", f"A ticket for the museum costs ${fee} for each child.")
    cost = s.step("*", (total, fee), "The children pay @ altogether.", f"At ${fee} for each child, the tickets cost @.", money=True)
    return Core(cost, "dollars", p, ("How much do all the children pay?", "How many dollars do the tickets cost in total?"), "final")


def comparing(s: Story) -> Core:
    a, b, c, unit = s.person(), s.person(), s.person(), s.pick(*THINGS)
    n, d, k = s.between(8, 90), s.between(3, 40), s.pick(2, 2, 3, 4)
    s.tell(f"{a.name} has {n} {unit}.", f"{a.name} collected {n} {unit}.")
    if s.rng.random() < 0.5:
        s.tell(f"{b.name} has {d} more {unit} than {a.name}.")
        m = s.step("+", (n, d), f"{b.name} has @ {unit}.", f"Having {d} more than {a.name}, {b.name} has @ {unit}.")
    else:
        s.tell(f"{b.name} has {d} fewer {unit} than {a.name}.")
        m = s.step("-", (n, d), f"{b.name} has @ {unit}.", f"Having {d} fewer than {a.name}, {b.name} has @ {unit}.")
    if s.rng.random() < 0.5:
        s.tell(f"{c.name} has {TIMES[k]} as many {unit} as {b.name}.", f"The number of {unit} that {c.name} has is {TIMES[k]} that of {b.name}.")
        o = s.step("*", (m, k), f"{c.name} has @ {unit}.", f"{c.name} has {TIMES[k]} as many as {b.name}, which is @ {unit}.")
    else:
        s.tell(f"{c.name} has {FRACTIONS[k]} as many {unit} as {b.name}.")
        o = s.step("/", (m, k), f"{c.name} has @ {unit}.", f"{c.name} has {FRACTIONS[k]} as many as {b.name}, which is @ {unit}.")
    if s.rng.random() < 0.3:
        return Core(o, unit, c, (f"How many {unit} does {c.name} have?",), "count")
    two = s.step("+", (n, m), f"{a.name} and {b.name} have @ {unit} together.", f"The {unit} of {a.name} and {b.name} make @ {unit}.")
    total = s.step("+", (two, o), f"With the {unit} of {c.name}, that makes @ {unit}.", f"All three together have @ {unit}.")
    return Core(total, unit, a, (f"How many {unit} do {a.name}, {b.name} and {c.name} have altogether?", f"How many {unit} do the three have in total?"), "final")


def fractions(s: Story) -> Core:
    p, f, unit = s.person(), s.person(), s.pick(*THINGS)
    k, n, lost = s.between(2, 5), s.factor(), s.between(2, 30)
    n *= k
    s.tell(f"{p.name} had {number(n)} {unit}.", f"At first, {p.name} had {number(n)} {unit} in a box.")
    s.tell(f"{p.he.capitalize()} gave {FRACTIONS[k]} of them to {f.name}.", f"{FRACTIONS[k].capitalize()} of the {unit} went to {f.name}.")
    gave = s.step("/", (n, k), f"{p.name} gave @ {unit} to {f.name}.", f"{f.name} got {FRACTIONS[k]} of the {unit}, which is @ {unit}.")
    left = s.step("-", (n, gave), f"Then {p.name} had @ {unit} left.", f"This left {p.name} with @ {unit}.")
    if s.rng.random() < 0.6:
        s.tell(f"Later {p.he} lost {s.word(lost)} {unit}.", f"Then {s.word(lost)} of the {unit} were broken.")
        left = s.step("-", (left, lost), f"After losing {lost} of them, {p.name} had @ {unit}.", f"Taking away those {lost}, there are @ {unit} left.")
    return Core(left, unit, p, (f"How many {unit} does {p.name} have now?", f"How many {unit} are left for {p.name}?"), "count")


def containers(s: Story) -> Core:
    p, unit = s.person(), s.pick(*THINGS)
    outer, inner = s.pick(("boxes", "bags"), ("crates", "packs"), ("shelves", "baskets"), ("cartons", "packs"))
    a, b, c = s.between(2, 9), s.between(2, 10), s.factor()
    s.tell(
        f"{p.name} has {s.word(a)} {outer} with {s.word(b)} {inner} in each, and every one of the {inner} holds {c} {unit}.",
        f"There are {s.word(a)} {outer} in {p.name}'s room, each with {s.word(b)} {inner} of {c} {unit}.",
    )
    if s.rng.random() < 0.5:
        n = s.step("*", (a, b), f"{p.name} has @ {inner} in all.", f"The {outer} hold @ {inner}.")
        total = s.step("*", (n, c), f"So {p.name} has @ {unit}.", f"With {c} {unit} in each, there are @ {unit}.")
    else:
        n = s.step("*", (b, c), f"One of the {outer} holds @ {unit}.", f"In each of the {outer} there are @ {unit}.")
        total = s.step("*", (n, a), f"So {p.name} has @ {unit}.", f"With {a} {outer}, there are @ {unit}.")
    return Core(total, unit, p, (f"How many {unit} does {p.name} have in total?", f"How many {unit} are there altogether?"), "count")


def tickets(s: Story) -> Core:
    p = s.person()
    place = s.pick("zoo", "cinema", "theater", "museum", "circus", "fair")
    adult, child, na, nc = s.between(5, 30, 5), s.between(2, 12), s.between(2, 9), s.between(2, 9)
    s.tell(
        f"At the {place}, an adult ticket costs ${adult} and a child ticket costs ${child}.",
        f"Tickets for the {place} cost ${adult} for adults and ${child} for children.",
    )
    s.tell(f"{p.name} buys tickets for {s.word(na)} adults and {s.word(nc)} children.", f"{p.name} goes there with a group of {s.word(na)} adults and {s.word(nc)} children.")
    a = s.step("*", (na, adult), f"The tickets for the adults cost @.", f"For {na} adults, {p.name} pays @.", money=True)
    c = s.step("*", (nc, child), f"The tickets for the children cost @.", f"For {nc} children, {p.name} pays @.", money=True)
    total = s.step("+", (a, c), f"In total, the tickets cost @.", f"So {p.name} pays @ for all the tickets.", money=True)
    return Core(total, "dollars", p, (f"How much do the tickets cost in total?", f"How many dollars does {p.name} pay for the tickets?"), "cost")


def salary(s: Story) -> Core:
    p = s.person()
    pay, rent, food = s.between(1_500, 9_000, 500), s.between(400, 3_000, 100), s.between(100, 900, 100)
    s.tell(f"{p.name} earns ${number(pay)} a month.", f"The monthly salary of {p.name} is ${number(pay)}.")
    s.tell(f"{p.he.capitalize()} pays ${number(rent)} for rent and ${number(food)} for food.", f"Every month, {p.his} rent is ${number(rent)} and {p.his} food costs ${number(food)}.")
    if s.rng.random() < 0.5:
        spent = s.step("+", (rent, food), f"Rent and food together cost @.", f"{p.name} spends @ each month.", money=True)
        left = s.step("-", (pay, spent), f"So {p.name} has @ left each month.", f"Of {p.his} salary, @ is left.", money=True)
    else:
        left = s.step("-", (pay, rent), f"After paying the rent, {p.name} has @.", f"Without the rent, @ is left.", money=True)
        left = s.step("-", (left, food), f"After paying for food, {p.he} has @ left.", f"Taking away the food, {p.name} keeps @.", money=True)
    if s.rng.random() < 0.5:
        s.tell(f"{p.he.capitalize()} saves half of what is left.", f"{p.name} puts half of the rest in the bank.")
        left = s.step("/", (left, 2), f"Half of that is @.", f"{p.name} saves half, which is @ a month.", money=True)
        return Core(left, "dollars", p, (f"How much does {p.name} save each month?", f"How many dollars a month does {p.name} put aside?"), "monthly")
    return Core(left, "dollars", p, (f"How much does {p.name} have left each month?", f"How many dollars a month are left for {p.name}?"), "monthly")


def factory(s: Story) -> Core:
    p, unit = s.person(), s.pick("bottles", "bricks", "chairs", "screws", "candles", "tires")
    rate, hours, days = s.pick(s.between(20, 120, 10), s.between(100, 900, 100)), s.between(2, 9), s.between(2, 7)
    s.tell(
        f"A machine in {p.name}'s factory makes {number(rate)} {unit} an hour and runs {s.word(hours)} hours a day.",
        f"{p.name} has a factory that produces {number(rate)} {unit} every hour, for {s.word(hours)} hours each day.",
    )
    day = s.step("*", (rate, hours), f"The factory makes @ {unit} a day.", f"In one day, @ {unit} are made.")
    n = s.step("*", (day, days), f"In {days} days, the factory makes @ {unit}.", f"Over {days} days, that is @ {unit}.")
    if s.rng.random() < 0.6:
        bad = s.between(10, 90, 10) if n < 2_000 else s.between(100, 900, 100)
        s.tell(f"In {s.word(days)} days, {number(bad)} of the {unit} are broken.", f"Of all the {unit} made in {s.word(days)} days, {number(bad)} cannot be used.")
        n = s.step("-", (n, bad), f"Without the broken ones, there are @ {unit}.", f"Taking away {number(bad)}, there are @ good {unit}.")
        return Core(n, unit, p, (f"How many good {unit} does the factory make in that time?", f"How many of the {unit} can be used?"), "count")
    return Core(n, unit, p, (f"How many {unit} does the factory make in {s.word(days)} days?", f"How many {unit} are produced in {days} days?"), "final")


def tank(s: Story) -> Core:
    p = s.person()
    liquid, vessel = s.pick(("water", "tank"), ("water", "pool"), ("oil", "barrel"), ("juice", "tank"))
    start, rate, leak, minutes = s.between(20, 300, 10), s.between(4, 20), s.between(2, 6), s.between(3, 10)
    if leak >= rate:
        raise Reject
    s.tell(f"{p.name}'s {vessel} holds {start} liters of {liquid}.", f"There are {start} liters of {liquid} in {p.name}'s {vessel}.")
    s.tell(
        f"A pipe adds {rate} liters a minute, but {s.word(leak)} liters a minute leak out.",
        f"Every minute, {rate} liters flow in and {s.word(leak)} liters flow out through a hole.",
    )
    net = s.step("-", (rate, leak), f"Each minute, the {vessel} gains @ liters.", f"The amount grows by @ liters a minute.")
    gain = s.step("*", (net, minutes), f"In {minutes} minutes, the {vessel} gains @ liters.", f"Over {minutes} minutes, that is @ liters more.")
    total = s.step("+", (start, gain), f"So there are @ liters in the {vessel}.", f"Together with the first {start} liters, this makes @ liters.")
    ask = (f"How many liters of {liquid} are in the {vessel} after {s.word(minutes)} minutes?", f"How many liters does the {vessel} hold {minutes} minutes later?")
    return Core(total, "liters", p, ask, "final")


def flowers(s: Story) -> Core:
    p = s.person()
    unit = s.pick("roses", "tulips", "lilies", "balloons", "ribbons", "kites")
    one, two, three = s.rng.sample(["red", "yellow", "white", "pink", "blue", "purple"], 3)
    n, k, d = s.between(4, 50), s.pick(2, 3), s.between(2, 12)
    s.tell(f"{p.name} has {n} {one} {unit}.", f"There are {n} {one} {unit} in {p.name}'s shop.")
    s.tell(f"There are {TIMES[k]} as many {two} {unit} as {one} ones.", f"The number of {two} {unit} is {TIMES[k]} the number of {one} {unit}.")
    m = s.step("*", (n, k), f"There are @ {two} {unit}.", f"The number of {two} {unit} is @ {unit}.")
    both = s.step("+", (n, m), f"The {one} and {two} {unit} together are @ {unit}.", f"So there are @ {one} and {two} {unit}.")
    s.tell(f"There are also {s.word(d)} {three} {unit}.", f"{p.he.capitalize()} also has {s.word(d)} {three} {unit}.")
    total = s.step("+", (both, d), f"With the {three} {unit}, there are @ {unit}.", f"Adding the {d} {three} ones, {p.name} has @ {unit}.")
    return Core(total, unit, p, (f"How many {unit} does {p.name} have in total?", f"How many {unit} are there altogether?"), "count")


def bus(s: Story) -> Core:
    p, vehicle = s.person(), s.pick("bus", "train", "tram", "boat")
    n = s.between(15, 80)
    s.tell(f"{p.name} drives a {vehicle} with {n} passengers.", f"When {p.name}'s {vehicle} starts, there are {n} people on it.")
    for stop in ("first", "second", "third")[: s.pick(1, 2, 2, 3)]:
        off, on = s.between(2, 15), s.between(2, 20)
        s.tell(f"At the {stop} stop, {s.word(off)} people get off and {s.word(on)} people get on.", f"At the {stop} stop, {s.word(off)} leave and {s.word(on)} new people get on.")
        n = s.step("-", (n, off), f"At the {stop} stop, {off} people leave, so @ are left.", f"After {off} people get off at the {stop} stop, there are @ people.")
        n = s.step("+", (n, on), f"Then {on} people get on, which makes @ people.", f"With the {on} new people, there are @ on the {vehicle}.")
    return Core(n, "people", p, (f"How many people are on the {vehicle} now?", f"How many people does the {vehicle} carry after that?"), "final")


def pizza(s: Story) -> Core:
    p, food = s.person(), s.pick("pizzas", "pies", "cakes")
    n, slices, people, each = s.between(2, 9), s.pick(6, 8, 10, 12), s.between(2, 12), s.between(2, 5)
    s.tell(f"{p.name} orders {s.word(n)} {food} for a party. Each is cut into {s.word(slices)} slices.", f"For a party, {p.name} cuts {s.word(n)} {food} into {s.word(slices)} slices each.")
    s.tell(f"Each of the {s.word(people)} guests eats {s.word(each)} slices.", f"There are {s.word(people)} guests, and every guest eats {s.word(each)} slices.")
    total = s.step("*", (n, slices), f"There are @ slices of the {food}.", f"{p.name} has @ slices in total.")
    eaten = s.step("*", (people, each), "The guests eat @ slices.", f"All {people} guests together eat @ slices.")
    left = s.step("-", (total, eaten), "So there are @ slices left.", f"This leaves {p.name} with @ slices.")
    return Core(left, "slices", p, ("How many slices are left?", f"How many slices does {p.name} have after the party?"), "count")


def practice(s: Story) -> Core:
    p, what = s.person(), s.pick("piano", "chess", "violin", "tennis", "dance", "guitar")
    m, days, k = s.between(10, 60, 5), s.between(2, 5), s.pick(2, 2, 3)
    s.tell(
        f"{p.name} practices {what} for {m} minutes on each of {s.word(days)} weekdays.",
        f"On {s.word(days)} days of the week, {p.name} practices {what} for {m} minutes a day.",
    )
    s.tell(f"On Sunday {p.he} practices {TIMES[k]} as long as on one of these days.", f"On Saturday, {p.he} practices {TIMES[k]} as many minutes as on a weekday.")
    a = s.step("*", (m, days), f"On the weekdays, {p.name} practices @ minutes.", f"The {days} days give @ minutes of {what}.")
    b = s.step("*", (m, k), f"On the weekend, {p.name} practices @ minutes.", f"On the longer day, {p.he} practices @ minutes.")
    week = s.step("+", (a, b), f"In one week, {p.name} practices @ minutes.", "So the whole week has @ minutes of practice.")
    if s.rng.random() < 0.6:
        return Core(week, "minutes", p, (f"How many minutes does {p.name} practice in a week?",), "final")
    weeks = s.between(2, 6)
    total = s.step("*", (week, weeks), f"In {weeks} weeks, {p.he} practices @ minutes.", f"Over {weeks} weeks, that is @ minutes.")
    return Core(total, "minutes", p, (f"How many minutes does {p.name} practice in {s.word(weeks)} weeks?",), "final")


def charity(s: Story) -> Core:
    p, place = s.person(), s.pick("hospital", "school", "library", "shelter", "park")
    goal, n, each, big = s.between(1_000, 12_000, 500), s.between(2, 9), s.between(50, 500, 50), s.between(100, 3_000, 100)
    s.tell(f"{p.name} wants to raise ${number(goal)} for a new {place}.", f"A new {place} needs ${number(goal)}, and {p.name} collects the money.")
    s.tell(f"{s.word(n).capitalize()} families give ${number(each)} each.", f"{p.name} gets ${number(each)} from each of {s.word(n)} families.")
    s.tell(f"A company gives ${number(big)}.", f"There is also a gift of ${number(big)} from a bank.")
    a = s.step("*", (n, each), f"The {n} families give @.", f"From the families, {p.name} gets @.", money=True)
    total = s.step("+", (a, big), f"With the other ${number(big)}, that makes @.", f"Together with the large gift, {p.name} has @.", money=True)
    left = s.step("-", (goal, total), f"So {p.name} still needs @.", f"To reach ${number(goal)}, @ is missing.", money=True)
    return Core(left, "dollars", p, (f"How much money does {p.name} still need?", "How many dollars are still missing?"), "needed")


def percent(s: Story) -> Core:
    p = s.person()
    unit, place, what = s.pick(("students", "school", "play football"), ("people", "town", "own a dog"), ("visitors", "museum", "buy a book"), ("workers", "company", "come by bus"))
    share = s.pick(10, 20, 25, 50)
    n, d = s.between(1, 30) * (100 // share) * s.pick(1, 10, 100), s.between(2, 20)
    s.tell(f"There are {number(n)} {unit} in {p.name}'s {place}.", f"{p.name} counts {number(n)} {unit} in the {place}.")
    s.tell(f"{share}% of them {what}.", f"Of these {unit}, {share}% {what}.")
    part = 100 // share
    a = s.step("/", (n, part), f"{share}% is one part in {part}, so @ {unit} {what}.", f"The number of {unit} who {what} is @.")
    b = s.step("-", (n, a), f"The others are @ {unit}.", f"So @ {unit} do not.")
    if s.rng.random() < 0.4:
        return Core(b, unit, p, (f"How many {unit} do not {what}?", f"How many of the {unit} do not {what}?"), "final")
    k = s.pick(2, 2, 3, 4)
    s.tell(f"{FRACTIONS[k].capitalize()} of the others come from far away.", f"Of the rest, {FRACTIONS[k]} are new.")
    c = s.step("/", (b, k), f"{FRACTIONS[k].capitalize()} of the others is @ {unit}.", f"Taking {FRACTIONS[k]} of the rest gives @ {unit}.")
    return Core(c, unit, p, (f"How many {unit} is that?", f"How many {unit} belong to this last group?"), "final")


def recipe(s: Story) -> Core:
    p = s.person()
    base, k, eggs, cups = s.between(2, 8), s.between(2, 6), s.between(2, 6), s.between(2, 9)
    dish = s.pick("soup", "salad", "cake", "stew", "bread")
    a, b = s.pick(("eggs", "cups of flour"), ("carrots", "cups of rice"), ("onions", "cups of milk"), ("tomatoes", "spoons of oil"))
    guests = base * k
    s.tell(f"A recipe of {dish} for {s.word(base)} people needs {s.word(eggs)} {a} and {s.word(cups)} {b}.", f"To make {dish} for {s.word(base)} people, {p.name} uses {s.word(eggs)} {a} and {s.word(cups)} {b}.")
    s.tell(f"{p.name} cooks for {guests} people.", f"Today {p.name} has to feed {guests} people.")
    m = s.step("/", (guests, base), f"{p.name} has to make the recipe @ times.", "The amounts must be multiplied by @.")
    if s.rng.random() < 0.3:
        y = s.step("*", (cups, m), f"So {p.name} needs @ {b}.", f"This takes @ {b}.")
        return Core(y, b, p, (f"How many {b} are needed?", f"How many {b} does {p.name} need?"), "final")
    x = s.step("*", (eggs, m), f"So {p.name} needs @ {a}.", f"This takes @ {a}.")
    y = s.step("*", (cups, m), f"So {p.name} needs @ {b}.", f"This takes @ {b}.")
    t = s.step("+", (x, y), f"Together, that is @ {a} and {b}.", f"Counting both, {p.name} needs @ things.")
    return Core(t, "things", p, (f"How many {a} and {b} does {p.name} need together?",), "final")


def instalments(s: Story) -> Core:
    p, item = s.person(), s.pick("car", "sofa", "piano", "boat", "computer", "motorcycle")
    months, each, down = s.between(2, 12), s.between(50, 600, 50), s.between(100, 2_000, 100)
    price = months * each + down
    s.tell(f"{p.name} buys a {item} for ${number(price)}.", f"The {item} that {p.name} buys costs ${number(price)}.")
    s.tell(f"{p.he.capitalize()} pays ${number(down)} at once and the rest in {s.word(months)} equal monthly payments.", f"After paying ${number(down)} first, {p.he} pays the rest in {s.word(months)} equal parts, one each month.")
    rest = s.step("-", (price, down), f"After the first payment, {p.name} owes @.", f"The rest is @.", money=True)
    part = s.step("/", (rest, months), f"Each of the {months} payments is @.", f"So {p.name} pays @ each month.", money=True)
    return Core(part, "dollars", p, (f"How much is each monthly payment?", f"How many dollars does {p.name} pay each month?"), "final")


def shipping(s: Story) -> Core:
    p, unit = s.person(), s.pick("boxes", "sacks", "barrels", "parcels")
    a, b, wa, wb = s.between(2, 12), s.between(2, 12), s.between(5, 50, 5), s.between(5, 50, 5)
    s.tell(f"{p.name} loads {s.word(a)} big {unit} of {wa} pounds each and {s.word(b)} small {unit} of {wb} pounds each on a truck.", f"A truck carries {s.word(a)} heavy {unit} of {wa} pounds each, and {p.name} adds {s.word(b)} light {unit} of {wb} pounds each.")
    x = s.step("*", (a, wa), f"The first {unit} weigh @ pounds.", f"The {a} {unit} of {wa} pounds weigh @ pounds.")
    y = s.step("*", (b, wb), f"The other {unit} weigh @ pounds.", f"The {b} {unit} of {wb} pounds weigh @ pounds.")
    t = s.step("+", (x, y), f"All the {unit} together weigh @ pounds.", "So the truck carries @ pounds.")
    if s.rng.random() < 0.5:
        return Core(t, "pounds", p, (f"How many pounds do all the {unit} weigh?", "How many pounds does the truck carry?"), "final")
    limit = t + s.between(20, 200, 10)
    s.tell(f"The truck can carry {number(limit)} pounds.", f"At most {number(limit)} pounds are allowed.")
    more = s.step("-", (limit, t), f"There is room for @ more pounds.", f"So {p.name} may add @ pounds.")
    return Core(more, "pounds", p, ("How many more pounds can the truck carry?", f"How many pounds may {p.name} still add?"), "final")


FAMILIES = (
    clip_sales, shopping, weekly_saving, orchard, hens, bakery, trip, wages, ages, discount, reading, school, comparing,
    fractions, containers, tickets, salary, factory, tank, flowers, bus, pizza, practice, charity, percent, recipe,
    instalments, shipping,
)  # fmt: skip


# Endings. Each goes on from a Core and returns the next one.


def give_away(s: Story, c: Core) -> Core:
    f, n = s.person(), s.between(2, min(90, c.value - 1))
    s.tell(f"Then {c.who.name} gave {s.word(n)} {c.unit} to {f.name}.", f"After that, {f.name} took {s.word(n)} of the {c.unit}.")
    left = s.step("-", (c.value, n), f"After {f.name} got {n}, {c.who.name} had @ {c.unit}.", f"Giving {n} to {f.name} leaves @ {c.unit}.")
    return Core(left, c.unit, c.who, (f"How many {c.unit} does {c.who.name} have in the end?", f"How many {c.unit} are left?"), "count")


def get_more(s: Story, c: Core) -> Core:
    f, n = s.person(), s.between(2, 90)
    s.tell(f"Then {f.name} brought {s.word(n)} more {c.unit}.", f"After that, {f.name} gave {c.who.name} another {s.word(n)} {c.unit}.")
    total = s.step("+", (c.value, n), f"With the {n} from {f.name}, there are @ {c.unit}.", f"Adding the {n} from {f.name}, {c.who.name} has @ {c.unit}.")
    return Core(total, c.unit, c.who, (f"How many {c.unit} does {c.who.name} have in the end?", "How many are there now?"), "count")


def divisor(s: Story, n: int) -> int:
    options = [k for k in range(2, 11) if n % k == 0 and n > k and easy_product(n // k, k)]
    if not options:
        raise Reject
    return s.rng.choice(options)


def pack(s: Story, c: Core) -> Core:
    k, box = divisor(s, c.value), s.pick("boxes", "bags", "baskets")
    s.tell(f"{c.who.name} puts the {c.unit} into {box} of {s.word(k)}.", f"In the end {c.who.name} packs all the {c.unit} in {box}, {s.word(k)} in each.")
    n = s.step("/", (c.value, k), f"With {k} {c.unit} in each, {c.who.name} needs @ {box}.", f"The {c.unit} fill @ {box}.")
    return Core(n, box, c.who, (f"How many {box} does {c.who.name} need?", f"How many {box} are filled?"), "final")


def share(s: Story, c: Core) -> Core:
    k = divisor(s, c.value)
    s.tell(f"{c.who.name} shares the {c.unit} equally among {s.word(k)} friends.", f"In the end {s.word(k)} friends share the {c.unit} equally.")
    n = s.step("/", (c.value, k), f"Each of the {k} friends gets @ {c.unit}.", f"Shared by {k}, that is @ {c.unit} for each friend.")
    return Core(n, c.unit, c.who, (f"How many {c.unit} does each friend get?",), "final")


def sell(s: Story, c: Core) -> Core:
    price = s.between(2, 9)
    s.tell(f"{c.who.name} sells all the {c.unit} for ${price} each.", f"In the end all the {c.unit} are sold at ${price} each.")
    money = s.step("*", (c.value, price), f"Selling them for ${price} each brings @.", f"At ${price} each, {c.who.name} gets @ for the {c.unit}.", money=True)
    return Core(money, "dollars", c.who, (f"How much money does {c.who.name} get?", f"How many dollars does {c.who.name} earn?"), "income")


def change(s: Story, c: Core) -> Core:
    notes = [n for n in (50, 100, 150, 200, 500, 1_000, 5_000) if n > c.value][:2]
    if not notes:
        raise Reject
    note = s.rng.choice(notes)
    s.tell(f"{c.who.name} had ${number(note)} in {c.who.his} wallet.", f"Before that, {c.who.name} had ${number(note)}.")
    left = s.step("-", (note, c.value), f"Of the ${number(note)}, {c.who.name} has @ left.", f"Taking this from ${number(note)} leaves @.", money=True)
    return Core(left, "dollars", c.who, (f"How much money will be left from {c.who.his} ${number(note)}?", f"How many dollars does {c.who.name} have left?"), "final")


def split_cost(s: Story, c: Core) -> Core:
    k = divisor(s, c.value)
    s.tell(f"The amount is shared equally by {s.word(k)} people.", f"A group of {s.word(k)} people pays it in equal parts.")
    part = s.step("/", (c.value, k), f"Each of the {k} people pays @.", f"Divided by {k} people, that is @ for each.", money=True)
    return Core(part, "dollars", c.who, ("How much does each person pay?", "How many dollars does each of them pay?"), "final")


def spend(s: Story, c: Core) -> Core:
    item, price = s.pick(*GOODS), s.between(5, 90, 5)
    s.tell(f"From this money, {c.who.name} buys a {item} for ${price}.", f"Then {c.who.name} spends ${price} of it on a {item}.")
    left = s.step("-", (c.value, price), f"After buying the {item}, {c.who.name} has @.", f"Paying ${price} for the {item} leaves @.", money=True)
    return Core(left, "dollars", c.who, (f"How much money does {c.who.name} have left?", f"How many dollars are left for {c.who.name}?"), "income")


def still_needs(s: Story, c: Core) -> Core:
    item, price = s.pick(*GOODS), c.value + s.between(5, 200, 5)
    price = price // 10 * 10
    s.tell(f"{c.who.name} wants to buy a {item} that costs ${number(price)}.", f"A {item} that {c.who.name} would like costs ${number(price)}.")
    more = s.step("-", (price, c.value), f"For the {item}, {c.who.name} still needs @.", f"The {item} costs ${number(price)}, so @ is missing.", money=True)
    return Core(more, "dollars", c.who, (f"How much more money does {c.who.name} need for the {item}?", f"How many more dollars does {c.who.name} need to buy the {item}?"), "final")


def months(s: Story, c: Core) -> Core:
    k = s.between(2, 12)
    total = s.step("*", (c.value, k), f"In {k} months, that makes @.", f"After {k} months, {c.who.name} has @.", money=True)
    return Core(total, "dollars", c.who, (f"How much does this make in {s.word(k)} months?", f"How many dollars will {c.who.name} have after {s.word(k)} months?"), "income")


ENDINGS = {
    "count": (give_away, get_more, pack, share, sell),
    "income": (spend, still_needs),
    "cost": (change, split_cost),
    "needed": (split_cost,),
    "monthly": (months,),
    "final": (),
}


def compose(rng: random.Random) -> Problem:
    family = rng.choice(FAMILIES)
    s = Story(rng)
    core = family(s)
    while ENDINGS[core.kind] and len(s.steps) < 6 and s.names and rng.random() < (0.85 if len(s.steps) < 4 else 0.4):
        core = rng.choice(ENDINGS[core.kind])(s, core)
    # Short problems come most easily; thin them out so that the median has four steps.
    keep = {2: 0.35, 3: 0.6, 4: 1.0, 5: 1.0, 6: 1.0}.get(len(s.steps), 0.0)
    if core.value != s.result or rng.random() >= keep:
        raise Reject
    question = " ".join([*s.facts, rng.choice(core.ask)])
    answer = "\n".join([*s.steps, f"#### {number(core.value)}"])
    return Problem(family.__name__, question, answer, len(s.steps))


def problems(seed: int | str) -> Iterator[Problem]:
    """An endless stream of problems whose questions are all different; the same for the same seed."""
    rng = random.Random(seed)
    seen: set[str] = set()
    while True:
        try:
            problem = compose(rng)
        except Reject:
            continue
        if problem.question not in seen:
            seen.add(problem.question)
            yield problem


def split(seed: int, name: str, size: int, exclude: set[str]) -> list[Problem]:
    rows: list[Problem] = []
    for problem in problems(f"{seed}/{name}"):
        if len(rows) == size:
            return rows
        if problem.question not in exclude:
            rows.append(problem)
    raise AssertionError("the stream is endless")


def write(path: Path, rows: list[Problem]) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"question": [r.question for r in rows], "answer": [r.answer for r in rows]})
    pyarrow.parquet.write_table(table, path, compression="snappy")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the synthetic train and test splits as parquet.")
    parser.add_argument("--out", type=Path, default=Path("data/gsm-synth"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--train", type=int, default=2_000)
    parser.add_argument("--test", type=int, default=1_319)
    args = parser.parse_args()

    test = split(args.seed, "test", args.test, set())
    train = split(args.seed, "train", args.train, {row.question for row in test})
    args.out.mkdir(parents=True, exist_ok=True)
    write(args.out / "test.parquet", test)
    write(args.out / "train.parquet", train)
    print(f"{args.out}: {len(train)} train rows, {len(test)} test rows")


if __name__ == "__main__":
    main()
