import pytest

from vigil.errors import InvalidSessionId, MissingSetting
from vigil.names import Env
from vigil.settings import DEFAULT_AGENT, InvokerSettings, WorkerSettings

SESSION_ID = "3f0c9f6e-1f5b-4b7e-9a63-6a5a1d0b2c4d"
INVOKER = {Env.TABLE: "table", Env.BUCKET: "bucket", Env.AGENT_RUNTIME_ARN: "arn"}
WORKER = {Env.SESSION_ID: SESSION_ID, Env.TABLE: "table", Env.BUCKET: "bucket", "AWS_DEFAULT_REGION": "us-east-1"}

Settings = type[InvokerSettings] | type[WorkerSettings]


def test_the_invoker_reads_its_environment() -> None:
    assert InvokerSettings.from_env(INVOKER) == InvokerSettings("table", "bucket", "arn")


@pytest.mark.criterion("1.2")
def test_the_worker_reads_its_environment() -> None:
    assert WorkerSettings.from_env({**WORKER, "VIGIL_WORKER": "w"}) == WorkerSettings(
        session_id=SESSION_ID,
        table="table",
        bucket="bucket",
        region="us-east-1",
        agent=DEFAULT_AGENT,
        model=None,
        worker="w",
    )


def test_workers_that_nobody_named_have_names_of_their_own() -> None:
    assert WorkerSettings.from_env(WORKER).worker != WorkerSettings.from_env(WORKER).worker


@pytest.mark.parametrize("value", [None, "", "  "], ids=["missing", "empty", "blank"])
@pytest.mark.parametrize(
    ("settings", "complete", "name"),
    [(InvokerSettings, INVOKER, name) for name in INVOKER] + [(WorkerSettings, WORKER, name) for name in WORKER],
)
def test_a_missing_variable_is_named(
    settings: Settings, complete: dict[str, str], name: str, value: str | None
) -> None:
    environment = {key: given for key, given in complete.items() if key != name}
    if value is not None:
        environment[name] = value
    with pytest.raises(MissingSetting, match=rf"^environment variable {name} is not set$"):
        settings.from_env(environment)


def test_a_worker_without_a_session_id_that_can_be_one_does_not_start() -> None:
    with pytest.raises(InvalidSessionId, match="not 'short'"):
        WorkerSettings.from_env({**WORKER, Env.SESSION_ID: "short"})


def test_the_region_that_lambda_and_the_sdks_set_wins() -> None:
    assert WorkerSettings.from_env({**WORKER, "AWS_REGION": "eu-central-1"}).region == "eu-central-1"


def test_agent_and_model_are_choices() -> None:
    chosen = WorkerSettings.from_env({**WORKER, Env.AGENT: "mine:agent", Env.MODEL: "a.model"})
    assert (chosen.agent, chosen.model) == ("mine:agent", "a.model")


def test_surrounding_blanks_are_no_part_of_a_value() -> None:
    assert InvokerSettings.from_env({**INVOKER, Env.TABLE: " table\n"}).table == "table"
