"""Charts that an agent saved: Vigil redraws them without anything that could run or be fetched."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import CONTROL, TEXT
from vigil.errors import InvalidArtifact
from vigil.svg import CHART_STYLE as STYLE
from vigil.svg import redrawn

SVG = "{http://www.w3.org/2000/svg}"
ROOT = '<svg xmlns="http://www.w3.org/2000/svg"'


@pytest.mark.parametrize(
    ("svg", "left"),
    [
        (f'{ROOT} onload="x()" style="x" viewBox="0 0 1 1"/>', f'{ROOT} viewBox="0 0 1 1"></svg>\n'),
        (f"{ROOT}><script>x()</script><rect onclick='x()' href='x' x='1'/></svg>", f'{ROOT}><rect x="1"/></svg>\n'),
        (f"{ROOT}><a href='x'><text>t</text></a><use href='#a'/></svg>", f"{ROOT}></svg>\n"),
        (f"{ROOT}><foreignObject><p xmlns='http://www.w3.org/1999/xhtml'/></foreignObject></svg>", f"{ROOT}></svg>\n"),
        (f"{ROOT}><style>@import 'x';</style><style>{STYLE}</style></svg>", f"{ROOT}><style>{STYLE}</style></svg>\n"),
        (f"{ROOT}><style>{STYLE} x{{}}</style></svg>", f"{ROOT}></svg>\n"),
        (f"{ROOT}><!-- a --><?b c?><![CDATA[<script>]]><desc><![CDATA[<b>]]></desc></svg>",
         f"{ROOT}><desc>&lt;b&gt;</desc></svg>\n"),
        (f'<?xml version="1.0" encoding="evil"?>{ROOT}/>', f"{ROOT}></svg>\n"),
        (f"{ROOT}><title><g><rect/></g>a</title></svg>", f"{ROOT}><title>a</title></svg>\n"),
        (f"{ROOT}><text>&#x202e;&lt;b&gt;</text></svg>", f"{ROOT}><text>&lt;U+202E&gt;&lt;b&gt;</text></svg>\n"),
        (f"{ROOT}>{'<g>' * 9_000}<a/>{'</g>' * 9_000}</svg>", f"{ROOT}>{'<g>' * 9_000}{'</g>' * 9_000}</svg>\n"),
        (f'{ROOT}><g transform="rotate(4 1 2)"><circle cx="1" r="2" fill="#fff"/></g></svg>',
         f'{ROOT}><g transform="rotate(4 1 2)"><circle cx="1" r="2" fill="#fff"/></g></svg>\n'),
        (f'{ROOT}><text>a <tspan dy="1">b</tspan></text><line stroke="url(https://example.com/#a)"/></svg>',
         f'{ROOT}><text>a <tspan dy="1">b</tspan></text><line/></svg>\n'),
        (f'{ROOT}><path fill="\\75 rl(//example.com/#a)" d="M0 0"/></svg>', f'{ROOT}><path d="M0 0"/></svg>\n'),
    ],
)  # fmt: skip
def test_only_shapes_and_text_are_drawn(svg: str, left: str) -> None:
    assert redrawn(svg) == left


BOMB = "".join(f'<!ENTITY a{n + 1} "&a{n};&a{n};&a{n};&a{n};">' for n in range(30))


@pytest.mark.parametrize(
    ("svg", "reason"),
    [
        ("", "not well-formed"),
        ("no SVG", "not well-formed"),
        (f"{ROOT}>", "not well-formed"),
        (f"{ROOT}>&nope;</svg>", "not well-formed"),
        (f"{ROOT}/>{ROOT}/>", "not well-formed"),
        (f"<!DOCTYPE svg>{ROOT}/>", "declares a type"),
        (f'<!DOCTYPE svg [<!ENTITY a0 "x">{BOMB}]>{ROOT}><text>&a30;</text></svg>', "declares a type"),
        (f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>{ROOT}><text>&x;</text></svg>', "declares a type"),
        ("<html><body/></html>", "its root is not svg"),
        ("<svg/>", "its root is not of the namespace"),
        (f"{ROOT}><text>{'x' * 262_144}</text></svg>", "more than 262,144 characters"),
        ("<x:svg xmlns:x='http://www.w3.org/2000/svg'/>", "its root is not svg"),
    ],
)
def test_invalid_chart_is_refused_with_the_reason(svg: str, reason: str) -> None:
    with pytest.raises(InvalidArtifact, match=reason) as refused:
        redrawn(svg)
    assert "\n" not in str(refused.value)


ALLOWED = "svg g title desc style rect text path circle polyline tspan"
NAMES = st.sampled_from(f"{ALLOWED} script a image use foreignObject x:y".split())
ATTRIBUTES = st.dictionaries(
    st.sampled_from(("x", "d", "class", "id", "style", "href", "onload", "xlink:href", "fill", "viewBox", "xml:base")),
    st.one_of(TEXT, st.sampled_from(["url(#a)", "URL(https://example.com)", "u\\72l(x)"])),
    max_size=3,
)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    root = ElementTree.Element(draw(NAMES), draw(ATTRIBUTES))
    root.text = draw(TEXT)
    inner = "".join(draw(st.lists(elements(depth=depth - 1), max_size=3))) if depth else ""
    return ElementTree.tostring(root, encoding="unicode").replace("</", inner + "</", 1)


@given(st.lists(elements(), max_size=4))
def test_no_chart_runs_or_fetches_anything(inner: list[str]) -> None:
    svg = f'{ROOT} xmlns:x="x" xmlns:xlink="y">{"".join(inner)}</svg>'
    try:
        drawn = redrawn(svg)
    except InvalidArtifact:
        return
    chart = ElementTree.fromstring(drawn)
    assert {element.tag.removeprefix(SVG) for element in chart.iter()} <= set(ALLOWED.split())
    assert {name for element in chart.iter() for name in element.attrib} <= {"x", "d", "class", "id", "fill", "viewBox"}
    assert not any("url" in element.get("fill", "").lower() for element in chart.iter())
    assert not re.search("<style>(?!svg)", drawn)
    assert not CONTROL.search(drawn)
    assert redrawn(drawn) == drawn
