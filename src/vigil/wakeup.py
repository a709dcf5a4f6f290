"""Waking a workflow that waits: the only code that sends a task token back."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger("vigil.wakeup")


def waker(connect: Callable[[], "SFNClient"]) -> Callable[[str], None]:
    """Return a function that wakes the workflow that waits with a task token. A wake-up that fails is logged.

    A wake-up carries nothing: the workflow reads the table. One that gets lost costs the rest of the safety interval.
    """

    def wake(token: str) -> None:
        try:
            connect().send_task_success(taskToken=token, output="{}")
        except (BotoCoreError, ClientError) as error:
            # A token that no state waits with any longer is such an error too: the workflow has woken by itself.
            logger.info("the workflow was not woken: %s", error)

    return wake
