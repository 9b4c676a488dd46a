"""Did last night's backups work? With a client of one's own, and another look later while one of them still runs."""

from typing import Any

from runlane import BaseIntegration, Context, RetryPolicy, WorkflowException, workflow


class BackupPortal(BaseIntegration):
    """The portal of a backup vendor: `backup_api_url` is its address, the secret `backup_api_key` its key."""

    integration_name = "backup"

    async def authenticate(self) -> str:
        return await self.get_secret("backup_api_key")

    async def jobs(self) -> list[dict[str, str]]:
        """Each job's `name` and `state`: Success, Failed, Running."""
        answer = await self.request_json("GET", "/v1/jobs")
        return list(answer["jobs"])


class StillRunning(WorkflowException):
    """A job has not ended: the retry policy looks again."""

    retryable = True


@workflow(
    name="backup_check",
    description="Makes a ticket for each backup that failed; looks again while one runs.",
    category="monitoring",
    tags=["example", "halopsa"],
    execution_mode="async",
    schedule="30 6 * * *",
    schedule_time_zone="org",
    retry_policy=RetryPolicy(max_attempts=5, initial_delay_seconds=0.5, backoff_multiplier=2),
)
async def backup_check(context: Context) -> dict[str, Any]:
    jobs = await context.get_integration("backup").jobs()
    running = [job["name"] for job in jobs if job["state"] == "Running"]
    if running:
        raise StillRunning(f"still runs: {', '.join(running)}")
    halo = context.get_integration("halopsa")
    failed = [job["name"] for job in jobs if job["state"] == "Failed"]
    for name in failed:
        await context.step(f"ticket {name}", halo.create_ticket, f"The backup of {name} failed", "See the portal.")
    return {"checked": len(jobs), "failed": failed, "attempt": context.attempt}
