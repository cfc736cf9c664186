"""Processes that a test starts, with all that they start in turn, are known by a mark in their environment."""

import os

import psutil

MARK = "FLTAC_TEST_MARK"


def marked(by, **more):
    """An environment with the mark."""
    return {**os.environ, MARK: str(by), **more}


def left(by):
    """The command lines of those with the mark that do not end by themselves."""
    _, alive = psutil.wait_procs([one for one in psutil.process_iter() if _mark(one) == str(by)], timeout=20)
    return [process.cmdline() for process in alive]


def _mark(process):
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None
