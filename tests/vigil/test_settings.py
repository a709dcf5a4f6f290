from decimal import Decimal
from typing import Any

import pytest

from vigil.errors import InvalidSessionId, MissingSetting
from vigil.names import Env
from vigil.settings import (
    DEFAULT_AGENT,
    HEARTBEAT_SECONDS,
    MAX_SESSION_SECONDS,
    PROGRESS_SECONDS,
    InvokerSettings,
    ReconcilerSettings,
    RuntimeSettings,
    WorkerSettings,
)

SESSION_ID = "3f0c9f6e-1f5b-4b7e-9a63-6a5a1d0b2c4d"
INVOKER = {Env.TABLE: "table", Env.BUCKET: "bucket", Env.AGENT_RUNTIME_ARN: "arn"}
RECONCILER = {Env.TABLE: "table", Env.STATE_MACHINE_ARN: "machine", Env.AGENT_RUNTIME_ARN: "arn"}
WORKER = {Env.SESSION_ID: SESSION_ID, Env.TABLE: "table", Env.BUCKET: "bucket", "AWS_DEFAULT_REGION": "us-east-1"}

COMPLETE = [(InvokerSettings, INVOKER), (ReconcilerSettings, RECONCILER), (WorkerSettings, WORKER)]
Settings = type[InvokerSettings] | type[ReconcilerSettings] | type[WorkerSettings]


def test_the_lambda_functions_read_their_environment() -> None:
    assert InvokerSettings.from_env(INVOKER) == InvokerSettings("table", "bucket", "arn", MAX_SESSION_SECONDS)
    bounded = InvokerSettings.from_env({**INVOKER, Env.MAX_SESSION_SECONDS: "3600"})
    assert bounded == InvokerSettings("table", "bucket", "arn", 3600)
    assert ReconcilerSettings.from_env(RECONCILER) == ReconcilerSettings("table", "machine", "arn")


def test_the_runtime_reads_its_environment() -> None:
    assert RuntimeSettings.from_env({}) == RuntimeSettings(HEARTBEAT_SECONDS, PROGRESS_SECONDS)
    given = {Env.HEARTBEAT_SECONDS: "1.5", Env.PROGRESS_SECONDS: " 20 ", Env.MAX_ATTEMPTS: "2"}
    assert RuntimeSettings.from_env(given) == RuntimeSettings(1, 20, 2)


@pytest.mark.parametrize("value", ["0", "-1", "0.9", "1e3", "ten", "٣"])
@pytest.mark.parametrize(
    ("settings", "complete", "name"),
    [(RuntimeSettings, {}, name) for name in (Env.HEARTBEAT_SECONDS, Env.PROGRESS_SECONDS, Env.MAX_ATTEMPTS)]
    + [(InvokerSettings, INVOKER, Env.MAX_SESSION_SECONDS)],
)
def test_invalid_number_is_named(
    settings: type[RuntimeSettings] | type[InvokerSettings], complete: dict[str, str], name: str, value: str
) -> None:
    with pytest.raises(MissingSetting, match=rf"^environment variable {name} must be a number from 1, not "):
        settings.from_env({**complete, name: value})


@pytest.mark.criterion("1.2")
def test_the_worker_reads_its_environment() -> None:
    given = {"session_id": SESSION_ID, "table": "table", "bucket": "bucket", "region": "us-east-1"}
    defaults: Any = {"model": None, "budget_dollars": Decimal(5), "max_scan_dollars": Decimal(5)}
    expected = WorkerSettings(**given, **defaults, agent=DEFAULT_AGENT, attempt=1, worker="w")
    assert WorkerSettings.from_env({**WORKER, "VIGIL_WORKER": "w"}) == expected


def test_a_budget_is_an_exact_amount() -> None:
    assert WorkerSettings.from_env({**WORKER, Env.BUDGET_DOLLARS: " 0.01 "}).budget_dollars == Decimal("0.01")
    assert WorkerSettings.from_env({**WORKER, Env.MAX_SCAN_DOLLARS: "0.2"}).max_scan_dollars == Decimal("0.2")


@pytest.mark.parametrize("name", [Env.BUDGET_DOLLARS, Env.MAX_SCAN_DOLLARS])
@pytest.mark.parametrize("value", ["0", "0.009", "-1", "1e3", "NaN", "five", "5,00", "٣"])
def test_invalid_budget_is_named(name: str, value: str) -> None:
    with pytest.raises(MissingSetting, match=rf"^environment variable {name} must be a number from 0\.01, not "):
        WorkerSettings.from_env({**WORKER, name: value})


def test_workers_that_nobody_named_have_names_of_their_own() -> None:
    assert WorkerSettings.from_env(WORKER).worker != WorkerSettings.from_env(WORKER).worker


@pytest.mark.parametrize("value", [None, "", "  "], ids=["missing", "empty", "blank"])
@pytest.mark.parametrize(
    ("settings", "whole", "name"), [(settings, whole, name) for settings, whole in COMPLETE for name in whole]
)
def test_a_missing_variable_is_named(settings: Settings, whole: dict[str, str], name: str, value: str | None) -> None:
    environment = {key: given for key, given in whole.items() if key != name}
    if value is not None:
        environment[name] = value
    with pytest.raises(MissingSetting, match=rf"^environment variable {name} is not set$"):
        settings.from_env(environment)


def test_worker_does_not_start_with_an_invalid_session_id() -> None:
    with pytest.raises(InvalidSessionId, match="not 'short'"):
        WorkerSettings.from_env({**WORKER, Env.SESSION_ID: "short"})


def test_the_region_that_lambda_and_the_sdks_set_wins() -> None:
    assert WorkerSettings.from_env({**WORKER, "AWS_REGION": "eu-central-1"}).region == "eu-central-1"


def test_agent_and_model_are_choices() -> None:
    chosen = WorkerSettings.from_env({**WORKER, Env.AGENT: "mine:agent", Env.MODEL: "a.model"})
    assert (chosen.agent, chosen.model) == ("mine:agent", "a.model")


def test_surrounding_blanks_are_no_part_of_a_value() -> None:
    assert InvokerSettings.from_env({**INVOKER, Env.TABLE: " table\n"}).table == "table"
