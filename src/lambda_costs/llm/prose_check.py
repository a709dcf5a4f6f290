"""Refuses prose of a language model that holds numbers, markup, links or names which the account does not have.

Limits: a made-up name that is an ordinary word, outside quotation marks, looks like any other word; and a claim in
allowed words may be wrong. The report shows the rendered findings beside the prose.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator

from lambda_costs.analysis import Analysis
from lambda_costs.llm.tool_results import as_text, closest
from vigil.sdk import InvalidInput

MAX_CHARACTERS = 2_000  # of one piece of prose
MAX_WORDS = 10  # words of one kind that a refusal names
MAX_CLOSEST = 3  # unknown names for which a refusal lists similar names

_NUMBERS = (
    "zero nought one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen hundred thousand million billion trillion dozen half halves third quarter fifth"
    " eighth ninth twelfth twice thrice double doubled doubling triple tripled tripling quadruple quadrupled"
    " halve halved halving"
)
_TENS = "(?:twent|thirt|fort|fift|sixt|sevent|eight|ninet)(?:y|ies|ieth)"
_NUMBER_WORD = re.compile(rf"(?:{_TENS}|{'|'.join(_NUMBERS.split())})+(?:s|es|th|ths|fold)?")
"""English words that state a number. "First" and "second" are allowed: they put things in order."""

_TERMS = """
$LATEST /tmp AppConfig AppSync CloudFormation CloudFront CloudTrail CloudWatch DevOps DynamoDB EC2 EventBridge
GB-seconds GHz GiB GitHub I/O IoT JavaScript MiB MySQL Node.js OpenTelemetry PostgreSQL S3 SaaS SnapStart TypeScript
arm64 e.g i.e on-demand vCPU vCPUs x86 x86_64
"""
"""Terms that are spelled like names and are in every account."""

_WORD = re.compile(r"(?:[^\W\d_][^\W\d_A-Z]*|[A-Z]+s?)(?:['’][a-z]*)?")
"""An ordinary word: letters only, no capital letter inside unless all letters are capitals."""
_QUOTED = re.compile(r"""`([^`]*)`|"([^"]*)"|“([^”]*)”|‘([^’]*)’|(?<!\w)'([^']*)'(?!\w)""")
_BETWEEN = re.compile(r"[\s(),;!?–—…•]+")
_PUNCTUATION = frozenset(" \t\n.,;:!?()/-_@$'\"`“”‘’–—…•")


def check_prose(text: str, analysis: Analysis) -> str:
    """Return ``text`` if it has no number, no markup, no link, and no name that ``analysis`` does not know.

    Known are functions, ids and kinds of findings, runtimes, regions, log groups, aliases, and text of the findings'
    evidence. Raises InvalidInput, which names the words to fix.
    """
    names = {*analysis.request.regions}
    for function in analysis.functions:
        names |= {function.name, function.log_group, function.runtime or ""}
        names |= {item.qualifier for item in analysis.usage.by_arn[function.arn].provisioned or ()}
    for finding in analysis.findings:
        names |= {finding.id, finding.kind, *finding.evidence}
        values = (*finding.proposed.values(), *(measurement.value for measurement in finding.evidence.values()))
        names |= {value for value in values if isinstance(value, str)}
    return check_names_and_numbers(text, names - {""})


def check_names_and_numbers(text: str, names: Collection[str]) -> str:
    """Return ``text`` if it has no number, no markup, no link, and no name but ``names``; raises InvalidInput."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"prose has at most {MAX_CHARACTERS:,} characters, not {len(text):,}")
    known = {*_TERMS.split(), *names}
    by_folded = {name.casefold(): name for name in known}
    numbers, markup, unknown = [], [], []
    for word, quoted in dict.fromkeys(_words(unicodedata.normalize("NFC", text))):
        # A function "million" or an alias "5" must not let that number through.
        if word in known and not all(_begins_with_digit(part) or _NUMBER_WORD.fullmatch(part) for part in _parts(word)):
            continue
        if _begins_with_digit(next(filter(str.isalnum, word), "a")) or any(map(_NUMBER_WORD.fullmatch, _parts(word))):
            numbers.append(word)
        elif "://" in word or not all(map(_is_plain, word)):
            markup.append(word)
        elif quoted or not _WORD.fullmatch(word) or _imitates(word, by_folded):
            unknown.append(word)
    problems = []
    if numbers:
        problems.append(f"write no numbers, the report renders them from the findings: {_list(numbers)}")
    if markup:
        problems.append(f"write no markup, no links and no special characters: {_list(markup)}")
    if unknown:
        similar = as_text({word: closest(word, sorted(names)) for word in unknown[:MAX_CLOSEST]})
        problems.append(
            "write names and quoted words exactly as the tools return them; other words have no digit, underscore,"
            f" hyphen, slash or capital letter inside: {_list(unknown)}; similar names: {similar}"
        )
    if problems:
        raise InvalidInput(f"fix these and call the tool again: {'. '.join(problems)}")
    return text


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the words of ``text``, and whether each is the whole text between quotation marks."""
    for groups in _QUOTED.findall(text):
        # American English puts the comma inside.
        yield "".join(groups).strip().rstrip(",."), True
    for word in _BETWEEN.split(_QUOTED.sub(" ", text)):
        if word := word.strip(".:-'’"):
            yield re.sub(r"['’]s$", "", word), False


def _imitates(word: str, by_folded: dict[str, str]) -> bool:
    """Whether ``word`` is a known name but for accents, or but for case if the name is no ordinary word."""
    bare = _without_accents(word)
    name = by_folded.get(bare.casefold())
    return name is not None and (bare != word or not _WORD.fullmatch(name))


def _begins_with_digit(part: str) -> bool:
    """Whether ``part`` begins with a digit of any script."""
    return unicodedata.numeric(part[0], None) is not None


def _is_plain(character: str) -> bool:
    # Letters of other scripts may look the same, and are refused.
    return character in _PUNCTUATION or (character.isalnum() and _without_accents(character).isascii())


def _without_accents(text: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFD", text) if unicodedata.category(part) != "Mn")


def _parts(word: str) -> list[str]:
    return [part for part in re.split(r"[\W_]+", _without_accents(word.casefold())) if part]


def _list(words: list[str]) -> str:
    # With escapes: a reader must see invisible characters and letters of other scripts.
    listed = [word[:64] if word.isascii() else ascii(word[:64])[1:-1] for word in dict.fromkeys(words)]
    more = len(listed) - MAX_WORDS
    return ", ".join(listed[:MAX_WORDS]) + (f" and {more} more" if more > 0 else "")
