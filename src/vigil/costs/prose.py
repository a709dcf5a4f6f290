"""Keeping numbers out of prose that a language model wrote: in a report, only code states numbers."""

import re
import unicodedata

from vigil.costs.analysis import Analysis
from vigil.errors import InvalidInput

_WORDS = (
    "zero nought one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million"
    " billion trillion dozen half halves third quarter fourth fifth sixth seventh eighth ninth tenth twelfth twentieth"
    " hundredth thousandth millionth twice thrice double doubled doubling triple tripled tripling quadruple quadrupled"
    " halve halved halving"
)
_NUMBER_WORD = re.compile(rf"(?:{'|'.join(_WORDS.split())})+(?:s|es|fold)?")
"""English words that state a number. "First" and "second" stay allowed: prose puts things in order with them."""

_ALLOWED = frozenset({"arm64", "x86_64", "x86", "third-party", "double-check"})


def check_prose(text: str, analysis: Analysis) -> str:
    """Return ``text`` if it states no number, else raise InvalidInput that names the words that do.

    Digits of every script, fractions, number signs and English number words count as numbers, except inside names
    that stand in the data: functions, findings, runtimes, regions, log groups, aliases.
    """
    # Compatibility forms and invisible characters would hide a number from this check, but not from a reader.
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    words = re.findall(r"[^\s()\[\]{},;:!?\"'`“”‘’*]+", _known_names(analysis).sub(" ", plain))
    if offending := list(dict.fromkeys(word[:40] for word in words if _states_number(word))):
        raise InvalidInput(
            "prose states no numbers, since the report renders them from the findings; rephrase: "
            + ", ".join(offending)
        )
    return text


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
