"""What transformers renders from chat templates: goldens for decode/chat.

Pinned: transformers 5.23.0, jinja2 3.1.6. Run from the repository root:

    python scripts/goldens/chat_templates.py

It reads decode/chat/testdata/templates/*.jinja, short templates in the styles
of the common model families, and writes decode/chat/testdata/templates.json:
for every template and conversation the text transformers renders, or its error.
It also writes decode/chat/jinja/testdata/snippets.json: one construct of the
language each, rendered by the same environment. Dates are fixed, and a case
says whether its text is another one on another day.
"""

import datetime
import json
import pathlib
import warnings

import jinja2
import transformers
from transformers.utils import chat_template_utils

warnings.simplefilter("ignore")

CHAT = pathlib.Path(__file__).resolve().parents[2] / "decode" / "chat"
NOW = datetime.datetime(2026, 3, 7, 9, 5, 3)
LATER = datetime.datetime(2031, 12, 28, 22, 46, 37)
DATE_FORMAT = "%d %b %Y|%Y-%m-%d|%H:%M:%S|%A %a %B %b %h|%y %j %I %p|%-d %e %-m %-H %-M %-I %-y|%F %T %D %R|%c|%x %X|100%%|%n"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def turns(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


QUESTION = "Janet\u2019s ducks lay 16 eggs per day. How many are left?"
CONVERSATIONS = {
    "one question": turns(("user", QUESTION)),
    "system": turns(("system", "You are a careful math tutor."), ("user", QUESTION)),
    "two turns": turns(("user", "What is 2 + 3?"), ("assistant", "2 + 3 = 5\n#### 5"), ("user", QUESTION)),
    "system and three turns": turns(
        ("system", "  Be brief. /no_think \n"),
        ("user", "1?"),
        ("assistant", "<think>\nwell\n</think>\n\n1"),
        ("user", "2?"),
        ("assistant", "<think>\n\nhm\n\n</think>\n\n\n2 \n"),
        ("user", "3?"),
    ),
    "ends with the assistant": turns(("user", "Go on."), ("assistant", "<think>a</think>b</think>\n\n#### 4 ")),
    "empty content": turns(("system", ""), ("user", ""), ("assistant", ""), ("user", " ")),
    "spaces and newlines": turns(("user", "  \n\t lead\u00a0and trail \u2003\n\n "), ("assistant", "\n\nanswer\n\n"), ("user", "\r\nq\r\n")),
    "unicode": turns(("user", "\u00e9 \u4e2d\u6587 \U0001f600 \u0440\u0443\u0441 \u200d e\u0301 \x01 \u2028 \ufeff"), ("assistant", "\u0130\u00df"), ("user", "\U0001d54f")),
    "template syntax in the content": turns(("user", "{{ bos_token }} {% if x %} {# c #} {{'a'}} %} }} \\n"), ("assistant", "{% endfor %}"), ("user", "{{")),
    "markup in the content": turns(("user", "<b>1 < 2 & 3 > 2</b> \"q\" 'a' <|im_end|></s>"), ("assistant", "<tool_response>x</tool_response>"), ("user", "a/b\\c")),
    "two users": turns(("user", "first"), ("user", "second")),
    "assistant first": turns(("assistant", "Hello."), ("user", "Hi.")),
    "late system": turns(("user", "a"), ("system", "b"), ("user", "c")),
    "unknown role": turns(("user", "a"), ("critic", "b")),
    "tool role": turns(("user", "a"), ("assistant", "b"), ("tool", "42"), ("tool", "43"), ("user", "c")),
    "system only": turns(("system", "Only this.")),
    "no messages": [],
}

# Conversations that are also rendered without the generation prompt.
WITHOUT_PROMPT = {"one question", "two turns", "ends with the assistant", "no messages"}

# One construct each. Rendered with the variables below.
VARIABLES = {
    "s": "Hello, World", "empty": "", "n": 7, "f": 2.5, "yes": True, "no": False, "nil": None,
    "xs": [3, 1, 2], "words": ["b", "A", "c"], "d": {"b": 1, "a": 2, "items": 3}, "text": " a b\tc \n d\n",
    "uni": "na\u00efve \u4e2d \U0001f600\u00df", "html": "<a href='x'>&\"</a>",
    "people": [{"name": "Al", "age": 3}, {"name": "bo", "age": 1}, {"name": "Cy"}],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}],
}
SNIPPETS = r"""
{{ s }}|{{ n }}|{{ f }}|{{ yes }}|{{ nil }}|{{ missing }}|
{{ xs }} {{ d }} {{ (1, 'a') }} {{ (1,) }} {{ [] }} {{ {} }} {{ () }} {{ [nil, yes, 1.0, "it's", '"', "a'\"b"] }}
{{ [uni, text, '\\', '\x00\x7f\xa0\u200b'] }}
{{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1.0 }} {{ 123456789012.5 }} {{ -0.0 }} {{ 1e300*1e10 }} {{ 1_000 }} {{ 0x1f }} {{ 0b11 }} {{ 0o17 }} {{ 1.5e3 }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2**3**2 }} {{ -2**2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + yes }} {{ 6 / 3 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 'a' * 3 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ 'a' * -1 }} {{ (1,) * 2 }} {{ [1] + [2] }} {{ (1,) + (2,) }}
{{ 'a' + 1 }}
{{ [1] + (2,) }}
{{ 1 ~ 'a' ~ nil ~ yes ~ 1.5 ~ missing ~ [1] }}
{{ 1 + 2 ~ 3 + 4 }} {{ 1 ~ 2 * 3 }} {{ 'a' ~ 'b' + 'c' }} {{ -1 ~ -2 }}
{{ n > 3 and n < 10 }} {{ 3 < n < 10 }} {{ 3 < n > 10 }} {{ 1 == 1.0 == yes }} {{ not n == 7 }} {{ not no and yes }} {{ 1 < 2 == 2 }}
{{ n and s }} {{ empty or 'x' }} {{ no and missing.a }} {{ yes or missing.a }} {{ nil or empty or 0 }}
{{ (n == 7) != (s == 'x') }} {{ 1 != 1 }} {{ 'a' < 'b' }} {{ 'B' < 'a' }} {{ [1, 2] < [1, 3] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': 1.0} }}
{{ 1 < 'a' }}
{{ nil < 1 }}
{{ missing < 1 }}
{{ 'a' in s }} {{ 'World' in s }} {{ 3 in xs }} {{ 9 not in xs }} {{ 'b' in d }} {{ 1 in d }} {{ 'x' in missing }} {{ '' in s }} {{ nil in [nil] }} {{ 1.0 in xs }} {{ 'a' in ('a', 'b') }}
{{ 1 in s }}
{{ 1 in 5 }}
{{ 'a' if yes else 'b' }} {{ 'a' if no }}| {{ 'a' if no else 'b' if no else 'c' }}
{{ ('a' if no).x }}
{{ missing.a }}
{{ missing['a'] }}
{{ missing() }}
{{ missing + 'a' }}
{{ 'a' + missing }}
{{ d.zzz }}|{{ d['zzz'] }}|{{ s.zzz }}|{{ xs[10] }}|{{ s[100] }}|{{ n.x }}|{{ nil.x }}
{{ d.zzz.y }}
{{ nil.x.y }}
{{ xs[10].y }}
{{ d.b }} {{ d['items'] }} {{ d.items() | list }} {{ d['get']('a') }} {{ d.get('q', 5) }} {{ d.get('q') }} {{ d.keys()|list }} {{ d.values()|list }} {{ d.keys()|length }}
{{ xs[0] }} {{ xs[-1] }} {{ xs.0 }} {{ xs[yes] }} {{ s[0] }} {{ s[-1] }} {{ uni[2] }} {{ uni[-1] }} {{ uni|length }}
{{ xs[1:] }} {{ xs[:-1] }} {{ xs[::-1] }} {{ xs[::2] }} {{ xs[5:] }} {{ xs[-100:100] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[:0] }}| {{ uni[::-2] }} {{ xs[2:0:-1] }} {{ xs[nil:1] }} {{ (1,2,3)[1:] }} {{ s[-5:] }}
{{ xs[::0] }}
{{ n[1:] }}|{{ nil[0] }}
{{ xs['a'] }}|{{ s['upper']() }}
{{ 'a' 'b' "c" }} {{ 'a\nb' }} {{ 'a\tb\\n\'\"\x41\u00e9\101\q\/' }} {{ "\U0001f600" }} {{ '\é' }}
{{ [1,2,] }} {{ {'a':1,} }} {{ {'a': {'b': [1, {'c': 2}]}}['a'].b[1].c }} {{ {1: 'x', nil: 'y', 2.5: 'z'}[1.0] }}
{{ 1, 2 }} {{ (1) }} {{ 1, }}
{{ - 5 }} {{ +5 }} {{ -n }} {{ - -3 }} {{ -5|abs }} {{ -1.5|abs }} {{ not 0 }} {{ -yes }}
{{ -s }}
{{ range(3)|list }} {{ range(1,4)|list }} {{ range(5,0,-2)|list }} {{ range(10)[2:5]|list }} {{ range(3)|length }} {{ 2 in range(3) }} {{ range(0)|list }} {{ range(5)[-1] }} {{ range(3)|join(',') }}
{{ range(100001)|length }}
{{ range(1,2,0) }}
{{ dict(a=1, b=2) }} {{ dict({'x': 1}, y=2) }} {{ dict([('a', 1)]) }} {{ dict() }}
{% set ns = namespace(a=1) %}{% for i in xs %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }} {{ ns.zzz }}| {{ ns['zzz'] is defined }}
{% set ns = namespace({'a': 5}, b=2) %}{{ ns.a + ns.b }}
{% set x = {} %}{% set x.a = 1 %}
{% set ns = namespace() %}{% set ns._a = 1 %}
{% set ns.a = 1 %}
{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }} {{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{{ loop.cycle('o', 'e') }}{{ loop.changed(x > 1) }};{% endfor %}
{% for x in [] %}a{% else %}none{% endfor %}{% for x in missing %}a{% else %}none{% endfor %}
{% for x in nil %}a{% endfor %}
{% for x in 5 %}a{% endfor %}
{% for x in xs %}{% if x == 3 %}{% set y = 'leak' %}{% endif %}[{{ y }}]{% endfor %}{{ y }}
{% set y = 0 %}{% for x in xs %}{{ y }}{% set y = x %}{{ y }};{% endfor %}{{ y }}
{% if yes %}{% set z = 1 %}{% endif %}{{ z }}
{% for x in xs if x > 1 %}{{ x }}{{ loop.index }}{{ loop.last }} {% endfor %}
{% set ns = namespace(go=true) %}{% for x in xs if ns.go %}{{ x }}{% if x == 1 %}{% set ns.go = false %}{% endif %}{% else %}E{% endfor %}
{% set ns = namespace(go=true) %}{% for x in xs if ns.go %}{{ x }}{{ loop.last }}{% if x == 1 %}{% set ns.go = false %}{% endif %}{% endfor %}
{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}|{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in xs %}{% break %}{% else %}else{% endfor %}|{% for x in xs %}{% continue %}{% else %}else{% endfor %}|{% for x in xs %}{{ x }}{% if x == 1 %}{% break %}{% endif %}{% else %}else{% endfor %}
{% break %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for k, v in d|items %}{{ k }}{% endfor %}{% for k, v in d|dictsort %}{{ k }}{{ v }}{% endfor %}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for a, b in [(1,)] %}{{ a }}{% endfor %}
{% for c in 'añ中' %}{{ c }}.{% endfor %}
{% for x in xs %}{% for y in xs %}{{ loop.index }}{{ x }}{% endfor %}{{ loop.index }} {% endfor %}
{% for node in tree recursive %}{{ node.v }}@{{ loop.depth }}{% if node.kids %}({{ loop(node.kids) }}){% endif %}{% endfor %}
{% for x in xs %}{{ loop(x) }}{% endfor %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}
{% set a, b = [1] %}
{% set x %}block {{ n }}{% endset %}[{{ x }}]{% set x | upper | trim %} b {% endset %}[{{ x }}]
{% set x %}{% set inner = 1 %}{% endset %}{{ inner }}|
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}|{% with %}{% set q = 1 %}{% endwith %}{{ q }}
{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b')|upper %}aa{% endfilter %}
{% macro m(a, b='x', c=a) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(1, c=3) }}{{ m(a=5, b=6) }}{{ m() }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}
{% macro m() %}{{ later }}{% endmacro %}{% set later = 4 %}{{ m() }}{% set later = 5 %}{{ m() }}
{% macro m() %}{% set y = 9 %}{{ y }}{% endmacro %}{% set y = 1 %}{{ m() }}{{ y }}
{% macro fact(k) %}{% if k < 2 %}1{% else %}{{ k * fact(k - 1)|int }}{% endif %}{% endmacro %}{{ fact(5) }}
{% macro m(k) %}[{{ caller(k) }}]{% endmacro %}{% call(v) m(3) %}got {{ v }}{{ n }}{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}
{% macro m() %} a {% endmacro %}[{{ m()|trim }}]{{ m() + 'x' }}{{ m()|length }}
{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}
{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.lstrip('ab') }}|{{ '\u2003a\u00a0\x1c'.strip() }}|{{ 'a'.strip(nil) }}
{{ text.split() }} {{ 'a,b,,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ ' a  b c '.split(nil, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a--b'.split('--')[-1] }} {{ 'abc'.split('abc') }} {{ 'a b c'.split(' ', 0) }} {{ ' a b'.split(maxsplit=0) }} {{ '  '.split(nil, 1) }}
{{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b  c '.rsplit(nil, 1) }} {{ 'a b'.rsplit() }} {{ 'a,b'.rsplit(',') }} {{ 'x a '.rsplit(nil, 0) }}
{{ 'a'.split('') }}
{{ 'a\nb\r\nc\x0bd\u2028e\n\n'.splitlines() }} {{ 'a\nb'.splitlines(true) }} {{ ''.splitlines() }}
{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'x'.partition('=') }} {{ 'x'.rpartition('=') }}
{{ s.startswith('Hell') }} {{ s.endswith(('x', 'ld')) }} {{ s.startswith('') }} {{ s.startswith(('a',)) }} {{ 'abc'.removeprefix('ab') }} {{ 'abc'.removesuffix('bc') }} {{ 'abc'.removesuffix('x') }}
{{ s.startswith(1) }}
{{ 'aaa'.replace('a', 'b') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'ab'.replace('', '-') }} {{ 'aaa'.replace('aa', 'b') }} {{ 'ñb'.replace('', '.') }} {{ 'ab'.replace('', '-', 1) }}
{{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'abc'.find('x') }} {{ uni.find('中') }} {{ 'abcabc'.count('bc') }} {{ 'aaa'.count('') }} {{ 'abc'.index('c') }}
{{ 'abc'.index('x') }}
{{ ', '.join(words) }} {{ '-'.join('abc') }} {{ ''.join([]) }}
{{ ','.join(xs) }}
{{ s.upper() }} {{ s.lower() }} {{ 'hello wORLD it\'s'.title() }} {{ 'hELLO'.capitalize() }} {{ 'straße ΑΣ'.upper() }} {{ 'ΑΣ İ'.lower() }} {{ ''.capitalize() }}|
{{ '12'.isdigit() }} {{ '1a'.isdigit() }} {{ ''.isdigit() }} {{ 'ab'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' \t'.isspace() }} {{ 'AB1'.isupper() }} {{ 'ab'.islower() }} {{ '1'.isupper() }} {{ '²'.isdigit() }}
{{ 'abc'.foo }}| {{ 'abc'.foo() }}
{{ xs.index(2) }} {{ xs.count(1) }}
{{ xs.append(4) }}
{{ d.update({'z': 1}) }}
{{ xs.append is defined }} {{ d.get is defined }} {{ d.nothing is defined }} {{ s.upper is defined }} {{ d.items is callable }}
{{ s.__class__ }}|{{ s.__class__ is defined }}
{{ s.__class__.__mro__ }}
{{ '%s is %d' % ('a', 3) }} {{ '%s' % 5 }} {{ '100%%' % () }} {{ '%.2f' % 1.005 }} {{ '%s-%s'|format('a', 1) }} {{ '%s' % [1] }}
{{ '%s %s' % ('a',) }}
{{ '%s' % (1, 2) }}
{{ text|trim }}| {{ 'xax'|trim('x') }} {{ missing|trim }}| {{ n|trim }}
{{ s|upper }} {{ s|lower }} {{ 'foo bar-baz (q'|title }} {{ 'fOO'|capitalize }} {{ nil|upper }} {{ missing|upper }}|
{{ missing|default('x') }} {{ nil|default('x') }} {{ nil|default('x', true) }} {{ empty|d('y', boolean=true) }} {{ missing|d }}| {{ d.q|default(d.r|default(1)) }}
{{ s|length }} {{ xs|count }} {{ d|length }} {{ missing|length }} {{ empty|length }}
{{ n|length }}
{{ xs|first }} {{ xs|last }} {{ []|first }}| {{ []|last }}| {{ s|first }} {{ s|last }} {{ d|first }} {{ d|last }} {{ missing|first }}|
{{ xs|join }} {{ xs|join(', ') }} {{ people|join(',', attribute='name') }} {{ 'abc'|join('.') }} {{ [1, nil, missing]|join('-') }} {{ missing|join }}|
{{ xs|list }} {{ 'ab'|list }} {{ d|list }} {{ missing|list }} {{ (1,2)|list }}
{{ xs|sort }} {{ words|sort }} {{ words|sort(case_sensitive=true) }} {{ xs|sort(reverse=true) }} {{ people[:2]|sort(attribute='age')|map(attribute='name')|list }} {{ ['b','B','a']|sort(true) }}
{{ [1, 'a']|sort }}
{{ xs|reverse|list }} {{ 'abc'|reverse }} {{ uni|reverse }}
{{ ['a', 'A', 'b']|unique|list }} {{ [1, 1.0, 2]|unique|list }} {{ ['a', 'A']|unique(true)|list }}
{{ xs|min }} {{ xs|max }} {{ words|min }} {{ []|max }}| {{ xs|sum }} {{ people[:2]|sum(attribute='age') }} {{ [1.5, 1]|sum }} {{ xs|sum(start=10) }}
{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 2.1|round(method='ceil') }} {{ 2.9|round(0, 'floor') }} {{ 7|round }} {{ -0.5|round }} {{ 2.5|int }} {{ '7'|int }} {{ '7.9'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ ' 8 '|int }} {{ nil|int }} {{ '1.5'|float }} {{ 'x'|float }} {{ 3|float }} {{ yes|int }} {{ '-3'|int }}
{{ missing|int }}
{{ people|map(attribute='name')|list }} {{ people|map(attribute='age', default=0)|list }} {{ words|map('upper')|list }} {{ words|map('replace', 'b', 'z')|list }} {{ people|map(attribute='age')|list|length }}
{{ people|selectattr('age')|map(attribute='name')|list }} {{ people|selectattr('age', 'defined')|list|length }} {{ people|rejectattr('age', 'defined')|map(attribute='name')|join }} {{ people|selectattr('age', 'gt', 2)|first }}
{{ people|selectattr('name', 'equalto', 'bo')|list }} {{ people|selectattr('name', 'in', ['Al', 'Cy'])|list|length }}
{{ xs|select('odd')|list }} {{ xs|reject('odd')|list }} {{ [0, 1, '']|select|list }} {{ xs|select('gt', 1)|list }} {{ [0, 1]|reject|list }} {{ xs|select('divisibleby', 2)|list }}
{% set g = xs|select('odd') %}{{ g|list }}{{ g|list }}{% set g = xs|map('string') %}{% for x in g %}{{ x }}{% if loop.first %}{% break %}{% endif %}{% endfor %}-{{ g|list }}
{% set g = xs|map('string') %}{{ g|first }}{{ g|join }}|{% set g = xs|reverse %}{{ 1 in g }}{{ g|list }}
{{ xs|select('odd')|length }}
{{ xs|map('upper')[0] }}
{{ (xs|map('string'))[0] }}|{{ xs|select('odd')|last }}
{{ d.keys()[0] }}|{{ d.items()|last }}
{{ s|replace('l', 'L') }} {{ s|replace('l', 'L', 1) }} {{ n|replace(7, 8) }}
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(1, blank=true) }}|{{ 'a\nb'|indent('> ') }}|{{ 'a\n'|indent }}|{{ ''|indent }}|
{{ n|string + 'x' }} {{ nil|string }} {{ d|string }}
{{ d|tojson }} {{ html|tojson }} {{ uni|tojson }} {{ [nil, yes, 1.5, 1e20, 'a\n\t\x00\x7f"\\/']|tojson }} {{ {1: 2, nil: 3, yes: 4}|tojson }} {{ (1,2)|tojson }} {{ []|tojson }}
{{ {'b': [1, {}], 'a': {'c': []}}|tojson(indent=2) }} {{ d|tojson(sort_keys=true) }} {{ d|tojson(separators=(',', ':')) }} {{ uni|tojson(ensure_ascii=true) }} {{ [1]|tojson(indent=0) }} {{ [1,[2]]|tojson(indent='..') }}
{{ missing|tojson }}
{{ d.keys()|tojson }}
{{ html }} {{ html|tojson|safe }} {{ html|safe }}
{{ s|nosuch }}
{{ s is nosuch }}
{{ s is defined }} {{ missing is defined }} {{ missing is undefined }} {{ nil is none }} {{ nil is not none }} {{ s is string }} {{ n is number }} {{ n is integer }} {{ f is float }} {{ yes is boolean }} {{ yes is integer }} {{ yes is number }} {{ d is mapping }} {{ xs is iterable }} {{ s is iterable }} {{ n is iterable }} {{ missing is iterable }} {{ xs is sequence }} {{ d is sequence }} {{ s is sequence }} {{ n is sequence }} {{ d.items() is sequence }}
{{ yes is true }} {{ 1 is true }} {{ no is false }} {{ nil is false }} {{ n is odd }} {{ n is even }} {{ 6 is divisibleby 3 }} {{ 6 is divisibleby(4) }} {{ n is eq 7 }} {{ n is gt(3) }} {{ n is ne 7 }} {{ 3 is in xs }} {{ 3 is not in [1] }} {{ s is lower }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ nil is sameas nil }} {{ d is sameas d }} {{ n is sameas yes }}
{{ not missing is defined }} {{ missing is not defined and yes }} {{ s is string and n is number }} {{ 'a' if s is defined else 'b' }} {{ n is not string or no }}
{{ 'a' is odd }}
a{# comment #}b{#- c -#} d
a {%- if yes %} b {%- endif %} c {{- 'd' -}} e {{ 'f' -}} g
{% raw %}{{ x }} {% if %}{% endraw %} {%- raw -%}  a  {%- endraw -%}  b
{{ '{{' }} {{ "}}" }} {{ {'a': {'b': 1}}.a.b }} {{ {'a': {}} }}{{'}'}}{ { % } {x}
{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}{% if missing %}a{% else %}d{% endif %}{% if not missing %}e{% endif %}
{% if yes: %}a{% endif %}
{% if yes %}
{% endfor %}
{% for x in xs %}{% endif %}
{{ s
{{ (1 }}
{{ }}
{{ 1 2 }}
{{ a.b. }}
{% foo %}
{% %}
{# open
{% raw %} open
{{ 'open }}
{{ 1 ! 2 }}
{{ [1, 2 }}
{{ s. upper () }}
{{ d .b }}
{% set true = 1 %}
{% set 'a' = 1 %}
{% set loop = 1 %}{{ loop }}
{% for loop in xs %}{% endfor %}
{{ range(*[1, 3])|list }} {{ dict(**{'a': 1}) }} {{ s.replace(*['l', 'L']) }}
{{ dict(a=1, a=2) }}
{{ s.upper(1) }}
{{ s|join(nope=1) }}
{% generation %}x{% set y = 1 %}{{ n }}{% endgeneration %}{{ y }}|
{% for x in xs %}{% generation %}{{ loop.index }}{{ x }}{% endgeneration %}{% endfor %}
{% for x in xs %}{% generation %}{% break %}{% endgeneration %}{% endfor %}
{{ raise_exception('stop: ' ~ n) }}
{{ 1 if yes }}{{ 2 if no }}{{ [1 if yes else 2, 3] }}{{ {'a': 1 if no else 2} }}
{{ namespace(a=1).a }} {{ [1,2,3][1] }} {{ {'a': 1}['a'] }} {{ 'abc'[1] }} {{ (1,2)[0] }} {{ 'a'.upper() }} {{ [3,1]|sort|first }} {{ ([3,1]|sort)[0] }} {{ 'a b'.split()[0].upper() }}
{{ n|default(0) + 1 }} {{ 1 + n|default(0) }} {{ '2'|int * 3 }} {{ xs|length > 2 }} {{ xs|length - 1 }} {{ not xs|length }} {{ 'a' ~ xs|length }} {{ -n|abs }}
{{ xs == [3, 1, 2] }} {{ xs != xs }} {{ d == {'a': 2, 'b': 1, 'items': 3} }} {{ missing == missing2 }} {{ missing == nil }} {{ missing == '' }} {{ nil == no }} {{ 0 == no }} {{ '' == no }}
{{ 9223372036854775807 }} {{ 1 == true }} {{ {true: 'a'}[1] }}
{{ ''|tojson }}{{ d|items|list }}{{ missing|items|list }}{{ {}|items|list }}
{{ s|items }}
{{ nil|map('upper')|list }}{{ nil|select|list }}{{ 5|map('upper')|list if no }}{{ missing|map(attribute='x')|list }}
{{ nil|list }}
{{ 'x' % missing }}{{ 'x' % [1] }}{{ 'x' % d }}{{ missing|last }}|
{{ [1] in d }}
{{ d.get([1]) }}
{{ (1,) in d }} {{ d[[1]] }}|
{{ uni.title() }} {{ uni|title }} {{ '\u01c6 \u00dfa'.title() }} {{ '\u00dfa'.capitalize() }} {{ '\u00df\u03a3A-(b'|title }} {{ ' 1a2b ab\u0301c'.title() }} {{ '(-'|title }} {{ ''|title }}
{% for x in xs %}a{% set y %}b{% if x == 1 %}{% break %}{% endif %}{% endset %}{{ y }}{% endfor %}|{% for x in xs %}{% filter upper %}b{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfilter %}{% endfor %}
{{ [1, 'a']|map('abs')|first }} {% for x in [1, 0]|map('round') %}{{ x }}{% break %}{% endfor %}
{{ [1, 'a']|map('abs')|list }}
{{ xs|map('string')|map('int')|select('gt', 1)|sort|join }} {% for x in xs|select %}{{ loop.length }}{{ loop.last }}{% endfor %}
""".strip("\n")


