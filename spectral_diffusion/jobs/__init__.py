"""Durable jobs: what is queued is done once, whatever is killed meanwhile; shared by command line and studio.

`JobQueue` takes jobs and tells of them, `run_worker` does them.
"""
