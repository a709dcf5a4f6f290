"""Every threshold of the analysis, with its source: where none is named, it is our own choice."""

MIN_DAYS = 14
MIN_INVOCATIONS = 50
"""Below these the data carry no claim. AWS Compute Optimizer asks for 50 invocations in 14 days, too (its User Guide,
"Requirements")."""

SAMPLE_FACTOR = 1.5
"""Factor, up or down, by which the mean duration of a sample may differ from that of all invocations."""

MIN_SHARE = 0.05
"""Of a function's compute cost: a change of memory that can be expected to save less is not worth its risk."""

MAX_USED_SHARE = 0.6
"""Share of the memory that has ever been used above which no smaller size is proposed."""
HEADROOM = 1.2
"""A proposed size is at least this much of the maximum used: the maximum, since an average does not run out."""
HIGH_USED_SHARE = 0.9
"""Share of the memory used from which on it is too little."""

AS_GOOD = 0.01
"""Share of the cost by which two sizes may differ and count as equally cheap: then the faster one is proposed."""

IDLE_DAYS = 30
"""Days without an invocation after which a function is idle."""
LOOK_BACK_DAYS = 455
"""How far back the last invocation is looked for: as long as CloudWatch keeps daily values (its User Guide, "Metrics
retention")."""

FAILED_SHARE = 0.1
FAILED_DAYS = 7
"""More than this share of failed invocations on any of the last days (AWS Trusted Advisor, checks L4dfs2Q3C2, "Lambda
functions with high error rates", and L4dfs2Q3C3, "... with excessive timeouts")."""
MIN_DAY_LINES = 20
"""REPORT lines of a day from which its share of time-outs is told: of fewer, one time-out is a large share."""

TIMEOUT_SHARE = 0.5
"""A time-out is high if the 99th percentile of the duration is below this share of it."""
MIN_TIMEOUT_SECONDS = 10
"""A shorter time-out is not called high: it bounds the cost of a function that hangs well enough."""

ON_PC_ERROR = 0.05
"""Share by which the duration on provisioned concurrency may differ from that of all invocations."""

RUNTIME_DAYS = 180
"""Days before the deprecation of its runtime from which on a function is told (AWS announces it so early: Lambda
Developer Guide, "Runtime deprecation policy")."""

INIT_SHARE = 0.1
"""Share of the billed time that init must take to be told."""

RETENTION_DAYS = 30
"""The retention that is proposed. An assumption: nothing in AWS tells how long somebody needs the logs."""

COMPRESSED = 0.15
"""Bytes that are billed for storage over bytes ingested, as the AWS Pricing Calculator estimates them. AWS does not say
whether storedBytes counts before or after compression; the interval's ends take it both ways."""

ARM64_FASTER, ARM64_SAME, ARM64_SLOWER = 0.8, 1.0, 1.25
"""Duration on arm64 over duration on x86_64, before anybody has measured it. The last is the break-even of the two
prices; a function that is slower still should go back. Nothing in metrics or logs narrows this range."""

RESTORED = 0.5
"""Share of the init time that restoring a SnapStart snapshot may take instead, at most."""

MIN_EXPOSURE = 1.0
"""US dollars per 30 days of log ingestion below which nothing is said about it."""
