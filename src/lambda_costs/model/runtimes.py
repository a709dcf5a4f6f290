"""Lambda's runtimes as dated data: until when each is supported, which exist on arm64, which support SnapStart."""

from datetime import date

DATE = "2026-02"
SOURCE = "AWS Lambda Developer Guide, Lambda runtimes and Lambda SnapStart"

_TABLE = """
nodejs           2016-10-31
nodejs4.3        2020-03-05
nodejs4.3-edge   2020-03-05
nodejs6.10       2019-08-12
nodejs8.10       2020-03-06
nodejs10.x       2021-07-30
nodejs12.x       2023-03-31  arm64
nodejs14.x       2023-12-04  arm64
nodejs16.x       2024-06-12  arm64
nodejs18.x       2025-09-01  arm64
nodejs20.x       2026-04-30  arm64
nodejs22.x       2027-04-30  arm64
nodejs24.x       2028-04-30  arm64
python2.7        2021-07-15
python3.6        2022-07-18
python3.7        2023-12-04
python3.8        2024-10-14  arm64
python3.9        2025-12-15  arm64
python3.10       2026-10-31  arm64
python3.11       2027-06-30  arm64
python3.12       2028-10-31  arm64 snapstart
python3.13       2029-06-30  arm64 snapstart
python3.14       2029-06-30  arm64 snapstart
java8            2024-01-08
java8.al2        2027-06-30  arm64
java11           2027-06-30  arm64 snapstart-free
java17           2027-06-30  arm64 snapstart-free
java21           2029-06-30  arm64 snapstart-free
java25           2029-06-30  arm64 snapstart-free
dotnetcore1.0    2019-07-30
dotnetcore2.0    2019-05-30
dotnetcore2.1    2022-01-05
dotnetcore3.1    2023-04-03  arm64
dotnet6          2024-11-12  arm64
dotnet8          2026-11-10  arm64 snapstart
dotnet10         2028-11-14  arm64 snapstart
ruby2.5          2021-07-30
ruby2.7          2023-12-07  arm64
ruby3.2          2026-03-31  arm64
ruby3.3          2027-03-31  arm64
ruby3.4          2028-03-31  arm64
go1.x            2024-01-08
provided         2024-01-08
provided.al2     2026-07-31  arm64
provided.al2023  2029-06-30  arm64
"""

_ROWS = [line.split() for line in _TABLE.strip().splitlines()]

DEPRECATED_ON = {name: date.fromisoformat(day) for name, day, *_ in _ROWS}
"""Future dates are projected: AWS moves dates, later more often than earlier."""

ARM64 = frozenset(name for name, _, *flags in _ROWS if "arm64" in flags)
X86_ONLY = frozenset(DEPRECATED_ON) - ARM64

SNAPSTART_FREE = frozenset(name for name, _, *flags in _ROWS if "snapstart-free" in flags)
"""Runtimes that pay neither for the cached snapshot nor for restoring it."""
SNAPSTART = SNAPSTART_FREE | {name for name, _, *flags in _ROWS if "snapstart" in flags}
