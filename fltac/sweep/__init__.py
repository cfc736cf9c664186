"""A search space -> Ray Tune: each point is a federation like any other, in a run directory of its own.

Tune schedules, searches and stops. What was done lies in the run directories alone: a sweep is continued from them, and
none of Tune's own state is needed.
"""
