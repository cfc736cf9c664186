"""A run as a job of a cluster, by Ray's own client: sent, followed, ended as it ended."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from aiohttp import ClientError
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from fltac.errors import InputError, Problem, StoppedError, in_one_line
from fltac.runtime.access import require_closed, require_token

ADDRESS = "http://127.0.0.1:8265"  # the dashboard's, which is the job server's
STOPPED = 143  # what a process ends with that SIGTERM ended
UNHEARD = (OSError, RuntimeError, ClientError)  # of a server that is gone, or has an error of its own
UNHEARD_SECONDS = 60.0


def submit(words: Sequence[str], folder: Path, address: str | None, say: Callable[[str], None]) -> int:
    """Runs `python -m fltac WORDS` on a cluster in a copy of a folder, prints its log, returns its exit code.

    What `.gitignore` and `.rayignore` name stays here. A job that was stopped has the code 143. Raises InputError
    where the job server cannot be reached, wants another token, or takes anybody though there is one.
    """
    address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or ADDRESS
    if not address.startswith(("http://", "https://")):
        raise InputError(Problem("--address", f"is the URL of the cluster's dashboard, such as {ADDRESS}", address))
    key = require_token(address)
    if key:  # before it goes anywhere
        require_closed(address, address)
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # Ray sets it, and RAY_ADDRESS, above its argument
    try:
        client = JobSubmissionClient(address, headers={"Authorization": f"Bearer {key}"} if key else None)
        job = client.submit_job(
            entrypoint=shlex.join(["python", "-m", "fltac", *words]), runtime_env={"working_dir": str(folder)}
        )
    except AuthenticationError:
        what = (
            "refuses this token" if key else "asks for a token"
        ) + "; set RAY_AUTH_TOKEN_PATH to the file of its own"
        raise InputError(Problem("--address", what, address)) from None
    except (RuntimeError, ValueError) as error:  # an answer that is none of a job server, a folder that is too large
        reason = in_one_line(error)
        what = f"takes no job; name the dashboard's URL as the browser opens it, or see what it says ({reason})"
        raise InputError(Problem("--address", what, address)) from None
    except OSError as error:
        what = f"no job server answers there; name the dashboard's URL, through a tunnel ({type(error).__name__})"
        raise InputError(Problem("--address", what, address)) from None
    say(f"job {job} at {address}: its log follows, and ray job stop {job} ends it")
    return _followed(client, job)


def _followed(client: JobSubmissionClient, job: str) -> int:
    with suppress(*UNHEARD):  # what became of the job is asked below
        asyncio.run(_print_log(client, job))
    heard, info = time.monotonic(), None
    while info is None or not info.status.is_terminal():
        try:
            info, heard = client.get_job_info(job), time.monotonic()
        except UNHEARD as error:
            if time.monotonic() > heard + UNHEARD_SECONDS:
                what = f"job {job}: its cluster has not answered for {UNHEARD_SECONDS:g} s ({type(error).__name__})"
                raise StoppedError(f"{what}; where it runs on, ray job logs --follow {job} shows it") from None
        time.sleep(1)
    if info.status == JobStatus.STOPPED:
        return STOPPED
    if info.driver_exit_code is None and info.status == JobStatus.FAILED:  # it never began
        raise StoppedError(f"job {job} never began: {in_one_line(info.message, 500)}")
    return info.driver_exit_code or 0


async def _print_log(client: JobSubmissionClient, job: str) -> None:
    async for text in client.tail_job_logs(job):
        sys.stdout.write(text)
        sys.stdout.flush()
