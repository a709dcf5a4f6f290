"""One function of a sample account: its visible configuration and its hidden parameters."""

from dataclasses import dataclass
from typing import Literal

DAYS = 30  # length of the window that the account's present is drawn for

FULL_VCPU_MB = 1769  # memory size with one vCPU (AWS Lambda Developer Guide, "Configure Lambda function memory")

Traffic = Literal["constant", "weekly", "business-hours", "bursts", "growing", "monthly"]
Layer = Literal["LambdaInsightsExtension-Arm64", "native-x86"]


@dataclass(frozen=True)
class Mode:
    """A kind of payload."""

    share: float  # of the invocations
    slowness: float  # its mean duration divided by that of the plain payload
    need_mb: float  # the most memory that one of them needs


@dataclass(frozen=True)
class SampleFunction:
    """A function and its last 30 days."""

    name: str
    runtime: str
    architecture: str
    memory_mb: int
    timeout_seconds: int
    retention_days: int | None
    json_logs: bool
    ephemeral_mb: int
    layer: Layer | None
    recursive_loop: bool  # whether recursive loops are allowed
    provisioned_concurrency: int  # executions of provisioned concurrency on the alias ``live``

    io_ms: float  # mean duration that memory does not change
    cpu_mb_ms: float  # CPU part of the mean duration: d(M) = io_ms + cpu_mb_ms / min(M, 1769)
    spread: float  # Sigma of the lognormal duration
    modes: tuple[Mode, ...]  # shares add up to 1
    arm64_ratio: float  # duration on arm64 over that on x86_64
    init_ms: float
    restore_ms: float  # what is billed in place of the init phase under SnapStart
    used_tmp_mb: float  # the most of /tmp that an invocation fills
    cold_share: float
    daily_invocations: float  # mean over the days that have any
    traffic: Traffic
    on_provisioned: float  # share of the invocations that run on provisioned concurrency
    timeout_share: float
    out_of_memory_share: float
    error_share: float
    failing_share: float  # share of errors while it fails
    failing_days: int
    failing_ended_days: int  # days before the window's end when it stopped failing
    dropped_daily: int  # recursive invocations that Lambda dropped
    log_bytes: float  # ingested by an invocation; without retention, the bytes of the lines written count instead
    old_log_bytes: int  # log events older than the window
    earlier_memory_mb: int
    earlier_share: float  # share of the window, from its start, with the earlier memory size
    first_day: int  # day of the window, from 0, with the first invocation
    log_lines: int  # REPORT lines of a busy function: fewer than its invocations, like logs that are sampled or expire
    log_days: float  # latest days with log events, if retention keeps them so long
    last_used_days: int  # days since an idle function's last invocation; 0 if it never had one
    metrics: bool  # whether CloudWatch has its metrics

    def plain_ms(self, memory_mb: int) -> float:
        """Return the mean duration of a plain payload at ``memory_mb`` on today's architecture, without init."""
        return self.io_ms + self.cpu_mb_ms / min(memory_mb, FULL_VCPU_MB)

    def duration_ms(self, memory_mb: int) -> float:
        """Return the mean duration of all payloads."""
        return self.plain_ms(memory_mb) * self.mean_slowness

    @property
    def mean_slowness(self) -> float:
        """The mean duration of all payloads divided by that of the plain one."""
        return sum(mode.share * mode.slowness for mode in self.modes)

    def memory_on(self, day: float) -> int:
        """Return the memory size ``day`` days into the window."""
        return self.earlier_memory_mb if day < self.earlier_share * DAYS else self.memory_mb

    def out_of_memory_share_at(self, memory_mb: int) -> float:
        """Return the share of invocations that run out of memory at ``memory_mb``."""
        return self.out_of_memory_share if memory_mb == self.memory_mb else 0.0

    def error_share_on(self, day: int) -> float:
        """Return the share of errors on day ``day`` of the window."""
        end = DAYS - self.failing_ended_days
        return self.failing_share if end - self.failing_days <= day < end else self.error_share

    @property
    def need_mb(self) -> float:
        """The most memory that an invocation needs."""
        return max(mode.need_mb for mode in self.modes)

    @property
    def log_group(self) -> str:
        """The function's log group."""
        return f"/aws/lambda/{self.name}"
