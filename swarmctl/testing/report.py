"""Rules, what they found, and the suites that run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from swarmctl.core.errors import EngineMissingError

S = TypeVar("S")
Check = Callable[[S], Iterable[str]]

MOST_MESSAGES = 3
"""Messages that one rule reports at most; the rest are counted."""


@dataclass(frozen=True)
class Finding:
    """One breach of a rule: which rule, what was seen, and what to do about it."""

    rule: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}\n      -> {self.remedy}"


@dataclass(frozen=True)
class Report:
    """What a suite says of one subject: rules that hold, findings, and rules that were not
    tried, with the reason.
    """

    subject: str
    passed: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def broken(self) -> set[str]:
        """Names of the rules that were broken."""
        return {finding.rule for finding in self.findings}

    def __add__(self, other: Report) -> Report:
        return Report(
            self.subject,
            self.passed + other.passed,
            self.findings + other.findings,
            {**self.skipped, **other.skipped},
        )

    def __str__(self) -> str:
        lines = [
            f"{self.subject}: {len(self.passed)} rules hold, {len(self.findings)} findings, "
            f"{len(self.skipped)} not tried"
        ]
        lines += [f"  FOUND {finding}" for finding in self.findings]
        lines += [f"  holds {name}" for name in self.passed]
        lines += [f"  not tried {name}: {reason}" for name, reason in self.skipped.items()]
        return "\n".join(lines)


class NotApplicableError(Exception):
    """Raised by a rule that has nothing to say about its subject; the text is the reason."""


@dataclass(frozen=True)
class Rule(Generic[S]):
    """A named theorem about a subject. `check` yields one message per breach.

    `needs` names rules without which this one means nothing; it is not tried if one of them was
    broken.
    """

    name: str
    theorem: str
    remedy: str
    check: Check[S]
    needs: tuple[str, ...] = ()


class Suite(Generic[S]):
    """Rules about one kind of subject, tried in the order in which they were written."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.rules: list[Rule[S]] = []

    def rule(
        self, name: str, theorem: str, remedy: str, needs: Sequence[str] = ()
    ) -> Callable[[Check[S]], Check[S]]:
        """Add the decorated function as a rule."""

        def add(check: Check[S]) -> Check[S]:
            names = tuple(f"{self.prefix}.{need}" for need in needs)
            self.rules.append(Rule(f"{self.prefix}.{name}", theorem, remedy, check, names))
            return check

        return add

    def run(self, title: str, subject: S) -> Report:
        """Try every rule on `subject`. An exception in a rule is a finding of that rule.

        Raises EngineMissingError if the program behind an engine is not installed.
        """
        report = Report(title)
        for rule in self.rules:
            missing = [need for need in rule.needs if need not in report.passed]
            if missing:
                report.skipped[rule.name] = f"needs {', '.join(missing)}"
                continue
            try:
                messages = list(_first(rule.check(subject)))
            except NotApplicableError as reason:
                report.skipped[rule.name] = str(reason)
                continue
            except EngineMissingError:  # nothing is there to be checked
                raise
            except Exception as error:  # whatever the subject raises is what this rule found
                messages = [f"it raised {describe_error(error)}"]
            if not messages:
                report.passed.append(rule.name)
            report.findings.extend(
                Finding(rule.name, f"{message} (rule: {rule.theorem})", rule.remedy)
                for message in messages
            )
        return report


def describe_error(error: BaseException) -> str:
    """Type and first line of an exception."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else '(no text)'}"


def _first(messages: Iterable[str]) -> Iterator[str]:
    count = 0
    for message in messages:
        count += 1
        if count <= MOST_MESSAGES:
            yield message
    if count > MOST_MESSAGES:
        yield f"and {count - MOST_MESSAGES} more of this kind"
