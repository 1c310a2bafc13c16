"""Chat templates that would run for ever, or fill the memory, were they not bounded."""

from __future__ import annotations

_DOUBLE = "{% for i in range(60) %}{% set ns.x = BODY %}{% endfor %}"
_BIG = "{% set ns = namespace(x='a' * 250000) %}"
_LIST = "{% set ns = namespace(x=range(8000) | list) %}"
_HAYSTACK = "{% set ns = namespace(x='b' * 2480) %}{% set a = 'b' * 600 ~ 'a' ~ 'b' * 600 %}"
"""CPython plans no search in so short a text."""
_DEEP = "{% set ns = namespace(x=[1]) %}{% for i in range(900) %}{% set ns.x = [ns.x] %}{% endfor %}"
_MANY = "{% for i in range(99999) %}{% for j in range(99999) %}BODY{% endfor %}{% endfor %}"


def _doubling(body: str, first: str = "'ab'") -> str:
    return "{% set ns = namespace(x=" + first + ") %}" + _DOUBLE.replace("BODY", body) + "{{ ns.x }}"


def _many(body: str, before: str = "") -> str:
    return before + _MANY.replace("BODY", body)


COSTLY = {
    "nested loops that write nothing": _many(""),
    "loops whose condition lets nothing through": "{% for i in range(99999) if i < 0 %}{% endfor %}" * 100
    + "{% for i in range(9999) %}{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
    "loops that write": _many("a"),
    "macros that call themselves": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "copies of a long list": _many("{% set y = ns.x[:] %}", _LIST),
    "additions of long texts": _many("{% set y = ns.x + 'b' %}", _BIG),
    "comparisons of long lists": _many(
        "{% if ns.x == ns.y %}{% endif %}", _LIST + "{% set ns.y = ns.x + [] %}"
    ),
    "long lists searched": _many("{% if 'a' in ns.x %}{% endif %}", _LIST),
    "a range searched": _many("{% if 'a' in range(99999) %}{% endif %}"),
    "a long list filtered": _many("{% set y = range(99999) | reject | list %}"),
    "a long list tested": _many("{% if ns.x is eq(ns.x) %}{% endif %}", _LIST),
    "long texts cased": _many("{% set y = ns.x.title() %}", _BIG),
    "a long text searched from its end": _many("{% set y = ns.x.rfind('b' + ns.x[1:100000]) %}", _BIG),
    "a long text stripped of many letters": _many("{% set y = ns.x.strip('b' * 99999 + 'a') %}", _BIG),
    "a long text searched": _many("{% set y = ns.x.find('b' + ns.x[1:100000]) %}", _BIG),
    "a long list searched by a method": _many("{% set y = ns.x.count(ns.x) %}", _LIST),
    "a long text asked about": _many("{% set y = ns.x.isalpha() %}", _BIG),
    "long lists as text": _many("{% set y = ns.x | string %}", _LIST),
    "long keys": _many("{% set y = {}[ns.x] %}", _LIST.replace("list", "list | join(',')")),
    "long lists printed": "{% set x %}" + _many("{{ ns.x }}", _LIST) + "{% endset %}",
    "long lists sorted": _many("{% set y = ns.x | sort | unique %}", _LIST),
    "a short text searched": _many("{% if a in ns.x %}{% endif %}", _HAYSTACK),
    "a short text that lacks another": _many("{% if a not in ns.x %}{% endif %}", _HAYSTACK),
    "a short text searched by a test": _many("{% if a is in ns.x %}{% endif %}", _HAYSTACK),
    "short texts searched by a filter": _many("{% set y = [a] | select('in', ns.x) | list %}", _HAYSTACK),
    "a short text searched by a method": _many("{% set y = ns.x.find(a) %}", _HAYSTACK),
    "a short text replaced by a filter": _many("{% set y = ns.x | replace(a, '') %}", _HAYSTACK),
    "a short text replaced by a method": _many("{% set y = ns.x.replace(a, '') %}", _HAYSTACK),
    "long texts cased by a filter": _many("{% set y = ns.x | title %}", _BIG),
    "many lines indented": _many(
        "{% set y = ns.x | indent(1) %}", "{% set ns = namespace(x='\\n' * 50000) %}"
    ),
    "attributes in a long body": _many("{% if " + " and ".join(["loop.index"] * 90) + " %}{% endif %}"),
    "a long body": _many("{% set x = 1 %}" * 900),
    "a macro of a long body": "{% macro f(x) %}"
    + "{% set x = 1 %}" * 900
    + "{% endmacro %}"
    + _many("{{ f() }}"),
    "namespaces made": _many("{% set y = namespace(a=1) %}"),
    "numbers as JSON": _many("{% set y = ns.x | tojson(indent=1) %}", _LIST),
}
"""Each goes on until its budget is spent."""
LARGE = {
    "a text times a number": "{{ 'a' * 9999999999 }}",
    "a number times a text": "{{ 9999999999 * 'a' }}",
    "a list times a number": "{{ [1] * 9999999999 }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "squares": _doubling("ns.x * ns.x", "99999"),
    "a format": "{{ '%9999999999d' % 1 }}",
    "a format filter": "{{ '%9999999999d' | format(1) }}",
    "a format method": "{{ '{:9999999999}'.format(1) }}",
    "a format map": "{{ '{a:9999999999}'.format_map({'a': 1}) }}",
    "a text trimmed of many letters": "{{ ('a' * 200000) | trim('b' * 200000 + 'a') }}",
    "a centered text": "{{ 'a' | center(9999999999) }}",
    "a padded text": "{{ 'a'.ljust(9999999999) }}",
    "leading zeros": "{{ 'a'.zfill(9999999999) }}",
    "tabs": "{{ '\t'.expandtabs(9999999999) }}",
    "an indent": "{{ 'a\nb' | indent(9999999999) }}",
    "an indent of text": "{% set x = 'a' * 200000 %}{{ 'a\nb\nc\n' | indent(x) }}",
    "an indent of JSON": "{{ [1] | tojson(indent=9999999999) }}",
    "an indent of deep JSON": _DEEP + "{{ ns.x | tojson(indent=64) }}",
    "deep JSON": _DEEP + "{{ ns.x | tojson }}",
    "an indent of many elements of JSON": "{{ range(9999) | list | tojson(indent=64) }}",
    "a wide separator of JSON": "{{ range(9999) | list | tojson(separators=('a' * 99999, ':')) }}",
    "wrapped words": "{{ 'a' | wordwrap(1, wrapstring='b' * 99999) }}",
    "slices": "{{ [1] | slice(9999999999) | list }}",
    "batches": "{{ [1] | batch(9999999999, 0) | list }}",
    "a rounded number": "{{ 1.5 | round(9999999999, 'ceil') }}",
    "a text of any length": "{{ lipsum(n=9999999999) }}",
    "a long range": "{{ range(9999999999) | list }}",
    "letters replaced": "{{ ('a' * 9999).replace('a', 'b' * 9999) }}",
    "nothing replaced": "{{ ('a' * 9999).replace('', 'b' * 9999) }}",
    "letters replaced by a filter": "{{ ('a' * 9999) | replace('a', 'b' * 9999) }}",
    "joined by a long text": "{{ ('b' * 99999).join('a' * 9999) }}",
    "joined by a filter": "{{ ('a' * 9999) | list | join('b' * 99999) }}",
    "texts doubled": _doubling("ns.x + ns.x"),
    "texts concatenated": _doubling("ns.x ~ ns.x"),
    "lists doubled": _doubling("ns.x + ns.x", "[1]"),
    "nested lists": _doubling("[ns.x, ns.x]"),
    "nested tuples": _doubling("(ns.x, ns.x)"),
    "nested dictionaries": _doubling("{'a': ns.x, 'b': ns.x}"),
    "nested calls of dict": _doubling("dict(a=ns.x, b=ns.x)"),
    "nested lists mapped": _doubling("[ns.x, ns.x] | map('list') | list"),
    "namespaces in namespaces": "{% set ns = namespace(x=1) %}{% for i in range(60) %}{% set y = namespace(x=[ns.x, ns.x]) %}"
    "{% set ns.x = [y, y] %}{% endfor %}{{ ns.x }}{{ 'a' * 300000 }}",
    "blocks doubled": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}"
    "{% set ns.x = y %}{% endfor %}",
    "macros doubled": "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}" + _doubling("f(ns.x)"),
    "a long text written often": "{% for i in range(9999) %}" + "a" * 9999 + "{% endfor %}",
    "a variable written often": _BIG + "{% for i in range(9999) %}{{ ns.x }}{% endfor %}",
    "escapes": "{% autoescape true %}{{ '<' * 250000 }}{% endautoescape %}",
    "a time": "{{ strftime_now('%Y' * 99999) }}",
    "constants folded while they are compiled": "{{ ('a' * 99999) | replace('a', 'b' * 99999) | upper }}",
    "recursive loops": "{% for a in [[[]]] recursive %}{{ loop([a, a]) }}{% endfor %}",
    "lists of a long list": "{% set x = range(8000) | list %}{{ ([{}] * 8000) | map(attribute='a', default=x) | list }}",
    "a long list of names": "{{ [" + "a," * 30000 + "] }}",
    "a long concatenation": "{{ a" + "~a" * 30000 + " }}",
    "many filters": "{{ a|d }}" * 6500,
    "deep expressions": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "long sums": "{{ " + "1 + " * 9999 + "1 }}",
    "deep blocks": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
}
"""Each is one step too large."""
ESCAPES = {
    "the class of a text": "{{ ''.__class__.__mro__ }}{{ ''.__class__.__mro__[1] }}",
    "an attribute by a filter": "{{ '' | attr('__class__') }}{{ ''['__class__'].__mro__ }}",
    "an attribute by a map": "{{ [''] | map(attribute='__class__') | map(attribute='__mro__') | list }}"
    "{% if ([''] | map(attribute='__class__') | first).__mro__ %}{% endif %}",
    "the globals of a function": "{{ raise_exception.__globals__.x }}",
    "the class of a namespace": "{{ namespace().__class__.__init__.x }}",
    "a hidden attribute of a namespace": "{{ namespace(__class__=1) }}",
    "the environment of a macro": "{% macro f() %}{% endmacro %}{{ f._environment.x }}",
    "the context": "{{ self._TemplateReference__context.x }}",
    "another file": "{% include 'config.json' %}",
    "another template": "{% extends 'config.json' %}",
    "an import": "{% import 'os' as os %}{{ os.x }}",
    "a change of the conversation": "{{ messages.append(1) }}",
    "a change of a message": "{{ messages[0].update({'role': 'system'}) }}",
    "a code point by format": "{{ '{0.__class__}'.format('') }}",
}
"""Each reaches for what is not a template's."""
