"""Prose that a language model wrote: plain English that states no number, and no name but those of the account's data.

A made-up name that is an ordinary word, outside quotation marks, cannot be told from English; neither can a wrong claim
in right words. Both stand beside what code rendered from the findings.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator

from lambda_costs.analysis import Analysis
from lambda_costs.llm.tool_results import as_text, closest
from vigil.sdk import InvalidInput

MAX_CHARACTERS = 2_000
"""Most characters of one piece of prose: a reader came for the findings."""

MAX_WORDS = 10
"""Most words of one kind that a refusal names."""

MAX_CLOSEST = 3
"""Most of them that it compares with the names that are known."""


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBERS = (
    "zero nought one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen hundred thousand million billion trillion dozen half halves third quarter fifth"
    " eighth ninth twelfth twice thrice double doubled doubling triple tripled tripling quadruple quadrupled"
    " halve halved halving"
)
_TENS = "(?:twent|thirt|fort|fift|sixt|sevent|eight|ninet)(?:y|ies|ieth)"
_NUMBER_WORD = re.compile(rf"(?:{_TENS}|{'|'.join(_NUMBERS.split())})+(?:s|es|th|ths|fold)?")
"""English words that state a number. "First" and "second" stay allowed: prose puts things in order with them."""

_TERMS = _words_of(
    """
    $LATEST /tmp AppConfig AppSync CloudFormation CloudFront CloudTrail CloudWatch DevOps DynamoDB EC2 EventBridge GHz
    GiB GitHub I/O IoT JavaScript MiB MySQL Node.js OpenTelemetry PostgreSQL S3 SaaS SnapStart TypeScript arm64 e.g i.e
    vCPU vCPUs x86 x86_64
    """
)
"""What a name would look like, and is none."""

_COMPOUNDS = _words_of(
    """
    add-on as-is back-end best-case best-effort break-even built-in business-as-usual case-by-case clean-up
    client-side cold-start cold-starts cost-benefit cost-conscious cost-performance cost-saving cost-savings
    cross-account cross-check cross-region day-to-day double-check drop-in end-of-life end-of-support end-to-end
    error-handling event-source fall-back fine-grained fine-tune fine-tuning first-party follow-up front-end
    gb-second gb-seconds go-ahead hard-coded in-depth in-flight in-house in-memory in-place infrastructure-as-code
    large-scale load-test load-testing log-group log-groups log-retention long-tail long-term longer-term
    low-hanging near-term off-hours off-peak on-call on-demand open-source opt-in out-of-memory pay-as-you-go
    pay-per-request pay-per-use per-function per-invocation per-request point-in-time power-tune power-tuning
    pre-production pre-warm pre-warmed pre-warming price-performance price-to-performance proof-of-concept quick-win
    quick-wins ramp-up read-write real-life real-time real-world right-size right-sizing roll-back roll-out run-time
    same-day server-side set-up short-term shorter-term shut-down side-by-side side-effect side-effects sign-off
    stand-alone stand-in start-up start-ups step-by-step straight-forward sub-optimal third-party time-consuming
    time-out time-outs time-series time-to-live top-level trade-off trade-offs trial-and-error up-front up-to-date
    use-case use-cases vice-versa warm-up what-if work-around worst-case x-ray
    """
)
"""Hyphenated words that name nothing. Any other must be a name that is known, or be made with the words below."""

_BEFORE = _words_of(
    """
    all badly barely co frequently fully heavily high higher highly ill least less lightly loosely low lower mid more
    most multi newly non over poorly rarely re seldom self single tightly under well
    """
)
_AFTER = _words_of(
    """
    aware backed based bound called capable compatible compliant critical dependent driven effective efficient
    enabled facing free friendly heavy hungry independent intensive invoked lasting level light like lived managed
    only optimised optimized oriented prone provisioned ready related running sensitive sized specific standing
    tested threaded tolerant triggered tuned used utilised utilized wide
    """
)
"""What makes a compound with any word before it; a name seldom ends so."""

_LETTERS = r"(?:[^\W\d_][^\W\d_A-Z]*|[A-Z]+s?)"
_WORD = re.compile(rf"{_LETTERS}(?:['’][a-z]*)?")
"""A word as English writes it: no capital letter within, unless all of them are."""

_QUOTED = re.compile(r"""`([^`]*)`|"([^"]*)"|“([^”]*)”|‘([^’]*)’|(?<!\w)'([^']*)'(?!\w)""")
_BETWEEN = re.compile(r"[\s(),;!?–—…•]+")
_PUNCTUATION = frozenset(" \t\n.,;:!?()/-_@$'\"`“”‘’–—…•")


def check_prose(text: str, analysis: Analysis) -> str:
    """Return ``text`` if it is plain English that states no number and names only what ``analysis`` knows.

    Raises InvalidInput that says which words to mend, and how. Known are functions, ids and kinds of findings,
    runtimes, regions, log groups, aliases, and what the findings' evidence shows as text.
    """
    return check_words(text, _known_names(analysis))


