"""Keeping numbers out of prose that a language model wrote: in a report, only code states numbers."""

import re
import unicodedata

from vigil.costs.analysis import Analysis
from vigil.errors import InvalidInput

_WORDS = (
    "zero nought one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen hundred thousand million billion trillion dozen half halves third quarter fifth"
    " eighth ninth twelfth twice thrice double doubled doubling triple tripled tripling quadruple quadrupled"
    " halve halved halving"
)
_TENS = "(?:twent|thirt|fort|fift|sixt|sevent|eight|ninet)(?:y|ies|ieth)"
_NUMBER_WORD = re.compile(rf"(?:{_TENS}|{'|'.join(_WORDS.split())})+(?:s|es|th|ths|fold)?")
"""English words that state a number. "First" and "second" stay allowed: prose puts things in order with them."""

_MARKS = frozenset({"Cf", "Mn", "Me"})
"""Unicode categories of characters that are invisible, or drawn upon the one before."""

_ALLOWED = frozenset({"arm64", "x86_64", "x86", "third-party", "double-check"})


def check_prose(text: str, analysis: Analysis) -> str:
    """Return ``text`` if it states no number, else raise InvalidInput that names the words that do.

    Digits of every script, fractions, number signs and English number words count as numbers, except inside names
    that stand in the data: functions, findings, runtimes, regions, log groups, aliases.
    """
    words = re.findall(r"[^\s()\[\]{},;:!?\"'`“”‘’*]+", _known_names(analysis).sub(" ", _plain(text)))
    if offending := list(dict.fromkeys(word[:40] for word in words if _states_number(word))):
        raise InvalidInput(
            "prose states no numbers, since the report renders them from the findings; rephrase: "
            + ", ".join(offending)
        )
    return text


def _plain(text: str) -> str:
    """Return ``text`` without what would hide a number from the check, but not from a reader: marks, look-alikes."""
    letters = "".join(
        # A sign such as a Roman numeral would become plain letters.
        character if unicodedata.numeric(character, None) is not None else unicodedata.normalize("NFKD", character)
        for character in text
    )
    return "".join(character for character in letters if unicodedata.category(character) not in _MARKS)


def _states_number(word: str) -> bool:
    return any(unicodedata.numeric(character, None) is not None for character in word) or any(
        _NUMBER_WORD.fullmatch(part) for part in _parts(word)
    )


def _known_names(analysis: Analysis) -> re.Pattern[str]:
    names = {*_ALLOWED, *analysis.request.regions}
    for function in analysis.functions:
        names |= {function.name, function.log_group, function.runtime or ""}
        names |= {item.qualifier for item in analysis.usage.by_arn[function.arn].provisioned or ()}
    names |= {name for finding in analysis.findings for name in (finding.id, finding.kind)}
    # An alias "5" or a function "million" must not let that number through.
    telling = sorted((name for name in names if not _is_bare_number(name)), key=lambda name: (-len(name), name))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, telling))})(?![\w-])")


def _is_bare_number(name: str) -> bool:
    return all(part[0].isdigit() or _NUMBER_WORD.fullmatch(part) for part in _parts(name))


def _parts(word: str) -> list[str]:
    return [part for part in re.split(r"[\W_]+", word.casefold()) if part]
