"""Names that the infrastructure, the agent and the clients share; each stands only here."""

from enum import StrEnum

STACK = "Vigil"

EVENT_SOURCE = "vigil"
EVENT_DETAIL_TYPE = "Run Agent"

AGENT_RUNTIME_ARN_PARAMETER = "AgentRuntimeArn"
POLL_SECONDS_PARAMETER = "PollSeconds"
MODEL_ID_PARAMETER = "ModelId"
AGENT_FACTORY_PARAMETER = "AgentFactory"

INDEX_BY_START = "sessions-by-start"
"""Index of session records, newest last: partition ``SK``, sort ``start_time``."""
INDEX_BY_STATUS = "sessions-by-status"
"""Index of session records by status: partition ``status``, sort ``start_time``."""

REPORT = "report.md"
FINDINGS = "findings.json"


class Output(StrEnum):
    """The stack's outputs: every name that a client needs."""

    TABLE = "TableName"
    BUCKET = "BucketName"
    STATE_MACHINE = "StateMachineArn"
    INVOKER = "InvokerFunctionName"
    RULE = "RuleName"
    DEAD_LETTERS = "DeadLetterQueueUrl"
    AGENT_ROLE = "AgentRoleArn"
    AGENT_RUNTIME = "AgentRuntime"


class Env(StrEnum):
    """Environment variables of the parts."""

    SESSION_ID = "SESSION_ID"
    BUCKET = "S3_BUCKET_NAME"
    TABLE = "DDB_TABLE_NAME"
    AGENT_RUNTIME_ARN = "AGENT_RUNTIME_ARN"
    AGENT = "VIGIL_AGENT"
    MODEL = "VIGIL_MODEL"
    STACK = "VIGIL_STACK"
    WORKER = "VIGIL_WORKER"
