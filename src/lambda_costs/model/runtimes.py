"""Lambda's runtimes as dated data: until when each is supported, which exist on arm64, which take SnapStart."""

from collections.abc import Mapping
from datetime import date

DATE = "2026-02"
SOURCE = "AWS Lambda Developer Guide, Lambda runtimes and Lambda SnapStart"

DEPRECATED_ON: Mapping[str, date] = {
    "nodejs10.x": date(2021, 7, 30),
    "nodejs12.x": date(2023, 3, 31),
    "nodejs14.x": date(2023, 12, 4),
    "nodejs16.x": date(2024, 6, 12),
    "nodejs18.x": date(2025, 9, 1),
    "nodejs20.x": date(2026, 4, 30),
    "nodejs22.x": date(2027, 4, 30),
    "nodejs24.x": date(2028, 4, 30),
    "python2.7": date(2021, 7, 15),
    "python3.6": date(2022, 7, 18),
    "python3.7": date(2023, 12, 4),
    "python3.8": date(2024, 10, 14),
    "python3.9": date(2025, 12, 15),
    "python3.10": date(2026, 10, 31),
    "python3.11": date(2027, 6, 30),
    "python3.12": date(2028, 10, 31),
    "python3.13": date(2029, 6, 30),
    "python3.14": date(2029, 6, 30),
    "java8": date(2024, 1, 8),
    "java8.al2": date(2027, 6, 30),
    "java11": date(2027, 6, 30),
    "java17": date(2027, 6, 30),
    "java21": date(2029, 6, 30),
    "java25": date(2029, 6, 30),
    "dotnetcore2.1": date(2022, 1, 5),
    "dotnetcore3.1": date(2023, 4, 3),
    "dotnet6": date(2024, 11, 12),
    "dotnet8": date(2026, 11, 10),
    "dotnet10": date(2028, 11, 14),
    "ruby2.5": date(2021, 7, 30),
    "ruby2.7": date(2023, 12, 7),
    "ruby3.2": date(2026, 3, 31),
    "ruby3.3": date(2027, 3, 31),
    "ruby3.4": date(2028, 3, 31),
    "go1.x": date(2024, 1, 8),
    "provided": date(2024, 1, 8),
    "provided.al2": date(2026, 7, 31),
    "provided.al2023": date(2029, 6, 30),
}
"""Projected where it lies ahead: AWS moves dates, later more often than earlier."""

ARM64 = frozenset(
    {
        *("nodejs12.x", "nodejs14.x", "nodejs16.x", "nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x"),
        *("python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"),
        *("java8.al2", "java11", "java17", "java21", "java25"),
        *("dotnetcore3.1", "dotnet6", "dotnet8", "dotnet10"),
        *("ruby2.7", "ruby3.2", "ruby3.3", "ruby3.4"),
        *("provided.al2", "provided.al2023"),
    }
)
X86_ONLY = frozenset({"go1.x", "java8", "provided", "python2.7", "python3.6", "python3.7", "nodejs10.x", "ruby2.5",
                      "dotnetcore2.1"})  # fmt: skip

SNAPSTART = frozenset(
    {"java11", "java17", "java21", "java25", "python3.12", "python3.13", "python3.14", "dotnet8", "dotnet10"}
)
SNAPSTART_FREE = frozenset({"java11", "java17", "java21", "java25"})
"""Runtimes that pay neither for the cached snapshot nor for restoring it."""
