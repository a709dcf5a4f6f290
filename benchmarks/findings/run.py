"""Analyses an account of known truth in an embedded AWS of its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.findings.score import Score, score
from lambda_costs.analysis import CostAnalysis
from lambda_costs.report.artifacts import findings_json
from lambda_costs.request import CostRequest
from lambda_costs.sample_account import SampleAccount, seed_account
from vigil.local.stack import REGION, LocalStack


@dataclass(frozen=True)
class Scored:
    """An account and how it was analysed."""

    name: str
    account: SampleAccount
    document: Mapping[str, Any]  # its findings.json
    score: Score


def run(name: str, account: SampleAccount) -> Scored:
    """Analyse ``account`` twice."""
    now = datetime.now(UTC)
    with LocalStack.launch() as stack:
        seed_account(account, stack.client, now)
        first, second = (analyse(stack, now) for _ in range(2))
    document = json.loads(first)
    return Scored(name, account, document, score(account, document, repeatable=first == second))


def analyse(stack: LocalStack, now: datetime, functions: str | None = None) -> str:
    """Return the findings.json of an analysis of the functions in ``stack``."""
    session = stack.session()
    analyst = CostAnalysis(
        CostRequest(regions=(REGION,), functions=functions),
        lambda service, region: session.client(service, region_name=region),
        lambda: now,
    )
    return findings_json(analyst.find_savings())