def check_words(text: str, names: Collection[str]) -> str:
    """Return ``text`` if it is plain English that states no number and no name but ``names``; else InvalidInput."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"prose has at most {MAX_CHARACTERS:,} characters, not {len(text):,}")
    known = _Vocabulary(names)
    numbers, marked, unknown = [], [], []
    for word, quoted in dict.fromkeys(_words(unicodedata.normalize("NFC", text))):
        if known.name(word) or (not quoted and known.word(word)):
            continue
        if _states_number(word):
            numbers.append(word)
        elif all(_is_plain(character) for character in word) and "://" not in word:
            unknown.append(word)
        else:
            marked.append(word)
    problems = []
    if numbers:
        problems.append(f"prose states no numbers, since the report renders them from the findings: {_list(numbers)}")
    if marked:
        problems.append(f"prose is plain English, without markup, links and special characters: {_list(marked)}")
    if unknown:
        problems.append(
            "prose names and quotes only what the tools have told, spelled as there; other words have no digit,"
            f" underscore, hyphen or capital letter within: {_list(unknown)}; names that come close:"
            f" {as_text({word: closest(word, sorted(names)) for word in unknown[:MAX_CLOSEST]})}"
        )
    if problems:
        raise InvalidInput(f"mend and try again: {'. '.join(problems)}")
    return text


class _Vocabulary:
    """What prose may say, word by word."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = _TERMS.union(names)
        self._folded = {name.casefold(): name for name in self._names}

    def name(self, word: str) -> bool:
        """Whether ``word`` is a name that is known, to the letter."""
        # An alias "5" or a function "million" must not let that number through.
        return word in self._names and not _is_bare_number(word)

    def word(self, word: str) -> bool:
        """Whether ``word`` is English, or made of English and known names, and no number."""
        if self.name(word) or word.casefold() in _COMPOUNDS:
            return True
        if word.count("/") == 1:
            return all(part and self.word(part) for part in word.split("/"))
        first, hyphen, rest = word.partition("-")
        if hyphen and first.casefold() in _BEFORE and self.word(rest):
            return True
        rest, hyphen, last = word.rpartition("-")
        if hyphen and last.casefold() in _AFTER:
            return self.word(rest)
        return _is_english(word) and not _states_number(word) and not self._imitates_name(word)

    def _imitates_name(self, word: str) -> bool:
        """Whether ``word`` is a known name but for case or accents, beyond what English does to a word."""
        bare = _without_accents(word)
        name = self._folded.get(bare.casefold())
        return name is not None and (bare != word or not _is_english(name))


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the words of ``text``, and whether each is all that stands between quotation marks."""
    for groups in _QUOTED.findall(text):
        # A comma may stand within, as Americans put it.
        yield "".join(groups).strip().rstrip(",."), True
    for word in _BETWEEN.split(_QUOTED.sub(" ", text)):
        if word := word.strip(".:-'’"):
            yield re.sub(r"['’]s$", "", word), False


def _is_english(word: str) -> bool:
    return bool(_WORD.fullmatch(word)) and all(map(_is_plain, word))


def _states_number(word: str) -> bool:
    """Whether ``word`` begins with a number or holds a number word; what holds a digit elsewhere is a name."""
    first = next(filter(str.isalnum, word), "a")
    return _is_digit(first) or any(map(_NUMBER_WORD.fullmatch, _parts(word)))


def _is_digit(character: str) -> bool:
    return unicodedata.numeric(character, None) is not None


def _is_plain(character: str) -> bool:
    # A letter that looks like another one is of another script, or has no such name.
    return character in _PUNCTUATION or (character.isalnum() and _without_accents(character).isascii())


def _without_accents(text: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFD", text) if unicodedata.category(part) != "Mn")


def _list(words: list[str]) -> str:
    # Escapes, where a reader would not see what is meant.
    listed = [word[:64] if word.isascii() else ascii(word[:64])[1:-1] for word in dict.fromkeys(words)]
    more = len(listed) - MAX_WORDS
    return ", ".join(listed[:MAX_WORDS]) + (f" and {more} more" if more > 0 else "")


def _known_names(analysis: Analysis) -> frozenset[str]:
    names = {*analysis.request.regions}
    for function in analysis.functions:
        names |= {function.name, function.log_group, function.runtime or ""}
        names |= {item.qualifier for item in analysis.usage.by_arn[function.arn].provisioned or ()}
    for finding in analysis.findings:
        names |= {finding.id, finding.kind, *finding.evidence}
        shown = (*finding.proposed.values(), *(measure.value for measure in finding.evidence.values()))
        names |= {value for value in shown if isinstance(value, str)}
    return frozenset(names - {""})


def _is_bare_number(name: str) -> bool:
    return all(_is_digit(part[0]) or _NUMBER_WORD.fullmatch(part) for part in _parts(name))


def _parts(word: str) -> list[str]:
    return [part for part in re.split(r"[\W_]+", _without_accents(word.casefold())) if part]
