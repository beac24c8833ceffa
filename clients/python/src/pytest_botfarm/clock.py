"""A clock that never jumps, and the durations of settings."""

from __future__ import annotations

import re
import time

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+)\s*([a-z]+)\s*")


def now() -> float:
    """Seconds. Goes on while the machine sleeps, where the system has such a clock, as the farm's clock does."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def seconds(text: str) -> float:
    """Reads `90s`, `5m`, `1h 30m`, as the `botfarm` command does."""
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip() or any(unit not in _UNITS for _, unit in parts):
        raise ValueError(f"{text!r} is no duration: write 90s, 5m or 1h 30m")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def lasting(duration: float) -> str:
    """For people: `4m 50s`."""
    whole = max(0, round(duration))
    return f"{whole // 60}m {whole % 60}s" if whole >= 60 else f"{whole}s"
