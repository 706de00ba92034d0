"""The words of what people read: messages, help, docstrings, configurations, README and docs.

Names of our own invention cost every reader a glossary. Each pattern has the field's term beside
it; rewrite the sentence rather than hide the word.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "patchmatch"

WORDS = {
    r"by hand|\btwins?\b": "hand-crafted baseline",
    r"\bjudg(e|es|ed|ing)\b|rounds of messages": "hypothesis scorer; message-passing iterations",
    r"\brivals?\b": "runner-up",
    r"\bballots?\b": "per-cell voting",
    r"\bdr(aw|aws|awn|ew) together\b": "smooth, regularise",
    r"\bdoubts\b": "confidence logits",
    r"\bat rest\b": "zero motion",
    r"\blure\b": "noise penalty",
    r"\bloud(ness)?\b": "signal-to-noise ratio, variance",
    r"\beven contrast\b": "local contrast normalisation",
    r"\bmade (scenes?|pairs?|data|figures?|places?|views?)\b": "synthetic, generated",
    r"\bmakes? (itself|themselves)\b": "generated automatically, self-supervised",
    r"\bheaps?\b|fallen leaves|\bstrewn?\b": "dead-leaves images",
    r"\bsoft_rank. free|\bfree scores?\b": "unsuppressed",
    r"\bwhole numbers?\b": "integer",
    r"\bno numbers?\b": "NaN or infinite values",
    r"\b(is|are|was|were|be|been) refused\b|\brefus(e|es|al|als)\b": "must be, cannot; raise",
    r"\blet go\b": "release, free",
    r"(?<!there )\b(is|are) (no|(?-i:none))\b(?! (longer|more|less|better|worse))": "is not a",
    r"\bwants\b|\bbears\b|\bhears?\b": "requires, takes",
    r"\btells?\b|\btold\b": "report, show, flag, estimate",
    r"\b(no|some|any)body\b": "name the user, the caller or the process",
    r"\bmend(s|ed)?\b": "fix",
    r"\bgone\b": "occluded, missing, removed",
    r"\bothers' business\b|\bof no concern\b": "say what is ignored",
}
FORBIDDEN = {re.compile(pattern, re.IGNORECASE): term for pattern, term in WORDS.items()}


def sentences(path: Path) -> list[tuple[int, str]]:
    """Return line number and text of everything that people read in a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        strings = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)]
        return [(n.lineno, n.value) for n in strings if isinstance(n.value, str) and " " in n.value]
    return list(enumerate(text.splitlines(), 1))


def texts() -> list[Path]:
    code = [*PACKAGE.rglob("*.py")]
    docs = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *PACKAGE.rglob("*.md")]
    pages = [p for p in PACKAGE.rglob("*") if p.suffix in (".html", ".js")]
    return sorted(
        [*code, *docs, *pages, *(ROOT / "configs").glob("*.yaml"), *ROOT.glob("dev/*.py")]
    )


def inventions(text: str) -> list[str]:
    """Return each forbidden word of a text with the term to use."""
    found = ((pattern.search(text), term) for pattern, term in FORBIDDEN.items())
    return [f"{match[0]!r} (rather: {term})" for match, term in found if match]


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_texts_use_the_terms_of_the_field(path):
    assert [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for line, text in sentences(path)
        for word in inventions(text)
    ] == []


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        ("Frames of other sizes are refused.", True),
        ("the network and its twin by hand", True),
        ("block must be an integer, got 2.5", False),
        ("summary.json is no table", True),
        ("There is no table, and it is no longer needed.", False),
        ("pairs that make themselves", True),
        ("The judge tells which rival is likelier.", True),
        ("A hypothesis scorer compares the runner-up.", False),
    ],
)
def test_an_invention_is_found(text, forbidden):
    assert bool(inventions(text)) is forbidden