def snippets():
    """Those of SNIPPETS, one per line, and those of several lines."""
    multi = [
        "{{ 'a\\\nb' }}",
        "a{# multi\nline #} e {#+ x +#} f\n",
        "{% if yes %}\n  x\n{% endif %}\ny\n",
        "    {% if yes %}  \n  z\n  {%- endif %}\nw\n",
        "  {%+ if yes %}keep{% endif +%}\nnl\n\n",
        "a\n\t {# c #}\nb {% set q = 1 %}  \nc\n",
        "  {% raw %}\n x\n  {% endraw %}\ny",
        "\n\n  {{ n }}  \n\n",
        "{% for x in xs %}\n  {{ x }}\n{% endfor %}\n\nend\n",
        "{% for x in xs -%}\n  {{ x }}\n{%- endfor %}\n",
        "a\r\nb\r{% if yes %}\r\nc{% endif %}\r\n",
        "{{ n }}\n{% if yes %}\n\n{% endif %}\n{#- x -#}\n\n z",
        "  {% if yes %}a{% endif %}  {% if yes %}b{% endif %}\n  {# x #}{% if yes %}\nc\n{% endif %}",
        "{{ n -}}\n\n  \u00a0x{{- n }}\n\u2003{%- if yes %}\u2003\n y {% endif %}",
        "x {%- set a = 1 -%} y\n{%- set a = 2 +%}\nz {%+ set b = 1 %}\n w",
        "{%- raw %}\n{{ x }}{%- endraw +%}\n.",
        "{{ {\n 'a': 1,\n 'b': [1,\n 2] }\n}}",
        "{% set x = '''a''' %}{{ x }}",
        "",
        "\n",
        "no tags at all\n",
        "{",
        "{{ '\\u00e9\\ud83d' }}",
    ]
    one = SNIPPETS.split("\n")
    return multi + [line for line in one if line and not line.startswith((" ", "\t"))]


