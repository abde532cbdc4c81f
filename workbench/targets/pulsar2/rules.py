"""What must hold between the fields of a BuildConfig, and between it and the model, before the tool is started.

A rule is a function from the configuration (and the model's facts) to findings, each at the path of a field; its
docstring is the rule in a sentence. They stand in ``rules_*.py`` by subject. Only what is certain is an error: Pulsar2
would fail late, or silently build something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from workbench.targets.pulsar2 import rules_inputs, rules_layers, rules_quant, rules_target
from workbench.targets.pulsar2.facts import Facts, facts
from workbench.targets.pulsar2.rules_finding import Finding, Findings
from workbench.targets.pulsar2.schema import BuildConfig

__all__ = ["MODEL_RULES", "RULES", "Facts", "Finding", "check", "facts"]

_MOST = 50  # findings of one rule
_SUBJECTS = (rules_target, rules_inputs, rules_quant, rules_layers)
RULES: Sequence[Callable[[BuildConfig], Findings]] = [rule for subject in _SUBJECTS for rule in subject.RULES]
MODEL_RULES: Sequence[Callable[[BuildConfig, Facts], Findings]] = [
    rule for subject in _SUBJECTS for rule in subject.MODEL_RULES
]


def check(config: BuildConfig, known: Facts | None = None) -> list[Finding]:
    """The findings of all `RULES`, and of all `MODEL_RULES` when the model's facts are `known`."""
    found = [finding for rule in RULES for finding in _some(rule(config))]
    if known is not None:
        found += [finding for rule in MODEL_RULES for finding in _some(rule(config, known))]
    return found


def _some(found: Findings) -> Findings:
    """As many findings of one rule as anybody reads; the last one says that there are more."""
    for count, one in enumerate(found, 1):
        if count == _MOST:
            yield replace(one, what=f"{one.what}; there may be more of this kind", fix=f"{one.fix}; mend these first")
            return
        yield one
