"""Names that the infrastructure, the agent and the clients share; each stands only here."""

from enum import StrEnum

STACK = "Vigil"

EVENT_SOURCE = "vigil"
EVENT_DETAIL_TYPE = "Run Agent"

DEADLINE_KEY = "deadline_seconds"  # key of a detail by which an event asks for a deadline; the agent does not see it
TICK_KEY = "vigil_scheduled_time"  # key of a scheduled event's detail: the time of its run; the agent does not see it

INDEX_BY_START = "sessions-by-start"  # index of session records, newest last: partition ``SK``, sort ``start_time``
INDEX_BY_STATUS = "sessions-by-status"  # index of session records by status: partition ``status``, sort ``start_time``

REPORT = "report.md"
FINDINGS = "findings.json"
PAGE = "report.html"


class Parameter(StrEnum):
    """The stack's parameters."""

    AGENT_RUNTIME_ARN = "AgentRuntimeArn"
    AGENT_FACTORY = "AgentFactory"
    MODEL_ID = "ModelId"
    BUDGET_DOLLARS = "BudgetDollars"
    MAX_SCAN_DOLLARS = "MaxScanDollars"
    SAFETY_SECONDS = "SafetySeconds"
    HEARTBEAT_SECONDS = "HeartbeatSeconds"
    PROGRESS_SECONDS = "ProgressSeconds"
    MAX_SESSION_SECONDS = "MaxSessionSeconds"
    STARTS_PER_SECOND = "StartsPerSecond"
    MAX_ATTEMPTS = "MaxAttempts"
    SCHEDULE = "Schedule"
    SCHEDULE_TIMEZONE = "ScheduleTimezone"
    SCHEDULE_DETAIL = "ScheduleDetail"
    NOTIFY_EMAIL = "NotifyEmail"


class Output(StrEnum):
    """The stack's outputs: every name that a client needs."""

    TABLE = "TableName"
    BUCKET = "BucketName"
    STATE_MACHINE = "StateMachineArn"
    INVOKER = "InvokerFunctionName"
    RECONCILER = "ReconcilerFunctionName"
    RULE = "RuleName"
    DEAD_LETTERS = "DeadLetterQueueUrl"
    AGENT_ROLE = "AgentRoleArn"
    AGENT_RUNTIME = "AgentRuntime"


class OptionalOutput(StrEnum):
    """Outputs that the stack has only with the parameter that they belong to."""

    SCHEDULE = "ScheduleName"
    TOPIC = "TopicArn"


class Env(StrEnum):
    """Environment variables of the parts."""

    SESSION_ID = "SESSION_ID"
    BUCKET = "S3_BUCKET_NAME"
    TABLE = "DDB_TABLE_NAME"
    AGENT_RUNTIME_ARN = "AGENT_RUNTIME_ARN"
    STATE_MACHINE_ARN = "STATE_MACHINE_ARN"
    AGENT = "VIGIL_AGENT"
    MODEL = "VIGIL_MODEL"
    BUDGET_DOLLARS = "VIGIL_BUDGET_DOLLARS"
    MAX_SCAN_DOLLARS = "VIGIL_MAX_SCAN_DOLLARS"
    STACK = "VIGIL_STACK"
    TOPIC_ARN = "TOPIC_ARN"
    DEAD_LETTERS = "DEAD_LETTER_QUEUE_URL"
    WORKER = "VIGIL_WORKER"
    ATTEMPT = "VIGIL_ATTEMPT"
    MAX_ATTEMPTS = "VIGIL_MAX_ATTEMPTS"
    HEARTBEAT_SECONDS = "VIGIL_HEARTBEAT_SECONDS"
    PROGRESS_SECONDS = "VIGIL_PROGRESS_SECONDS"
    MAX_SESSION_SECONDS = "VIGIL_MAX_SESSION_SECONDS"
    STARTS_PER_SECOND = "VIGIL_STARTS_PER_SECOND"
    MAX_WORKERS = "VIGIL_MAX_WORKERS"