def environment(now):
    template = chat_template_utils._compile_jinja_template("")
    env = template.environment.overlay()
    env.globals = dict(env.globals, strftime_now=now.strftime)
    return env


def render(env, source, variables):
    try:
        return {"rendered": env.from_string(source).render(**variables)}
    except Exception as error:  # every failure is a golden
        message = str(error)
        refused = type(error) is jinja2.exceptions.TemplateError
        return {"error": f"{type(error).__name__}: {message}", **({"refused": message} if refused else {})}


def main():
    env, later = environment(NOW), environment(LATER)
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    header = {"made": datetime.date.today().isoformat(), "versions": versions, "now": NOW.isoformat()}

    templates = []
    for path in sorted((CHAT / "testdata" / "templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        cases = []
        for name, messages in CONVERSATIONS.items():
            for prompt in (True, False) if name in WITHOUT_PROMPT else (True,):
                variables = dict(TOKENS, messages=messages, tools=None, documents=None, add_generation_prompt=prompt)
                case = {"conversation": name, "add_generation_prompt": prompt, **render(env, source, variables)}
                if "rendered" in case and render(later, source, variables) != {"rendered": case["rendered"]}:
                    case["dated"] = True
                cases.append(case)
        templates.append({"name": path.stem, "cases": cases})
    date = {"format": DATE_FORMAT, "text": NOW.strftime(DATE_FORMAT)}
    golden = {**header, "date": date, "tokens": TOKENS, "conversations": CONVERSATIONS, "templates": templates}
    write(CHAT / "testdata" / "templates.json", golden)

    cases = [{"source": source, **render(env, source, VARIABLES)} for source in snippets()]
    write(CHAT / "jinja" / "testdata" / "snippets.json", {**header, "variables": VARIABLES, "cases": cases})


def write(path, golden):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(golden, ensure_ascii=True, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
