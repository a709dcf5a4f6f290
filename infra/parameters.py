"""The stack's parameters, each with its default and its bounds."""

import aws_cdk as cdk
from constructs import Construct

from vigil import settings
from vigil.agent.models import MODEL_PATTERN, PROVIDERS
from vigil.names import Env, Parameter


def _number(scope: Construct, name: Parameter, default: int, least: float, most: float, description: str) -> str:
    return cdk.CfnParameter(
        scope, name, type="Number", default=default, min_value=least, max_value=most, description=description
    ).value_as_string


class Timing:
    """The intervals and limits of the stack, in seconds; every field is a reference to a parameter."""

    def __init__(self, scope: Construct) -> None:
        what = "Longest wait between two looks at a session, if nothing wakes it"
        self.safety = _number(scope, Parameter.SAFETY_SECONDS, 300, 1, 3600, what)
        what = "Seconds between two heartbeats of an agent"
        self.heartbeat = _number(scope, Parameter.HEARTBEAT_SECONDS, settings.HEARTBEAT_SECONDS, 1, 300, what)
        what = "Longest time an agent may work without progress"
        self.progress = _number(scope, Parameter.PROGRESS_SECONDS, settings.PROGRESS_SECONDS, 1, 28_800, what)
        what = "New sessions that AgentCore starts in a second, by its quota"
        self.starts = _number(scope, Parameter.STARTS_PER_SECOND, settings.STARTS_PER_SECOND, 0.1, 1000, what)
        what = "Attempts of a session at most: after its agent was killed, another attempt continues the session"
        self.attempts = _number(scope, Parameter.MAX_ATTEMPTS, settings.MAX_ATTEMPTS, 1, settings.LAST_ATTEMPT, what)
        # AgentCore ends every session after 8 hours.
        what = "Deadline of a session, and the latest that an event may ask for"
        self.session = _number(scope, Parameter.MAX_SESSION_SECONDS, settings.MAX_SESSION_SECONDS, 1, 28_500, what)


def agent_parameters(scope: Construct) -> dict[str, str]:
    """Return the agent's environment variables that are references to parameters."""
    budget = "What the model calls of a session may cost, in dollars"
    scan = "What reading the data of an analysis may cost, in dollars, whatever its event asks for"
    return {
        Env.MODEL: cdk.CfnParameter(
            scope,
            Parameter.MODEL_ID,
            default=settings.DEFAULT_MODEL,
            allowed_pattern=MODEL_PATTERN,
            constraint_description="must be the id or the ARN of a foundation model or an inference profile, or"
            f" provider/model (providers: {', '.join(PROVIDERS)})",
            description="Bedrock model or inference profile of the agent, by id or ARN; its role may invoke no other",
        ).value_as_string,
        Env.BUDGET_DOLLARS: _number(scope, Parameter.BUDGET_DOLLARS, settings.BUDGET_DOLLARS, 0.01, 1000, budget),
        Env.MAX_SCAN_DOLLARS: _number(scope, Parameter.MAX_SCAN_DOLLARS, settings.MAX_SCAN_DOLLARS, 0.01, 1000, scan),
        Env.AGENT: cdk.CfnParameter(
            scope,
            Parameter.AGENT_FACTORY,
            default=settings.DEFAULT_AGENT,
            allowed_pattern=r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*",
            description="Factory of the agent, package.module:factory",
        ).value_as_string,
    }


def notify_email(scope: Construct) -> str:
    """Return the address to which the stack tells how sessions end; empty if it tells nobody."""
    return cdk.CfnParameter(
        scope,
        Parameter.NOTIFY_EMAIL,
        default="",
        allowed_pattern=r"([^@\s]{1,64}@[^@\s]{1,190}\.[^@\s.]{2,63})?",
        constraint_description="must be a mail address",
        description="Mail address that learns how each session ends; empty: none",
    ).value_as_string


class ScheduleParameters:
    """The schedule of the stack, if it has one; every field is a reference to a parameter."""

    def __init__(self, scope: Construct) -> None:
        def text(name: Parameter, default: str, pattern: str, must_be: str, what: str) -> str:
            return cdk.CfnParameter(
                scope,
                name,
                default=default,
                allowed_pattern=pattern,
                constraint_description=f"must be {must_be}",
                description=what,
            ).value_as_string

        self.expression = text(
            Parameter.SCHEDULE,
            "",
            r"(rate\([1-9]\d{0,4} (minute|hour|day)s?\)|cron\([^ ]+ [^ ]+ (\? [^ ]+ [^ ?]+|[^ ?]+ [^ ]+ \?) [^ ]+\))?",
            "rate(number unit), or cron(minutes hours day-of-month month day-of-week year) with ? for one of both days",
            "When sessions start by themselves, as EventBridge Scheduler writes it; empty: never",
        )
        self.timezone = text(
            Parameter.SCHEDULE_TIMEZONE,
            "UTC",
            r"[A-Za-z0-9_+/-]{1,50}",
            "a name of the IANA time zone database, such as Europe/Berlin",
            "Time zone of the schedule",
        )
        self.detail = text(
            Parameter.SCHEDULE_DETAIL,
            "{}",
            r"\{\}|\{ *\".*\}",
            "a JSON object in one line",
            "Detail of the schedule's events, the agent's input",
        )
